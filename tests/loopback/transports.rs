//! Calls over TLS, WebSocket, TCP and IPv6, and next hops that are not there.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::bench::Bench;
use super::certificates::Authority;
use super::line::Line;
use super::phone::{PATIENCE, Phone};
use onrecord::live::clock::Clock;
use rustix::process::Signal;
use socket2::{Domain, SockAddr, Socket, Type};

pub const ADVERTISED: &str = "sbc.example.com";

/// `listen` is the list of listeners, `more` what follows `media`.
pub fn configure(bench: &Bench, net: u8, listen: &str, more: &str, trunks: &str) {
    let config = format!(
        "node = \"bench\"\ndata = \"data\"\n[listen]\nsip = [{listen}]\n\
         media = {{ address = \"127.{net}.0.1\", address6 = \"::1\", ports = \"20000-20199\" }}\n{more}\n{trunks}\n\
         [[route]]\nfrom = \"pbx\"\nto = \"carrier\"\n\
         [recorder]\nvolumes = [{{ path = \"data/spool\", reserve = \"1MiB\" }}]\n"
    );
    fs::write(bench.folder.path().join("onrecord.toml"), config).unwrap();
}

pub fn trunk(name: &str, peer: &str, more: &str) -> String {
    format!("[[trunk]]\nname = \"{name}\"\npeers = [\"{peer}\"]\n{more}\n")
}

/// A bench whose `pbx` comes by TLS to a listener that is advertised by its name, and whose `carrier` is B over UDP.
pub fn behind_tls(net: u8, listen_tls: &str, pbx_tls: &str) -> (Bench, Authority) {
    let bench = Bench::new(net);
    let listen = format!(
        "{{ listen = \"tls:127.{net}.0.1:5061\", advertised = \"{ADVERTISED}:5061\" }}, \"udp:127.{net}.0.1:5060\", \
         \"wss:127.{net}.0.1:5443\""
    );
    let tls = format!("[listen.tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n{listen_tls}");
    let pbx = format!("transport = \"tls\"\n[trunk.tls]\nca = \"ca.pem\"\n{pbx_tls}");
    let trunks = trunk("pbx", &format!("127.{net}.0.2"), &pbx) + &trunk("carrier", &format!("127.{net}.0.3:5060"), "");
    configure(&bench, net, &listen, &tls, &trunks);
    let authority = Authority::new();
    authority.write(bench.folder.path());
    authority.write_identity(bench.folder.path(), ADVERTISED);
    (bench, authority)
}

/// A connection from A's address to a port of the proxy.
fn connect(net: u8, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let at = |text: String| SockAddr::from(text.parse::<SocketAddr>().unwrap());
    socket.bind(&at(format!("127.{net}.0.2:0"))).unwrap();
    socket.connect(&at(format!("127.{net}.0.1:{port}"))).unwrap();
    socket.into()
}

pub fn caller(net: u8, line: impl FnOnce(TcpStream) -> Line, port: u16) -> Phone {
    let stream = connect(net, port);
    let local = stream.local_addr().unwrap();
    Phone::over("alice", line(stream), local)
}

pub fn end(mut bench: Bench) {
    bench.ends_well();
}

/// A call from `a` to B with a packet each way, then B hangs up: the BYE has to find A.
fn talk_and_hang_up(bench: &mut Bench, a: &mut Phone, call_id: &str) {
    a.invite(bench.proxy, "bob", call_id);
    let invite = bench.b.hear("INVITE");
    bench.b.accept(&invite);
    let ok = a.hear("SIP/2.0 200");
    a.ack(bench.proxy, &ok);
    let ack = bench.b.hear("ACK");
    a.speak(ok.media());
    bench.b.listen();
    bench.b.speak(invite.media());
    a.listen();
    // B's dialog, seen from its side.
    let from = ack.header("From").to_owned();
    let to = ack.header("To").to_owned();
    let bye = format!(
        "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-bye-{call_id}\r\nFrom: {to}\r\nTo: {from}\r\n\
         Call-ID: {}\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        invite.header("Contact").trim_matches(['<', '>']),
        bench.b.local(),
        ack.header("Call-ID")
    );
    bench.b.send(bench.proxy, &bye);
    let bye = a.hear("BYE");
    a.accept(&bye);
    bench.b.hear("SIP/2.0 200");
}

