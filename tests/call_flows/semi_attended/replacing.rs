//! INVITEs with Replaces of a call that rings (RFC 3891 §3): who may ask for it, and what becomes of who is rung.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::RecordingEvent;
use onrecord::sip::Request;

use super::super::bench::{A, ALL_STRICT, B, Bench, GRANTS, LENIENT, PROXY, SDP, answer};
use super::super::consulted::escaped;
use super::super::party::{ALICE, BOB, CAROL, DAVE, PhoneDialog};
use super::{carol_answers_alice, only_for_carol, refers};

/// REFER crosses to Bob, who calls as it says; gives Alice's dialog with him, and the INVITE that Carol has.
fn bob_calls_where_it_rings(bench: &mut Bench) -> (PhoneDialog, Request) {
    let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, _] = bench.rings(ALICE, CAROL, "call-2", "");
    let rang = bench.newest(B, "INVITE");
    refers(bench, &mut first, &second);
    bench.answers(BOB, "REFER", 202, "");
    bench.story.clear();
    let replaces = format!("Replaces: {}\r\nRequire: replaces\r\n", second.for_far_end());
    bench.invites(BOB, &format!("sip:{PROXY}"), "call-3", &replaces);
    (first, rang)
}

#[test]
fn where_the_refer_crosses_the_invite_that_it_asks_for_rings_in_the_place_of_the_first() {
    let mut bench = Bench::strict();
    let (first, rang) = bob_calls_where_it_rings(&mut bench);
    assert_eq!(
        bench.story,
        [
            "A → INVITE",
            "decided",
            "100 → A",
            "open",
            "ready",
            "487 → A",
            "CANCEL → B",
            "INVITE → B"
        ]
    );
    let invite = bench.newest(B, "INVITE");
    assert_eq!(invite.uri.user(), Some("carol"));
    assert_eq!(invite.headers.get("Replaces"), None, "her phone could only say 481");
    assert_eq!(invite.headers.get("Require"), None);
    assert_eq!(
        bench.newest(B, "CANCEL").headers.get("Reason"),
        Some("SIP;cause=487;text=\"Replaced\"")
    );
    bench.answers(CAROL, "CANCEL", 200, "");
    bench.from(B, answer(&rang, 487, "carol-tag", B, ""));
    let [third, _] = bench.picks_up(BOB, CAROL);
    bench.hangs_up(first, BOB);
    bench.hangs_up(third, CAROL);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 3]);
    assert_eq!(bench.headers()[2].callee.identity, bench.headers()[1].callee.identity);
    bench.assert_nothing_left();
}

#[test]
fn who_may_not_take_the_place_of_a_ringing_call_leaves_it_ringing() {
    let files = only_for_carol();
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut bench = Bench::with(&files);
    bench.recorder_answers = true;
    let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [mut second, _] = bench.rings(ALICE, CAROL, "call-2", "");
    refers(&mut bench, &mut first, &second);
    bench.answers(BOB, "REFER", 202, "");
    bench.recorder_answers = false;
    bench.story.clear();
    let replaces = format!("Replaces: {}\r\n", second.for_far_end());
    bench.invites(BOB, &format!("sip:{PROXY}"), "call-3", &replaces);
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.response_to_b().status, 603, "its recording does not open");
    assert!(
        !bench.story.iter().any(|rung| rung == "CANCEL → B"),
        "{:?}",
        bench.story
    );
    bench.recorder_answers = true;
    carol_answers_alice(&mut bench, &mut second);
    bench.hangs_up(second, CAROL);
}

#[test]
fn who_was_answered_meanwhile_is_not_rung_a_second_time() {
    let mut bench = Bench::strict();
    let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [mut second, carol] = bench.rings(ALICE, CAROL, "call-2", "");
    refers(&mut bench, &mut first, &second);
    bench.answers(BOB, "REFER", 202, "");
    bench.recorder_answers = false;
    let replaces = format!("Replaces: {}\r\n", second.for_far_end());
    bench.invites(BOB, &format!("sip:{PROXY}"), "call-3", &replaces);
    carol_answers_alice(&mut bench, &mut second);
    let session = bench.headers()[2].session;
    bench.input(Input::Recording(RecordingEvent::Ready { session }));
    assert_eq!(bench.response_to_b().status, 481);
    bench.recorder_answers = true;
    assert_eq!(bench.newest(B, "INVITE").headers.call_id(), carol.call_id);
    bench.hangs_up(second, CAROL);
    bench.hangs_up(first, BOB);
}

