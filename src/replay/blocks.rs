//! A pcapng file without the bodies of long blocks that are no packets: name tables, decryption secrets and custom blocks
//! of any length. Packets behind them are read in bounded memory.

use std::io::{ErrorKind, Read};

use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::opt_common::CommonOption;

use crate::model::{Encryption, Timestamp};

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
/// Reserved (§10.1): a block that nobody reads.
const NOTHING: [u8; 4] = [0; 4];
/// Interfaces of a section that are kept. Full: further ones are passed over, and so are their packets.
pub(super) const INTERFACES_MAX: u32 = 4_096;
/// Options of a section header (§4.1): what is said of it, who wrote it.
const SHB_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
/// As `playback` calls us there, before our version.
const EXPORTER: &[u8] = b"onrecord ";
/// Options of an interface (§4.2): its ticks, and their zero.
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
/// In place of `IF_TSRESOL`, which is parsed no finer than to the nanosecond.
const TICKS: u16 = 0x7009;
const MICROSECONDS: u8 = 6;
const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// Interface description, obsolete, simple and enhanced packets: what is read.
const READ: [u32; 5] = [SECTION_HEADER, 1, 2, 3, 6];
/// Longer blocks of other types lose their bodies.
const BLOCK_BYTES_MAX: u32 = 64 << 10;
/// Longer section headers and interfaces are nowhere read.
const STATE_BYTES_MAX: u32 = 1 << 20;
/// Version and length of a section, after its byte-order magic: its options follow (§4.1).
const SECTION_FIELDS_BYTES: usize = 12;
/// Type, length, and the byte-order magic of a section header; also the shortest block.
const HEAD_BYTES: usize = 12;

/// Where a file comes from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Provenance {
    /// Somebody captured it.
    #[default]
    Captured,
    /// A recording of ours, as `export` wrote it.
    Exported,
    /// The same, of a call whose media we opened: it is clear there, and its signalling says that it was encrypted.
    ExportedInClear,
}

/// See [the module](self).
pub(super) struct Blocks<R> {
    file: R,
    is_big: bool,
    head: [u8; HEAD_BYTES],
    /// What of `head` is still to be given.
    pending: std::ops::Range<usize>,
    /// Of the newest section.
    provenance: Provenance,
    /// Since the newest section header.
    interfaces: u32,
    /// Of a section header or an interface, what follows `head`; from where on it is still to be given.
    body: Vec<u8>,
    body_at: usize,
    /// What follows those, as it is.
    left: u64,
    given: u64,
    /// After how many given bytes how many in all were left out; one entry for `BLOCK_BYTES_MAX` of the file or more.
    omitted: Vec<(u64, u64)>,
}

impl<R: Read> Blocks<R> {
    pub(super) const fn new(file: R) -> Self {
        Self {
            file,
            is_big: false,
            head: [0; HEAD_BYTES],
            pending: 0..0,
            provenance: Provenance::Captured,
            interfaces: 0,
            body: Vec::new(),
            body_at: 0,
            left: 0,
            given: 0,
            omitted: Vec::new(),
        }
    }

    /// Where in the file the byte is that was given after so many.
    pub(super) fn offset(&self, given: u64) -> u64 {
        let before = self.omitted.partition_point(|(at, _)| *at <= given);
        let omitted = before.checked_sub(1).and_then(|last| self.omitted.get(last));
        given + omitted.map_or(0, |(_, bytes)| *bytes)
    }

    pub(super) const fn provenance(&self) -> Provenance {
        self.provenance
    }

