//! Phones that registered through us are called down the flow that they registered by, by the Path that their registrar was
//! given (RFC 3327 §5, RFC 5626 §5.3). No other Route leads past the routes.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::sip::{Flow, Message, TokenKey, Transport};
use onrecord::trunk::Conduct;

use super::bench::{A, B, Bench, C, C6, OUTSIDE, PROXY, SDP, answer};
use super::party::{ALICE, BOB};

const PATH: &str = "Supported: path, outbound\r\n";
/// A page does not know its own address (RFC 7118 §5).
const PAGE: &str = "sip:alice@p7k2.invalid;transport=ws";

fn flow(transport: Transport, remote: &str) -> Flow {
    Flow {
        transport,
        local: PROXY.parse().unwrap(),
        remote: remote.parse().unwrap(),
    }
}

/// Alice registers at the carrier; the Route of what the registrar sends her.
fn registers(bench: &mut Bench, call_id: &str) -> String {
    bench.requests("REGISTER", ALICE, "sip:carrier.example", call_id, PATH, "");
    granted(bench)
}

/// The same by a connection.
fn registers_by(bench: &mut Bench, transport: Transport, contact: &str, call_id: &str) -> String {
    registers_on(bench, flow(transport, A), contact, call_id)
}

fn registers_on(bench: &mut Bench, flow: Flow, contact: &str, call_id: &str) -> String {
    asks_on(bench, flow, contact, call_id);
    granted(bench)
}

fn asks_on(bench: &mut Bench, flow: Flow, contact: &str, call_id: &str) {
    let register = format!(
        "REGISTER sip:carrier.example SIP/2.0\r\nVia: SIP/2.0/{} p7k2.invalid;branch=z9hG4bK{call_id}\r\nMax-Forwards: 70\r\nFrom: <sip:alice@carrier.example>;tag=a\r\nTo: <sip:alice@carrier.example>\r\nCall-ID: {call_id}\r\nCSeq: 1 REGISTER\r\nContact: <{contact}>\r\n{PATH}Content-Length: 0\r\n\r\n",
        flow.transport.as_str()
    );
    bench.input(Input::Sip {
        flow,
        bytes: register.into(),
    });
}

fn granted(bench: &mut Bench) -> String {
    let path = bench.request_to_b("REGISTER").headers.get("Path").unwrap().to_owned();
    bench.answers(BOB, "REGISTER", 200, "");
    format!("Route: {path}\r\n")
}

/// What the carrier hears of an INVITE that went nowhere.
fn refusal(bench: &mut Bench, uri: &str, call_id: &str, route: &str) -> u16 {
    let before = bench.to_a.len();
    bench.invites(BOB, uri, call_id, route);
    assert_eq!(bench.to_a.len(), before);
    bench.response_to_b().status
}

/// Alice's phone answers the newest INVITE by its connection, and the carrier hangs up.
fn talks_by(bench: &mut Bench, transport: Transport) {
    let answers = |bench: &mut Bench, method: &str, sdp: &str| {
        let request = bench.request_to_a(method);
        let via = request.headers.get("Via").unwrap();
        assert!(via.starts_with(&format!("SIP/2.0/{} ", transport.as_str())), "{via}");
        let bytes = answer(&request, 200, "alice-tag", "alice@p7k2.invalid;transport=ws", sdp);
        let flow = flow(transport, A);
        bench.input(Input::Sip { flow, bytes });
    };
    answers(bench, "INVITE", SDP);
    let mut bob = super::party::PhoneDialog::of_caller(BOB, &bench.response_to_b());
    let ack = bob.request("ACK", "", "");
    bench.from(B, ack);
    bench.request_to_a("ACK");
    let bye = bob.request("BYE", "", "");
    bench.from(B, bye);
    answers(bench, "BYE", "");
    assert_eq!(bench.response_to_b().status, 200);
    bench.assert_nothing_left();
}

#[test]
fn by_our_path_a_call_reaches_the_contact_that_was_registered() {
    let mut bench = Bench::strict();
    let route = registers(&mut bench, "reg-1");
    let contact = format!("sip:alice@{A};line=7");
    bench.invites(BOB, &contact, "call-1", &route);
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.uri.to_string(), contact);
    assert!(!invite.headers.contains("Route"));
    let [bob, _] = bench.picks_up(BOB, ALICE);
    bench.hangs_up(bob, ALICE);
    let notify = format!("Event: message-summary\r\nSubscription-State: active\r\n{route}");
    bench.requests("NOTIFY", BOB, &contact, "n-1", &notify, "Messages-Waiting: no\r\n");
    assert_eq!(bench.newest(A, "NOTIFY").uri.to_string(), contact);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_phone_behind_a_nat_is_called_where_its_registration_came_from() {
    let mut bench = Bench::strict();
    let route = registers(&mut bench, "reg-1");
    let contact = "sip:alice@10.0.0.7:5060";
    bench.invites(BOB, contact, "call-1", &route);
    assert_eq!(bench.newest(A, "INVITE").uri.to_string(), contact);
}

