#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

pub(in super::super) fn at(ip: Ipv4Addr) -> Sharing {
    Sharing {
        at: Some(ip),
        ports: 21_000..=21_099,
    }
}

/// None where this process has not the privileges that sharing wants.
pub(in super::super) fn sharing(ip: Ipv4Addr) -> Option<MediaSockets> {
    let (sockets, _) = MediaSockets::new(Clock::start()).unwrap();
    match sockets.sharing(at(ip)) {
        Ok(sockets) => Some(sockets),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => unreachable!("{error}"),
    }
}

/// Of a session of its own.
fn port(number: u64) -> Port {
    Port::from_token(number << 10)
}

fn phone() -> UdpSocket {
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(PATIENCE)).unwrap();
    phone
}

fn heard(phone: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    let (bytes, from) = phone.recv_from(&mut buffer).unwrap();
    (buffer[..bytes].to_vec(), from)
}

/// Everything that has arrived: on loopback, all that was sent.
fn received(sockets: &mut MediaSockets, count: usize) -> Vec<(Port, SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    for _ in 0..=count {
        sockets
            .wait(if all.len() < count { PATIENCE } else { Duration::ZERO })
            .unwrap();
        while let Some(Received { port, from, .. }) = sockets.receive() {
            all.push((port, from, sockets.datagram().to_vec()));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn ports_that_share_a_socket_hear_each_their_own_whoever_speaks_in_whatever_order(
        turns in proptest::collection::vec((0_usize..6, 0_usize..9), 1..200)
    ) {
        let ip = Ipv4Addr::new(127, 45, 0, 21);
        let Some(mut sockets) = sharing(ip) else { return Ok(()) };
        let phones: Vec<UdpSocket> = (0..6).map(|_| phone()).collect();
        let at = |number: u16| SocketAddr::from((ip, 21_000 + number));
        for number in 0..8 {
            sockets.bind(port(u64::from(number)), at(number)).unwrap();
            prop_assert!(matches!(bound(&sockets.sessions, port(u64::from(number))), Some(Bound::Shared(_))));
        }
        // The ninth port was bound before, and is nobody's now.
        sockets.bind(port(8), at(8)).unwrap();
        sockets.unbind(port(8));
        let mut sent = Vec::new();
        for (turn, (speaker, number)) in turns.iter().enumerate() {
            let bytes = [turn as u8, *speaker as u8, *number as u8];
            let phone = &phones[*speaker];
            phone.send_to(&bytes, at(*number as u16)).unwrap();
            if *number < 8 {
                sent.push((port(*number as u64), phone.local_addr().unwrap(), bytes.to_vec()));
            }
        }
        let mut heard = received(&mut sockets, sent.len());
        let order = |datagram: &(Port, SocketAddr, Vec<u8>)| (datagram.2.clone(), datagram.0);
        heard.sort_by_key(order);
        sent.sort_by_key(order);
        prop_assert_eq!(heard, sent);
    }
}

#[test]
fn what_is_sent_leaves_by_its_port_in_order_whatever_its_length() {
    let ip = Ipv4Addr::new(127, 45, 0, 22);
    let Some(mut sockets) = sharing(ip) else { return };
    let phone = phone();
    let to = phone.local_addr().unwrap();
    for number in 0..2 {
        sockets
            .bind(port(number), SocketAddr::from((ip, 21_000 + number as u16)))
            .unwrap();
    }
    let lengths = (0..150).chain([1_252, 1_253, 1_500, 65_507, 3, 0]);
    let datagrams: Vec<Vec<u8>> = lengths.map(|length| (0..length).map(|n| n as u8).collect()).collect();
    let numbered: Vec<_> = datagrams.iter().enumerate().collect();
    for group in numbered.chunks(150) {
        for (number, datagram) in group {
            assert!(sockets.send(port(*number as u64 % 2), to, datagram));
        }
        sockets.flush();
        for (number, datagram) in group {
            let (bytes, from) = heard(&phone);
            assert_eq!(
                (bytes.len(), from.port()),
                (datagram.len(), 21_000 + *number as u16 % 2)
            );
            assert_eq!(bytes, **datagram);
        }
    }
    assert_eq!(sockets.poll_unsent(), None);
    assert!(!sockets.send(port(0), "[::1]:9".parse().unwrap(), b"the wrong family"));
    assert!(!sockets.send(port(7), to, b"by nobody's port"));
}

#[test]
fn what_the_network_does_not_take_is_told_by_its_port_unless_it_is_our_own() {
    let ip = Ipv4Addr::new(127, 45, 0, 23);
    let Some(mut sockets) = sharing(ip) else { return };
    let phone = phone();
    let to = phone.local_addr().unwrap();
    sockets.bind(port(1), SocketAddr::from((ip, 21_000))).unwrap();
    sockets.bind(port(2), SocketAddr::from((ip, 21_002))).unwrap();
    assert!(sockets.send(port(1), to, b"one"));
    assert!(sockets.send(port(2), "255.255.255.255:9".parse().unwrap(), b"to everybody"));
    assert!(sockets.say(port(1), "255.255.255.255:9".parse().unwrap(), b"of our own"));
    assert!(sockets.send(port(1), to, b"two"));
    sockets.flush();
    assert_eq!((sockets.poll_unsent(), sockets.poll_unsent()), (Some(port(2)), None));
    assert_eq!((heard(&phone).0, heard(&phone).0), (b"one".to_vec(), b"two".to_vec()));
}

#[test]
fn a_port_is_one_calls_and_no_other_programs() {
    let ip = Ipv4Addr::new(127, 45, 0, 24);
    let Some(mut sockets) = sharing(ip) else { return };
    let at = |number| SocketAddr::from((ip, number));
    let squatter = UdpSocket::bind(at(21_000)).unwrap();
    let in_use = io::ErrorKind::AddrInUse;
    assert_eq!(sockets.bind(port(1), at(21_000)).unwrap_err().kind(), in_use);
    drop(squatter);
    sockets.bind(port(1), at(21_000)).unwrap();
    assert_eq!(sockets.bind(port(2), at(21_000)).unwrap_err().kind(), in_use);
    sockets.unbind(port(2)); // has none
    phone().send_to(b"still there", at(21_000)).unwrap();
    assert_eq!(received(&mut sockets, 1)[0].0, port(1));
    sockets.unbind(port(1));
    sockets.bind(port(2), at(21_000)).unwrap();
    phone().send_to(b"another's", at(21_000)).unwrap();
    assert_eq!(received(&mut sockets, 1)[0].0, port(2));
    drop(sockets);
    let next = UdpSocket::bind(at(21_000)).unwrap();
    next.set_read_timeout(Some(PATIENCE)).unwrap();
    phone().send_to(b"nobody steers", at(21_000)).unwrap();
    assert_eq!(heard(&next).0, b"nobody steers");
}

#[test]
fn beside_ports_that_share_those_of_ipv6_have_their_own_and_both_are_heard() {
    let ip = Ipv4Addr::new(127, 45, 0, 25);
    let Some(mut sockets) = sharing(ip) else { return };
    let six: SocketAddr = "[::1]:21045".parse().unwrap();
    sockets.bind(port(1), SocketAddr::from((ip, 21_000))).unwrap();
    sockets.bind(port(2), six).unwrap();
    let speaker = UdpSocket::bind("[::1]:0").unwrap();
    speaker.send_to(b"six", six).unwrap();
    phone().send_to(b"four", SocketAddr::from((ip, 21_000))).unwrap();
    let mut words: Vec<_> = received(&mut sockets, 2)
        .into_iter()
        .map(|(port, _, bytes)| (port, bytes))
        .collect();
    words.sort();
    assert_eq!(words, [(port(1), b"four".to_vec()), (port(2), b"six".to_vec())]);
}
