//! Any bytes as SRTP and SRTCP packets of every suite: none opens, and none but those that we sealed ourselves. The first byte bends
//! what we sealed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::model::{SrtpKey, SrtpSuite};
use onrecord::rtp::{Opener, SRTP_GROWTH_MAX, Sealer};
use onrecord::sdp::Crypto;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        Crypto::parse(text);
    }
    for suite in SrtpSuite::ALL {
        let key = SrtpKey::new(suite, &[7; 44][..suite.master_bytes()], None).expect("a key");
        let mut opener = Opener::new(&key).expect("an opener");
        assert!(opener.open_rtp(&mut bytes.to_vec()).is_err());
        assert!(opener.open_rtcp(&mut bytes.to_vec()).is_err());
        let mut sealer = Sealer::new(&key).expect("a sealer");
        let mut packet = bytes.to_vec();
        packet.resize(bytes.len() + SRTP_GROWTH_MAX, 0);
        let Ok(length) = sealer.seal_rtp(&mut packet, bytes.len()) else {
            continue;
        };
        packet.truncate(length);
        let at = usize::from(bytes.first().copied().unwrap_or_default()) % length;
        let mut bent = packet.clone();
        bent[at] ^= 1;
        assert!(opener.open_rtp(&mut bent).is_err());
        assert_eq!(opener.open_rtp(&mut packet), Ok(bytes.len()));
        assert_eq!(&packet[..bytes.len()], bytes);
    }
});