    fn word(&self, at: usize) -> u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| self.head.get(at + n).copied().unwrap_or_default());
        if self.is_big {
            u32::from_be_bytes([a, b, c, d])
        } else {
            u32::from_le_bytes([a, b, c, d])
        }
    }

    /// Reads the next block's head, and passes its body over if nobody needs it.
    fn next_block(&mut self) -> std::io::Result<()> {
        let mut filled = 0;
        while let Some(room) = self.head.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.file.read(room) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pending = 0..filled;
        if filled < HEAD_BYTES {
            return Ok(());
        }
        if self.word(0) == SECTION_HEADER {
            self.is_big = self.head.ends_with(&[0x1A, 0x2B, 0x3C, 0x4D]);
        }
        let (kind, length) = (self.word(0), self.word(4));
        if length < HEAD_BYTES as u32 || !length.is_multiple_of(4) {
            // Corrupt: whoever parses it will say so.
            self.left = u64::MAX;
        } else if matches!(kind, SECTION_HEADER | INTERFACE) && length <= STATE_BYTES_MAX {
            self.take_state(kind, u64::from(length) - HEAD_BYTES as u64)?;
        } else if READ.contains(&kind) || length <= BLOCK_BYTES_MAX {
            self.left = u64::from(length) - HEAD_BYTES as u64;
        } else {
            self.omit(length)?;
        }
        Ok(())
    }

    /// Gives a section header or an interface with nothing of what readers ignore or nobody asks for: no option there costs a
    /// packet, but those that its packets' times depend on.
    fn take_state(&mut self, kind: u32, length: u64) -> std::io::Result<()> {
        self.body.clear();
        self.body_at = 0;
        self.file.by_ref().take(length).read_to_end(&mut self.body)?;
        let end = self.body.len().saturating_sub(4);
        let is_whole = self.body.len() as u64 == length;
        let (is_big, body) = (self.is_big, self.body.get_mut(..end).filter(|_| is_whole));
        let body = body.unwrap_or_default();
        if kind == SECTION_HEADER {
            self.interfaces = 0;
            let options = body.get(SECTION_FIELDS_BYTES..).unwrap_or_default();
            self.provenance = provenance_of(options, is_big);
            body.iter_mut().skip(SECTION_FIELDS_BYTES).for_each(|byte| *byte = 0);
        } else if self.interfaces >= INTERFACES_MAX {
            self.head[..4].copy_from_slice(&NOTHING);
        } else {
            self.interfaces += 1;
            self.head[10..].fill(0); // reserved (§4.2)
            keep_times(body.get_mut(4..).unwrap_or_default(), is_big);
        }
        Ok(())
    }

    /// Gives the block without its body. Cut off by the end of the file, it stays as it was, and so will be named.
    fn omit(&mut self, length: u32) -> std::io::Result<()> {
        let body = u64::from(length) - HEAD_BYTES as u64;
        // The last four bytes in `head` are the body's first.
        let passed = std::io::copy(&mut self.file.by_ref().take(body), &mut std::io::sink())?;
        if passed < body {
            return Ok(());
        }
        let empty = HEAD_BYTES as u32;
        let length = if self.is_big {
            empty.to_be_bytes()
        } else {
            empty.to_le_bytes()
        };
        for (to, from) in self.head.iter_mut().skip(4).zip(length.iter().chain(&length)) {
            *to = *from;
        }
        let in_all = self.omitted.last().map_or(0, |(_, bytes)| *bytes) + body;
        self.omitted.push((self.given + HEAD_BYTES as u64, in_all));
        Ok(())
    }
}

impl<R: Read> Read for Blocks<R> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        if self.pending.is_empty() && self.body_at == self.body.len() && self.left == 0 {
            self.next_block()?;
        }
        let read = if !self.pending.is_empty() {
            let read = self.head.get(self.pending.clone()).unwrap_or_default().read(room)?;
            self.pending.start += read;
            read
        } else if self.body_at < self.body.len() {
            let read = self.body.get(self.body_at..).unwrap_or_default().read(room)?;
            self.body_at += read;
            read
        } else {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(room.len());
            let read = self.file.read(room.get_mut(..most).unwrap_or_default())?;
            self.left -= read as u64;
            read
        };
        self.given += read as u64;
        Ok(read)
    }
}

/// Options as they are, up to the first that is cut off, or the end of them (§3.5).
fn options_in(bytes: &[u8], is_big: bool) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let [c0, c1, l0, l1, after @ ..] = rest else {
            return None;
        };
        let number = |bytes: [u8; 2]| {
            if is_big {
                u16::from_be_bytes(bytes)
            } else {
                u16::from_le_bytes(bytes)
            }
        };
        let (code, length) = (number([*c0, *c1]), usize::from(number([*l0, *l1])));
        let value = after.get(..length).filter(|_| code != 0)?;
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    })
}

/// By what a section says of its author, and of itself.
fn provenance_of(options: &[u8], is_big: bool) -> Provenance {
    if option_of(options, is_big, SHB_USERAPPL).is_none_or(|name| !name.starts_with(EXPORTER)) {
        return Provenance::Captured;
    }
    let first_line =
        option_of(options, is_big, SHB_COMMENT).and_then(|comment| comment.split(|byte| *byte == b'\n').next());
    let media = first_line.and_then(|line| line.strip_prefix(b"media "));
    if media == Some(Encryption::Decrypted.as_str().as_bytes()) {
        Provenance::ExportedInClear
    } else {
        Provenance::Exported
    }
}

