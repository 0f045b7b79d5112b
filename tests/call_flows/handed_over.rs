//! A change that is under way when the process ends: what holds goes on, and the next process finishes what was begun.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Leg, MediaCommand, Recorded};
use onrecord::sip::{Message, Method, Request};

use super::bench::{B, Bench, GRANTS, SDP, STRICT, TRADER, answer, audio_at, with_lines, with_video};
use super::consenting::{ASKS_A, held, press};
use super::executed::{refers, strict};
use super::party::{ALICE, BOB, DAVE};

/// How the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    HandedOver,
    Killed,
}

const ENDS: [End; 2] = [End::HandedOver, End::Killed];

fn next(mut before: Bench, end: End, after: Bench) -> Bench {
    if end == End::HandedOver {
        before.story.clear();
        before.input(Input::HandOver);
        before.wait(Duration::from_millis(600));
        before.input(Input::ShutDown);
        let byes = before.story.iter().filter(|rung| rung.starts_with("BYE"));
        assert_eq!(byes.count(), 0, "{:?}", before.story);
    }
    assert_eq!(before.remembered.len(), 1);
    let mut after = before.goes_on_as(after);
    after.story.clear();
    after
}

fn held_by_a() -> String {
    SDP.replace("o=- 1 1", "o=- 1 2").replace("sendrecv", "sendonly")
}

fn held_by_b() -> String {
    SDP.replace("sendrecv", "recvonly")
}

fn pausable() -> Bench {
    let policy = format!("{STRICT}[policy.pause]\nallowed = true\n");
    Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)])
}

/// Whether the relay was told that nothing of it is kept.
fn is_paused(bench: &Bench) -> bool {
    let told = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Pausing { pausing, .. } => Some(pausing.is_paused),
        MediaCommand::Open(plan) => Some(plan.pausing.is_paused),
        _ => None,
    });
    told.unwrap()
}

fn requests_to_b(bench: &Bench, method: &Method) -> Vec<Request> {
    let of_method = |message: &Message| match message {
        Message::Request(request) if request.method == *method => Some(request.clone()),
        _ => None,
    };
    bench.to_b.iter().filter_map(of_method).collect()
}

/// The version of its description (RFC 4566 §5.2).
fn version(request: &Request) -> u64 {
    let text = String::from_utf8(request.body.to_vec()).unwrap();
    let origin = text.lines().find(|line| line.starts_with("o=")).unwrap().to_owned();
    origin.split(' ').nth(2).unwrap().parse().unwrap()
}

#[test]
fn a_pause_that_began_while_a_change_was_not_answered_goes_on_in_the_next_process() {
    for end in ENDS {
        let mut before = pausable().connected();
        before.a_requests(2, "INVITE", "re2", &held_by_a());
        let (session, why) = (before.session(), None);
        before.input(Input::PauseRecording { session, why });
        let mut after = next(before, end, pausable());
        assert!(is_paused(&after), "{end:?}");
        after.a_requests(3, "BYE", "bye", "");
        after.b_answers("BYE", 200, "");
        after.assert_nothing_left();
    }
}

#[test]
fn an_answer_about_the_recording_that_came_while_a_change_was_not_answered_stands_in_the_next_process() {
    for end in ENDS {
        for key in ['1', '2'] {
            let notify = ASKS_A.replace("\"5s\"", "\"5s\", refused = \"mute\"");
            let mut before = super::announced::talking(&notify);
            before.a_requests(2, "INVITE", "re2", &held_by_a());
            press(&mut before, Leg::A, key);
            let after = next(before, end, super::announced::bench(&notify));
            assert_eq!(
                held(&after),
                (false, [false, false]),
                "{end:?} {key}: it is not asked again"
            );
            let MediaCommand::Open(plan) = after
                .media
                .iter()
                .find(|media| matches!(media, MediaCommand::Open(_)))
                .unwrap()
            else {
                unreachable!()
            };
            assert_eq!(plan.pausing.withheld[0].is_empty(), key == '1', "{end:?} {key}");
        }
    }
}

