//! A BYE that is challenged is held for who has to prove it, who hears of that and says it again.

use std::collections::BTreeSet;

use bytes::Bytes;
use onrecord::engine::Input;
use onrecord::model::{Mark, RecordingCommand};
use onrecord::sip::{Flow, Transport};

use super::super::bench::{ALL_STRICT, B, Bench, PROXY, SDP, answer, with_lines};
use super::{REALM, digest};

pub const PROOF: &str = "Proxy-Authorization: Digest username=\"alice\"\r\n";

/// A call of who has proved itself to the far end. No credentials are ours.
pub fn proved() -> Bench {
    let mut bench = Bench::strict();
    bench.invite(SDP, PROOF);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.story.clear();
    bench
}

#[test]
fn who_proves_itself_hears_that_its_bye_is_challenged_and_says_it_again() {
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.b_challenges("BYE", 407, &[digest(REALM, "n2", "")]);
    let challenged = bench.response_to_a();
    assert_eq!(challenged.status, 407);
    assert!(challenged.headers.get("Proxy-Authenticate").unwrap().contains("n2"));
    let tag = challenged.headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 3, "BYE", PROOF, "");
    assert!(bench.request_to_b("BYE").headers.contains("Proxy-Authorization"));
    bench.b_answers("BYE", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
    let ladder = [
        "A → BYE",
        "BYE → B",
        "B → 407",
        "407 → A",
        "A → BYE",
        "BYE → B",
        "B → 200",
        "200 → A",
    ];
    assert_eq!(bench.story[..8], ladder);
    assert!(
        bench.story.contains(&"recorded: BYE from A".to_owned()),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
}

#[test]
fn who_does_not_say_its_challenged_bye_again_is_gone_all_the_same() {
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.b_challenges("BYE", 401, &[digest(REALM, "n2", "")]);
    assert_eq!(bench.response_to_a().status, 401);
    bench.wait(std::time::Duration::from_secs(33));
    let numbers: BTreeSet<u32> = bench.sent("BYE").iter().map(|bye| bye.headers.cseq().number).collect();
    assert_eq!(numbers.len(), 2);
    bench.b_answers("BYE", 200, "");
    assert!(
        bench.story.contains(&"recorded: BYE from A".to_owned()),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
    // Nor does a far end that says nothing keep the call up.
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.wait(std::time::Duration::from_secs(33));
    assert_eq!(bench.response_to_a().status, 200);
    bench.assert_nothing_left();
}

#[test]
fn a_held_bye_waits_for_nobody_when_the_call_ends_otherwise() {
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    let byes = bench.sent("BYE").len();
    bench.b_requests(7, "BYE", "theirs", "");
    assert_eq!((bench.response_to_a().status, bench.response_to_b().status), (200, 200));
    assert_eq!(bench.sent("BYE").len(), byes, "who said BYE gets none");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    let byes = bench.sent("BYE").len();
    bench.recorder_fails(onrecord::model::Fault::Io);
    assert_eq!(bench.response_to_a().status, 200);
    assert!(bench.story.contains(&"gated".to_owned()), "{:?}", bench.story);
    assert_eq!(bench.sent("BYE").len(), byes, "who said BYE gets none, and B has ours");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

/// The same, by a connection that we opened. `more`: header lines of B's 2xx.
pub fn proved_by_stream(more: &str) -> Bench {
    let mut bench = Bench::by_stream(&ALL_STRICT);
    bench.invite(SDP, PROOF);
    let invite = bench.request_to_b("INVITE");
    by_stream(&mut bench, with_lines(&answer(&invite, 200, "b-tag", B, SDP), more));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.to_b.clear();
    bench
}

pub fn stream() -> Flow {
    Flow {
        transport: Transport::Tcp,
        local: PROXY.parse().unwrap(),
        remote: B.parse().unwrap(),
    }
}

fn by_stream(bench: &mut Bench, bytes: Bytes) {
    bench.input(Input::Sip { flow: stream(), bytes });
}

fn tells_untold(bench: &Bench) -> bool {
    let is_told = |command: &RecordingCommand| {
        matches!(command, RecordingCommand::Mark { mark: Mark::Note(note), .. }
            if note.contains("not answered by trunk carrier"))
    };
    bench.recording.iter().any(is_told)
}

#[test]
fn a_held_bye_whose_connection_breaks_is_said_once_more_and_who_said_it_is_let_go() {
    for is_ended_otherwise in [false, true] {
        let mut bench = proved_by_stream("");
        bench.a_requests(2, "BYE", "bye2", "");
        let first = bench.request_to_b("BYE");
        if is_ended_otherwise {
            bench.recorder_fails(onrecord::model::Fault::Io);
        }
        bench.to_b.clear();
        bench.input(Input::Unreachable { flow: stream() });
        assert_eq!(bench.response_to_a().status, 200);
        let second = bench.request_to_b("BYE");
        assert!(second.headers.cseq().number > first.headers.cseq().number);
        let ok = answer(&second, 200, "b-tag", B, "");
        by_stream(&mut bench, ok);
        assert_eq!(bench.sent("BYE").len(), 1);
        assert!(!tells_untold(&bench));
        bench.assert_nothing_left();
    }
}

#[test]
fn a_far_end_that_cannot_be_told_of_a_held_bye_is_told_of_in_the_recording() {
    let mut bench = proved_by_stream("");
    bench.a_requests(2, "BYE", "bye2", "");
    for _ in 0..2 {
        assert!(!tells_untold(&bench));
        bench.input(Input::Unreachable { flow: stream() });
    }
    assert_eq!(bench.sent("BYE").len(), 2);
    assert!(tells_untold(&bench), "{:?}", bench.recording);
    assert!(
        bench.story.contains(&"recorded: BYE from A".to_owned()),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
    // Datagrams have no other way.
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.wait(std::time::Duration::from_secs(33));
    assert!(tells_untold(&bench), "{:?}", bench.recording);
    bench.assert_nothing_left();
}
