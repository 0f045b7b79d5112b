//! Dialogs that end while something is open in them, and who is still owed an ACK, a BYE or a CANCEL.

use bytes::Bytes;
use onrecord::sip::Message;
use onrecord::trunk::Conduct;

use super::bench::{A, ALL_STRICT, B, Bench, C, PROXY, SDP, answer, in_dialog, invite};
use super::challenged::{REALM, bench as asking, digest};

fn has(bench: &Bench, rung: &str) -> bool {
    bench.story.iter().any(|told| told == rung)
}

fn seconds(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

pub fn methods(messages: &[Message]) -> Vec<String> {
    let request = |message: &Message| match message {
        Message::Request(request) => Some(request.method.as_str().to_owned()),
        Message::Response(_) => None,
    };
    messages.iter().filter_map(request).collect()
}

#[test]
fn after_a_challenged_invite_a_late_fork_is_ended_and_a_lost_ack_sent_again() {
    let mut bench = asking();
    bench.invite(SDP, "");
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n1", "")]);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(bench.signaling.calls(), 0);
    let invite = bench.request_to_b("INVITE");
    bench.to_b.clear();
    bench.from(B, answer(&invite, 200, "other-tag", B, SDP));
    assert_eq!(methods(&bench.to_b), ["ACK", "BYE"]);
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("other-tag"));
    bench.b_agrees("BYE", 200, "");
    bench.to_b.clear();
    bench.from(B, answer(&invite, 200, "b-tag", B, SDP));
    assert_eq!(methods(&bench.to_b), ["ACK"]);
    assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 2);
    bench.assert_nothing_left();
}

