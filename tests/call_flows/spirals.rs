//! An INVITE that a neighbour sends back to us under our Call-ID: for somebody else it is a spiral, for the same party at
//! the same place a loop (RFC 3261 §6).

use onrecord::sip::Request;

use super::bench::{A, B, Bench, PROXY, SDP};
use super::party::{ALICE, BOB, CAROL, DAVE, PhoneDialog};

/// As a proxy at `by` sends on what it got from us: to this user by us, with its Via.
fn sent_back(invite: &Request, by: &str, user: &str) -> bytes::Bytes {
    let text = String::from_utf8(invite.encode().to_vec()).unwrap();
    let (_, rest) = text.split_once("\r\n").unwrap();
    let via = format!(
        "Via: SIP/2.0/UDP {by};branch=z9hG4bKspiral-{user}-{}",
        invite.headers.call_id()
    );
    format!(
        "INVITE sip:{user}@{PROXY} SIP/2.0\r\n{via}\r\n{}",
        rest.replacen("Max-Forwards: 69", "Max-Forwards: 68", 1)
    )
    .into()
}

#[test]
fn an_invite_that_comes_back_for_the_same_party_is_a_loop() {
    let mut bench = Bench::strict();
    bench.invites(ALICE, &format!("sip:bob@{PROXY}"), "call-1", "");
    let first = bench.newest(B, "INVITE");
    bench.from(B, sent_back(&first, B, "dave"));
    let second = bench.newest(A, "INVITE");
    assert_ne!(first.headers.call_id(), second.headers.call_id());
    // The PBX sends Dave's calls to Bob: under the Call-ID of the second call, whose INVITE was the first one's.
    for (by, looped) in [(A, &second), (A, &first)] {
        bench.from(by, sent_back(looped, by, "bob"));
        assert_eq!(bench.response_to_a().status, 482);
    }
    bench.from(B, sent_back(&first, B, "dave"));
    assert_eq!(bench.signaling.calls(), 2, "a copy of the INVITE is no call");
}

#[test]
fn an_invite_that_comes_back_for_somebody_else_is_a_call_of_its_own() {
    let mut bench = Bench::strict();
    bench.invites(ALICE, &format!("sip:bob@{PROXY}"), "call-1", "");
    let first = bench.newest(B, "INVITE");
    bench.from(B, sent_back(&first, B, "dave"));
    let second = bench.newest(A, "INVITE");
    assert_eq!(second.uri.to_string(), format!("sip:dave@{A}"));
    // Dave answers; the proxy between passes everything on, so both of our legs have one dialog with each other.
    bench.answers(DAVE, "INVITE", 200, SDP);
    let ok = bench.response_to_b();
    assert_eq!((ok.status, ok.headers.call_id()), (200, first.headers.call_id()));
    relay(&mut bench, &ok);
    let answered = bench.response_to_a();
    assert_eq!((answered.status, answered.headers.call_id()), (200, "call-1"));
    let mut alice = PhoneDialog::of_caller(ALICE, &answered);
    let ack = alice.request("ACK", "", "");
    bench.from(A, ack);
    back(&mut bench, "ACK");
    assert_eq!(bench.newest(A, "ACK").headers.call_id(), second.headers.call_id());
    let bye = alice.request("BYE", "", "");
    bench.from(A, bye);
    back(&mut bench, "BYE");
    bench.answers(DAVE, "BYE", 200, "");
    let session = bench.headers()[0].session;
    assert_eq!(
        bench.conversations(),
        [session; 2],
        "both are recorded, as one conversation"
    );
    bench.assert_nothing_left();
}

/// A response of ours to the proxy at B goes on to where its request came from: to us.
fn relay(bench: &mut Bench, response: &onrecord::sip::Response) {
    let text = String::from_utf8(response.encode().to_vec()).unwrap();
    let via = text.find("Via: ").unwrap();
    let end = via + text[via..].find("\r\n").unwrap() + 2;
    bench.from(B, format!("{}{}", &text[..via], &text[end..]).into());
}

/// The newest request of ours to the proxy at B comes back by it, and so does our answer.
fn back(bench: &mut Bench, method: &str) {
    let request = bench.newest(B, method);
    let text = String::from_utf8(request.encode().to_vec()).unwrap();
    let via = format!("Via: SIP/2.0/UDP {B};branch=z9hG4bKback-{method}\r\nVia: ");
    bench.from(B, text.replacen("Via: ", &via, 1).into());
    if method != "ACK" {
        let response = bench.response_to_b();
        relay(bench, &response);
    }
}

/// Alice's INVITE for a user as a proxy before us sends it by one of its ways.
fn by_way(branch: &str, user: &str, number: u32) -> bytes::Bytes {
    format!(
        "INVITE sip:{user}@{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@{PROXY}>\r\nCall-ID: call-1\r\nCSeq: {number} INVITE\r\n\
         Contact: <sip:alice@{A}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
    .into()
}

#[test]
fn an_invite_that_comes_by_two_ways_rings_once() {
    let mut bench = Bench::strict();
    bench.from(A, by_way("one", "bob", 1));
    bench.answers(BOB, "INVITE", 180, "");
    bench.from(A, by_way("two", "bob", 1));
    assert_eq!((bench.response_to_a().status, bench.signaling.calls()), (482, 1));
    // A fork asks for others by its branches, and who was refused may ask anew.
    bench.from(A, by_way("three", "dave", 1));
    bench.from(A, by_way("four", "bob", 2));
    assert_eq!(bench.signaling.calls(), 3);
}

#[test]
fn who_was_refused_by_one_way_may_come_by_another() {
    let mut bench = Bench::strict();
    bench.from(A, by_way("one", "bob", 1));
    bench.answers(BOB, "INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486);
    bench.from(A, by_way("two", "bob", 1));
    bench.answers(BOB, "INVITE", 180, "");
    assert_eq!(bench.response_to_a().status, 180);
}

#[test]
fn who_is_forwarded_in_vain_leaves_nothing() {
    let mut bench = Bench::strict();
    bench.invites(ALICE, &format!("sip:bob@{PROXY}"), "call-1", "");
    let first = bench.newest(B, "INVITE");
    bench.from(B, sent_back(&first, B, "dave"));
    bench.answers(DAVE, "INVITE", 486, "");
    assert_eq!(bench.response_to_b().status, 486);
    bench.answers(CAROL, "INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486);
    bench.assert_nothing_left();
}