#[test]
fn who_turned_out_to_be_there_while_a_change_was_not_answered_is_recorded_in_the_next_process() {
    for end in ENDS {
        let mut before = Bench::for_trader().connected();
        let tag = before.response_to_a().headers.to().tag().unwrap().to_owned();
        before.a_requests_in(&tag, 2, "INVITE", TRADER, SDP);
        assert_eq!(before.recorded(), Some(Recorded::Strict));
        let after = next(before, end, Bench::for_trader());
        assert_eq!(after.recorded(), Some(Recorded::Strict), "{end:?}");
    }
}

#[test]
fn whose_recording_is_not_open_yet_has_not_come_when_the_process_ends() {
    for end in ENDS {
        let mut before = Bench::for_trader().connected();
        before.recorder_answers = false;
        let tag = before.response_to_a().headers.to().tag().unwrap().to_owned();
        before.a_requests_in(&tag, 2, "INVITE", TRADER, SDP);
        assert_eq!(requests_to_b(&before, &Method::Invite).len(), 1, "it waits");
        let after = next(before, end, Bench::for_trader());
        assert_eq!(after.recorded(), Some(Recorded::No), "{end:?}");
    }
}

#[test]
fn a_late_2xx_is_acknowledged_by_the_next_process_and_who_accepted_is_told_what_holds() {
    let mut before = Bench::strict().connected();
    before.a_requests(2, "INVITE", "re2", &held_by_a());
    let reinvite = before.request_to_b("INVITE");
    let mut after = next(before, End::HandedOver, Bench::strict());
    after.to_b.clear();
    let late = answer(&reinvite, 200, "b-tag", B, &held_by_b());
    after.from(B, late.clone());
    let ack = after.request_to_b("ACK");
    assert_eq!(ack.headers.cseq().number, reinvite.headers.cseq().number);
    assert!(ack.body.is_empty());
    let told = after.request_to_b("INVITE");
    assert!(told.headers.cseq().number > reinvite.headers.cseq().number);
    assert!(String::from_utf8_lossy(&told.body).contains("a=sendrecv"));
    assert!(
        version(&told) > version(&reinvite),
        "it is newer than what was accepted"
    );
    after.from(B, late);
    assert_eq!(requests_to_b(&after, &Method::Ack).len(), 2, "one for each copy");
    assert_eq!(requests_to_b(&after, &Method::Invite).len(), 1, "and nothing else");
    after.b_agrees("INVITE", 200, SDP);
    after.a_requests(3, "BYE", "bye", "");
    after.b_answers("BYE", 200, "");
    after.assert_nothing_left();
}

#[test]
fn who_may_have_accepted_what_does_not_hold_is_told_what_does_if_nobody_hears_of_it() {
    for method in ["INVITE", "UPDATE"] {
        let mut before = Bench::strict().connected();
        before.a_requests(2, method, "re2", &with_video().replace("o=- 1 1", "o=- 1 2"));
        let offered = before.request_to_b(method);
        let mut after = next(before, End::HandedOver, Bench::strict());
        after.to_b.clear();
        after.wait(Duration::from_secs(14));
        let told = after.request_to_b("INVITE");
        let text = String::from_utf8_lossy(&told.body).into_owned();
        assert!(version(&told) > version(&offered), "{method}");
        assert_eq!(
            text.matches("m=").count(),
            2,
            "{method}: every line that it was offered: {text}"
        );
    }
}

#[test]
fn a_late_offer_gets_an_answer_that_changes_nothing() {
    let mut before = Bench::strict().connected();
    before.a_requests(2, "INVITE", "re2", "");
    let reinvite = before.request_to_b("INVITE");
    assert!(reinvite.body.is_empty());
    let mut after = next(before, End::HandedOver, Bench::strict());
    after.to_b.clear();
    after.from(B, answer(&reinvite, 200, "b-tag", B, &with_video()));
    let ack = String::from_utf8_lossy(&after.request_to_b("ACK").body).into_owned();
    assert!(ack.contains("m=audio 4") && ack.contains("m=video 0 "), "{ack}");
    assert!(!after.request_to_b("INVITE").body.is_empty());
}

