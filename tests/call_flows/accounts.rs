//! What the record of a call says when its parties changed: how it ended, and all that was decided.

use onrecord::model::{Closing, Fault, Outcome, RecordingCommand};

use super::bench::{B, Bench, C, SDP, STRICT, answer, with_lines};
use super::redirected::follows;

const GRANT: &str = "[[grant]]\npolicy = \"desk\"\nto = [\"user:trader@example.com\"]\n[[grant]]\npolicy = \"desk\"\nto = [\"user:bob@127.0.0.1\"]\n";
const TRADER_ONLY: &str = "[[grant]]\npolicy = \"desk\"\nto = [\"user:trader@example.com\"]\n";
const TRADER: &str = "P-Asserted-Identity: <sip:trader@example.com>\r\n";

fn closing(bench: &Bench) -> &Closing {
    let closing = bench.recording.iter().rev().find_map(|command| match command {
        RecordingCommand::Keep { closing, .. } | RecordingCommand::Close { closing, .. } => Some(closing),
        _ => None,
    });
    closing.unwrap()
}

/// Alice and Bob talk; then B accepts an UPDATE as this one.
fn accepts_as(bench: &mut Bench, named: &str) {
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 2, "UPDATE", "", "");
    let bytes = answer(&bench.request_to_b("UPDATE"), 200, "b-tag", B, "");
    bench.from(B, with_lines(&bytes, named));
}

#[test]
fn a_call_that_talked_and_ended_because_of_who_came_was_not_blocked() {
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", TRADER_ONLY)]).connected();
    bench.recorder_fails(Fault::Io);
    accepts_as(&mut bench, TRADER);
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    let closing = closing(&bench);
    assert_eq!((closing.outcome, closing.fault), (Outcome::Unrecorded, Some(Fault::Io)));
    assert!(closing.answered.is_some());
    let parties: Vec<&str> = closing
        .decisions
        .iter()
        .map(|decided| decided.callee.as_str())
        .collect();
    assert_eq!(parties, ["sip:bob@127.0.0.1", "sip:trader@example.com"]);
}

#[test]
fn a_call_sent_on_to_somebody_whom_nobody_records_is_exempt_and_tells_for_whom_it_was() {
    let mut bench = Bench::with_branch(&[("desk.toml", STRICT), ("grants.toml", GRANT)], follows(), follows());
    bench.tally.accepted = 0;
    bench.invite(SDP, "");
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    bench.c_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.c_answers("BYE", 200, "");
    let closing = closing(&bench);
    assert_eq!(closing.outcome, Outcome::Exempt);
    let decided = closing.decisions.iter();
    let decided: Vec<_> = decided
        .map(|decided| (decided.callee.as_str(), decided.strict_during))
        .collect();
    assert_eq!(decided, [("sip:bob@127.0.0.1", true), ("sip:carol@127.0.0.1", false)]);
    assert!(closing.decisions[0].at <= closing.decisions[1].at);
}

#[test]
fn a_call_of_one_decision_tells_it_once() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(closing(&bench).decisions, []);
}

#[test]
fn whoever_is_named_without_end_fills_no_record() {
    let mut bench = Bench::with(&[("desk.toml", STRICT), ("grants.toml", GRANT)]).connected();
    for number in 0..40 {
        let named = format!("P-Asserted-Identity: <sip:{number}@example.com>\r\n");
        bench.fork_requests("b-tag", 10 + number, "UPDATE", &named, "");
        bench.a_answers("UPDATE", 200, "");
    }
    bench.a_requests(2, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    let decisions = &closing(&bench).decisions;
    assert_eq!(decisions.len(), 17);
    assert_eq!(decisions[16].callee, "sip:39@example.com");
}
