//! Parties whose keys come from a handshake, and that a REFER which we execute brings into another call (RFC 5589 §6): a new
//! association begins where a fingerprint is new (RFC 8842 §4), and nothing else says so to most of them.

use onrecord::model::{Fingerprint, Handshake, Leg, MediaCommand, SessionId};
use onrecord::trunk::{Conduct, Dtls, Ice, Refer, Secrecy, Srtp, Trunk};

use super::bench::{A, B, Bench, PROXY, SDP};
use super::executed::refers;
use super::party::{ALICE, BOB, DAVE, PhoneDialog};
use super::shaken::{bench_of, line, shaken, with};

/// Alice and Dave are in clear, Bob shakes hands.
fn executing() -> Bench {
    let executes = |trunk| Trunk {
        conduct: Conduct {
            refer: Refer::Execute,
            ..Conduct::default()
        },
        ..trunk
    };
    let mut pbx = with("pbx", A, Dtls::Allow, Ice::Allow);
    pbx.secrecy = Secrecy {
        srtp: Srtp::Refuse,
        ..pbx.secrecy
    };
    bench_of(executes(pbx), executes(with("carrier", B, Dtls::Require, Ice::Allow)))
}

fn bobs() -> String {
    shaken("UDP/TLS/RTP/SAVP", "active")
}

/// As whom we were named to Bob last.
fn named(bench: &Bench) -> Fingerprint {
    line(&bench.newest(B, "INVITE").body).shake.fingerprints[0]
}

/// Bob's, of the newest plan of this session.
fn handshake(bench: &Bench, session: SessionId) -> Handshake {
    let keys = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Open(plan) | MediaCommand::Modify(plan) if plan.session == session => plan.keys.first().cloned(),
        _ => None,
    });
    let legs = keys.unwrap().legs;
    let shaken = Leg::BOTH
        .into_iter()
        .find_map(|leg| legs[leg.index()].clone()?.handshake);
    (*shaken.unwrap()).clone()
}

/// Alice calls Bob, and refers him to Dave, who answers: Bob is asked to come. Both dialogs.
fn moves(bench: &mut Bench) -> [PhoneDialog; 2] {
    let typed = "Content-Type: application/sdp\r\n";
    let uri = format!("sip:bob@{PROXY}");
    bench.requests("INVITE", ALICE, &uri, "call-1", typed, SDP);
    let bob = PhoneDialog::of_callee(BOB, &bench.newest(B, "INVITE"));
    bench.answers(BOB, "INVITE", 200, &bobs());
    let mut alice = PhoneDialog::of_caller(ALICE, &bench.newest_response(A));
    let ack = alice.request("ACK", "", "");
    bench.from(A, ack);
    refers(bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    [alice, bob]
}

#[test]
fn who_goes_over_is_told_another_certificate_and_shakes_hands_anew() {
    let mut bench = executing();
    moves(&mut bench);
    let before = named(&bench);
    bench.answers(DAVE, "INVITE", 200, SDP);
    let told = named(&bench);
    assert_ne!(told, before);
    bench.answers(BOB, "INVITE", 200, &bobs());
    let [old, new] = [0, 1].map(|at| bench.headers()[at].session);
    let (old, new) = (handshake(&bench, old), handshake(&bench, new));
    assert_eq!((*old.ours.fingerprint(), *new.ours.fingerprint()), (before, told));
    assert_eq!((old.theirs, new.round), (new.theirs, 0));
}

#[test]
fn who_has_gone_over_in_vain_is_told_the_certificate_of_before_and_shakes_hands_anew_with_it() {
    let mut bench = executing();
    moves(&mut bench);
    let (before, invite) = (named(&bench), bench.newest(A, "INVITE"));
    let old = bench.headers()[0].session;
    let known = handshake(&bench, old);
    bench.answers(DAVE, "INVITE", 200, SDP);
    let bye = PhoneDialog::of_callee(DAVE, &invite).request("BYE", "", "");
    bench.from(A, bye);
    bench.answers(BOB, "INVITE", 200, &bobs());
    assert_eq!(named(&bench), before);
    bench.answers(BOB, "INVITE", 200, &bobs());
    let anew = handshake(&bench, old);
    assert_eq!((anew.ours.fingerprint(), anew.round), (&before, 1));
    assert_ne!(anew, known, "though all that the descriptions say is the same");
    bench.answers(ALICE, "NOTIFY", 200, "");
}