#[test]
fn a_late_2xx_after_a_kill_is_acknowledged_and_answered_by_what_holds() {
    let mut before = Bench::strict().connected();
    before.a_requests(2, "INVITE", "re2", &with_video().replace("o=- 1 1", "o=- 1 2"));
    let reinvite = before.request_to_b("INVITE");
    let mut after = next(before, End::Killed, Bench::strict());
    after.to_b.clear();
    after.from(B, answer(&reinvite, 200, "b-tag", B, &with_video()));
    assert_eq!(
        after.request_to_b("ACK").headers.cseq().number,
        reinvite.headers.cseq().number
    );
    let told = after.request_to_b("INVITE");
    assert!(version(&told) > version(&reinvite));
    assert_eq!(String::from_utf8_lossy(&told.body).matches("m=").count(), 2);
}

#[test]
fn an_accepted_change_waits_for_its_ack_in_the_next_process() {
    for end in ENDS {
        let mut before = Bench::strict().connected();
        let moved = audio_at(4_100).replace("o=- 1 1", "o=- 1 2");
        before.a_requests(2, "INVITE", "re2", &moved);
        before.b_agrees("INVITE", 200, SDP);
        let accepted = before.response_to_a();
        let cseq = before.request_to_b("INVITE").headers.cseq().number;
        let mut after = next(before, end, Bench::strict());
        assert_eq!(after.response_to_a(), accepted, "{end:?}: its ACK may be lost");
        let copies = after.to_a.len();
        after.wait(Duration::from_millis(500));
        assert_eq!(after.to_a.len(), copies + 1, "once more");
        after.to_b.clear();
        after.a_requests(2, "ACK", "ack2", "");
        assert_eq!(after.request_to_b("ACK").headers.cseq().number, cseq);
        after.wait(Duration::from_millis(1_500));
        assert_eq!(after.to_a.len(), copies + 1, "it is heard");
        let MediaCommand::Open(plan) = after
            .media
            .iter()
            .find(|media| matches!(media, MediaCommand::Open(_)))
            .unwrap()
        else {
            unreachable!()
        };
        assert_eq!(
            plan.lines[0].a.remote.unwrap().rtp.port(),
            4_100,
            "what was accepted holds"
        );
        after.a_requests(3, "BYE", "bye", "");
        after.b_answers("BYE", 200, "");
        after.assert_nothing_left();
    }
}

#[test]
fn an_ack_that_answers_an_offer_of_before_the_restart_completes_it() {
    for end in ENDS {
        let mut before = Bench::strict().connected();
        before.a_requests(2, "INVITE", "re2", "");
        before.b_agrees("INVITE", 200, &audio_at(4_200));
        assert!(!before.response_to_a().body.is_empty());
        let mut after = next(before, end, Bench::strict());
        after.to_b.clear();
        after.media.clear();
        after.a_requests(2, "ACK", "ack2", &audio_at(4_300));
        assert!(!after.request_to_b("ACK").body.is_empty(), "{end:?}");
        let plan = after.media.iter().rev().find_map(|command| match command {
            MediaCommand::Modify(plan) => Some(plan.clone()),
            _ => None,
        });
        let line = plan.unwrap().lines[0].clone();
        let ports = [line.a.remote, line.b.remote].map(|remote| remote.unwrap().rtp.port());
        assert_eq!(ports, [4_300, 4_200], "{end:?}");
        after.a_requests(3, "BYE", "bye", "");
        after.b_answers("BYE", 200, "");
        after.assert_nothing_left();
    }
}

#[test]
fn a_change_that_nobody_acknowledges_to_the_next_process_either_ends_the_call() {
    let mut before = Bench::strict().connected();
    before.a_requests(2, "INVITE", "re2", SDP);
    before.b_agrees("INVITE", 200, SDP);
    let mut after = next(before, End::HandedOver, Bench::strict());
    after.wait(Duration::from_secs(31));
    assert!(
        !after.story.iter().any(|rung| rung.starts_with("BYE")),
        "{:?}",
        after.story
    );
    after.wait(Duration::from_secs(2));
    after.a_answers("BYE", 200, "");
    after.b_answers("BYE", 200, "");
    after.assert_nothing_left();
}

