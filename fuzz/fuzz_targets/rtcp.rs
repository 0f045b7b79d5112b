//! Any bytes as an RTCP compound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::rtp::rtcp::walk;

fuzz_target!(|bytes: &[u8]| {
    for packet in walk(bytes).flatten() {
        let _ = packet.report();
        let _ = packet.for_each_reception(|_| ());
        packet.source_names().for_each(drop);
        packet.voip_metrics().for_each(drop);
    }
});
