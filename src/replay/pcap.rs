//! pcap and pcapng files, record by record, in bounded memory.
//!
//! Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. Times keep the file's resolution (to the nanosecond).

use std::borrow::Cow;
use std::io::{Chain, Cursor, Read};

use pcap_file::Endianness;
use pcap_file::pcap::{PcapReadError, PcapReader, PcapTsResolution};
use pcap_file::pcapng::blocks::block_common::RawBlock;
use pcap_file::pcapng::{PcapNgReader, PcapNgState};

use super::blocks::{Blocks, INTERFACES_MAX, time_of};
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
    pub(crate) fn is_export(&self) -> bool {
        match &self.format {
            Format::Pcap { .. } => false,
            Format::Pcapng(reader) => reader.get_ref().is_export(),
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::forge::{self, ETHERNET, Order, Pcap, millis};
    use super::*;

    const A: &str = "192.0.2.1:4000";
    const B: &str = "192.0.2.2:4000";

    #[test]
    fn all_four_kinds_of_pcap_give_the_same_packets_and_times() {
        for order in [Order::Big, Order::Little] {
            for nanos in [false, true] {
                let mut file = Pcap::with(ETHERNET, order, nanos);
                let fine = u64::from(nanos);
                let at = Timestamp::from_nanos(millis(1_234).as_nanos() + 5_000 + fine);
                file.udp(millis(0), A, B, b"one").udp(at, B, A, b"two");
                let (kept, flaws) = forge::read(&file.bytes).unwrap();
                assert_eq!(flaws, [], "{order:?} {nanos}");
                assert_eq!(kept[0].bytes, b"one");
                assert_eq!((kept[1].packet, kept[1].at, &kept[1].bytes[..]), (2, at, &b"two"[..]));
            }
        }
    }

    #[test]
    fn interfaces_of_one_file_keep_their_own_link_types_and_clocks() {
        for order in [Order::Big, Order::Little] {
            let at = millis(1_500);
            let micros = at.as_nanos() / 1_000;
            let binary = (u128::from(at.as_nanos()) << 20) / 1_000_000_000;
            let mut file = forge::section(order);
            file.extend(forge::interface(order, 1, None));
            file.extend(forge::interface(order, 101, Some(9)));
            file.extend(forge::interface(order, 101, Some(0x80 | 20)));
            file.extend(forge::enhanced(order, 0, micros, &forge::ethernet_udp(A, B, b"a")));
            file.extend(forge::block(order, 5, &[0; 12]));
            file.extend(forge::enhanced(order, 1, at.as_nanos(), &forge::ip_udp(A, B, b"b")));
            file.extend(forge::enhanced(order, 2, binary as u64, &forge::ip_udp(A, B, b"c")));
            // A new section forgets the interfaces; it may be of the other byte order.
            let other = if order == Order::Big { Order::Little } else { Order::Big };
            file.extend(forge::section(other));
            file.extend(forge::interface(other, 101, Some(3)));
            file.extend(forge::enhanced(other, 0, at.as_millis(), &forge::ip_udp(A, B, b"d")));
            file.extend(forge::enhanced(other, 1, 0, &forge::ip_udp(A, B, b"e")));
            let (kept, flaws) = forge::read(&file).unwrap();
            let texts: Vec<_> = kept.iter().map(|k| k.bytes.clone()).collect();
            assert_eq!(texts, [b"a", b"b", b"c", b"d"]);
            assert!(
                kept.iter()
                    .all(|k| k.at.since(at).as_micros() + at.since(k.at).as_micros() <= 1),
                "{kept:?}"
            );
            assert_eq!(flaws.len(), 1);
            assert_eq!(
                (flaws[0].packet, flaws[0].kind),
                (5, FlawKind::UnknownInterface { interface: 1 })
            );
        }
    }

    #[test]
    fn packet_blocks_of_all_ages_are_read() {
        let order = Order::Little;
        let frame = forge::ip_udp(A, B, b"x");
        let mut file = forge::section(order);
        file.extend(forge::interface(order, 101, None));
        let mut simple = order.u32(frame.len() as u32).to_vec();
        simple.extend(&frame);
        file.extend(forge::block(order, SIMPLE_PACKET, &simple));
        let mut obsolete = order.u16(0).to_vec();
        obsolete.extend(order.u16(3));
        for field in [0, 77, frame.len() as u32, frame.len() as u32] {
            obsolete.extend(order.u32(field));
        }
        obsolete.extend(&forge::ip_udp(A, B, b"y"));
        file.extend(forge::block(order, OBSOLETE_PACKET, &obsolete));
        let (kept, flaws) = forge::read(&file).unwrap();
        assert_eq!((kept.len(), flaws.len()), (2, 0));
        assert_eq!(kept[1].at, Timestamp::from_nanos(77_000));
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_the_packets_before_the_cut_and_names_the_rest() {
        let mut pcap = Pcap::new(ETHERNET);
        pcap.udp(millis(0), A, B, b"one").udp(millis(20), A, B, b"two");
        let order = Order::Little;
        let mut pcapng = forge::section(order);
        pcapng.extend(forge::interface(order, 1, Some(9)));
        pcapng.extend(forge::enhanced(order, 0, 5, &forge::ethernet_udp(A, B, b"one")));
        let first_end = pcapng.len();
        pcapng.extend(forge::enhanced(order, 0, 6, &forge::ethernet_udp(A, B, b"two")));
        let second = 24 + 16 + forge::ethernet_udp(A, B, b"one").len();
        for (file, header, second) in [(&pcap.bytes, 24, second), (&pcapng, 28, first_end)] {
            for cut in 0..file.len() {
                let read = forge::read(&file[..cut]);
                if cut < header {
                    assert_eq!(read.unwrap_err(), NotACapture::Truncated, "cut at {cut}");
                    continue;
                }
                let (kept, flaws) = read.unwrap();
                assert_eq!(kept.len(), usize::from(cut >= second), "cut at {cut}");
                assert!(flaws.len() <= 1, "cut at {cut}: {flaws:?}");
                for flaw in flaws {
                    assert_eq!((flaw.packet, flaw.kind), (kept.len() as u64 + 1, FlawKind::Truncated));
                    assert!(flaw.offset <= cut as u64);
                }
            }
        }
    }

    #[test]
    fn a_record_of_an_impossible_length_is_named_with_its_offset() {
        let mut file = Pcap::new(ETHERNET);
        file.udp(millis(0), A, B, b"one");
        let offset = file.bytes.len() as u64;
        file.udp(millis(20), A, B, b"two");
        let at = offset as usize + 8;
        file.bytes[at..at + 4].copy_from_slice(&0x7FFF_FFFF_u32.to_le_bytes());
        let (kept, flaws) = forge::read(&file.bytes).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(
            (flaws[0].packet, flaws[0].offset, flaws[0].kind),
            (2, offset, FlawKind::Truncated)
        );
        assert_eq!(
            flaws[0].to_string(),
            format!("packet 2 at byte {offset}: the file ends inside this record")
        );
    }

    #[test]
    fn what_is_no_capture_is_said_to_be_none() {
        assert_eq!(forge::read(b"").unwrap_err(), NotACapture::Truncated);
        assert_eq!(
            forge::read(b"\x1f\x8b\x08\x00abc").unwrap_err(),
            NotACapture::Compressed { by: "gzip" }
        );
        assert_eq!(
            forge::read(b"RIFFabc").unwrap_err(),
            NotACapture::Magic { magic: *b"RIFF" }
        );
        let mut bad = forge::section(Order::Little);
        bad[8] = 0;
        assert_eq!(forge::read(&bad).unwrap_err(), NotACapture::Header);
    }

    #[test]
    fn a_bad_comment_does_not_cost_the_packet() {
        let order = Order::Little;
        let mut file = forge::section(order);
        file.extend(forge::interface(order, 101, None));
        let frame = forge::ip_udp(A, B, b"xyz!");
        let mut body = Vec::new();
        for field in [0, 0, 1, frame.len() as u32, frame.len() as u32] {
            body.extend(order.u32(field));
        }
        body.extend(&frame);
        body.extend([1, 0, 0xFF, 0x7F, 0xC3, 0x28]);
        file.extend(forge::block(order, 6, &body));
        let (kept, flaws) = forge::read(&file).unwrap();
        assert_eq!((kept.len(), flaws), (1, vec![]));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_or_loop(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0_u8..4) {
            let mut file = match kind {
                0 => Vec::new(),
                1 => Pcap::new(ETHERNET).bytes,
                2 => Pcap::with(101, Order::Big, true).bytes,
                _ => [forge::section(Order::Little), forge::interface(Order::Little, 1, None)].concat(),
            };
            file.extend(bytes);
            let _ = forge::read(&file);
        }

        #[test]
        fn flipped_bytes_never_panic_or_loop(at in 0_usize..400, flip in 1_u8..) {
            let order = Order::Little;
            let mut file = [forge::section(order), forge::interface(order, 1, Some(9))].concat();
            for n in 0..4 {
                file.extend(forge::enhanced(order, 0, n, &forge::ethernet_udp(A, B, b"some payload")));
            }
            let at = at % file.len();
            file[at] ^= flip;
            let (kept, flaws) = forge::read(&file).unwrap_or_default();
            // The interface and its packets: one flaw for each at most.
            prop_assert!(kept.len() <= 4 && flaws.len() <= 5);
        }
    }
}
