//! Transfers that come to nothing: the old call stays as it was, and who is left alone is let go.

use std::time::Duration;

use super::super::bench::{A, B, Bench, PROXY, SDP};
use super::super::party::{ALICE, BOB, DAVE, PhoneDialog};
use super::{assert_old_call_stays, assert_told_last, refers, rings, strict};

#[test]
fn a_reference_to_half_a_dialog_calls_nobody() {
    for half in ["Replaces=1%3Bto-tag%3Da", "Join=1%40h"] {
        let mut bench = strict();
        let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
        let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}?{half}>\r\n"), "");
        bench.from(A, refer);
        assert_eq!(bench.response_to_a().status, 400, "{half}");
        assert_eq!(bench.signaling.calls(), 1, "{half}");
        assert_old_call_stays(&mut bench, alice);
    }
}

#[test]
fn a_busy_target_leaves_the_old_call_as_it_was_and_another_refer_may_follow() {
    let mut bench = strict();
    let [mut alice, bob] = rings(&mut bench);
    bench.answers(DAVE, "INVITE", 486, "");
    assert_told_last(&bench, "SIP/2.0 486 Busy Here");
    bench.answers(ALICE, "NOTIFY", 200, "");
    let invites = |bench: &Bench| bench.story.iter().filter(|rung| *rung == "INVITE → B").count();
    assert_eq!(invites(&bench), 1, "Bob was not disturbed");
    refers(&mut bench, &mut alice, "");
    let notify = bench.newest(A, "NOTIFY");
    let number = format!("refer;id={}", 3);
    assert_eq!(
        notify.headers.get("Event"),
        Some(number.as_str()),
        "not the first REFER in the dialog"
    );
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 3]);
    bench.assert_nothing_left();
}

