//! What packets are wrapped in on their way to whoever captures them: tags and labels of switches, PPP, and tunnels that
//! mirror traffic. Layer by layer to the IP packet, as deep as a named limit.
//!
//! A tunnel over UDP is known by its port and by its header. Neither RTP nor SIP begins like one, so that media on such
//! a port stays media.

use super::flaw::FlawKind;
use super::link::{rest, word};

/// A switch, a provider and a mirror put less around a packet than this.
const LAYERS_MAX: u8 = 16;
/// Labels of one stack (RFC 3032).
const LABELS_MAX: usize = 16;
/// Fields of one header: NFLOG's, TZSP's, extensions of GTP-U.
const FIELDS_MAX: usize = 64;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86DD;
const TRANSPARENT_ETHERNET: u16 = 0x6558;
const ETHERNET_BYTES: usize = 14;

const VXLAN: [u16; 2] = [4_789, 8_472];
const VXLAN_GPE: u16 = 4_790;
const GENEVE: u16 = 6_081;
const GTP_U: u16 = 2_152;
const TZSP: u16 = 37_008;
const L2TP: u16 = 1_701;

/// What carries packets that are not read.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Encapsulation {
    /// LINKTYPE_ of the file.
    #[error("link type {0}")]
    Link(u16),
    #[error("Ethernet type {0:#06x}")]
    Ethertype(u16),
    #[error("PPP protocol {0:#06x}")]
    Ppp(u16),
    #[error("IP protocol {0}")]
    Ip(u8),
    #[error("encrypted 802.11")]
    EncryptedWireless,
    /// Of Endace's records.
    #[error("ERF type {0}")]
    Erf(u8),
    #[error("compressed HEP")]
    CompressedHep,
}

