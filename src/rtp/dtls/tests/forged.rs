//! Single datagrams of who can send from the peer's host: what they hinder is made up for in seconds.

use super::super::records::HEADER_BYTES;
use super::*;

/// A whole message that nobody has said: ServerHelloDone with this number (RFC 6347 §4.2.2).
fn forged(number: u8) -> Vec<u8> {
    let record = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12];
    let message = [14, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0];
    [record.as_slice(), &message].concat()
}

/// Both are at SOMEWHERE, and nothing is lost any more: when there are keys.
fn keyed_after(client: &mut End, server: &mut End) -> Option<Duration> {
    let mut now = START;
    loop {
        talk(now, client, server, || false);
        if client.keys.is_some() && server.keys.is_some() {
            assert_eq!(client.told, Some(SOMEWHERE.at));
            return Some(now.since(START));
        }
        let due = [&*client, &*server].map(|end| end.association.poll_timeout());
        let next = due.into_iter().flatten().min()?;
        assert!(next > now);
        now = next;
        client.association.handle_timeout(now);
        server.association.handle_timeout(now);
    }
}

#[test]
fn a_forged_message_before_the_first_answer_costs_a_client_seconds() {
    let (mut client, mut server) = pair();
    let hello = client.sends().remove(0);
    assert!(client.association.handle_packet(START, ELSEWHERE, &forged(0)));
    client.sends();
    server.association.handle_packet(START, SOMEWHERE, &hello);
    let after = keyed_after(&mut client, &mut server);
    assert!(after.is_some_and(|after| after <= Duration::from_secs(4)), "{after:?}");
}

#[test]
fn a_request_for_a_false_cookie_costs_a_client_seconds() {
    let (mut client, mut server) = pair();
    let hello = client.sends().remove(0);
    let (_, mut forger) = pair();
    forger.association.handle_packet(START, SOMEWHERE, &hello);
    let request = forger.sends().remove(0);
    assert!(client.association.handle_packet(START, ELSEWHERE, &request));
    assert_eq!((client.sends().len(), client.told), (1, Some(ELSEWHERE.at)));
    server.association.handle_packet(START, SOMEWHERE, &hello);
    let due = client.association.poll_timeout().unwrap();
    client.association.handle_timeout(due);
    client.sends();
    assert_eq!(
        client.told,
        Some(ELSEWHERE.at),
        "it is repeated to the forger, who says no more"
    );
    let after = keyed_after(&mut client, &mut server);
    assert!(after.is_some_and(|after| after <= Duration::from_secs(4)), "{after:?}");
}

#[test]
fn a_client_that_is_forged_at_again_and_again_has_its_keys_once_that_ends() {
    let (mut client, mut server) = pair();
    let mut now = START;
    while now.since(START) < Duration::from_secs(20) {
        client.sends();
        client.association.handle_packet(now, ELSEWHERE, &forged(0));
        now = client.association.poll_timeout().unwrap();
        client.association.handle_timeout(now);
    }
    let mut ends = [&mut client, &mut server];
    while ends.iter().any(|end| end.keys.is_none()) {
        let [client, server] = &mut ends;
        talk(now, client, server, || false);
        now = client.association.poll_timeout().unwrap_or(now);
        client.association.handle_timeout(now);
        assert!(client.failed.is_none() && now.since(START) < HANDSHAKE_MAX);
    }
}

#[test]
fn a_server_that_heard_a_forged_message_answers_the_hello_when_it_is_repeated() {
    let (mut client, mut server) = pair();
    let hello = client.sends().remove(0);
    server.association.handle_packet(START, SOMEWHERE, &hello);
    client
        .association
        .handle_packet(START, SOMEWHERE, &server.sends().remove(0));
    let second = client.sends().remove(0);
    server.association.handle_packet(START, SOMEWHERE, &second);
    assert!(!server.sends().is_empty(), "which is lost");
    server.association.handle_packet(START, SOMEWHERE, &forged(2));
    let after = keyed_after(&mut client, &mut server);
    assert!(after.is_some_and(|after| after <= Duration::from_secs(8)), "{after:?}");
}

#[test]
fn a_server_does_not_forget_a_client_that_has_gone_on_and_is_slow() {
    let (mut client, mut server) = pair();
    let mut flight = Vec::new();
    for _ in 0..3 {
        flight = client.sends().concat();
        if Hello::parse(&flight).is_none() {
            break;
        }
        server.association.handle_packet(START, SOMEWHERE, &flight);
        for bytes in server.sends() {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
    }
    let first = HEADER_BYTES + usize::from(u16::from_be_bytes([flight[11], flight[12]]));
    assert!(first < flight.len());
    server.association.handle_packet(START, SOMEWHERE, &flight[..first]);
    let later = START + Duration::from_secs(20);
    server.association.handle_timeout(later);
    server.association.handle_packet(later, SOMEWHERE, &flight);
    server.sends();
    assert!(server.keys.is_some());
}
