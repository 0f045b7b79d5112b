//! Phones that register through us by a connection: called by it while it is open, by the next one when that is gone.

use std::net::TcpStream;

use super::bench::Bench;
use super::certificates::Authority;
use super::line::Line;
use super::phone::{Heard, Phone};
use super::transports::{ADVERTISED, caller, configure, end, trunk};

/// Calls that may be made until the end of a connection is known.
const CALLS_MAX: usize = 200;

/// Phones come by TCP and by WebSocket; their registrar is the carrier, B by UDP.
fn bench(net: u8) -> (Bench, Authority) {
    let bench = Bench::new(net);
    let listen = format!("\"tcp:127.{net}.0.1:5060\", \"wss:127.{net}.0.1:5443\", \"udp:127.{net}.0.1:5060\"");
    let tls = "[listen.tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"";
    let trunks = trunk("pbx", &format!("127.{net}.0.2"), "transport = \"tcp\"")
        + &trunk("carrier", &format!("127.{net}.0.3:5060"), "")
        + "[[route]]\nfrom = \"carrier\"\nto = \"pbx\"\n";
    configure(&bench, net, &listen, tls, &trunks);
    let authority = Authority::new();
    authority.write(bench.folder.path());
    authority.write_identity(bench.folder.path(), ADVERTISED);
    (bench, authority)
}

/// The registrar grants; the Route of what it sends the phone from now on.
fn registers(bench: &Bench, phone: &Phone, contact: &str, call_id: &str) -> String {
    let via = phone.via();
    phone.send(
        bench.proxy,
        &format!(
            "REGISTER sip:carrier.example SIP/2.0\r\nVia: {via};branch=z9hG4bK-{call_id}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@carrier.example>;tag=r\r\nTo: <sip:alice@carrier.example>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 REGISTER\r\nContact: <{contact}>\r\nSupported: path, outbound\r\nContent-Length: 0\r\n\r\n"
        ),
    );
    let register = bench.b.hear("REGISTER");
    assert_eq!(register.header("Contact"), format!("<{contact}>"));
    let answer = bench.b.answer_to(&register);
    let binding = |line: &str| match line.strip_prefix("Contact: ") {
        Some(_) => format!("Contact: <{contact}>;expires=600\r\n"),
        None => format!("{line}\r\n"),
    };
    let granted: String = answer.lines().map(binding).collect();
    bench.b.send(register.from, &granted);
    assert!(phone.hear("SIP/2.0 200").header("Contact").ends_with(";expires=600"));
    format!("Route: {}\r\n", register.header("Path"))
}

/// A call from the registrar down that Route, which the registrar ends.
fn is_called(bench: &Bench, phone: &Phone, contact: &str, call_id: &str, route: &str) {
    bench.b.invite_at(bench.proxy, contact, call_id, route);
    let invite = phone.hear("INVITE");
    assert!(invite.start_line().starts_with(&format!("INVITE {contact} ")));
    phone.accept(&invite);
    let ok = bench.b.hear("SIP/2.0 200");
    bench.b.ack(bench.proxy, &ok);
    phone.hear("ACK");
    bench.b.hangs_up(bench.proxy, &ok, phone);
}

/// How a call down that Route ends that nobody answers.
fn refusal(bench: &Bench, contact: &str, call_id: &str, route: &str) -> Heard {
    bench.b.invite_at(bench.proxy, contact, call_id, route);
    let refusal = bench.b.hear("SIP/2.0 4");
    bench.b.ack(bench.proxy, &refusal);
    refusal
}

fn until_its_end_is_known(bench: &Bench, contact: &str, name: &str, route: &str) {
    let is_430 = |call: usize| {
        let refusal = refusal(bench, contact, &format!("{name}-gone-{call}"), route);
        refusal.start_line().starts_with("SIP/2.0 430 ")
    };
    assert!((0..CALLS_MAX).any(is_430), "{}", bench.log());
}

fn story(net: u8, contact: &str, port: u16, line: impl Fn(TcpStream, &Authority) -> Line) {
    let (mut bench, authority) = bench(net);
    bench.start();
    let opens = || caller(net, |stream| line(stream, &authority), port);
    let phone = opens();
    let first = registers(&bench, &phone, contact, "reg-1");
    is_called(&bench, &phone, contact, "call-1", &first);
    drop(phone);
    until_its_end_is_known(&bench, contact, "first", &first);

    let phone = opens();
    let second = registers(&bench, &phone, contact, "reg-2");
    assert_ne!(first, second);
    let refused = refusal(&bench, contact, "call-2", &first);
    assert!(refused.start_line().starts_with("SIP/2.0 430 "), "{}", refused.text);
    is_called(&bench, &phone, contact, "call-3", &second);
    end(bench);
}

#[test]
fn a_phone_behind_a_nat_is_called_by_its_tcp_connection_by_none_when_that_dies_and_by_its_next() {
    story(160, "sip:alice@10.0.0.7:5060;transport=tcp", 5060, |stream, _| {
        Line::tcp(stream)
    });
}

#[test]
fn a_page_is_called_by_its_websocket_by_none_when_that_dies_and_by_its_next() {
    let wss = |stream, authority: &Authority| Line::wss(stream, ADVERTISED, authority);
    story(161, "sip:alice@p7k2.invalid;transport=ws", 5443, wss);
}