#[test]
fn a_challenged_re_invite_that_rings_on_after_the_call_is_over_is_forgotten_in_time() {
    let mut bench = asking().connected();
    bench.a_requests(2, "INVITE", "r1", SDP);
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n1", "")]);
    bench.b_answers("INVITE", 100, "");
    bench.a_requests(3, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.a_requests(2, "ACK", "r1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_re_invite_of_which_only_a_1xx_came_is_cancelled_when_the_call_ends() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "r1", SDP);
    bench.b_answers("INVITE", 100, "");
    bench.story.clear();
    bench.a_requests(3, "BYE", "bye", "");
    assert!(has(&bench, "CANCEL → B"), "{:?}", bench.story);
    bench.b_answers("BYE", 200, "");
    bench.a_requests(2, "ACK", "r1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_refresh_of_ours_that_rings_is_cancelled_when_the_call_ends_and_its_2xx_acknowledged() {
    let mut bench = Bench::strict().connected();
    bench.wait(seconds(912));
    assert_eq!(bench.story, ["INVITE → A", "INVITE → B"]);
    bench.a_answers("INVITE", 100, "");
    bench.b_agrees("INVITE", 100, "");
    let refresh = bench.request_to_b("INVITE");
    bench.a_requests(2, "BYE", "bye", "");
    assert!(
        has(&bench, "CANCEL → A") && has(&bench, "CANCEL → B"),
        "{:?}",
        bench.story
    );
    bench.b_agrees("BYE", 200, "");
    assert_eq!(bench.signaling.calls(), 0);
    bench.to_b.clear();
    bench.from(B, answer(&refresh, 200, "b-tag", B, SDP));
    assert_eq!(methods(&bench.to_b), ["ACK"]);
    bench.assert_nothing_left();
}

#[test]
fn what_names_no_leg_and_what_is_over_the_rate_of_a_call_keeps_no_state() {
    let mut bench = Bench::strict().connected();
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    let before = bench.signaling.leftovers()[1];
    for number in 2..200 {
        bench.a_requests_in("made-up", number, "INFO", "", "");
        assert_eq!(bench.response_to_a().status, 481);
    }
    assert_eq!(bench.signaling.leftovers()[1], before);
    bench.to_a.clear();
    for number in 2..1_000 {
        bench.a_requests_in(&tag, number, "OPTIONS", "", "");
    }
    assert_eq!(bench.response_to_a().status, 500);
    let is_200 = |message: &&Message| matches!(message, Message::Response(response) if response.status == 200);
    let taken = bench.to_a.iter().filter(is_200).count();
    assert_eq!(bench.to_a.len(), 998, "every one has its answer");
    assert_eq!(bench.signaling.leftovers()[1], before + taken);
    bench.a_requests(1_000, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_re_invite_that_was_over_the_rate_is_refused_when_it_comes_again() {
    let mut bench = Bench::strict().connected();
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    for number in 2..1_000 {
        bench.a_requests_in(&tag, number, "OPTIONS", "", "");
    }
    bench.a_requests_in(&tag, 1_000, "INVITE", "", SDP);
    assert_eq!(bench.response_to_a().status, 500);
    bench.a_requests_in(&tag, 1_000, "ACK", "", "");
    bench.story.clear();
    bench.wait(seconds(20));
    bench.a_requests_in(&tag, 1_000, "INVITE", "", SDP);
    assert_eq!(bench.response_to_a().status, 500);
    assert!(bench.story.is_empty(), "{:?}", bench.story);
    bench.a_requests_in(&tag, 1_001, "INVITE", "", SDP);
    assert_eq!(bench.story, ["A → INVITE", "100 → A", "INVITE → B"]);
}

#[test]
fn a_losing_fork_is_ended_at_its_own_address_or_by_the_path_of_the_invite() {
    let mut bench = Bench::with_spare(&ALL_STRICT, Conduct::default());
    bench.invite(SDP, "");
    let invite = bench.request_to_b("INVITE");
    bench.from(B, answer(&invite, 200, "winner", C, SDP));
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(methods(&bench.to_c), ["ACK"], "the winner's Contact");
    bench.to_b.clear();
    bench.to_c.clear();
    bench.from(B, answer(&invite, 200, "stranger", "192.0.2.9:5060", SDP));
    assert_eq!(methods(&bench.to_b), ["ACK", "BYE"], "the path of the INVITE");
    assert!(bench.to_c.is_empty());
    bench.b_agrees("BYE", 200, "");
    bench.from(B, answer(&invite, 200, "stranger", "192.0.2.9:5060", SDP));
    assert_eq!(methods(&bench.to_b), ["ACK", "BYE", "ACK"]);
    bench.a_requests(2, "BYE", "bye", "");
    bench.c_answers("BYE", 200, "");
    assert_eq!(bench.signaling.calls(), 0);
    bench.to_b.clear();
    bench.to_c.clear();
    bench.from(B, answer(&invite, 200, "late", B, SDP));
    assert_eq!(methods(&bench.to_b), ["ACK", "BYE"]);
    bench.b_agrees("BYE", 200, "");
    bench.from(B, answer(&invite, 200, "later", C, SDP));
    assert_eq!(methods(&bench.to_c), ["ACK", "BYE"]);
    bench.c_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

/// A call that is up, and a second phone that answered late: its Contact is C, where nobody knows it.
fn with_losing_fork() -> Bench {
    let mut bench = Bench::with_spare(&ALL_STRICT, Conduct::default());
    bench.invite(SDP, "");
    let invite = bench.request_to_b("INVITE");
    bench.from(B, answer(&invite, 200, "winner", B, SDP));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.to_b.clear();
    bench.from(B, answer(&invite, 200, "loser", C, SDP));
    assert_eq!(methods(&bench.to_c), ["ACK", "BYE"]);
    bench
}

#[test]
fn the_bye_of_a_losing_fork_goes_by_the_path_of_its_invite_where_its_contact_leads_nowhere() {
    for is_silent in [false, true] {
        let mut bench = with_losing_fork();
        if is_silent {
            bench.wait(seconds(33));
        } else {
            bench.c_answers("BYE", 404, "");
        }
        let bye = bench.request_to_b("BYE");
        assert_eq!((bye.headers.to().tag(), bye.headers.cseq().number), (Some("loser"), 3));
        let sent = bench.to_b.len();
        bench.b_agrees("BYE", 404, "");
        assert_eq!(bench.to_b.len(), sent, "and no third time");
        assert_eq!(bench.signaling.calls(), 1);
        bench.a_requests(2, "BYE", "bye", "");
        bench.b_agrees("BYE", 200, "");
        bench.assert_nothing_left();
    }
}

#[test]
fn a_losing_fork_that_does_not_answer_its_bye_holds_no_call_up() {
    let mut bench = with_losing_fork();
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_agrees("BYE", 200, "");
    assert_eq!(bench.signaling.calls(), 0);
    bench.assert_nothing_left();
}

#[test]
fn an_offer_that_meets_the_offer_of_our_refresh_gets_491() {
    let mut bench = Bench::strict().connected();
    bench.wait(seconds(912));
    assert_eq!(bench.story, ["INVITE → A", "INVITE → B"]);
    bench.a_requests(2, "UPDATE", "u1", SDP);
    assert_eq!(bench.response_to_a().status, 491);
    assert!(!has(&bench, "UPDATE → B"));
    bench.a_requests(3, "UPDATE", "u2", "");
    assert!(has(&bench, "UPDATE → B"), "without an offer it passes");
}

#[test]
fn an_ack_of_another_number_or_fork_confirms_nothing() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.fork_answers("fork-1", 183, "", SDP);
    bench.fork_answers("fork-2", 183, "", SDP);
    let other = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.fork_answers("fork-1", 200, "", SDP);
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    assert_ne!(tag, other);
    bench.a_requests_in(&other, 1, "ACK", "", "");
    bench.a_requests_in(&tag, 9, "ACK", "", "");
    bench.a_requests(9, "ACK", "a1", "");
    assert!(!has(&bench, "ACK → B"), "{:?}", bench.story);
    bench.wait(seconds(1));
    assert!(bench.times("200 → A") > 1 || bench.to_a.len() > 4, "it is told again");
    bench.a_requests_in(&tag, 1, "ACK", "", "");
    assert!(has(&bench, "ACK → B"));
    bench.a_requests_in(&tag, 10, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

/// RFC 3261 §13.2.2.4: the ACK has the To of the 2xx, and some phones make up a tag all the same.
#[test]
fn an_ack_whose_to_tag_nobody_has_is_that_of_the_one_2xx_that_waits_for_it() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.from(A, of_others("ACK", 1, ("a-tag", "made-up"), "call-2"));
    bench.from(A, of_others("ACK", 1, ("other-tag", "made-up"), "call-1"));
    bench.from(A, of_others("ACK", 2, ("a-tag", "made-up"), "call-1"));
    bench.from(B, of_others("ACK", 1, ("a-tag", "made-up"), "call-1"));
    assert!(!has(&bench, "ACK → B"), "{:?}", bench.story);
    bench.from(A, of_others("ACK", 1, ("a-tag", "made-up"), "call-1"));
    assert!(has(&bench, "ACK → B"), "{:?}", bench.story);
    bench.from(A, of_others("ACK", 1, ("a-tag", "made-up"), "call-1"));
    assert_eq!(bench.times("ACK → B"), 1);
    let answers = bench.to_a.len();

    bench.wait(seconds(40));
    assert_eq!(bench.to_a.len(), answers, "the 2xx is not sent again, and no BYE");
    bench.a_requests_in(&tag, 2, "INVITE", "", SDP);
    bench.b_agrees("INVITE", 200, SDP);
    bench.from(A, of_others("ACK", 2, ("a-tag", "made-up"), "call-1"));
    assert_eq!(bench.times("ACK → B"), 2, "{:?}", bench.story);
    bench.a_requests_in(&tag, 3, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn an_ack_whose_to_tag_nobody_has_is_nobody_s_where_two_branches_of_a_fork_wait_for_theirs() {
    let mut bench = Bench::strict();
    for (branch, callee) in [("a1", "bob"), ("a2", "carol")] {
        let invite = String::from_utf8(invite(1, branch, "", SDP, "").to_vec()).unwrap();
        bench.from(A, invite.replace("sip:bob@", &format!("sip:{callee}@")).into());
        bench.b_answers("INVITE", 200, SDP);
    }
    assert_eq!(bench.signaling.calls(), 2);
    bench.from(A, of_others("ACK", 1, ("a-tag", "made-up"), "call-1"));
    assert!(!has(&bench, "ACK → B"), "{:?}", bench.story);
}

fn of_others(method: &str, cseq: u32, (from, to): (&str, &str), call_id: &str) -> Bytes {
    let from = format!("<sip:alice@example.com>;tag={from}");
    let to = format!("<sip:bob@{PROXY}>;tag={to}");
    in_dialog(A, method, "made-up", (&from, &to), call_id, cseq, "")
}

#[test]
fn a_callee_that_ends_its_only_early_dialog_ends_the_call_for_its_other_phones_too() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    bench.b_requests(1, "BYE", "bye", "");
    assert!(has(&bench, "487 → A") && has(&bench, "CANCEL → B"), "{:?}", bench.story);
    bench.b_answers("CANCEL", 200, "");
    bench.b_answers("INVITE", 487, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn an_interval_that_grows_with_every_422_is_met_once() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "r1", SDP);
    bench.fork_answers("b-tag", 422, "Min-SE: 3600\r\n", "");
    assert_eq!(bench.times("INVITE → B"), 2);
    bench.fork_answers("b-tag", 422, "Min-SE: 3601\r\n", "");
    assert_eq!(bench.times("INVITE → B"), 2);
    assert_eq!(bench.response_to_a().status, 422);
    bench.a_requests(2, "ACK", "r1", "");
    let mut bench = Bench::strict().connected();
    bench.wait(seconds(912));
    bench.fork_answers("b-tag", 422, "Min-SE: 3600\r\n", "");
    bench.fork_answers("b-tag", 422, "Min-SE: 3601\r\n", "");
    assert_eq!(bench.times("INVITE → B"), 2);
    assert_eq!(bench.signaling.calls(), 1);
}
