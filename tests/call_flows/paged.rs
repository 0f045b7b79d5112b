//! MESSAGE outside calls: who may write to whom, and what is kept of it (RFC 3428).

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Direction, Encryption, Fault, Outcome, RecordingCommand, RecordingEvent};
use onrecord::trunk::{Rank, Site};

use super::bench::{A, B, Bench, GRANTS, LENIENT, PROXY, STRICT};
use super::party::ALICE;
use super::routed::{configure, trunk};

/// Of the carrier's second address.
const SPARE_HOST: &str = "127.0.0.9";

fn writes(bench: &mut Bench) {
    let typed = "Content-Type: text/plain\r\n";
    bench.requests("MESSAGE", ALICE, "sip:bob@carrier.example", "m-1", typed, "sell");
}

fn with(policy: &str) -> Bench {
    Bench::with(&[("desk.toml", policy), ("grants.toml", GRANTS)])
}

/// What was kept: how many messages, and how it ended.
fn kept(bench: &Bench) -> (usize, Option<(Outcome, Option<u16>)>) {
    let messages = bench.recording.iter().filter(
        |command| matches!(command, RecordingCommand::Signal { path, .. } if path.direction == Direction::Received),
    );
    let ended = bench.recording.iter().find_map(|command| match command {
        RecordingCommand::Close { closing, .. } | RecordingCommand::Keep { closing, .. } => {
            Some((closing.outcome, closing.status))
        }
        _ => None,
    });
    (messages.count(), ended)
}

#[test]
fn a_message_of_a_recorded_party_is_kept_before_it_goes_on() {
    for policy in [STRICT, LENIENT] {
        let mut bench = with(policy);
        bench.recorder_answers = false;
        writes(&mut bench);
        assert!(bench.to_b.is_empty(), "its opening record is not durable");
        let session = bench.session();
        bench.input(Input::Recording(RecordingEvent::Ready { session }));
        assert_eq!(bench.request_to_b("MESSAGE").body, "sell");
        bench.b_answers("MESSAGE", 202, "");
        assert_eq!(bench.response_to_a().status, 202);
        assert_eq!(kept(&bench), (2, Some((Outcome::Recorded, Some(202)))));
        bench.assert_nothing_left();
    }
}

#[test]
fn a_message_that_must_be_kept_and_cannot_be_is_refused_and_another_goes_on() {
    for way in ["down", "fails", "silent"] {
        for (policy, status) in [(STRICT, 603), (LENIENT, 202)] {
            let mut bench = with(policy);
            bench.recorder_answers = false;
            if way == "down" {
                bench.recorder_fails(Fault::Io);
            }
            writes(&mut bench);
            match way {
                "fails" => {
                    let (session, fault) = (bench.session(), Fault::Io);
                    bench.input(Input::Recording(RecordingEvent::OpenFailed { session, fault }));
                }
                "silent" => bench.wait(Duration::from_millis(2_050)),
                _ => {}
            }
            assert_eq!(bench.to_b.is_empty(), status == 603, "{way}");
            if status == 202 {
                bench.b_answers("MESSAGE", 202, "");
            }
            assert_eq!(bench.response_to_a().status, status, "{way}");
            let outcome = if status == 603 {
                Outcome::Blocked
            } else {
                Outcome::Unrecorded
            };
            assert_eq!(kept(&bench).1, Some((outcome, Some(status))), "{way}");
            bench.assert_nothing_left();
        }
    }
}

#[test]
fn who_may_not_call_may_not_write_and_that_is_kept() {
    let mut bench = with("[policy]\nid = \"desk\"\nenabled = true\naction = \"block\"\n");
    writes(&mut bench);
    assert!(bench.to_b.is_empty());
    assert_eq!(bench.response_to_a().status, 403);
    assert_eq!(kept(&bench), (0, Some((Outcome::Blocked, Some(403)))));
    bench.assert_nothing_left();
}

#[test]
fn where_chat_is_not_recorded_a_message_goes_on_and_nothing_is_kept() {
    let audio = STRICT.replace("enabled = true\n", "enabled = true\nrecord = [\"audio\"]\n");
    for mut bench in [with(&audio), Bench::unrecorded()] {
        bench.recorder_fails(Fault::Io);
        writes(&mut bench);
        bench.b_answers("MESSAGE", 202, "");
        assert_eq!(bench.response_to_a().status, 202);
        assert!(bench.recording.is_empty());
        bench.assert_nothing_left();
    }
}

const TYPED: &str = "Event: x\r\nExpires: 60\r\nSubscription-State: terminated\r\nContent-Type: text/plain\r\n";

