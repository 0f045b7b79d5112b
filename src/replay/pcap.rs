//! pcap and pcapng files, record by record, in bounded memory.
//!
//! Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. Times keep the file's resolution (to the nanosecond).

use std::borrow::Cow;
use std::io::{Chain, Cursor, Read};

use pcap_file::Endianness;
use pcap_file::pcap::{PcapReadError, PcapReader, PcapTsResolution};
use pcap_file::pcapng::blocks::block_common::RawBlock;
use pcap_file::pcapng::{PcapNgReader, PcapNgState};

use super::blocks::{Blocks, INTERFACES_MAX, Provenance, time_of};
use super::flaw::{Flaw, FlawKind, NotACapture};
use crate::model::Timestamp;

/// Room for the longest record that is read; also how much of the file is in memory at a time.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// The longest packet that Wireshark accepts on any of the link types that are read here.
const PACKET_BYTES_MAX: u32 = 262_144;

const PCAPNG_MAGIC: [u8; 4] = [0x0A, 0x0D, 0x0D, 0x0A];
const ENHANCED_PACKET: u32 = 6;
const SIMPLE_PACKET: u32 = 3;
const OBSOLETE_PACKET: u32 = 2;

/// One packet as it is in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Record<'a> {
    /// From 1.
    pub number: u64,
    /// Where the record starts in the file.
    pub offset: u64,
    pub at: Timestamp,
    /// LINKTYPE_ value (<https://www.tcpdump.org/linktypes.html>).
    pub link: u32,
    /// Length on the wire; `bytes` may be shorter (snap length).
    pub wire_len: u32,
    pub bytes: &'a [u8],
}

/// What the next bytes of a file are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Item<'a> {
    Packet(Record<'a>),
    /// A block without a packet: names, statistics, interfaces.
    Other,
    Flawed(Flaw),
    /// The end, or what follows a fatal flaw.
    End,
}

/// A capture file being read from front to back.
pub(crate) struct PcapFile<R: Read> {
    format: Format<R>,
    /// Of the last packet.
    number: u64,
    at: Timestamp,
    ended: bool,
}

type Source<R> = Chain<Cursor<[u8; 4]>, R>;

enum Format<R: Read> {
    Pcap { reader: PcapReader<Source<R>>, offset: u64 },
    Pcapng(PcapNgReader<Blocks<Source<R>>>),
}

impl<R: Read> PcapFile<R> {
    /// Reads the file's header.
    pub(crate) fn open(mut file: R) -> Result<Self, NotACapture> {
        let mut magic = [0_u8; 4];
        file.read_exact(&mut magic).map_err(|e| unreadable(&e))?;
        let source = Cursor::new(magic).chain(file);
        let format = match magic {
            PCAPNG_MAGIC => match PcapNgReader::with_capacity(Blocks::new(source), RECORD_BYTES_MAX) {
                Ok(reader) => Format::Pcapng(reader),
                Err(e) => return Err(io_source(&e).map_or(NotACapture::Header, unreadable)),
            },
            [0xA1, 0xB2, 0xC3, 0xD4]
            | [0xA1, 0xB2, 0x3C, 0x4D]
            | [0xD4, 0xC3, 0xB2, 0xA1]
            | [0x4D, 0x3C, 0xB2, 0xA1] => match PcapReader::with_capacity(source, RECORD_BYTES_MAX) {
                Ok(reader) => Format::Pcap { reader, offset: 24 },
                Err(PcapReadError::Io(e)) => return Err(unreadable(&e)),
                Err(PcapReadError::Validation(_)) => return Err(NotACapture::Header),
            },
            [0x1F, 0x8B, ..] => return Err(NotACapture::Compressed { by: "gzip" }),
            [0x28, 0xB5, 0x2F, 0xFD] => return Err(NotACapture::Compressed { by: "zstd" }),
            [0xFD, 0x37, 0x7A, 0x58] => return Err(NotACapture::Compressed { by: "xz" }),
            [0x04, 0x22, 0x4D, 0x18] => return Err(NotACapture::Compressed { by: "lz4" }),
            magic => return Err(NotACapture::Magic { magic }),
        };
        Ok(Self {
            format,
            number: 0,
            at: Timestamp::ZERO,
            ended: false,
        })
    }

    /// By what its first section says of its author.
    pub(crate) fn provenance(&self) -> Provenance {
        match &self.format {
            Format::Pcap { .. } => Provenance::Captured,
            Format::Pcapng(reader) => reader.get_ref().provenance(),
        }
    }

    pub(crate) fn next_item(&mut self) -> Item<'_> {
        if self.ended {
            return Item::End;
        }
        let (offset, read) = match &mut self.format {
            Format::Pcap { reader, offset } => {
                let start = *offset;
                (start, next_pcap(reader, offset))
            }
            Format::Pcapng(reader) => {
                let start = reader.get_ref().offset(reader.bytes_parsed());
                (start, next_pcapng(reader))
            }
        };
        match read {
            Ok(Next::End) => {
                self.ended = true;
                Item::End
            }
            Ok(Next::Other) => Item::Other,
            Ok(Next::Packet {
                at,
                link,
                wire_len,
                bytes,
            }) => {
                self.number += 1;
                let at = at.unwrap_or(self.at);
                self.at = at;
                Item::Packet(Record {
                    number: self.number,
                    offset,
                    at,
                    link,
                    wire_len,
                    bytes,
                })
            }
            Err(kind) => {
                self.number += 1;
                self.ended = kind.is_fatal();
                Item::Flawed(Flaw {
                    packet: self.number,
                    offset,
                    at: self.at,
                    kind,
                })
            }
        }
    }
}

