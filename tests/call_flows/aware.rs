//! Parties that read what descriptions say of the recording are told by them, and say what they would like (RFC 7866).

mod wishes;

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, Indication, Leg, Mark, MediaCommand, MediaEvent, RecordingCommand, RecordingEvent};
use onrecord::sip::{Message, Request};
use onrecord::trunk::{Conduct, Failover};

use super::bench::{A, B, Bench, GRANTS, LENIENT, SDP, STRICT, answer, invite, with_lines};

const AWARE: &str = "Supported: timer, record-aware\r\n";

/// What the only line of a description says of the recording, and the version of its session.
pub fn said(body: &[u8]) -> (Option<&str>, &str) {
    let text = std::str::from_utf8(body).unwrap();
    let mut said = text.lines().filter_map(|line| line.strip_prefix("a=record:"));
    let origin = text.lines().find_map(|line| line.strip_prefix("o=")).unwrap();
    let first = said.next();
    assert_eq!(said.next(), None, "{text}");
    (first, origin.split(' ').nth(2).unwrap())
}

/// Each once.
pub fn invites(messages: &[Message]) -> Vec<Request> {
    let invite = |message: &Message| match message {
        Message::Request(request) if request.method.as_str() == "INVITE" => Some(request.clone()),
        _ => None,
    };
    let mut invites: Vec<Request> = messages.iter().filter_map(invite).collect();
    invites.dedup_by_key(|invite| invite.headers.cseq().number);
    invites
}

/// By this policy; which of A, B reads what it is told of the recording. B answered, A has acknowledged.
pub fn call(policy: &str, aware: [bool; 2]) -> Bench {
    call_of(Bench::with(&[("desk.toml", policy), ("grants.toml", GRANTS)]), aware)
}

fn call_of(mut bench: Bench, aware: [bool; 2]) -> Bench {
    let [a, b] = aware.map(|aware| if aware { AWARE } else { "" });
    bench.invite(SDP, a);
    let ok = answer(&bench.request_to_b("INVITE"), 200, "b-tag", B, SDP);
    bench.from(B, with_lines(&ok, b));
    bench.a_requests(1, "ACK", "ack1", "");
    bench
}

fn pausable() -> String {
    format!("{STRICT}[policy.pause]\nallowed = true\nfrom = \"both\"\n")
}

/// The relay does what it was told of pausing.
pub fn obey(bench: &mut Bench) {
    let told = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Pausing { pausing, .. } => Some(*pausing),
        _ => None,
    });
    let (session, at) = (bench.session(), bench.now);
    bench.media.clear();
    match told {
        Some(told) if told.is_paused => bench.input(Input::Media(MediaEvent::Paused { session, at })),
        Some(_) => bench.input(Input::Media(MediaEvent::Unpaused { session, at })),
        None => {}
    }
}

fn pause(bench: &mut Bench) {
    let session = bench.session();
    bench.input(Input::PauseRecording { session, why: None });
    obey(bench);
}

pub fn marks(bench: &Bench) -> Vec<Mark> {
    let mark = |command: &RecordingCommand| match command {
        RecordingCommand::Mark { mark, .. } => Some(mark.clone()),
        _ => None,
    };
    let of_this = |mark: &Mark| {
        matches!(
            mark,
            Mark::Indicated { .. } | Mark::Preferred { .. } | Mark::Unnoticed { .. }
        )
    };
    bench.recording.iter().filter_map(mark).filter(of_this).collect()
}

pub const fn told(leg: Leg, recording: Indication) -> Mark {
    let paused = Vec::new();
    Mark::Indicated { leg, recording, paused }
}

#[test]
fn a_caller_is_told_in_the_answer_and_a_callee_as_soon_as_it_has_said_that_it_reads_that() {
    let mut bench = call(STRICT, [true, true]);
    let first = invites(&bench.to_b)[0].clone();
    assert_eq!(said(&first.body), (None, "1"), "nobody knows yet whether it does");
    assert!(
        first
            .headers
            .get("Supported")
            .is_some_and(|options| options.contains("record-aware"))
    );
    assert_eq!(said(&bench.response_to_a().body).0, Some("on"));
    assert_eq!(invites(&bench.to_b).len(), 2);
    assert_eq!(said(&bench.request_to_b("INVITE").body), (Some("on"), "2"));
    bench.b_agrees("INVITE", 200, SDP);
    assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 2);
    assert!(invites(&bench.to_a).is_empty(), "A knows");
    assert_eq!(
        marks(&bench),
        [told(Leg::A, Indication::On), told(Leg::B, Indication::On)]
    );

    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn who_does_not_read_it_gets_descriptions_as_ever() {
    let mut bench = call(&pausable(), [false, false]);
    assert!(!String::from_utf8_lossy(&bench.response_to_a().body).contains("record"));
    pause(&mut bench);
    assert_eq!((invites(&bench.to_a).len(), invites(&bench.to_b).len()), (0, 1));
    assert!(marks(&bench).is_empty());
}

