//! Copies of messages and datagrams that tell by themselves who sent them to whom: HEP, which proxies and capture agents
//! send to a collector (versions 1, 2: Kamailio's `sipcapture`; 3: the HEP3 specification), and what Wireshark exports as
//! PDUs (LINKTYPE_WIRESHARK_UPPER_PDU, `epan/exported_pdu.h`).

use std::net::{IpAddr, SocketAddr};

use super::encapsulation::Encapsulation;
use super::flaw::FlawKind;
use super::link::{Segment, rest, word};

/// Fields of one copy.
const FIELDS_MAX: usize = 64;

/// How the copied bytes went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Copied<'a> {
    Datagram(SocketAddr, SocketAddr, &'a [u8]),
    /// What an application got from a connection.
    Message(SocketAddr, SocketAddr, &'a [u8]),
    Segment(SocketAddr, SocketAddr, Segment<'a>),
    /// An IP packet, whole.
    Ip(&'a [u8]),
    /// Neither addresses nor an IP packet.
    Nothing,
}

/// What the fields say so far.
#[derive(Default)]
struct Fields<'a> {
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    ports: [u16; 2],
    is_stream: bool,
    segment: Option<Segment<'a>>,
    name: &'a [u8],
}

impl<'a> Fields<'a> {
    fn copied(self, payload: &'a [u8]) -> Copied<'a> {
        let (Some(src), Some(dst)) = (self.src, self.dst) else {
            return match self.name {
                b"ip" | b"ipv6" => Copied::Ip(payload),
                _ => Copied::Nothing,
            };
        };
        let [src, dst] = [(src, self.ports[0]), (dst, self.ports[1])].map(SocketAddr::from);
        match self.segment {
            Some(segment) => Copied::Segment(src, dst, Segment { payload, ..segment }),
            None if self.is_stream => Copied::Message(src, dst, payload),
            None => Copied::Datagram(src, dst, payload),
        }
    }
}

/// Whether a datagram is a copy by HEP. Neither SIP, RTP, RTCP nor STUN begins like one.
pub(super) fn is_hep(datagram: &[u8]) -> bool {
    matches!(
        datagram,
        [b'H', b'E', b'P', b'3', ..]
            | [1, 16, 2, 6 | 17, ..]
            | [1, 40, 10, 6 | 17, ..]
            | [2, 16 | 28, 2, 6 | 17, ..]
            | [2, 40 | 52, 10, 6 | 17, ..]
    )
}

/// What a datagram copies that [`is_hep`].
pub(super) fn in_hep(datagram: &[u8]) -> Result<Copied<'_>, FlawKind> {
    match datagram {
        [b'H', b'E', b'P', b'3', ..] => in_hep3(datagram),
        _ => in_hep1(datagram),
    }
    .map_err(|kind| match kind {
        FlawKind::MalformedLink => FlawKind::MalformedHep,
        kind => kind,
    })
}

/// Version, length of the header, address family, protocol, ports, addresses; in version 2 a time and who captured, which
/// not all count as part of the header.
fn in_hep1(datagram: &[u8]) -> Result<Copied<'_>, FlawKind> {
    let [version, _, family, protocol, ..] = *datagram else {
        return Err(FlawKind::MalformedHep);
    };
    let address_bytes = if family == 2 { 4 } else { 16 };
    let more = if version == 2 { 12 } else { 0 };
    let fields = Fields {
        src: ip(datagram.get(8..8 + address_bytes)),
        dst: ip(datagram.get(8 + address_bytes..8 + 2 * address_bytes)),
        ports: [word(datagram, 4)?, word(datagram, 6)?],
        is_stream: protocol == 6,
        ..Fields::default()
    };
    Ok(fields.copied(rest(datagram, 8 + 2 * address_bytes + more)?))
}

/// Chunks of vendor, type, length with this header, value.
fn in_hep3(datagram: &[u8]) -> Result<Copied<'_>, FlawKind> {
    let mut fields = Fields::default();
    let mut payload = None;
    let end = usize::from(word(datagram, 4)?);
    let mut chunks = datagram.get(6..end).ok_or(FlawKind::MalformedHep)?;
    for _ in 0..FIELDS_MAX {
        if chunks.is_empty() {
            break;
        }
        let (vendor, kind, length) = (word(chunks, 0)?, word(chunks, 2)?, usize::from(word(chunks, 4)?));
        let value = chunks.get(6..length).ok_or(FlawKind::MalformedHep)?;
        match (vendor, kind) {
            (0, 2) => fields.is_stream = value == [6],
            (0, 3 | 5) => fields.src = ip(Some(value)),
            (0, 4 | 6) => fields.dst = ip(Some(value)),
            (0, 7) => fields.ports[0] = word(value, 0)?,
            (0, 8) => fields.ports[1] = word(value, 0)?,
            (0, 15) => payload = Some(value),
            (0, 16) => return Err(Encapsulation::CompressedHep.unread()),
            _ => {}
        }
        chunks = rest(chunks, length)?;
    }
    Ok(payload.map_or(Copied::Nothing, |payload| fields.copied(payload)))
}

