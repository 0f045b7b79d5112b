//! Any bytes as a capture file: read to the end without a panic, a loop or memory without bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::replay::Capture;

fuzz_target!(|file: &[u8]| {
    if let Ok(mut capture) = Capture::open(file) {
        while capture.read_packet(|_| ()) {}
        assert!(capture.packets() <= 1 + file.len() as u64 / 12);
    }
});
