//! Strictness that comes late: with another party, with a restart, with the answer of a meeting.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, Gate, Outcome, Recorded, RecordingCommand, RecordingEvent};
use onrecord::sip::Response;

use super::bench::{ALL_STRICT, B, Bench, C, GRANTS, LENIENT, SDP, STRICT};
use super::redirected::follows;

const DURING: &str = "[policy]\nid = \"desk\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\nrequired_before_call_establishment = false\n";

/// Bob's calls are recorded if that is possible, Carol's must be.
fn bob_leniently_carol_strictly() -> Bench {
    let loose = LENIENT.replace("\"desk\"", "\"loose\"");
    let grants = "[[grant]]\npolicy = \"loose\"\nto = [\"user:sip:bob@127.0.0.1\"]\n[[grant]]\npolicy = \"desk\"\nto = [\"user:sip:carol@127.0.0.1\"]\n";
    let files = [("loose.toml", &*loose), ("desk.toml", STRICT), ("grants.toml", grants)];
    Bench::with_branch(&files, follows(), follows())
}

fn tell(bench: &mut Bench, event: RecordingEvent) {
    bench.input(Input::Recording(event));
}

fn open_fails(bench: &mut Bench, fault: Fault) {
    let session = bench.newest_session();
    tell(bench, RecordingEvent::OpenFailed { session, fault });
}

