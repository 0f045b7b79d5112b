//! REFER executed by us, attended: two calls of ours are joined, or a stranger's dialog is replaced.

use std::collections::BTreeSet;

use onrecord::engine::Input;
use onrecord::sip::{Message, Request};

use super::bench::{A, B, Bench, PROXY, SDP};
use super::executed::strict;
use super::party::{ALICE, BOB, CAROL, DAVE, PhoneDialog};

pub fn escaped(name: &str) -> String {
    name.replace('@', "%40").replace(';', "%3B").replace('=', "%3D")
}

/// Alice talks to Bob, asks Carol, and refers Bob to her. Gives the dialogs: Alice's first and second, Bob's, Carol's.
pub fn consults(bench: &mut Bench) -> [PhoneDialog; 4] {
    let [mut first, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, carol] = bench.talk(ALICE, CAROL, "call-2", "");
    bench.story.clear();
    let replaces = escaped(&second.for_far_end());
    let refer = first.request(
        "REFER",
        &format!("Refer-To: <sip:carol@{PROXY}?Replaces={replaces}>\r\n"),
        "",
    );
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    [first, second, bob, carol]
}

/// Every request of that method to Alice, of which each is answered.
pub fn alice_answers_each(bench: &mut Bench, method: &str) -> usize {
    let requests: Vec<Request> = bench
        .to_a
        .iter()
        .filter_map(|message| match message {
            Message::Request(request) if request.method.as_str() == method => Some(request.clone()),
            _ => None,
        })
        .collect();
    for request in &requests {
        let bytes = super::bench::answer(request, 200, "alice-tag", A, "");
        bench.from(A, bytes);
    }
    let calls: BTreeSet<&str> = requests.iter().map(|request| request.headers.call_id()).collect();
    calls.len()
}

pub fn status_told(bench: &Bench) -> String {
    String::from_utf8(bench.newest(A, "NOTIFY").body.to_vec()).unwrap()
}

#[test]
fn the_parties_that_stay_of_two_calls_are_joined_and_the_transferor_is_let_go_of_both() {
    let mut bench = strict();
    let [_, _, bob, carol] = consults(&mut bench);
    // Carol is asked in the dialog that she has.
    let asked = bench.newest(B, "INVITE");
    assert_eq!(asked.headers.call_id(), carol.call_id);
    assert_eq!(asked.headers.get("Replaces"), None);
    let text = String::from_utf8(asked.body.to_vec()).unwrap();
    assert!(text.contains("o=- 1 2 IN"), "her session goes on: {text}");
    bench.answers(CAROL, "INVITE", 200, SDP);
    assert_eq!(bench.newest(B, "INVITE").headers.call_id(), bob.call_id);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_eq!(status_told(&bench), "SIP/2.0 200 OK\r\n");
    assert_eq!(
        bench.story,
        [
            "A → REFER",
            "202 → A",
            "NOTIFY → A",
            "decided",
            "open",
            "ready",
            "INVITE → B",
            "A → 200",
            "B → 200",
            "ACK → B",
            "INVITE → B",
            "B → 200",
            "ACK → B",
            "NOTIFY → A",
            "BYE → A",
        ]
    );
    alice_answers_each(&mut bench, "NOTIFY");
    assert_eq!(alice_answers_each(&mut bench, "BYE"), 2);
    bench.story.clear();
    bench.hangs_up(bob, CAROL);
    assert_eq!(bench.newest(B, "BYE").headers.call_id(), carol.call_id);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 3]);
    assert_eq!(bench.headers()[2].callee.identity, bench.headers()[1].callee.identity);
    bench.assert_nothing_left();
}

