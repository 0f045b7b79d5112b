//! Who is connected changes while the call lasts (RFC 4916).

use onrecord::model::{Leg, Mark, RecordingCommand};

use super::bench::{A, B, Bench, SDP, answer, with_lines};

const KNOWS: &str = "Supported: from-change\r\n";

fn connected(a: &str, b: &str) -> (Bench, String) {
    let mut bench = Bench::strict();
    bench.invite(SDP, a);
    bench.fork_answers("b-tag", 200, b, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    (bench, tag)
}

pub fn connections(bench: &Bench) -> Vec<(Leg, String)> {
    let marks = bench.recording.iter().filter_map(|command| match command {
        RecordingCommand::Mark {
            mark: Mark::Connected { leg, party },
            ..
        } => Some((*leg, party.clone())),
        _ => None,
    });
    marks.collect()
}

/// B's UPDATE in which it is Carol.
fn b_becomes_carol(bench: &mut Bench) {
    let invite = bench.request_to_b("INVITE");
    let text = format!(
        "UPDATE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKcarol\r\nMax-Forwards: 70\r\nFrom: \"Carol\" <sip:carol@example.com>;tag=b-tag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 9 UPDATE\r\nContact: <sip:carol@{B}>\r\nContent-Length: 0\r\n\r\n",
        invite.headers.get("From").unwrap(),
        invite.headers.call_id()
    );
    bench.from(B, text.into());
}

#[test]
fn a_callee_that_became_another_is_told_to_the_caller_and_to_the_recording() {
    let (mut bench, tag) = connected(KNOWS, KNOWS);
    assert!(
        bench
            .request_to_b("INVITE")
            .headers
            .get_all("Supported")
            .any(|options| options.contains("from-change"))
    );
    b_becomes_carol(&mut bench);
    let update = bench.request_to_a("UPDATE");
    assert_eq!(update.headers.from().uri().to_string(), "sip:carol@example.com");
    assert_eq!(
        update.headers.from().tag(),
        Some(tag.as_str()),
        "the tag is ours as before"
    );
    assert!(connections(&bench).is_empty(), "not before it is accepted");
    bench.a_answers("UPDATE", 200, "");
    assert_eq!(
        connections(&bench),
        [(Leg::B, "\"Carol\" <sip:carol@example.com>".to_owned())]
    );
    bench.a_requests_in(&tag, 2, "INFO", "", "");
    let info = bench.request_to_b("INFO");
    assert_eq!(info.headers.to().uri().to_string(), "sip:carol@example.com");
    assert_eq!(info.headers.to().tag(), Some("b-tag"));
    bench.b_agrees("INFO", 200, "");
    bench.fork_requests("b-tag", 10, "BYE", "", "");
    let bye = bench.request_to_a("BYE");
    assert_eq!(bye.headers.from().uri().to_string(), "sip:carol@example.com");
    bench.from(A, answer(&bye, 200, "x", "127.0.0.1:5080", ""));
    bench.assert_nothing_left();
}

#[test]
fn a_caller_that_became_another_is_told_by_its_reinvite() {
    let (mut bench, tag) = connected(KNOWS, KNOWS);
    let reinvite = super::bench::invite(2, "re", &format!(";tag={tag}"), SDP, "");
    let text = String::from_utf8(reinvite.to_vec()).unwrap();
    bench.from(A, text.replace("\"Alice\" <sip:alice@", "<sip:dave@").into());
    assert_eq!(
        bench.request_to_b("INVITE").headers.from().uri().to_string(),
        "sip:dave@example.com"
    );
    bench.b_agrees("INVITE", 200, SDP);
    bench.a_requests_in(&tag, 2, "ACK", "", "");
    let ack = bench.request_to_b("ACK");
    assert_eq!(ack.headers.from().uri().to_string(), "sip:dave@example.com");
    assert_eq!(connections(&bench), [(Leg::A, "<sip:dave@example.com>".to_owned())]);
}

#[test]
fn a_change_that_is_refused_or_that_one_side_would_not_understand_stays_where_it_is() {
    let (mut bench, _) = connected(KNOWS, KNOWS);
    b_becomes_carol(&mut bench);
    bench.a_answers("UPDATE", 488, "");
    bench.fork_requests("b-tag", 10, "INFO", "", "");
    assert_ne!(
        bench.request_to_a("INFO").headers.from().uri().to_string(),
        "sip:carol@example.com"
    );
    for (a, b) in [("", KNOWS), (KNOWS, ""), ("", "")] {
        let (mut bench, _) = connected(a, b);
        b_becomes_carol(&mut bench);
        let update = bench.request_to_a("UPDATE");
        assert_ne!(update.headers.from().uri().to_string(), "sip:carol@example.com");
        bench.a_answers("UPDATE", 200, "");
        assert!(connections(&bench).is_empty());
    }
}

#[test]
fn a_callee_may_say_who_it_is_before_it_answers() {
    let mut bench = Bench::strict();
    let knows = "Supported: from-change, 100rel\r\n";
    bench.invite(SDP, knows);
    let ringing = answer(&bench.request_to_b("INVITE"), 183, "b-tag", "127.0.0.1:5090", SDP);
    bench.from(
        B,
        with_lines(&ringing, &format!("{KNOWS}Require: 100rel\r\nRSeq: 1\r\n")),
    );
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 2, "PRACK", "RAck: 1 1 INVITE\r\n", "");
    bench.b_agrees("PRACK", 200, "");
    b_becomes_carol(&mut bench);
    assert_eq!(
        bench.request_to_a("UPDATE").headers.from().uri().to_string(),
        "sip:carol@example.com"
    );
    bench.a_answers("UPDATE", 200, "");
    bench.fork_answers("b-tag", 200, KNOWS, "");
    bench.a_requests_in(&tag, 1, "ACK", "", "");
    assert_eq!(
        bench.request_to_b("ACK").headers.to().uri().to_string(),
        "sip:carol@example.com"
    );
    assert_eq!(connections(&bench).len(), 1);
}
