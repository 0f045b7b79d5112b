use std::time::Duration;

use proptest::prelude::*;

use super::super::bits::crc;
use super::super::rig::*;
use super::*;
use crate::model::Leg;

/// Reads bits as RFC 9639 says, apart from the writer.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: u32) -> u64 {
        (0..count).fold(0, |value, _| {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            self.at += 1;
            value << 1 | u64::from(bit)
        })
    }

    fn take_signed(&mut self, count: u32) -> i32 {
        let value = self.take(count) as i32;
        value << (32 - count) >> (32 - count)
    }

    fn subframe(&mut self, count: usize) -> Vec<i32> {
        match self.take(8) {
            0 => vec![self.take_signed(16); count],
            0b10 => (0..count).map(|_| self.take_signed(16)).collect(),
            kind => {
                assert_eq!(kind & 0b1111_0001, 0b0001_0000, "a fixed predictor");
                let order = (kind >> 1 & 0b111) as usize;
                let mut samples: Vec<i32> = (0..order).map(|_| self.take_signed(16)).collect();
                assert_eq!(self.take(2), 0);
                let parts = 1 << self.take(4);
                assert_eq!(count % parts, 0);
                for part in 0..parts {
                    let k = self.take(4) as u32;
                    for _ in 0..count / parts - if part == 0 { order } else { 0 } {
                        let quotient = (0..).find(|_| self.take(1) == 1).expect("a one") as u64;
                        let folded = quotient << k | self.take(k);
                        let residual = (folded >> 1) as i32 ^ -((folded & 1) as i32);
                        let ago = |n: usize| samples[samples.len() - n];
                        let guess = match order {
                            0 => 0,
                            1 => ago(1),
                            2 => 2 * ago(1) - ago(2),
                            3 => 3 * ago(1) - 3 * ago(2) + ago(3),
                            _ => 4 * ago(1) - 6 * ago(2) + 4 * ago(3) - ago(4),
                        };
                        samples.push(guess + residual);
                    }
                }
                samples
            }
        }
    }

    fn frame(&mut self, number: u64) -> Vec<[i16; 2]> {
        let start = self.at / 8;
        assert_eq!(self.take(16), 0xfff8);
        let size = self.take(4);
        self.take(4);
        assert_eq!(self.take(8), 0b0001_1000);
        assert!(number < 0x80, "one byte");
        assert_eq!(self.take(8), number);
        let count = if size == BLOCK_OF_4096 {
            4_096
        } else {
            self.take(16) as usize + 1
        };
        let wanted = crc(&self.bytes[start..self.at / 8], 0x07 << 8) >> 8;
        assert_eq!(self.take(8), u64::from(wanted));
        let (left, right) = (self.subframe(count), self.subframe(count));
        self.at = self.at.next_multiple_of(8);
        let wanted = crc(&self.bytes[start..self.at / 8], 0x8005);
        assert_eq!(self.take(16), u64::from(wanted));
        left.into_iter()
            .zip(right)
            .map(|(left, right)| [left as i16, right as i16])
            .collect()
    }
}

fn read(file: &[u8]) -> Vec<[i16; 2]> {
    assert_eq!(&file[..4], b"fLaC");
    let mut reader = Reader {
        bytes: file,
        at: 42 * 8,
    };
    let (mut samples, mut number) = (Vec::new(), 0);
    while reader.at < file.len() * 8 {
        samples.extend(reader.frame(number));
        number += 1;
    }
    samples
}

#[test]
fn a_call_comes_back_sample_for_sample_in_fewer_bytes() {
    let mut frames = Phone::new(Leg::A).speak(0, &speech(1, 250));
    frames.extend(Phone::new(Leg::B).speak(2_000, &speech(2, 100)));
    let frames = call(frames);
    let survey = Survey::of(STARTED, Some(&closing(5_013)), readable(&frames)).expect("a short call");
    let mut file = Vec::new();
    let sounding = write_flac(&mut file, &survey, readable(&frames)).expect("written");
    let blocks = Rendering::new(&survey, readable(&frames)).map(|block| block.expect("readable").samples);
    let samples: Vec<[i16; 2]> = blocks.flatten().collect();
    assert_eq!(read(&file), samples);
    assert_eq!(samples.len() as u64, survey.samples());
    assert_eq!(
        file[18..26],
        [0x01, 0xf4, 0x02, 0xf0, 0, 0, 0x9c, 0xa8],
        "8 kHz, two channels, 16 bits, 40,104 samples"
    );
    assert!(
        file.len() < samples.len() * 3,
        "{} bytes for {} samples",
        file.len(),
        samples.len()
    );
    assert_eq!(sounding.lost, 0);
}

#[test]
fn silence_costs_next_to_nothing() {
    let survey = Survey::of(STARTED, Some(&closing(60_000)), readable(&[])).expect("a short call");
    let survey = survey.at_rate(48_000);
    assert_eq!(survey.length(), Duration::from_secs(60));
    let mut file = Vec::new();
    write_flac(&mut file, &survey, readable(&[])).expect("written");
    assert!(file.len() < 16 * 704 + 42, "{}", file.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_samples_come_back(
        samples in prop_oneof![
            proptest::collection::vec(any::<[i16; 2]>(), 1..600),
            proptest::collection::vec(prop_oneof![Just([i16::MIN, 0]), Just([i16::MAX, 1])], 1..600),
            proptest::collection::vec((-20..20_i16).prop_map(|sample| [sample, 0]), 4_096..4_097),
        ],
    ) {
        let bytes = frame(&samples, 5, 8_000);
        prop_assert_eq!(Reader { bytes: &bytes, at: 0 }.frame(5), samples);
    }
}
