//! What a party has answered, or not, when it goes on in another call: who refused is recorded by nobody, and who was not asked yet is
//! not recorded either.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{
    Consent, Leg, LineSet, Mark, MediaCommand, MediaEvent, Pausing, Recorded, RecordingCommand, SessionId,
};
use onrecord::sip::Message;
use onrecord::trunk::{Conduct, Redirect};

use super::announced::{bench, executing_bench, lenient_bench, redirecting_bench};
use super::bench::{A, B, Bench, PROXY, SDP, answer, with_lines};
use super::consenting::press;
use super::consulted::{alice_answers_each, escaped};
use super::executed::{assert_old_call_stays, assert_told_last, refers};
use super::foreword::{is_b_asked, played};
use super::party::{ALICE, BOB, CAROL, DAVE, PhoneDialog};

pub const ALL: LineSet = LineSet::ALL;
pub const NONE: LineSet = LineSet::NONE;
pub const TELLS_NOBODY: &str = "mode = \"none\"";

/// Whom it is put to, and what a refusal means.
pub fn asks(whom: &str, refused: &str) -> String {
    format!("mode = \"prompt\", to = \"{whom}\", consent = {{ within = \"5s\", refused = \"{refused}\" }}")
}

pub fn newest(bench: &Bench) -> SessionId {
    bench.headers().last().unwrap().session
}

pub fn key_in(bench: &mut Bench, session: SessionId, leg: Leg, key: char) {
    bench.input(Input::Media(MediaEvent::Key { session, leg, key }));
}

/// What the relay was told last of a call.
pub fn told(bench: &Bench, of: SessionId) -> Pausing {
    let told = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Pausing { session, pausing } if *session == of => Some(*pausing),
        MediaCommand::Open(plan) if plan.session == of => Some(plan.pausing),
        _ => None,
    });
    told.unwrap()
}

pub fn withheld(bench: &Bench, of: SessionId) -> [LineSet; 2] {
    told(bench, of).withheld
}

pub fn mode(bench: &Bench, of: SessionId) -> Recorded {
    let plan = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Open(plan) | MediaCommand::Modify(plan) if plan.session == of => Some(plan.recorded),
        _ => None,
    });
    plan.unwrap()
}

/// As its recording tells.
fn consents(bench: &Bench, of: SessionId) -> Vec<(Leg, Consent)> {
    let consent = |command: &RecordingCommand| match command {
        RecordingCommand::Mark {
            session,
            mark: Mark::Consent { leg, consent, .. },
            ..
        } if *session == of => Some((*leg, *consent)),
        _ => None,
    };
    bench.recording.iter().filter_map(consent).collect()
}

/// Who was told by a prompt.
pub fn prompted(bench: &Bench, of: SessionId) -> [bool; 2] {
    let plans = bench.media.iter().filter_map(|command| match command {
        MediaCommand::Notice(plan) if plan.session == of => Some(&plan.legs),
        _ => None,
    });
    plans.fold([false; 2], |told, legs| {
        let hears = |leg: Leg| legs[leg.index()].as_ref().is_some_and(|notice| notice.prompt.is_some());
        Leg::BOTH.map(|leg| told[leg.index()] || hears(leg))
    })
}

/// Alice and Bob talk; she agrees, and he says this.
pub fn answered(bench: &mut Bench, key: Option<char>) -> [PhoneDialog; 2] {
    let dialogs = bench.talk(ALICE, BOB, "call-1", "");
    let session = newest(bench);
    key_in(bench, session, Leg::A, '1');
    if let Some(key) = key {
        key_in(bench, session, Leg::B, key);
    }
    dialogs
}

