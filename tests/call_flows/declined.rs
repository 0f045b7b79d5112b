//! Parties that do not agree to be recorded, where the call goes on: one channel is left out, or all of it.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{
    Consent, Consented, LeftOut, Leg, LineSet, Mark, MediaCommand, MediaEvent, NoticeKind, Outcome, Pausing, Recorded,
    RecordingCommand, Tally, Withholding,
};

use super::announced::{
    begun, bench, bench_with_carol, carol_comes, lenient_bench, lenient_bench_with_carol, notices, talking,
};
use super::bench::{A, B, Bench, SDP, answer, with_lines};
use super::consenting::{consents, held, press};
use super::foreword::{is_b_asked, played};

pub const MUTES: &str = "mode = \"prompt\", to = \"caller\", consent = { within = \"5s\", refused = \"mute\" }";
pub const UNRECORDS: &str =
    "mode = \"prompt\", to = \"caller\", consent = { within = \"5s\", refused = \"unrecorded\" }";
const ALL: LineSet = LineSet::ALL;
const NONE: LineSet = LineSet::NONE;

/// What the relay was told last.
fn told(bench: &Bench) -> Pausing {
    let pausing = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Pausing { pausing, .. } => Some(*pausing),
        MediaCommand::Open(plan) => Some(plan.pausing),
        _ => None,
    });
    pausing.unwrap()
}

pub fn withheld(bench: &Bench) -> [LineSet; 2] {
    told(bench).withheld
}

pub fn mode(bench: &Bench) -> Recorded {
    super::sdes::plan(bench).recorded
}

/// The relay does what it was told, of these legs.
fn obeyed(bench: &mut Bench, legs: &[Leg]) {
    for &leg in legs {
        let (session, at) = (bench.session(), bench.now);
        let lines = withheld(bench)[leg.index()];
        let event = MediaEvent::Withheld {
            session,
            leg,
            lines,
            at,
        };
        bench.input(Input::Media(event));
    }
}

fn left_out(bench: &Bench) -> Vec<(Leg, LeftOut)> {
    let mark = |command: &RecordingCommand| match command {
        RecordingCommand::Mark {
            mark: Mark::LeftOut { leg, what, why },
            ..
        } => {
            assert_eq!(*why, Withholding::Consent);
            Some((*leg, what.clone()))
        }
        _ => None,
    };
    bench.recording.iter().filter_map(mark).collect()
}

