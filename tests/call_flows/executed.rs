//! REFER executed by us, blind: the party that stays goes over to a call of its own, or stays where it was.

mod decided;
mod failing;

use std::time::Duration;

use onrecord::model::Leg;
use onrecord::sip::{Message, Method};

use super::bench::{A, ALL_STRICT, B, Bench, PROXY, SDP, answer};
use super::party::{ALICE, BOB, CAROL, DAVE, PhoneDialog};

const HELD: &str =
    "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=recvonly\r\n";

pub fn strict() -> Bench {
    Bench::executing(&ALL_STRICT)
}

/// Alice refers Bob to Dave.
pub fn refers(bench: &mut Bench, alice: &mut PhoneDialog, more: &str) {
    let more = format!("Refer-To: <sip:dave@{PROXY}>\r\nReferred-By: <sip:alice@example.com>\r\n{more}");
    let refer = alice.request("REFER", &more, "");
    bench.from(A, refer);
}

/// Alice and Bob talk, and she refers him to Dave, whose phone rings.
pub fn rings(bench: &mut Bench) -> [PhoneDialog; 2] {
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.story.clear();
    refers(bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 180, "");
    [alice, bob]
}

/// What the newest NOTIFY to Alice says: status line, state of the subscription.
fn told(bench: &Bench) -> (String, String) {
    let notify = bench.newest(A, "NOTIFY");
    let text = String::from_utf8(notify.body.to_vec()).unwrap();
    let state = notify.headers.get("Subscription-State").unwrap();
    (text.trim_end().to_owned(), state.to_owned())
}

pub fn assert_told_last(bench: &Bench, line: &str) {
    assert_eq!(
        told(bench),
        (line.to_owned(), "terminated;reason=noresource".to_owned())
    );
}

/// The call of Alice and Bob is as it was: recorded, and ended by her.
pub fn assert_old_call_stays(bench: &mut Bench, alice: PhoneDialog) {
    bench.story.clear();
    bench.hangs_up(alice, BOB);
    assert_eq!(
        bench.story,
        [
            "A → BYE",
            "200 → A",
            "BYE → B",
            "B → 200",
            "recorded: BYE from A",
            "sealed 10/10"
        ]
    );
    bench.assert_nothing_left();
}

#[test]
fn a_blind_transfer_is_executed_and_the_old_call_ends_once_the_new_one_talks() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.story.clear();
    refers(&mut bench, &mut alice, "");
    assert_eq!(
        told(&bench),
        ("SIP/2.0 100 Trying".to_owned(), "active;expires=300".to_owned())
    );
    let notify = bench.newest(A, "NOTIFY");
    assert_eq!(notify.headers.get("Event"), Some("refer"));
    assert_eq!(notify.headers.get("Content-Type"), Some("message/sipfrag;version=2.0"));
    bench.answers(ALICE, "NOTIFY", 200, "");
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:dave@{A}"));
    assert_eq!(invite.headers.from().uri().to_string(), format!("sip:bob@{PROXY}"));
    assert_eq!(invite.headers.get("Referred-By"), Some("<sip:alice@example.com>"));
    bench.answers(DAVE, "INVITE", 180, "");
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
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
            "B → 180",
            "B → 200",
            "ACK → B",
            "INVITE → B",
            "B → 200",
            "ACK → B",
            "NOTIFY → A",
            "A → 200",
            "BYE → A",
            "A → 200",
            "recorded: transferred by A",
            "sealed 10/10",
        ]
    );
    bench.hangs_up(bob, DAVE);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 2]);
    bench.assert_nothing_left();
}