#[test]
fn a_path_of_ours_leads_nowhere_that_no_route_leads() {
    let mut bench = Bench::routed(&[], &[("pbx", "carrier", None)]);
    let route = registers(&mut bench, "reg-1");
    assert_eq!(refusal(&mut bench, &format!("sip:alice@{A}"), "call-1", &route), 404);
}

#[test]
fn a_route_to_us_that_was_given_to_nobody_or_to_another_leads_where_the_routes_lead() {
    let mut bench = Bench::with_branch(&[], Conduct::default(), Conduct::default());
    let route = registers(&mut bench, "reg-1");
    let forged = format!("Route: <sip:{}@{PROXY};lr>\r\n", "00".repeat(31));
    let bare = format!("Route: <sip:{PROXY};lr>\r\n");
    for (number, route) in [&bare, &forged, &route].into_iter().enumerate() {
        // Seven is the branch's, whoever's address the URI names.
        bench.invites(ALICE, &format!("sip:71@{B}"), &format!("call-{number}"), route);
        assert_eq!(bench.to_c.len(), number + 1, "{route}");
        assert_eq!(bench.request_to_c("INVITE").uri.to_string(), format!("sip:71@{B}"));
        let refused = answer(&bench.request_to_c("INVITE"), 486, "c-tag", C, "");
        bench.from(C, refused);
        bench
            .to_c
            .retain(|message| matches!(message, Message::Request(request) if request.method.as_str() == "INVITE"));
    }
    let invites =
        |message: &&Message| matches!(message, Message::Request(request) if request.method.as_str() == "INVITE");
    assert_eq!(bench.to_b.iter().filter(invites).count(), 0);
    // The registrar itself reaches the phone by it and nobody else.
    bench.invites(BOB, &format!("sip:71@{C}"), "call-9", &route);
    assert_eq!(bench.request_to_a("INVITE").uri.to_string(), format!("sip:71@{C}"));
}

#[test]
fn a_page_is_called_by_the_websocket_that_it_registered_by() {
    let mut bench = Bench::with_phones_by(Transport::Ws);
    let route = registers_by(&mut bench, Transport::Ws, PAGE, "reg-1");
    assert_eq!(
        registers_by(&mut bench, Transport::Ws, PAGE, "reg-2"),
        route,
        "while it is open"
    );
    bench.invites(BOB, PAGE, "call-1", &route);
    assert_eq!(bench.request_to_a("INVITE").uri.to_string(), PAGE);
    talks_by(&mut bench, Transport::Ws);
}

#[test]
fn a_connection_that_is_gone_is_no_other_that_came_to_be_between_the_same_addresses() {
    for transport in [Transport::Ws, Transport::Tcp, Transport::Tls] {
        let mut bench = Bench::with_phones_by(transport);
        let route = registers_by(&mut bench, transport, PAGE, "reg-1");
        let flow = flow(transport, A);
        bench.input(Input::Closed { flow });
        assert_eq!(refusal(&mut bench, PAGE, "call-1", &route), 430);
        let newer = registers_by(&mut bench, transport, PAGE, "reg-2");
        assert_eq!(refusal(&mut bench, PAGE, "call-2", &route), 430, "it is another's");
        bench.invites(BOB, PAGE, "call-3", &newer);
        talks_by(&mut bench, transport);
    }
}

#[test]
fn a_phone_whose_connection_is_gone_is_called_at_its_contact_if_that_is_its_trunks() {
    let mut bench = Bench::with_phones_by(Transport::Tcp);
    let contact = format!("sip:alice@{A};transport=tcp");
    let route = registers_by(&mut bench, Transport::Tcp, &contact, "reg-1");
    let flow = flow(Transport::Tcp, A);
    bench.input(Input::Closed { flow });
    bench.invites(BOB, &contact, "call-1", &route);
    talks_by(&mut bench, Transport::Tcp);
}

#[test]
fn after_a_restart_paths_are_good_by_the_key_that_was_kept_and_by_no_other() {
    let page = |key: u8| {
        let mut bench = Bench::with_phones_by(Transport::Ws);
        bench.signaling = bench.signaling.with_token_key(TokenKey::new([key; 32]));
        bench
    };
    let route = registers_by(&mut page(7), Transport::Ws, PAGE, "reg-1");
    assert_eq!(
        refusal(&mut page(7), PAGE, "call-1", &route),
        430,
        "its connection ended with the process"
    );
    let mut other = page(8);
    other.invites(BOB, PAGE, "call-1", &route);
    assert_eq!(
        other.request_to_a("INVITE").uri.to_string(),
        PAGE,
        "by the routes, to what was opened last"
    );
}

