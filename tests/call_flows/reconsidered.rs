//! What parties were told, were asked and have answered, while the call is decided anew under them: by a medium that comes, by
//! another name, by a change that is refused, by a newcomer.

use std::sync::Arc;
use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Consent, Fault, Generation, Leg, LineSet, MediaCommand, Recorded, RecordingEvent};
use onrecord::policy::{Clips, PolicySet, SourceFile};
use onrecord::trunk::{Conduct, Redirect};

use super::announced::{begun, bench_of_bob_then_carol, by, carol_comes, clip, lenient_bench, notices, told};
use super::bench::{A, Bench, C, PROXY, SDP};
use super::consenting::{ASKS_A, consents, held, press};
use super::declined::{MUTES, UNRECORDS, mode, withheld};
use super::foreword::{is_b_asked, played};
use super::party::{ALICE, BOB, Party};

const ALL: LineSet = LineSet::ALL;
const NONE: LineSet = LineSet::NONE;
const ASKS_BOTH: &str = "mode = \"prompt\", consent = { within = \"5s\" }";
const VIDEO_ALONE: &str = "action = \"skip\"\n[[policy.filter]]\nmedia = [\"video\"]\naction = \"record\"\n";

/// A policy for one party, by its address.
struct Text<'a> {
    of: &'a str,
    notify: &'a str,
    is_strict: bool,
    filter: &'a str,
}

fn of<'a>(of: &'a str, notify: &'a str) -> Text<'a> {
    Text {
        of,
        notify,
        is_strict: false,
        filter: "",
    }
}

fn strict<'a>(of: &'a str, notify: &'a str) -> Text<'a> {
    let is_strict = true;
    Text {
        is_strict,
        ..self::of(of, notify)
    }
}

impl Text<'_> {
    fn policy(&self, id: &str) -> String {
        let required = self.is_strict;
        let (filter, notify) = (self.filter, self.notify);
        format!(
            "[policy]\nid = \"{id}\"\nenabled = true\nnotify = {{ {notify} }}\nprompts = {{ package = \"desk\" }}\n{filter}\
             [[policy.recorder]]\nid = \"embedded\"\nrequired_before_call_establishment = {required}\n\
             required_during_call = {required}\nrequired_before_meeting_join = {required}\n\
             required_during_meeting = {required}\n"
        )
    }
}

