//! From a link-layer frame to the IP packet in it, and from there to UDP and TCP.
//!
//! Link types: <https://www.tcpdump.org/linktypes.html>. What is not IP is nothing to us; what is IP and cannot be read
//! is named.

use std::net::{IpAddr, SocketAddr};

use etherparse::{Ipv6ExtensionSlice, LaxIpSlice, TcpSlice, ip_number};

use super::flaw::FlawKind;

const LINK_NULL: u32 = 0;
const LINK_ETHERNET: u32 = 1;
const LINK_LOOP: u32 = 108;
const LINK_LINUX_SLL: u32 = 113;
const LINK_LINUX_SLL2: u32 = 276;
/// LINKTYPE_RAW, what BSDs wrote for it, LINKTYPE_IPV4, LINKTYPE_IPV6.
const LINK_RAW: [u32; 5] = [101, 12, 14, 228, 229];

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
const TRANSPARENT_ETHERNET: u16 = 0x6558;
/// RFC 3550 §5.1, without contributing sources.
const RTP_HEADER_BYTES: usize = 12;
/// Frames carry one or two tags; more is somebody's joke.
const VLAN_TAGS_MAX: usize = 8;

/// Finds the IP packet in a frame: None when the frame carries something else.
pub(crate) fn ip_in_frame(link: u32, frame: &[u8]) -> Result<Option<&[u8]>, FlawKind> {
    match link {
        LINK_ETHERNET => ip_in_ethernet(frame),
        LINK_LINUX_SLL => ip_by_ethertype(word(frame, 14)?, rest(frame, 16)?),
        LINK_LINUX_SLL2 => ip_by_ethertype(word(frame, 0)?, rest(frame, 20)?),
        LINK_NULL | LINK_LOOP => {
            let family: [u8; 4] = frame
                .get(..4)
                .and_then(|b| b.try_into().ok())
                .ok_or(FlawKind::MalformedLink)?;
            // In the byte order of whoever captured. AF_INET; AF_INET6 of Linux, NetBSD, FreeBSD, macOS.
            let is_ip = |family: u32| matches!(family, 2 | 10 | 24 | 28 | 30);
            let known = is_ip(u32::from_be_bytes(family)) || is_ip(u32::from_le_bytes(family));
            Ok(if known { Some(rest(frame, 4)?) } else { None })
        }
        link if LINK_RAW.contains(&link) => Ok(Some(frame)),
        link => Err(FlawKind::UnsupportedLink { link }),
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u16, FlawKind> {
    let two = bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .ok_or(FlawKind::MalformedLink)?;
    Ok(u16::from_be_bytes(two))
}

fn rest(bytes: &[u8], from: usize) -> Result<&[u8], FlawKind> {
    bytes.get(from..).ok_or(FlawKind::MalformedLink)
}

fn ip_in_ethernet(frame: &[u8]) -> Result<Option<&[u8]>, FlawKind> {
    ip_by_ethertype(word(frame, 12)?, rest(frame, 14)?)
}

fn ip_by_ethertype(ethertype: u16, payload: &[u8]) -> Result<Option<&[u8]>, FlawKind> {
    let (mut ethertype, mut payload) = (ethertype, payload);
    for _ in 0..VLAN_TAGS_MAX {
        match ethertype {
            IPV4 | IPV6 => return Ok(Some(payload)),
            // IEEE 802.1Q, 802.1ad, and QinQ from before it.
            0x8100 | 0x88A8 | 0x9100 | 0x9200 => (ethertype, payload) = (word(payload, 2)?, rest(payload, 4)?),
            // PPPoE session (RFC 2516): PPP protocol IPv4 or IPv6.
            0x8864 => {
                return Ok(match word(payload, 6)? {
                    0x0021 | 0x0057 => Some(rest(payload, 8)?),
                    _ => None,
                });
            }
            // IEEE 802.3 length, then LLC/SNAP (RFC 1042).
            0..=1500 if payload.starts_with(&[0xAA, 0xAA, 0x03, 0, 0, 0]) => {
                (ethertype, payload) = (word(payload, 6)?, rest(payload, 8)?);
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// An IP packet after its headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct IpPacket<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub payload: &'a [u8],
    /// The headers announce more bytes than there are.
    pub is_cut: bool,
    pub fragment: Option<Fragment>,
}

/// Which part of a datagram a packet carries (RFC 791 §3.1, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fragment {
    pub identification: u32,
    /// In bytes.
    pub offset: u16,
    pub more: bool,
}

pub(crate) fn parse_ip(packet: &[u8]) -> Result<IpPacket<'_>, FlawKind> {
    let (ip, stopped) = LaxIpSlice::from_slice(packet).map_err(|_| FlawKind::MalformedIp)?;
    if stopped.is_some() && !ip.payload().incomplete {
        return Err(FlawKind::MalformedIp);
    }
    let fragment = match &ip {
        LaxIpSlice::Ipv4(ip) if ip.header().is_fragmenting_payload() => Some(Fragment {
            identification: u32::from(ip.header().identification()),
            offset: ip.header().fragments_offset().byte_offset(),
            more: ip.header().more_fragments(),
        }),
        LaxIpSlice::Ipv6(ip) => ip
            .extensions()
            .clone()
            .into_iter()
            .find_map(|extension| match extension {
                Ipv6ExtensionSlice::Fragment(f) if f.is_fragmenting_payload() => Some(Fragment {
                    identification: f.identification(),
                    offset: f.fragment_offset().byte_offset(),
                    more: f.more_fragments(),
                }),
                _ => None,
            }),
        LaxIpSlice::Ipv4(_) => None,
    };
    Ok(IpPacket {
        src: ip.source_addr(),
        dst: ip.destination_addr(),
        protocol: ip.payload().ip_number.0,
        payload: ip.payload().payload,
        is_cut: ip.payload().incomplete || stopped.is_some(),
        fragment,
    })
}

/// What an IP datagram (whole, or reassembled) carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carried<'a> {
    Udp {
        src: SocketAddr,
        dst: SocketAddr,
        payload: &'a [u8],
    },
    Tcp {
        src: SocketAddr,
        dst: SocketAddr,
        segment: Segment<'a>,
    },
    /// Another IP packet: IP-in-IP (RFC 2003), 6in4 (RFC 4213), GRE (RFC 2784).
    Tunnelled(&'a [u8]),
    Other,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Segment<'a> {
    pub sequence: u32,
    /// None without the ACK flag.
    pub acknowledged: Option<u32>,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub payload: &'a [u8],
}

pub(crate) fn parse_transport(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Result<Carried<'_>, FlawKind> {
    match protocol {
        17 => parse_udp(src, dst, payload),
        6 => {
            let tcp = TcpSlice::from_slice(payload).map_err(|_| FlawKind::MalformedTransport)?;
            Ok(Carried::Tcp {
                src: SocketAddr::new(src, tcp.source_port()),
                dst: SocketAddr::new(dst, tcp.destination_port()),
                segment: Segment {
                    sequence: tcp.sequence_number(),
                    acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
                    syn: tcp.syn(),
                    fin: tcp.fin(),
                    rst: tcp.rst(),
                    payload: payload.get(tcp.header_slice().len()..).unwrap_or_default(),
                },
            })
        }
        4 | 41 => Ok(Carried::Tunnelled(payload)),
        47 => Ok(ip_in_gre(payload)?.map_or(Carried::Other, Carried::Tunnelled)),
        _ => Ok(Carried::Other),
    }
}

fn parse_udp(src: IpAddr, dst: IpAddr, datagram: &[u8]) -> Result<Carried<'_>, FlawKind> {
    let field = |at| word(datagram, at).map_err(|_| FlawKind::MalformedTransport);
    let (from, to, length) = (field(0)?, field(2)?, usize::from(field(4)?));
    let end = match length {
        // Offloaded or a jumbogram (RFC 2675 §4).
        0 => datagram.len(),
        8.. => length,
        _ => return Err(FlawKind::MalformedTransport),
    };
    let payload = datagram.get(8..end).ok_or(FlawKind::MalformedTransport)?;
    Ok(Carried::Udp {
        src: SocketAddr::new(src, from),
        dst: SocketAddr::new(dst, to),
        payload,
    })
}

/// Of a UDP datagram that is not there to its end: who sent it to whom, and its beginning, if that is long enough for
/// an RTP header.
pub(crate) fn start_of_udp<'a>(ip: &IpPacket<'a>) -> Option<(SocketAddr, SocketAddr, &'a [u8])> {
    if ip.protocol != 17 || ip.fragment.is_some() {
        return None;
    }
    let (header, start) = ip.payload.split_first_chunk::<8>()?;
    let [s0, s1, d0, d1, ..] = *header;
    let src = SocketAddr::new(ip.src, u16::from_be_bytes([s0, s1]));
    let dst = SocketAddr::new(ip.dst, u16::from_be_bytes([d0, d1]));
    (start.len() >= RTP_HEADER_BYTES).then_some((src, dst, start))
}

/// GRE with its optional fields (RFC 2784 §2, RFC 2890 §2); version 1 is PPTP's.
fn ip_in_gre(packet: &[u8]) -> Result<Option<&[u8]>, FlawKind> {
    let flags = word(packet, 0)?;
    if flags & 0x7 != 0 {
        return Ok(None);
    }
    let optional = [0x8000, 0x2000, 0x1000].iter().filter(|bit| flags & **bit != 0).count();
    let payload = rest(packet, 4 + 4 * optional)?;
    match word(packet, 2)? {
        TRANSPARENT_ETHERNET => ip_in_ethernet(payload),
        ethertype => ip_by_ethertype(ethertype, payload),
    }
}

const _: () = assert!(ip_number::UDP.0 == 17 && ip_number::TCP.0 == 6 && ip_number::GRE.0 == 47);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::forge::{self, ETHERNET, Pcap, addr, millis};
    use super::*;

    const A: &str = "192.0.2.1:5060";
    const B: &str = "192.0.2.2:5080";
    const A6: &str = "[2001:db8::1]:5060";
    const B6: &str = "[2001:db8::2]:5080";

    /// Every frame is one packet from A to B (or their IPv6 selves) with the payload `hello`.
    fn frames() -> Vec<(&'static str, u32, Vec<u8>)> {
        let (v4, v6) = (forge::ip_udp(A, B, b"hello"), forge::ip_udp(A6, B6, b"hello"));
        let tagged = |tags: &[[u8; 4]], ethertype: [u8; 2], payload: &[u8]| {
            let mut frame = vec![2; 12];
            frame.extend(tags.concat());
            frame.extend(ethertype);
            frame.extend(payload);
            frame
        };
        let under = |header: &[u8], payload: &[u8]| [header, payload].concat();
        let mut sll = vec![0; 14];
        sll.extend([0x08, 0x00]);
        let mut sll6 = vec![0; 14];
        sll6.extend([0x86, 0xDD]);
        let mut sll2 = vec![0x08, 0x00];
        sll2.extend([0; 18]);
        let vlan = [0x81, 0x00, 0x00, 0x64];
        let outer = ip_addrs();
        let tunnel =
            |protocol: u8, payload: &[u8]| forge::ethernet(&forge::ip4(outer.0, outer.1, protocol, 1, 0, payload));
        let gre_bridge = under(&[0x20, 0x00, 0x65, 0x58, 0, 0, 0, 9], &forge::ethernet(&v4));
        vec![
            ("Ethernet", 1, forge::ethernet(&v4)),
            ("Ethernet, IPv6", 1, forge::ethernet(&v6)),
            ("VLAN", 1, tagged(&[vlan], [0x08, 0x00], &v4)),
            ("QinQ", 1, tagged(&[[0x88, 0xA8, 0, 1], vlan], [0x86, 0xDD], &v6)),
            (
                "LLC/SNAP",
                1,
                tagged(&[[0x00, 0x40, 0xAA, 0xAA], [0x03, 0, 0, 0]], [0x08, 0x00], &v4),
            ),
            (
                "PPPoE",
                1,
                tagged(&[], [0x88, 0x64], &under(&[0x11, 0, 0, 1, 0, 35, 0, 0x21], &v4)),
            ),
            ("Linux cooked v1", 113, under(&sll, &v4)),
            ("Linux cooked v1, IPv6", 113, under(&sll6, &v6)),
            ("Linux cooked v2", 276, under(&sll2, &v4)),
            ("null, little", 0, under(&[2, 0, 0, 0], &v4)),
            ("null, big", 0, under(&[0, 0, 0, 2], &v4)),
            ("null, macOS IPv6", 0, under(&[30, 0, 0, 0], &v6)),
            ("loop, OpenBSD IPv6", 108, under(&[0, 0, 0, 24], &v6)),
            ("raw", 101, v4.clone()),
            ("raw, IPv6", 101, v6.clone()),
            ("raw, OpenBSD's number", 14, v4.clone()),
            ("IPv4", 228, v4.clone()),
            ("IPv6", 229, v6.clone()),
            ("IP in IP", 1, tunnel(4, &v4)),
            ("6in4", 1, tunnel(41, &v6)),
            ("GRE", 1, tunnel(47, &under(&[0, 0, 0x08, 0x00], &v4))),
            ("GRE with a key, bridged", 1, tunnel(47, &gre_bridge)),
        ]
    }

    fn ip_addrs() -> (IpAddr, IpAddr) {
        (addr("198.51.100.1:0").ip(), addr("198.51.100.2:0").ip())
    }

    #[test]
    fn every_link_type_leads_to_the_same_datagram() {
        for (name, link, mut frame) in frames() {
            for padding in [0, 7] {
                frame.extend(vec![0; padding]);
                let mut file = Pcap::new(link);
                file.push(millis(0), &frame);
                let (kept, flaws) = forge::read(&file.bytes).unwrap();
                assert_eq!(flaws, [], "{name}");
                assert_eq!(kept.len(), 1, "{name}");
                assert_eq!(kept[0].bytes, b"hello", "{name}");
                let (src, dst) = if kept[0].src.is_ipv4() { (A, B) } else { (A6, B6) };
                assert_eq!((kept[0].src, kept[0].dst), (addr(src), addr(dst)), "{name}");
            }
        }
    }

    #[test]
    fn a_frame_cut_by_the_snap_length_is_named_and_never_half_read() {
        for (name, link, frame) in frames() {
            for keep in 0..frame.len() {
                let mut file = Pcap::new(link);
                file.push_cut(millis(0), &frame, keep);
                let (kept, flaws) = forge::read(&file.bytes).unwrap();
                assert_eq!(kept, [], "{name} cut to {keep}");
                let expected = FlawKind::Cut {
                    captured: keep as u32,
                    wire: frame.len() as u32,
                };
                assert!(
                    flaws.iter().all(|flaw| flaw.kind == expected),
                    "{name} cut to {keep}: {flaws:?}"
                );
            }
        }
    }

    #[test]
    fn a_trailer_lost_to_the_snap_length_costs_nothing() {
        let mut frame = forge::ethernet_udp(A, B, b"hello");
        let whole = frame.len();
        frame.extend([0; 10]);
        let mut file = Pcap::new(ETHERNET);
        file.push_cut(millis(0), &frame, whole);
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        assert_eq!((kept.len(), flaws), (1, vec![]));
    }

    #[test]
    fn what_carries_no_ip_is_passed_over_in_silence() {
        let arp = [vec![2; 12], vec![0x08, 0x06], vec![0; 28]].concat();
        let mut file = Pcap::new(ETHERNET);
        file.push(millis(0), &arp);
        assert_eq!(forge::read(&file.bytes).unwrap(), (vec![], vec![]));
        let mut file = Pcap::new(147);
        file.push(millis(0), &arp);
        assert_eq!(
            forge::read(&file.bytes).unwrap().1[0].kind,
            FlawKind::UnsupportedLink { link: 147 }
        );
    }

    #[test]
    fn ipv6_extension_headers_are_passed_through() {
        let (a, b) = (addr(A6), addr(B6));
        let datagram = forge::udp(a, b, b"hello");
        let mut options = vec![60, 0, 1, 4, 0, 0, 0, 0];
        options.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        options.extend(&datagram);
        let mut file = Pcap::new(101);
        file.push(millis(0), &forge::ip6(a.ip(), b.ip(), 0, &options));
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        assert_eq!(flaws, []);
        assert_eq!(kept[0].bytes, b"hello");
    }

    #[test]
    fn tunnels_end_somewhere() {
        let (a, b) = ip_addrs();
        let mut packet = forge::ip_udp(A, B, b"hello");
        for _ in 0..6 {
            packet = forge::ip4(a, b, 4, 1, 0, &packet);
        }
        let mut file = Pcap::new(101);
        file.push(millis(0), &packet);
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        assert_eq!(kept, []);
        assert_eq!(flaws[0].kind, FlawKind::NestedTooDeep { max: 4 });
    }

    proptest! {
        #[test]
        fn random_frames_never_panic(
            link in prop::sample::select(vec![0_u32, 1, 101, 108, 113, 276, 9_999]),
            frame in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut file = Pcap::new(link);
            file.push(millis(0), &frame);
            let (kept, flaws) = forge::read(&file.bytes).unwrap();
            prop_assert!(kept.len() + flaws.len() <= 2);
        }

        #[test]
        fn frames_with_a_few_bytes_changed_never_panic(
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let frames = frames();
            let (_, link, mut frame) = which.get(&frames).clone();
            for (at, value) in changes {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            let mut file = Pcap::new(link);
            file.push(millis(0), &frame);
            let (kept, _) = forge::read(&file.bytes).unwrap();
            prop_assert!(kept.iter().all(|k| k.bytes.len() <= frame.len()));
        }
    }
}