#[test]
fn nothing_is_sent_to_the_party_that_stays_before_it_has_come_over() {
    let mut bench = strict();
    bench.media.clear();
    let [alice, bob] = rings(&mut bench);
    let old = bench.plans()[0].session;
    bench.answers(DAVE, "INVITE", 200, SDP);
    let before: Vec<_> = bench.plans().into_iter().filter(|plan| plan.session != old).collect();
    assert!(before.iter().all(|plan| plan.lines[0].leg(Leg::A).remote.is_none()));
    assert!(before.last().unwrap().lines[0].leg(Leg::B).remote.is_some());
    bench.answers(BOB, "INVITE", 200, SDP);
    let newest = *bench.plans().last().unwrap();
    assert_ne!(newest.session, old);
    assert!(newest.lines[0].leg(Leg::A).remote.is_some());
    let told = String::from_utf8(bench.newest(B, "INVITE").body.to_vec()).unwrap();
    assert!(
        told.contains(&format!("m=audio {} ", newest.lines[0].leg(Leg::A).local.port())),
        "{told}"
    );
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    drop(alice);
    bench.assert_nothing_left();
}

#[test]
fn glare_at_the_party_that_stays_is_waited_out() {
    let mut bench = strict();
    let [_, bob] = rings(&mut bench);
    bench.answers(DAVE, "INVITE", 200, SDP);
    let first = bench.newest(B, "INVITE").headers.cseq().number;
    bench.answers(BOB, "INVITE", 491, "");
    bench.wait(Duration::from_secs(5));
    assert_eq!(bench.newest(B, "INVITE").headers.cseq().number, first + 1);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_hold_in_flight_is_waited_for_and_the_target_is_not_held() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let hold = SDP.replace("1 1 IN", "1 2 IN").replace("sendrecv", "sendonly");
    let reinvite = alice.request("INVITE", "Content-Type: application/sdp\r\n", &hold);
    bench.from(A, reinvite);
    bench.answers(BOB, "INVITE", 200, HELD);
    let ack = alice.request("ACK", "", "");
    bench.from(A, ack);
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    let offer = String::from_utf8(bench.newest(A, "INVITE").body.to_vec()).unwrap();
    assert!(!offer.contains("recvonly"), "{offer}");
    // She goes on talking to him while Dave's phone rings.
    let resume = alice.request("INVITE", "Content-Type: application/sdp\r\n", SDP);
    bench.from(A, resume);
    bench.answers(DAVE, "INVITE", 200, SDP);
    let asked = bench.newest(B, "INVITE").headers.cseq().number;
    bench.answers(BOB, "INVITE", 200, SDP);
    let mut ack = alice.clone();
    let ack = ack.request("ACK", "", "");
    bench.from(A, ack);
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.newest(B, "INVITE").headers.cseq().number, asked + 1, "after hers");
    // He has put the phone down for a moment: Dave is told so.
    bench.answers(BOB, "INVITE", 200, &SDP.replace("sendrecv", "sendonly"));
    let told = String::from_utf8(bench.newest(A, "INVITE").body.to_vec()).unwrap();
    assert!(told.contains("a=sendonly"), "{told}");
    bench.answers(DAVE, "INVITE", 200, HELD);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_transferor_that_hangs_up_early_does_not_end_the_transfer() {
    let mut bench = strict();
    let [mut alice, mut bob] = rings(&mut bench);
    let bye = alice.request("BYE", "", "");
    bench.from(A, bye);
    assert_eq!(bench.response_to_a().status, 200);
    assert!(!bench.story.iter().any(|rung| rung == "BYE → B"));
    // Whatever he asks of her has to wait.
    let update = bob.request("UPDATE", "", "");
    bench.from(B, update);
    assert_eq!(bench.response_to_b().status, 491);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    bench.answers(ALICE, "NOTIFY", 481, "");
    assert!(!bench.story.iter().any(|rung| rung == "BYE → A"));
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_lost_ack_of_the_party_that_came_over_is_sent_again() {
    let mut bench = strict();
    let [_, bob] = rings(&mut bench);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.wait(Duration::from_secs(2));
    bench.story.clear();
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_eq!(bench.story, ["A → 200", "ACK → A"], "he is the caller of the new call");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_callee_may_refer_its_caller() {
    let mut bench = strict();
    let [alice, mut bob] = bench.talk(ALICE, BOB, "call-1", "");
    let refer = bob.request("REFER", &format!("Refer-To: <sip:carol@{PROXY}>\r\n"), "");
    bench.from(B, refer);
    bench.answers(BOB, "NOTIFY", 200, "");
    assert_eq!(bench.newest(B, "INVITE").uri.to_string(), format!("sip:carol@{B}"));
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(ALICE, "INVITE", 200, SDP);
    bench.answers(BOB, "NOTIFY", 200, "");
    bench.answers(BOB, "BYE", 200, "");
    bench.hangs_up(alice, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn one_transfer_at_a_time() {
    let mut bench = strict();
    let [mut alice, mut bob] = rings(&mut bench);
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.response_to_a().status, 491);
    let refer = bob.request("REFER", &format!("Refer-To: <sip:carol@{PROXY}>\r\n"), "");
    bench.from(B, refer);
    assert_eq!(bench.response_to_b().status, 491);
    bench.answers(DAVE, "INVITE", 486, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn who_wants_to_hear_nothing_hears_nothing() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "Refer-Sub: false\r\nSupported: norefersub\r\n");
    assert_eq!(bench.response_to_a().headers.get("Refer-Sub"), Some("false"));
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert!(!bench.story.iter().any(|rung| rung == "NOTIFY → A"));
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_subscription_may_be_ended_by_who_has_it_and_the_transfer_goes_on() {
    let mut bench = strict();
    let [mut alice, bob] = rings(&mut bench);
    let subscribe = alice.request("SUBSCRIBE", "Event: refer\r\nExpires: 0\r\n", "");
    bench.from(A, subscribe);
    assert_eq!(bench.newest_response(A).headers.get("Expires"), Some("0"));
    assert_eq!(told(&bench).1, "terminated;reason=timeout");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 200, SDP);
    let notices = bench.story.iter().filter(|rung| *rung == "NOTIFY → A").count();
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_eq!(bench.story.iter().filter(|rung| *rung == "NOTIFY → A").count(), notices);
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_transferor_that_answers_no_notify_is_let_go_when_that_is_clear() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "");
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_eq!(told(&bench).0, "SIP/2.0 100 Trying", "one at a time");
    bench.wait(Duration::from_secs(33));
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_2xx_that_comes_again_from_who_went_over_is_acknowledged_and_ends_nothing() {
    let mut bench = strict();
    let [_, bob] = rings(&mut bench);
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    let first = bench.to_b.iter().find_map(|message| match message {
        Message::Request(request) if request.method == Method::Invite => Some(request.clone()),
        _ => None,
    });
    bench.to_b.clear();
    for _ in 0..2 {
        bench.from(B, answer(first.as_ref().unwrap(), 200, "bob-tag", B, SDP));
    }
    let sent = bench.to_b.iter().map(|message| match message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => response.status.to_string(),
    });
    assert_eq!(sent.collect::<Vec<_>>(), ["ACK", "ACK"]);
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn who_stays_is_offered_nothing_while_a_re_invite_that_was_given_up_has_no_answer() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let hold = alice.request("INVITE", "", HELD);
    bench.from(A, hold);
    refers(&mut bench, &mut alice, "");
    let bye = alice.request("BYE", "", "");
    bench.from(A, bye);
    let given_up = bench.newest(B, "INVITE");
    bench.answers(DAVE, "INVITE", 200, SDP);
    let number = |bench: &Bench, method: &str| bench.newest(B, method).headers.cseq().number;
    assert_eq!(number(&bench, "INVITE"), given_up.headers.cseq().number);
    bench.from(B, answer(&given_up, 200, "bob-tag", B, HELD));
    assert_eq!(number(&bench, "ACK"), given_up.headers.cseq().number);
    bench.wait(Duration::from_secs(3));
    assert!(number(&bench, "INVITE") > given_up.headers.cseq().number);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}