#[test]
fn a_target_that_nobody_answers_is_given_up_and_the_old_call_stays() {
    let mut bench = strict();
    let [alice, _] = rings(&mut bench);
    bench.wait(Duration::from_secs(201));
    assert_told_last(&bench, "SIP/2.0 408 Request Timeout");
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_eq!(bench.newest(A, "CANCEL").headers.cseq().number, 1);
    bench.answers(DAVE, "CANCEL", 200, "");
    bench.answers(DAVE, "INVITE", 487, "");
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn a_target_that_says_each_minute_that_it_rings_is_given_up_as_soon() {
    let mut bench = strict();
    let [alice, _] = rings(&mut bench);
    for _ in 0..3 {
        bench.wait(Duration::from_secs(60));
        bench.answers(DAVE, "INVITE", 180, "");
    }
    bench.wait(Duration::from_secs(21));
    assert_told_last(&bench, "SIP/2.0 408 Request Timeout");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "CANCEL", 200, "");
    bench.answers(DAVE, "INVITE", 487, "");
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn a_party_that_stays_and_does_not_take_who_comes_stays_where_it_was() {
    let mut bench = strict();
    let [alice, _] = rings(&mut bench);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 488, "");
    assert_told_last(&bench, "SIP/2.0 488 Not Acceptable Here");
    let bye = bench.newest(A, "BYE");
    assert_eq!(bye.uri.to_string(), format!("sip:dave@{A}"));
    assert_eq!(
        bye.headers.get("Reason"),
        Some("SIP;cause=488;text=\"Transfer given up\"")
    );
    bench.answers(DAVE, "BYE", 200, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn who_is_left_alone_by_a_failed_transfer_is_let_go() {
    let mut bench = strict();
    let [mut alice, _] = rings(&mut bench);
    let bye = alice.request("BYE", "", "");
    bench.from(A, bye);
    bench.answers(DAVE, "INVITE", 486, "");
    let bye = bench.newest(B, "BYE");
    assert_eq!(
        bye.headers.get("Reason"),
        Some("SIP;cause=486;text=\"Transfer failed\"")
    );
    bench.answers(BOB, "BYE", 200, "");
    bench.answers(ALICE, "NOTIFY", 481, "");
    assert!(bench.remembered.is_empty());
    bench.assert_nothing_left();
}

#[test]
fn a_party_that_stays_and_hangs_up_ends_the_transfer() {
    let mut bench = strict();
    let [_, mut bob] = rings(&mut bench);
    let bye = bob.request("BYE", "", "");
    bench.from(B, bye);
    assert_told_last(&bench, "SIP/2.0 487 Request Terminated");
    let sent: Vec<&str> = bench.story.iter().map(String::as_str).rev().take(5).collect();
    assert_eq!(sent, ["CANCEL → B", "BYE → A", "NOTIFY → A", "200 → B", "B → BYE"]);
    bench.answers(DAVE, "CANCEL", 200, "");
    bench.answers(DAVE, "INVITE", 487, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_target_that_answers_while_the_transfer_is_given_up_is_acknowledged_and_let_go() {
    let mut bench = strict();
    let [_, mut bob] = rings(&mut bench);
    let bye = bob.request("BYE", "", "");
    bench.from(B, bye);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(DAVE, "CANCEL", 200, "");
    assert_eq!(bench.newest(A, "BYE").uri.to_string(), format!("sip:dave@{A}"));
    bench.answers(DAVE, "BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_target_that_hangs_up_before_the_other_came_leaves_the_old_call_as_it_was() {
    let mut bench = strict();
    let [alice, _] = rings(&mut bench);
    let invite = bench.newest(A, "INVITE");
    bench.answers(DAVE, "INVITE", 200, SDP);
    let mut dave = PhoneDialog::of_callee(DAVE, &invite);
    let bye = dave.request("BYE", "", "");
    bench.from(A, bye);
    assert_told_last(&bench, "SIP/2.0 480 Temporarily Unavailable");
    let asked = bench.newest(B, "INVITE").headers.cseq().number;
    // Bob accepts whom is gone: he is told of Alice again.
    bench.answers(BOB, "INVITE", 200, SDP);
    let again = bench.newest(B, "INVITE");
    assert_eq!(again.headers.cseq().number, asked + 1);
    let text = String::from_utf8(again.body.to_vec()).unwrap();
    assert!(
        text.contains("o=- 1 3 IN"),
        "a newer version of the session that he knows: {text}"
    );
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn what_cannot_be_read_or_called_is_refused_and_the_call_goes_on() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    for (more, status) in [
        ("", 400),
        ("Refer-To: <nowhere\r\n", 400),
        ("Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", 400),
        ("Refer-To: <sip:a@b;method=MESSAGE>\r\n", 400),
        ("Refer-To: <mailto:a@b>\r\n", 416),
        ("Refer-To: <sip:a@b>\r\nRequire: magic\r\n", 420),
    ] {
        let refer = alice.request("REFER", more, "");
        bench.from(A, refer);
        assert_eq!(bench.response_to_a().status, status, "{more}");
    }
    assert!(!bench.story.iter().any(|rung| rung == "NOTIFY → A"));
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn parties_that_refer_each_other_in_a_circle_are_stopped() {
    let mut bench = strict();
    let [mut alice, mut bob] = bench.talk(ALICE, BOB, "call-1", "");
    for _ in 0..8 {
        refers(&mut bench, &mut alice, "");
        let invite = bench.newest(A, "INVITE");
        bench.answers(DAVE, "INVITE", 200, SDP);
        bench.answers(BOB, "INVITE", 200, SDP);
        alice = PhoneDialog::of_callee(DAVE, &invite);
    }
    refers(&mut bench, &mut alice, "");
    let refusal = bench.response_to_a();
    assert_eq!(refusal.status, 603);
    assert_eq!(
        refusal.headers.get("Warning"),
        Some("399 lab \"Too many transfers led to this call\"")
    );
    let bye = bob.request("BYE", "", "");
    bench.from(B, bye);
    bench.answers(DAVE, "BYE", 200, "");
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 9]);
    bench.assert_nothing_left();
}