/// Alice refers Bob to Dave, who answers; his new call.
pub fn transferred(bench: &mut Bench, mut alice: PhoneDialog) -> SessionId {
    refers(bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    newest(bench)
}

#[test]
fn who_is_transferred_keeps_its_answer_and_is_not_asked_again() {
    for (refused, key, before_dave, after_dave) in [
        ("mute", '1', [NONE, ALL], [NONE, NONE]),
        ("mute", '2', [ALL, ALL], [ALL, NONE]),
        ("mark", '2', [NONE, NONE], [NONE, NONE]),
        ("unrecorded", '1', [ALL, ALL], [NONE, NONE]),
        ("unrecorded", '2', [ALL, ALL], [ALL, ALL]),
    ] {
        let notify = asks("both", refused);
        let mut bench = executing_bench((&notify, true), None, true);
        let [alice, bob] = answered(&mut bench, Some(key));
        let session = transferred(&mut bench, alice);
        assert_eq!(withheld(&bench, session), before_dave, "{refused} {key}");
        let is_dave_asked = (refused, key) != ("unrecorded", '2');
        assert_eq!(prompted(&bench, session), [false, is_dave_asked], "{refused} {key}");
        key_in(&mut bench, session, Leg::A, '1');
        key_in(&mut bench, session, Leg::B, '1');
        assert_eq!(withheld(&bench, session), after_dave, "{refused} {key}");
        let is_kept = mode(&bench, session) != Recorded::No;
        assert_eq!(is_kept, is_dave_asked, "{refused} {key}");
        let told = match key {
            '1' => Consent::Given,
            _ => Consent::Refused,
        };
        let of_bob = consents(&bench, session).into_iter().filter(|(leg, _)| *leg == Leg::A);
        assert_eq!(of_bob.collect::<Vec<_>>(), [(Leg::A, told)], "{refused} {key}: once");
        bench.hangs_up(bob, DAVE);
        bench.assert_nothing_left();
    }
}

#[test]
fn who_had_not_answered_when_it_was_transferred_is_asked_anew_and_not_recorded_before() {
    for refused in ["mute", "unrecorded"] {
        let notify = asks("both", refused);
        let mut bench = executing_bench((&notify, true), None, true);
        let [alice, bob] = answered(&mut bench, None);
        let session = transferred(&mut bench, alice);
        assert_eq!(withheld(&bench, session), [ALL, ALL], "{refused}");
        assert_eq!(prompted(&bench, session), [true, true]);
        assert!(told(&bench, session).asks, "and they do not hear each other");
        for leg in Leg::BOTH {
            key_in(&mut bench, session, leg, '1');
        }
        assert_eq!(withheld(&bench, session), [NONE, NONE], "{refused}");
        bench.hangs_up(bob, DAVE);
        bench.assert_nothing_left();
    }
}

#[test]
fn a_question_stays_open_in_a_call_whose_policies_ask_nobody() {
    for (refused, key, before, after) in [
        ("mute", Some('1'), [ALL, NONE], [NONE, NONE]),
        ("mute", Some('2'), [ALL, NONE], [ALL, NONE]),
        ("mute", None, [ALL, NONE], [ALL, NONE]),
        ("unrecorded", Some('2'), [ALL, ALL], [ALL, ALL]),
    ] {
        let notify = asks("both", refused);
        let mut bench = executing_bench((&notify, true), Some((TELLS_NOBODY, true)), false);
        let [alice, bob] = answered(&mut bench, None);
        let session = transferred(&mut bench, alice);
        assert_eq!(withheld(&bench, session), before, "{refused} {key:?}");
        match key {
            Some(key) => key_in(&mut bench, session, Leg::A, key),
            None => bench.wait(Duration::from_secs(9)),
        }
        assert_eq!(withheld(&bench, session), after, "{refused} {key:?}");
        assert!(!told(&bench, session).asks, "they talk");
        let told = match key {
            Some('1') => Consent::Given,
            Some(_) => Consent::Refused,
            None => Consent::Unanswered,
        };
        let wanted = [(Leg::A, Consent::Asked), (Leg::A, told)];
        assert_eq!(consents(&bench, session), wanted, "{refused} {key:?}");
        bench.hangs_up(bob, DAVE);
        bench.assert_nothing_left();
    }
}

#[test]
fn a_question_ends_nothing_in_a_call_that_nobody_records() {
    let notify = asks("both", "hang_up");
    let mut bench = executing_bench((&notify, true), None, false);
    let [alice, bob] = answered(&mut bench, None);
    transferred(&mut bench, alice);
    let session = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Open(plan) => Some(plan.session),
        _ => None,
    });
    let session = session.unwrap();
    assert_eq!(mode(&bench, session), Recorded::No);
    assert!(!told(&bench, session).asks, "they talk");
    bench.story.clear();
    bench.wait(Duration::from_secs(60));
    assert!(
        !bench.story.iter().any(|rung| rung.starts_with("BYE")),
        "{:?}",
        bench.story
    );
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

fn is_invite(message: &Message) -> bool {
    matches!(message, Message::Request(request) if request.method.as_str() == "INVITE")
}

#[test]
fn who_refused_is_not_transferred_to_who_must_be_recorded_and_the_old_call_stays() {
    for of_dave in [TELLS_NOBODY, &asks("callee", "hang_up"), "mode = \"prompt\""] {
        let notify = asks("both", "mute");
        for follows in [true, false] {
            let mut bench = executing_bench((&notify, true), Some((of_dave, false)), follows);
            let [mut alice, _bob] = answered(&mut bench, Some('2'));
            let asked = bench.to_a.len();
            refers(&mut bench, &mut alice, "");
            bench.answers(ALICE, "NOTIFY", 200, "");
            assert_told_last(&bench, "SIP/2.0 603 Decline");
            bench.answers(ALICE, "NOTIFY", 200, "");
            assert!(!bench.to_a[asked..].iter().any(is_invite), "{of_dave}");
            assert_old_call_stays(&mut bench, alice);
        }
    }
}

