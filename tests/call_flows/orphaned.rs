//! 2xx to INVITEs that the process before sent, and that nobody here waits for.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::sip::{Message, Method, Request};

use super::bench::{B, Bench, SDP, answer};

/// What B was told by requests.
fn methods(bench: &Bench) -> Vec<Method> {
    let method = |message: &Message| match message {
        Message::Request(request) => Some(request.method.clone()),
        Message::Response(_) => None,
    };
    bench.to_b.iter().filter_map(method).collect()
}

/// B rings while the process is killed; its phone's INVITE, and the next process, which knows nothing of it.
fn left_ringing() -> (Request, Bench) {
    let mut before = Bench::strict();
    before.invite(SDP, "");
    before.b_answers("INVITE", 180, "");
    assert!(before.remembered.is_empty());
    let invite = before.request_to_b("INVITE");
    let mut after = before.goes_on_as(Bench::strict());
    after.to_b.clear();
    (invite, after)
}

#[test]
fn who_answers_a_call_that_a_kill_left_ringing_is_acknowledged_and_let_go() {
    let (invite, mut after) = left_ringing();
    let late = answer(&invite, 200, "b-tag", B, SDP);
    after.from(B, late.clone());
    assert_eq!(methods(&after), [Method::Ack, Method::Bye]);
    let [ack, bye] = ["ACK", "BYE"].map(|method| after.request_to_b(method));
    for request in [&ack, &bye] {
        assert_eq!(request.headers.call_id(), invite.headers.call_id());
        assert_eq!(request.headers.to().tag(), Some("b-tag"));
        assert_eq!(request.headers.from().tag(), invite.headers.from().tag());
        assert_eq!(request.uri.to_string(), format!("sip:{B}"));
    }
    assert_eq!(ack.headers.cseq().number, invite.headers.cseq().number);
    after.from(B, late.clone());
    assert_eq!(methods(&after)[2..], [Method::Ack], "one BYE");
    after.b_answers("BYE", 200, "");
    after.wait(Duration::from_secs(40));
    after.assert_nothing_left();
}

#[test]
fn of_a_stranger_or_with_the_via_of_another_it_is_not() {
    let (invite, mut after) = left_ringing();
    let late = String::from_utf8(answer(&invite, 200, "b-tag", B, SDP).to_vec()).unwrap();
    after.from("192.0.2.66:5060", late.clone().into());
    let via = invite.headers.get("Via").unwrap().to_owned();
    let of_another = late.replace(&via, &via.replace("127.0.0.1:5070", "192.0.2.9:5070"));
    let of_two = late.replacen("Via: ", "Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKx\r\nVia: ", 1);
    let rings = late.replacen("200 OK", "180 Ringing", 1);
    let refused = late.replacen("200 OK", "486 Busy Here", 1);
    let of_update = late.replace("INVITE\r\n", "UPDATE\r\n");
    for response in [of_another, of_two, rings, refused, of_update] {
        assert_ne!(response, late);
        after.from(B, response.clone().into());
        assert!(after.to_b.is_empty(), "{response} {:?}", after.to_b);
    }
    after.from(B, late.into());
    assert_eq!(methods(&after), [Method::Ack, Method::Bye]);
}

#[test]
fn nobody_makes_it_remember_more_than_a_bound_of_them() {
    let (invite, mut after) = left_ringing();
    let late = String::from_utf8(answer(&invite, 200, "b-tag", B, SDP).to_vec()).unwrap();
    for number in 0..1_100 {
        after.from(B, late.replace("tag=b-tag", &format!("tag=b{number}")).into());
    }
    let byes = |bench: &Bench| methods(bench).iter().filter(|method| **method == Method::Bye).count();
    assert_eq!(byes(&after), 1_024);
    after.to_b.clear();
    after.wait(Duration::from_secs(40));
    after.to_b.clear();
    after.from(B, late.into());
    assert_eq!(byes(&after), 1, "they are forgotten again");
}

#[test]
fn a_process_that_has_handed_over_ends_nothing_of_the_next() {
    let (invite, mut after) = left_ringing();
    after.input(Input::HandOver);
    after.from(B, answer(&invite, 200, "b-tag", B, SDP));
    assert!(after.to_b.is_empty(), "{:?}", after.to_b);
}

#[test]
fn a_2xx_that_says_what_is_known_is_acknowledged_and_changes_nothing() {
    let before = Bench::strict().connected();
    let invite = before.request_to_b("INVITE");
    let mut after = before.goes_on_as(Bench::strict());
    after.to_b.clear();
    after.from(B, answer(&invite, 200, "b-tag", B, SDP));
    assert_eq!(after.request_to_b("ACK").headers.cseq().number, 1);
    assert_eq!(after.to_b.len(), 1, "{:?}", after.to_b);
}

#[test]
fn a_2xx_that_nobody_waits_for_is_acknowledged_in_no_other_dialog_and_to_no_stranger() {
    let mut before = Bench::strict().connected();
    before.a_requests(2, "INVITE", "re2", SDP);
    let reinvite = before.request_to_b("INVITE");
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let late = text(answer(&reinvite, 200, "b-tag", B, &SDP.replace("sendrecv", "recvonly")));
    let number = reinvite.headers.cseq().number;
    let in_another = text(answer(&reinvite, 200, "other", B, &SDP.replace("sendrecv", "recvonly")));
    let never_sent = late.replace(&format!("CSeq: {number} "), &format!("CSeq: {} ", number + 100_000));
    let of_update = late.replace("INVITE\r\n", "UPDATE\r\n");
    let of_another_call = late.replace("Call-ID: ", "Call-ID: x");
    let refused = late.replacen("200 OK", "488 No", 1);
    before.input(Input::HandOver);
    before.input(Input::ShutDown);
    let mut after = before.goes_on_as(Bench::strict());
    after.to_b.clear();
    for response in [
        in_another.replace("tag=b-tag", "tag=other"),
        never_sent,
        of_update,
        of_another_call,
        refused,
    ] {
        assert_ne!(response, late);
        after.from(B, response.into());
        assert!(after.to_b.is_empty(), "{:?}", after.to_b);
    }
    after.from("192.0.2.66:5060", late.clone().into());
    assert!(after.to_b.is_empty() && after.to_c.is_empty(), "{:?}", after.to_b);
    after.from(B, late.into());
    assert_eq!(methods(&after)[0], Method::Ack);
}
