//! Text as it is typed, in RTP: the copies of earlier text that a packet brings along (RFC 4103 §4, RFC 2198 §3).

/// Copies that are looked at. A packet with more is not read.
const COPIES_MAX: usize = 16;

/// One block of a `red` payload: 0 is what the packet is sent for, 1 what the packet before it was, and so on. None: there is
/// no such block, or the lengths do not fit.
pub fn block_of_red(payload: &[u8], back: usize) -> Option<&[u8]> {
    let mut lengths = [0_usize; COPIES_MAX];
    let (mut copies, mut rest) = (0, payload);
    while rest.first()? & 0x80 != 0 {
        let ([_, _, high, low], after) = rest.split_first_chunk::<4>()?;
        *lengths.get_mut(copies)? = usize::from(u16::from_be_bytes([high & 0x03, *low]));
        (copies, rest) = (copies + 1, after);
    }
    let blocks = rest.get(1..)?;
    let index = copies.checked_sub(back)?;
    let start = lengths.get(..index)?.iter().sum();
    let length = if back == 0 { None } else { lengths.get(index) };
    match length {
        Some(length) => blocks.get(start..start + length),
        None => blocks.get(start..),
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

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..90), back in 0_usize..20) {
            if let Some(block) = block_of_red(&bytes, back) {
                prop_assert!(block.len() < bytes.len());
            }
        }
    }
}
