//! Calls for help while `serve` ends.

use rustix::process::Signal;

use super::bench::Bench;

/// B rings.
fn calls_for_help(bench: &Bench, call_id: &str) -> super::phone::Heard {
    bench.a.invite(bench.proxy, "112", call_id);
    let invite = bench.b.hear("INVITE");
    let ringing = bench.b.answer_to(&invite);
    let head = ringing.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.lines().filter(|line| !line.starts_with("Content-"));
    let ringing: Vec<&str> = lines.collect();
    let ringing = ringing.join("\r\n").replace("200 OK", "180 Ringing") + "\r\nContent-Length: 0\r\n\r\n";
    bench.b.send(bench.proxy, &ringing);
    bench.a.hear("SIP/2.0 180");
    invite
}

#[test]
fn a_call_for_help_that_rings_holds_a_hand_over_until_it_is_answered_and_goes_on_at_the_next_start() {
    let mut bench = Bench::new(212);
    bench.start();
    let invite = calls_for_help(&bench, "one");
    let drain = bench.verb(&["drain", "--hand-over", "--data", "data"]);
    assert_eq!(drain.status.code(), Some(0), "{drain:?}");
    bench.b.accept(&invite);
    let ok = bench.a.hear("SIP/2.0 200");
    bench.a.ack(bench.proxy, &ok);
    bench.b.hear("ACK");
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
    bench.start();
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);
}

#[test]
fn a_call_for_help_that_comes_while_a_node_ends_and_is_not_answered_is_ended_at_both_ends() {
    let mut bench = Bench::new(213);
    bench.start();
    bench.call("one");
    bench.signal(Signal::TERM);
    // Nobody answers it: so long the node is there.
    bench.a.hear("BYE");
    let invite = calls_for_help(&bench, "two");
    bench.a.hear("SIP/2.0 503");
    let cancel = bench.b.hear("CANCEL");
    assert_eq!(cancel.header("Call-ID"), invite.header("Call-ID"));
    bench.ended();
}