#[test]
fn when_the_first_does_not_come_the_second_is_told_of_its_old_far_end_and_both_calls_stay() {
    let mut bench = strict();
    let [first, second, _, carol] = consults(&mut bench);
    let asked = bench.newest(B, "INVITE").headers.cseq().number;
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 488, "");
    assert_eq!(status_told(&bench), "SIP/2.0 488 Not Acceptable Here\r\n");
    let again = bench.newest(B, "INVITE");
    assert_eq!(
        (again.headers.call_id(), again.headers.cseq().number),
        (carol.call_id.as_str(), asked + 1)
    );
    let text = String::from_utf8(again.body.to_vec()).unwrap();
    assert!(text.contains("o=- 1 3 IN"), "{text}");
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.hangs_up(first, BOB);
    bench.hangs_up(second, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn when_the_second_does_not_come_nobody_else_is_disturbed() {
    let mut bench = strict();
    let [first, second, _, _] = consults(&mut bench);
    bench.answers(CAROL, "INVITE", 488, "");
    assert_eq!(bench.story.iter().filter(|rung| *rung == "INVITE → B").count(), 1);
    assert_eq!(status_told(&bench), "SIP/2.0 488 Not Acceptable Here\r\n");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.hangs_up(first, BOB);
    bench.hangs_up(second, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_transferor_that_hangs_up_both_calls_at_once_does_not_end_the_transfer() {
    let mut bench = strict();
    let [mut first, mut second, bob, _] = consults(&mut bench);
    for dialog in [&mut first, &mut second] {
        let bye = dialog.request("BYE", "", "");
        bench.from(A, bye);
    }
    assert!(!bench.story.iter().any(|rung| rung == "BYE → B"));
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 481, "");
    bench.hangs_up(bob, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_consulted_party_that_hangs_up_between_leaves_the_first_call_as_it_was() {
    let mut bench = strict();
    let [first, _, bob, mut carol] = consults(&mut bench);
    bench.answers(CAROL, "INVITE", 200, SDP);
    let bye = carol.request("BYE", "", "");
    bench.from(B, bye);
    assert_eq!(bench.newest(A, "BYE").headers.call_id(), "call-2");
    bench.answers(ALICE, "BYE", 200, "");
    assert_eq!(status_told(&bench), "SIP/2.0 487 Request Terminated\r\n");
    // He has accepted whom is gone, and is told of Alice again.
    let asked = bench.newest(B, "INVITE");
    assert_eq!(asked.headers.call_id(), bob.call_id);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_eq!(
        bench.newest(B, "INVITE").headers.cseq().number,
        asked.headers.cseq().number + 1
    );
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.hangs_up(first, BOB);
    bench.assert_nothing_left();
}

#[test]
fn a_party_that_shows_video_is_joined_with_one_that_does_not() {
    let mut bench = strict();
    let video = format!("{SDP}m=video 4002 RTP/AVP 31\r\n");
    let refused = format!("{SDP}m=video 0 RTP/AVP 31\r\n");
    let [mut first, bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.requests(
        "INVITE",
        ALICE,
        &format!("sip:carol@{PROXY}"),
        "call-2",
        "Content-Type: application/sdp\r\n",
        &video,
    );
    let carol = PhoneDialog::of_callee(CAROL, &bench.newest(B, "INVITE"));
    bench.answers(CAROL, "INVITE", 200, &video);
    let mut second = PhoneDialog::of_caller(ALICE, &bench.newest_response(A));
    let ack = second.request("ACK", "", "");
    bench.from(A, ack);
    let replaces = escaped(&second.for_far_end());
    let refer = first.request(
        "REFER",
        &format!("Refer-To: <sip:carol@{PROXY}?Replaces={replaces}>\r\n"),
        "",
    );
    bench.from(A, refer);
    let text = String::from_utf8(bench.newest(B, "INVITE").body.to_vec()).unwrap();
    assert!(
        text.contains("m=audio 0 RTP/AVP 0\r\n"),
        "as many lines as she knows: {text}"
    );
    bench.answers(CAROL, "INVITE", 200, &refused);
    let text = String::from_utf8(bench.newest(B, "INVITE").body.to_vec()).unwrap();
    assert!(text.contains("m=video 0 "), "{text}");
    bench.answers(BOB, "INVITE", 200, &refused);
    alice_answers_each(&mut bench, "NOTIFY");
    alice_answers_each(&mut bench, "NOTIFY");
    assert_eq!(alice_answers_each(&mut bench, "BYE"), 2);
    bench.hangs_up(bob, CAROL);
    drop(carol);
    bench.assert_nothing_left();
}

#[test]
fn a_dialog_that_is_not_ours_is_replaced_by_the_target_itself() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let refer_to = format!("Refer-To: <sip:dave@{PROXY}?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=hi>\r\n");
    let refer = alice.request("REFER", &refer_to, "");
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.headers.get("Replaces"), Some("x@y;to-tag=1;from-tag=2"));
    assert_eq!(invite.headers.get("Require"), Some("replaces"));
    assert_eq!(
        invite.headers.get("Subject"),
        None,
        "what else a URI says is its author's, not the caller's"
    );
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_call_cannot_be_replaced_by_itself() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let replaces = escaped(&alice.for_far_end());
    let refer = alice.request(
        "REFER",
        &format!("Refer-To: <sip:bob@{PROXY}?Replaces={replaces}>\r\n"),
        "",
    );
    bench.from(A, refer);
    assert_eq!(bench.response_to_a().status, 400);
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn a_transfer_that_is_asked_for_during_a_hand_over_is_ended_and_keeps_the_old_call() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    bench.input(Input::HandOver);
    let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.story.clear();
    bench.input(Input::ShutDown);
    assert!(
        !bench.story.iter().any(|rung| rung == "BYE → A" || rung == "BYE → B"),
        "{:?}",
        bench.story
    );
    assert_eq!(bench.remembered.len(), 1);
}

#[test]
fn a_node_that_hands_over_ends_the_transfer_and_keeps_the_old_calls() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 180, "");
    bench.input(Input::HandOver);
    bench.input(Input::ShutDown);
    assert_eq!(status_told(&bench), "SIP/2.0 503 Service Unavailable\r\n");
    assert_eq!(bench.newest(A, "CANCEL").headers.cseq().number, 1);
    assert!(!bench.story.iter().any(|rung| rung == "BYE → A" || rung == "BYE → B"));
    let remembered: Vec<_> = bench.remembered.clone().into_iter().collect();
    assert_eq!(remembered.len(), 1);
    let mut after = strict();
    after.now = bench.now;
    after.to_a.clone_from(&bench.to_a);
    after.to_b.clone_from(&bench.to_b);
    for (session, state) in remembered {
        after.input(Input::Resume { session, state });
    }
    after.hangs_up(alice, BOB);
    after.assert_nothing_left();
}

#[test]
fn a_crash_while_a_party_is_alone_on_its_way_ends_its_call_at_the_next_start() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    let bye = alice.request("BYE", "", "");
    bench.from(A, bye);
    let mut after = strict();
    after.now = bench.now;
    for (session, state) in bench.remembered.clone() {
        after.input(Input::Resume { session, state });
    }
    assert_eq!(after.newest(B, "BYE").headers.call_id(), bob.call_id);
    after.answers(BOB, "BYE", 200, "");
    assert!(after.to_a.is_empty(), "she has gone");
    after.assert_nothing_left();
    assert!(after.remembered.is_empty());
}
