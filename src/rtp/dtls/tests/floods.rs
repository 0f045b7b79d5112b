//! Hellos of strangers, by the thousand, while the peer shakes hands.

use super::super::records::HEADER_BYTES;
use super::*;

/// A host at this end of a range of its own, by another port than any peer's.
fn host(number: u32) -> Sender {
    sender(Ipv4Addr::from(0xc633_6400 + number), 4_000)
}

/// The first hello of somebody.
fn hello() -> Vec<u8> {
    let somebody = identity();
    let sent = End::new(START, handshake(&somebody, &somebody, true)).sends();
    sent.into_iter().next().unwrap()
}

/// A hello with another random than any.
fn forged(hello: &[u8], number: u32) -> Vec<u8> {
    let mut hello = hello.to_vec();
    hello[30..34].copy_from_slice(&number.to_be_bytes());
    hello
}

/// A stranger's, who share nothing with the host of the peer.
fn hosts_apart(server: &End) -> impl Iterator<Item = Sender> {
    let share = |at: Sender| server.association.cookies.share_of(at.at.ip(), SHARES);
    let peers = share(SOMEWHERE);
    let apart: Vec<Sender> = (0..256).map(host).filter(|at| share(*at) != peers).collect();
    apart.into_iter()
}

#[test]
fn nothing_is_kept_of_who_has_not_shown_to_be_there_and_it_is_told_less_than_it_said() {
    let (_, mut server) = pair();
    let hello = hello();
    for number in 0..1_000 {
        let at = host(number % 200);
        if server.association.handle_packet(START, at, &forged(&hello, number)) {
            let sent = server.sends();
            assert!(sent.len() == 1 && sent[0].len() < hello.len());
            assert_eq!(server.told, Some(at.at));
        }
    }
    assert!(server.association.attempts.is_empty());
    assert_eq!(server.association.poll_timeout(), Some(START + HANDSHAKE_MAX));
}

#[test]
fn a_flood_of_hellos_from_other_hosts_starves_no_handshake() {
    let (mut client, mut server) = pair();
    let strangers: Vec<Sender> = hosts_apart(&server).collect();
    let hello = hello();
    let mut number = 0;
    let mut flood = |server: &mut End| {
        for at in &strangers {
            for _ in 0..=DATAGRAMS_A_SECOND_MAX {
                number += 1;
                server.association.handle_packet(START, *at, &forged(&hello, number));
            }
            let refused = !server.association.handle_packet(START, *at, &hello);
            assert!(refused, "its share is spent");
        }
        while server.association.poll_output().is_some() {}
    };
    flood(&mut server);
    loop {
        let up = client.sends();
        let down: Vec<_> = up
            .iter()
            .flat_map(|bytes| {
                assert!(server.association.handle_packet(START, SOMEWHERE, bytes));
                server.sends()
            })
            .collect();
        flood(&mut server);
        if down.is_empty() {
            break;
        }
        for bytes in down {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
    }
    assert!(client.keys.is_some() && server.keys.is_some(), "within one second");
}

#[test]
fn once_a_client_has_brought_its_cookie_not_even_hellos_from_its_own_host_starve_it() {
    let (mut client, mut server) = pair();
    let hello = hello();
    for round in 0..4 {
        for bytes in client.sends() {
            assert!(server.association.handle_packet(START, SOMEWHERE, &bytes));
        }
        let down = server.sends();
        if round == 1 {
            for number in 0..1_000 {
                server
                    .association
                    .handle_packet(START, ELSEWHERE, &forged(&hello, number));
            }
            assert!(!server.association.handle_packet(START, ELSEWHERE, &hello));
            server.sends();
        }
        for bytes in down {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
    }
    assert!(client.keys.is_some() && server.keys.is_some());
}

#[test]
fn a_host_that_begins_many_handshakes_makes_room_for_others() {
    let (mut client, mut server) = pair();
    let greet = |client: &mut End, server: &mut End, from: Sender| {
        for _ in 0..2 {
            let up = client.sends();
            up.iter()
                .for_each(|bytes| _ = server.association.handle_packet(START, from, bytes));
            for bytes in server.sends() {
                client.association.handle_packet(START, SOMEWHERE, &bytes);
            }
        }
    };
    greet(&mut client, &mut server, SOMEWHERE);
    let stranger = identity();
    for _ in 0..2 * ATTEMPTS_MAX {
        let mut one = End::new(START, handshake(&stranger, &stranger, true));
        greet(&mut one, &mut server, ABROAD);
    }
    assert_eq!(server.association.attempts.len(), ATTEMPTS_MAX);
    talk(START, &mut client, &mut server, || false);
    assert!(client.keys.is_some() && server.keys.is_some());
}

#[test]
fn a_cookie_is_good_where_it_was_told_and_for_who_has_proved_to_be_there_anywhere() {
    for is_proved in [false, true] {
        let (mut client, mut server) = pair();
        let [here, there] = [SOMEWHERE, ABROAD].map(|at| Sender { is_proved, ..at });
        for bytes in client.sends() {
            server.association.handle_packet(START, here, &bytes);
        }
        for bytes in server.sends() {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
        for bytes in client.sends() {
            server.association.handle_packet(START, there, &bytes);
        }
        assert_eq!(server.association.attempts.len(), usize::from(is_proved));
    }
}

#[test]
fn a_server_goes_on_with_the_number_of_the_hello_that_it_answers() {
    let (mut client, mut server) = pair();
    let number = |datagram: &[u8]| datagram[5..11].to_vec();
    // The first of them is lost, and so is the first answer.
    client.sends();
    client.association.handle_timeout(START + Duration::from_secs(1));
    for bytes in client.sends() {
        server.association.handle_packet(START, SOMEWHERE, &bytes);
        let sent = server.sends();
        assert_eq!(number(&sent[0]), number(&bytes));
        client.association.handle_packet(START, SOMEWHERE, &sent[0]);
    }
    let second = client.sends();
    assert_eq!(number(&second[0]), [0, 0, 0, 0, 0, 2]);
    server.association.handle_packet(START, SOMEWHERE, &second[0]);
    let sent = server.sends();
    assert!(sent[0].len() > HEADER_BYTES && number(&sent[0]) == number(&second[0]));
    sent.iter()
        .for_each(|bytes| _ = client.association.handle_packet(START, SOMEWHERE, bytes));
    talk(START, &mut client, &mut server, || false);
    assert!(client.keys.is_some() && server.keys.is_some());
}

/// As a stranger writes it who can send from the peer's address.
fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9], &length[..], body].concat()
}

