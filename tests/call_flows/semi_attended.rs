//! Transfers to who has not answered yet (RFC 5589 §7.6): REFER with Replaces of a call that rings.

mod replacing;

use onrecord::engine::Input;
use onrecord::model::Fault;

use super::bench::{A, B, Bench, PROXY, SDP, STRICT, answer};
use super::consulted::{alice_answers_each, escaped, status_told};
use super::executed::strict;
use super::party::{ALICE, BOB, CAROL, Party, PhoneDialog};

/// Alice talks to Bob, rings Carol, and refers Bob to her. Gives the dialogs: Alice's first and second, Bob's, Carol's.
fn transfers_while_it_rings(bench: &mut Bench) -> [PhoneDialog; 4] {
    let [mut first, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, carol] = bench.rings(ALICE, CAROL, "call-2", "");
    bench.story.clear();
    refers(bench, &mut first, &second);
    [first, second, bob, carol]
}

fn refers(bench: &mut Bench, first: &mut PhoneDialog, second: &PhoneDialog) {
    let replaces = escaped(&second.for_far_end());
    let refer_to = format!("Refer-To: <sip:{PROXY}?Replaces={replaces}>\r\n");
    let refer = first.request("REFER", &refer_to, "");
    bench.from(A, refer);
}

/// Carol picks up the call that Alice has with her.
fn carol_answers_alice(bench: &mut Bench, second: &mut PhoneDialog) {
    bench.answers(CAROL, "INVITE", 200, SDP);
    *second = PhoneDialog::of_caller(ALICE, &bench.newest_response(A));
    let ack = second.request("ACK", "", "");
    bench.from(A, ack);
}

/// Both who stay come over, Alice is let go of both calls, and they hang up.
fn are_joined_and_hang_up(bench: &mut Bench, bob: PhoneDialog) {
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    alice_answers_each(bench, "NOTIFY");
    assert_eq!(alice_answers_each(bench, "BYE"), 2);
    bench.hangs_up(bob, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn the_transfer_waits_for_the_answer_and_then_joins_both_calls() {
    let mut bench = strict();
    let [_, mut second, bob, carol] = transfers_while_it_rings(&mut bench);
    assert_eq!(bench.story, ["A → REFER", "202 → A", "NOTIFY → A"]);
    assert_eq!(status_told(&bench), "SIP/2.0 100 Trying\r\n");
    bench.answers(ALICE, "NOTIFY", 200, "");
    carol_answers_alice(&mut bench, &mut second);
    assert_eq!(
        bench.newest(B, "INVITE").headers.call_id(),
        carol.call_id,
        "in the dialog that she has"
    );
    bench.answers(CAROL, "INVITE", 200, SDP);
    assert_eq!(bench.newest(B, "INVITE").headers.call_id(), bob.call_id);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_eq!(status_told(&bench), "SIP/2.0 200 OK\r\n");
    alice_answers_each(&mut bench, "NOTIFY");
    assert_eq!(alice_answers_each(&mut bench, "BYE"), 2);
    bench.hangs_up(bob, CAROL);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 3]);
    assert_eq!(bench.headers()[2].callee.identity, bench.headers()[1].callee.identity);
    bench.assert_nothing_left();
}

