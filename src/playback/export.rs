//! A recording as a capture file: SIP, RTP and RTCP as they arrived, with marks and gaps as comments.

use std::io::{self, Write};
use std::net::SocketAddr;

use bytes::Bytes;

use super::address::Way;
use super::formats::Formats;
use super::pcapng;
use crate::model::{Ailing, Closing, Header, Mark, Notice, NoticeKind, SignalPath, Timestamp};
use crate::recorder::{Frame, PacketKind};

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
    out.write_all(&pcapng::begin(application, &section_comment(header, closing)))
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
                kind: PacketKind::Withheld,
                ..
            } => Vec::new(),
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

/// First of all whether the media, which is clear here, was encrypted: `replay` has to know.
fn section_comment(header: &Header, closing: Option<&Closing>) -> String {
    let encryption = closing.and_then(|closing| closing.encryption);
    let media = encryption.map(|encryption| format!("media {}\n", encryption.as_str()));
    media.unwrap_or_default() + &opening_comment(header)
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
    let media = closing
        .encryption
        .map(|encryption| format!(", media {}", encryption.as_str()))
        .unwrap_or_default();
    let became = closing.became.as_deref().map(opening_comment);
    let became = became
        .map(|became| format!("\nat the end:\n{became}"))
        .unwrap_or_default();
    format!(
        "{} ended: {}{media}, by {}{fault}{became}",
        closing.ended,
        closing.outcome.as_str(),
        closing.ended_by
    )
}

fn told(notice: &Notice) -> String {
    let Notice { leg, name, from, .. } = notice;
    let kind = match notice.kind {
        NoticeKind::Prompt => "prompt",
        NoticeKind::Tone => "tone",
    };
    let rest = if notice.whole { "" } else { ", broken off" };
    format!("{leg} was told that it is recorded, by {kind} {name} from {from}{rest}")
}