#[test]
fn who_refers_and_hangs_up_the_ringing_call_at_once_has_it_called_all_the_same() {
    let mut bench = Bench::strict();
    let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, _] = bench.rings(ALICE, CAROL, "call-2", "");
    refers(&mut bench, &mut first, &second);
    bench.from(A, second.cancel());
    bench.answers(BOB, "REFER", 202, "");
    bench.answers(CAROL, "CANCEL", 200, "");
    bench.answers(CAROL, "INVITE", 487, "");
    let replaces = format!("Replaces: {}\r\nRequire: replaces\r\n", second.for_far_end());
    bench.invites(BOB, &format!("sip:{PROXY}"), "call-3", &replaces);
    let invite = bench.newest(B, "INVITE");
    assert_eq!(
        (invite.uri.user(), invite.headers.get("Replaces")),
        (Some("carol"), None)
    );
    let [third, _] = bench.picks_up(BOB, CAROL);
    bench.hangs_up(first, BOB);
    bench.hangs_up(third, CAROL);
    bench.assert_nothing_left();
}

/// What B is sent for the INVITE that is to take over: it did not, so that it names the dialog as its far end knows it.
fn assert_crosses(bench: &Bench, carol: &PhoneDialog) {
    let is_cancelled = bench.story.iter().any(|rung| rung == "CANCEL → B" || rung == "487 → A");
    assert!(!is_cancelled, "{:?}", bench.story);
    let invite = bench.newest(B, "INVITE");
    assert_eq!(
        invite.headers.get("Replaces"),
        Some(carol.for_itself().as_str()),
        "her phone decides"
    );
}

#[test]
fn who_knows_a_ringing_call_and_was_not_referred_to_it_does_not_end_it() {
    let mut bench = Bench::strict();
    let [second, carol] = bench.rings(ALICE, CAROL, "call-2", "");
    bench.story.clear();
    let replaces = format!("Replaces: {}\r\n", second.for_far_end());
    bench.invites(ALICE, &format!("sip:{PROXY}"), "call-3", &replaces);
    assert_crosses(&bench, &carol);
}

#[test]
fn a_refer_of_who_is_not_its_caller_ends_no_ringing_call() {
    let mut bench = Bench::strict();
    let [_, mut bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, carol] = bench.rings(ALICE, CAROL, "call-2", "");
    let refer_to = format!(
        "Refer-To: <sip:{PROXY}?Replaces={}>\r\n",
        escaped(&second.for_far_end())
    );
    let refer = bob.request("REFER", &refer_to, "");
    bench.from(B, refer);
    bench.answers(ALICE, "REFER", 202, "");
    bench.story.clear();
    let replaces = format!("Replaces: {}\r\n", second.for_far_end());
    bench.invites(DAVE, &format!("sip:{PROXY}"), "call-3", &replaces);
    assert_crosses(&bench, &carol);
}

#[test]
fn an_emergency_that_names_a_ringing_call_is_one_and_leaves_it_ringing() {
    let mut bench = Bench::with(&only_for_carol().each_ref().map(|(name, text)| (*name, text.as_str())));
    let [second, carol] = bench.rings(ALICE, CAROL, "call-2", "");
    bench.story.clear();
    let replaces = format!("Replaces: {}\r\n", second.for_far_end());
    bench.invites(ALICE, "sip:112@example.com", "call-3", &replaces);
    assert_crosses(&bench, &carol);
    assert_eq!(bench.newest(B, "INVITE").uri.user(), Some("112"));
}

