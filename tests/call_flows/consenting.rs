//! Parties are asked whether they agree to be recorded, and answer by a key or not at all.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Consent, Leg, Mark, MediaCommand, MediaEvent, RecordingCommand};
use onrecord::sip::Message;

use super::announced::{begun, bench, bench_with_carol, by, carol_comes, notices, talking, told};
use super::bench::{A, Bench, SDP, in_dialog};
use super::foreword::{is_b_asked, played};

pub const ASKS_A: &str = "mode = \"prompt\", to = \"caller\", consent = { within = \"5s\" }";

fn asking(more: &str) -> String {
    ASKS_A.replace("\"5s\"", &format!("\"5s\"{more}"))
}

pub fn press(bench: &mut Bench, leg: Leg, key: char) {
    let session = bench.session();
    bench.input(Input::Media(MediaEvent::Key { session, leg, key }));
}

pub fn consents(bench: &Bench) -> Vec<(Leg, Consent)> {
    let consent = |command: &RecordingCommand| match command {
        RecordingCommand::Mark {
            mark: Mark::Consent { leg, consent, .. },
            ..
        } => Some((*leg, *consent)),
        _ => None,
    };
    bench.recording.iter().filter_map(consent).collect()
}

/// Whether the parties do not hear each other, and whose keys are told.
pub fn held(bench: &Bench) -> (bool, [bool; 2]) {
    let told = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Pausing { pausing, .. } => Some(*pausing),
        MediaCommand::Open(plan) => Some(plan.pausing),
        _ => None,
    });
    told.map(|told| (told.asks, told.keys)).unwrap_or_default()
}

#[test]
fn who_agrees_talks_and_nobody_hears_anybody_before() {
    let mut bench = talking(ASKS_A);
    assert_eq!(held(&bench), (true, [true, false]));
    played(&mut bench, Leg::A);
    for (leg, key) in [(Leg::A, '5'), (Leg::B, '1')] {
        press(&mut bench, leg, key);
        assert_eq!(held(&bench), (true, [true, false]), "that is no answer of A's");
    }
    press(&mut bench, Leg::A, '1');
    assert_eq!(held(&bench), (false, [false, false]));
    assert_eq!(consents(&bench), [(Leg::A, Consent::Asked), (Leg::A, Consent::Given)]);
    press(&mut bench, Leg::A, '2');
    bench.wait(Duration::from_secs(60));
    assert_eq!((bench.signaling.calls(), consents(&bench).len()), (1, 2), "it was said");
}

fn assert_ended_for_refusal(bench: &mut Bench) {
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    let says_why = |rung: &String| rung.contains("A does not agree to be recorded");
    assert!(bench.story.iter().any(says_why), "{:?}", bench.story);
}

#[test]
fn who_does_not_agree_is_let_go_or_recorded_all_the_same_as_the_policy_says() {
    let mut ended = talking(ASKS_A);
    press(&mut ended, Leg::A, '2');
    assert_eq!(consents(&ended), [(Leg::A, Consent::Asked), (Leg::A, Consent::Refused)]);
    let bye = ended.request_to_b("BYE");
    assert_eq!(
        bye.headers.get("Reason"),
        Some("Q.850;cause=21;text=\"Recording not agreed to\"")
    );
    assert_ended_for_refusal(&mut ended);
    ended.assert_nothing_left();

    let mut marked = talking(&asking(", refused = \"mark\""));
    press(&mut marked, Leg::A, '2');
    assert_eq!((held(&marked).0, marked.signaling.calls()), (false, 1));
    assert_eq!(consents(&marked).last(), Some(&(Leg::A, Consent::Refused)));
}

#[test]
fn silence_is_what_the_policy_says_it_is() {
    for (more, goes_on) in [
        ("", false),
        (", silence = \"agrees\"", true),
        (", refused = \"mark\"", true),
    ] {
        let mut bench = talking(&asking(more));
        bench.wait(Duration::from_millis(1_500));
        played(&mut bench, Leg::A);
        bench.wait(Duration::from_millis(4_900));
        assert_eq!(consents(&bench), [(Leg::A, Consent::Asked)], "{more}");
        bench.wait(Duration::from_millis(200));
        assert_eq!(consents(&bench)[1..], [(Leg::A, Consent::Unanswered)], "{more}");
        let is_ended = bench.story.iter().any(|rung| rung == "BYE → A");
        assert_eq!((is_ended, held(&bench).0), (!goes_on, !goes_on), "{more}");
    }
}

#[test]
fn both_have_to_agree_where_both_are_asked() {
    let mut bench = talking("mode = \"prompt\", consent = {}");
    press(&mut bench, Leg::B, '1');
    assert_eq!(held(&bench), (true, [true, false]));
    press(&mut bench, Leg::A, '1');
    assert_eq!(held(&bench), (false, [false, false]));
    let given = |leg| (leg, Consent::Given);
    assert_eq!(consents(&bench)[2..], [given(Leg::B), given(Leg::A)]);
}

