//! From a link-layer frame to the IP packet in it, and from there to UDP and TCP.
//!
//! Link types: <https://www.tcpdump.org/linktypes.html>. What is not IP is nothing to us; what is IP and cannot be read
//! is named.

use std::net::{IpAddr, SocketAddr};

use etherparse::{Ipv6ExtensionSlice, LaxIpSlice, TcpSlice, ip_number};

use super::encapsulation::{self, Encapsulation, Layer};
use super::flaw::FlawKind;
use super::pseudo_header;

const LINK_NULL: u32 = 0;
pub(super) const ETHERNET: u32 = 1;
const LINK_PPP: u32 = 9;
const LINK_PPP_HDLC: u32 = 50;
const LINK_PPPOE: u32 = 51;
/// LINKTYPE_ATM_RFC1483.
const LINK_ATM: u32 = 100;
const LINK_CISCO_HDLC: u32 = 104;
const LINK_WIRELESS: u32 = 105;
const LINK_LOOP: u32 = 108;
const LINK_LINUX_SLL: u32 = 113;
const LINK_PRISM: u32 = 119;
const LINK_RADIOTAP: u32 = 127;
/// LINKTYPE_PPP_PPPD: the first byte says who sent it.
const LINK_PPP_PPPD: u32 = 166;
/// LINKTYPE_PPP_WITH_DIR: a byte before says it.
const LINK_PPP_DIRECTION: u32 = 204;
const LINK_MPLS: u32 = 219;
const LINK_NFLOG: u32 = 239;
const LINK_LINUX_SLL2: u32 = 276;
/// LINKTYPE_WIRESHARK_UPPER_PDU.
pub(super) const EXPORTED_PDU: u32 = 252;
pub(super) const RAW: u32 = 101;
/// What BSDs wrote for LINKTYPE_RAW, LINKTYPE_IPV4, LINKTYPE_IPV6.
const LINK_RAW: [u32; 5] = [RAW, 12, 14, 228, 229];
/// LINKTYPE_FRELAY.
const LINK_FRAME_RELAY: u32 = 107;

/// A header of the capturing system, and one more.
const PSEUDO_HEADERS_MAX: u8 = 2;

/// RFC 3550 §5.1, without contributing sources.
const RTP_HEADER_BYTES: usize = 12;

/// Finds the IP packet in a frame: None when the frame carries something else.
pub(crate) fn ip_in_frame(mut link: u32, mut frame: &[u8]) -> Result<Option<&[u8]>, FlawKind> {
    for _ in 0..PSEUDO_HEADERS_MAX {
        match pseudo_header::behind(link, frame)? {
            Some(found) => (link, frame) = found,
            None => break,
        }
    }
    let (layer, payload) = match link {
        ETHERNET => (Layer::Ethernet, frame),
        LINK_LINUX_SLL => (Layer::Ethertype(word(frame, 14)?), rest(frame, 16)?),
        LINK_LINUX_SLL2 => (Layer::Ethertype(word(frame, 0)?), rest(frame, 20)?),
        LINK_NULL | LINK_LOOP => {
            let family: [u8; 4] = frame
                .get(..4)
                .and_then(|b| b.try_into().ok())
                .ok_or(FlawKind::MalformedLink)?;
            // In the byte order of whoever captured. AF_INET; AF_INET6 of Linux, NetBSD, FreeBSD, macOS.
            let is_ip = |family: u32| matches!(family, 2 | 10 | 24 | 28 | 30);
            let known = is_ip(u32::from_be_bytes(family)) || is_ip(u32::from_le_bytes(family));
            (if known { Layer::Ip } else { Layer::Nothing }, rest(frame, 4)?)
        }
        LINK_PPP | LINK_PPP_HDLC => match frame {
            // Cisco's HDLC has an Ethernet type where PPP has its protocol (RFC 1547 §4.3.1).
            [0x0F | 0x8F, 0, ..] => (Layer::Ethertype(word(frame, 2)?), rest(frame, 4)?),
            _ => (Layer::Ppp, frame),
        },
        LINK_CISCO_HDLC => (Layer::Ethertype(word(frame, 2)?), rest(frame, 4)?),
        LINK_PPPOE => (Layer::Ppp, rest(frame, 6)?),
        LINK_PPP_DIRECTION => (Layer::Ppp, rest(frame, 1)?),
        LINK_PPP_PPPD => (Layer::Ppp, rest(frame, 2)?),
        LINK_FRAME_RELAY => encapsulation::in_frame_relay(frame)?,
        LINK_ATM => (Layer::Llc, frame),
        LINK_MPLS => (Layer::Mpls, frame),
        LINK_NFLOG => encapsulation::in_nflog(frame)?,
        LINK_WIRELESS => encapsulation::in_wireless(frame)?,
        // Radiotap tells its own length, little-endian.
        LINK_RADIOTAP => encapsulation::in_wireless(rest(frame, usize::from(word(frame, 2)?.swap_bytes()))?)?,
        LINK_PRISM => encapsulation::in_wireless(rest(frame, 144)?)?,
        link if LINK_RAW.contains(&link) => (Layer::Ip, frame),
        link => return Err(Encapsulation::Link(link as u16).unread()),
    };
    encapsulation::ip_in(layer, payload)
}

pub(super) fn word(bytes: &[u8], at: usize) -> Result<u16, FlawKind> {
    let two = bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .ok_or(FlawKind::MalformedLink)?;
    Ok(u16::from_be_bytes(two))
}

pub(super) fn rest(bytes: &[u8], from: usize) -> Result<&[u8], FlawKind> {
    bytes.get(from..).ok_or(FlawKind::MalformedLink)
}

/// An IP packet after its headers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct IpPacket<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub payload: &'a [u8],
    /// The headers announce more bytes than there are.
    pub is_cut: bool,
    /// None in IPv6.
    pub identification: Option<u16>,
    pub fragment: Option<Fragment>,
}

/// Which part of a datagram a packet carries (RFC 791 §3.1, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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
    let identification = match &ip {
        LaxIpSlice::Ipv4(ip) => Some(ip.header().identification()),
        LaxIpSlice::Ipv6(_) => None,
    };
    Ok(IpPacket {
        src: ip.source_addr(),
        dst: ip.destination_addr(),
        protocol: ip.payload().ip_number.0,
        payload: ip.payload().payload,
        is_cut: ip.payload().incomplete || stopped.is_some(),
        identification,
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
    /// Another IP packet: IP-in-IP (RFC 2003), 6in4 (RFC 4213), GRE (RFC 2784), MPLS-in-IP (RFC 4023).
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
        47 => tunnelled(encapsulation::in_gre(payload)?),
        115 => encapsulation::in_l2tp3(payload).map_or(Err(Encapsulation::Ip(115).unread()), tunnelled),
        137 => tunnelled((Layer::Mpls, payload)),
        // ICMP, IGMP, EGP and IGPs, RSVP, EIGRP, OSPF, PIM, VRRP, and no next header: nobody speaks SIP in them.
        0 | 1 | 2 | 8 | 9 | 46 | 58..=60 | 88 | 89 | 103 | 112 => Ok(Carried::Other),
        other => Err(Encapsulation::Ip(other).unread()),
    }
}

fn tunnelled((layer, bytes): (Layer, &[u8])) -> Result<Carried<'_>, FlawKind> {
    Ok(encapsulation::ip_in(layer, bytes)?.map_or(Carried::Other, Carried::Tunnelled))
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

const _: () = assert!(ip_number::UDP.0 == 17 && ip_number::TCP.0 == 6 && ip_number::GRE.0 == 47);

#[cfg(test)]
mod tests;
