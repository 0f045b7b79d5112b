//! Headers that capturing systems put before a frame, with the link type of the frame in them.

use super::encapsulation::Encapsulation;
use super::flaw::FlawKind;
use super::link::{ETHERNET, RAW, rest, word};

/// LINKTYPE_PFLOG: of BSD's packet filter.
const PFLOG: u32 = 117;
const JUNIPER_ETHERNET: u32 = 178;
/// Per-Packet Information.
const PPI: u32 = 192;
/// Endace's extensible record format.
const ERF: u32 = 197;
const NETANALYZER: u32 = 240;
const NETANALYZER_TRANSPARENT: u32 = 241;
/// macOS.
const PKTAP: u32 = 258;
const CISCO_HDLC: u32 = 104;

/// Extension headers of one record of ERF.
const EXTENSIONS_MAX: usize = 16;

/// The link type and the frame behind the header. None: the link type has no such header.
pub(super) fn behind(link: u32, frame: &[u8]) -> Result<Option<(u32, &[u8])>, FlawKind> {
    let little = |at| -> Result<u32, FlawKind> {
        let low = u32::from(word(frame, at)?.swap_bytes());
        Ok(low | u32::from(word(frame, at + 2)?.swap_bytes()) << 16)
    };
    let found = match link {
        PPI => (little(4)?, rest(frame, usize::from(word(frame, 2)?.swap_bytes()))?),
        PKTAP => (little(8)?, rest(frame, little(0)? as usize)?),
        PFLOG => {
            let length = usize::from(*frame.first().ok_or(FlawKind::MalformedLink)?);
            (RAW, rest(frame, length.next_multiple_of(4))?)
        }
        JUNIPER_ETHERNET => in_juniper(frame)?,
        ERF => in_erf(frame)?,
        NETANALYZER => (ETHERNET, rest(frame, 4)?),
        // Preamble and start of frame are kept.
        NETANALYZER_TRANSPARENT => (ETHERNET, rest(frame, 12)?),
        _ => return Ok(None),
    };
    Ok(Some(found))
}

/// A magic number, flags, and extensions if the flags say so. Without the link's own header a protocol stands there.
fn in_juniper(frame: &[u8]) -> Result<(u32, &[u8]), FlawKind> {
    let [b'M', b'G', b'C', flags, ..] = *frame else {
        return Err(FlawKind::MalformedLink);
    };
    let extensions = if flags & 0x80 != 0 {
        2 + usize::from(word(frame, 4)?)
    } else {
        0
    };
    let payload = rest(frame, 4 + extensions)?;
    Ok(match flags & 0x02 {
        0 => (ETHERNET, payload),
        _ => (RAW, rest(payload, 4)?),
    })
}

/// Time, type, flags, two lengths, a counter, the length on the wire; extension headers of eight bytes.
fn in_erf(frame: &[u8]) -> Result<(u32, &[u8]), FlawKind> {
    let kind = *frame.get(8).ok_or(FlawKind::MalformedLink)?;
    let mut payload = rest(frame, 16)?;
    let mut has_extension = kind & 0x80 != 0;
    for _ in 0..EXTENSIONS_MAX {
        if !has_extension {
            break;
        }
        has_extension = payload.first().ok_or(FlawKind::MalformedLink)? & 0x80 != 0;
        payload = rest(payload, 8)?;
    }
    Ok(match kind & 0x7F {
        // Ethernet of several makes, after an offset and a pad.
        2 | 11 | 16 | 20 => (ETHERNET, rest(payload, 2)?),
        1 | 10 | 15 | 17 => (CISCO_HDLC, payload),
        22 | 23 => (RAW, payload),
        other => return Err(Encapsulation::Erf(other).unread()),
    })
}