#[test]
fn a_refer_that_overtakes_the_ack_waits_for_it() {
    let mut bench = strict();
    let [mut first, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [_, _] = bench.rings(ALICE, CAROL, "call-2", "");
    bench.answers(CAROL, "INVITE", 200, SDP);
    let mut second = PhoneDialog::of_caller(ALICE, &bench.newest_response(A));
    refers(&mut bench, &mut first, &second);
    assert_eq!(status_told(&bench), "SIP/2.0 100 Trying\r\n");
    bench.answers(ALICE, "NOTIFY", 200, "");
    let ack = second.request("ACK", "", "");
    bench.from(A, ack);
    are_joined_and_hang_up(&mut bench, bob);
}

#[test]
fn a_caller_that_gives_up_the_ringing_call_has_it_called_by_who_stays() {
    let mut bench = strict();
    let [_, second, bob, carol] = transfers_while_it_rings(&mut bench);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.from(A, second.cancel());
    assert_eq!(
        bench.newest(B, "INVITE").headers.call_id(),
        carol.call_id,
        "it rings still"
    );
    bench.answers(CAROL, "CANCEL", 200, "");
    bench.answers(CAROL, "INVITE", 487, "");
    let invite = bench.newest(B, "INVITE");
    assert_ne!(invite.headers.call_id(), carol.call_id);
    assert_eq!(invite.uri.user(), Some("carol"));
    assert_eq!(invite.headers.from().uri().user(), Some("bob"));
    assert_eq!(invite.headers.get("Replaces"), None);
    bench.answers(CAROL, "INVITE", 200, SDP);
    assert_eq!(bench.newest(B, "INVITE").headers.call_id(), bob.call_id);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_eq!(status_told(&bench), "SIP/2.0 200 OK\r\n");
    alice_answers_each(&mut bench, "NOTIFY");
    assert_eq!(alice_answers_each(&mut bench, "BYE"), 1);
    bench.hangs_up(bob, CAROL);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 3]);
    bench.assert_nothing_left();
}

