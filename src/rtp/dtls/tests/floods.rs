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
    let share = |at: Sender| server.association.strangers.share_of(at.at.ip());
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
fn hellos_beyond_their_hosts_budget_cost_no_cookie() {
    let (_, mut server) = pair();
    let hello = hello();
    for number in 0..10_000 {
        server.association.handle_packet(START, ABROAD, &forged(&hello, number));
    }
    assert_eq!(server.association.cookies.made.get(), DATAGRAMS_A_SECOND_MAX as usize);
    server
        .association
        .handle_packet(START + Duration::from_secs(1), ABROAD, &hello);
    assert_eq!(
        server.association.cookies.made.get(),
        DATAGRAMS_A_SECOND_MAX as usize + 1
    );
}

#[test]
fn a_hello_beyond_its_budget_ends_no_attempt_that_waits() {
    let (mut client, mut server) = pair();
    let (mut second, mut flight) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        flight = client.sends().concat();
        if Hello::parse(&flight).is_none() {
            break;
        }
        second.clone_from(&flight);
        server.association.handle_packet(START, SOMEWHERE, &flight);
        for bytes in server.sends() {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
    }
    let first = HEADER_BYTES + usize::from(u16::from_be_bytes([flight[11], flight[12]]));
    server.association.handle_packet(START, SOMEWHERE, &flight[..first]);
    let later = START + Duration::from_secs(20);
    assert!(server.association.attempts[0].is_stalled(later));
    let hello = hello();
    for number in 0..1_000 {
        server
            .association
            .handle_packet(later, ELSEWHERE, &forged(&hello, number));
    }
    server.association.handle_packet(later, SOMEWHERE, &second);
    assert_eq!(server.association.attempts.len(), 1);
    server.association.handle_packet(later, SOMEWHERE, &flight);
    server.sends();
    assert!(server.keys.is_some());
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

/// A fragment of a message, in a record.
fn fragment(kind: u8, length: u8, number: u8, offset: u8, bytes: &[u8]) -> Vec<u8> {
    let size = u8::try_from(bytes.len()).unwrap();
    let header = [kind, 0, 0, length, 0, number, 0, 0, offset, 0, 0, size];
    record(22, 0, &[&header, bytes].concat())
}

/// What is no part of a handshake, and what is none yet.
fn noise() -> Vec<Vec<u8>> {
    let mut noise = vec![
        record(21, 0, &[2, 40]),
        record(21, 0, &[1, 0]),
        record(21, 1, &[7; 26]),
        record(23, 0, b"data"),
        record(23, 1, &[7; 48]),
        record(24, 0, b"heartbeat"),
        record(20, 0, &[1]),
        record(20, 0, &[2]),
        record(20, 1, &[1]),
        record(22, 1, &[7; 47]),
        record(22, 2, &[7; 48]),
        record(22, 0, b""),
        record(22, 0, &[16; 11]),
        // Beyond its own message, and beyond its own record.
        fragment(16, 4, 3, 3, b"ab"),
        fragment(16, 4, 3, 0, b"abcd")[..20].to_vec(),
        // Of a number that no handshake has.
        fragment(16, 4, 200, 0, b"abcd"),
        vec![22; 2_000],
        vec![22, 0xfe, 0xfd],
        vec![63; 100],
    ];
    for version in [[3, 3], [0xfe, 0xff], [0, 0]] {
        let mut other = record(21, 0, &[2, 80]);
        other[1..3].copy_from_slice(&version);
        noise.push(other);
    }
    noise
}

#[test]
fn noise_in_the_peers_name_between_all_that_is_true_ends_no_handshake_and_draws_no_answer() {
    let (mut client, mut server) = pair();
    let noise = noise();
    let mut said = 0;
    loop {
        let (up, down) = (client.sends(), server.sends());
        if up.is_empty() && down.is_empty() {
            break;
        }
        for (from, to) in [(up, &mut server), (down, &mut client)] {
            for bytes in from {
                for forged in noise.iter().cycle().take(1_000) {
                    to.association.handle_packet(START, SOMEWHERE, forged);
                }
                assert!(to.sends().is_empty(), "an answer to noise");
                to.association.handle_packet(START, SOMEWHERE, &bytes);
                said += 1;
            }
        }
    }
    assert!(client.keys.is_some() && server.keys.is_some(), "in the same second");
    assert!((4..=16).contains(&said), "{said}: nothing had to be said again");
    let keys = (client.keys.clone(), server.keys.clone());
    for forged in noise.iter().cycle().take(1_000) {
        for end in [&mut client, &mut server] {
            end.association.handle_packet(START, SOMEWHERE, forged);
            assert!(end.sends().is_empty());
        }
    }
    assert_eq!((client.keys, server.keys), keys);
    assert_eq!((client.failed, server.failed), (None, None));
}

#[test]
fn what_could_be_ends_before_there_are_keys_makes_no_client_and_no_server_begin_again() {
    let flood = record(22, 1, &[7; 48]).repeat(33);
    let (mut client, mut server) = pair();
    for _ in 0..8 {
        client.association.handle_packet(START, SOMEWHERE, &flood);
    }
    for _ in 0..2 {
        for bytes in client.sends() {
            server.association.handle_packet(START, SOMEWHERE, &bytes);
        }
        for bytes in server.sends() {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
    }
    assert_eq!(server.association.attempts.len(), 1);
    for _ in 0..8 {
        server.association.handle_packet(START, SOMEWHERE, &flood);
    }
    talk(START, &mut client, &mut server, || false);
    assert!(client.keys.is_some() && server.keys.is_some());
}