#[test]
fn who_takes_over_is_decided_by_who_is_rung_and_not_by_the_uri() {
    for user in ["112", "nobody"] {
        let mut bench = Bench::with(&only_for_carol().each_ref().map(|(name, text)| (*name, text.as_str())));
        let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
        let [second, _] = bench.rings(ALICE, CAROL, "call-2", "");
        let replaces = second.for_far_end();
        let refer_to = format!("Refer-To: <sip:{user}@{PROXY}?Replaces={}>\r\n", escaped(&replaces));
        let refer = first.request("REFER", &refer_to, "");
        bench.from(A, refer);
        bench.answers(BOB, "REFER", 202, "");
        bench.recorder_answers = false;
        bench.story.clear();
        let replaces = format!("Replaces: {replaces}\r\n");
        bench.invites(BOB, &format!("sip:{user}@{PROXY}"), "call-3", &replaces);
        let newest = bench.headers().pop().cloned().unwrap();
        assert_eq!(newest.callee.identity, bench.headers()[0].callee.identity, "{user}");
        assert!(newest.strict_before && !newest.emergency, "{user}");
        assert!(
            !bench.story.iter().any(|rung| rung == "INVITE → B"),
            "{:?}",
            bench.story
        );
        let session = newest.session;
        bench.input(Input::Recording(RecordingEvent::Ready { session }));
        assert_eq!(bench.newest(B, "INVITE").uri.user(), Some("carol"));
        assert!(bench.story.iter().any(|rung| rung == "487 → A"), "{:?}", bench.story);
    }
}

#[test]
fn who_is_not_at_us_is_taken_over_where_its_uri_leads_to_who_is_rung() {
    for (user, is_taken) in [("carol", true), ("112", false)] {
        let routes = [("pbx", "carrier", None), ("carrier", "carrier", None)];
        let mut bench = Bench::routed(&ALL_STRICT, &routes);
        let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
        let [second, carol] = bench.rings(ALICE, CAROL, "call-2", "");
        let uri = format!("sip:{user}@example.com");
        let refer_to = format!("Refer-To: <{uri}?Replaces={}>\r\n", escaped(&second.for_far_end()));
        let refer = first.request("REFER", &refer_to, "");
        bench.from(A, refer);
        bench.answers(BOB, "REFER", 202, "");
        bench.story.clear();
        let replaces = format!("Replaces: {}\r\n", carol.for_itself());
        bench.invites(BOB, &uri, "call-3", &replaces);
        let is_cancelled = bench.story.iter().any(|rung| rung == "CANCEL → B");
        assert_eq!(is_cancelled, is_taken, "{:?}", bench.story);
        assert_eq!(bench.newest(B, "INVITE").uri.user(), Some(user));
    }
}

#[test]
fn who_has_picked_up_while_the_recording_opens_is_not_torn_from_the_call() {
    let during = LENIENT.replace("required_during_call = false", "required_during_call = true");
    let during = during.replace("enabled = true", "enabled = true\nduring_arms = \"answer\"");
    let mut bench = Bench::with(&[("desk.toml", &during), ("grants.toml", GRANTS)]);
    let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
    bench.recorder_answers = false;
    let [second, carol] = bench.rings(ALICE, CAROL, "call-2", "");
    refers(&mut bench, &mut first, &second);
    bench.answers(BOB, "REFER", 202, "");
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.story.clear();
    let replaces = format!("Replaces: {}\r\n", second.for_far_end());
    bench.invites(BOB, &format!("sip:{PROXY}"), "call-3", &replaces);
    assert_crosses(&bench, &carol);
    assert!(!bench.story.iter().any(|rung| rung == "BYE → B"), "{:?}", bench.story);
}

#[test]
fn who_was_refused_meanwhile_is_not_rung_a_second_time() {
    let mut bench = Bench::strict();
    let [mut first, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, _] = bench.rings(ALICE, CAROL, "call-2", "");
    let rang = bench.newest(B, "INVITE");
    refers(&mut bench, &mut first, &second);
    bench.answers(BOB, "REFER", 202, "");
    bench.recorder_answers = false;
    let replaces = format!("Replaces: {}\r\n", second.for_far_end());
    bench.invites(BOB, &format!("sip:{PROXY}"), "call-3", &replaces);
    bench.from(B, answer(&rang, 603, "carol-tag", B, ""));
    assert_eq!(bench.response_to_a().status, 603);
    bench.story.clear();
    let session = bench.headers()[2].session;
    bench.input(Input::Recording(RecordingEvent::Ready { session }));
    assert_eq!(bench.response_to_b().status, 481);
    assert!(
        !bench.story.iter().any(|rung| rung == "INVITE → B"),
        "{:?}",
        bench.story
    );
}