fn option_of(bytes: &[u8], is_big: bool, code: u16) -> Option<&[u8]> {
    options_in(bytes, is_big)
        .find(|(other, _)| *other == code)
        .map(|(_, value)| value)
}

/// Leaves, of the options of an interface, the first of each of the two that tell time; zeros end them.
fn keep_times(options: &mut [u8], is_big: bool) {
    let bytes_of = |code: u16| if is_big { code.to_be_bytes() } else { code.to_le_bytes() };
    let (mut ticks, mut offset) = (None, None);
    for option in options_in(options, is_big) {
        match option {
            (IF_TSRESOL, [value]) => ticks = ticks.or(Some(*value)),
            (IF_TSOFFSET, value) => offset = offset.or(<[u8; 8]>::try_from(value).ok()),
            _ => {}
        }
    }
    let ([c0, c1], [l0, l1]) = (bytes_of(TICKS), bytes_of(1));
    let ticks = ticks.map(|ticks| [c0, c1, l0, l1, ticks, 0, 0, 0]);
    let ([c0, c1], [l0, l1]) = (bytes_of(IF_TSOFFSET), bytes_of(8));
    let offset = offset.map(|[a, b, c, d, e, f, g, h]| [c0, c1, l0, l1, a, b, c, d, e, f, g, h]);
    let kept = ticks.into_iter().flatten().chain(offset.into_iter().flatten());
    for (to, from) in options.iter_mut().zip(kept.chain(std::iter::repeat(0))) {
        *to = from;
    }
}