#[test]
fn a_call_from_tls_crosses_and_the_advertised_name_stands_in_via_and_contact() {
    let (mut bench, authority) = behind_tls(141, "", "");
    bench.start();
    let a = caller(141, |stream| Line::tls(stream, ADVERTISED, &authority, None), 5061);
    let proxy = bench.proxy;
    a.send(
        proxy,
        "OPTIONS sip:sbc.example.com:5061;transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS 127.141.0.2:5061;branch=z9hG4bKo\r\n\
         From: <sip:a@b>;tag=o\r\nTo: <sip:sbc.example.com>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let contact = format!("<sip:{ADVERTISED}:5061;transport=tls>");
    assert_eq!(a.hear("SIP/2.0 200").header("Contact"), contact);

    a.invite(proxy, "bob", "one");
    let invite = bench.b.hear("INVITE");
    assert!(
        invite.header("Via").starts_with("SIP/2.0/UDP 127.141.0.1:5060;"),
        "not advertised"
    );
    bench.b.accept(&invite);
    let ok = a.hear("SIP/2.0 200");
    assert_eq!(ok.header("Contact"), contact);
    a.ack(proxy, &ok);
    bench.b.hear("ACK");
    bench.signal(Signal::TERM);
    let bye = a.hear("BYE");
    let via = format!("SIP/2.0/TLS {ADVERTISED}:5061;");
    assert!(
        bye.header("Via").starts_with(&via) && bye.header("Via").contains(";alias"),
        "{}",
        bye.text
    );
    a.accept(&bye);
    let bye = bench.b.hear("BYE");
    bench.b.accept(&bye);
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
}

#[test]
fn who_has_no_certificate_or_anothers_is_refused_where_one_is_demanded() {
    let (mut bench, authority) = behind_tls(142, "client_ca = \"ca.pem\"", "client_name = \"pbx.example.com\"");
    bench.start();
    for own in [None, Some("other.example.com")] {
        let a = caller(142, |stream| Line::tls(stream, ADVERTISED, &authority, own), 5061);
        // The refusal may come before or after the first message is written.
        let _may_be_refused_already = a.try_send(bench.proxy, "\r\n\r\n");
        assert!(a.is_cut_off(), "{own:?}");
    }
    let foreign = Authority::new();
    let a = caller(142, |stream| Line::tls(stream, ADVERTISED, &foreign, None), 5061);
    assert!(
        a.try_send(bench.proxy, "\r\n\r\n").is_err(),
        "the proxy's certificate is not of this authority"
    );
    bench.until(|status| status["sip"]["connections_refused"].as_u64() >= Some(3));

    let own = Some("pbx.example.com");
    let mut a = caller(142, |stream| Line::tls(stream, ADVERTISED, &authority, own), 5061);
    talk_and_hang_up(&mut bench, &mut a, "one");
    end(bench);
}

#[test]
fn a_trunk_that_says_so_is_called_by_the_connection_that_it_has_opened() {
    let (mut bench, authority) = behind_tls(149, "client_ca = \"ca.pem\"", "");
    let config = bench.folder.path().join("onrecord.toml");
    let text = fs::read_to_string(&config).unwrap() + "[[route]]\nfrom = \"carrier\"\nto = \"pbx\"\n";
    fs::write(&config, text).unwrap();
    bench.start();
    let own = Some("pbx.example.com");
    let a = caller(149, |stream| Line::tls(stream, ADVERTISED, &authority, own), 5061);
    // Before it has said so it is connected to, and does not listen.
    bench.b.invite(bench.proxy, "alice", "one");
    let refusal = bench.b.hear("SIP/2.0 480");
    bench.b.ack(bench.proxy, &refusal);

    let options = "OPTIONS sip:sbc.example.com:5061;transport=tls SIP/2.0\r\n\
                   Via: SIP/2.0/TLS pbx.example.com;branch=z9hG4bKo;alias\r\n\
                   From: <sip:a@b>;tag=o\r\nTo: <sip:sbc.example.com>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\
                   Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    a.send(bench.proxy, options);
    a.hear("SIP/2.0 200");
    bench.b.invite(bench.proxy, "alice", "two");
    let invite = a.hear("INVITE");
    a.accept(&invite);
    let ok = bench.b.hear("SIP/2.0 200");
    bench.b.ack(bench.proxy, &ok);
    a.hear("ACK");
    bench.b.hangs_up(bench.proxy, &ok, &a);
    end(bench);
}

#[test]
fn new_certificates_are_shown_to_new_connections_while_calls_go_on() {
    let (mut bench, authority) = behind_tls(143, "", "");
    bench.start();
    let shown = || {
        let stream = connect(143, 5061);
        let config = std::sync::Arc::new(authority.client_config(None));
        let name = ADVERTISED.to_owned().try_into().unwrap();
        let mut connection = rustls::ClientConnection::new(config, name).unwrap();
        connection.complete_io(&mut &stream).unwrap();
        connection.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let mut a = caller(143, |stream| Line::tls(stream, ADVERTISED, &authority, None), 5061);
    a.invite(bench.proxy, "bob", "one");
    let invite = bench.b.hear("INVITE");
    bench.b.accept(&invite);
    let ok = a.hear("SIP/2.0 200");
    a.ack(bench.proxy, &ok);
    bench.b.hear("ACK");

    let before = shown();
    fs::write(bench.folder.path().join("chain.pem"), "half of a renewal").unwrap();
    let reload = bench.verb(&["reload", "--data", "data"]);
    assert_eq!(reload.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&reload.stderr).contains("chain.pem"),
        "{reload:?}"
    );
    assert_eq!(shown(), before, "what is in force stays");

    let renewed = authority.write_identity(bench.folder.path(), ADVERTISED);
    assert_eq!(bench.verb(&["reload", "--data", "data"]).status.code(), Some(0));
    assert_eq!(shown(), renewed);
    a.speak(ok.media());
    bench.b.listen();
    a.hangs_up(bench.proxy, &ok, &bench.b);

    // Without being told, too.
    let again = authority.write_identity(bench.folder.path(), ADVERTISED);
    let clock = Clock::start();
    let patience = clock.now() + PATIENCE;
    while shown() != again {
        assert!(clock.now() < patience, "{}", bench.log());
    }
    end(bench);
}

#[test]
fn a_browser_calls_by_websocket_and_is_hung_up_on_by_the_same() {
    let (mut bench, authority) = behind_tls(144, "", "");
    bench.start();
    let mut a = caller(144, |stream| Line::wss(stream, ADVERTISED, &authority), 5443);
    talk_and_hang_up(&mut bench, &mut a, "one");
    end(bench);
}

/// A server of TLS of that name, once it is connected to.
fn carrier(authority: &Authority, listener: &TcpListener, name: &str) -> Phone {
    let (stream, _) = listener.accept().unwrap();
    let local = stream.local_addr().unwrap();
    Phone::over("bob", Line::tls_server(stream, authority, name), local)
}

#[test]
fn a_trunk_is_reached_by_tls_if_it_proves_its_name() {
    let mut bench = Bench::new(145);
    let authority = Authority::new();
    authority.write(bench.folder.path());
    authority.write_identity(bench.folder.path(), ADVERTISED);
    let more = "[listen.tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"";
    let tls = "transport = \"tls\"\n[trunk.tls]\nca = \"ca.pem\"\nserver_name = \"carrier.example.com\"";
    let trunks = trunk("pbx", "127.145.0.2:5060", "") + &trunk("carrier", "127.145.0.3", tls);
    let listen = "\"udp:127.145.0.1:5060\", \"tls:127.145.0.1:5061\"";
    configure(&bench, 145, listen, more, &trunks);
    let listener = TcpListener::bind("127.145.0.3:5061").unwrap();
    bench.start();

    bench.a.invite(bench.proxy, "bob", "one");
    let impostor = carrier(&authority, &listener, "impostor.example.com");
    assert!(impostor.is_cut_off());
    let refusal = bench.a.hear("SIP/2.0 4");
    bench.a.ack(bench.proxy, &refusal);

    bench.a.invite(bench.proxy, "bob", "two");
    let b = carrier(&authority, &listener, "carrier.example.com");
    let invite = b.hear("INVITE");
    assert!(
        invite.header("Via").starts_with("SIP/2.0/TLS 127.145.0.1:5061;"),
        "{}",
        invite.text
    );
    b.accept(&invite);
    let ok = bench.a.hear("SIP/2.0 200");
    bench.a.ack(bench.proxy, &ok);
    b.hear("ACK");
    bench.a.hangs_up(bench.proxy, &ok, &b);
    end(bench);
}

/// An INVITE of about two kilobytes: more than goes into a datagram.
pub fn long_invite(bench: &Bench, call_id: &str) {
    let more = format!("X-Long: {}\r\n", "x".repeat(1_500));
    bench.a.invite_with(bench.proxy, "bob", call_id, &more);
}

#[test]
fn a_long_invite_goes_by_tcp_and_the_rest_of_its_call_by_udp() {
    let mut bench = Bench::new(146);
    let trunks = trunk("pbx", "127.146.0.2:5060", "") + &trunk("carrier", "127.146.0.3:5060", "");
    let listen = "\"udp:127.146.0.1:5060\", \"tcp:127.146.0.1:5060\"";
    configure(&bench, 146, listen, "", &trunks);
    bench.start();

    // Nobody takes the connection: it is a datagram after all, at once.
    let clock = Clock::start();
    let begun = clock.now();
    long_invite(&bench, "one");
    let invite = bench.b.hear("INVITE");
    assert!(
        clock.now().since(begun) < Duration::from_secs(3),
        "{:?}",
        clock.now().since(begun)
    );
    assert!(invite.header("Via").starts_with("SIP/2.0/UDP "), "{}", invite.text);
    bench.b.accept(&invite);
    let ok = bench.a.hear("SIP/2.0 200");
    bench.a.ack(bench.proxy, &ok);
    bench.b.hear("ACK");

    let listener = TcpListener::bind("127.146.0.3:5060").unwrap();
    long_invite(&bench, "two");
    let (stream, _) = listener.accept().unwrap();
    let local = stream.local_addr().unwrap();
    let by_tcp = Phone::over("bob", Line::tcp(stream), "127.146.0.3:5060".parse().unwrap());
    let invite = by_tcp.hear("INVITE");
    assert!(
        invite.header("Via").starts_with("SIP/2.0/TCP 127.146.0.1:5060;"),
        "{}",
        invite.text
    );
    assert!(!invite.header("Contact").contains("transport"), "{}", invite.text);
    assert_eq!(local.port(), 5060);
    let answer = bench.b.answer_to(&invite);
    by_tcp.send(local, &answer);
    let ok = bench.a.hear("SIP/2.0 200");
    bench.a.ack(bench.proxy, &ok);
    bench.b.hear("ACK");
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);

    bench.signal(Signal::TERM);
    for phone in [&bench.a, &bench.b] {
        let bye = phone.hear("BYE");
        phone.accept(&bye);
    }
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
}

