//! Any bytes as a segment: never a panic, and nothing is found twice or beyond the end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::recorder::survey;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(survey) = survey(bytes) {
        assert!(survey.extents <= bytes.len() as u64 / 96);
    }
});