fn bench(policies: &[Text<'_>]) -> Bench {
    bench_on(Bench::with, policies)
}

fn bench_on(made: impl Fn(&[(&str, &str)]) -> Bench, policies: &[Text<'_>]) -> Bench {
    let mut files = Vec::new();
    let mut grants = String::new();
    for (number, text) in policies.iter().enumerate() {
        let id = format!("p{number}");
        grants += &format!("[[grant]]\npolicy = \"{id}\"\nto = [\"user:{}\"]\n", text.of);
        files.push((format!("{id}.toml"), text.policy(&id)));
    }
    files.push(("grants.toml".to_owned(), grants));
    let named: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let mut bench = made(&named);
    let sources: Vec<SourceFile> = files
        .iter()
        .map(|(path, text)| SourceFile {
            path: path.into(),
            text: text.clone(),
        })
        .collect();
    let set = PolicySet::compile(&sources, Generation(2)).unwrap().with_clips(Clips {
        tone: Some(clip("tone")),
        prompts: [("desk".to_owned(), clip("prompt"))].into(),
    });
    bench.input(Input::Policies(Arc::new(set)));
    bench
}

fn talk(bench: &mut Bench) {
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
}

fn video_comes(bench: &mut Bench) {
    let with_video = format!("{SDP}m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
    bench.a_requests(2, "INVITE", "video", &with_video);
    bench.b_agrees("INVITE", 200, &with_video);
    bench.a_requests(2, "ACK", "ack2", "");
}

fn is_ended(bench: &Bench) -> bool {
    bench.story.iter().any(|rung| rung == "BYE → A")
}

/// Alice is recorded without a word; Bob's video is recorded, and this is said of telling people.
fn of_bobs_video(notify: &str, is_strict: bool) -> Bench {
    let video = Text {
        is_strict,
        filter: VIDEO_ALONE,
        ..of("bob@127.0.0.1", notify)
    };
    let mut bench = bench(&[of("alice@example.com", ""), video]);
    talk(&mut bench);
    assert!(consents(&bench).is_empty() && notices(&bench).is_empty());
    bench
}

#[test]
fn policies_that_come_with_a_medium_ask_whom_they_would_have_asked_at_first() {
    for is_strict in [true, false] {
        let mut bench = of_bobs_video(ASKS_BOTH, is_strict);
        video_comes(&mut bench);
        let asked = [(Leg::A, Consent::Asked), (Leg::B, Consent::Asked)];
        assert_eq!(consents(&bench), asked, "strict: {is_strict}");
        assert_eq!(told(notices(&bench)[0]), [by("prompt", ""), by("prompt", "")]);
        assert_eq!(held(&bench), (true, [true; 2]));
        press(&mut bench, Leg::A, '1');
        press(&mut bench, Leg::B, '2');
        assert!(is_ended(&bench), "as the policy says");
    }
}

#[test]
fn policies_that_come_with_a_medium_tell_by_their_tone() {
    let mut bench = of_bobs_video("mode = \"tone\"", false);
    video_comes(&mut bench);
    assert_eq!(told(notices(&bench)[0]), [by("", "tone 15"), by("", "tone 15")]);
}

#[test]
fn who_was_asked_before_a_medium_came_is_not_asked_again() {
    let video = Text {
        filter: VIDEO_ALONE,
        ..of("bob@127.0.0.1", ASKS_BOTH)
    };
    let mut bench = bench(&[of("alice@example.com", ASKS_A), video]);
    talk(&mut bench);
    press(&mut bench, Leg::A, '1');
    video_comes(&mut bench);
    assert_eq!(consents(&bench)[2..], [(Leg::B, Consent::Asked)]);
    assert_eq!(told(notices(&bench)[1]), [None, by("prompt", "")]);
}

/// Alice has refused, and her exchange calls her by another name that is under a strict policy.
fn renamed(refused: &str, of_other_name: &str) -> Bench {
    let mut bench = bench(&[
        of("alice@example.com", refused),
        strict("alice@pbx.example", of_other_name),
    ]);
    talk(&mut bench);
    press(&mut bench, Leg::A, '2');
    assert!(!is_ended(&bench));
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    let vouched = "P-Asserted-Identity: <sip:alice@pbx.example>\r\n";
    let hold = SDP.replace("sendrecv", "sendonly");
    bench.a_requests_in(&tag, 2, "INVITE", vouched, &hold);
    bench
}

#[test]
fn who_refused_has_refused_under_another_name_too() {
    for refused in [MUTES, UNRECORDS] {
        let mut bench = renamed(refused, "");
        assert!(is_ended(&bench), "{refused}");
        bench.a_answers("BYE", 200, "");
        bench.b_agrees("BYE", 200, "");
        let says_why = |rung: &String| rung.contains("A does not agree to be recorded");
        assert!(bench.story.iter().any(says_why), "{:?}", bench.story);
    }
    let mut muted = renamed(MUTES, MUTES);
    muted.b_agrees("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
    assert_eq!((mode(&muted), withheld(&muted)), (Recorded::Strict, [ALL, NONE]));
    assert_eq!(consents(&muted).len(), 2, "nor is it asked again");
}

fn fails(bench: &mut Bench) {
    let (session, fault) = (bench.session(), Fault::Io);
    bench.input(Input::Recording(RecordingEvent::OpenFailed { session, fault }));
}

fn becomes_carol(bench: &mut Bench) {
    let vouched = "P-Asserted-Identity: <sip:carol@example.com>\r\n";
    bench.fork_requests("b-tag", 9, "UPDATE", vouched, "");
}

#[test]
fn a_change_that_is_refused_leaves_no_question_behind() {
    for opens in [true, false] {
        let mut bench = bench(&[strict("carol@example.com", ASKS_BOTH)]);
        talk(&mut bench);
        bench.recorder_answers = false;
        becomes_carol(&mut bench);
        assert!(consents(&bench).is_empty() && notices(&bench).is_empty(), "not yet");
        if opens {
            let session = bench.session();
            bench.input(Input::Recording(RecordingEvent::Ready { session }));
            let asked = [(Leg::A, Consent::Asked), (Leg::B, Consent::Asked)];
            assert_eq!(consents(&bench), asked);
            continue;
        }
        fails(&mut bench);
        assert_eq!(bench.response_to_b().status, 488);
        assert!(!held(&bench).0, "they hear each other");
        bench.wait(Duration::from_secs(60));
        assert_eq!((is_ended(&bench), notices(&bench).len()), (false, 0));
    }
}

#[test]
fn a_change_that_is_refused_takes_no_refusal_with_it() {
    let asks_b = UNRECORDS.replace("caller", "callee");
    let mut bench = bench(&[of("bob@127.0.0.1", &asks_b), strict("carol@example.com", "")]);
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    fails(&mut bench);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.wait(Duration::from_millis(1_100));
    assert_eq!(consents(&bench), [(Leg::B, Consent::Asked)], "it is being opened again");
    press(&mut bench, Leg::B, '2');
    fails(&mut bench);
    becomes_carol(&mut bench);
    assert!(!bench.story.iter().any(|rung| rung == "488 → B"), "she is waited for");
    fails(&mut bench);
    assert_eq!(bench.response_to_b().status, 488);
    bench.recorder_answers = true;
    bench.wait(Duration::from_millis(1_100));
    assert_eq!((mode(&bench), withheld(&bench)), (Recorded::No, [ALL; 2]));
    assert_eq!(consents(&bench).last(), Some(&(Leg::B, Consent::Refused)));
}

const AGREES: &str = "mode = \"prompt\", to = \"caller\", consent = { within = \"20s\", silence = \"agrees\" }";

/// Bob's policy asks Alice, who says nothing, and Carol comes in his place.
fn silent(of_carol: (&str, bool)) -> Bench {
    let mut bench = bench_of_bob_then_carol((AGREES, true), of_carol);
    begun(&mut bench);
    assert_eq!(consents(&bench), [(Leg::A, Consent::Asked)]);
    carol_comes(&mut bench);
    bench
}

#[test]
fn silence_that_agrees_does_so_whoever_has_come_before_it_is_over() {
    for of_carol in [("", false), ("mode = \"tone\"", true)] {
        let mut bench = silent(of_carol);
        bench.wait(Duration::from_secs(30));
        assert_eq!(consents(&bench)[1..], [(Leg::A, Consent::Unanswered)]);
        assert_eq!((is_ended(&bench), withheld(&bench)), (false, [NONE; 2]), "{of_carol:?}");
    }
}

#[test]
fn who_thinks_it_over_has_as_long_as_the_policy_said_that_asked() {
    let mut bench = silent(("", true));
    bench.wait(Duration::from_secs(15));
    played(&mut bench, Leg::A);
    bench.wait(Duration::from_millis(19_900));
    assert_eq!(consents(&bench).len(), 1);
    bench.wait(Duration::from_millis(200));
    assert_eq!(consents(&bench)[1..], [(Leg::A, Consent::Unanswered)]);
}

#[test]
fn silence_is_no_agreement_to_a_policy_that_asks_and_came_before_it_was_over() {
    let mut bench = silent((ASKS_A, false));
    assert_eq!(consents(&bench).len(), 1, "once is enough");
    bench.wait(Duration::from_secs(30));
    assert!(is_ended(&bench));
}

#[test]
fn silence_that_agreed_is_asked_again_by_a_policy_that_takes_it_for_a_refusal() {
    for (notify, before) in [(ASKS_A, [NONE; 2]), (MUTES, [ALL, NONE])] {
        let mut bench = bench_of_bob_then_carol((AGREES, true), (notify, false));
        begun(&mut bench);
        bench.wait(Duration::from_secs(30));
        assert_eq!(consents(&bench)[1..], [(Leg::A, Consent::Unanswered)]);
        bench.fork_requests(
            "b-tag",
            9,
            "UPDATE",
            "P-Asserted-Identity: <sip:carol@example.com>\r\n",
            SDP,
        );
        assert_eq!(withheld(&bench), before, "it can hear no question yet");
        assert!(!is_ended(&bench), "it was told that silence agrees");
        bench.a_answers("UPDATE", 200, SDP);
        assert_eq!(consents(&bench)[2..], [(Leg::A, Consent::Asked)]);
        assert_eq!(told(notices(&bench)[1]), [by("prompt", ""), None], "and hears it again");
        press(&mut bench, Leg::A, '1');
        assert_eq!(withheld(&bench), [NONE; 2]);
        bench.wait(Duration::from_secs(30));
        assert!(!is_ended(&bench));
    }
}

#[test]
fn who_refuses_during_the_word_has_its_call_at_once_where_nothing_is_kept() {
    let before = format!("{UNRECORDS}, when = \"before_connect\"");
    let mut bench = lenient_bench(&before);
    bench.invite(SDP, "");
    press(&mut bench, Leg::A, '2');
    assert!(is_b_asked(&bench), "nobody waits for the end of a word about nothing");
    assert_eq!(told(notices(&bench)[1]), [by("", ""), None], "which is heard no more");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.wait(Duration::from_secs(10));
    assert_eq!((mode(&bench), bench.signaling.calls()), (Recorded::No, 1));
    let prompts = notices(&bench)
        .into_iter()
        .map(told)
        .filter(|told| told[0] == by("prompt", ""));
    assert_eq!(prompts.count(), 1);
}

#[test]
fn who_refuses_during_the_word_hears_the_rest_where_the_call_is_recorded() {
    let mut bench = lenient_bench(&format!("{MUTES}, when = \"before_connect\""));
    bench.invite(SDP, "");
    press(&mut bench, Leg::A, '2');
    assert!(!is_b_asked(&bench));
    assert_eq!(notices(&bench).len(), 1, "nothing cuts it");
    played(&mut bench, Leg::A);
    assert!(is_b_asked(&bench));
}

#[test]
fn who_refused_during_the_word_and_is_sent_on_to_who_must_be_recorded_is_called_through_to_nobody() {
    let follows = || Conduct {
        redirect: Redirect::Follow,
        ..Conduct::default()
    };
    for refused in [UNRECORDS, MUTES] {
        for of_carol in [
            "",
            "consent = { mode = \"waived\", signed_by = \"Legal\", date = \"2026-01-31\" }",
        ] {
            let before = format!("{refused}, when = \"before_connect\"");
            let policies = [of("bob@127.0.0.1", &before), strict("carol@127.0.0.1", of_carol)];
            let mut bench = bench_on(|files| Bench::with_branch(files, follows(), follows()), &policies);
            bench.invite(SDP, "");
            played(&mut bench, Leg::A);
            press(&mut bench, Leg::A, '2');
            assert!(is_b_asked(&bench));
            bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
            assert_eq!((bench.response_to_a().status, bench.to_c.len()), (603, 0), "{refused}");
            bench.a_requests(1, "ACK", "a1", "");
            bench.assert_nothing_left();
        }
    }
}

const HELP: Party = Party { user: "112", at: A };

#[test]
fn who_is_sent_on_to_help_is_heard_there_whatever_it_has_answered_elsewhere() {
    for key in [None, Some('2')] {
        let asks_bob = MUTES.replace("caller", "callee");
        let mut bench = bench_on(Bench::executing, &[of("bob@127.0.0.1", &asks_bob)]);
        let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
        assert_eq!(consents(&bench), [(Leg::B, Consent::Asked)]);
        if let Some(key) = key {
            press(&mut bench, Leg::B, key);
        }
        let refer = alice.request("REFER", &format!("Refer-To: <sip:112@{PROXY}>\r\n"), "");
        bench.from(A, refer);
        bench.answers(ALICE, "NOTIFY", 200, "");
        bench.answers(HELP, "INVITE", 200, SDP);
        bench.answers(BOB, "INVITE", 200, SDP);
        bench.answers(ALICE, "NOTIFY", 200, "");
        bench.answers(ALICE, "BYE", 200, "");
        let session = bench.headers().last().unwrap().session;
        assert_ne!(session, bench.session());
        let told = bench.media.iter().rev().find_map(|command| match command {
            MediaCommand::Pausing { session: of, pausing } if *of == session => Some(*pausing),
            MediaCommand::Open(plan) if plan.session == session => Some(plan.pausing),
            _ => None,
        });
        let told = told.unwrap();
        assert_eq!((told.asks, told.withheld), (false, [NONE; 2]), "{key:?}");
        bench.wait(Duration::from_secs(60));
        bench.hangs_up(bob, HELP);
        bench.assert_nothing_left();
    }
}