#[test]
fn a_hand_over_waits_for_an_ack_and_needs_nothing_more_once_it_has_come() {
    let mut before = Bench::strict().connected();
    before.a_requests(2, "INVITE", "re2", SDP);
    before.b_agrees("INVITE", 200, SDP);
    before.input(Input::HandOver);
    before.a_requests(2, "ACK", "ack2", "");
    let answered = before.to_a.len();
    let mut after = next(before, End::HandedOver, Bench::strict());
    after.wait(Duration::from_millis(1_500));
    assert_eq!(after.to_a.len(), answered, "no 2xx again");
}

#[test]
fn who_has_accepted_and_whose_recording_is_not_open_is_acknowledged_and_recorded_by_the_next_process() {
    for offers_late in [false, true] {
        let mut before = Bench::for_trader().connected();
        before.recorder_answers = false;
        before.a_requests(2, "INVITE", "re2", if offers_late { "" } else { SDP });
        let reinvite = before.request_to_b("INVITE");
        before.from(B, with_lines(&answer(&reinvite, 200, "none", B, SDP), TRADER));
        before.input(Input::HandOver);
        before.input(Input::ShutDown);
        assert_eq!(before.response_to_a().status, 491);
        let ack = before.request_to_b("ACK");
        assert_eq!(ack.headers.cseq().number, reinvite.headers.cseq().number);
        assert_eq!(ack.body.is_empty(), !offers_late);
        let mut after = before.goes_on_as(Bench::for_trader());
        assert_eq!(after.recorded(), Some(Recorded::Strict), "{offers_late}");
        after.wait(Duration::from_secs(14));
        assert!(!after.request_to_b("INVITE").body.is_empty(), "it is told what holds");
    }
}

#[test]
fn what_is_not_under_way_costs_nothing_where_a_call_is_written_down() {
    let before = Bench::strict().connected();
    let state = before.remembered.values().next().unwrap();
    let text = String::from_utf8(state.to_vec()).unwrap();
    for field in ["terms", "unacknowledged", "asked", "offer"] {
        assert!(!text.contains(&format!("\"{field}\":")), "{field}: {text}");
    }
}

#[test]
fn who_was_told_of_a_new_far_end_when_the_process_ended_is_told_its_old_one_again() {
    for end in ENDS {
        let mut before = strict();
        let [mut alice, bob] = before.talk(ALICE, BOB, "call-1", "");
        refers(&mut before, &mut alice, "");
        before.answers(ALICE, "NOTIFY", 200, "");
        before.answers(DAVE, "INVITE", 200, SDP);
        let asked = before.request_to_b("INVITE");
        assert_eq!(asked.headers.call_id(), bob.call_id);
        if end == End::HandedOver {
            before.input(Input::HandOver);
            before.input(Input::ShutDown);
        }
        assert!(requests_to_b(&before, &Method::Bye).is_empty(), "{:?}", before.story);
        let mut after = before.goes_on_as(strict());
        after.to_b.clear();
        after.from(B, answer(&asked, 200, "none", B, &audio_at(4_400)));
        assert_eq!(
            after.request_to_b("ACK").headers.cseq().number,
            asked.headers.cseq().number
        );
        let told = after.request_to_b("INVITE");
        assert!(version(&told) > version(&asked), "{end:?}");
        after.answers(BOB, "INVITE", 200, SDP);
        after.hangs_up(alice, BOB);
        after.assert_nothing_left();
    }
}

#[test]
fn whose_session_ends_soon_is_asked_at_once_by_the_next_process() {
    for (gone, asked) in [(2, 0), (1_770, 2)] {
        let before = Bench::strict().connected();
        let mut after = Bench::strict();
        after.now = before.now + Duration::from_secs(gone);
        for (session, state) in before.remembered.clone() {
            after.input(Input::Resume { session, state });
        }
        after.wait(Duration::from_secs(1));
        let invites = after.story.iter().filter(|rung| rung.starts_with("INVITE → "));
        assert_eq!(invites.count(), asked, "{:?}", after.story);
    }
}