#[test]
fn a_transferor_that_hangs_up_both_calls_at_once_is_not_missed() {
    let mut bench = strict();
    let [mut first, second, bob, _] = transfers_while_it_rings(&mut bench);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let bye = first.request("BYE", "", "");
    bench.from(A, bye);
    bench.from(A, second.cancel());
    bench.answers(CAROL, "CANCEL", 200, "");
    bench.answers(CAROL, "INVITE", 487, "");
    assert!(!bench.story.iter().any(|rung| rung == "BYE → B"));
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    alice_answers_each(&mut bench, "NOTIFY");
    assert!(!bench.story.iter().any(|rung| rung == "BYE → A"));
    bench.hangs_up(bob, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn who_answers_while_the_caller_gives_up_is_let_go_and_called_once_more() {
    let mut bench = strict();
    let [_, second, bob, _] = transfers_while_it_rings(&mut bench);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.from(A, second.cancel());
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(CAROL, "CANCEL", 200, "");
    let invites = |bench: &Bench| bench.story.iter().filter(|rung| *rung == "INVITE → B").count();
    assert_eq!(invites(&bench), 0);
    bench.answers(CAROL, "BYE", 200, "");
    assert_eq!(invites(&bench), 1);
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    alice_answers_each(&mut bench, "NOTIFY");
    alice_answers_each(&mut bench, "BYE");
    bench.hangs_up(bob, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_caller_that_ends_the_ringing_call_by_bye_has_given_it_up_too() {
    let mut bench = strict();
    let [_, mut second, bob, carol] = transfers_while_it_rings(&mut bench);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let bye = second.request("BYE", "", "");
    bench.from(A, bye);
    bench.answers(CAROL, "CANCEL", 200, "");
    bench.answers(CAROL, "INVITE", 487, "");
    assert_ne!(bench.newest(B, "INVITE").headers.call_id(), carol.call_id);
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    alice_answers_each(&mut bench, "NOTIFY");
    alice_answers_each(&mut bench, "BYE");
    bench.hangs_up(bob, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_node_that_hands_over_ends_the_wait_and_keeps_the_call_that_talks() {
    let mut bench = strict();
    let [first, _, _, _] = transfers_while_it_rings(&mut bench);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.input(Input::HandOver);
    bench.input(Input::ShutDown);
    assert!(
        status_told(&bench).starts_with("SIP/2.0 503 "),
        "{}",
        status_told(&bench)
    );
    assert!(!bench.story.iter().any(|rung| rung.starts_with("BYE")));
    let mut after = strict();
    after.now = bench.now;
    after.to_a.clone_from(&bench.to_a);
    after.to_b.clone_from(&bench.to_b);
    for (session, state) in bench.remembered.clone() {
        after.input(Input::Resume { session, state });
    }
    after.hangs_up(first, BOB);
    after.assert_nothing_left();
}

#[test]
fn who_does_not_come_leaves_the_first_call_as_it_was() {
    for status in [486, 603] {
        let mut bench = strict();
        let [first, _, bob, _] = transfers_while_it_rings(&mut bench);
        bench.answers(ALICE, "NOTIFY", 200, "");
        bench.answers(CAROL, "INVITE", status, "");
        assert!(
            status_told(&bench).starts_with(&format!("SIP/2.0 {status} ")),
            "{}",
            status_told(&bench)
        );
        bench.answers(ALICE, "NOTIFY", 200, "");
        assert!(
            !bench
                .story
                .iter()
                .any(|rung| rung == "INVITE → B" || rung.starts_with("BYE"))
        );
        bench.hangs_up(first, BOB);
        drop(bob);
        bench.assert_nothing_left();
    }
}

#[test]
fn who_stays_and_hangs_up_leaves_the_ringing_call_to_its_caller() {
    let mut bench = strict();
    let [_, mut second, mut bob, _] = transfers_while_it_rings(&mut bench);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let bye = bob.request("BYE", "", "");
    bench.from(B, bye);
    assert_eq!(status_told(&bench), "SIP/2.0 487 Request Terminated\r\n");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    carol_answers_alice(&mut bench, &mut second);
    bench.hangs_up(second, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn another_phone_of_hers_may_answer_than_the_one_that_was_named() {
    let mut bench = strict();
    let [mut first, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, _] = bench.rings(ALICE, CAROL, "call-2", "");
    refers(&mut bench, &mut first, &second);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let invite = bench.newest(B, "INVITE");
    let bytes = answer(&invite, 200, "mobile", &format!("{}@{B}", CAROL.user), SDP);
    bench.from(B, bytes);
    let mut answered = PhoneDialog::of_caller(ALICE, &bench.newest_response(A));
    assert_ne!(answered.remote_tag, second.remote_tag);
    let ack = answered.request("ACK", "", "");
    bench.from(A, ack);
    let asked = bench.newest(B, "INVITE");
    assert_eq!(asked.headers.to().tag(), Some("mobile"));
    are_joined_and_hang_up(&mut bench, bob);
}

#[test]
fn a_call_that_rings_is_awaited_by_one_transfer() {
    let mut bench = strict();
    let [_, second, _, _] = transfers_while_it_rings(&mut bench);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let [mut third, _] = bench.talk(ALICE, DAN, "call-3", "");
    refers(&mut bench, &mut third, &second);
    assert_eq!(bench.response_to_a().status, 491);
}

/// Somebody else on Bob's side.
const DAN: Party = Party { user: "dan", at: B };

/// Who has to be recorded is Carol alone.
fn only_for_carol() -> [(&'static str, String); 2] {
    let users = format!("\"user:carol@{PROXY}\", \"user:carol@example.com\"");
    let grant = format!("[[grant]]\npolicy = \"desk\"\nto = [{users}]\n");
    [("desk.toml", STRICT.to_owned()), ("grants.toml", grant)]
}

#[test]
fn who_must_be_recorded_and_cannot_be_is_not_brought_in_by_the_answer() {
    let files = only_for_carol();
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut bench = Bench::executing(&files);
    let [first, _, _, _] = transfers_while_it_rings(&mut bench);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.recorder_fails(Fault::DiskFull);
    assert_eq!(
        status_told(&bench),
        "SIP/2.0 100 Trying\r\n",
        "her phone has not stopped ringing yet"
    );
    bench.answers(CAROL, "CANCEL", 200, "");
    bench.answers(CAROL, "INVITE", 487, "");
    assert_eq!(status_told(&bench), "SIP/2.0 603 Decline\r\n");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.hangs_up(first, BOB);
    bench.assert_nothing_left();
}

#[test]
fn who_must_be_recorded_and_cannot_be_is_not_asked_for() {
    let files = only_for_carol();
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut bench = Bench::executing(&files);
    let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, _] = bench.rings(ALICE, CAROL, "call-2", "");
    bench.recorder_fails(Fault::DiskFull);
    refers(&mut bench, &mut first, &second);
    assert_eq!(bench.response_to_a().status, 603);
    bench.answers(CAROL, "CANCEL", 200, "");
    bench.answers(CAROL, "INVITE", 487, "");
    bench.hangs_up(first, BOB);
    bench.assert_nothing_left();
}
