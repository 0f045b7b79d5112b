//! What a reload changes of how trunks are reached, and what a hand-over says of calls that are not kept.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::bench::Bench;
use super::line::Line;
use super::phone::Phone;
use super::transports::{ADVERTISED, behind_tls, caller, configure, end, long_invite, trunk};

fn reload(bench: &Bench) {
    let reload = bench.verb(&["reload", "--data", "data"]);
    assert_eq!(reload.status.code(), Some(0), "{reload:?}");
}

#[test]
fn a_reload_that_changes_no_more_than_how_long_requests_go_is_followed() {
    let mut bench = Bench::new(151);
    let listen = "\"udp:127.151.0.1:5060\", \"tcp:127.151.0.1:5060\"";
    let write = |bench: &Bench, more: &str| {
        let trunks = trunk("pbx", "127.151.0.2:5060", "") + &trunk("carrier", "127.151.0.3:5060", more);
        configure(bench, 151, listen, "", &trunks);
    };
    write(&bench, "");
    bench.start();
    let listener = TcpListener::bind("127.151.0.3:5060").unwrap();
    long_invite(&bench, "one");
    let (stream, _) = listener.accept().unwrap();
    let by_tcp = Phone::over("bob", Line::tcp(stream), "127.151.0.3:5060".parse().unwrap());
    let invite = by_tcp.hear("INVITE");
    by_tcp.send(bench.proxy, &bench.b.answer_to(&invite).replace("200 OK", "486 Busy"));
    let busy = bench.a.hear("SIP/2.0 486");
    bench.a.ack(bench.proxy, &busy);

    write(&bench, "large_requests = \"udp\"");
    reload(&bench);
    long_invite(&bench, "two");
    let invite = bench.b.hear("INVITE");
    assert!(invite.header("Via").starts_with("SIP/2.0/UDP "), "{}", invite.text);
    bench
        .b
        .send(bench.proxy, &bench.b.answer_to(&invite).replace("200 OK", "486 Busy"));
    let busy = bench.a.hear("SIP/2.0 486");
    bench.a.ack(bench.proxy, &busy);
    end(bench);
}

#[test]
fn a_trunk_that_a_reload_brought_to_websocket_is_called_by_what_it_opens() {
    let (mut bench, authority) = behind_tls(152, "", "");
    let path = bench.folder.path().join("onrecord.toml");
    let text = fs::read_to_string(&path).unwrap() + "[[route]]\nfrom = \"carrier\"\nto = \"pbx\"\n";
    fs::write(&path, &text).unwrap();
    bench.start();
    fs::write(&path, text.replace("transport = \"tls\"", "transport = \"wss\"")).unwrap();
    reload(&bench);
    let a = caller(152, |stream| Line::wss(stream, ADVERTISED, &authority), 5443);
    // Once it is answered its connection is known.
    let options = "OPTIONS sip:sbc.example.com SIP/2.0\r\nVia: SIP/2.0/WSS page.invalid;branch=z9hG4bKo\r\n\
                   From: <sip:a@b>;tag=o\r\nTo: <sip:sbc.example.com>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\
                   Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    a.send(bench.proxy, options);
    a.hear("SIP/2.0 200");
    bench.b.invite(bench.proxy, "alice", "one");
    let invite = a.hear("INVITE");
    a.accept(&invite);
    let ok = bench.b.hear("SIP/2.0 200");
    bench.b.ack(bench.proxy, &ok);
    a.hear("ACK");
    bench.b.hangs_up(bench.proxy, &ok, &a);
    end(bench);
}

#[test]
fn a_hand_over_says_what_the_dialog_store_has_not_kept_and_ends_it() {
    let mut bench = Bench::new(153);
    let data = bench.folder.path().join("data");
    fs::create_dir_all(&data).unwrap();
    symlink("/dev/full", data.join("dialogs")).unwrap();
    bench.start();
    bench.call("one");
    let log = || bench.log();
    let clock = onrecord::live::clock::Clock::start();
    let patience = clock.now() + super::phone::PATIENCE;
    while !log().contains("dialog store: calls would not survive") {
        assert!(clock.now() < patience, "{}", log());
    }
    let drain = bench.verb(&["drain", "--hand-over", "--data", "data"]);
    let told = String::from_utf8_lossy(&drain.stdout).into_owned();
    assert!(
        told.contains("0 calls go on at the next start; 1 is ended"),
        "{drain:?}"
    );
    for phone in [&bench.a, &bench.b] {
        let bye = phone.hear("BYE");
        phone.accept(&bye);
    }
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
}

#[test]
fn a_hand_over_does_not_wait_for_a_peer_that_does_not_answer() {
    let mut bench = Bench::new(222);
    bench.start();
    bench.call("one");
    bench.a.invite(bench.proxy, "bob", "two");
    bench.b.hear("INVITE");
    let clock = onrecord::live::clock::Clock::start();
    let begun = clock.now();
    let drain = bench.verb(&["drain", "--hand-over", "--data", "data"]);
    let told = String::from_utf8_lossy(&drain.stdout).into_owned();
    assert!(
        told.contains("1 call goes on at the next start; 1 is ended"),
        "{drain:?}"
    );
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
    let lasted = clock.now().since(begun);
    // Eight seconds are what an end that leaves nobody talking grants them.
    assert!(lasted < Duration::from_secs(5), "{lasted:?}");
    assert_eq!(bench.sealed().len(), 2, "{:?}", bench.outcomes());
}

#[test]
fn a_reload_that_loses_every_route_says_so() {
    let mut bench = Bench::new(164);
    bench.start();
    let path = bench.folder.path().join("onrecord.toml");
    let text = fs::read_to_string(&path).unwrap();
    let routes = text.find("[[route]]").unwrap();
    let recorder = text.find("[recorder]").unwrap();
    fs::write(&path, [&text[..routes], &text[recorder..]].concat()).unwrap();
    let told = bench.verb(&["reload", "--data", "data"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("P103"), "{told:?}");
}
