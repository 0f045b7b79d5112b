//! Conference foci (RFC 4579): their `isfocus` crosses, what is asked of them is not executed, and the policies know a meeting
//! whenever it begins.

use onrecord::model::{Fault, RecordingCommand, RecordingEvent};
use onrecord::sip::Response;

use super::bench::{A, B, Bench, GRANTS, LENIENT, SDP, STRICT};

/// B answers the newest request of that method as a focus.
fn answers_as_focus(bench: &mut Bench, method: &str) {
    let mut response = Response::to(&bench.request_to_b(method), 200, None, Some("b-tag"));
    response.headers.push("Contact", format!("<sip:room@{B}>;isfocus"));
    response.headers.set("Content-Type", "application/sdp");
    response.body = SDP.into();
    bench.from(B, response.encode());
}

/// B's re-INVITE as a focus.
fn becomes_focus(bench: &mut Bench, cseq: u32) {
    let before = bench.request_to_b("INVITE");
    let reinvite = format!(
        "INVITE sip:127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKre{cseq};rport\r\nMax-Forwards: 70\r\nFrom: {};tag=b-tag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} INVITE\r\nContact: <sip:bob@{B}>;isfocus\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        before.headers.get("To").unwrap(),
        before.headers.get("From").unwrap(),
        before.headers.call_id(),
        SDP.len()
    );
    bench.from(B, reinvite.into());
}

fn contact_to_a(bench: &Bench) -> String {
    bench.response_to_a().headers.get("Contact").unwrap().to_owned()
}

/// Calls may be unrecorded, meetings not.
fn strict_meetings() -> Bench {
    let policy = format!("{LENIENT}required_before_meeting_join = true\nrequired_during_meeting = true\n");
    Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)])
}

#[test]
fn a_focus_is_known_as_one_and_what_it_is_asked_by_refer_reaches_it() {
    let mut bench = Bench::executing(&[]);
    bench.invite(SDP, "");
    answers_as_focus(&mut bench, "INVITE");
    assert!(contact_to_a(&bench).ends_with(">;isfocus"), "{}", contact_to_a(&bench));
    bench.a_requests(1, "ACK", "ack1", "");
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    let refer_to = "Refer-To: <sip:carol@127.0.0.1:5070>\r\n";
    bench.a_requests_in(&tag, 2, "REFER", refer_to, "");
    assert!(bench.request_to_b("REFER").headers.contains("Refer-To"));
    bench.b_agrees("REFER", 202, "");
    assert_eq!(bench.response_to_a().status, 202);
    assert_eq!(bench.signaling.calls(), 1, "nobody is transferred");
    // What the focus itself asks is executed as ever.
    bench.fork_requests("b-tag", 9, "REFER", refer_to, "");
    assert_eq!(bench.response_to_b().status, 202);
    assert_eq!(bench.signaling.calls(), 2);
}

#[test]
fn a_caller_that_is_a_focus_is_known_as_one_to_the_callee() {
    let mut bench = Bench::unrecorded();
    let plain = super::bench::invite(1, "a1", "", SDP, "");
    let text = String::from_utf8(plain.to_vec()).unwrap();
    bench.from(
        A,
        text.replace(&format!("<sip:alice@{A}>\r\n"), &format!("<sip:alice@{A}>;isfocus\r\n"))
            .into(),
    );
    let contact = |bench: &Bench, method: &str| bench.request_to_b(method).headers.get("Contact").unwrap().to_owned();
    assert!(contact(&bench, "INVITE").ends_with(">;isfocus"));
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert!(!contact_to_a(&bench).contains("isfocus"));
    // A has left its conference.
    bench.a_requests(2, "UPDATE", "u2", "");
    assert!(!contact(&bench, "UPDATE").contains("isfocus"));
}

#[test]
fn a_call_that_becomes_a_meeting_is_as_strict_as_meetings_are() {
    let mut bench = strict_meetings().connected();
    becomes_focus(&mut bench, 101);
    let contact = bench.request_to_a("INVITE").headers.get("Contact").unwrap().to_owned();
    assert!(contact.ends_with(">;isfocus"), "{contact}");
    bench.a_answers("INVITE", 200, SDP);
    bench.recorder_fails(Fault::Io);
    assert!(bench.story.contains(&"BYE → A".to_owned()), "{:?}", bench.story);
    assert!(bench.story.contains(&"gated".to_owned()), "{:?}", bench.story);
    let mut bench = strict_meetings().connected();
    bench.recorder_fails(Fault::Io);
    assert!(
        bench.story.iter().all(|rung| !rung.contains("BYE")),
        "{:?}",
        bench.story
    );
}

#[test]
fn who_makes_a_meeting_of_a_call_takes_nothing_of_its_strictness_away() {
    let policy = format!("{STRICT}required_before_meeting_join = false\nrequired_during_meeting = false\n");
    let mut bench = Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)]).connected();
    becomes_focus(&mut bench, 101);
    bench.a_answers("INVITE", 200, SDP);
    bench.recorder_fails(Fault::Io);
    assert!(bench.story.contains(&"gated".to_owned()), "{:?}", bench.story);
    assert!(bench.story.contains(&"BYE → A".to_owned()), "{:?}", bench.story);
}

#[test]
fn a_meeting_that_cannot_be_recorded_is_not_made_of_a_call() {
    let mut bench = strict_meetings().connected();
    bench.recorder_fails(Fault::Io);
    bench.story.clear();
    becomes_focus(&mut bench, 101);
    assert_eq!(bench.response_to_b().status, 488);
    assert_eq!(bench.signaling.calls(), 1, "the call goes on as it was");
    assert!(
        bench.story.iter().all(|rung| !rung.contains("→ A")),
        "{:?}",
        bench.story
    );
    // Who answers as a focus has become one already.
    bench.a_requests(2, "INVITE", "re2", SDP);
    answers_as_focus(&mut bench, "INVITE");
    assert_eq!(bench.response_to_a().status, 488);
    let said: Vec<_> = bench
        .story
        .iter()
        .filter(|rung| rung.contains("BYE"))
        .cloned()
        .collect();
    assert_eq!(said, ["BYE → A", "BYE → B"]);
}

#[test]
fn a_meeting_whose_recording_can_be_had_yet_waits_for_it() {
    let mut bench = strict_meetings();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    let session = bench.session();
    bench.input(onrecord::engine::Input::Recording(RecordingEvent::OpenFailed {
        session,
        fault: Fault::DiskFull,
    }));
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.story.clear();
    becomes_focus(&mut bench, 101);
    let opened = |bench: &Bench| {
        let opens = |command: &&RecordingCommand| matches!(command, RecordingCommand::Open(_));
        bench.recording.iter().filter(opens).count()
    };
    assert_eq!(opened(&bench), 2);
    assert!(bench.story.contains(&"gated".to_owned()), "{:?}", bench.story);
    bench.input(onrecord::engine::Input::Recording(RecordingEvent::Ready { session }));
    bench.recorder_answers = true;
    bench.a_answers("INVITE", 200, SDP);
    bench.recorder_fails(Fault::Io);
    assert!(bench.story.contains(&"BYE → A".to_owned()), "{:?}", bench.story);
}
