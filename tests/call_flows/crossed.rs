//! What comes when the call is over or about to be: answers that cross its end, forks that ring on, a peer that waited long
//! enough.

use std::time::Duration;

use onrecord::engine::Input;

use super::bench::{A, B, Bench, SDP, answer, invite};

fn has(bench: &Bench, rung: &str) -> bool {
    bench.story.iter().any(|told| told == rung)
}

#[test]
fn an_early_update_that_waits_is_answered_when_its_call_is_cancelled() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    bench.a_requests(2, "UPDATE", "u1", "");
    let cancel = String::from_utf8(invite(1, "a1", "", "", "").to_vec()).expect("text");
    bench.from(A, cancel.replace("INVITE", "CANCEL").into());
    assert!(has(&bench, "487 → A") && has(&bench, "CANCEL → B"), "{:?}", bench.story);
    bench.b_answers("CANCEL", 200, "");
    bench.b_answers("INVITE", 487, "");
    bench.b_answers("UPDATE", 481, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn an_early_update_that_waits_is_answered_when_b_declines_the_call() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    bench.a_requests(2, "UPDATE", "u1", "");
    bench.b_answers("INVITE", 486, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_callee_that_waits_for_the_ack_no_longer_gets_it_all_the_same() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.story.clear();
    bench.b_requests(1, "BYE", "bye", "");
    assert_eq!(bench.story[..3], ["B → BYE", "200 → B", "ACK → B"]);
}

#[test]
fn a_fork_that_answers_after_the_call_is_over_is_acknowledged_and_ended() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(bench.signaling.calls(), 0);
    let late = answer(&bench.request_to_b("INVITE"), 200, "other-tag", B, SDP);
    bench.to_b.clear();
    bench.from(B, late.clone());
    for method in ["ACK", "BYE"] {
        assert_eq!(bench.request_to_b(method).headers.to().tag(), Some("other-tag"));
    }
    bench.to_b.clear();
    bench.from(B, late);
    assert_eq!(
        bench.to_b.len(),
        1,
        "the ACK once more, and nothing else: {:?}",
        bench.to_b
    );
    bench.assert_nothing_left();
}

#[test]
fn a_fork_in_whose_early_dialog_we_spoke_is_ended_by_a_bye_of_the_next_number() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    bench.a_requests(2, "UPDATE", "u1", "");
    bench.b_answers("UPDATE", 200, "");
    let used = bench.request_to_b("UPDATE").headers.cseq().number;
    let invite = bench.request_to_b("INVITE");
    bench.from(B, answer(&invite, 200, "other-tag", B, SDP));
    bench.from(B, answer(&invite, 200, "b-tag", B, SDP));
    let bye = bench.request_to_b("BYE");
    assert_eq!(bye.headers.to().tag(), Some("b-tag"));
    assert_eq!(bye.headers.cseq().number, used + 1);
}

#[test]
fn a_re_invite_that_rings_on_after_the_call_is_over_is_forgotten_in_time() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "r1", SDP);
    bench.b_answers("INVITE", 100, "");
    bench.a_requests(3, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.a_requests(2, "ACK", "r1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_2xx_to_a_re_invite_that_crosses_the_end_of_the_call_is_acknowledged() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "r1", SDP);
    let reinvite = bench.request_to_b("INVITE");
    bench.a_requests(3, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(bench.signaling.calls(), 0);
    bench.to_b.clear();
    bench.from(B, answer(&reinvite, 200, "b-tag", B, SDP));
    assert_eq!(
        bench.request_to_b("ACK").headers.cseq().number,
        reinvite.headers.cseq().number
    );
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.to_b.len(), 1, "no BYE: that was said");
}

#[test]
fn an_invite_that_is_left_to_the_next_process_is_not_told_to_wait() {
    let mut bench = Bench::strict();
    bench.input(Input::HandOver);
    bench.invite(SDP, "");
    bench.wait(Duration::from_secs(1));
    assert!(bench.to_a.is_empty(), "{:?}", bench.to_a);
    bench.assert_nothing_left();
}

#[test]
fn a_fork_that_answers_across_the_bye_of_its_early_dialog_is_acknowledged_and_not_heard_again() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    let invite = bench.request_to_b("INVITE");
    for tag in ["first", "second"] {
        bench.from(B, answer(&invite, 180, tag, B, ""));
    }
    bench.a_requests(2, "BYE", "bye", "");
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("second"));
    bench.to_a.clear();
    bench.from(B, answer(&invite, 183, "second", B, ""));
    assert!(bench.to_a.is_empty(), "{:?}", bench.to_a);
    bench.to_b.clear();
    bench.from(B, answer(&invite, 200, "second", B, SDP));
    assert_eq!(bench.request_to_b("ACK").headers.to().tag(), Some("second"));
    assert_eq!(bench.to_b.len(), 1, "no second BYE: {:?}", bench.to_b);
    assert_eq!(bench.response_to_a().status, 487);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}