/// Alice talks to Bob and to Carol, who answer so, and joins them.
fn joined(bench: &mut Bench, keys: [char; 2]) -> (SessionId, PhoneDialog) {
    let mut sessions = Vec::new();
    let mut dialogs = Vec::new();
    for ((party, call_id), key) in [(BOB, "call-1"), (CAROL, "call-2")].into_iter().zip(keys) {
        dialogs.push(bench.talk(ALICE, party, call_id, ""));
        let session = newest(bench);
        key_in(bench, session, Leg::A, '1');
        key_in(bench, session, Leg::B, key);
        sessions.push(session);
    }
    let replaces = escaped(&dialogs[1][0].for_far_end());
    let refer_to = format!("Refer-To: <sip:carol@{PROXY}?Replaces={replaces}>\r\n");
    let refer = dialogs[0][0].request("REFER", &refer_to, "");
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    alice_answers_each(bench, "NOTIFY");
    alice_answers_each(bench, "BYE");
    (newest(bench), dialogs.swap_remove(0)[1].clone())
}

#[test]
fn of_two_who_are_joined_each_keeps_its_own_answer() {
    for (keys, wanted) in [
        (['1', '1'], [NONE, NONE]),
        (['2', '1'], [ALL, NONE]),
        (['1', '2'], [NONE, ALL]),
        (['2', '2'], [ALL, ALL]),
    ] {
        let notify = asks("both", "mute");
        let mut bench = executing_bench((&notify, false), None, true);
        let (session, bob) = joined(&mut bench, keys);
        assert_eq!(withheld(&bench, session), wanted, "{keys:?}");
        assert_eq!(prompted(&bench, session), [false; 2], "nobody is new");
        assert_eq!(mode(&bench, session), Recorded::Strict);
        bench.hangs_up(bob, CAROL);
        bench.assert_nothing_left();
    }
}

#[test]
fn who_turns_out_to_be_another_as_it_comes_over_is_asked() {
    for key in ['1', '2'] {
        let notify = asks("both", "mute");
        let mut bench = executing_bench((&notify, false), None, true);
        let [mut alice, bob] = answered(&mut bench, Some(key));
        refers(&mut bench, &mut alice, "");
        bench.answers(ALICE, "NOTIFY", 200, "");
        bench.answers(DAVE, "INVITE", 200, SDP);
        let reinvite = bench.newest(B, "INVITE");
        let ok = answer(&reinvite, 200, "bob-tag", &format!("bob@{B}"), SDP);
        bench.from(B, with_lines(&ok, "P-Asserted-Identity: <sip:erin@example.com>\r\n"));
        bench.answers(ALICE, "NOTIFY", 200, "");
        bench.answers(ALICE, "BYE", 200, "");
        let session = newest(&bench);
        assert_eq!(withheld(&bench, session), [ALL, ALL], "{key}");
        assert_eq!(prompted(&bench, session), [true, true], "{key}");
        assert_eq!(consents(&bench, session).last(), Some(&(Leg::B, Consent::Asked)));
        bench.hangs_up(bob, DAVE);
    }
}