/// Tags of type, length and value, up to an end; then the PDU.
pub(super) fn in_exported(frame: &[u8]) -> Result<Copied<'_>, FlawKind> {
    let mut fields = Fields::default();
    let mut tags = frame;
    for _ in 0..FIELDS_MAX {
        let (kind, length) = (word(tags, 0)?, usize::from(word(tags, 2)?));
        let value = tags.get(4..4 + length).ok_or(FlawKind::MalformedLink)?;
        tags = rest(tags, 4 + length)?;
        match kind {
            0 => return Ok(fields.copied(tags)),
            12 => fields.name = value.split(|byte| *byte == 0).next().unwrap_or_default(),
            20 | 22 => fields.src = ip(Some(value)),
            21 | 23 => fields.dst = ip(Some(value)),
            24 => fields.is_stream = value == [0, 0, 0, 2],
            25 => fields.ports[0] = word(value, 2)?,
            26 => fields.ports[1] = word(value, 2)?,
            34 => fields.segment = segment(value),
            _ => {}
        }
    }
    Err(FlawKind::MalformedLink)
}

/// Version 1: sequence number, next one, what was acknowledged last, whether the PDU is put together of several segments,
/// flags. None: it is.
fn segment(value: &[u8]) -> Option<Segment<'_>> {
    let [0, 1, s0, s1, s2, s3, _, _, _, _, a0, a1, a2, a3, 0, _, flags, ..] = *value else {
        return None;
    };
    Some(Segment {
        sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        acknowledged: (flags & 0x10 != 0).then_some(u32::from_be_bytes([a0, a1, a2, a3])),
        syn: flags & 0x02 != 0,
        fin: flags & 0x01 != 0,
        rst: flags & 0x04 != 0,
        payload: &[],
    })
}

