//! Any bytes as a stream of Opus packets, some of them lost: a length, a count of lost packets, the payload; again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::rtp::codecs::Codec;

fuzz_target!(|bytes: &[u8]| {
    let (mut decoder, mut samples, mut rest) = (Codec::Opus.decoder(), Vec::new(), bytes);
    for _ in 0..32 {
        let Some(([length, lost], after)) = rest.split_first_chunk::<2>() else {
            break;
        };
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        samples.clear();
        let (hole, lost) = (usize::from(*lost) * 120, u64::from(*lost % 8));
        let filled = decoder.fill(payload, hole, lost, &mut samples);
        assert_eq!(filled.guessed + filled.recovered, samples.len());
        samples.clear();
        decoder.decode(payload, &mut samples);
        assert!(samples.len() <= 5_760, "120 ms at 48 kHz");
    }
});