fn mark_comment(at: Timestamp, mark: &Mark) -> String {
    match mark {
        Mark::Media(lines) => format!("{at} media negotiated: {} lines", lines.len()),
        Mark::Answered => format!("{at} answered"),
        Mark::Held { by } => format!("{at} held by {by}"),
        Mark::Resumed { by } => format!("{at} resumed by {by}"),
        Mark::Connected { leg, party } => format!("{at} {leg} is {party}"),
        Mark::Learned { leg, line, from } => {
            format!("{at} media of {leg}, line {line}, comes from {from}, which its SDP does not name")
        }
        Mark::Noticed(notice) => format!("{at} {}", told(notice)),
        Mark::Unnoticed { leg } => format!("{at} {leg} could not be told that it is recorded"),
        Mark::Indicated { leg, recording, paused } => {
            let but: Vec<String> = paused.iter().map(|line| format!(", line {line} paused")).collect();
            format!("{at} {leg} was told by SDP: recording {recording}{}", but.concat())
        }
        Mark::Consent { leg, consent, waiver } => {
            let signed = waiver.as_ref().map(|waiver| format!(", {waiver}"));
            let signed = signed.unwrap_or_default();
            format!("{at} consent of {leg}: {}{signed}", consent.as_str())
        }
        Mark::LeftOut { leg, what, why } => {
            format!("{at} LEFT OUT of what {leg} sends, by {}: {what}", why.as_str())
        }
        Mark::Preferred { leg, preference, lines } => {
            let lines: Vec<String> = lines.iter().map(|preference| format!(" {preference}")).collect();
            let lines = lines.concat();
            format!("{at} {leg} would like of the recording: {preference}{lines}")
        }
        Mark::Health(Ailing { ailment, until, .. }) => match until {
            None => format!("{at} the sound ails: {ailment}"),
            Some(_) => format!("{at} the sound ails no more: {ailment}"),
        },
        Mark::GapOpened { fault } => format!("{at} GAP opens: {fault}"),
        Mark::GapClosed { packets } => format!("{at} GAP closes: {packets} packets passed unrecorded"),
        Mark::RecordingPaused { by, .. } => format!("{at} PAUSED by {by}: nothing is kept from here on"),
        Mark::RecordingResumed { by } => format!("{at} RESUMED by {by}: it is kept again"),
        Mark::Note(text) => format!("{at} {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::*;
    use super::*;
    use crate::model::{Direction, Fault, Generation, Leg, Party, SessionId};

    fn header() -> Header {
        Header {
            session: SessionId::mint(ANSWERED, 7),
            conversation: None,
            node: "lab".to_owned(),
            started: ANSWERED,
            caller: Party::default(),
            callee: Party::default(),
            from_trunk: "pbx".into(),
            to_trunk: None,
            call_ids: Vec::new(),
            policies: Vec::new(),
            generation: Generation(1),
            policy_hash: String::new(),
            trace: vec!["policy trading-desk by user".to_owned()],
            strict_before: true,
            strict_during: true,
            emergency: false,
        }
    }

    fn signal(at: u64, tcp: bool, direction: Direction, text: &str) -> Frame {
        let path = SignalPath {
            leg: Leg::A,
            direction,
            peer: "192.0.2.1:5060".parse().expect("an address"),
            local: "198.51.100.7:5070".parse().expect("an address"),
            tcp,
        };
        Frame::Signal {
            at: at_ms(at),
            path,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    fn call_with_signals() -> Vec<Frame> {
        let options = "OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n";
        let mut frames = Phone::new(Leg::A).speak(10, &speech(1, 5));
        frames.push(signal(1, false, Direction::Received, options));
        frames.push(signal(2, true, Direction::Sent, options));
        frames.push(signal(3, true, Direction::Received, "SIP/2.0 200 OK\r\n\r\n"));
        frames.push(signal(4, true, Direction::Sent, options));
        frames.push(Frame::Packet {
            at: at_ms(60),
            leg: Leg::B,
            line: 0,
            kind: PacketKind::Rtcp,
            bytes: Bytes::from_static(&[0x80, 201, 0, 1, 0, 0, 0, 1]),
        });
        let mut frames = call(frames);
        frames.push(Frame::Mark {
            at: at_ms(500),
            mark: Mark::GapOpened { fault: Fault::DiskFull },
        });
        frames
    }

    fn exported() -> Vec<u8> {
        let mut file = Vec::new();
        let packets = export_pcapng(
            &mut file,
            &header(),
            Some(&closing(600)),
            readable(&call_with_signals()),
        );
        assert_eq!(packets.expect("written"), 10);
        file
    }

    /// The packets of a file and their comments, by the lengths of its blocks.
    fn blocks(file: &[u8]) -> Vec<(u32, &[u8])> {
        let mut blocks = Vec::new();
        let mut rest = file;
        while let Some((head, _)) = rest.split_first_chunk::<8>() {
            let kind = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
            let length = u32::from_le_bytes(head[4..].try_into().expect("four bytes")) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(rest[length - 4..length], head[4..], "the length stands at both ends");
            blocks.push((kind, &rest[8..length - 4]));
            rest = &rest[length..];
        }
        blocks
    }

    fn contains(haystack: &[u8], needle: &str) -> bool {
        haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
    }

    #[test]
    fn every_frame_is_a_packet_between_the_real_addresses() {
        let file = exported();
        let blocks = blocks(&file);
        assert_eq!(blocks.len(), 12);
        assert!(contains(blocks[0].1, "policy trading-desk by user"));
        let rtp = blocks[6].1;
        assert_eq!(
            rtp[20..40],
            [
                69, 0, 0, 200, 0, 0, 64, 0, 64, 17, 0x4d, 0xe9, 192, 0, 2, 1, 198, 51, 100, 7
            ]
        );
        assert_eq!(rtp[40..44], [15, 160, 156, 64], "port 4000 to port 40000");
        let rtcp = blocks.iter().rfind(|(_, body)| body[40..44] == [15, 161, 156, 67]);
        assert!(rtcp.is_some(), "leg B's RTCP: port 4001 to port 40003");
    }

    #[test]
    fn marks_are_comments_and_the_last_packet_has_the_rest() {
        let file = exported();
        let blocks = blocks(&file);
        assert!(contains(blocks[2].1, "answered") && contains(blocks[2].1, "media negotiated: 1 lines"));
        let last = blocks.last().expect("packets").1;
        assert!(contains(last, "GAP opens: disk full (ENOSPC)") && contains(last, "ended: recorded, by BYE from A"));
    }

    #[test]
    fn times_are_kept_to_the_nanosecond() {
        let file = exported();
        let word =
            |body: &[u8], at: usize| u64::from(u32::from_le_bytes(body[at..at + 4].try_into().expect("four bytes")));
        let times = blocks(&file)[2..]
            .iter()
            .map(|(_, body)| word(body, 4) << 32 | word(body, 8))
            .collect::<Vec<_>>();
        let frames = call_with_signals();
        let wanted = frames
            .iter()
            .filter(|frame| !matches!(frame, Frame::Mark { .. }))
            .map(|frame| frame.at().as_nanos());
        assert_eq!(times, wanted.collect::<Vec<_>>());
    }

    #[test]
    fn checksums_add_up_for_both_families_and_odd_lengths() {
        for (from, to) in [
            ("192.0.2.1:1", "192.0.2.2:2"),
            ("[2001:db8::1]:1", "[2001:db8::2]:2"),
            ("192.0.2.1:1", "[2001:db8::2]:2"),
        ] {
            let way = Way {
                from: from.parse().expect("an address"),
                to: to.parse().expect("an address"),
            };
            for packet in [pcapng::udp(way, b"odd"), pcapng::tcp(way, 1, 1, b"even")] {
                let is_v4 = packet[0] == 0x45;
                let (addresses, header) = if is_v4 {
                    (&packet[12..20], 20)
                } else {
                    (&packet[8..40], 40)
                };
                let protocol = if is_v4 { packet[9] } else { packet[6] };
                let segment = &packet[header..];
                let words = |bytes: &[u8]| -> u64 {
                    bytes
                        .chunks(2)
                        .map(|pair| (u64::from(pair[0]) << 8) + pair.get(1).map_or(0, |low| u64::from(*low)))
                        .sum()
                };
                let mut sum = words(addresses) + u64::from(protocol) + segment.len() as u64 + words(segment);
                while sum > 0xffff {
                    sum = (sum >> 16) + (sum & 0xffff);
                }
                assert_eq!(sum, 0xffff, "{from} {to} {protocol}");
            }
        }
    }
}
