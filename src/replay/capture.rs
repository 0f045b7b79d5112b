//! A capture as a sequence of SIP messages and media datagrams: file, link, fragments and TCP put together.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;

use super::blocks::Provenance;
use super::dissection::Dissection;
use super::doubles::Doubles;
use super::encapsulation::Encapsulation;
use super::flaw::{Flaw, FlawKind, NotACapture};
use super::fragments::{Fragments, Place};
use super::opening::Opening;
use super::order::{Held, Order};
use super::pcap::{Item, PcapFile, Record};
use super::tcp::{self, Streams};
use crate::model::Timestamp;
use crate::sip::Transport;

/// Encapsulations that are not read and told apart. Full: packets in further ones are named one by one.
const ENCAPSULATIONS_MAX: usize = 64;

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
    pub(crate) const fn flaw(&self, kind: FlawKind) -> Flaw {
        Flaw {
            packet: self.packet,
            offset: self.offset,
            at: self.at,
            kind,
        }
    }

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
    order: Order,
    dissector: Dissector,
    /// Packets in the file so far, flawed ones too.
    packets: u64,
    is_finished: bool,
}

impl<R: Read> Capture<R> {
    /// Reads the file's header.
    pub fn open(file: R) -> Result<Self, NotACapture> {
        Ok(Self {
            file: PcapFile::open(file)?,
            order: Order::default(),
            dissector: Dissector {
                opening: Some(Opening::default()),
                unread: BTreeMap::new(),
                doubles: Doubles::default(),
                fragments: Fragments::default(),
                streams: Streams::default(),
                last: Place {
                    packet: 0,
                    offset: 0,
                    at: Timestamp::ZERO,
                },
            },
            packets: 0,
            is_finished: false,
        })
    }

    pub(crate) fn provenance(&self) -> Provenance {
        self.file.provenance()
    }

    /// Packets read so far, those with flaws too.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Of these, captured before: not told of.
    pub const fn doubles(&self) -> u64 {
        self.dissector.doubles.count()
    }

    /// Reads one record and tells `visit` what it brought: nothing, something, or several messages. False at the end.
    pub fn read_packet(&mut self, mut visit: impl FnMut(Event<'_>)) -> bool {
        if self.is_finished {
            return false;
        }
        match self.file.next_item() {
            Item::Packet(record) => {
                self.packets = record.number;
                while self.order.must_flush(record.at)
                    && let Some(held) = self.order.poll()
                {
                    self.dissector.on_held(held, &mut visit);
                }
                self.order.push(&record);
            }
            Item::Other => {}
            Item::Flawed(flaw) => {
                self.packets = flaw.packet;
                visit(Event::Flaw(flaw));
            }
            Item::End => {
                self.is_finished = true;
                self.order.finish();
            }
        }
        while let Some(held) = self.order.poll() {
            self.dissector.on_held(held, &mut visit);
        }
        if self.is_finished {
            if let Some((first, kind)) = self.order.take_beyond() {
                visit(Event::Flaw(first.flaw(kind)));
            }
            self.dissector.finish(&mut visit);
        }
        !self.is_finished
    }
}

/// What is between packets and messages.
struct Dissector {
    /// None: the capture has started.
    opening: Option<Opening>,
    /// Where the first packet in each encapsulation that is not read was, and how many there were.
    unread: BTreeMap<Encapsulation, (Place, u64)>,
    doubles: Doubles,
    fragments: Fragments,
    streams: Streams,
    last: Place,
}

impl Dissector {
    fn on_held(&mut self, held: Held, visit: &mut impl FnMut(Event<'_>)) {
        let Some(opening) = &mut self.opening else {
            return self.on_record(&held.record(), visit);
        };
        opening.held.push(held);
        if let Some(started) = opening.started() {
            self.open(started, visit);
        }
    }

    fn open(&mut self, started: Timestamp, visit: &mut impl FnMut(Event<'_>)) {
        visit(Event::Started(started));
        let opening = self.opening.take();
        for held in opening.map(|opening| opening.release(started)).unwrap_or_default() {
            self.on_record(&held.record(), visit);
        }
    }

    fn on_record(&mut self, record: &Record<'_>, visit: &mut impl FnMut(Event<'_>)) {
        self.last = Place {
            packet: record.number,
            offset: record.offset,
            at: record.at,
        };
        let place = self.last;
        let dissected = self.dissection(place).on_record(record, visit);
        self.note(place, dissected, visit);
        self.drain(visit);
    }

    const fn dissection(&mut self, place: Place) -> Dissection<'_> {
        Dissection {
            place,
            doubles: &mut self.doubles,
            fragments: &mut self.fragments,
            streams: &mut self.streams,
        }
    }

    fn note(&mut self, place: Place, dissected: Result<(), FlawKind>, visit: &mut impl FnMut(Event<'_>)) {
        match dissected {
            Ok(()) => {}
            Err(FlawKind::Unsupported { what, packets }) if self.may_count(what) => {
                self.unread.entry(what).or_insert((place, 0)).1 += packets;
            }
            Err(kind) => visit(Event::Flaw(place.flaw(kind))),
        }
    }

    fn may_count(&self, what: Encapsulation) -> bool {
        self.unread.len() < ENCAPSULATIONS_MAX || self.unread.contains_key(&what)
    }

    fn finish(&mut self, visit: &mut impl FnMut(Event<'_>)) {
        if let Some(first) = self.opening.as_ref().and_then(|opening| opening.held.first()) {
            let started = first.at;
            self.open(started, visit);
        }
        self.streams.finish(self.last);
        self.drain(visit);
        while let Some(lost) = self.fragments.poll_unfinished() {
            visit(Event::Flaw(lost));
        }
        for (what, (first, packets)) in std::mem::take(&mut self.unread) {
            visit(Event::Flaw(first.flaw(FlawKind::Unsupported { what, packets })));
        }
    }

    fn drain(&mut self, visit: &mut impl FnMut(Event<'_>)) {
        while let Some(output) = self.streams.poll_output() {
            match output {
                tcp::Output::Flaw(flaw) => visit(Event::Flaw(flaw)),
                tcp::Output::Copy { place, bytes } => {
                    let dissected = self.dissection(place).on_hep(&bytes, visit);
                    self.note(place, dissected, visit);
                }
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
}
