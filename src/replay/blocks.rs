//! A pcapng file without the bodies of long blocks that are no packets: name tables, decryption secrets and custom blocks
//! of any length. Packets behind them are read in bounded memory.

use std::io::{ErrorKind, Read};

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
/// Interface description, obsolete, simple and enhanced packets: what is read.
const READ: [u32; 5] = [SECTION_HEADER, 1, 2, 3, 6];
/// Longer blocks of other types lose their bodies.
const BLOCK_BYTES_MAX: u32 = 64 << 10;
/// Type, length, and the byte-order magic of a section header; also the shortest block.
const HEAD_BYTES: usize = 12;

/// See [the module](self).
pub(super) struct Blocks<R> {
    file: R,
    is_big: bool,
    head: [u8; HEAD_BYTES],
    /// What of `head` is still to be given.
    pending: std::ops::Range<usize>,
    /// What follows `head`, as it is.
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
        } else if READ.contains(&kind) || length <= BLOCK_BYTES_MAX {
            self.left = u64::from(length) - HEAD_BYTES as u64;
        } else {
            self.omit(length)?;
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
        if self.pending.is_empty() && self.left == 0 {
            self.next_block()?;
        }
        let read = if self.pending.is_empty() {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(room.len());
            let read = self.file.read(room.get_mut(..most).unwrap_or_default())?;
            self.left -= read as u64;
            read
        } else {
            let read = self.head.get(self.pending.clone()).unwrap_or_default().read(room)?;
            self.pending.start += read;
            read
        };
        self.given += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn any_bytes_are_given_in_order_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut given = Vec::new();
            let file = [forge::section(Order::Little), bytes].concat();
            Blocks::new(&*file).read_to_end(&mut given).unwrap();
            prop_assert!(given.len() <= file.len());
        }
    }
}