#[test]
fn text_that_another_request_brings_is_a_message_too() {
    for method in ["NOTIFY", "PUBLISH", "SUBSCRIBE"] {
        let mut bench = with(STRICT);
        bench.recorder_answers = false;
        bench.requests(method, ALICE, "sip:bob@carrier.example", "m-1", TYPED, "sell");
        assert!(bench.to_b.is_empty(), "{method}: its opening record is not durable");
        let session = bench.session();
        bench.input(Input::Recording(RecordingEvent::Ready { session }));
        assert_eq!(bench.request_to_b(method).body, "sell");
        bench.b_answers(method, 489, "");
        assert_eq!(bench.response_to_a().status, 489);
        assert_eq!(kept(&bench), (2, Some((Outcome::Recorded, Some(489)))));
        bench.assert_nothing_left();

        let mut down = with(STRICT);
        down.recorder_fails(Fault::Io);
        down.requests(method, ALICE, "sip:bob@carrier.example", "m-1", TYPED, "sell");
        assert!(down.to_b.is_empty());
        assert_eq!(down.response_to_a().status, 603, "{method}");
        assert_eq!(kept(&down).1, Some((Outcome::Blocked, Some(603))));
        down.assert_nothing_left();

        let mut failing = with(STRICT);
        failing.recorder_answers = false;
        failing.requests(method, ALICE, "sip:bob@carrier.example", "m-1", TYPED, "sell");
        failing.wait(Duration::from_millis(2_050));
        assert_eq!(failing.response_to_a().status, 603, "{method}");
        failing.assert_nothing_left();

        let mut state = with(STRICT);
        state.recorder_fails(Fault::Io);
        let pidf = TYPED.replace("text/plain", "application/pidf+xml");
        state.requests(method, ALICE, "sip:bob@carrier.example", "m-1", &pidf, "<presence/>");
        assert_eq!(state.request_to_b(method).body, "<presence/>", "nobody wrote that");
    }
}

#[test]
fn what_only_its_ends_can_read_is_refused_where_it_must_be_kept_and_told_where_not() {
    let sealed = "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n";
    let mut strict = with(STRICT);
    strict.requests("MESSAGE", ALICE, "sip:bob@carrier.example", "m-1", sealed, "0");
    assert!(strict.to_b.is_empty());
    assert_eq!(strict.response_to_a().status, 488);
    assert_eq!(kept(&strict).1, Some((Outcome::Blocked, Some(488))));
    strict.assert_nothing_left();

    let mut lenient = with(LENIENT);
    lenient.requests("MESSAGE", ALICE, "sip:bob@carrier.example", "m-1", sealed, "0");
    assert_eq!(lenient.request_to_b("MESSAGE").body, "0");
    lenient.b_answers("MESSAGE", 202, "");
    let told = lenient.recording.iter().any(|command| {
        matches!(command, RecordingCommand::Close { closing, .. } if closing.encryption == Some(Encryption::Sealed))
    });
    assert!(told, "{:?}", lenient.recording);
    lenient.assert_nothing_left();
}

#[test]
fn a_message_that_nobody_answers_is_kept_all_the_same() {
    let mut bench = with(STRICT);
    writes(&mut bench);
    bench.wait(Duration::from_secs(33));
    assert_eq!(kept(&bench), (1, Some((Outcome::Recorded, Some(408)))));
    bench.assert_nothing_left();
}

#[test]
fn who_is_written_to_at_our_own_address_is_known_by_the_domains_of_the_dial_plan() {
    let grants = "[[grant]]\npolicy = \"desk\"\nto = [\"user:bob@example.com\"]\n";
    let plan = "[[dial_plan]]\ndomains = [\"example.com\"]\n";
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", grants), ("plan.toml", plan)]);
    bench.recorder_fails(Fault::Io);
    let typed = "Content-Type: text/plain\r\n";
    bench.requests("MESSAGE", ALICE, "sip:bob@127.0.0.1:5070", "m-1", typed, "sell");
    assert_eq!(bench.response_to_a().status, 603);
}

#[test]
fn a_message_to_whom_nobody_can_read_is_no_policys_to_forbid() {
    let mut bench = with(STRICT);
    let typed = "Content-Type: text/plain\r\n";
    let to = format!("sip:{}@carrier.example", "x".repeat(600));
    bench.requests("MESSAGE", ALICE, &to, "m-1", typed, "sell");
    assert_eq!(bench.response_to_a().status, 400);
}

#[test]
fn who_may_not_be_called_at_one_address_of_the_next_hop_may_not_be_written_to_there() {
    let block = "[policy]\nid = \"no\"\nenabled = true\naction = \"block\"\n[[policy.recorder]]\nid = \"embedded\"\n";
    let grants = format!("[[grant]]\npolicy = \"no\"\nto = [\"user:bob@{SPARE_HOST}\"]\n");
    for (user, asked) in [("bob", false), ("carol", true)] {
        let mut bench = Bench::with(&[("no.toml", block), ("grants.toml", &grants)]);
        let mut carrier = trunk("carrier", B);
        let spare = format!("{SPARE_HOST}:5060");
        carrier.peers.extend(trunk("x", &spare).peers);
        let site = |text: &str, priority| Site::parse(text, Rank { priority, weight: 0 }).unwrap();
        carrier.sites = vec![site(B, 1), site(&spare, 2)];
        configure(&mut bench, trunk("pbx", A), carrier);
        let uri = format!("sip:{user}@{PROXY}");
        bench.requests("MESSAGE", ALICE, &uri, "m-1", "Content-Type: text/plain\r\n", "sell");
        if !asked {
            assert!(bench.to_b.is_empty(), "no address of it");
            assert_eq!(bench.response_to_a().status, 403);
            continue;
        }
        bench.b_answers("MESSAGE", 503, "");
        assert_eq!(bench.request_to_b("MESSAGE").uri.host(), Some(SPARE_HOST));
    }
}
