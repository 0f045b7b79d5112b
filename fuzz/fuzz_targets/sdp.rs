//! Any bytes as a description: anchoring and filtering never panic, and what they wrote is a description again.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use onrecord::model::{Indication, LineSet, Told};
use onrecord::sdp::{
    Format, SessionDescription, anchor, check_reoffer, decline, echo, filter, indicate, negotiate, without_lines,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(sdp) = SessionDescription::parse(bytes) else {
        return;
    };
    let ours: Vec<SocketAddr> = (0..64)
        .map(|line| SocketAddr::from(([198, 51, 100, 7], 40_000 + 2 * line)))
        .collect();
    let anchored = anchor(&sdp, &ours);
    let again = SessionDescription::parse(&anchored).expect("what was written is read");
    assert_eq!(sdp.lines().len(), again.lines().len());
    for (line, local) in again.lines().iter().zip(&ours) {
        assert!(line.port == 0 || line.port == local.port());
        assert!(
            line.remote()
                .is_none_or(|remote| remote.rtp == *local && remote.rtcp.ip() == local.ip())
        );
    }
    let _ = anchor(&sdp, &[]);
    let paused = LineSet::NONE.with(1);
    let recording = Indication::On;
    let told = indicate(&anchored, Told { recording, paused });
    let told = SessionDescription::parse(&told).expect("what was written is read");
    assert_eq!(told.lines(), again.lines(), "nothing else is told");
    let allowed = |format: &Format| format.payload_type.is_multiple_of(2);
    if let Ok(Some(left)) = filter(&sdp, allowed) {
        let left = SessionDescription::parse(&left).expect("what was written is read");
        assert_eq!(sdp.lines().len(), left.lines().len());
        for line in left.lines().iter().filter(|line| line.is_live()) {
            assert!(line.formats.iter().all(allowed));
        }
    }
    let off = SessionDescription::parse(&without_lines(&sdp, |line| line % 2 == 0)).expect("what was written is read");
    assert!(off.lines().iter().step_by(2).all(|line| !line.is_live()));
    let declined = SessionDescription::parse(&decline(&off, &sdp)).expect("what was written is read");
    assert_eq!(sdp.lines().len(), declined.lines().len());
    for (line, held) in declined.lines().iter().zip(off.lines()) {
        assert!(
            !line.is_live() || (line.port, line.remote(), &line.formats) == (held.port, held.remote(), &held.formats)
        );
        assert!(line.cryptos.len() <= 1 || !line.is_live(), "one key answers");
    }
    for line in 0..sdp.lines().len() {
        let echoed = SessionDescription::parse(&echo(&sdp, line, ours[0].ip())).expect("what was written is read");
        assert!(echoed.lines().len() == sdp.lines().len() && negotiate(&sdp, &echoed).is_ok());
        assert_eq!(echoed.lines()[line].formats, sdp.lines()[line].formats);
        assert!(echoed.lines().iter().enumerate().all(|(other, echoed)| other == line || !echoed.is_live()));
    }
    let _ = (negotiate(&sdp, &again), check_reoffer(&sdp, &again));
});