#[test]
fn who_cannot_be_asked_has_not_agreed() {
    let g729 = SDP.replace("AVP 8", "AVP 18");
    let mut bench = bench(ASKS_A);
    bench.invite(&g729, "");
    bench.b_answers("INVITE", 200, &g729);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(consents(&bench), [(Leg::A, Consent::Unanswered)]);
    assert!(bench.story.iter().any(|rung| rung == "BYE → A"));
}

#[test]
fn a_key_in_an_info_counts_too() {
    let mut bench = talking(ASKS_A);
    bench.a_requests_typed(
        2,
        "INFO",
        "info",
        "application/dtmf-relay",
        "Signal=1\r\nDuration=160\r\n",
    );
    assert_eq!(consents(&bench).last(), Some(&(Leg::A, Consent::Given)));
}

#[test]
fn what_is_asked_before_the_call_is_answered_before_the_call() {
    let before = format!("{ASKS_A}, when = \"before_connect\"");
    let mut given = bench(&before);
    given.invite(SDP, "");
    played(&mut given, Leg::A);
    assert!(!is_b_asked(&given));
    press(&mut given, Leg::A, '1');
    assert!(is_b_asked(&given));
    given.b_answers("INVITE", 200, SDP);
    given.a_requests(1, "ACK", "ack1", "");
    assert_eq!(consents(&given), [(Leg::A, Consent::Asked), (Leg::A, Consent::Given)]);
    assert!(!held(&given).0);

    let mut early = bench(&before);
    early.invite(SDP, "");
    press(&mut early, Leg::A, '1');
    assert!(!is_b_asked(&early), "it hears the rest");
    played(&mut early, Leg::A);
    assert!(is_b_asked(&early));

    let mut refused = bench(&before);
    refused.invite(SDP, "");
    press(&mut refused, Leg::A, '2');
    assert_eq!((refused.response_to_a().status, is_b_asked(&refused)), (603, false));
    refused.a_requests(1, "ACK", "a1", "");
    refused.assert_nothing_left();

    let mut silent = bench(&before);
    silent.invite(SDP, "");
    played(&mut silent, Leg::A);
    silent.wait(Duration::from_millis(5_100));
    assert_eq!((silent.response_to_a().status, is_b_asked(&silent)), (603, false));
    assert_eq!(consents(&silent)[1..], [(Leg::A, Consent::Unanswered)]);
}

#[test]
fn a_key_in_an_info_counts_before_the_call_too() {
    let mut bench = bench(&format!("{ASKS_A}, when = \"before_connect\""));
    bench.invite(SDP, "");
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    played(&mut bench, Leg::A);
    let parties = (
        "<sip:alice@example.com>;tag=a-tag",
        format!("<sip:bob@example.com>;tag={tag}"),
    );
    let info = in_dialog(A, "INFO", "info", (parties.0, &parties.1), "call-1", 2, "1");
    let info = String::from_utf8(info.to_vec()).unwrap();
    bench.from(A, info.replace("application/sdp", "application/dtmf").into());
    assert!(
        bench
            .to_a
            .iter()
            .any(|message| matches!(message, Message::Response(response) if response.status == 200))
    );
    assert!(is_b_asked(&bench));
}

#[test]
fn a_word_before_the_call_that_is_not_heard_is_asked_after_the_answer() {
    let mut bench = bench(&format!("{ASKS_A}, when = \"before_connect\""));
    bench.invite(SDP, "");
    bench.wait(Duration::from_millis(2_100));
    assert!(is_b_asked(&bench));
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(consents(&bench), [(Leg::A, Consent::Asked); 2]);
    assert_eq!(held(&bench), (true, [true, false]));
    press(&mut bench, Leg::A, '1');
    assert!(!held(&bench).0);
}

#[test]
fn who_agrees_during_a_change_of_media_is_let_talk() {
    let mut bench = talking(ASKS_A);
    bench.a_requests(2, "INVITE", "again", SDP);
    press(&mut bench, Leg::A, '1');
    assert!(!held(&bench).0, "though no line is agreed on now");
    bench.b_agrees("INVITE", 200, SDP);
    assert!(!held(&bench).0);
}

#[test]
fn who_is_asked_and_has_no_sound_any_more_is_waited_for_no_longer_than_any() {
    let mut bench = talking(&asking(", refused = \"mark\""));
    let fax = SDP.replace("m=audio 4000 RTP/AVP 8", "m=image 4000 udptl t38");
    bench.a_requests(2, "INVITE", "fax", &fax);
    bench.b_agrees("INVITE", 200, &fax);
    bench.a_requests(2, "ACK", "ack2", "");
    assert!(held(&bench).0);
    bench.wait(Duration::from_secs(8));
    assert_eq!(consents(&bench)[1..], [(Leg::A, Consent::Unanswered)]);
    assert!(!held(&bench).0);
}

