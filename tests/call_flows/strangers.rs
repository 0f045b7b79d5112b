//! Requests that name a dialog and come from elsewhere than its trunk: whoever knows the tags is not yet its peer.

use bytes::Bytes;
use onrecord::engine::Input;
use onrecord::sip::{Flow, Transport};
use onrecord::trunk::{Conduct, Peer, Route, Trunk};

use super::bench::{A, ALL_STRICT, B, Bench, C, PROXY, SDP, answer, route};

/// B's request in its dialog, as anybody could write it who has seen the dialog.
fn of_b(bench: &Bench, cseq: u32, method: &str) -> Bytes {
    let invite = bench.request_to_b("INVITE");
    let (to, from) = (invite.headers.get("To").unwrap(), invite.headers.get("From").unwrap());
    let call_id = invite.headers.call_id();
    format!(
        "{method} sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bK{method}{cseq};rport\r\nMax-Forwards: 70\r\nFrom: {to};tag=b-tag\r\nTo: {from}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:bob@{B}>\r\nContent-Length: 0\r\n\r\n"
    )
    .into()
}

fn by(bench: &mut Bench, transport: Transport, phone: &str, bytes: Bytes) {
    let flow = Flow {
        transport,
        local: PROXY.parse().unwrap(),
        remote: phone.parse().unwrap(),
    };
    bench.input(Input::Sip { flow, bytes });
}

fn trunk(name: &str, transport: Transport, address: &str) -> Trunk {
    let address: std::net::SocketAddr = address.parse().unwrap();
    let peer = Peer {
        ip: address.ip(),
        port: Some(address.port()),
    };
    Trunk {
        transport,
        ..Trunk::new(name.into(), vec![peer])
    }
}

fn routes() -> Vec<Route> {
    vec![route("pbx", "carrier", None), route("carrier", "pbx", None)]
}

#[test]
fn a_bye_with_the_tags_of_another_trunks_leg_gets_481_and_the_call_stays() {
    let mut bench = Bench::strict().connected();
    let bye = of_b(&bench, 7, "BYE");
    bench.from(A, bye.clone());
    assert_eq!(bench.response_to_a().status, 481);
    bench.from(A, of_b(&bench, 8, "INFO"));
    assert_eq!(bench.response_to_a().headers.cseq().number, 8);
    assert_eq!(bench.response_to_a().status, 481);
    assert!(bench.story.is_empty(), "{:#?}", bench.story);
    assert_eq!(bench.signaling.calls(), 1);
    bench.from(B, bye);
    assert_eq!(bench.response_to_b().status, 200);
    bench.a_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn the_dialog_of_a_trunk_that_is_reached_by_tls_is_not_ended_in_clear() {
    let mut bench = Bench::secured();
    bench.invite(SDP, "");
    let ok = answer(&bench.request_to_b("INVITE"), 200, "b-tag", B, SDP);
    by(&mut bench, Transport::Tls, B, ok);
    bench.a_requests(1, "ACK", "ack1", "");
    for transport in [Transport::Udp, Transport::Tcp] {
        let bye = of_b(&bench, 7, "BYE");
        by(&mut bench, transport, B, bye);
        assert_eq!(bench.signaling.calls(), 1);
    }
    let bye = of_b(&bench, 7, "BYE");
    by(&mut bench, Transport::Tls, B, bye);
    bench.a_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn an_ack_of_a_stranger_neither_settles_the_2xx_nor_is_answered() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    let ack = format!(
        "ACK sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKx;rport\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a-tag\r\nTo: <sip:bob@{PROXY}>;tag={tag}\r\nCall-ID: call-1\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
    );
    let (before, to_b) = (bench.to_a.len(), bench.to_b.len());
    bench.from(B, ack.clone().into());
    assert_eq!((bench.to_a.len(), bench.to_b.len()), (before, to_b));
    bench.wait(std::time::Duration::from_millis(600));
    assert_eq!(bench.to_a.len(), before + 1, "the 2xx is sent again");
    bench.from(A, ack.into());
    assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 1);
}

#[test]
fn a_cancel_of_a_stranger_cancels_nothing() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    let cancel = format!(
        "CANCEL sip:bob@{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKa1;rport\r\nMax-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@example.com>;tag=a-tag\r\nTo: <sip:bob@{PROXY}>\r\nCall-ID: call-1\r\nCSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n"
    );
    bench.from(B, cancel.into());
    assert!(
        !bench.story.iter().any(|rung| rung.starts_with("CANCEL")),
        "{:#?}",
        bench.story
    );
    assert_eq!(bench.signaling.calls(), 1);
}

#[test]
fn a_peer_may_speak_of_its_call_from_another_address_of_its_trunk_and_by_tcp() {
    for (transport, from) in [(Transport::Udp, C), (Transport::Tcp, B), (Transport::Tcp, C)] {
        let mut bench = Bench::with_spare(&ALL_STRICT, Conduct::default()).connected();
        let bye = of_b(&bench, 7, "BYE");
        by(&mut bench, transport, from, bye);
        bench.a_answers("BYE", 200, "");
        bench.assert_nothing_left();
    }
}

#[test]
fn addresses_that_were_the_trunks_or_became_so_end_its_calls_and_no_others_do() {
    let mut bench = Bench::strict().connected();
    let trunks = vec![
        trunk("pbx", Transport::Udp, A),
        trunk("carrier", Transport::Udp, C),
        trunk("fax", Transport::Udp, "127.0.0.1:5093"),
    ];
    bench.input(Input::Trunks {
        trunks,
        routes: routes(),
    });
    bench.from("127.0.0.1:5093", of_b(&bench, 7, "BYE"));
    assert_eq!(bench.signaling.calls(), 1);
    bench.from(C, of_b(&bench, 8, "INFO"));
    assert_eq!(bench.request_to_a("INFO").method.as_str(), "INFO");
    bench.a_answers("INFO", 200, "");
    bench.from(B, of_b(&bench, 9, "BYE"));
    bench.a_answers("BYE", 200, "");
    bench.assert_nothing_left();
}
