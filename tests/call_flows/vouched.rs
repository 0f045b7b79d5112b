//! Whose policies apply: what a caller's side writes as it likes takes none away, and neither does how a call grows or is sealed.

use onrecord::model::{Fault, RecordingCommand};

use super::bench::{A, ALL_STRICT, Bench, GRANTS, PROXY, SDP, STRICT, VIDEO_ALONE, invite, with_video};
use super::party::ALICE;

const BOB_ALONE: &str = "[[grant]]\npolicy = \"desk\"\nto = [\"user:bob@example.com\"]\n";
const OTHERS: &str = "[[grant]]\npolicy = \"desk\"\nto = [\"global\"]\n[[grant]]\npolicy = \"$null\"\nto = [\"user:free@example.com\"]\n";

fn between_strangers(grants: &str) -> Bench {
    Bench::between([false; 2], &[("desk.toml", STRICT), ("grants.toml", grants)])
}

fn status_without_recorder(mut bench: Bench, uri: &str, more: &str) -> u16 {
    bench.recorder_fails(Fault::DiskFull);
    bench.invites(ALICE, uri, "call-1", more);
    if bench.to_a.is_empty() || bench.response_to_a().status < 300 {
        return 100;
    }
    let status = bench.response_to_a().status;
    assert!(bench.to_b.is_empty(), "B never rings: {:#?}", bench.story);
    status
}

fn recordings(bench: &Bench) -> usize {
    let opened = |command: &&RecordingCommand| matches!(command, RecordingCommand::Open(_));
    bench.recording.iter().filter(opened).count()
}

#[test]
fn a_stranger_does_not_take_the_callees_policy_away_by_p_called_party_id() {
    let said = "P-Called-Party-ID: <sip:free@example.com>\r\n";
    let bob = "sip:bob@example.com";
    assert_eq!(status_without_recorder(between_strangers(OTHERS), bob, said), 603);
    let trusted = Bench::between(
        [true; 2],
        &[
            ("desk.toml", STRICT),
            ("grants.toml", &OTHERS.replace("global", "user:bob@example.com")),
        ],
    );
    assert_eq!(
        status_without_recorder(trusted, bob, said),
        603,
        "bob has a grant of his own as near"
    );
    let free = Bench::between(
        [true; 2],
        &[
            ("desk.toml", STRICT),
            ("grants.toml", &OTHERS.replace("global", "trunk:carrier")),
        ],
    );
    assert_eq!(
        status_without_recorder(free, "sip:x1@example.com", said),
        100,
        "a trusted peer says who it is for"
    );
}

#[test]
fn long_parameters_exempt_nobody_and_who_cannot_be_read_is_refused() {
    let long = format!("sip:bob@example.com;x={}", "a".repeat(600));
    assert_eq!(status_without_recorder(between_strangers(BOB_ALONE), &long, ""), 603);
    let unreadable = format!("sip:{}@example.com", "b".repeat(600));
    let mut bench = between_strangers(BOB_ALONE);
    bench.invites(ALICE, &unreadable, "call-1", "");
    assert_eq!(bench.response_to_a().status, 400);
    assert!(bench.to_b.is_empty());
    let ack = format!(
        "ACK {unreadable} SIP/2.0\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: call-1\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
        bench.response_to_a().headers.get("Via").unwrap(),
        bench.response_to_a().headers.get("From").unwrap(),
        bench.response_to_a().headers.get("To").unwrap(),
    );
    bench.from(A, ack.into());
    bench.assert_nothing_left();
}

#[test]
fn who_is_called_at_our_own_address_or_any_other_is_known_by_the_domains_of_the_dial_plan() {
    let plan = format!("{BOB_ALONE}[[dial_plan]]\ndomains = [\"example.com\"]\n");
    for uri in [format!("sip:bob@{PROXY}"), "sip:bob@192.0.2.77".to_owned()] {
        assert_eq!(
            status_without_recorder(between_strangers(&plan), &uri, ""),
            603,
            "{uri}"
        );
        assert_eq!(
            status_without_recorder(between_strangers(BOB_ALONE), &uri, ""),
            100,
            "{uri}"
        );
    }
}

#[test]
fn who_is_said_by_a_stranger_to_have_sent_the_call_on_does_not_switch_recording_off() {
    let never = "[policy]\nid = \"never\"\nenabled = true\nrecord_rerouted_calls = true\naction = \"never\"\non_conflict = \"never\"\n[[policy.recorder]]\nid = \"embedded\"\n";
    let grants = format!("{GRANTS}[[grant]]\npolicy = \"never\"\nto = [\"user:judge@example.com\"]\n");
    let files = [("desk.toml", STRICT), ("never.toml", never), ("grants.toml", &grants)];
    let by = "Diversion: <sip:judge@example.com>\r\n";
    let bob = "sip:bob@example.com";
    assert_eq!(
        status_without_recorder(Bench::between([false; 2], &files), bob, by),
        603
    );
    assert_eq!(status_without_recorder(Bench::between([true; 2], &files), bob, by), 100);
}

