//! Any bytes as an RTP packet: our view, then the `rtp` crate behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::rtp::packet::{RtpHeader, RtpPacket, classify};
use onrecord::rtp::{TelephoneEvent, codecs::Codec};

fuzz_target!(|bytes: &[u8]| {
    classify(bytes);
    if let Ok(header) = RtpHeader::parse(bytes) {
        header.csrc().for_each(drop);
        header.extensions().for_each(drop);
        let _ = TelephoneEvent::parse(header.payload);
        let mut samples = Vec::new();
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
            codec.decoder().decode(header.payload, &mut samples);
        }
    }
    let _ = RtpPacket::parse(&bytes.to_vec().into());
});