fn unreadable(error: &std::io::Error) -> NotACapture {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => NotACapture::Truncated,
        kind => NotACapture::Read(kind),
    }
}

/// The reader's error type has no public name; its source tells what it was.
fn io_source<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    error.source()?.downcast_ref()
}

fn broken_off(error: &std::io::Error) -> FlawKind {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => FlawKind::Truncated,
        kind => FlawKind::Read(kind),
    }
}

enum Next<'a> {
    Packet {
        /// None: of the packet before.
        at: Option<Timestamp>,
        link: u32,
        wire_len: u32,
        bytes: &'a [u8],
    },
    Other,
    End,
}

fn next_pcap<'a, R: Read>(reader: &'a mut PcapReader<Source<R>>, offset: &mut u64) -> Result<Next<'a>, FlawKind> {
    let header = reader.header();
    let raw = match reader.next_raw_packet() {
        None => return Ok(Next::End),
        Some(Ok(raw)) => raw,
        Some(Err(PcapReadError::Io(e))) => return Err(broken_off(&e)),
        Some(Err(PcapReadError::Validation(_))) => return Err(FlawKind::Corrupt),
    };
    *offset += 16 + u64::from(raw.incl_len);
    if raw.incl_len > PACKET_BYTES_MAX {
        return Err(FlawKind::TooLong { max: PACKET_BYTES_MAX });
    }
    let nanos = match header.ts_resolution {
        PcapTsResolution::MicroSecond => u64::from(raw.ts_frac) * 1_000,
        PcapTsResolution::NanoSecond => u64::from(raw.ts_frac),
    };
    Ok(Next::Packet {
        at: Some(Timestamp::from_nanos(u64::from(raw.ts_sec) * 1_000_000_000 + nanos)),
        // The upper 16 bits carry the length of a frame check sequence.
        link: u32::from(header.datalink) & 0xFFFF,
        wire_len: raw.orig_len.max(raw.incl_len),
        bytes: borrowed(raw.data)?,
    })
}

/// The reader lends what it read; an owned copy would mean that it changed its ways.
fn borrowed(data: Cow<'_, [u8]>) -> Result<&[u8], FlawKind> {
    match data {
        Cow::Borrowed(bytes) => Ok(bytes),
        Cow::Owned(_) => Err(FlawKind::Corrupt),
    }
}

fn next_pcapng<R: Read>(reader: &mut PcapNgReader<Blocks<Source<R>>>) -> Result<Next<'_>, FlawKind> {
    let (block, state) = match reader.next_raw_block() {
        None => return Ok(Next::End),
        Some(Ok(read)) => read,
        Some(Err(e)) => return Err(io_source(&e).map_or(FlawKind::Corrupt, broken_off)),
    };
    packet_block(&block, borrowed(block.body.clone())?, state)
}

/// Reads the three packet blocks (pcapng §4.3, §4.4, appendix A) by hand: a bad option or comment must not cost the
/// packet.
fn packet_block<'a>(block: &RawBlock<'_>, body: &'a [u8], state: &PcapNgState) -> Result<Next<'a>, FlawKind> {
    let word = |at: usize| -> Result<u32, FlawKind> {
        let bytes = body
            .get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .ok_or(FlawKind::MalformedBlock)?;
        Ok(match state.endianness() {
            Endianness::Big => u32::from_be_bytes(bytes),
            Endianness::Little => u32::from_le_bytes(bytes),
        })
    };
    let (interface, captured, wire_len, at) = match block.type_ {
        ENHANCED_PACKET => (word(0)?, word(12)?, word(16)?, 20),
        OBSOLETE_PACKET => {
            let interface = match state.endianness() {
                Endianness::Big => word(0)? >> 16,
                Endianness::Little => word(0)? & 0xFFFF,
            };
            (interface, word(12)?, word(16)?, 20)
        }
        SIMPLE_PACKET => (0, u32::MAX, word(0)?, 4),
        _ => return Ok(Next::Other),
    };
    let described = state
        .interfaces()
        .get(interface as usize)
        .ok_or_else(|| unknown(interface))?;
    let captured = match block.type_ {
        SIMPLE_PACKET if described.snaplen == 0 => wire_len,
        SIMPLE_PACKET => wire_len.min(described.snaplen),
        _ => captured,
    };
    if captured > PACKET_BYTES_MAX {
        return Err(FlawKind::MalformedBlock);
    }
    let bytes = body.get(at..at + captured as usize).ok_or(FlawKind::MalformedBlock)?;
    let time = match block.type_ {
        // It carries none (§4.4).
        SIMPLE_PACKET => None,
        _ => {
            let ticks = u64::from(word(4)?) << 32 | u64::from(word(8)?);
            Some(time_of(described, ticks).ok_or(FlawKind::MalformedBlock)?)
        }
    };
    Ok(Next::Packet {
        at: time,
        link: u32::from(described.linktype),
        wire_len: wire_len.max(captured),
        bytes,
    })
}

const fn unknown(interface: u32) -> FlawKind {
    let max = INTERFACES_MAX;
    if interface < max {
        FlawKind::UnknownInterface { interface }
    } else {
        FlawKind::TooManyInterfaces { interface, max }
    }
}

#[cfg(test)]
mod tests;