#[test]
fn a_long_history_hides_neither_who_transferred_the_call_nor_who_sent_it_on_last() {
    let follows = STRICT.replace("enabled = true", "enabled = true\nrecord_rerouted_calls = true");
    let bench = || Bench::between([false; 2], &[("desk.toml", &follows), ("grants.toml", BOB_ALONE)]);
    let history: String = (1..20)
        .map(|n| format!("History-Info: <sip:x{n}@example.com>;index=1.{n}\r\n"))
        .collect();
    let carol = "sip:carol@example.com";
    assert_eq!(status_without_recorder(bench(), carol, &history), 100);
    for more in [
        format!("{history}Referred-By: <sip:bob@example.com>\r\n"),
        format!("{history}Diversion: <sip:bob@example.com>\r\n"),
        format!("{history}History-Info: <sip:bob@example.com>;index=1.20\r\n"),
    ] {
        assert_eq!(status_without_recorder(bench(), carol, &more), 603, "{more}");
    }
    let mut cut = Bench::between([false; 2], &ALL_STRICT);
    cut.invites(ALICE, carol, "call-1", &history);
    let told = |line: &String| line.starts_with("rerouted by  3 more");
    assert!(cut.headers()[0].trace.iter().any(told), "{:?}", cut.headers()[0].trace);
}

#[test]
fn audio_that_becomes_video_is_recorded_from_there_if_a_policy_wants_video() {
    let files = [("desk.toml", VIDEO_ALONE), ("grants.toml", GRANTS)];
    let mut bench = Bench::with(&files).connected();
    assert_eq!(recordings(&bench), 0);
    bench.a_requests(2, "INVITE", "video", &with_video());
    assert_eq!(recordings(&bench), 1, "{:#?}", bench.story);
    bench.b_answers("INVITE", 200, &with_video());
    bench.a_requests(2, "ACK", "ack2", "");
    bench.recorder_fails(Fault::DiskFull);
    let byes = bench.story.iter().filter(|rung| rung.starts_with("BYE →"));
    assert_eq!(byes.count(), 2, "{:#?}", bench.story);
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn audio_does_not_become_video_that_must_be_recorded_and_cannot_be() {
    let files = [("desk.toml", VIDEO_ALONE), ("grants.toml", GRANTS)];
    let mut bench = Bench::with(&files).connected();
    bench.recorder_fails(Fault::DiskFull);
    bench.a_requests(2, "INVITE", "video", &with_video());
    assert_eq!(bench.response_to_a().status, 488);
    bench.a_requests(2, "ACK", "video", "");
    assert_eq!(bench.signaling.calls(), 1, "the call stays as it was");
    bench.a_requests(3, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn what_is_sealed_for_the_far_end_is_refused_where_the_call_is_recorded() {
    let sealed = "Content-Type: application/pkcs7-mime;smime-type=enveloped-data\r\n";
    let invite = |bench: &mut Bench| {
        bench.requests(
            "INVITE",
            ALICE,
            &format!("sip:bob@{PROXY}"),
            "call-1",
            sealed,
            "0~sealed",
        )
    };
    let mut bench = Bench::lenient();
    invite(&mut bench);
    assert_eq!(bench.response_to_a().status, 415);
    assert!(bench.to_b.is_empty());
    let mut exempt = Bench::unrecorded();
    invite(&mut exempt);
    assert_eq!(&exempt.request_to_b("INVITE").body[..], b"0~sealed");
}

/// A's call to Bob from that URI.
fn calls_as(bench: &mut Bench, uri: &str, more: &str) {
    let text = String::from_utf8(invite(1, "a1", "", SDP, more).to_vec()).unwrap();
    bench.from(A, text.replace("sip:alice@example.com", uri).into());
}

#[test]
fn who_hides_the_number_and_is_named_beside_from_has_the_policy_of_that_name() {
    let desk = "[[grant]]\npolicy = \"desk\"\nto = [\"user:2000\"]\n";
    let status = |trusted: bool, more: &str| {
        let mut bench = Bench::between([trusted; 2], &[("desk.toml", STRICT), ("grants.toml", desk)]);
        bench.recorder_fails(Fault::DiskFull);
        calls_as(&mut bench, "sip:anonymous@anonymous.invalid", more);
        if bench.to_b.is_empty() {
            bench.response_to_a().status
        } else {
            100
        }
    };
    let said = ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"];
    for name in said {
        let more = format!("{name}: \"Desk\" <sip:2000@192.0.2.7>\r\nPrivacy: id\r\n");
        assert_eq!([status(false, &more), status(true, &more)], [603, 603], "{more}");
    }
    for unreadable in ["2000", "<sip:2000@192.0.2.7", "\"Desk <sip:2000@192.0.2.7>"] {
        let more = format!("P-Asserted-Identity: {unreadable}\r\n");
        assert_eq!([status(false, &more), status(true, &more)], [603, 603], "{more}");
    }
    let called = "Remote-Party-ID: <sip:2000@192.0.2.7>;party=called\r\n";
    assert_eq!([status(false, called), status(true, called)], [100, 100]);
}

#[test]
fn a_caller_at_the_address_of_their_pbx_has_the_policy_of_that_user_in_our_domain() {
    let grants =
        "[[grant]]\npolicy = \"desk\"\nto = [\"user:alice@example.com\"]\n[[dial_plan]]\ndomains = [\"example.com\"]\n";
    for (host, expected) in [("127.0.0.1", true), ("192.0.2.7", false)] {
        let mut bench = between_strangers(grants);
        bench.recorder_fails(Fault::DiskFull);
        calls_as(&mut bench, &format!("sip:alice@{host}"), "");
        assert_eq!(bench.to_b.is_empty(), expected, "{host}");
    }
}
