//! The fuzz targets of `fuzz/`, the same files, run for a moment by `cargo test` on stable Rust: a deterministic
//! mutation loop over `fuzz/seeds`, without coverage feedback. Real fuzzing: `fuzz/README.md`.
// As files of cargo-fuzz the targets are crates of their own, with `#![no_main]` and their own import of the macro.
#![allow(unused_attributes, unused_imports)]
#![allow(clippy::panic)]

// The target files say `use libfuzzer_sys::fuzz_target`: here that is this crate.
extern crate self as libfuzzer_sys;

macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:expr) => {
        pub fn run($bytes: &[u8]) {
            $body
        }
    };
    (|$text:ident: &str| $body:expr) => {
        pub fn run(bytes: &[u8]) {
            if let Ok($text) = std::str::from_utf8(bytes) {
                $body
            }
        }
    };
}
pub(crate) use fuzz_target;

mod mutate;

macro_rules! targets {
    ($($(#[$attribute:meta])* $name:ident: $path:literal, $rounds:literal;)*) => {$(
        $(#[$attribute])*
        #[path = $path]
        mod $name;

        $(#[$attribute])*
        #[test]
        fn $name() {
            mutate::hammer(stringify!($name), $rounds, $name::run);
        }
    )*};
}

targets! {
    sip_message: "../../fuzz/fuzz_targets/sip_message.rs", 10_000;
    sip_framing: "../../fuzz/fuzz_targets/sip_framing.rs", 5_000;
    digest: "../../fuzz/fuzz_targets/digest.rs", 20_000;
    session_expires: "../../fuzz/fuzz_targets/session_expires.rs", 20_000;
    sdp: "../../fuzz/fuzz_targets/sdp.rs", 5_000;
    rtp: "../../fuzz/fuzz_targets/rtp.rs", 20_000;
    opus: "../../fuzz/fuzz_targets/opus.rs", 2_000;
    srtp: "../../fuzz/fuzz_targets/srtp.rs", 3_000;
    handshake: "../../fuzz/fuzz_targets/handshake.rs", 1_000;
    meter: "../../fuzz/fuzz_targets/meter.rs", 2_000;
    info_key: "../../fuzz/fuzz_targets/info_key.rs", 10_000;
    prompt: "../../fuzz/fuzz_targets/prompt.rs", 5_000;
    rtcp: "../../fuzz/fuzz_targets/rtcp.rs", 20_000;
    policy: "../../fuzz/fuzz_targets/policy.rs", 2_000;
    config: "../../fuzz/fuzz_targets/config.rs", 2_000;
    extent: "../../fuzz/fuzz_targets/extent.rs", 2_000;
    sealed_call: "../../fuzz/fuzz_targets/sealed_call.rs", 2_000;
    #[cfg(feature = "shell")]
    pcap: "../../fuzz/fuzz_targets/pcap.rs", 5_000;
}
