//! REFER executed by us: parties that do not answer a re-INVITE at once, or refuse what holds.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::sip::{Message, Method};

use super::bench::{A, B, Bench, SDP, answer, with_lines};
use super::consulted::consults;
use super::executed::{assert_old_call_stays, assert_told_last, rings, strict};
use super::party::{ALICE, BOB, CAROL, DAVE, PhoneDialog};

fn requests_to_b(bench: &Bench, method: &str) -> usize {
    let rung = format!("{method} → B");
    bench.story.iter().filter(|told| **told == rung).count()
}

/// Carol has accepted Bob, who does not come; she is told of Alice again and refuses that at first.
fn refuses_what_holds(bench: &mut Bench, status: u16) -> [PhoneDialog; 4] {
    let dialogs = consults(bench);
    let contact = format!("carol@{B}");
    let accepted = answer(&bench.newest(B, "INVITE"), 200, "carol-tag", &contact, SDP);
    bench.from(B, with_lines(&accepted, "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n"));
    bench.answers(BOB, "INVITE", 488, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(CAROL, "INVITE", status, "");
    dialogs
}

#[test]
fn who_cannot_hear_now_of_its_old_far_end_is_told_again_with_its_media() {
    let mut bench = strict();
    let [first, second, _, carol] = refuses_what_holds(&mut bench, 491);
    let refused = bench.newest(B, "INVITE");
    bench.wait(Duration::from_secs(5));
    let again = bench.newest(B, "INVITE");
    assert_eq!(again.headers.call_id(), carol.call_id);
    assert_eq!(again.headers.cseq().number, refused.headers.cseq().number + 1);
    assert_eq!(again.body, refused.body);
    assert_eq!(requests_to_b(&bench, "UPDATE"), 0);
    bench.answers(CAROL, "INVITE", 200, SDP);
    let told = requests_to_b(&bench, "INVITE");
    bench.wait(Duration::from_secs(60));
    assert_eq!(requests_to_b(&bench, "INVITE"), told);
    bench.hangs_up(first, BOB);
    bench.hangs_up(second, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn who_never_hears_of_its_old_far_end_is_let_go_rather_than_left_deaf() {
    let mut bench = strict();
    let [first, ..] = refuses_what_holds(&mut bench, 488);
    for _ in 0..5 {
        bench.wait(Duration::from_secs(5));
        bench.answers(CAROL, "INVITE", 488, "");
    }
    let bye = bench.newest(B, "BYE");
    assert_eq!(
        bye.headers.get("Reason"),
        Some("SIP;cause=488;text=\"Media not renewed\"")
    );
    bench.answers(CAROL, "BYE", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(first, BOB);
    bench.assert_nothing_left();
}

#[test]
fn who_rings_with_what_holds_is_asked_again() {
    let mut bench = strict();
    let [first, second, _, _] = refuses_what_holds(&mut bench, 500);
    bench.wait(Duration::from_secs(5));
    bench.answers(CAROL, "INVITE", 180, "");
    bench.wait(Duration::from_secs(33));
    assert_eq!(requests_to_b(&bench, "CANCEL"), 1);
    bench.answers(CAROL, "CANCEL", 200, "");
    bench.answers(CAROL, "INVITE", 487, "");
    bench.wait(Duration::from_secs(5));
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.hangs_up(first, BOB);
    bench.hangs_up(second, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn who_was_to_be_told_before_a_restart_is_told_after_it() {
    let mut bench = strict();
    let [.., carol] = refuses_what_holds(&mut bench, 491);
    bench.input(Input::HandOver);
    bench.input(Input::ShutDown);
    let mut after = strict();
    after.now = bench.now;
    for (session, state) in bench.remembered.clone() {
        after.input(Input::Resume { session, state });
    }
    after.wait(Duration::from_secs(15));
    let told = after.to_b.iter().any(|message| match message {
        Message::Request(request) => {
            let is_hers = request.headers.call_id() == carol.call_id;
            is_hers && request.method == Method::Invite && !request.body.is_empty()
        }
        Message::Response(_) => false,
    });
    assert!(told, "{:#?}", after.story);
}

#[test]
fn a_party_that_rings_on_its_re_invite_keeps_its_call() {
    let mut bench = strict();
    let [alice, _] = rings(&mut bench);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 180, "");
    bench.wait(Duration::from_secs(33));
    assert_eq!(requests_to_b(&bench, "CANCEL"), 1);
    bench.answers(BOB, "CANCEL", 200, "");
    bench.answers(BOB, "INVITE", 487, "");
    assert_told_last(&bench, "SIP/2.0 408 Request Timeout");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "BYE", 200, "");
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn a_party_that_rings_on_and_does_not_hear_the_cancel_keeps_its_call() {
    let mut bench = strict();
    let [alice, _] = rings(&mut bench);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 180, "");
    bench.wait(Duration::from_secs(70));
    assert_told_last(&bench, "SIP/2.0 408 Request Timeout");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "BYE", 200, "");
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn a_party_that_answers_as_its_re_invite_is_cancelled_goes_over() {
    let mut bench = strict();
    let [_, bob] = rings(&mut bench);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 180, "");
    bench.wait(Duration::from_secs(33));
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_transfer_that_was_given_up_is_not_offered_again() {
    for status in [491, 422, 488] {
        let mut bench = strict();
        let [alice, _] = rings(&mut bench);
        let dave = PhoneDialog::of_callee(DAVE, &bench.newest(A, "INVITE"));
        bench.answers(DAVE, "INVITE", 200, SDP);
        let bye = dave.clone().request("BYE", "", "");
        bench.from(A, bye);
        bench.answers(ALICE, "NOTIFY", 200, "");
        let asked = bench.newest(B, "INVITE").headers.cseq().number;
        bench.answers_with(BOB, "INVITE", status, "Min-SE: 3600\r\n");
        bench.wait(Duration::from_secs(10));
        assert_eq!(bench.newest(B, "INVITE").headers.cseq().number, asked, "{status}");
        assert_old_call_stays(&mut bench, alice);
    }
}

#[test]
fn who_rings_when_the_transfer_is_given_up_stops_to_ring() {
    let mut bench = strict();
    let [alice, _] = rings(&mut bench);
    let mut dave = PhoneDialog::of_callee(DAVE, &bench.newest(A, "INVITE"));
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 180, "");
    let bye = dave.request("BYE", "", "");
    bench.from(A, bye);
    assert_eq!(requests_to_b(&bench, "CANCEL"), 1);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(BOB, "CANCEL", 200, "");
    bench.answers(BOB, "INVITE", 487, "");
    assert_old_call_stays(&mut bench, alice);
}
