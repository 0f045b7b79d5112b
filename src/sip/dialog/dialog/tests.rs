#![allow(clippy::unwrap_used)]

use super::*;

fn address(text: &str) -> NameAddr {
    NameAddr::parse(text).unwrap()
}

/// Alice's INVITE as Bob's side gets it, through two proxies.
fn invite() -> Request {
    let uri = Uri::parse("sip:bob@192.0.2.4").unwrap();
    let (from, to) = (
        address("\"Alice\" <sip:alice@a.com>;tag=1928"),
        address("<sip:bob@b.com>"),
    );
    let mut invite = Request::new(Method::Invite, uri, from, to, "c@a.com", 314_159);
    invite
        .headers
        .push("Contact", "<sip:alice@192.0.2.1;transport=tcp?X=1>");
    invite
        .headers
        .push("Record-Route", "<sip:p2.b.com;lr>, <sip:p1.a.com;lr>");
    invite
}

fn ok(invite: &Request) -> Response {
    let mut response = Response::to(invite, 200, None, Some("a6c8"));
    response.headers.push("Contact", "<sip:bob@192.0.2.4>");
    response
}

fn routes(request: &Request) -> Vec<String> {
    request
        .headers
        .addresses("Route")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn both_ends_of_a_call_know_the_same_dialog_from_their_side() {
    let invite = invite();
    let mut alice = Dialog::uac(&invite, &ok(&invite)).unwrap();
    let mut bob = Dialog::uas(&invite, &ok(&invite)).unwrap();
    assert_eq!((alice.local_tag(), alice.remote_tag()), ("1928", "a6c8"));
    assert_eq!((bob.local_tag(), bob.remote_tag()), ("a6c8", "1928"));

    let bye = bob.request(Method::Bye);
    assert_eq!(bye.uri.as_str(), "sip:alice@192.0.2.1;transport=tcp");
    assert_eq!(bye.headers.from().to_string(), "<sip:bob@b.com>;tag=a6c8");
    assert_eq!(bye.headers.to().to_string(), "\"Alice\" <sip:alice@a.com>;tag=1928");
    assert_eq!(bye.headers.cseq().to_string(), "1 BYE");
    assert_eq!(bye.headers.max_forwards(), Some(70));
    assert_eq!(alice.accepts(&bye), Ok(()));

    let info = alice.request(Method::Info);
    assert_eq!(info.headers.cseq().number, 314_160);
    assert_eq!(bob.accepts(&info), Ok(()));
}

#[test]
fn each_end_visits_the_proxies_in_its_own_order() {
    let invite = invite();
    let mut alice = Dialog::uac(&invite, &ok(&invite)).unwrap();
    let mut bob = Dialog::uas(&invite, &ok(&invite)).unwrap();
    assert_eq!(
        routes(&alice.request(Method::Bye)),
        ["<sip:p1.a.com;lr>", "<sip:p2.b.com;lr>"]
    );
    assert_eq!(
        routes(&bob.request(Method::Bye)),
        ["<sip:p2.b.com;lr>", "<sip:p1.a.com;lr>"]
    );
    assert_eq!(alice.next_hop().as_str(), "sip:p1.a.com;lr");
}

/// RFC 3261 §12.2.1.1: its example of a strict router.
#[test]
fn a_strict_router_gets_itself_as_request_uri_and_the_target_last() {
    let mut invite = invite();
    invite.headers.set("Record-Route", "<sip:p1.b.com>, <sip:p2.a.com;lr>");
    let mut bob = Dialog::uas(&invite, &ok(&invite)).unwrap();
    let bye = bob.request(Method::Bye);
    assert_eq!(bye.uri.as_str(), "sip:p1.b.com");
    assert_eq!(
        routes(&bye),
        ["<sip:p2.a.com;lr>", "<sip:alice@192.0.2.1;transport=tcp>"]
    );
    assert_eq!(bob.next_hop().as_str(), "sip:p1.b.com");
}

#[test]
fn the_ack_has_the_invites_number_and_moves_nothing() {
    let invite = invite();
    let mut alice = Dialog::uac(&invite, &ok(&invite)).unwrap();
    alice.request(Method::Info);
    let ack = alice.ack(314_159);
    assert_eq!(
        (ack.headers.cseq().to_string().as_str(), alice.local_seq),
        ("314159 ACK", 314_160)
    );
    assert_eq!(ack.uri.as_str(), "sip:bob@192.0.2.4");
    assert_eq!(routes(&ack).len(), 2);
}

#[test]
fn requests_out_of_order_or_of_another_dialog_are_not_accepted() {
    let invite = invite();
    let mut alice = Dialog::uac(&invite, &ok(&invite)).unwrap();
    let mut bob = Dialog::uas(&invite, &ok(&invite)).unwrap();
    let first = alice.request(Method::Info);
    let second = alice.request(Method::Update);
    assert_eq!(bob.accepts(&second), Ok(()));
    assert_eq!(bob.accepts(&first), Err(DialogError::OutOfOrder));
    assert_eq!(bob.accepts(&alice.ack(314_159)), Ok(()), "an ACK has an older number");
    assert_eq!(bob.remote_seq, Some(314_161));

    let mut stranger = alice.request(Method::Bye);
    stranger.headers.set_from(address("<sip:alice@a.com>;tag=other"));
    assert_eq!(bob.accepts(&stranger), Err(DialogError::OtherDialog));
}

#[test]
fn a_provisional_answer_makes_a_dialog_that_its_2xx_sets_anew() {
    let invite = invite();
    assert_eq!(
        Dialog::uac(&invite, &Response::to(&invite, 180, None, None)),
        Err(DialogError::NoTag)
    );
    let ringing = Response::to(&invite, 180, None, Some("a6c8"));
    let mut early = Dialog::uac(&invite, &ringing).unwrap();
    assert_eq!(
        early.remote_target().as_str(),
        "sip:bob@192.0.2.4",
        "the Request-URI, for want of a Contact"
    );
    let mut ok = ok(&invite);
    ok.headers.set("Contact", "<sip:bob@192.0.2.44>");
    ok.headers.remove("Record-Route");
    early.confirm(&ok);
    assert_eq!(early.remote_target().as_str(), "sip:bob@192.0.2.44");
    assert!(routes(&early.request(Method::Bye)).is_empty());
    assert_eq!(early.next_hop().as_str(), "sip:bob@192.0.2.44");
}

#[test]
fn a_reinvite_moves_the_target_and_leaves_the_route_set() {
    let invite = invite();
    let mut bob = Dialog::uas(&invite, &ok(&invite)).unwrap();
    let mut again = invite;
    again.headers.set("Contact", "<sip:alice@192.0.2.99>");
    again.headers.remove("Record-Route");
    bob.target_refresh(&Message::Request(again));
    assert_eq!(bob.remote_target().as_str(), "sip:alice@192.0.2.99");
    assert_eq!(routes(&bob.request(Method::Bye)).len(), 2);
}

#[test]
fn an_invite_without_contact_or_an_answer_without_tag_makes_no_dialog() {
    let mut bare = invite();
    bare.headers.remove("Contact");
    assert_eq!(Dialog::uas(&bare, &ok(&bare)), Err(DialogError::NoContact));
    let invite = invite();
    assert_eq!(
        Dialog::uas(&invite, &Response::to(&invite, 200, None, None)),
        Err(DialogError::NoTag)
    );
}

#[test]
fn a_peer_of_rfc_2543_without_tags_still_has_a_dialog() {
    let mut old = invite();
    old.headers.set_from(address("<sip:alice@a.com>"));
    let mut bob = Dialog::uas(&old, &ok(&old)).unwrap();
    assert_eq!(bob.remote_tag(), "");
    let bye = bob.request(Method::Bye);
    assert_eq!(bye.headers.to().tag(), None);
}