/// The next process takes the call over, by the same policy.
fn restarted(before: &Bench, notify: &str) -> Bench {
    before.goes_on_as(bench(notify))
}

#[test]
fn a_restart_asks_anew_and_forgets_no_answer() {
    for (key, wanted) in [(None, true), (Some('1'), false)] {
        let mut before = talking(ASKS_A);
        if let Some(key) = key {
            press(&mut before, Leg::A, key);
        }
        let mut after = restarted(&before, ASKS_A);
        assert_eq!(held(&after), (wanted, [wanted, false]));
        let is_played = notices(&after)
            .last()
            .is_some_and(|plan| told(plan)[0] == by("prompt", ""));
        assert_eq!(is_played, wanted, "who was asked does not remember the question");
        after.wait(Duration::from_secs(8));
        assert_eq!(after.story.iter().any(|rung| rung == "BYE → A"), wanted);
    }
}

#[test]
fn silence_to_a_question_of_before_a_restart_counts_from_when_it_was_heard_again() {
    let agrees = asking(", silence = \"agrees\"");
    let before = talking(&agrees);
    let mut after = restarted(&before, &agrees);
    after.wait(Duration::from_millis(1_500));
    played(&mut after, Leg::A);
    after.wait(Duration::from_millis(4_900));
    assert_eq!(
        (consents(&after), held(&after).0),
        (vec![(Leg::A, Consent::Asked)], true)
    );
    after.wait(Duration::from_millis(200));
    assert_eq!(consents(&after)[1..], [(Leg::A, Consent::Unanswered)]);
    let twice = restarted(&restarted(&before, &agrees), &agrees);
    assert_eq!(held(&twice), (true, [true, false]));
}

#[test]
fn who_refused_is_not_recorded_on_under_a_policy_that_ends_the_call_for_it() {
    let mut bench = bench_with_carol(&asking(", refused = \"mark\""), ASKS_A);
    begun(&mut bench);
    press(&mut bench, Leg::A, '2');
    assert_eq!(bench.signaling.calls(), 1);
    carol_comes(&mut bench);
    assert_ended_for_refusal(&mut bench);
}

#[test]
fn who_heard_another_prompt_before_hears_the_question() {
    for consent in [
        "",
        ", consent = { mode = \"implied\" }",
        ", consent = { mode = \"inform\" }",
        ", consent = { mode = \"waived\", signed_by = \"Legal\", date = \"2026-01-31\" }",
    ] {
        let mut bench = bench_with_carol(&format!("mode = \"prompt\", to = \"caller\"{consent}"), ASKS_A);
        begun(&mut bench);
        played(&mut bench, Leg::A);
        carol_comes(&mut bench);
        let last = notices(&bench).pop().unwrap();
        assert_eq!(told(last), [by("prompt", ""), None], "{consent}");
        assert_eq!(consents(&bench).last(), Some(&(Leg::A, Consent::Asked)), "{consent}");
        press(&mut bench, Leg::A, '2');
        assert_ended_for_refusal(&mut bench);
    }
}

#[test]
fn who_holds_is_waited_for_until_it_has_heard_the_question_and_not_for_ever() {
    let hold = |mut bench: Bench| {
        bench.a_requests(2, "INVITE", "hold", &SDP.replace("sendrecv", "sendonly"));
        bench.b_agrees("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
        bench.a_requests(2, "ACK", "ack2", "");
        bench
    };
    let mut back = hold(talking(ASKS_A));
    back.wait(Duration::from_secs(60));
    assert_eq!(consents(&back), [(Leg::A, Consent::Asked)]);
    played(&mut back, Leg::A);
    back.wait(Duration::from_millis(4_900));
    assert_eq!(consents(&back).len(), 1);
    back.wait(Duration::from_millis(200));
    assert_eq!(consents(&back)[1..], [(Leg::A, Consent::Unanswered)]);

    let mut away = hold(talking(ASKS_A));
    away.wait(Duration::from_secs(179));
    assert_eq!(consents(&away).len(), 1);
    away.wait(Duration::from_secs(2));
    assert_eq!(consents(&away)[1..], [(Leg::A, Consent::Unanswered)]);

    let mut deaf = talking(ASKS_A);
    deaf.wait(Duration::from_millis(7_100));
    assert_eq!(
        consents(&deaf)[1..],
        [(Leg::A, Consent::Unanswered)],
        "nobody tells that it was played"
    );
}