#[test]
fn a_pause_is_told_when_nothing_is_kept_any_more_and_its_end_at_once() {
    let mut bench = call(&pausable(), [true, false]);
    let session = bench.session();
    bench.input(Input::PauseRecording { session, why: None });
    assert!(invites(&bench.to_a).is_empty(), "the relay may still keep something");
    obey(&mut bench);
    assert_eq!(said(&bench.request_to_a("INVITE").body), (Some("paused"), "2"));
    bench.a_answers("INVITE", 200, SDP);
    bench.input(Input::ResumeRecording { session });
    assert_eq!(said(&bench.request_to_a("INVITE").body), (Some("on"), "3"));
    bench.a_answers("INVITE", 200, SDP);
    assert_eq!(invites(&bench.to_b).len(), 1);
    let wanted = [Indication::On, Indication::Paused, Indication::On];
    assert_eq!(marks(&bench), wanted.map(|recording| told(Leg::A, recording)));
}

#[test]
fn what_crosses_in_between_tells_it_too_and_is_another_version() {
    let mut bench = call(&pausable(), [true, false]);
    bench.a_requests(2, "INVITE", "hold", &SDP.replace("sendrecv", "sendonly"));
    pause(&mut bench);
    bench.b_agrees("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
    assert_eq!(said(&bench.response_to_a().body), (Some("paused"), "2"));
    bench.a_requests(2, "ACK", "ack2", "");
    assert!(invites(&bench.to_a).is_empty(), "it knows");
}

#[test]
fn a_gap_that_lasts_is_told_as_no_recording_and_a_short_one_to_nobody() {
    let mut bench = call(LENIENT, [true, false]);
    bench.wait(Duration::from_secs(10));
    bench.recorder_lives = false;
    bench.recorder_fails(Fault::DiskFull);
    bench.wait(Duration::from_millis(900));
    assert!(invites(&bench.to_a).is_empty());
    bench.wait(Duration::from_millis(2_200));
    assert_eq!(said(&bench.request_to_a("INVITE").body).0, Some("off"));
    bench.a_answers("INVITE", 200, SDP);
    bench.recorder_lives = true;
    bench.input(Input::Recording(RecordingEvent::Up));
    bench.wait(Duration::from_millis(3_100));
    assert_eq!(said(&bench.request_to_a("INVITE").body).0, Some("on"));
    bench.a_answers("INVITE", 200, SDP);

    let asked = invites(&bench.to_a).len();
    bench.recorder_fails(Fault::DiskFull);
    bench.wait(Duration::from_millis(500));
    bench.input(Input::Recording(RecordingEvent::Up));
    bench.wait(Duration::from_secs(10));
    assert_eq!(invites(&bench.to_a).len(), asked);
}

#[test]
fn both_are_told_one_after_the_other() {
    let mut bench = call(&pausable(), [true, true]);
    bench.b_agrees("INVITE", 200, SDP);
    pause(&mut bench);
    assert_eq!((invites(&bench.to_a).len(), invites(&bench.to_b).len()), (1, 2));
    bench.a_answers("INVITE", 200, SDP);
    assert_eq!(said(&bench.request_to_b("INVITE").body).0, Some("paused"));
}

#[test]
fn a_call_that_nobody_records_says_so_to_who_asks_and_disturbs_nobody() {
    let bench = call_of(Bench::unrecorded(), [true, true]);
    assert_eq!(said(&bench.response_to_a().body).0, Some("off"));
    assert_eq!(invites(&bench.to_b).len(), 1);
}

#[test]
fn that_another_recorder_records_is_told_though_we_do_not() {
    let mut bench = Bench::unrecorded();
    bench.invite(SDP, AWARE);
    bench.b_answers("INVITE", 200, &format!("{SDP}a=record:on\r\n"));
    assert_eq!(said(&bench.response_to_a().body).0, Some("on"));
}

#[test]
fn who_refuses_to_hear_is_told_again_a_few_times_and_keeps_its_call() {
    let mut bench = call(&pausable(), [true, false]);
    pause(&mut bench);
    let mut refused = 0;
    for _ in 0..20 {
        let asked = invites(&bench.to_a).len();
        if asked > refused {
            assert_eq!(asked, refused + 1, "one at a time");
            bench.a_answers("INVITE", 491, "");
            refused = asked;
        }
        bench.wait(Duration::from_secs(5));
    }
    // Five of them, and those by which the session that they did not refresh is saved.
    assert!((5..=13).contains(&refused), "{refused}");
    assert_eq!(marks(&bench), [told(Leg::A, Indication::On)], "it never accepted");
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn a_policy_of_telling_by_sdp_says_it_in_the_first_invite_and_marks_who_does_not_read_it() {
    let policy = "[policy]\nid = \"desk\"\nenabled = true\nnotify = { mode = \"sdp\" }\n[[policy.recorder]]\nid = \"embedded\"\n";
    let bench = call(policy, [true, false]);
    assert_eq!(said(&invites(&bench.to_b)[0].body), (Some("on"), "1"));
    assert_eq!(invites(&bench.to_b).len(), 1);
    assert_eq!(
        marks(&bench),
        [Mark::Unnoticed { leg: Leg::B }, told(Leg::A, Indication::On)]
    );

    let bench = call(policy, [true, true]);
    assert_eq!(invites(&bench.to_b).len(), 1, "it knows from the first");

    let refuses = policy.replace("\"sdp\"", "\"sdp\", untold = \"refuse\"");
    let mut bench = call(&refuses, [true, false]);
    assert_eq!(bench.response_to_a().status, 488);
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
    assert_eq!(call(&refuses, [true, true]).response_to_a().status, 200);
}

pub fn wish(preference: &str) -> String {
    format!("{SDP}a=recordpref:{preference}\r\n")
}

#[test]
fn who_reads_it_sees_in_our_contact_that_a_recorder_is_on_the_way() {
    let contact = |bench: &Bench| {
        let [to_a, to_b] = [&bench.to_a, &bench.to_b].map(|sent| {
            let contacts = sent.iter().filter_map(|message| match message {
                Message::Request(request) => request.headers.get("Contact"),
                Message::Response(response) => response.headers.get("Contact"),
            });
            contacts.last().is_some_and(|contact| contact.ends_with(">;+sip.src"))
        });
        (to_a, to_b)
    };
    assert_eq!(contact(&call(STRICT, [true, true])), (true, true));
    assert_eq!(contact(&call(STRICT, [false, true])), (false, true));
    let nobody = call_of(Bench::unrecorded(), [true, true]);
    assert_eq!(contact(&nobody), (false, false));
}

#[test]
fn help_is_never_asked_to_listen_to_what_the_recording_does() {
    let mut bench = Bench::lenient();
    let text = String::from_utf8(invite(1, "a1", "", SDP, AWARE).to_vec()).unwrap();
    let first = text.lines().next().unwrap().to_owned();
    bench.from(A, text.replace(&first, "INVITE urn:service:sos SIP/2.0").into());
    let ok = answer(&bench.request_to_b("INVITE"), 200, "b-tag", B, SDP);
    bench.from(B, with_lines(&ok, AWARE));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.recorder_fails(Fault::DiskFull);
    assert_eq!((invites(&bench.to_a).len(), invites(&bench.to_b).len()), (0, 1));
}

fn restarted(before: &Bench) -> Bench {
    before.goes_on_as(Bench::with(&[("desk.toml", &pausable()), ("grants.toml", GRANTS)]))
}

#[test]
fn after_a_restart_they_are_told_on_and_nobody_is_told_twice() {
    let mut bench = restarted(&call(&pausable(), [true, false]));
    assert!(invites(&bench.to_a).is_empty());
    pause(&mut bench);
    assert_eq!(said(&bench.request_to_a("INVITE").body), (Some("paused"), "2"));
}

#[test]
fn who_knows_of_a_pause_is_told_nothing_of_it_after_a_restart() {
    let mut before = call(&pausable(), [true, false]);
    pause(&mut before);
    before.a_answers("INVITE", 200, SDP);
    let mut bench = restarted(&before);
    let asked = invites(&before.to_a).len();
    assert_eq!(invites(&bench.to_a).len(), asked);
    obey(&mut bench);
    assert_eq!(invites(&bench.to_a).len(), asked);
    assert_eq!(marks(&bench), [told(Leg::A, Indication::Paused)]);
}

#[test]
fn a_recording_that_is_opened_again_and_again_without_success_is_told_as_none() {
    let mut bench = Bench::with(&[("desk.toml", LENIENT), ("grants.toml", GRANTS)]);
    bench.recorder_answers = false;
    let mut bench = call_of(bench, [true, false]);
    let session = bench.session();
    for _ in 0..6 {
        let fault = Fault::Io;
        bench.input(Input::Recording(RecordingEvent::OpenFailed { session, fault }));
        bench.wait(Duration::from_millis(300));
        bench.input(Input::Recording(RecordingEvent::Up));
        bench.wait(Duration::from_millis(900));
    }
    assert_eq!(said(&bench.request_to_a("INVITE").body).0, Some("off"));
}

#[test]
fn who_is_called_next_is_not_taken_for_who_was_called_before() {
    let conduct = Conduct {
        failover: Failover::after([503]),
        ..Conduct::default()
    };
    let mut bench = Bench::with_spare(&[("desk.toml", &pausable()), ("grants.toml", GRANTS)], conduct);
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 180, AWARE, "");
    bench.fork_answers("b-tag", 503, "", "");
    assert_eq!(said(&bench.request_to_c("INVITE").body).0, None);
    bench.c_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(invites(&bench.to_c).len(), 1);
}

#[test]
fn of_several_phones_that_ring_the_one_that_answers_says_whether_it_reads_that() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.fork_answers("b1", 180, AWARE, "");
    bench.fork_answers("b2", 200, "", SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(invites(&bench.to_b).len(), 1);
}
