//! Any bytes as the sound file of a prompt: never a panic, and what is read is no longer than what is played, at a rate that is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::config::samples_of_wav;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((rate, samples)) = samples_of_wav(bytes) {
        assert!([8_000, 16_000, 48_000].contains(&rate), "{rate}");
        assert!(!samples.is_empty() && samples.len() <= 30 * rate as usize, "{}", samples.len());
        assert!(2 * samples.len() <= bytes.len());
    }
});
