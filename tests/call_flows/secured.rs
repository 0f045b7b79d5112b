//! `sips:`: by TLS all the way, or not at all (RFC 3261 §26.2.2).

use bytes::Bytes;
use onrecord::engine::Input;
use onrecord::sip::{Flow, Request, Transport};
use onrecord::trunk::{Conduct, Redirect, Trunk};

use super::bench::{A, B, Bench, PROXY, SDP, answer, invite};
use super::party::ALICE;
use super::routed::{configure, trunk};

fn bench(carrier: Trunk) -> Bench {
    let mut bench = Bench::secured();
    configure(&mut bench, trunk("pbx", A), carrier);
    bench
}

fn by_tls() -> Trunk {
    Trunk {
        transport: Transport::Tls,
        ..trunk("carrier", B)
    }
}

fn from(bench: &mut Bench, transport: Transport, phone: &str, bytes: Bytes) {
    let flow = Flow {
        transport,
        local: PROXY.parse().unwrap(),
        remote: phone.parse().unwrap(),
    };
    bench.input(Input::Sip { flow, bytes });
}

fn secured(bytes: &Bytes) -> Bytes {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.replacen("INVITE sip:", "INVITE sips:", 1)
        .replace("SIP/2.0/UDP", "SIP/2.0/TLS")
        .into()
}

fn contact(request: &Request) -> &str {
    request.headers.get("Contact").unwrap()
}

#[test]
fn by_our_path_a_call_reaches_a_phone_on_a_trunk_of_tls() {
    let mut bench = Bench::secured();
    let contact = format!("sip:bob@{B};transport=tls");
    bench.invites(ALICE, &contact, "call-1", &format!("Route: <sip:{PROXY};lr>\r\n"));
    let invite = bench.request_to_b("INVITE");
    assert_eq!(invite.uri.to_string(), contact);
    assert!(invite.headers.get("Via").unwrap().starts_with("SIP/2.0/TLS "));
    // The connection is the phone's: its port is any.
    let contact = "sip:bob@127.0.0.1:49152;transport=tls";
    bench.invites(ALICE, contact, "call-2", &format!("Route: <sip:{PROXY};lr>\r\n"));
    assert_eq!(bench.request_to_b("INVITE").uri.to_string(), contact);
}

#[test]
fn who_is_called_by_sips_is_reached_by_tls_under_sips_with_contacts_of_that_kind() {
    let mut bench = bench(by_tls());
    from(&mut bench, Transport::Tls, A, secured(&invite(1, "a1", "", SDP, "")));
    let sent = bench.request_to_b("INVITE");
    assert_eq!(sent.headers.via().unwrap().transport(), "TLS");
    assert_eq!(sent.uri.to_string(), format!("sips:bob@{B}"));
    assert_eq!(contact(&sent), format!("<sips:{PROXY}>"));
    let ok = answer(&sent, 200, "b-tag", B, SDP);
    from(&mut bench, Transport::Tls, B, ok);
    let told = bench.response_to_a();
    assert_eq!(
        (told.status, told.headers.get("Contact")),
        (200, Some(format!("<sips:{PROXY}>").as_str()))
    );
}

#[test]
fn without_tls_on_the_way_there_or_on_the_way_here_it_is_refused() {
    for (carrier, came_by) in [(trunk("carrier", B), Transport::Tls), (by_tls(), Transport::Udp)] {
        let mut bench = bench(carrier);
        from(&mut bench, came_by, A, secured(&invite(1, "a1", "", SDP, "")));
        let refused = bench.response_to_a();
        assert_eq!(refused.status, 480);
        assert_eq!(refused.headers.get("Warning"), Some("380 lab \"SIPS Not Allowed\""));
        assert!(bench.to_b.is_empty());
    }
}

#[test]
fn an_emergency_is_connected_all_the_same() {
    for came_by in [Transport::Tls, Transport::Udp] {
        let mut bench = bench(trunk("carrier", B));
        let call = String::from_utf8(secured(&invite(1, "a1", "", SDP, "")).to_vec()).unwrap();
        from(&mut bench, came_by, A, call.replace("bob@", "112@").into());
        assert_eq!(bench.request_to_b("INVITE").uri.to_string(), format!("sip:112@{B}"));
    }
}

#[test]
fn a_secure_call_is_sent_on_to_secure_contacts_only() {
    let conduct = Conduct {
        redirect: Redirect::Follow,
        ..Conduct::default()
    };
    let mut bench = bench(Trunk { conduct, ..by_tls() });
    from(&mut bench, Transport::Tls, A, secured(&invite(1, "a1", "", SDP, "")));
    let asked = bench.request_to_b("INVITE");
    let moved = String::from_utf8(answer(&asked, 302, "b-tag", B, "").to_vec()).unwrap();
    let contacts = format!("Contact: <sip:carol@{B}>, <sips:dave@{B}>");
    let moved = moved.replace(&format!("Contact: <sip:{B}>"), &contacts);
    from(&mut bench, Transport::Tls, B, moved.into());
    let next = bench.request_to_b("INVITE");
    assert_eq!(next.uri.to_string(), format!("sips:dave@{B}"));
    let busy = answer(&next, 486, "c-tag", B, "");
    from(&mut bench, Transport::Tls, B, busy);
    assert_eq!(bench.response_to_a().status, 486, "carol is not asked");
}