#[test]
fn a_transfer_does_not_wait_for_a_word_to_who_is_not_there_yet() {
    let notify = asks("caller", "mute") + ", when = \"before_connect\"";
    let mut bench = executing_bench((&notify, false), None, true);
    bench.invites(ALICE, &format!("sip:bob@{PROXY}"), "call-1", "");
    played(&mut bench, Leg::A);
    press(&mut bench, Leg::A, '1');
    let [mut alice, bob] = bench.picks_up(ALICE, BOB);
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_eq!(bench.newest(A, "INVITE").uri.to_string(), format!("sip:dave@{A}"));
    let session = newest(&bench);
    assert!(
        consents(&bench, session).is_empty(),
        "nobody is asked who does not hear it"
    );
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    assert_eq!(consents(&bench, session), [(Leg::A, Consent::Asked)]);
    assert_eq!(withheld(&bench, session), [ALL, NONE]);
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

/// Alice has said this to a question; Carol picks the call up from Bob.
fn picked_up(bench: &mut Bench, key: char) -> SessionId {
    let [_, bob] = bench.talk(ALICE, BOB, "call-1", "");
    press(bench, Leg::A, key);
    let replaces = format!("Replaces: {}\r\nRequire: replaces\r\n", bob.for_far_end());
    bench.invites(CAROL, &format!("sip:{PROXY}"), "call-2", &replaces);
    newest(bench)
}

#[test]
fn who_refused_is_not_recorded_by_who_picks_the_call_up_unless_it_is_asked_again() {
    for (notify, is_lenient, wanted) in [
        // The caller of the new call is Carol.
        (asks("caller", "mute"), true, ([ALL, ALL], Recorded::Lenient)),
        (asks("caller", "mute"), false, ([ALL, ALL], Recorded::Strict)),
        (asks("caller", "mark"), false, ([NONE, NONE], Recorded::Strict)),
        (asks("caller", "unrecorded"), true, ([ALL, ALL], Recorded::No)),
    ] {
        let mut bench = if is_lenient {
            lenient_bench(&notify)
        } else {
            bench(&notify)
        };
        let session = picked_up(&mut bench, '2');
        assert_eq!(
            (withheld(&bench, session), mode(&bench, session)),
            wanted,
            "{notify}: from the first packet on"
        );
        bench.picks_up(CAROL, ALICE);
        key_in(&mut bench, session, Leg::A, '1');
        let of_alice = wanted.0[1];
        assert_eq!(withheld(&bench, session)[1], of_alice, "{notify}");
        assert_eq!(mode(&bench, session), wanted.1);
        let of_alice = consents(&bench, session).into_iter().find(|(leg, _)| *leg == Leg::B);
        assert_eq!(of_alice, Some((Leg::B, Consent::Refused)), "the recording tells");
    }
    let mut again = lenient_bench(&asks("both", "mute"));
    let session = picked_up(&mut again, '2');
    again.picks_up(CAROL, ALICE);
    assert_eq!(withheld(&again, session), [ALL, ALL]);
    for leg in Leg::BOTH {
        key_in(&mut again, session, leg, '1');
    }
    assert_eq!(withheld(&again, session), [NONE, NONE], "Alice is asked there");
    let mut given = lenient_bench(&asks("caller", "mute"));
    let session = picked_up(&mut given, '1');
    given.picks_up(CAROL, ALICE);
    assert_eq!(withheld(&given, session), [ALL, NONE], "Carol is asked");
}

#[test]
fn who_refused_calls_on_a_refer_that_crossed_and_is_not_recorded_there_either() {
    for (refused, more, wanted) in [
        ("mute", "", ([ALL, ALL], Recorded::Lenient)),
        (
            "mute",
            "Referred-By: <sip:alice@example.com>\r\n",
            ([ALL, ALL], Recorded::Lenient),
        ),
        ("unrecorded", "", ([ALL, ALL], Recorded::No)),
        ("mark", "", ([NONE, NONE], Recorded::Lenient)),
    ] {
        let mut bench = lenient_bench(&asks("callee", refused));
        let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
        press(&mut bench, Leg::B, '2');
        let refer_to = format!("Refer-To: <sip:dave@{PROXY}>\r\n{more}");
        let refer = alice.request("REFER", &refer_to, "");
        bench.from(A, refer);
        bench.answers(BOB, "REFER", 202, "");
        bench.hangs_up(alice, BOB);
        bench.talk(BOB, DAVE, "call-2", more);
        let session = newest(&bench);
        assert_eq!(
            (withheld(&bench, session), mode(&bench, session)),
            wanted,
            "{refused} {more}"
        );
        key_in(&mut bench, session, Leg::A, '1');
        key_in(&mut bench, session, Leg::B, '1');
        let kept = withheld(&bench, session);
        assert_eq!(kept[0], wanted.0[0], "{refused} {more}: Dave alone was asked");
        bench.talk(BOB, DAVE, "call-3", more);
        let session = newest(&bench);
        assert_eq!(
            withheld(&bench, session)[0] == ALL,
            refused == "unrecorded",
            "a call of his own"
        );
        assert!(!consents(&bench, session).contains(&(Leg::A, Consent::Refused)));
    }
}

#[test]
fn who_refused_is_sent_on_to_nobody_who_must_be_recorded() {
    let follows = Conduct {
        redirect: Redirect::Follow,
        ..Conduct::default()
    };
    let before = asks("caller", "mute") + ", when = \"before_connect\"";
    for (key, status) in [('1', None), ('2', Some(603))] {
        let mut bench = redirecting_bench((&before, true), (TELLS_NOBODY, false), follows.clone());
        bench.invite(SDP, "");
        played(&mut bench, Leg::A);
        press(&mut bench, Leg::A, key);
        assert!(is_b_asked(&bench));
        let asked = bench.to_b.len();
        bench.b_redirects(302, &["<sip:carol@example.com>"]);
        let answered = bench.response_to_a().status;
        assert_eq!(Some(answered).filter(|status| *status >= 300), status, "{key}");
        assert_eq!(bench.to_b[asked..].iter().any(is_invite), status.is_none(), "{key}");
    }
}
