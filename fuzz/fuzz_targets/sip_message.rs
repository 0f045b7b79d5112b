//! Any bytes as a message: no panic, and what was read is read again the same once written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::sip::Message;

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = Message::salvage(data) {
        let _ = message.encode();
    }
    match Message::parse(data) {
        Ok(message) => {
            let headers = message.headers();
            let _ = (
                headers.contact(),
                headers.addresses("Route"),
                headers.record_routes(),
                headers.max_forwards(),
            );
            let bytes = message.encode();
            // Longer ones may grow over a limit: compact names become long, stray bytes U+FFFD.
            if data.len() < 2048 {
                assert_eq!(Message::parse(&bytes), Ok(message));
            }
        }
        Err(error) => {
            if let Some(reply) = error.reply {
                let _ = reply.encode();
            }
        }
    }
});
