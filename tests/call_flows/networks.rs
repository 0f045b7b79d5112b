//! A node of two networks: each trunk is faced by the listener and the media address that it names.

use onrecord::engine::Input;
use onrecord::model::MediaCommand;
use onrecord::sip::{Flow, Transport};
use onrecord::trunk::{Near, Peer, Trunk};

use super::bench::{A, ALL_STRICT, B, Bench, OUTSIDE, OUTSIDE_MEDIA, PROXY, SDP, route};

fn host(address: &str) -> &str {
    address.split(':').next().unwrap()
}

#[test]
fn each_leg_names_the_listener_and_the_media_address_of_its_own_side() {
    let mut bench = Bench::on_two_networks(&ALL_STRICT);
    bench.invite(SDP, "");
    let sent = bench.request_to_b("INVITE");
    for name in ["Via", "Contact"] {
        let value = sent.headers.get(name).unwrap();
        assert!(value.contains(OUTSIDE) && !value.contains(PROXY), "{value}");
    }
    let offer = String::from_utf8(sent.body.to_vec()).unwrap();
    assert!(offer.contains(OUTSIDE_MEDIA) && !offer.contains("127.0.0.1"), "{offer}");
    bench.b_answers("INVITE", 200, &SDP.replace("192.0.2.1", "192.0.2.2"));
    let answer = bench.response_to_a();
    assert!(answer.headers.get("Contact").unwrap().contains(PROXY));
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(body.contains(host(PROXY)) && !body.contains(OUTSIDE_MEDIA), "{body}");

    let opened = bench.media.iter().find_map(|command| match command {
        MediaCommand::Open(plan) => Some([plan.lines[0].a.local, plan.lines[0].b.local]),
        _ => None,
    });
    let bound = opened.unwrap().map(|local| local.ip().to_string());
    assert_eq!(bound, [host(PROXY), host(OUTSIDE)], "and arrives there");

    bench.a_requests(1, "ACK", "ack1", "");
    assert!(bench.request_to_b("ACK").headers.get("Via").unwrap().contains(OUTSIDE));
    bench.a_requests(2, "BYE", "bye2", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn what_comes_to_the_outside_in_the_name_of_a_peer_that_faces_another_listener_is_dropped_unanswered() {
    let mut bench = Bench::on_two_networks(&ALL_STRICT);
    let options = format!(
        "OPTIONS sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKo\r\nMax-Forwards: 70\r\nFrom: <sip:bob@{B}>;tag=o\r\nTo: <sip:{PROXY}>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let mut comes_to = |local: &str| {
        let flow = Flow {
            transport: Transport::Udp,
            local: local.parse().unwrap(),
            remote: B.parse().unwrap(),
        };
        let bytes = options.clone().into();
        bench.input(Input::Sip { flow, bytes });
        bench.to_b.len()
    };
    assert_eq!(comes_to(PROXY), 0, "it is outside, and this came from inside");
    assert_eq!(comes_to(OUTSIDE), 1);
}

/// The phones' trunk faces the outside from here on, as the carrier's does.
fn faces_outside(bench: &mut Bench) {
    let trunk = |name: &str, at: &str| {
        let at: std::net::SocketAddr = at.parse().unwrap();
        let peer = Peer {
            ip: at.ip(),
            port: Some(at.port()),
        };
        let near = Near {
            listener: Some((Transport::Udp, OUTSIDE.parse().unwrap())),
            media: None,
        };
        Trunk {
            near,
            ..Trunk::new(name.into(), vec![peer])
        }
    };
    bench.input(Input::Trunks {
        trunks: vec![trunk("pbx", A), trunk("carrier", B)],
        routes: vec![route("pbx", "carrier", None)],
    });
}

#[test]
fn a_call_that_is_up_is_heard_where_it_began_though_its_trunk_faces_another_listener_since() {
    let mut bench = Bench::on_two_networks(&ALL_STRICT);
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    faces_outside(&mut bench);
    let told = bench.to_a.len();
    bench.a_requests_in("of-no-call", 2, "INFO", "", "");
    assert_eq!(bench.to_a.len(), told, "it is of no call");
    bench.invites(super::party::ALICE, "sip:bob@example.com", "call-2", "");
    assert_eq!(bench.to_a.len(), told, "it opens one");
    bench.a_requests(2, "BYE", "bye2", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.assert_nothing_left();
}

#[test]
fn a_call_that_rings_is_given_up_where_it_began() {
    let mut bench = Bench::on_two_networks(&ALL_STRICT);
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 180, "");
    faces_outside(&mut bench);
    bench.from(A, super::ordinary::cancel());
    bench.request_to_b("CANCEL");
    bench.b_answers("INVITE", 487, "");
    assert_eq!(bench.response_to_a().status, 487);
}
