#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;

use bytes::Bytes;

use super::*;

#[test]
fn a_datagram_goes_out_and_comes_with_its_sender_and_its_time() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let (here, there) = (UdpSocket::bind(host).unwrap(), UdpSocket::bind(host).unwrap());
        stamp_arrivals(&here).unwrap();
        let mut epoll = Epoll::new().unwrap();
        epoll.add(&here, 42).unwrap();
        assert_eq!(epoll.wait(Duration::ZERO).unwrap(), 0);

        send(&there, here.local_addr().unwrap(), b"hello").unwrap();
        assert_eq!(epoll.wait(Duration::from_secs(5)).unwrap(), 1);
        assert_eq!((epoll.token(0), epoll.token(EVENTS_MAX)), (Some(42), None));
        let mut buffer = [0; 16];
        let datagram = receive(&here, &mut buffer).unwrap();
        assert_eq!((datagram.from, datagram.bytes), (there.local_addr().unwrap(), 5));
        assert!(datagram.arrived.unwrap() > 1_700_000_000_000_000_000);
        assert_eq!(epoll.wait(Duration::ZERO).unwrap(), 0, "read");
    }
}

#[test]
fn datagrams_go_and_come_by_the_batch_in_order() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let (here, there) = (UdpSocket::bind(host).unwrap(), UdpSocket::bind(host).unwrap());
        let to = here.local_addr().unwrap();
        let datagrams: Vec<_> = (0..BATCH as u8 + 3)
            .map(|n| (to, Bytes::from(vec![n; usize::from(n) + 1])))
            .collect();
        assert_eq!(send_many(&there, &datagrams).unwrap(), BATCH);
        assert_eq!(send_many(&there, &datagrams[BATCH..]).unwrap(), 3);
        let mut buffer = vec![0; BATCH * 20];
        let mut read = Vec::new();
        let mut receive = || {
            receive_many(&here, &mut buffer, |from, datagram| {
                assert_eq!(from, there.local_addr().unwrap());
                read.push(Bytes::copy_from_slice(datagram));
            })
        };
        assert_eq!((receive().unwrap(), receive().unwrap()), (BATCH, 3));
        assert_eq!(receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let cut = datagrams.iter().map(|(_, bytes)| bytes.slice(..bytes.len().min(20)));
        assert_eq!(read, cut.collect::<Vec<_>>());
    }
}

#[test]
fn of_a_batch_that_stops_midway_the_rest_can_be_sent_after() {
    let (here, there) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let to = here.local_addr().unwrap();
    let too_long = Bytes::from(vec![0; 70_000]);
    let datagrams = [
        (to, Bytes::from_static(b"one")),
        (to, too_long),
        (to, Bytes::from_static(b"two")),
    ];
    assert_eq!(send_many(&there, &datagrams).unwrap(), 1);
    assert!(send_many(&there, &datagrams[1..]).is_err());
    assert_eq!(send_many(&there, &datagrams[2..]).unwrap(), 1);
}

#[test]
fn a_datagram_to_where_nobody_listens_comes_back() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let here = UdpSocket::bind(host).unwrap();
        here.set_nonblocking(true).unwrap();
        let gone = UdpSocket::bind(host).unwrap().local_addr().unwrap();
        keep_errors(&here, gone.is_ipv6()).unwrap();
        let mut buffer = [0; 64];
        let none = bounced(&here, &mut buffer).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);

        send(&here, gone, b"anyone there?").unwrap();
        let mut epoll = Epoll::new().unwrap();
        epoll.add(&here, 1).unwrap();
        assert_eq!(epoll.wait(Duration::from_secs(5)).unwrap(), 1);
        let bounce = bounced(&here, &mut buffer).unwrap();
        assert_eq!((bounce.to, bounce.is_port_unreachable), (gone, true));
        assert_eq!(&buffer[..bounce.bytes], b"anyone there?");
    }
}

#[test]
fn what_does_not_fit_is_cut_and_what_is_not_there_blocks() {
    let (here, there) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    there.send_to(&[7; 64], here.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(receive(&here, &mut buffer).unwrap().bytes, 16);
    assert!(send(&there, "[::1]:9".parse().unwrap(), b"the wrong family").is_err());
    here.set_nonblocking(true).unwrap();
    assert_eq!(
        receive(&here, &mut buffer).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}
