//! A capture as a sequence of SIP messages and media datagrams: file, link, fragments and TCP put together.

use std::io::Read;
use std::net::SocketAddr;

use super::demux;
use super::flaw::{Flaw, FlawKind, NotACapture};
use super::fragments::{Fragments, Place};
use super::link::{self, Carried};
use super::pcap::{Item, PcapFile, Record};
use super::tcp::{self, Streams};
use crate::model::Timestamp;
use crate::sip::Transport;

/// An IP packet in a GRE tunnel in an IP-in-IP tunnel …
const NESTED_MAX: u8 = 4;

/// One datagram or TCP message of a capture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Captured<'a> {
    /// Of the packet that completed it, from 1.
    pub packet: u64,
    /// Where that packet's record starts in the file.
    pub offset: u64,
    pub at: Timestamp,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub payload: Payload<'a>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Payload<'a> {
    /// A message by its start line; not parsed yet.
    Sip(Transport, &'a [u8]),
    /// Any other UDP datagram: RTP or RTCP where an SDP says so.
    Datagram(&'a [u8]),
}

/// What a packet of the file turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// The time of the first packet; said once, before all else.
    Started(Timestamp),
    Captured(Captured<'a>),
    Flaw(Flaw),
}

/// A capture being read, packet by packet.
pub struct Capture<R: Read> {
    file: PcapFile<R>,
    fragments: Fragments,
    streams: Streams,
    last: Place,
    /// Packets in the file so far, flawed ones too.
    packets: u64,
    is_started: bool,
    is_finished: bool,
}

impl<R: Read> Capture<R> {
    /// Reads the file's header.
    pub fn open(file: R) -> Result<Self, NotACapture> {
        Ok(Self {
            file: PcapFile::open(file)?,
            fragments: Fragments::default(),
            streams: Streams::default(),
            last: Place {
                packet: 0,
                offset: 0,
                at: Timestamp::ZERO,
            },
            packets: 0,
            is_started: false,
            is_finished: false,
        })
    }

    /// Packets read so far, those with flaws too.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Reads one record and tells `visit` what it brought: nothing, something, or several messages. False at the end.
    pub fn read_packet(&mut self, mut visit: impl FnMut(Event<'_>)) -> bool {
        let Self {
            file,
            fragments,
            streams,
            last,
            packets,
            is_started,
            is_finished,
        } = self;
        if *is_finished {
            return false;
        }
        match file.next_item() {
            Item::Packet(record) => {
                *packets = record.number;
                *last = Place {
                    packet: record.number,
                    offset: record.offset,
                    at: record.at,
                };
                if !std::mem::replace(is_started, true) {
                    visit(Event::Started(record.at));
                }
                let mut dissection = Dissection {
                    place: *last,
                    fragments,
                    streams,
                };
                if let Err(kind) = dissection.on_record(&record, &mut visit) {
                    visit(Event::Flaw(last.flaw(kind)));
                }
            }
            Item::Other => {}
            Item::Flawed(flaw) => {
                *packets = flaw.packet;
                visit(Event::Flaw(flaw));
            }
            Item::End => {
                *is_finished = true;
                streams.finish(*last);
                while let Some(lost) = fragments.poll_unfinished() {
                    visit(Event::Flaw(lost));
                }
            }
        }
        drain(streams, &mut visit);
        !*is_finished
    }
}

fn drain(streams: &mut Streams, visit: &mut impl FnMut(Event<'_>)) {
    while let Some(output) = streams.poll_output() {
        match output {
            tcp::Output::Flaw(flaw) => visit(Event::Flaw(flaw)),
            tcp::Output::Message { place, src, dst, bytes } => visit(Event::Captured(Captured {
                packet: place.packet,
                offset: place.offset,
                at: place.at,
                src,
                dst,
                payload: Payload::Sip(Transport::Tcp, &bytes),
            })),
        }
    }
}

/// One packet on its way through the layers.
struct Dissection<'a> {
    place: Place,
    fragments: &'a mut Fragments,
    streams: &'a mut Streams,
}

impl Dissection<'_> {
    fn on_record(&mut self, record: &Record<'_>, visit: &mut impl FnMut(Event<'_>)) -> Result<(), FlawKind> {
        while let Some(lost) = self.fragments.poll_lost(record.at) {
            visit(Event::Flaw(lost));
        }
        let captured = record.bytes.len() as u32;
        let cut = (captured < record.wire_len).then_some(FlawKind::Cut {
            captured,
            wire: record.wire_len,
        });
        // A malformed header of a packet that was cut is malformed because it was cut.
        match link::ip_in_frame(record.link, record.bytes) {
            Ok(Some(ip)) => self.on_ip(ip, 0, cut, visit).map_err(|kind| cut.unwrap_or(kind)),
            Ok(None) => Ok(()),
            Err(kind @ FlawKind::UnsupportedLink { .. }) => Err(kind),
            Err(kind) => Err(cut.unwrap_or(kind)),
        }
    }

    fn on_ip(
        &mut self,
        packet: &[u8],
        depth: u8,
        cut: Option<FlawKind>,
        visit: &mut impl FnMut(Event<'_>),
    ) -> Result<(), FlawKind> {
        if depth > NESTED_MAX {
            return Err(FlawKind::NestedTooDeep { max: NESTED_MAX });
        }
        let ip = link::parse_ip(packet)?;
        if ip.is_cut && matches!(ip.protocol, 4 | 6 | 17 | 41 | 47) {
            return Err(cut.unwrap_or(FlawKind::MalformedIp));
        }
        let reassembled = match ip.fragment {
            None => None,
            Some(fragment) => match self.fragments.push(self.place, &ip, fragment)? {
                Some(whole) => Some(whole),
                None => return Ok(()),
            },
        };
        let payload = reassembled.as_deref().unwrap_or(ip.payload);
        match link::parse_transport(ip.src, ip.dst, ip.protocol, payload)? {
            Carried::Udp { src, dst, payload } => {
                let payload = if demux::is_sip(payload) {
                    Payload::Sip(Transport::Udp, demux::skip_crlf(payload))
                } else {
                    Payload::Datagram(payload)
                };
                let Place { packet, offset, at } = self.place;
                visit(Event::Captured(Captured {
                    packet,
                    offset,
                    at,
                    src,
                    dst,
                    payload,
                }));
                Ok(())
            }
            Carried::Tcp { src, dst, segment } => {
                self.streams.push(self.place, src, dst, &segment);
                Ok(())
            }
            Carried::Tunnelled(inner) => self.on_ip(inner, depth + 1, cut, visit),
            Carried::Other => Ok(()),
        }
    }
}
