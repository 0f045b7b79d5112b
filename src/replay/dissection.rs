//! One packet on its way through the layers, to the datagram or the TCP segment in it.

use std::net::SocketAddr;

use super::capture::{Captured, Event, Payload};
use super::copied::{self, Copied};
use super::doubles::Doubles;
use super::encapsulation;
use super::flaw::FlawKind;
use super::fragments::{Fragments, Place};
use super::link::{self, Carried};
use super::pcap::Record;
use super::tcp::Streams;
use crate::sip::Transport;
use crate::sip::start_line::{self, StartLine, start_line};

/// An IP packet in a GRE tunnel in an IP-in-IP tunnel …
const NESTED_MAX: u8 = 4;

/// See [the module](self).
pub(super) struct Dissection<'a> {
    pub(super) place: Place,
    pub(super) doubles: &'a mut Doubles,
    pub(super) fragments: &'a mut Fragments,
    pub(super) streams: &'a mut Streams,
}

impl Dissection<'_> {
    pub(super) fn on_record(&mut self, record: &Record<'_>, visit: &mut impl FnMut(Event<'_>)) -> Result<(), FlawKind> {
        while let Some(lost) = self.fragments.poll_lost(record.at) {
            visit(Event::Flaw(lost));
        }
        let captured = record.bytes.len() as u32;
        let cut = (captured < record.wire_len).then_some(FlawKind::Cut {
            captured,
            wire: record.wire_len,
        });
        // A malformed header of a packet that was cut is malformed because it was cut.
        self.on_frame(record, cut, visit).map_err(|kind| match kind {
            FlawKind::Unsupported { .. } => kind,
            kind => cut.unwrap_or(kind),
        })
    }

    fn on_frame(
        &mut self,
        record: &Record<'_>,
        cut: Option<FlawKind>,
        visit: &mut impl FnMut(Event<'_>),
    ) -> Result<(), FlawKind> {
        if record.link == link::EXPORTED_PDU {
            let copied = copied::in_exported(record.bytes)?;
            return self.on_copied(copied, cut, visit);
        }
        match link::ip_in_frame(record.link, record.bytes)? {
            Some(ip) => self.on_ip(ip, 0, cut, visit),
            None => Ok(()),
        }
    }

    pub(super) fn on_hep(&mut self, copy: &[u8], visit: &mut impl FnMut(Event<'_>)) -> Result<(), FlawKind> {
        self.on_copied(copied::in_hep(copy)?, None, visit)
    }

    fn on_copied(
        &mut self,
        copied: Copied<'_>,
        cut: Option<FlawKind>,
        visit: &mut impl FnMut(Event<'_>),
    ) -> Result<(), FlawKind> {
        match (copied, cut) {
            // Where a packet was cut on its way here, no length tells.
            (_, Some(cut)) => return Err(cut),
            (Copied::Ip(packet), None) => return self.on_ip(packet, 0, None, visit),
            (Copied::Segment(src, dst, segment), None) => self.streams.push(self.place, src, dst, &segment),
            (Copied::Message(src, dst, bytes), None) if is_sip(bytes) => {
                let message = Payload::Sip(Transport::Tcp, start_line::skip_crlf(bytes));
                self.tell(src, dst, message, visit);
            }
            (Copied::Datagram(src, dst, bytes), None) => self.on_datagram(src, dst, bytes, visit),
            (Copied::Message(..) | Copied::Nothing, None) => {}
        }
        Ok(())
    }

    fn on_datagram(&self, src: SocketAddr, dst: SocketAddr, bytes: &[u8], visit: &mut impl FnMut(Event<'_>)) {
        let payload = if is_sip(bytes) {
            Payload::Sip(Transport::Udp, start_line::skip_crlf(bytes))
        } else {
            Payload::Datagram(bytes)
        };
        self.tell(src, dst, payload, visit);
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
        if self.doubles.is_double(self.place.at, &ip) {
            return Ok(());
        }
        if ip.is_cut && matches!(ip.protocol, 4 | 6 | 17 | 41 | 47 | 115 | 137) {
            let start = link::start_of_udp(&ip).filter(|(.., start)| !is_sip(start) && !copied::is_hep(start));
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
                if is_sip(payload) {
                    self.on_datagram(src, dst, payload, visit);
                    return Ok(());
                }
                if copied::is_hep(payload) {
                    return self.on_hep(payload, visit);
                }
                let tunnel = encapsulation::in_udp(src.port(), dst.port(), payload);
                match tunnel.map(|(layer, inner)| encapsulation::ip_in(layer, inner)) {
                    Some(Ok(Some(inner @ [0x45..=0x4F | 0x60..=0x6F, ..]))) => self.on_ip(inner, depth + 1, cut, visit),
                    Some(Err(kind @ FlawKind::Unsupported { .. })) => Err(kind),
                    // What only looks like a tunnel is a datagram.
                    Some(_) | None => {
                        self.on_datagram(src, dst, payload, visit);
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

/// Whether a datagram is SIP: RFC 3261 §7.5 lets CRLFs precede the start line.
fn is_sip(datagram: &[u8]) -> bool {
    start_line(start_line::skip_crlf(datagram)) == StartLine::Sip
}
