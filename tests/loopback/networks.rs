//! A node with a foot in two networks, and trunks that are ranges of addresses.

use std::fs;
use std::net::SocketAddr;

use super::bench::Bench;
use super::line::Line;
use super::phone::Phone;
use super::transports::{ADVERTISED, behind_tls, caller, end};

/// A request that this node answers itself.
fn ask(phone: &Phone, at: SocketAddr, call_id: &str) {
    let via = phone.via();
    phone.send(
        at,
        &format!(
            "OPTIONS sip:{at} SIP/2.0\r\nVia: {via};branch=z9hG4bK-{call_id}\r\nFrom: <sip:a@b>;tag=o\r\nTo: <sip:{at}>\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ),
    );
}

/// 127.156 is inside, with A; 127.157 is outside, with B.
fn on_two_networks() -> Bench {
    let mut bench = Bench::new(156);
    bench.b = Phone::new("bob", "127.157.0.3");
    let trunk = |name: &str, peer: &str, ours: &str| {
        format!(
            "[[trunk]]\nname = \"{name}\"\npeers = [\"{peer}:5060\"]\nlisten = \"udp:{ours}:5060\"\nmedia = \"{ours}\"\n"
        )
    };
    let config = format!(
        "node = \"bench\"\ndata = \"data\"\n[listen]\nsip = [\"udp:127.156.0.1:5060\", \"udp:127.157.0.1:5060\"]\n\
         media = {{ address = \"127.156.0.1\", ports = \"20000-20199\" }}\n{}{}\
         [[route]]\nfrom = \"pbx\"\nto = \"carrier\"\n\
         [recorder]\nvolumes = [{{ path = \"data/spool\", reserve = \"1MiB\" }}]\n",
        trunk("pbx", "127.156.0.2", "127.156.0.1"),
        trunk("carrier", "127.157.0.3", "127.157.0.1"),
    );
    fs::write(bench.folder.path().join("onrecord.toml"), config).unwrap();
    bench
}

#[test]
fn a_node_of_two_networks_shows_each_side_its_own_addresses_and_hears_each_at_its_own_alone() {
    let mut bench = on_two_networks();
    bench.start();
    let (inside, outside) = (bench.proxy, "127.157.0.1:5060".parse::<SocketAddr>().unwrap());
    bench.a.invite(inside, "bob", "one");
    let invite = bench.b.hear("INVITE");
    assert_eq!(invite.from, outside);
    assert!(invite.header("Via").starts_with("SIP/2.0/UDP 127.157.0.1:5060;"));
    assert_eq!(invite.header("Contact"), "<sip:127.157.0.1:5060>");
    assert_eq!(invite.media().ip(), outside.ip());
    bench.b.accept(&invite);
    let ok = bench.a.hear("SIP/2.0 200");
    assert_eq!((ok.from, ok.media().ip()), (inside, inside.ip()));
    assert_eq!(ok.header("Contact"), "<sip:127.156.0.1:5060>");
    bench.a.ack(inside, &ok);
    bench.b.hear("ACK");
    bench.a.speak(ok.media());
    assert_eq!(
        bench.b.listen(),
        invite.media(),
        "media crosses from one network to the other"
    );
    bench.b.speak(invite.media());
    assert_eq!(bench.a.listen(), ok.media());

    // To the other side's listener, and then to its own: the one answer is the second's.
    for (phone, others, own) in [(&bench.a, outside, inside), (&bench.b, inside, outside)] {
        ask(phone, others, "elsewhere");
        ask(phone, own, "here");
        let answer = phone.hear("SIP/2.0 200");
        assert_eq!((answer.header("Call-ID"), answer.from), ("here", own));
    }
    bench.a.within(inside, &ok, "BYE", 2);
    let bye = bench.b.hear("BYE");
    bench.b.accept(&bye);
    bench.a.hear("SIP/2.0 200");
    end(bench);
}

#[test]
fn everybody_of_a_range_calls_by_tls_and_is_told_our_name_and_nobody_else() {
    let (mut bench, authority) = behind_tls(159, "client_ca = \"ca.pem\"", "");
    // A is .2 and in it, B is .3 and not.
    bench.change_config("\"127.159.0.2\"", "\"127.159.0.2/31\"");
    bench.change_config("127.159.0.3:", "127.159.0.4:");
    bench.b = Phone::new("bob", "127.159.0.4");
    bench.start();
    let secured = |stream| Line::tls(stream, ADVERTISED, &authority, Some("sip.example.net"));
    let a = caller(159, secured, 5061);
    ask(&a, bench.proxy, "ping");
    let contact = format!("<sip:{ADVERTISED}:5061;transport=tls>");
    assert_eq!(a.hear("SIP/2.0 200").header("Contact"), contact);
    a.invite(bench.proxy, "bob", "one");
    let invite = bench.b.hear("INVITE");
    bench.b.accept(&invite);
    let ok = a.hear("SIP/2.0 200");
    assert_eq!(ok.header("Contact"), contact);
    a.ack(bench.proxy, &ok);
    bench.b.hear("ACK");
    a.hangs_up(bench.proxy, &ok, &bench.b);
    let strangers = |bench: &Bench| bench.status()["sip"]["strangers"].as_u64();
    let before = strangers(&bench);
    let stranger = Phone::new("mallory", "127.159.0.6");
    ask(&stranger, bench.proxy, "stranger");
    bench.until(|status| status["sip"]["strangers"].as_u64() > before);
    end(bench);
}
