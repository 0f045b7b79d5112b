//! A recording as a capture file: SIP, RTP and RTCP as they arrived, with marks and gaps as comments.

use std::io::{self, Write};
use std::net::SocketAddr;

use bytes::Bytes;

use super::address::Way;
use super::formats::Formats;
use super::pcapng;
use crate::model::{Closing, Header, Mark, SignalPath, Timestamp};
use crate::recorder::Frame;

/// Comments that wait for the packet after them; more become one line that says so.
const COMMENTS_MAX: usize = 64;
/// TCP connections whose sequence numbers are kept; the oldest makes room.
const CONNECTIONS_MAX: usize = 64;

/// Why no capture was written, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError<E> {
    /// The frames could not be read.
    #[error("reading the recording: {0}")]
    Source(E),
    /// The file could not be written.
    #[error("writing the capture: {0}")]
    Sink(io::Error),
}

/// Writes every packet and SIP message of the recording as pcapng with raw IP packets; returns how many packets.
///
/// Addresses are those of the newest plan and of the signalling paths; IP, UDP and TCP headers are made anew, so
/// checksums, TTLs and TCP sequence numbers are ours. Marks become comments of the next packet; those after the last
/// packet and the closing facts become the last packet's.
pub fn export_pcapng<E>(
    out: &mut impl Write,
    header: &Header,
    closing: Option<&Closing>,
    frames: impl IntoIterator<Item = Result<Frame, E>>,
) -> Result<u64, ExportError<E>> {
    let application = concat!("onrecord ", env!("CARGO_PKG_VERSION"));
    out.write_all(&pcapng::begin(application, &opening_comment(header)))
        .map_err(ExportError::Sink)?;
    let mut export = Export::default();
    for frame in frames {
        let frame = frame.map_err(ExportError::Source)?;
        for (at, packet, comments) in export.on_frame(frame) {
            out.write_all(&pcapng::packet(at, &packet, &comments))
                .map_err(ExportError::Sink)?;
        }
    }
    if let Some((at, packet, mut comments)) = export.last.take() {
        comments.append(&mut export.comments);
        comments.extend(closing.map(closing_comment));
        out.write_all(&pcapng::packet(at, &packet, &comments))
            .map_err(ExportError::Sink)?;
    }
    out.flush().map_err(ExportError::Sink)?;
    Ok(export.packets)
}

type Packet = (Timestamp, Vec<u8>, Vec<String>);

#[derive(Default)]
struct Export {
    formats: Formats,
    comments: Vec<String>,
    connections: Vec<Connection>,
    /// Written once it is known that it is not the last.
    last: Option<Packet>,
    packets: u64,
}

/// Both directions of a TCP connection, as if it had begun with our first message.
struct Connection {
    local: SocketAddr,
    peer: SocketAddr,
    /// Bytes that each end has sent.
    local_sent: u32,
    peer_sent: u32,
}

impl Export {
    /// The packets that can be written now.
    fn on_frame(&mut self, frame: Frame) -> Vec<Packet> {
        match frame {
            Frame::Mark { at, mark } => {
                self.on_mark(at, &mark);
                Vec::new()
            }
            Frame::Packet {
                at,
                leg,
                line,
                kind,
                bytes,
            } => {
                let way = Way::of_packet(&self.formats, leg, line, kind);
                self.on_datagram(at, way, &bytes).into_iter().collect()
            }
            Frame::Signal { at, path, bytes } if path.tcp => self.on_segments(at, &path, &bytes),
            Frame::Signal { at, path, bytes } => self
                .on_datagram(at, Way::of_signal(&path), &bytes)
                .into_iter()
                .collect(),
        }
    }

    fn on_mark(&mut self, at: Timestamp, mark: &Mark) {
        self.formats.on_mark(mark);
        if self.comments.len() < COMMENTS_MAX {
            self.comments.push(mark_comment(at, mark));
        } else if let Some(last) = self.comments.last_mut() {
            "further marks are left out here".clone_into(last);
        }
    }

    fn on_datagram(&mut self, at: Timestamp, way: Way, payload: &Bytes) -> Option<Packet> {
        let payload = payload.get(..pcapng::PAYLOAD_BYTES_MAX).unwrap_or(payload);
        self.push(at, pcapng::udp(way, payload))
    }

    fn on_segments(&mut self, at: Timestamp, path: &SignalPath, payload: &Bytes) -> Vec<Packet> {
        let way = Way::of_signal(path);
        let mut packets = Vec::new();
        for payload in payload.chunks(pcapng::PAYLOAD_BYTES_MAX) {
            let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            let is_ours = way.from == path.local;
            let connection = self.connection(path);
            let (sent, received) = match is_ours {
                true => (&mut connection.local_sent, connection.peer_sent),
                false => (&mut connection.peer_sent, connection.local_sent),
            };
            let sequence = *sent;
            *sent = sent.wrapping_add(length);
            let packet = pcapng::tcp(way, sequence, received, payload);
            packets.extend(self.push(at, packet));
        }
        packets
    }

    fn connection(&mut self, path: &SignalPath) -> &mut Connection {
        let known = self
            .connections
            .iter()
            .position(|c| c.local == path.local && c.peer == path.peer);
        let index = known.unwrap_or_else(|| {
            if self.connections.len() == CONNECTIONS_MAX {
                self.connections.remove(0);
            }
            self.connections.push(Connection {
                local: path.local,
                peer: path.peer,
                local_sent: 1,
                peer_sent: 1,
            });
            self.connections.len() - 1
        });
        &mut self.connections[index]
    }

    fn push(&mut self, at: Timestamp, packet: Vec<u8>) -> Option<Packet> {
        self.packets += 1;
        self.last.replace((at, packet, std::mem::take(&mut self.comments)))
    }
}

fn opening_comment(header: &Header) -> String {
    let policies: Vec<String> = header.policies.iter().map(ToString::to_string).collect();
    format!(
        "session {}\nnode {}\nstarted {}\ncaller {}\ncallee {}\npolicies {}\n{}",
        header.session,
        header.node,
        header.started,
        header.caller.identity,
        header.callee.identity,
        policies.join(", "),
        header.trace.join("\n"),
    )
}

fn closing_comment(closing: &Closing) -> String {
    let fault = closing
        .fault
        .map(|fault| format!("; fault: {fault}"))
        .unwrap_or_default();
    format!(
        "{} ended: {}, by {}{fault}",
        closing.ended,
        closing.outcome.as_str(),
        closing.ended_by
    )
}

fn mark_comment(at: Timestamp, mark: &Mark) -> String {
    match mark {
        Mark::Media(lines) => format!("{at} media negotiated: {} lines", lines.len()),
        Mark::Answered => format!("{at} answered"),
        Mark::Held { by } => format!("{at} held by {by}"),
        Mark::Resumed { by } => format!("{at} resumed by {by}"),
        Mark::GapOpened { fault } => format!("{at} GAP opens: {fault}"),
        Mark::GapClosed { packets } => format!("{at} GAP closes: {packets} packets passed unrecorded"),
        Mark::Note(text) => format!("{at} {text}"),
    }
}
