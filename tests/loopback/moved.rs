//! A party that a REFER moves to another call, which we execute: its SRTP goes on there by the key that it has.

use std::net::{SocketAddr, UdpSocket};

use onrecord::model::SrtpKey;
use onrecord::rtp::{SRTP_GROWTH_MAX, Sealer};
use onrecord::sdp::Crypto;

use rustix::process::Signal;

use super::bench::Bench;
use super::phone::{Heard, Phone};

const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

/// Bob's trunk has its media encrypted; we execute Alice's transfers, and whoever is called from Bob's trunk is at hers.
fn bench() -> Bench {
    let mut bench = Bench::new(220);
    bench.change_config("name = \"pbx\"", "name = \"pbx\"\nrefer = \"execute\"");
    bench.change_config(
        "name = \"carrier\"",
        "name = \"carrier\"\nsrtp = \"require\"\nsdes_over = \"any\"",
    );
    bench.change_config("[recorder]", "[[route]]\nfrom = \"carrier\"\nto = \"pbx\"\n[recorder]");
    bench.start();
    bench
}

/// Bob answers an offer by his key.
fn accept_sealed(bob: &Phone, invite: &Heard) {
    let offered = invite.text.lines().find(|line| line.contains(SUITE)).expect("a key");
    let (attribute, _) = offered.split_once(' ').unwrap();
    let plain = bob.answer_to(invite).replace("RTP/AVP", "RTP/SAVP");
    let (head, rest) = plain.split_once("Content-Length").unwrap();
    let (_, sdp) = rest.split_once("\r\n\r\n").unwrap();
    let sdp = format!("{sdp}{attribute} {SUITE} inline:{KEY}\r\n");
    let answer = format!("{head}Content-Length: {}\r\n\r\n{sdp}", sdp.len());
    bob.send(invite.from, &answer);
}

fn key() -> SrtpKey {
    Crypto::parse(&format!("1 {SUITE} inline:{KEY}")).unwrap().key
}

/// A packet of Bob's stream with this sequence number.
fn speak(sealer: &mut Sealer, socket: &UdpSocket, sequence: u16, to: SocketAddr) {
    let [high, low] = sequence.to_be_bytes();
    let clear = [&[0x80, 8, high, low, 0, 0, 0, 160, 0, 0, 0, 7][..], &[0x55; 160]].concat();
    let mut packet = clear.clone();
    packet.resize(clear.len() + SRTP_GROWTH_MAX, 0);
    let length = sealer.seal_rtp(&mut packet, clear.len()).unwrap();
    socket.send_to(&packet[..length], to).unwrap();
}

fn refer(bench: &Bench, ok: &Heard) {
    let (proxy, alice) = (bench.proxy, &bench.a);
    let contact = format!("<sip:alice@{}>", alice.local());
    let text = format!(
        "REFER {} SIP/2.0\r\nVia: {};branch=z9hG4bK-refer\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 2 REFER\r\n\
         Contact: {contact}\r\nRefer-To: <sip:dave@{proxy}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        ok.header("Contact").trim_matches(['<', '>']),
        alice.via(),
        ok.header("From"),
        ok.header("To"),
        ok.header("Call-ID"),
    );
    alice.send(proxy, &text);
    alice.hear("SIP/2.0 202");
    alice.accept(&alice.hear("NOTIFY"));
}

#[test]
fn who_goes_over_after_a_rollover_of_its_key_is_heard_in_the_new_call() {
    let mut bench = bench();
    bench.a.invite(bench.proxy, "bob", "one");
    let invite = bench.b.hear("INVITE");
    accept_sealed(&bench.b, &invite);
    let ok = bench.a.hear("SIP/2.0 200");
    bench.a.ack(bench.proxy, &ok);
    bench.b.hear("ACK");
    let (mut sealer, socket) = (Sealer::new(&key()).unwrap(), UdpSocket::bind("127.220.0.3:0").unwrap());
    for sequence in [10_000, 30_000, 50_000, 10] {
        speak(&mut sealer, &socket, sequence, invite.media());
        assert_eq!(bench.a.listen(), ok.media());
    }
    refer(&bench, &ok);
    // Dave has Alice's phone.
    let called = bench.a.hear("INVITE");
    bench.a.accept(&called);
    let moved = bench.b.hear("INVITE");
    accept_sealed(&bench.b, &moved);
    bench.b.hear("ACK");
    bench.a.accept(&bench.a.hear("NOTIFY"));
    bench.a.accept(&bench.a.hear("BYE"));
    assert_ne!(moved.media(), invite.media());
    for sequence in 11..21 {
        speak(&mut sealer, &socket, sequence, moved.media());
        assert_eq!(bench.a.listen(), called.media());
    }
    bench.signal(Signal::TERM);
    for phone in [&bench.a, &bench.b] {
        phone.accept(&phone.hear("BYE"));
    }
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
    assert_eq!(
        bench.outcomes(),
        [("recorded".to_owned(), true), ("recorded".to_owned(), true)]
    );
}
