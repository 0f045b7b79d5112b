//! The caller is told that it will be recorded before anybody is asked to answer.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, Leg, MediaEvent, MediaPlan, Notice, NoticeKind};
use onrecord::sip::{Message, Response};
use onrecord::trunk::{SdesOver, Srtp};

use super::announced::{bench, by, marks, notices, told};
use super::bench::{A, B, Bench, SDP, invite};
use super::routed::configure;
use super::sdes::{KEY, keyed, line, with};

const BEFORE: &str = "mode = \"prompt\", when = \"before_connect\"";

/// The relay has played the prompt to the end.
pub fn played(bench: &mut Bench, leg: Leg) {
    let session = bench.session();
    let notice = Notice {
        leg,
        line: 0,
        kind: NoticeKind::Prompt,
        name: "prompt".to_owned(),
        from: bench.now,
        until: bench.now + Duration::from_millis(20),
        packets: 1,
        whole: true,
    };
    let notice = Box::new(notice);
    bench.input(Input::Media(MediaEvent::Noticed { session, notice }));
}

pub fn is_b_asked(bench: &Bench) -> bool {
    !bench.to_b.is_empty()
}

fn plan(bench: &Bench) -> MediaPlan {
    super::sdes::plan(bench)
}

fn tag(response: &Response) -> String {
    response.headers.to().tag().unwrap().to_owned()
}

