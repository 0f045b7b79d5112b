//! Bits into bytes, the most significant first, with the checksums of FLAC (RFC 9639 §9.1.8, §9.3).

/// Bytes of which the last may be unfinished.
#[derive(Debug, Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// Of the last byte, how many bits are not taken yet.
    free: u32,
}

impl Bits {
    /// The lowest `count` bits of `value`, at most 64.
    pub(super) fn put(&mut self, value: u64, count: u32) {
        let mut rest = count;
        while rest > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = rest.min(self.free);
            let piece = (value >> (rest - taken)) & ((1 << taken) - 1);
            self.free -= taken;
            rest -= taken;
            if let Some(last) = self.bytes.last_mut() {
                *last |= (piece << self.free) as u8; // at most eight bits
            }
        }
    }

    pub(super) fn put_zeros(&mut self, count: u32) {
        for start in (0..count).step_by(64) {
            self.put(0, (count - start).min(64));
        }
    }

    /// RFC 9639 §9.1.5: as UTF-8 writes a character, up to 36 bits.
    pub(super) fn put_number(&mut self, number: u64) {
        let width = u64::BITS - number.leading_zeros();
        if width <= 7 {
            self.put(number, 8);
            return;
        }
        // With n bytes after the first there is room for 6 × n bits there and 6 - n in the first.
        let after = (1..=6).find(|n| width <= 5 * n + 6).unwrap_or(6);
        self.put(((0xff << (7 - after)) & 0xff) | (number >> (6 * after)), 8);
        for n in (0..after).rev() {
            self.put(0x80 | (number >> (6 * n)) & 0x3f, 8);
        }
    }

    /// Zeros up to the end of the byte.
    pub(super) fn align(&mut self) {
        self.free = 0;
    }

    /// Of all bytes up to here.
    pub(super) fn put_crc_8(&mut self) {
        let crc = crc(&self.bytes, 0x07 << 8) >> 8;
        self.put(u64::from(crc), 8);
    }

    /// Of all bytes up to here.
    pub(super) fn put_crc_16(&mut self) {
        let crc = crc(&self.bytes, 0x8005);
        self.put(u64::from(crc), 16);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// By a polynomial of 16 bits; one of eight is that, shifted up.
pub(super) fn crc(bytes: &[u8], polynomial: u16) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { polynomial }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_follow_each_other_over_bytes() {
        let mut bits = Bits::default();
        bits.put(0b101, 3);
        bits.put(0x1234, 16);
        bits.put_zeros(70);
        bits.put(1, 1);
        bits.align();
        bits.put(0xab, 8);
        assert_eq!(
            bits.into_bytes(),
            [0xa2, 0x46, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0xab]
        );
    }

    #[test]
    fn numbers_are_written_like_characters() {
        for number in [0, 0x41, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000, 0x1f_ffff] {
            let mut bits = Bits::default();
            bits.put_number(number);
            let wanted = char::from_u32(number as u32).map(|c| c.to_string().into_bytes());
            assert!(wanted.is_none_or(|wanted| bits.into_bytes() == wanted), "{number:#x}");
        }
        let mut bits = Bits::default();
        bits.put_number(0xf_ffff_ffff);
        assert_eq!(bits.into_bytes(), [0xfe, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]);
    }

    #[test]
    fn checksums_are_those_of_the_catalogues() {
        assert_eq!(crc(b"123456789", 0x8005), 0xfee8, "CRC-16/UMTS");
        assert_eq!(crc(b"123456789", 0x07 << 8) >> 8, 0xf4, "CRC-8/SMBUS");
    }
}