impl Encapsulation {
    /// One packet in it.
    pub(super) const fn unread(self) -> FlawKind {
        FlawKind::Unsupported { what: self, packets: 1 }
    }
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Layer {
    Ip,
    Ethernet,
    /// What an Ethernet type says.
    Ethertype(u16),
    /// IEEE 802.2.
    Llc,
    Mpls,
    /// With or without address and control field (RFC 1662 §3.1).
    Ppp,
    /// What carries no IP, and never a call.
    Nothing,
}

/// The IP packet in it. None: it carries something else.
pub(super) fn ip_in(mut layer: Layer, mut bytes: &[u8]) -> Result<Option<&[u8]>, FlawKind> {
    for _ in 0..LAYERS_MAX {
        (layer, bytes) = match layer {
            Layer::Ip => return Ok(Some(bytes)),
            Layer::Nothing => return Ok(None),
            Layer::Ethernet => (Layer::Ethertype(word(bytes, 12)?), rest(bytes, 14)?),
            Layer::Ethertype(ethertype) => by_ethertype(ethertype, bytes)?,
            Layer::Llc => in_llc(bytes)?,
            Layer::Mpls => in_mpls(bytes)?,
            Layer::Ppp => in_ppp(bytes)?,
        };
    }
    Err(FlawKind::NestedTooDeep { max: LAYERS_MAX })
}

fn by_ethertype(ethertype: u16, payload: &[u8]) -> Result<(Layer, &[u8]), FlawKind> {
    Ok(match ethertype {
        IPV4 | IPV6 => (Layer::Ip, payload),
        // IEEE 802.1Q, 802.1ad, and QinQ from before it.
        0x8100 | 0x88A8 | 0x9100 | 0x9200 | 0x9300 => (Layer::Ethertype(word(payload, 2)?), rest(payload, 4)?),
        // IEEE 802.1ah: I-TAG, then the customer's frame.
        0x88E7 => (Layer::Ethernet, rest(payload, 4)?),
        // Cisco metadata: version, length, option, security group tag.
        0x8909 => (Layer::Ethertype(word(payload, 6)?), rest(payload, 8)?),
        0x8847 | 0x8848 => (Layer::Mpls, payload),
        // PPPoE session (RFC 2516 §4).
        0x8864 => (Layer::Ppp, rest(payload, 6)?),
        0x880B => (Layer::Ppp, payload),
        TRANSPARENT_ETHERNET => (Layer::Ethernet, payload),
        0..=1500 => (Layer::Llc, payload),
        // ARP, RARP, AppleTalk, IPX, EAPOL, PPPoE discovery, slow protocols, flow control, LLDP, PTP, CFM, HomePlug, WoL,
        // loopback, AoE, PROFINET, FCoE and its like: nobody speaks SIP in them.
        0x0806
        | 0x8035
        | 0x809B
        | 0x80F3
        | 0x8137
        | 0x888E
        | 0x8863
        | 0x8808
        | 0x8809
        | 0x88CC
        | 0x88F7
        | 0x8902
        | 0x887B
        | 0x88E1
        | 0x0842
        | 0x9000
        | 0x88A2
        | 0x8892
        | 0x8906
        | 0x8914
        | 0x88B8..=0x88BA
        | 0x88F5
        | 0x8940 => (Layer::Nothing, payload),
        other => return Err(Encapsulation::Ethertype(other).unread()),
    })
}

/// SNAP with an Ethernet type (RFC 1042); spanning tree, NetBIOS and Cisco's own protocols are nothing to us.
fn in_llc(payload: &[u8]) -> Result<(Layer, &[u8]), FlawKind> {
    if payload.starts_with(&[0xAA, 0xAA, 0x03, 0, 0, 0]) {
        return Ok((Layer::Ethertype(word(payload, 6)?), rest(payload, 8)?));
    }
    Ok((Layer::Nothing, payload))
}

/// RFC 3032 §2.1; a pseudowire (RFC 4448) carries Ethernet, mostly after a control word of zeros (RFC 4385).
fn in_mpls(payload: &[u8]) -> Result<(Layer, &[u8]), FlawKind> {
    let mut inner = payload;
    for _ in 0..LABELS_MAX {
        let is_bottom = inner.get(2).ok_or(FlawKind::MalformedLink)? & 1 == 1;
        inner = rest(inner, 4)?;
        if is_bottom {
            return Ok(match inner.first().map(|first| first >> 4) {
                Some(4 | 6) => (Layer::Ip, inner),
                Some(0) => (Layer::Ethernet, rest(inner, 4)?),
                _ => (Layer::Ethernet, inner),
            });
        }
    }
    Err(FlawKind::MalformedLink)
}

/// RFC 2427: address, unnumbered information, and which network protocol; Cisco puts an Ethernet type there.
pub(super) fn in_frame_relay(frame: &[u8]) -> Result<(Layer, &[u8]), FlawKind> {
    Ok(match frame {
        [_, _, 3, 0xCC | 0x8E, payload @ ..] => (Layer::Ip, payload),
        [_, _, 3, 0, 0x80, 0, 0, 0, ethertype @ ..] => (Layer::Ethertype(word(ethertype, 0)?), rest(ethertype, 2)?),
        [_, _, 8, 0, payload @ ..] => (Layer::Ip, payload),
        [_, _, 0x86, 0xDD, payload @ ..] => (Layer::Ip, payload),
        [_, _, ..] => (Layer::Nothing, frame),
        _ => return Err(FlawKind::MalformedLink),
    })
}

fn in_ppp(payload: &[u8]) -> Result<(Layer, &[u8]), FlawKind> {
    let payload = payload.strip_prefix(&[0xFF, 0x03]).unwrap_or(payload);
    // An odd first byte is the whole of a compressed protocol field (RFC 1661 §6.5).
    let first = *payload.first().ok_or(FlawKind::MalformedLink)?;
    let (protocol, inner) = match first {
        0xFF => return Err(FlawKind::MalformedLink),
        first if first & 1 == 1 => (u16::from(first), rest(payload, 1)?),
        _ => (word(payload, 0)?, rest(payload, 2)?),
    };
    Ok(match protocol {
        0x0021 | 0x0057 => (Layer::Ip, inner),
        0x0281 | 0x0283 => (Layer::Mpls, inner),
        // Network and link control, authentication (RFC 1661 §2).
        0x8000.. => (Layer::Nothing, inner),
        other => return Err(Encapsulation::Ppp(other).unread()),
    })
}

/// The payload of an NFLOG packet: attributes in the byte order of whoever captured.
pub(super) fn in_nflog(frame: &[u8]) -> Result<(Layer, &[u8]), FlawKind> {
    let mut attributes = rest(frame, 4)?;
    for _ in 0..FIELDS_MAX {
        let (length, kind) = (word(attributes, 0)?, word(attributes, 2)?);
        // There are far fewer than 256 kinds.
        let (length, kind) = match kind {
            0..=0xFF => (usize::from(length), kind),
            _ => (usize::from(length.swap_bytes()), kind.swap_bytes()),
        };
        if kind == 9 {
            let payload = attributes.get(4..length.min(attributes.len()));
            return Ok((Layer::Ip, payload.ok_or(FlawKind::MalformedLink)?));
        }
        attributes = rest(attributes, length.max(4).next_multiple_of(4))?;
    }
    Err(FlawKind::MalformedLink)
}

/// GRE with its optional fields (RFC 2784 §2, RFC 2890 §2; version 1: RFC 2637 §4.1), and ERSPAN in it
/// (draft-foschiano-erspan).
pub(super) fn in_gre(packet: &[u8]) -> Result<(Layer, &[u8]), FlawKind> {
    let (flags, protocol) = (word(packet, 0)?, word(packet, 2)?);
    let is_numbered = flags & 0x1000 != 0;
    let optional = match flags & 0x7 {
        0 => [0x8000, 0x2000, 0x1000].iter().filter(|bit| flags & **bit != 0).count(),
        1 => [0x2000, 0x1000, 0x0080].iter().filter(|bit| flags & **bit != 0).count(),
        _ => return Err(Encapsulation::Ip(47).unread()),
    };
    let payload = rest(packet, 4 + 4 * optional)?;
    Ok(match protocol {
        // ERSPAN type I has no header, type II has one, and GRE's number.
        0x88BE if is_numbered => (Layer::Ethernet, rest(payload, 8)?),
        0x88BE => (Layer::Ethernet, payload),
        0x22EB => {
            let has_more = payload.get(11).ok_or(FlawKind::MalformedLink)? & 1 == 1;
            (Layer::Ethernet, rest(payload, if has_more { 20 } else { 12 })?)
        }
        // WCCP, whose second version puts four bytes before the packet.
        0x883E if payload.first().is_some_and(|first| first >> 4 == 4) => (Layer::Ip, payload),
        0x883E => (Layer::Ip, rest(payload, 4)?),
        // A keep-alive of an empty tunnel.
        0 => (Layer::Nothing, payload),
        ethertype => (Layer::Ethertype(ethertype), payload),
    })
}

/// What a UDP datagram carries as a tunnel; nothing if it ends before that. None: it is no tunnel.
pub(super) fn in_udp(src: u16, dst: u16, payload: &[u8]) -> Option<(Layer, &[u8])> {
    match dst {
        port if VXLAN.contains(&port) => {
            // RFC 7348 §5: the I flag, a network, and what is reserved.
            let inner = match payload {
                [0x08, 0, 0, 0, _, _, _, 0, inner @ ..] => inner,
                // With a group and what was done to it (draft-smith-vxlan-group-policy §2.1). RTP of eight sources begins like this, too, and
                // is longer than what is cut before the inner packet.
                [0x88, done, _, _, _, _, _, 0, inner @ ..]
                    if done & !0x48 == 0 && (inner.len() <= ETHERNET_BYTES || is_ip_frame(inner)) =>
                {
                    inner
                }
                _ => return None,
            };
            Some((Layer::Ethernet, inner))
        }
        VXLAN_GPE => in_vxlan_gpe(payload),
        GENEVE => in_geneve(payload),
        GTP_U => in_gtp(payload),
        TZSP => in_tzsp(payload),
        _ if src == GTP_U => in_gtp(payload),
        _ if [src, dst].contains(&L2TP) => in_l2tp(payload),
        _ => None,
    }
}

/// draft-ietf-nvo3-vxlan-gpe §3: the I and P flags, and what follows.
fn in_vxlan_gpe(payload: &[u8]) -> Option<(Layer, &[u8])> {
    let [first @ 0..=0x3F, 0, 0, next, _, _, _, 0, inner @ ..] = payload else {
        return None;
    };
    let layer = match (first & 0x0C, next) {
        (0x0C, 1 | 2) => Layer::Ip,
        (0x0C, 3) | (0x08, 0) => Layer::Ethernet,
        _ => return None,
    };
    Some((layer, inner))
}

/// RFC 8926 §3.4.
fn in_geneve(payload: &[u8]) -> Option<(Layer, &[u8])> {
    let [first @ 0..=0x3F, flags, p0, p1, _, _, _, 0, after @ ..] = payload else {
        return None;
    };
    let layer = match u16::from_be_bytes([*p0, *p1]) {
        TRANSPARENT_ETHERNET => Layer::Ethernet,
        IPV4 | IPV6 => Layer::Ip,
        _ => return None,
    };
    (flags & 0x3F == 0).then_some(())?;
    Some((layer, after.get(4 * usize::from(*first)..).unwrap_or_default()))
}

/// A G-PDU (3GPP TS 29.281 §5.1): version 1, its optional part and extension headers.
fn in_gtp(payload: &[u8]) -> Option<(Layer, &[u8])> {
    let [flags @ 0x30..=0x37, 0xFF, _, _, _, _, _, _, after @ ..] = payload else {
        return None;
    };
    if flags & 0x07 == 0 {
        return Some((Layer::Ip, after));
    }
    let mut next = if flags & 0x04 != 0 { *after.get(3)? } else { 0 };
    let mut inner = after.get(4..)?;
    for _ in 0..FIELDS_MAX {
        if next == 0 {
            return Some((Layer::Ip, inner));
        }
        let length = 4 * usize::from(inner.first().copied().unwrap_or(1));
        next = inner.get(length.checked_sub(1)?).copied().unwrap_or(0);
        inner = inner.get(length..).unwrap_or_default();
    }
    None
}

/// A data message (RFC 2661 §3.1), or one of version 3 (RFC 3931 §4.1.2.1).
fn in_l2tp(payload: &[u8]) -> Option<(Layer, &[u8])> {
    let [flags @ 0..=0x7F, version, ..] = *payload else {
        return None;
    };
    if flags == 0 && version == 3 {
        return in_l2tp3(payload.get(4..)?).or(Some((Layer::Nothing, payload)));
    }
    (version == 2).then_some(())?;
    let has = |bit: u8, bytes: usize| if flags & bit == 0 { 0 } else { bytes };
    let fixed = 6 + has(0x40, 2) + has(0x08, 4);
    let offset = match flags & 0x02 {
        0 => 0,
        _ => 2 + usize::from(word(payload, fixed).ok()?),
    };
    Some((Layer::Ppp, payload.get(fixed + offset..).unwrap_or_default()))
}

/// A session (RFC 3931 §4.1.1.1), then a cookie and a sublayer as long as its ends agreed: where Ethernet with IP follows.
pub(super) fn in_l2tp3(session: &[u8]) -> Option<(Layer, &[u8])> {
    session.get(..4).filter(|id| **id != [0; 4])?;
    let mut frames = [4, 8, 12, 16].into_iter().filter_map(|from| session.get(from..));
    frames
        .find(|frame| is_ip_frame(frame))
        .map(|frame| (Layer::Ethernet, frame))
}

/// Ethernet with IP in it, or with a tag.
fn is_ip_frame(frame: &[u8]) -> bool {
    match (word(frame, 12), frame.get(14)) {
        (Ok(IPV4), Some(first)) => first >> 4 == 4,
        (Ok(IPV6), Some(first)) => first >> 4 == 6,
        (Ok(0x8100 | 0x88A8), Some(_)) => true,
        _ => false,
    }
}

/// TaZmen Sniffer Protocol: a received packet of Ethernet, after its tagged fields.
fn in_tzsp(payload: &[u8]) -> Option<(Layer, &[u8])> {
    let [1, 0 | 1, 0, 1, fields @ ..] = payload else {
        return None;
    };
    let mut fields = fields;
    for _ in 0..FIELDS_MAX {
        fields = match fields {
            [1, inner @ ..] => return Some((Layer::Ethernet, inner)),
            [0, after @ ..] => after,
            [_, length, after @ ..] => after.get(usize::from(*length)..).unwrap_or_default(),
            [_] | [] => return Some((Layer::Ethernet, &[])),
        };
    }
    None
}

/// IEEE 802.11: a data frame that is not encrypted. Management and control carry nothing.
pub(super) fn in_wireless(frame: &[u8]) -> Result<(Layer, &[u8]), FlawKind> {
    let [control, flags] = word(frame, 0)?.to_be_bytes();
    let (kind, subtype) = (control >> 2 & 3, control >> 4);
    if kind != 2 || subtype & 0x4 != 0 {
        return Ok((Layer::Nothing, frame));
    }
    if flags & 0x40 != 0 {
        return Err(Encapsulation::EncryptedWireless.unread());
    }
    let is_relayed = flags & 0x03 == 0x03;
    let has_quality = subtype & 0x8 != 0;
    let mut header = 24 + 6 * usize::from(is_relayed) + 2 * usize::from(has_quality);
    // Several packets in one frame (A-MSDU).
    let is_aggregate = has_quality && frame.get(header - 2).ok_or(FlawKind::MalformedLink)? & 0x80 != 0;
    header += 4 * usize::from(has_quality && flags & 0x80 != 0);
    // Only the first of an aggregate: destination, source and length before it.
    Ok((Layer::Llc, rest(frame, header + 14 * usize::from(is_aggregate))?))
}
