//! A BYE that its sender proves is under way to the far end: nothing follows it (RFC 3261 §15).

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::sip::{Message, Request};

use super::bench::{B, Bench, SDP, answer};
use super::challenged::held_byes::{PROOF, proved, proved_by_stream, stream};

const ALLOWS: &str = "Allow: INVITE, ACK, BYE, UPDATE\r\n";

/// The methods of what B was sent, each request once.
fn sent(bench: &Bench) -> Vec<String> {
    let request = |message: &Message| match message {
        Message::Request(request) => Some((request.headers.cseq().number, request.method.as_str().to_owned())),
        Message::Response(_) => None,
    };
    let mut sent: Vec<_> = bench.to_b.iter().filter_map(request).collect();
    sent.dedup();
    sent.into_iter().map(|(_, method)| method).collect()
}

#[test]
fn no_refresh_that_comes_due_meanwhile_is_sent() {
    let mut bench = proved();
    bench.wait(Duration::from_secs(890));
    bench.story.clear();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.to_b.clear();
    bench.wait(Duration::from_secs(30));
    assert!(sent(&bench).iter().all(|method| method == "BYE"), "{:?}", sent(&bench));
    assert!(
        !bench.story.iter().any(|rung| rung == "INVITE → A"),
        "{:?}",
        bench.story
    );
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

/// Ours to B is in flight, by UPDATE, and so is A's BYE. With the UPDATE.
fn refreshing(mut bench: Bench) -> (Bench, Request) {
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.wait(Duration::from_secs(912));
    bench.a_answers("INVITE", 200, SDP);
    let update = bench.request_to_b("UPDATE");
    bench.to_b.clear();
    bench.a_requests_in(&tag, 2, "BYE", "", "");
    assert_eq!(sent(&bench), ["BYE"]);
    (bench, update)
}

#[test]
fn a_refresh_that_is_refused_for_its_method_is_not_sent_by_another() {
    let mut bench = Bench::strict();
    bench.invite(SDP, PROOF);
    bench.fork_answers("b-tag", 200, ALLOWS, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let (mut bench, update) = refreshing(bench);
    bench.from(B, answer(&update, 405, "b-tag", B, ""));
    bench.wait(Duration::from_secs(20));
    assert!(sent(&bench).iter().all(|method| method == "BYE"), "{:?}", sent(&bench));
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn what_a_broken_connection_lost_is_not_said_again() {
    let mut asked = proved_by_stream("");
    asked.a_requests(2, "INFO", "info", "");
    assert_eq!(sent(&asked), ["INFO"]);
    let tag = asked.response_to_a().headers.to().tag().unwrap().to_owned();
    asked.to_b.clear();
    asked.a_requests_in(&tag, 3, "BYE", "", "");
    let (refreshed, _) = refreshing(proved_by_stream(ALLOWS));
    for mut bench in [asked, refreshed] {
        assert_eq!(sent(&bench), ["BYE"]);
        bench.input(Input::Unreachable { flow: stream() });
        assert_eq!(sent(&bench), ["BYE", "BYE"], "it is said where the far end listens");
    }
}
