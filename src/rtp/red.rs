//! What a packet repeats of those before it: redundant sound and text (RFC 2198 §3, RFC 4103 §4).

/// Copies that are looked at. A packet with more is not read.
const COPIES_MAX: usize = 16;

/// A `red` payload: what the packet is sent for, and copies of what was sent before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Red<'a> {
    pub payload_type: u8,
    pub payload: &'a [u8],
    copies: [Repeated<'a>; COPIES_MAX],
    count: usize,
}

/// Of the payload of an earlier packet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Repeated<'a> {
    pub payload_type: u8,
    /// By how many timestamp units it is older than the packet: 14 bits.
    pub age: u16,
    pub payload: &'a [u8],
}

impl<'a> Red<'a> {
    /// None: the lengths do not fit.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut copies = [Repeated::default(); COPIES_MAX];
        let mut lengths = [0; COPIES_MAX];
        let (mut count, mut rest) = (0, payload);
        while rest.first()? & 0x80 != 0 {
            let ([kind, age, mixed, length], after) = rest.split_first_chunk::<4>()?;
            let copy = copies.get_mut(count)?;
            copy.payload_type = kind & 0x7f;
            copy.age = u16::from_be_bytes([*age, *mixed]) >> 2;
            *lengths.get_mut(count)? = usize::from(u16::from_be_bytes([mixed & 0x03, *length]));
            (count, rest) = (count + 1, after);
        }
        let (kind, mut rest) = rest.split_first()?;
        for (copy, length) in copies.iter_mut().zip(lengths).take(count) {
            (copy.payload, rest) = rest.split_at_checked(length)?;
        }
        Some(Self {
            payload_type: kind & 0x7f,
            payload: rest,
            copies,
            count,
        })
    }

    /// The oldest first, as they are sent.
    pub fn copies(&self) -> &[Repeated<'a>] {
        self.copies.get(..self.count).unwrap_or_default()
    }
}

/// One block of a `red` payload: 0 is what the packet is sent for, 1 what the packet before it was, and so on. None: there is
/// no such block, or the lengths do not fit.
pub fn block_of_red(payload: &[u8], back: usize) -> Option<&[u8]> {
    let red = Red::parse(payload)?;
    match back {
        0 => Some(red.payload),
        back => red.copies().iter().nth_back(back - 1).map(|copy| copy.payload),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_brings_what_was_typed_before_it() {
        let payload = b"\xe2\x00\x00\x02\xe2\x00\x00\x01\x62abcd";
        assert_eq!(block_of_red(payload, 0), Some(&b"d"[..]));
        assert_eq!(block_of_red(payload, 1), Some(&b"c"[..]));
        assert_eq!(block_of_red(payload, 2), Some(&b"ab"[..]));
        assert_eq!(block_of_red(payload, 3), None);
        assert_eq!(block_of_red(b"\x62", 0), Some(&b""[..]));
        assert_eq!(
            block_of_red(b"\xe2\x00\x03\xff\x62a", 1),
            None,
            "longer than the packet"
        );
        assert_eq!(block_of_red(b"", 0), None);
    }

    #[test]
    fn a_copy_says_how_old_it_is_and_of_which_type() {
        let payload = [&[0x80 | 111, 0x0f, 0x01, 0x02, 111][..], &[7; 258], &[8; 3]].concat();
        let red = Red::parse(&payload).expect("one copy");
        assert_eq!((red.payload_type, red.payload), (111, &[8; 3][..]));
        let copies: Vec<_> = red
            .copies()
            .iter()
            .map(|copy| (copy.payload_type, copy.age, copy.payload))
            .collect();
        assert_eq!(copies, [(111, 960, &[7; 258][..])]);
        let oldest = Red::parse(b"\xe2\xff\xfc\x00\x62").map(|red| red.copies()[0].age);
        assert_eq!(oldest, Some((1 << 14) - 1));
    }

    #[test]
    fn a_packet_of_more_copies_than_anybody_sends_is_not_read() {
        let of = |copies: usize| [b"\xe2\x00\x00\x00".repeat(copies), b"\x62d".to_vec()].concat();
        assert_eq!(block_of_red(&of(COPIES_MAX), 0), Some(&b"d"[..]));
        assert_eq!(Red::parse(&of(COPIES_MAX + 1)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..90), back in 0_usize..20) {
            if let Some(block) = block_of_red(&bytes, back) {
                prop_assert!(block.len() < bytes.len());
            }
        }
    }
}
