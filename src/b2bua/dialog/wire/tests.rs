#![allow(clippy::unwrap_used)]

use super::*;
use crate::sip::{Method, NameAddr, Transport};

fn ack(body: usize) -> Request {
    let party = |text| NameAddr::parse(text).unwrap();
    let uri = Uri::parse("sip:b@192.0.2.1").unwrap();
    let mut ack = Request::new(
        Method::Ack,
        uri,
        party("<sip:a@x>;tag=1"),
        party("<sip:b@x>;tag=2"),
        "c",
        1,
    );
    ack.body = vec![b'x'; body].into();
    ack
}

#[test]
fn an_ack_too_long_for_a_datagram_goes_by_tcp_and_again_as_a_datagram() {
    let ours = "192.0.2.9:5060".parse().unwrap();
    let listeners = [(Transport::Udp, ours), (Transport::Tcp, ours)];
    let limits = TransactionLimits::default();
    let mut wire = Wire::new(limits, 7).with_paths(Paths::by_streams_of(&listeners));
    let flow = Flow {
        transport: Transport::Udp,
        local: ours,
        remote: "192.0.2.1:5060".parse().unwrap(),
    };
    let sent = |wire: &mut Wire| {
        let departure = wire.poll_departure().unwrap();
        let Message::Request(ack) = Message::parse(&departure.bytes).unwrap() else {
            return None;
        };
        let via = ack.headers.get("Via").unwrap().to_owned();
        assert!(
            via.contains(&format!("/{} ", departure.flow.transport.as_str())),
            "{via}"
        );
        Some((departure.flow.transport, departure.flow.remote, ack.body.len()))
    };
    wire.send(ack(100), flow);
    assert_eq!(sent(&mut wire), Some((Transport::Udp, flow.remote, 100)));
    let kept = wire.send(ack(1_300), flow);
    assert_eq!(sent(&mut wire), Some((Transport::Tcp, flow.remote, 1_300)));
    wire.resend(kept, flow);
    assert_eq!(sent(&mut wire), Some((Transport::Udp, flow.remote, 1_300)));
    wire.keep_datagrams(Sources::from_iter([(flow.remote.ip(), None).into()]));
    wire.send(ack(1_300), flow);
    assert_eq!(sent(&mut wire), Some((Transport::Udp, flow.remote, 1_300)));
}
