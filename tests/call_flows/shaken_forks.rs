//! Phones that ring side by side (RFC 3261 §12.1) and shake hands with us: each with a handshake of its own (RFC 8842 §4).

use onrecord::model::{FarEnd, Handshake, Leg};
use onrecord::trunk::{Dtls, Ice};

use super::bench::{A, B, Bench, SDP, audio_at};
use super::shaken::{bench_of, shaken, with};

/// As a phone at this port answers, by another certificate than all others.
fn phone(port: u16, print: &str) -> String {
    let told = shaken("UDP/TLS/RTP/SAVP", "active").replace("12:DF", print);
    let line = audio_at(port)
        .lines()
        .find(|line| line.starts_with("m="))
        .unwrap()
        .to_owned();
    let known = told.lines().find(|line| line.starts_with("m=")).unwrap().to_owned();
    told.replace(&known, &line.replace("RTP/AVP", "UDP/TLS/RTP/SAVP"))
}

/// Whom the relay is told that B's leg is with, and how that is keyed.
fn heard(bench: &Bench) -> (FarEnd, Handshake) {
    let plan = bench.plan();
    let keys = plan.keys_of(0, Leg::B).expect("it is encrypted");
    (plan.far_end, (**keys.handshake.as_ref().expect("a handshake")).clone())
}

#[test]
fn each_is_a_far_end_with_a_handshake_of_its_own_and_the_one_that_answers_is_the_one_it_was() {
    for winner in [1, 2] {
        let mut bench = bench_of(
            with("pbx", A, Dtls::Allow, Ice::Allow),
            with("carrier", B, Dtls::Require, Ice::Allow),
        );
        bench.invite(SDP, "Supported: 100rel\r\n");
        let phones = [phone(5001, "A1:A1"), phone(5002, "B2:B2")];
        bench.fork_answers("fork-1", 183, "", &phones[0]);
        let first = heard(&bench);
        bench.fork_answers("fork-2", 183, "", &phones[1]);
        let second = heard(&bench);
        assert!(first.0 != second.0 && first.1 != second.1);
        bench.fork_answers(&format!("fork-{winner}"), 200, "", &phones[winner - 1]);
        assert_eq!(bench.response_to_a().status, 200);
        assert_eq!(heard(&bench), [first, second][winner - 1]);
    }
}
