//! G.711 (ITU-T): one code, one sample, no memory.

const PCMU: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = pcmu_of_code(code as u8);
        code += 1;
    }
    table
};

const PCMA: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = pcma_of_code(code as u8);
        code += 1;
    }
    table
};

/// One µ-law code as a 16-bit sample (ITU-T G.711 table 2, left-aligned 14 bits).
pub const fn pcmu(code: u8) -> i16 {
    PCMU[code as usize]
}

/// One A-law code as a 16-bit sample (ITU-T G.711 table 1, left-aligned 13 bits).
pub const fn pcma(code: u8) -> i16 {
    PCMA[code as usize]
}

const fn pcmu_of_code(code: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let code = !code;
    let magnitude = ((((code & 0x0f) as i16) << 3) + BIAS) << ((code & 0x70) >> 4);
    if code & 0x80 != 0 {
        BIAS - magnitude
    } else {
        magnitude - BIAS
    }
}

const fn pcma_of_code(code: u8) -> i16 {
    let code = code ^ 0x55;
    let segment = (code & 0x70) >> 4;
    let step = ((code & 0x0f) as i16) << 4;
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// The µ-law code of a 16-bit sample.
pub const fn to_pcmu(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (sample as i32).abs();
    let magnitude = if magnitude > CLIP { CLIP } else { magnitude } + BIAS;
    let segment = magnitude.ilog2() - 7;
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | ((segment as u8) << 4) | step as u8)
}

/// The A-law code of a 16-bit sample.
pub const fn to_pcma(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 { (0x80, sample) } else { (0, !sample) };
    let code = if magnitude < 256 {
        (magnitude >> 4) as u8
    } else {
        let segment = magnitude.ilog2() - 7;
        ((segment as u8) << 4) | ((magnitude >> (segment + 3)) & 0x0f) as u8
    };
    (sign | code) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mu_law_is_the_table_of_g_711() {
        for (code, sample) in [
            (0x00, -32_124),
            (0x80, 32_124),
            (0xff, 0),
            (0x7f, 0),
            (0xfe, 8),
            (0x7e, -8),
            (0xf0, 120),
        ] {
            assert_eq!(pcmu(code), sample, "{code:#x}");
        }
    }

    #[test]
    fn a_law_is_the_table_of_g_711() {
        for (code, sample) in [
            (0xd5, 8),
            (0x55, -8),
            (0xaa, 32_256),
            (0x2a, -32_256),
            (0xd4, 24),
            (0xc5, 264),
        ] {
            assert_eq!(pcma(code), sample, "{code:#x}");
        }
    }

    #[test]
    fn every_code_survives_the_way_there_and_back() {
        for code in 0..=255_u8 {
            assert_eq!(pcma(to_pcma(pcma(code))), pcma(code));
            assert_eq!(pcmu(to_pcmu(pcmu(code))), pcmu(code));
        }
    }

    #[test]
    fn every_sample_comes_back_within_its_segment() {
        for sample in i16::MIN..=i16::MAX {
            let (wanted, mu, a) = (
                i32::from(sample),
                i32::from(pcmu(to_pcmu(sample))),
                i32::from(pcma(to_pcma(sample))),
            );
            let allowed = 16 + wanted.abs() / 32;
            let clipped = if wanted.abs() > 32_124 { 700 } else { 0 };
            assert!((wanted - mu).abs() <= allowed + clipped, "µ-law {sample}: {mu}");
            assert!((wanted - a).abs() <= allowed + clipped, "A-law {sample}: {a}");
        }
    }
}