fn ip(bytes: Option<&[u8]>) -> Option<IpAddr> {
    match bytes? {
        bytes @ [_, _, _, _] => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        bytes => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::forge::{self, ACK, ETHERNET, Kept, Pcap, addr, millis};
    use super::*;
    use crate::sip::Transport;

    const A: &str = "192.0.2.1:5061";
    const B: &str = "192.0.2.2:5080";
    const MESSAGE: &[u8] = b"OPTIONS sip:b@example.com SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    fn chunk(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = value.len() as u16 + 6;
        [&[0, 0][..], &kind.to_be_bytes(), &length.to_be_bytes(), value].concat()
    }

    fn hep3(protocol: u8, kind: u16, payload: &[u8]) -> Vec<u8> {
        let chunks = [
            chunk(1, &[2]),
            chunk(2, &[protocol]),
            chunk(3, &[192, 0, 2, 1]),
            chunk(4, &[192, 0, 2, 2]),
            chunk(7, &5_061_u16.to_be_bytes()),
            chunk(8, &5_080_u16.to_be_bytes()),
            chunk(11, &[1]),
            chunk(12, &[0, 0, 0, 7]),
            chunk(kind, payload),
        ]
        .concat();
        [b"HEP3", &(chunks.len() as u16 + 6).to_be_bytes()[..], &chunks].concat()
    }

    fn read(datagrams: &[Vec<u8>]) -> (Vec<Kept>, Vec<String>) {
        let mut file = Pcap::new(ETHERNET);
        for datagram in datagrams {
            file.udp(millis(0), "198.51.100.1:40000", "198.51.100.2:9060", datagram);
        }
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        (kept, flaws.iter().map(|flaw| flaw.kind.to_string()).collect())
    }

    #[test]
    fn each_version_of_hep_tells_who_said_the_message_to_whom_and_over_what() {
        let old = [
            &[1, 16, 2, 17, 0x13, 0xC5, 0x13, 0xD8, 192, 0, 2, 1, 192, 0, 2, 2],
            MESSAGE,
        ]
        .concat();
        // As Kamailio has it, 16; as others, 28.
        let timed = |header: u8, protocol: u8| {
            let ends = [0x13, 0xC5, 0x13, 0xD8, 192, 0, 2, 1, 192, 0, 2, 2];
            [&[2, header, 2, protocol], &ends[..], &[0; 12], MESSAGE].concat()
        };
        for (datagram, transport) in [
            (old, Transport::Udp),
            (timed(16, 17), Transport::Udp),
            (timed(28, 6), Transport::Tcp),
            (hep3(17, 15, MESSAGE), Transport::Udp),
            (hep3(6, 15, MESSAGE), Transport::Tcp),
        ] {
            let (kept, flaws) = read(&[datagram]);
            assert_eq!((kept.len(), flaws), (1, vec![]));
            assert_eq!((kept[0].sip, &kept[0].bytes[..]), (Some(transport), MESSAGE));
            assert_eq!((kept[0].src, kept[0].dst), (addr(A), addr(B)));
        }
    }

    #[test]
    fn hep_tells_of_ipv6_too() {
        for version in [1, 2] {
            let ends = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse::<std::net::Ipv6Addr>().unwrap().octets());
            let more = [0; 12];
            let more = if version == 2 { &more[..] } else { &[] };
            let copy = [
                &[version, 40, 10, 17, 0x13, 0xC5, 0x13, 0xD8][..],
                &ends.concat(),
                more,
                MESSAGE,
            ]
            .concat();
            let (kept, flaws) = read(&[copy]);
            assert_eq!((kept.len(), flaws), (1, vec![]));
            assert_eq!(
                (kept[0].src, kept[0].dst),
                (addr("[2001:db8::1]:5061"), addr("[2001:db8::2]:5080"))
            );
            assert_eq!(kept[0].bytes, MESSAGE);
        }
    }

    #[test]
    fn what_hep_compresses_or_breaks_off_is_named() {
        let mut short = hep3(17, 15, MESSAGE);
        short.truncate(short.len() - 4);
        let (kept, flaws) = read(&[hep3(17, 16, b"\x1f\x8b"), hep3(17, 16, b"\x1f\x8b\x08"), short]);
        assert_eq!(kept, []);
        let expected = [
            "malformed HEP header",
            "compressed HEP is not supported: 2 packets not read",
        ];
        assert_eq!(flaws, expected);
    }

    fn tag(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
    }

    fn exported(name: &[u8], port_type: u8, more: &[u8], payload: &[u8]) -> Vec<u8> {
        [
            tag(12, name),
            tag(20, &[192, 0, 2, 1]),
            tag(21, &[192, 0, 2, 2]),
            tag(24, &[0, 0, 0, port_type]),
            tag(25, &5_061_u32.to_be_bytes()),
            tag(26, &5_080_u32.to_be_bytes()),
            tag(30, &[0, 0, 0, 9]),
            more.to_vec(),
            tag(0, &[]),
            payload.to_vec(),
        ]
        .concat()
    }

    #[test]
    fn exported_pdus_of_all_layers_are_read() {
        let info = |sequence: u32| {
            let next = sequence + 40;
            tag(
                34,
                &[
                    &[0, 1][..],
                    &sequence.to_be_bytes(),
                    &next.to_be_bytes(),
                    &[0; 5],
                    &[0, ACK, 0, 0],
                ]
                .concat(),
            )
        };
        let (front, back) = MESSAGE.split_at(40);
        let mut file = Pcap::new(252);
        file.push(millis(0), &exported(b"sip\0", 3, &[], MESSAGE));
        file.push(millis(1), &exported(b"sip\0", 2, &[], MESSAGE));
        file.push(millis(2), &exported(b"rtp\0", 3, &[], &forge::rtp(1, 0, 1)));
        file.push(millis(3), &exported(b"", 2, &info(100), front));
        file.push(millis(4), &exported(b"", 2, &info(140), back));
        let packet = forge::ip_udp(A, B, MESSAGE);
        file.push(millis(5), &[tag(12, b"ip\0\0"), tag(0, &[]), packet].concat());
        file.push(millis(6), &[tag(12, b"http"), tag(0, &[]), b"GET".to_vec()].concat());
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        assert_eq!(flaws, []);
        let (udp, tcp) = (Some(Transport::Udp), Some(Transport::Tcp));
        let found: Vec<_> = kept.iter().map(|k| (k.packet, k.sip)).collect();
        assert_eq!(found, [(1, udp), (2, tcp), (3, None), (5, tcp), (6, udp)]);
        assert!(kept.iter().all(|k| (k.src, k.dst) == (addr(A), addr(B))));
        assert!(kept.iter().all(|k| k.sip.is_none() || k.bytes == MESSAGE));
    }

    #[test]
    fn a_cut_copy_is_named_and_never_half_read() {
        let copies = [
            (252, exported(b"sip\0", 3, &[], MESSAGE)),
            (
                ETHERNET,
                forge::ethernet_udp("198.51.100.1:40000", "198.51.100.2:9060", &hep3(17, 15, MESSAGE)),
            ),
        ];
        for (link, frame) in copies {
            for keep in 0..frame.len() {
                let mut file = Pcap::new(link);
                file.push_cut(millis(0), &frame, keep);
                let (kept, flaws) = forge::read(&file.bytes).unwrap();
                assert_eq!((kept.len(), flaws.len()), (0, 1), "{link} {keep}");
                assert!(matches!(flaws[0].kind, FlawKind::Cut { .. }));
            }
        }
    }

    proptest! {
        #[test]
        fn copies_with_a_few_bytes_changed_never_panic(
            which in 0_usize..3,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = [hep3(17, 15, MESSAGE), exported(b"sip\0", 3, &[], MESSAGE), vec![2, 28, 2, 17, 0, 0]][which].clone();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = in_exported(&bytes);
            let _ = is_hep(&bytes).then(|| in_hep(&bytes));
        }
    }
}