#[test]
fn a_recording_that_could_not_be_opened_for_bob_is_asked_for_again_before_carol_is_called() {
    let mut bench = bob_leniently_carol_strictly();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    open_fails(&mut bench, Fault::Reserve);
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert_eq!(bench.sessions().len(), 2);
    assert!(bench.to_c.is_empty(), "carol is not called before it is ready");
    bench.recorder_answers = true;
    let session = bench.newest_session();
    tell(&mut bench, RecordingEvent::Ready { session });
    bench.c_answers("INVITE", 200, SDP);
    assert_eq!(bench.recorded(), Some(Recorded::Strict));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.c_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn carol_is_not_called_when_it_cannot_be_opened_the_second_time_either() {
    let mut bench = bob_leniently_carol_strictly();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    open_fails(&mut bench, Fault::Reserve);
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    open_fails(&mut bench, Fault::Reserve);
    assert!(bench.to_c.is_empty());
    assert_eq!(bench.response_to_a().status, 503);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn carol_is_not_called_into_a_recording_that_broke() {
    let mut bench = bob_leniently_carol_strictly();
    bench.invite(SDP, "");
    let session = bench.session();
    let fault = Fault::Io;
    tell(&mut bench, RecordingEvent::Faulted { session, fault });
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert!(bench.to_c.is_empty());
    assert_eq!(bench.response_to_a().status, 603);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_call_that_binds_only_while_it_lasts_ends_when_the_restart_cannot_open_its_recording() {
    let files = [("desk.toml", DURING), ("grants.toml", GRANTS)];
    let before = Bench::with(&files).connected();
    let mut after = Bench::with(&files);
    after.recorder_answers = false;
    let mut bench = before.goes_on_as(after);
    open_fails(&mut bench, Fault::DiskFull);
    for bye in [bench.request_to_a("BYE"), bench.request_to_b("BYE")] {
        assert!(
            bye.headers
                .get("Reason")
                .is_some_and(|reason| reason.contains("Recording lost"))
        );
    }
    assert!(bench.media.is_empty(), "no packet goes unrecorded: {:?}", bench.media);
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_lenient_call_goes_on_when_the_restart_cannot_open_its_recording() {
    let before = Bench::lenient().connected();
    let mut after = Bench::lenient();
    after.recorder_answers = false;
    let mut bench = before.goes_on_as(after);
    open_fails(&mut bench, Fault::DiskFull);
    assert!(!bench.story.contains(&"BYE → A".to_owned()), "{:?}", bench.story);
    assert_eq!(bench.recorded(), Some(Recorded::No));
}

#[test]
fn who_answers_as_a_meeting_is_not_joined_unrecorded() {
    for (join, status) in [("true", 603), ("false", 200)] {
        let policy = format!("{LENIENT}required_before_meeting_join = {join}\nrequired_during_meeting = false\n");
        let mut bench = Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)]);
        bench.recorder_answers = false;
        bench.invite(SDP, "");
        open_fails(&mut bench, Fault::Io);
        let mut response = Response::to(&bench.request_to_b("INVITE"), 200, None, Some("b-tag"));
        response.headers.push("Contact", "<sip:room@127.0.0.1:5090>;isfocus");
        response.headers.set("Content-Type", "application/sdp");
        response.body = SDP.into();
        bench.from(B, response.encode());
        assert_eq!(bench.response_to_a().status, status);
        let ended = bench.story.ends_with(&["ACK → B".to_owned(), "BYE → B".to_owned()]);
        assert_eq!(ended, status == 603, "{:?}", bench.story);
    }
}

#[test]
fn a_302_does_not_open_a_trunk_that_no_route_of_the_caller_leads_to() {
    let mut bench = Bench::with_closed_branch(&ALL_STRICT, follows());
    bench.invite(SDP, "");
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert!(bench.to_c.is_empty());
    assert_eq!(
        bench.request_to_b("INVITE").uri.to_string(),
        format!("sip:carol@{C}"),
        "it goes where the routes say"
    );
}

/// A talks to Bob, whom nobody records; Bob's PBX connects Carol, who is under this policy.
fn carol_comes(policy: &str, prepare: impl FnOnce(&mut Bench)) -> Bench {
    let grants = "[[grant]]\npolicy = \"desk\"\nto = [\"user:sip:carol@example.com\"]\n";
    let mut bench = Bench::with(&[("desk.toml", policy), ("grants.toml", grants)]);
    let knows = "Supported: from-change\r\n";
    bench.invite(SDP, knows);
    bench.fork_answers("b-tag", 200, knows, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert!(bench.sessions().is_empty(), "nobody records bob");
    bench.media.clear();
    bench.story.clear();
    prepare(&mut bench);
    let invite = bench.request_to_b("INVITE");
    let text = format!(
        "UPDATE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKcarol\r\nMax-Forwards: 70\r\nFrom: <sip:carol@example.com>;tag=b-tag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 9 UPDATE\r\nContact: <sip:carol@{B}>\r\nContent-Length: 0\r\n\r\n",
        invite.headers.get("From").unwrap(),
        invite.headers.call_id()
    );
    bench.from(B, text.into());
    bench
}

fn says(bench: &Bench, rung: &str) -> bool {
    bench.story.iter().any(|told| told == rung)
}

#[test]
fn carol_is_connected_once_her_recording_is_open_and_nothing_is_heard_before() {
    let mut bench = carol_comes(STRICT, |bench| bench.recorder_answers = false);
    assert!(!says(&bench, "UPDATE → A"), "{:?}", bench.story);
    assert_eq!(bench.gates(), [Gate::Shut]);
    let session = bench.newest_session();
    bench.recorder_answers = true;
    tell(&mut bench, RecordingEvent::Ready { session });
    assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
    assert_eq!(bench.recorded(), Some(Recorded::Strict));
    assert!(says(&bench, "UPDATE → A"));
    bench.a_answers("UPDATE", 200, "");
    assert_eq!(bench.response_to_b().status, 200);
    bench.recorder_fails(Fault::Io);
    assert!(says(&bench, "BYE → A") && says(&bench, "BYE → B"), "{:?}", bench.story);
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn carol_is_refused_while_the_recorder_is_down_and_the_call_stays() {
    for policy in [STRICT, DURING] {
        let bench = carol_comes(policy, |bench| bench.recorder_fails(Fault::Io));
        assert_eq!(bench.response_to_b().status, 488);
        assert!(
            !says(&bench, "UPDATE → A") && !says(&bench, "BYE → A"),
            "{:?}",
            bench.story
        );
    }
    let bench = carol_comes(LENIENT, |bench| bench.recorder_fails(Fault::Io));
    assert!(says(&bench, "UPDATE → A"), "{:?}", bench.story);
}

#[test]
fn when_carols_recording_cannot_be_opened_or_stalls_she_is_refused_and_the_call_stays() {
    let before = format!("{STRICT}required_during_call = false\n");
    for (policy, gated) in [(STRICT, true), (DURING, false), (&*before, true)] {
        for stalls in [false, true] {
            let mut bench = carol_comes(policy, |bench| bench.recorder_answers = false);
            if stalls {
                bench.wait(Duration::from_millis(2_050));
            } else {
                open_fails(&mut bench, Fault::Io);
            }
            let refused = bench.response_to_b();
            assert_eq!((refused.status, refused.headers.get("Retry-After")), (488, None));
            let warning = refused.headers.get("Warning").unwrap();
            assert!(warning.contains("Recording required by policy desk"), "{warning}");
            let expected: &[Gate] = if gated { &[Gate::Shut, Gate::Open] } else { &[] };
            assert_eq!(bench.gates(), expected);
            assert!(
                !says(&bench, "UPDATE → A") && !says(&bench, "BYE → A"),
                "{:?}",
                bench.story
            );
            assert_ne!(bench.recorded(), Some(Recorded::Strict));
            if stalls {
                // The recorder has it open at last: it is closed with the call, and nothing is in it.
                let session = bench.newest_session();
                tell(&mut bench, RecordingEvent::Ready { session });
            }
            bench.recorder_fails(Fault::Io);
            assert!(!says(&bench, "BYE → A"), "nobody has to be recorded: {:?}", bench.story);
            bench.a_requests(2, "BYE", "bye", "");
            bench.b_agrees("BYE", 200, "");
            let closed = bench.recording.iter().rev().find_map(|command| match command {
                RecordingCommand::Keep { header, closing, .. } => Some((&**header, closing)),
                RecordingCommand::Close { closing, .. } => Some((closing.became.as_deref().unwrap(), closing)),
                _ => None,
            });
            let (header, closing) = closed.unwrap();
            assert!(stalls || closing.outcome == Outcome::Exempt, "{:?}", closing.outcome);
            assert_eq!(header.callee.identity, "sip:bob@127.0.0.1", "carol was not connected");
            let decided: Vec<_> = closing.decisions.iter().map(|decided| decided.policies.len()).collect();
            assert_eq!(decided, [0, 1, 0], "and that she was to be recorded is told");
            bench.assert_nothing_left();
        }
    }
}

#[test]
fn a_party_that_a_policy_forbids_is_not_connected_and_the_call_stays() {
    let forbid = "[policy]\nid = \"desk\"\nenabled = true\naction = \"block\"\n";
    let bench = carol_comes(forbid, |_| {});
    assert_eq!(bench.response_to_b().status, 403);
    assert!(
        !says(&bench, "UPDATE → A") && !says(&bench, "BYE → A"),
        "{:?}",
        bench.story
    );
}
