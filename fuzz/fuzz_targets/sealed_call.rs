//! Any bytes as a sealed call: never a panic, and every error names a byte of the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::recorder::SealedCall;

fuzz_target!(|bytes: &[u8]| match SealedCall::open(bytes) {
    Ok(mut call) => {
        let _ = call.frames().count();
        let _ = call.verify();
    }
    Err(error) => assert!(error.offset() <= bytes.len() as u64),
});
