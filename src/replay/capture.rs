//! A capture as a sequence of SIP messages and media datagrams: file, link, fragments and TCP put together.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;

use super::clock::is_sequel;
use super::demux;
use super::encapsulation::{self, Encapsulation};
use super::flaw::{Flaw, FlawKind, NotACapture};
use super::fragments::{Fragments, Place};
use super::link::{self, Carried};
use super::pcap::{Item, PcapFile, Record};
use super::tcp::{self, Streams};
use crate::model::Timestamp;
use crate::sip::Transport;

/// An IP packet in a GRE tunnel in an IP-in-IP tunnel …
const NESTED_MAX: u8 = 4;

/// Encapsulations that are not read and told apart. Full: packets in further ones are named one by one.
const ENCAPSULATIONS_MAX: usize = 64;

/// Packets that are waited for to agree about the time.
const HELD_MAX: usize = 8;

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
    /// The beginning of one, as long as an RTP header or longer: the rest was not captured (snap length).
    Cut(&'a [u8]),
}

impl Captured<'_> {
    pub(crate) const fn with_bytes<'a>(&self, bytes: &'a [u8]) -> Captured<'a> {
        let payload = match self.payload {
            Payload::Sip(transport, _) => Payload::Sip(transport, bytes),
            Payload::Datagram(_) => Payload::Datagram(bytes),
            Payload::Cut(_) => Payload::Cut(bytes),
        };
        Captured {
            packet: self.packet,
            offset: self.offset,
            at: self.at,
            src: self.src,
            dst: self.dst,
            payload,
        }
    }
}

impl<'a> Payload<'a> {
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Sip(_, bytes) | Self::Datagram(bytes) | Self::Cut(bytes) => bytes,
        }
    }
}

/// What a packet of the file turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event<'a> {
    /// The time of the first packet, or of the next where those that follow belie the first; said before all packets.
    Started(Timestamp),
    Captured(Captured<'a>),
    Flaw(Flaw),
}

/// A capture being read, packet by packet.
pub struct Capture<R: Read> {
    file: PcapFile<R>,
    dissector: Dissector,
    /// Packets in the file so far, flawed ones too.
    packets: u64,
    /// None: the capture has started.
    opening: Option<Opening>,
    is_finished: bool,
}

/// Packets from the front of the file that are held back until two that follow each other agree about the time: a wrong
/// time on the first would put all others into the future or the past of the replay.
#[derive(Default)]
struct Opening {
    held: Vec<Held>,
}

/// A [`Record`] that owns its bytes.
struct Held {
    number: u64,
    offset: u64,
    at: Timestamp,
    link: u32,
    wire_len: u32,
    bytes: Box<[u8]>,
}

impl Opening {
    fn hold(&mut self, record: &Record<'_>) {
        self.held.push(Held {
            number: record.number,
            offset: record.offset,
            at: record.at,
            link: record.link,
            wire_len: record.wire_len,
            bytes: record.bytes.into(),
        });
    }

    /// None: wait for the next packet.
    fn started(&self) -> Option<Timestamp> {
        let (newest, before) = self.held.split_last()?;
        let first = before.first()?.at;
        let agrees = |held: &&Held| is_sequel(held.at, newest.at);
        let confirmed = before.first().filter(agrees).or_else(|| before.last().filter(agrees));
        let waits = before.len() + 1 < HELD_MAX;
        confirmed.map(|held| held.at).or((!waits).then_some(first))
    }

    /// The held packets; what was captured before an impossible first is as old as the start.
    fn release(mut self, started: Timestamp) -> Vec<Held> {
        let confirmed = self.held.iter().position(|held| held.at == started).unwrap_or(0);
        for belied in self.held.iter_mut().take(confirmed) {
            belied.at = started;
        }
        self.held
    }
}