/// What the peers say crosses, and each datagram of it after this one, from the peer's address. How they are then.
fn talk_under(forged: &[u8]) -> (End, End) {
    let (mut client, mut server) = pair();
    loop {
        let (up, down) = (client.sends(), server.sends());
        if up.is_empty() && down.is_empty() {
            return (client, server);
        }
        for bytes in up {
            server.association.handle_packet(START, SOMEWHERE, forged);
            server.association.handle_packet(START, SOMEWHERE, &bytes);
        }
        for bytes in down {
            client.association.handle_packet(START, SOMEWHERE, forged);
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
    }
}

#[test]
fn a_datagram_in_the_peers_name_that_is_full_of_nothing_ends_no_handshake() {
    let empty = record(22, 1, b"").repeat(64);
    let change = record(20, 0, &[1]).repeat(64);
    // Of 16 KiB, without a byte of them.
    let claim = |number: u8| record(22, 0, &[11, 0, 0x40, 0, 0, number, 0, 0, 0, 0, 0, 0]);
    let claims: Vec<u8> = (1..12).flat_map(claim).collect();
    for forged in [empty, change, claim(11), claims] {
        let (client, server) = talk_under(&forged);
        assert!(client.keys.is_some() && server.keys.is_some(), "{:?}", &forged[..13]);
    }
}

#[test]
fn more_that_could_be_ends_than_are_let_in_make_a_client_say_hello_anew_and_a_server_forget_its_client() {
    let flood = record(22, 1, &[7; 48]).repeat(33);
    let (mut client, mut server) = pair();
    for _ in 0..2 {
        client.association.handle_packet(START, SOMEWHERE, &flood);
    }
    client.sends();
    let due = client.association.poll_timeout().unwrap();
    assert!(due < START + Duration::from_secs(5));
    client.association.handle_timeout(due);
    talk(due, &mut client, &mut server, || false);
    assert!(client.keys.is_some() && server.keys.is_some());

    let (mut client, mut server) = pair();
    for _ in 0..2 {
        for bytes in client.sends() {
            server.association.handle_packet(START, SOMEWHERE, &bytes);
        }
        for bytes in server.sends() {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
    }
    assert_eq!(server.association.attempts.len(), 1);
    for _ in 0..2 {
        server.association.handle_packet(START, SOMEWHERE, &flood);
    }
    assert!(server.association.attempts.is_empty() && server.failed.is_none());
}