/// The time of a packet so many ticks after its interface's zero (§4.2), cut to the nanosecond. None: before 1970.
pub(super) fn time_of(interface: &InterfaceDescriptionBlock<'_>, ticks: u64) -> Option<Timestamp> {
    let told = interface.options.iter().find_map(|option| match option {
        InterfaceDescriptionOption::Common(CommonOption::Unknown(option)) if option.code == TICKS => {
            option.value.first().copied()
        }
        _ => None,
    });
    let ticks = u128::from(ticks);
    let nanos = match told.unwrap_or(MICROSECONDS) {
        binary @ 0x80.. => (ticks * NANOS_PER_SECOND) >> (binary & 0x7F),
        decimal => match decimal.checked_sub(9) {
            // Finer than any number of ticks: the beginning.
            Some(finer) => 10_u128.checked_pow(u32::from(finer)).map_or(0, |unit| ticks / unit),
            None => ticks * 10_u128.pow(u32::from(9 - decimal)),
        },
    };
    let offset = u128::from(interface.ts_offset().unsigned_abs()) * NANOS_PER_SECOND;
    let nanos = if interface.ts_offset() < 0 {
        nanos.checked_sub(offset)?
    } else {
        nanos + offset
    };
    Some(Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::flaw::FlawKind;
    use super::super::forge::{self, Order};
    use super::*;

    const A: &str = "192.0.2.1:4000";
    const B: &str = "192.0.2.2:4000";

    fn with_long_blocks(order: Order) -> Vec<u8> {
        let mut file = forge::section(order);
        file.extend(forge::block(order, 0xA, &vec![b'#'; 3 << 20]));
        file.extend(forge::interface(order, 1, None));
        file.extend(forge::enhanced(order, 0, 5, &forge::ethernet_udp(A, B, b"one")));
        file.extend(forge::block(order, 4, &vec![7; 1_500_001]));
        file.extend(forge::block(order, 0xBAD, &vec![0; BLOCK_BYTES_MAX as usize]));
        file.extend(forge::enhanced(order, 0, 6, &forge::ethernet_udp(A, B, b"two")));
        file
    }

    #[test]
    fn packets_behind_secrets_and_names_of_any_length_are_read() {
        for order in [Order::Big, Order::Little] {
            let file = with_long_blocks(order);
            let (kept, flaws) = forge::read(&file).unwrap();
            let texts: Vec<_> = kept.iter().map(|k| k.bytes.clone()).collect();
            assert_eq!((texts, flaws), (vec![b"one".to_vec(), b"two".to_vec()], vec![]));
        }
    }

    #[test]
    fn a_flaw_behind_a_long_block_is_where_it_is_in_the_file() {
        let mut file = with_long_blocks(Order::Little);
        let at = file.len() as u64;
        file.extend(forge::enhanced(
            Order::Little,
            9,
            6,
            &forge::ethernet_udp(A, B, b"three"),
        ));
        let (_, flaws) = forge::read(&file).unwrap();
        assert_eq!((flaws[0].offset, flaws.len()), (at, 1));
    }

    #[test]
    fn a_long_block_that_the_file_ends_in_is_named() {
        let mut file = with_long_blocks(Order::Little);
        let at = file.len() as u64;
        file.extend(forge::block(Order::Little, 0xA, &vec![b'#'; 3 << 20]));
        file.truncate(file.len() - 1);
        let (kept, flaws) = forge::read(&file).unwrap();
        assert_eq!((kept.len(), flaws.len(), flaws[0].offset), (2, 1, at));
        assert!(flaws[0].kind.is_fatal());
    }

    /// An interface with these options.
    fn interface(order: Order, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [order.u16(101), order.u16(0)].concat();
        body.extend(order.u32(0));
        body.extend(options_of(order, options));
        forge::block(order, INTERFACE, &body)
    }

    fn options_of(order: Order, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (code, value) in options {
            bytes.extend([order.u16(*code), order.u16(value.len() as u16)].concat());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn ticks_of_any_length_are_read_and_no_other_option_costs_a_packet() {
        let second = 1_000_000_000;
        for order in [Order::Big, Order::Little] {
            let minute = if order == Order::Big {
                60_i64.to_be_bytes()
            } else {
                60_i64.to_le_bytes()
            };
            type Case<'a> = (&'a [(u16, &'a [u8])], u64, u64);
            let options: [Case<'_>; 10] = [
                (&[(9, &[12])], 1_500_000_000_000, 3 * second / 2),
                (&[(9, &[10])], 10_000_000_019, second + 1),
                (&[(9, &[13])], 10_000_000_000_000, second),
                (&[(9, &[127])], u64::MAX, 0),
                (&[(9, &[0x80 | 30])], 3 << 29, 3 * second / 2),
                (&[(9, &[0x80 | 63])], 1 << 62, second / 2),
                (&[(9, &[0xFF])], u64::MAX, 0),
                (
                    &[(2, b"caf\xE9"), (9, &[12]), (14, &minute), (9, &[3])],
                    1_000_000_000_000,
                    61 * second,
                ),
                (&[(TICKS, &[0]), (9, &[3, 3]), (14, b"?"), (11, b"")], 1_000_000, second),
                (&[(9, &[0])], u64::MAX, u64::MAX),
            ];
            for (options, ticks, wanted) in options {
                let mut file = forge::section(order);
                file.extend(interface(order, options));
                file.extend(forge::enhanced(order, 0, ticks, &forge::ip_udp(A, B, b"x")));
                let (kept, flaws) = forge::read(&file).unwrap();
                assert_eq!((kept.len(), flaws), (1, vec![]), "{options:?}");
                assert_eq!(kept[0].at, Timestamp::from_nanos(wanted), "{options:?}");
            }
            let mut file = forge::section(order);
            let minutes_ago = if order == Order::Big {
                (-60_i64).to_be_bytes()
            } else {
                (-60_i64).to_le_bytes()
            };
            file.extend(interface(order, &[(14, &minutes_ago)]));
            file.extend(forge::enhanced(order, 0, 5, &forge::ip_udp(A, B, b"x")));
            let (kept, flaws) = forge::read(&file).unwrap();
            assert_eq!((kept.len(), flaws.len()), (0, 1), "before 1970");
        }
    }

    /// A section header with these options.
    fn section(order: Order, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [
            order.u32(0x1A2B_3C4D).as_slice(),
            &order.u16(1),
            &order.u16(0),
            &[0xFF; 8],
        ]
        .concat();
        body.extend(options_of(order, options));
        forge::block(order, SECTION_HEADER, &body)
    }

    #[test]
    fn nothing_that_a_section_tells_of_its_author_costs_a_packet() {
        let latin = b"caf\xE9";
        for order in [Order::Big, Order::Little] {
            for options in [
                &[(1, &latin[..]), (2, latin), (3, latin), (4, latin), (0, b"")][..],
                // Not ended, cut off, or of no sense.
                &[(2, latin)],
                &[(0xFFFF, b"?"), (1, &[0; 60_000]), (1, &[b'#'; 60_000])],
            ] {
                let mut file = section(order, options);
                file.extend(interface(order, &[]));
                file.extend(forge::enhanced(order, 0, 5, &forge::ip_udp(A, B, b"one")));
                file.extend(section(order, options));
                file.extend(interface(order, &[]));
                let at = file.len() as u64;
                file.extend(forge::enhanced(order, 1, 5, &forge::ip_udp(A, B, b"two")));
                file.extend(forge::enhanced(order, 0, 5, &forge::ip_udp(A, B, b"three")));
                let (kept, flaws) = forge::read(&file).unwrap();
                let texts: Vec<_> = kept.iter().map(|k| k.bytes.clone()).collect();
                assert_eq!(texts, [&b"one"[..], b"three"], "{order:?}");
                assert_eq!((flaws.len(), flaws[0].offset), (1, at));
            }
        }
    }

    #[test]
    fn what_is_reserved_in_an_interface_is_ignored() {
        for order in [Order::Big, Order::Little] {
            let mut file = forge::section(order);
            let body = [&order.u16(101)[..], &order.u16(0xABCD), &order.u32(0)].concat();
            file.extend(forge::block(order, INTERFACE, &body));
            file.extend(forge::enhanced(order, 0, 5, &forge::ip_udp(A, B, b"one")));
            let (kept, flaws) = forge::read(&file).unwrap();
            assert_eq!((kept.len(), flaws), (1, vec![]), "{order:?}");
        }
    }

    #[test]
    fn interfaces_without_end_are_passed_over_and_their_packets_named() {
        for order in [Order::Big, Order::Little] {
            let mut file = Vec::new();
            for _ in 0..2 {
                file.extend(forge::section(order));
                for _ in 0..INTERFACES_MAX + 3 {
                    file.extend(interface(order, &[(9, &[9])]));
                }
                for number in [INTERFACES_MAX - 1, INTERFACES_MAX, 0] {
                    let text = [number as u8, file.len() as u8, (file.len() >> 16) as u8];
                    file.extend(forge::enhanced(order, number, 5, &forge::ip_udp(A, B, &text)));
                }
            }
            let at = file.len() as u64 - 2 * forge::enhanced(order, 0, 5, &forge::ip_udp(A, B, b"xyz")).len() as u64;
            let (kept, flaws) = forge::read(&file).unwrap();
            let packets: Vec<_> = kept.iter().map(|kept| kept.packet).collect();
            assert_eq!(packets, [1, 3, 4, 6]);
            let (interface, max) = (INTERFACES_MAX, INTERFACES_MAX);
            let wanted = FlawKind::TooManyInterfaces { interface, max };
            assert_eq!(flaws.iter().map(|flaw| flaw.kind).collect::<Vec<_>>(), [wanted; 2]);
            assert_eq!(flaws[1].offset, at);
        }
    }

    #[test]
    fn an_interface_of_many_options_keeps_those_that_tell_time() {
        let order = Order::Little;
        let much = vec![(1_u16, &[b'#'; 60_000][..]); 10];
        let options: Vec<_> = much.into_iter().chain([(9_u16, &[3_u8][..])]).collect();
        let mut file = forge::section(order);
        file.extend(interface(order, &options));
        file.extend(forge::enhanced(order, 0, 1_500, &forge::ip_udp(A, B, b"x")));
        let (kept, flaws) = forge::read(&file).unwrap();
        assert_eq!((kept.len(), flaws), (1, vec![]));
        assert_eq!(kept[0].at, Timestamp::from_millis(1_500));
    }

    proptest! {
        #[test]
        fn options_of_any_kind_keep_their_length_and_are_read(
            options in prop::collection::vec(any::<u8>(), 0..64).prop_map(|mut bytes| {
                bytes.truncate(bytes.len() / 4 * 4);
                bytes
            }),
            is_big: bool,
        ) {
            let order = if is_big { Order::Big } else { Order::Little };
            let mut file = forge::section(order);
            let body = [order.u16(101).to_vec(), order.u16(0).to_vec(), order.u32(0).to_vec(), options].concat();
            file.extend(forge::block(order, INTERFACE, &body));
            let at = file.len() as u64;
            file.extend(forge::enhanced(order, 7, 0, &[]));
            let (_, flaws) = forge::read(&file).unwrap();
            prop_assert_eq!((flaws.len(), flaws[0].offset), (1, at));
        }

        #[test]
        fn any_bytes_are_given_in_order_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut given = Vec::new();
            let file = [forge::section(Order::Little), bytes].concat();
            Blocks::new(&*file).read_to_end(&mut given).unwrap();
            prop_assert!(given.len() <= file.len());
        }
    }
}