#[test]
fn after_a_restart_with_other_listeners_a_path_leads_out_of_the_one_that_its_phone_came_to_or_nowhere() {
    let nat = "sip:alice@10.0.0.7:5060";
    let with_key = |mut bench: Bench| {
        bench.signaling = bench.signaling.with_token_key(TokenKey::new([7; 32]));
        bench
    };
    let came_by = Flow {
        local: OUTSIDE.parse().unwrap(),
        ..flow(Transport::Udp, A)
    };
    let route = registers_on(&mut with_key(Bench::on_two_networks(&[])), came_by, nat, "reg-1");
    for mut bench in [Bench::on_two_networks(&[]), Bench::on_two_networks_and_families(&[])].map(with_key) {
        bench.invites(BOB, nat, "call-1", &route);
        let via = bench.request_to_a("INVITE").headers.get("Via").unwrap().to_owned();
        assert!(via.contains(OUTSIDE), "{via}");
    }
    // In its place is one of another family; the carrier faces us elsewhere.
    let mut bench = with_key(Bench::strict_with_addresses(&[B, C6]));
    let route = route.replace(OUTSIDE, PROXY);
    assert_eq!(refusal(&mut bench, nat, "call-1", &route), 430);
}

#[test]
fn what_strangers_ask_and_no_registrar_grants_takes_no_registered_phones_place() {
    let mut bench = Bench::with_phones_by(Transport::Tcp);
    let route = registers_by(&mut bench, Transport::Tcp, PAGE, "reg-1");
    for number in 0..4_200_u16 {
        let by = flow(Transport::Tcp, &format!("127.0.0.1:{}", 20_000 + number));
        asks_on(&mut bench, by, PAGE, &format!("stranger-{number}"));
        bench.answers(BOB, "REGISTER", 403, "");
        bench.to_a.clear();
        bench.wait(Duration::from_millis(5));
    }
    bench.invites(BOB, PAGE, "call-1", &route);
    talks_by(&mut bench, Transport::Tcp);
}

#[test]
fn a_phone_is_called_by_its_connection_as_long_as_its_registrar_has_granted_and_no_longer() {
    let mut bench = Bench::with_phones_by(Transport::Tcp);
    let by = flow(Transport::Tcp, A);
    asks_on(&mut bench, by, PAGE, "reg-1");
    let path = bench.request_to_b("REGISTER").headers.get("Path").unwrap().to_owned();
    let route = format!("Route: {path}\r\n");
    assert_eq!(
        refusal(&mut bench, PAGE, "call-1", &route),
        430,
        "it is not registered yet"
    );
    let bindings = format!("Contact: <sip:alice@192.0.2.77>;expires=3600, <{PAGE}>;expires=120\r\n");
    bench.answers(BOB, "REGISTER", 200, &bindings);
    bench.wait(Duration::from_secs(110));
    assert_eq!(
        registers_by(&mut bench, Transport::Tcp, PAGE, "reg-2"),
        route,
        "its connection is the same"
    );
    bench.wait(Duration::from_secs(1_000));
    bench.invites(BOB, PAGE, "call-2", &route);
    talks_by(&mut bench, Transport::Tcp);
    bench.wait(Duration::from_secs(3_600));
    assert_eq!(
        refusal(&mut bench, PAGE, "call-3", &route),
        430,
        "the hour of its last is over"
    );
}

#[test]
fn where_the_registrar_does_not_say_how_long_a_phone_is_registered_as_long_as_its_contact_asked() {
    let mut bench = Bench::with_phones_by(Transport::Tcp);
    let register = format!(
        "REGISTER sip:carrier.example SIP/2.0\r\nVia: SIP/2.0/TCP p7k2.invalid;branch=z9hG4bKreg-1\r\nMax-Forwards: 70\r\nFrom: <sip:alice@carrier.example>;tag=a\r\nTo: <sip:alice@carrier.example>\r\nCall-ID: reg-1\r\nCSeq: 1 REGISTER\r\nContact: <{PAGE}>;expires=120\r\n{PATH}Content-Length: 0\r\n\r\n"
    );
    bench.input(Input::Sip {
        flow: flow(Transport::Tcp, A),
        bytes: register.into(),
    });
    let route = granted(&mut bench);
    bench.wait(Duration::from_secs(110));
    bench.invites(BOB, PAGE, "call-1", &route);
    talks_by(&mut bench, Transport::Tcp);
    bench.wait(Duration::from_secs(120));
    assert_eq!(
        refusal(&mut bench, PAGE, "call-2", &route),
        430,
        "its two minutes are over"
    );
}

#[test]
fn a_connection_that_dies_before_its_registrar_has_answered_is_registered_by_nobody() {
    let mut bench = Bench::with_phones_by(Transport::Tcp);
    let by = flow(Transport::Tcp, A);
    asks_on(&mut bench, by, PAGE, "reg-1");
    bench.input(Input::Closed { flow: by });
    let route = granted(&mut bench);
    assert_eq!(refusal(&mut bench, PAGE, "call-1", &route), 430);
    let newer = registers_by(&mut bench, Transport::Tcp, PAGE, "reg-2");
    assert_eq!(refusal(&mut bench, PAGE, "call-2", &route), 430, "it is another's");
    bench.invites(BOB, PAGE, "call-3", &newer);
    talks_by(&mut bench, Transport::Tcp);
}