impl<R: Read> Capture<R> {
    /// Reads the file's header.
    pub fn open(file: R) -> Result<Self, NotACapture> {
        Ok(Self {
            file: PcapFile::open(file)?,
            dissector: Dissector {
                unread: BTreeMap::new(),
                fragments: Fragments::default(),
                streams: Streams::default(),
                last: Place {
                    packet: 0,
                    offset: 0,
                    at: Timestamp::ZERO,
                },
            },
            packets: 0,
            opening: Some(Opening::default()),
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
            dissector,
            packets,
            opening,
            is_finished,
        } = self;
        if *is_finished {
            return false;
        }
        match file.next_item() {
            Item::Packet(record) => {
                *packets = record.number;
                match opening {
                    None => dissector.on_record(&record, &mut visit),
                    Some(held) => {
                        held.hold(&record);
                        if let Some(started) = held.started() {
                            dissector.open(opening.take(), started, &mut visit);
                        }
                    }
                }
            }
            Item::Other => {}
            Item::Flawed(flaw) => {
                *packets = flaw.packet;
                visit(Event::Flaw(flaw));
            }
            Item::End => {
                *is_finished = true;
                if let Some(first) = opening.as_ref().and_then(|opening| opening.held.first()) {
                    let started = first.at;
                    dissector.open(opening.take(), started, &mut visit);
                }
                dissector.finish(&mut visit);
            }
        }
        !*is_finished
    }
}

/// What is between packets and messages.
struct Dissector {
    /// Where the first packet in each encapsulation that is not read was, and how many there were.
    unread: BTreeMap<Encapsulation, (Place, u64)>,
    fragments: Fragments,
    streams: Streams,
    last: Place,
}

impl Dissector {
    fn open(&mut self, opening: Option<Opening>, started: Timestamp, visit: &mut impl FnMut(Event<'_>)) {
        visit(Event::Started(started));
        for held in opening.map(|opening| opening.release(started)).unwrap_or_default() {
            let record = Record {
                number: held.number,
                offset: held.offset,
                at: held.at,
                link: held.link,
                wire_len: held.wire_len,
                bytes: &held.bytes,
            };
            self.on_record(&record, visit);
        }
    }

    fn on_record(&mut self, record: &Record<'_>, visit: &mut impl FnMut(Event<'_>)) {
        self.last = Place {
            packet: record.number,
            offset: record.offset,
            at: record.at,
        };
        let mut dissection = Dissection {
            place: self.last,
            fragments: &mut self.fragments,
            streams: &mut self.streams,
        };
        match dissection.on_record(record, visit) {
            Ok(()) => {}
            Err(FlawKind::Unsupported { what, packets }) if self.may_count(what) => {
                self.unread.entry(what).or_insert((self.last, 0)).1 += packets;
            }
            Err(kind) => visit(Event::Flaw(self.last.flaw(kind))),
        }
        drain(&mut self.streams, visit);
    }

    fn may_count(&self, what: Encapsulation) -> bool {
        self.unread.len() < ENCAPSULATIONS_MAX || self.unread.contains_key(&what)
    }

    fn finish(&mut self, visit: &mut impl FnMut(Event<'_>)) {
        for (what, (first, packets)) in std::mem::take(&mut self.unread) {
            visit(Event::Flaw(first.flaw(FlawKind::Unsupported { what, packets })));
        }
        self.streams.finish(self.last);
        while let Some(lost) = self.fragments.poll_unfinished() {
            visit(Event::Flaw(lost));
        }
        drain(&mut self.streams, visit);
    }
}

fn drain(streams: &mut Streams, visit: &mut impl FnMut(Event<'_>)) {
    while let Some(output) = streams.poll_output() {
        match output {
            tcp::Output::Flaw(flaw) => visit(Event::Flaw(flaw)),
            tcp::Output::Message {
                place,
                transport,
                src,
                dst,
                bytes,
            } => visit(Event::Captured(Captured {
                packet: place.packet,
                offset: place.offset,
                at: place.at,
                src,
                dst,
                payload: Payload::Sip(transport, &bytes),
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
            Ok(Some(ip)) => self.on_ip(ip, 0, cut, visit),
            Ok(None) => Ok(()),
            Err(kind) => Err(kind),
        }
        .map_err(|kind| match kind {
            FlawKind::Unsupported { .. } => kind,
            kind => cut.unwrap_or(kind),
        })
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
        if ip.is_cut && matches!(ip.protocol, 4 | 6 | 17 | 41 | 47 | 137) {
            let start = link::start_of_udp(&ip).filter(|(.., start)| !demux::is_sip(start));
            if let Some((src, dst, start)) = start {
                match encapsulation::in_udp(src.port(), dst.port(), start) {
                    Some((layer, inner)) => {
                        if let Ok(Some(inner)) = encapsulation::ip_in(layer, inner) {
                            self.on_ip(inner, depth + 1, cut, visit)?;
                        }
                    }
                    None => self.tell(src, dst, Payload::Cut(start), visit),
                }
            }
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
                if demux::is_sip(payload) {
                    let message = Payload::Sip(Transport::Udp, demux::skip_crlf(payload));
                    self.tell(src, dst, message, visit);
                    return Ok(());
                }
                let tunnel = encapsulation::in_udp(src.port(), dst.port(), payload);
                match tunnel.map(|(layer, inner)| encapsulation::ip_in(layer, inner)) {
                    Some(Ok(Some(inner @ [0x45..=0x4F | 0x60..=0x6F, ..]))) => self.on_ip(inner, depth + 1, cut, visit),
                    Some(Err(kind @ FlawKind::Unsupported { .. })) => Err(kind),
                    // What only looks like a tunnel is a datagram.
                    Some(_) | None => {
                        self.tell(src, dst, Payload::Datagram(payload), visit);
                        Ok(())
                    }
                }
            }
            Carried::Tcp { src, dst, segment } => {
                self.streams.push(self.place, src, dst, &segment);
                Ok(())
            }
            Carried::Tunnelled(inner) => self.on_ip(inner, depth + 1, cut, visit),
            Carried::Other => Ok(()),
        }
    }

    fn tell(&self, src: SocketAddr, dst: SocketAddr, payload: Payload<'_>, visit: &mut impl FnMut(Event<'_>)) {
        let Place { packet, offset, at } = self.place;
        visit(Event::Captured(Captured {
            packet,
            offset,
            at,
            src,
            dst,
            payload,
        }));
    }
}