/// A hangs up: the outcome and the consents that the closing record tells.
fn ended(bench: &mut Bench) -> (Outcome, Vec<Consented>) {
    bench.a_requests(9, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    let closing = bench.recording.iter().rev().find_map(|command| match command {
        RecordingCommand::Close { closing, .. } | RecordingCommand::Keep { closing, .. } => Some(closing.clone()),
        _ => None,
    });
    let closing = closing.unwrap();
    (closing.outcome, closing.consents)
}

pub fn signals(bench: &Bench) -> String {
    let text = bench.recording.iter().filter_map(|command| match command {
        RecordingCommand::Signal { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    text.collect()
}

fn call(mut bench: Bench, aware: [bool; 2]) -> Bench {
    let [a, b] = aware.map(|aware| if aware { "Supported: record-aware\r\n" } else { "" });
    bench.invite(SDP, a);
    obeyed(&mut bench, &[Leg::A]);
    let ok = answer(&bench.request_to_b("INVITE"), 200, "b-tag", B, SDP);
    bench.from(B, with_lines(&ok, b));
    bench.a_requests(1, "ACK", "ack1", "");
    bench
}

fn said(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).unwrap();
    let said = text.lines().find_map(|line| line.strip_prefix("a=record:"));
    said.map(str::to_owned)
}

#[test]
fn who_is_muted_is_left_out_from_the_first_packet_until_it_agrees() {
    let mut bench = call(bench(MUTES), [false; 2]);
    let plan = bench.media.iter().find_map(|command| match command {
        MediaCommand::Open(plan) => Some(plan.pausing.withheld),
        _ => None,
    });
    assert_eq!(plan, Some([ALL, NONE]), "before anything passes");
    assert_eq!((withheld(&bench), held(&bench).0), ([ALL, NONE], true));
    press(&mut bench, Leg::A, '1');
    assert_eq!((withheld(&bench), held(&bench).0), ([NONE; 2], false));
    obeyed(&mut bench, &[Leg::A]);
    assert_eq!(left_out(&bench), [(Leg::A, LeftOut::All), (Leg::A, LeftOut::Nothing)]);
}

#[test]
fn who_refuses_is_muted_for_good_and_nothing_that_it_types_is_kept() {
    let mut bench = call(bench(MUTES), [false; 2]);
    press(&mut bench, Leg::A, '2');
    assert_eq!((withheld(&bench), held(&bench).0), ([ALL, NONE], false));
    assert_eq!(mode(&bench), Recorded::Strict, "who talks to it is recorded as ever");
    assert_eq!(left_out(&bench), [(Leg::A, LeftOut::All)]);

    bench.a_requests_typed(2, "INFO", "info", "application/dtmf", "7");
    bench.a_requests_typed(3, "MESSAGE", "words", "text/plain", "my secret");
    bench.b_requests(1, "MESSAGE", "reply", "of B");
    let kept = signals(&bench);
    assert!(!kept.contains("INFO") && !kept.contains("my secret"), "{kept}");
    assert!(kept.contains("of B"), "the other's words are kept");

    bench.a_requests(4, "INVITE", "hold", &SDP.replace("sendrecv", "sendonly"));
    bench.b_agrees("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
    bench.a_requests(4, "ACK", "ack4", "");
    assert_eq!(
        (consents(&bench).len(), withheld(&bench)),
        (2, [ALL, NONE]),
        "a hold asks nobody again"
    );

    bench.tally = Tally {
        accepted: 5,
        withheld: 5,
        ..Tally::default()
    };
    let (outcome, told) = ended(&mut bench);
    assert_eq!(outcome, Outcome::Recorded);
    assert_eq!(
        told.iter().map(|known| (known.leg, known.consent)).collect::<Vec<_>>(),
        [(Leg::A, Consent::Refused)]
    );
}

#[test]
fn who_says_nothing_is_left_out_where_silence_is_a_refusal_and_kept_where_it_is_none() {
    for (silence, wanted) in [("refuses", [ALL, NONE]), ("agrees", [NONE; 2])] {
        let notify = MUTES.replace("\"5s\"", &format!("\"5s\", silence = \"{silence}\""));
        let mut bench = call(bench(&notify), [false; 2]);
        played(&mut bench, Leg::A);
        bench.wait(Duration::from_secs(9));
        assert_eq!(consents(&bench).last(), Some(&(Leg::A, Consent::Unanswered)));
        assert_eq!(withheld(&bench), wanted, "{silence}");
        assert_eq!(bench.signaling.calls(), 1);
    }
}

#[test]
fn of_two_who_are_asked_each_is_left_out_or_kept_by_its_own_answer() {
    let notify = MUTES.replace("\"caller\"", "\"both\"");
    let mut bench = call(bench(&notify), [false; 2]);
    assert_eq!(withheld(&bench), [ALL, ALL]);
    press(&mut bench, Leg::B, '1');
    assert_eq!((withheld(&bench), held(&bench).0), ([ALL, NONE], true));
    press(&mut bench, Leg::A, '2');
    assert_eq!((withheld(&bench), held(&bench).0), ([ALL, NONE], false));
    let parties = MUTES.replace("\"caller\"", "\"external\"");
    assert_eq!(
        withheld(&call(self::bench(&parties), [false; 2])),
        [ALL, ALL],
        "nobody is ours"
    );
}

#[test]
fn until_it_has_answered_nothing_is_kept_of_who_is_asked_at_the_cost_of_the_call() {
    let mut bench = talking(&MUTES.replace("mute", "hang_up"));
    assert_eq!(withheld(&bench), [ALL, NONE]);
    press(&mut bench, Leg::A, '1');
    assert_eq!(withheld(&bench), [NONE; 2]);
    let marked = talking(&MUTES.replace("mute", "mark"));
    assert_eq!(withheld(&marked), [NONE; 2], "it is recorded whatever it says");
}

#[test]
fn a_call_that_a_party_does_not_agree_to_have_recorded_goes_on_and_nothing_of_it_is_kept() {
    let mut bench = call(lenient_bench(UNRECORDS), [true, false]);
    assert_eq!(withheld(&bench), [ALL, ALL], "nor of who talks to it");
    obeyed(&mut bench, &[Leg::A, Leg::B]);
    press(&mut bench, Leg::A, '2');
    assert_eq!((mode(&bench), held(&bench).0), (Recorded::No, false));
    assert_eq!(said(&bench.request_to_a("INVITE").body).as_deref(), Some("off"));
    bench.a_answers("INVITE", 200, SDP);
    bench.a_requests_typed(3, "MESSAGE", "words", "text/plain", "my secret");
    bench.b_requests(1, "MESSAGE", "reply", "of B");
    let kept = signals(&bench);
    assert!(!kept.contains("my secret") && !kept.contains("of B"), "{kept}");
    bench.tally = Tally {
        withheld: 40,
        ..Tally::default()
    };
    let (outcome, told) = ended(&mut bench);
    assert_eq!(outcome, Outcome::Unrecorded);
    assert_eq!((told.len(), told[0].consent), (1, Consent::Refused));
}

#[test]
fn a_call_that_all_agree_to_is_recorded_from_there_on() {
    let mut bench = call(lenient_bench(UNRECORDS), [false; 2]);
    obeyed(&mut bench, &[Leg::B]);
    press(&mut bench, Leg::A, '1');
    assert_eq!((withheld(&bench), mode(&bench)), ([NONE; 2], Recorded::Lenient));
    obeyed(&mut bench, &Leg::BOTH);
    assert_eq!(
        left_out(&bench)[2..],
        [(Leg::A, LeftOut::Nothing), (Leg::B, LeftOut::Nothing)]
    );
}

#[test]
fn who_refuses_before_the_call_is_connected_unrecorded() {
    let before = format!("{UNRECORDS}, when = \"before_connect\"");
    let mut bench = lenient_bench(&before);
    bench.invite(SDP, "Supported: record-aware\r\n");
    played(&mut bench, Leg::A);
    press(&mut bench, Leg::A, '2');
    assert!(is_b_asked(&bench));
    assert_eq!(mode(&bench), Recorded::No);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(said(&bench.response_to_a().body).as_deref(), Some("off"));
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn a_newcomer_is_asked_after_who_did_not_agree_has_left_and_the_call_is_recorded_again_if_it_agrees() {
    let notify = UNRECORDS.replace("\"caller\"", "\"callee\"");
    let mut bench = lenient_bench_with_carol(&notify, &notify);
    begun(&mut bench);
    press(&mut bench, Leg::B, '2');
    assert_eq!(mode(&bench), Recorded::No);
    carol_comes(&mut bench);
    assert_eq!((mode(&bench), withheld(&bench)), (Recorded::Lenient, [ALL, ALL]));
    assert_eq!(
        consents(&bench).last(),
        Some(&(Leg::B, Consent::Asked)),
        "and nobody else"
    );
    press(&mut bench, Leg::B, '1');
    assert_eq!(withheld(&bench), [NONE; 2]);
}

#[test]
fn a_policy_that_must_record_ends_the_call_of_who_another_would_leave_out() {
    let strict = "mode = \"prompt\", to = \"caller\"";
    let mut bench = bench_with_carol(MUTES, strict);
    begun(&mut bench);
    press(&mut bench, Leg::A, '2');
    assert_eq!((bench.signaling.calls(), withheld(&bench)), (1, [ALL, NONE]));
    carol_comes(&mut bench);
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    assert!(
        bench
            .story
            .iter()
            .any(|rung| rung.contains("A does not agree to be recorded")),
        "{:?}",
        bench.story
    );
}

#[test]
fn a_restart_records_nobody_who_did_not_agree() {
    for (notify, mode_after, wanted) in [
        (MUTES, Recorded::Strict, [ALL, NONE]),
        (UNRECORDS, Recorded::No, [ALL, ALL]),
    ] {
        let fresh = || match mode_after {
            Recorded::No => lenient_bench(notify),
            _ => bench(notify),
        };
        let mut before = call(fresh(), [false; 2]);
        press(&mut before, Leg::A, '2');
        let mut after = fresh();
        after.now = before.now + Duration::from_secs(2);
        after.to_a.clone_from(&before.to_a);
        after.to_b.clone_from(&before.to_b);
        for (session, state) in before.remembered.clone() {
            after.input(Input::Resume { session, state });
        }
        let opened = after.media.iter().find_map(|command| match command {
            MediaCommand::Open(plan) => Some(plan.pausing.withheld),
            _ => None,
        });
        assert_eq!(
            (opened, mode(&after)),
            (Some(wanted), mode_after),
            "from the first packet on"
        );
        obeyed(&mut after, &[Leg::A]);
        assert_eq!(left_out(&after).first(), Some(&(Leg::A, LeftOut::All)));
        let (_, told) = ended(&mut after);
        assert_eq!(told.first().map(|known| known.consent), Some(Consent::Refused));
    }
}

#[test]
fn each_who_reads_it_is_told_how_its_own_channel_stands() {
    let mut bench = call(bench(MUTES), [true, true]);
    assert_eq!(
        said(&bench.response_to_a().body).as_deref(),
        Some("paused"),
        "not kept yet"
    );
    assert_eq!(said(&bench.request_to_b("INVITE").body).as_deref(), Some("on"));
    bench.b_agrees("INVITE", 200, SDP);
    press(&mut bench, Leg::A, '1');
    obeyed(&mut bench, &[Leg::A]);
    assert_eq!(said(&bench.request_to_a("INVITE").body).as_deref(), Some("on"));
}

#[test]
fn who_was_told_and_stays_has_agreed_where_that_is_enough_and_who_is_only_informed_has_not() {
    for (mode, wanted) in [("implied", Consent::Implied), ("inform", Consent::Informed)] {
        let notify = format!("mode = \"prompt+tone\", to = \"caller\", consent = {{ mode = \"{mode}\" }}");
        let mut bench = talking(&notify);
        assert!(consents(&bench).is_empty(), "it has heard nothing yet");
        assert!(!held(&bench).0, "nobody is asked");
        noticed(&mut bench, Leg::A, NoticeKind::Tone, true);
        assert!(consents(&bench).is_empty(), "a prompt is demanded");
        noticed(&mut bench, Leg::A, NoticeKind::Prompt, false);
        assert!(consents(&bench).is_empty(), "not all of it");
        played(&mut bench, Leg::A);
        played(&mut bench, Leg::B);
        assert_eq!(consents(&bench), [(Leg::A, wanted)]);
        let (_, told) = ended(&mut bench);
        assert_eq!(told[0].consent, wanted);
    }
    let mut tone = talking("mode = \"tone\", to = \"callee\", consent = { mode = \"implied\" }");
    noticed(&mut tone, Leg::B, NoticeKind::Tone, true);
    noticed(&mut tone, Leg::B, NoticeKind::Tone, true);
    assert_eq!(consents(&tone), [(Leg::B, Consent::Implied)], "once");
}

#[test]
fn who_reads_that_it_is_recorded_is_informed() {
    let bench = call(
        bench("mode = \"sdp\", to = \"caller\", consent = { mode = \"inform\" }"),
        [true, false],
    );
    assert_eq!(consents(&bench), [(Leg::A, Consent::Informed)]);
    let deaf = call(
        self::bench("mode = \"sdp\", to = \"caller\", consent = { mode = \"inform\" }"),
        [false; 2],
    );
    assert!(consents(&deaf).is_empty());
}

#[test]
fn where_consent_is_waived_who_signed_that_is_among_the_facts() {
    let mut bench = talking("consent = { mode = \"waived\", signed_by = \"Legal\", date = \"2026-01-31\" }");
    assert!(notices(&bench).is_empty());
    assert_eq!(consents(&bench), [(Leg::A, Consent::Waived), (Leg::B, Consent::Waived)]);
    let (_, told) = ended(&mut bench);
    let signed: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert_eq!(
        signed,
        [
            "consent of A: waived, signed by Legal, 2026-01-31",
            "consent of B: waived, signed by Legal, 2026-01-31"
        ]
    );
}

fn noticed(bench: &mut Bench, leg: Leg, kind: NoticeKind, whole: bool) {
    let session = bench.session();
    let notice = onrecord::model::Notice {
        leg,
        line: 0,
        kind,
        name: "notice".to_owned(),
        from: bench.now,
        until: bench.now,
        packets: 1,
        whole,
    };
    let notice = Box::new(notice);
    bench.input(Input::Media(MediaEvent::Noticed { session, notice }));
}

#[test]
fn an_emergency_asks_nobody_and_leaves_nobody_out() {
    let mut bench = lenient_bench(UNRECORDS);
    let emergency = super::bench::invite(1, "z9hG4bKsos", "", SDP, "");
    let text = String::from_utf8(emergency.to_vec()).unwrap();
    bench.from(A, text.replace("sip:bob@", "sip:112@").into());
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert!(consents(&bench).is_empty() && notices(&bench).is_empty());
    assert_eq!((withheld(&bench), held(&bench).0), ([NONE; 2], false));
}