#[test]
fn the_caller_hears_the_prompt_first_and_who_answers_does_so_in_a_dialog_of_its_own() {
    let mut bench = bench(BEFORE);
    bench.invite(SDP, "");
    let early = bench.response_to_a();
    assert_eq!((early.status, is_b_asked(&bench)), (183, false));
    let text = String::from_utf8(early.body.to_vec()).unwrap();
    assert!(text.contains("o=- 1 1 IN IP4 127.0.0.1\r\n"), "{text}");
    assert!(text.contains("m=audio 40000 RTP/AVP 8\r\n"), "{text}");
    assert!(early.headers.get("Contact").is_some());
    let [notice] = notices(&bench)[..] else { panic!("one") };
    assert_eq!(told(notice), [by("prompt", ""), None]);
    assert_eq!(notice.line.a.formats, notice.line.b.formats);
    assert_eq!(plan(&bench).lines[0].b.remote, None, "nothing goes to nobody");
    assert!(plan(&bench).lines[0].a.remote.is_some());

    played(&mut bench, Leg::A);
    assert!(
        bench
            .request_to_b("INVITE")
            .body
            .starts_with(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1")
    );
    assert!(plan(&bench).lines[0].b.formats.is_empty(), "B has said nothing");
    bench.b_answers("INVITE", 200, SDP);
    assert_ne!(tag(&bench.response_to_a()), tag(&early));
    bench.a_requests(1, "ACK", "ack1", "");
    let [_, notice] = notices(&bench)[..] else {
        panic!("two")
    };
    assert_eq!(told(notice), [None, by("prompt", "")], "A was told, B is when it talks");
    assert!(notice.parted);
    assert!(matches!(marks(&bench)[..], [onrecord::model::Mark::Noticed(_)]));
    assert_eq!(
        plan(&bench).lines[0].b.remote.unwrap().rtp.to_string(),
        "192.0.2.1:4000"
    );

    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_prompt_that_does_not_end_costs_no_call_and_is_told_after_the_answer() {
    let mut bench = bench(BEFORE);
    bench.invite(SDP, "");
    bench.wait(Duration::from_millis(1_900));
    assert!(!is_b_asked(&bench));
    bench.wait(Duration::from_millis(200));
    assert!(is_b_asked(&bench));
    let cut = notices(&bench).pop().unwrap();
    assert_eq!(told(cut), [by("", ""), None], "it is not heard into the call");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let last = notices(&bench).pop().unwrap();
    assert_eq!(told(last), [by("prompt", ""), by("prompt", "")]);
}

#[test]
fn who_gives_up_while_it_is_told_has_called_nobody() {
    let mut bench = bench(BEFORE);
    bench.invite(SDP, "");
    let cancel = String::from_utf8(invite(1, "a1", "", "", "").to_vec()).unwrap();
    bench.from(A, cancel.replace("INVITE", "CANCEL").into());
    let statuses: Vec<u16> = bench.to_a.iter().filter_map(status).collect();
    assert_eq!(statuses, [100, 183, 200, 487]);
    played(&mut bench, Leg::A);
    bench.a_requests(1, "ACK", "a1", "");
    assert!(!is_b_asked(&bench));
    bench.assert_nothing_left();
}

#[test]
fn who_hangs_up_by_bye_while_it_is_told_has_called_nobody() {
    let mut bench = bench(BEFORE);
    bench.invite(SDP, "");
    let early = tag(&bench.response_to_a());
    bench.a_requests_in(&early, 1, "INFO", "", "");
    bench.a_requests_in(&early, 2, "OPTIONS", "", "");
    bench.a_requests_in(&early, 3, "BYE", "", "");
    let statuses: Vec<u16> = bench.to_a.iter().filter_map(status).collect();
    assert_eq!(statuses, [100, 183, 500, 481, 200, 487]);
    bench.a_requests(1, "ACK", "a1", "");
    assert!(!is_b_asked(&bench));
    bench.assert_nothing_left();
}

#[test]
fn a_bye_in_the_dialog_of_the_prompt_ends_a_call_that_rings_only_while_it_is_the_only_one() {
    for (rings, is_over) in [(false, true), (true, false)] {
        let mut bench = bench(BEFORE);
        bench.invite(SDP, "");
        let early = tag(&bench.response_to_a());
        played(&mut bench, Leg::A);
        if rings {
            bench.b_answers("INVITE", 180, "");
        }
        bench.a_requests_in(&early, 2, "BYE", "", "");
        let statuses: Vec<u16> = bench.to_a.iter().filter_map(status).collect();
        assert_eq!((statuses.contains(&487), statuses.contains(&200)), (is_over, true));
        bench.a_requests_in(&early, 3, "BYE", "", "");
        assert_eq!(bench.response_to_a().status, 481);
    }
}

fn status(message: &Message) -> Option<u16> {
    match message {
        Message::Response(response) => Some(response.status),
        Message::Request(_) => None,
    }
}

#[test]
fn a_recorder_that_fails_while_the_caller_is_told_ends_a_strict_call() {
    let mut bench = bench(BEFORE);
    bench.invite(SDP, "");
    bench.recorder_fails(Fault::Io);
    assert_eq!(bench.response_to_a().status, 603);
    bench.a_requests(1, "ACK", "a1", "");
    assert!(!is_b_asked(&bench));
    bench.assert_nothing_left();
}

#[test]
fn a_caller_that_can_is_made_to_acknowledge_the_word_and_hears_it_again_until_it_does() {
    let progressed = |bench: &Bench| {
        let is_183 = |message: &&Message| matches!(message, Message::Response(response) if response.status == 183);
        bench.to_a.iter().filter(is_183).count()
    };
    for more in ["Supported: 100rel\r\n", "Require: 100rel\r\n"] {
        let mut bench = bench(BEFORE);
        bench.invite(SDP, more);
        let early = bench.response_to_a();
        assert_eq!((early.status, early.headers.get("Require")), (183, Some("100rel")));
        let rseq: u32 = early.headers.get("RSeq").unwrap().parse().unwrap();
        assert!(rseq > 0 && rseq < 1 << 31);
        bench.wait(Duration::from_millis(1_600));
        assert_eq!(progressed(&bench), 3, "after 500 ms, and 1 s later");
        let prack = |bench: &mut Bench, cseq: u32, rack: String| {
            bench.a_requests_in(&tag(&early), cseq, "PRACK", &format!("RAck: {rack}\r\n"), "");
            bench.response_to_a().status
        };
        let other = format!("{} 1 INVITE", rseq + 1);
        assert_eq!(prack(&mut bench, 2, other), 481, "not this one");
        assert_eq!(prack(&mut bench, 3, format!("{rseq} 1 INVITE")), 200);
        bench.wait(Duration::from_millis(300));
        assert_eq!((progressed(&bench), is_b_asked(&bench)), (3, false));
        played(&mut bench, Leg::A);
        assert!(is_b_asked(&bench));
        bench.b_answers("INVITE", 200, SDP);
        bench.a_requests(1, "ACK", "ack1", "");
        assert_eq!(bench.signaling.calls(), 1);
    }
    let mut silent = bench(BEFORE);
    silent.invite(SDP, "Supported: 100rel\r\n");
    played(&mut silent, Leg::A);
    silent.wait(Duration::from_secs(40));
    assert_eq!(
        (progressed(&silent), is_b_asked(&silent)),
        (1, true),
        "nobody hears it any more"
    );
}

#[test]
fn where_no_word_fits_the_callee_is_asked_at_once_and_both_are_told_after_the_answer() {
    let g729 = SDP.replace("AVP 8", "AVP 18");
    let held = SDP.replace("sendrecv", "sendonly");
    let shaken = format!("{SDP}a=fingerprint:sha-256 AB:CD\r\na=setup:actpass\r\n");
    for (sdp, more, why) in [
        ("", "", "nothing is offered"),
        (&g729, "", "no format that we speak"),
        (&held, "", "A does not listen"),
        (&shaken, "", "keys of the ends alone"),
    ] {
        let mut bench = bench(BEFORE);
        bench.invite(sdp, more);
        let statuses: Vec<u16> = bench.to_a.iter().filter_map(status).collect();
        let is_refused = statuses.last().is_some_and(|status| *status >= 400);
        assert!(
            !statuses.contains(&183) && (is_refused || is_b_asked(&bench)),
            "{why}: {statuses:?}"
        );
        assert!(notices(&bench).is_empty(), "{why}");
    }
    let mut bench = bench("mode = \"prompt\", when = \"before_connect\", to = \"callee\"");
    bench.invite(SDP, "");
    assert!(is_b_asked(&bench));
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(told(notices(&bench)[0]), [None, by("prompt", "")]);
}

#[test]
fn help_does_not_wait_for_a_word() {
    let mut bench = bench(BEFORE);
    let text = String::from_utf8(invite(1, "a1", "", SDP, "").to_vec()).unwrap();
    let first = text.lines().next().unwrap().to_owned();
    bench.from(A, text.replace(&first, "INVITE urn:service:sos SIP/2.0").into());
    assert!(is_b_asked(&bench));
}

#[test]
fn the_next_callee_is_asked_without_another_word() {
    let mut bench = bench(BEFORE);
    bench.invite(SDP, "");
    played(&mut bench, Leg::A);
    bench.b_answers("INVITE", 180, "");
    bench.b_answers("INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486);
    assert_eq!(notices(&bench).len(), 1);
}

#[test]
fn a_caller_is_told_by_the_key_that_it_hears_the_call_by() {
    let mut bench = bench(BEFORE);
    configure(
        &mut bench,
        with("pbx", A, Srtp::Allow, SdesOver::Any),
        with("carrier", B, Srtp::Allow, SdesOver::Any),
    );
    bench.invite(&keyed("RTP/SAVP", 4, KEY), "");
    let early = bench.response_to_a();
    assert_eq!((early.status, is_b_asked(&bench)), (183, false));
    let (protocol, told_early) = line(&early.body);
    assert_eq!(
        (protocol.as_str(), told_early.len(), told_early[0].tag),
        ("RTP/SAVP", 1, 4)
    );
    played(&mut bench, Leg::A);
    let (_, to_b) = line(&bench.request_to_b("INVITE").body);
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", to_b[0].tag, super::sdes::OTHER));
    let (_, told) = line(&bench.response_to_a().body);
    assert_eq!(told[0].key, told_early[0].key, "RFC 4568 §7.3");
    assert_ne!(told[0].key, to_b[0].key);
}