#[test]
fn a_next_hop_that_is_not_there_costs_no_more_than_a_round_trip() {
    let mut bench = Bench::new(147);
    let trunks = trunk("pbx", "127.147.0.2:5060", "") + &trunk("carrier", "127.147.0.9:5060", "");
    configure(&bench, 147, "\"udp:127.147.0.1:5060\"", "", &trunks);
    bench.start();
    let clock = Clock::start();
    let begun = clock.now();
    bench.a.invite(bench.proxy, "bob", "one");
    let refusal = bench.a.hear("SIP/2.0 480");
    assert!(
        clock.now().since(begun) < Duration::from_secs(5),
        "{:?}",
        clock.now().since(begun)
    );
    bench.a.ack(bench.proxy, &refusal);
    assert_eq!(bench.status()["sip"]["bounced"], 1);
    end(bench);
}

#[test]
fn a_call_crosses_from_ipv4_to_ipv6_with_its_media() {
    let mut bench = Bench::new(148);
    let ipv6: IpAddr = "::1".parse().unwrap();
    bench.b = Phone::at("bob", SocketAddr::new(ipv6, 0));
    let trunks = trunk("pbx", "127.148.0.2:5060", "") + &trunk("carrier", &bench.b.local().to_string(), "");
    let listen = "\"udp:127.148.0.1:5060\", \"udp:[::1]:25148\"";
    configure(&bench, 148, listen, "", &trunks);
    bench.start();
    let ok = bench.call("one");
    assert!(ok.media().is_ipv4());
    bench.a.within(bench.proxy, &ok, "BYE", 2);
    let bye = bench.b.hear("BYE");
    assert!(
        bye.header("Via").starts_with("SIP/2.0/UDP [::1]:25148;"),
        "{}",
        bye.text
    );
    bench.b.accept(&bye);
    bench.a.hear("SIP/2.0 200");
    end(bench);
}

#[test]
fn a_call_that_fails_over_from_ipv4_to_ipv6_takes_its_media_along() {
    let mut bench = Bench::new(158);
    bench.b = Phone::at("bob", SocketAddr::new("::1".parse().unwrap(), 0));
    // Nobody listens at the first address: its ICMP error moves the call to the second.
    let peers = format!("127.158.0.9:5060\", \"{}", bench.b.local());
    let trunks = trunk("pbx", "127.158.0.2:5060", "") + &trunk("carrier", &peers, "");
    configure(
        &bench,
        158,
        "\"udp:127.158.0.1:5060\", \"udp:[::1]:25158\"",
        "",
        &trunks,
    );
    bench.change_config("20000-20199", "20400-20499");
    bench.start();
    let ok = bench.call("one");
    assert!(ok.media().is_ipv4());
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);
    bench.ends_well();
    assert_eq!(bench.outcomes(), [("recorded".to_owned(), true)]);
}
