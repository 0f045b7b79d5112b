use std::io;

use tokio::net::TcpListener;

use super::*;
use crate::live::homes::Homes;
use crate::sip::Transport;

fn flow(transport: Transport, remote: &str) -> Flow {
    Flow {
        transport,
        local: "192.0.2.100:5061".parse().expect("an address"),
        remote: remote.parse().expect("an address"),
    }
}

#[tokio::test]
async fn an_alias_leads_to_the_newest_connection_of_the_trunk_and_only_from_its_own_address() {
    let (sender, mut arrivals) = mpsc::channel(8);
    let mut shared = Shared::bare(sender);
    let home = flow(Transport::Ws, "192.0.2.1:80");
    shared.homes = Homes::at([(Transport::Ws, home.remote)]);
    let mut switchboard = Switchboard::new(StreamLimits::default(), shared, mpsc::channel(8).0);
    let request = || Bytes::from_static(b"INVITE sip:b SIP/2.0\r\n");
    switchboard.on_send(home, request()).await;
    assert_eq!(
        arrivals.try_recv(),
        Ok(Arrival::Unreachable { flow: home }),
        "a WebSocket is the peer's to open"
    );

    let (old, new) = (
        flow(Transport::Ws, "192.0.2.1:40000"),
        flow(Transport::Ws, "192.0.2.1:40001"),
    );
    let (old_writes, mut of_old) = mpsc::channel(1);
    let (new_writes, mut of_new) = mpsc::channel(1);
    let first = switchboard.enter(old, true, old_writes).await;
    switchboard.on_alias(old, first, home.remote);
    let stolen = flow(Transport::Ws, "192.0.2.9:80");
    switchboard.on_alias(old, first, stolen.remote);
    switchboard.on_send(stolen, request()).await;
    assert_eq!(arrivals.try_recv(), Ok(Arrival::Unreachable { flow: stolen }));
    assert!(of_old.try_recv().is_err());
    switchboard.on_send(home, request()).await;
    assert!(of_old.try_recv().is_ok());

    let second = switchboard.enter(new, true, new_writes).await;
    switchboard.on_alias(new, first, home.remote);
    switchboard.on_send(home, request()).await;
    assert!(of_old.try_recv().is_ok(), "the number is not that connection's");
    switchboard.on_alias(new, second, home.remote);
    switchboard.on_ended(old, first, Ending::Closed).await;
    assert_eq!(arrivals.try_recv(), Ok(Arrival::Closed { flow: old }));
    assert_eq!(
        arrivals.try_recv(),
        Ok(Arrival::Unreachable { flow: old }),
        "in good order too"
    );
    assert!(arrivals.try_recv().is_err(), "the alias leads to the new one");
    switchboard.on_send(home, request()).await;
    assert!(of_new.try_recv().is_ok());

    let broken = Ending::Broken(io::ErrorKind::ConnectionReset);
    switchboard.on_ended(new, second, broken).await;
    assert_eq!(arrivals.try_recv(), Ok(Arrival::Closed { flow: new }));
    for flow in [new, home] {
        assert_eq!(arrivals.try_recv(), Ok(Arrival::Unreachable { flow }));
    }
    assert!(switchboard.aliases.is_empty() && switchboard.connections.is_empty());
}

#[test]
fn the_end_of_a_connection_fails_no_request_on_the_one_that_took_its_place() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (sender, mut arrivals) = mpsc::channel(8);
        let shared = Shared::bare(sender);
        let trunk = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let remote = trunk.local_addr().expect("bound");
        let local = SocketAddr::new(remote.ip(), 5060);
        let flow = Flow {
            transport: Transport::Tcp,
            local,
            remote,
        };
        let mut switchboard = Switchboard::new(StreamLimits::default(), shared, mpsc::channel(8).0);
        let broken = Ending::Broken(io::ErrorKind::ConnectionReset);
        let first = switchboard.enter(flow, false, mpsc::channel(1).0).await;
        switchboard
            .on_send(flow, Bytes::from_static(b"INVITE sip:b SIP/2.0\r\n"))
            .await;
        let second = switchboard.next_number;
        assert_eq!(
            arrivals.try_recv(),
            Ok(Arrival::Closed { flow }),
            "the first was replaced"
        );
        switchboard.on_ended(flow, first, broken.clone()).await;
        assert!(first != second && arrivals.try_recv().is_err());
        switchboard.on_ended(flow, second, broken).await;
        assert_eq!(arrivals.try_recv(), Ok(Arrival::Closed { flow }));
        assert_eq!(arrivals.try_recv(), Ok(Arrival::Unreachable { flow }));
    });
}

#[tokio::test]
async fn a_connection_that_its_peer_opened_anew_from_the_same_port_brings_nothing_more() {
    let at = flow(Transport::Ws, "192.0.2.1:40000");
    for (before, after) in [(true, true), (false, true), (true, false)] {
        let (sender, mut arrivals) = mpsc::channel(8);
        let mut switchboard = Switchboard::new(StreamLimits::default(), Shared::bare(sender), mpsc::channel(8).0);
        switchboard.enter(at, before, mpsc::channel(1).0).await;
        let task = tokio::spawn(std::future::pending::<()>());
        let served = switchboard.connections.get_mut(&at).expect("is open");
        served.task = Some(task.abort_handle());
        switchboard.enter(at, after, mpsc::channel(1).0).await;
        assert_eq!(arrivals.try_recv(), Ok(Arrival::Closed { flow: at }));
        tokio::task::yield_now().await;
        // One that we opened left from a port of its own.
        assert_eq!(task.is_finished(), before && after);
    }
}

#[tokio::test]
async fn a_connection_whose_peer_does_not_read_is_given_up_with_all_that_waits_on_it() {
    let (sender, mut arrivals) = mpsc::channel(8);
    let mut shared = Shared::bare(sender);
    let home = flow(Transport::Ws, "192.0.2.1:80");
    shared.homes = Homes::at([(Transport::Ws, home.remote)]);
    let mut switchboard = Switchboard::new(StreamLimits::default(), shared, mpsc::channel(8).0);
    let at = flow(Transport::Ws, "192.0.2.1:40000");
    let (writes, queue) = mpsc::channel(1);
    let number = switchboard.enter(at, true, writes).await;
    switchboard.on_alias(at, number, home.remote);
    // Serves the connection, and never writes.
    let task = tokio::spawn(async move {
        let _queue = queue;
        std::future::pending::<()>().await;
    });
    let served = switchboard.connections.get_mut(&at).expect("is open");
    served.task = Some(task.abort_handle());

    let request = || Bytes::from_static(b"INVITE sip:b SIP/2.0\r\n");
    switchboard.on_send(home, request()).await;
    assert!(arrivals.try_recv().is_err(), "it waits");
    switchboard.on_send(home, request()).await;
    assert!(task.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(arrivals.try_recv(), Ok(Arrival::Closed { flow: at }));
    for flow in [at, home, home] {
        assert_eq!(arrivals.try_recv(), Ok(Arrival::Unreachable { flow }));
    }
    assert!(switchboard.aliases.is_empty() && switchboard.connections.is_empty());
    switchboard.on_ended(at, number, Ending::Closed).await;
    assert!(arrivals.try_recv().is_err());
}

#[tokio::test]
async fn connections_of_peers_leave_room_for_those_that_we_open() {
    let (sender, mut arrivals) = mpsc::channel(8);
    let shared = Shared::bare(sender);
    let limits = StreamLimits {
        connections_max: 4,
        dials_reserved: 2,
        ..StreamLimits::default()
    };
    let mut switchboard = Switchboard::new(limits, shared.clone(), mpsc::channel(8).0);
    // Those that we open are not of the two.
    for (port, accepted) in [(5_060, false), (40_000, true), (40_001, true)] {
        let at = flow(Transport::Tcp, &format!("192.0.2.1:{port}"));
        switchboard.enter(at, accepted, mpsc::channel(1).0).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let remote = listener.local_addr().expect("bound");
    let stream = TcpStream::connect(remote).await.expect("connects");
    switchboard
        .on_accepted(flow(Transport::Tcp, "192.0.2.2:40000"), stream)
        .await;
    assert_eq!(switchboard.connections.len(), 3, "another peer");
    assert_eq!(shared.counters.connections_refused.load(Relaxed), 1);

    let home = Flow {
        local: SocketAddr::new(remote.ip(), 5_060),
        ..flow(Transport::Tcp, &remote.to_string())
    };
    switchboard
        .on_send(home, Bytes::from_static(b"INVITE sip:112@b SIP/2.0\r\n"))
        .await;
    assert_eq!(switchboard.connections.len(), 4);
    assert!(arrivals.try_recv().is_err());
    let more = flow(Transport::Tcp, "192.0.2.9:5060");
    switchboard
        .on_send(more, Bytes::from_static(b"INVITE sip:b SIP/2.0\r\n"))
        .await;
    assert_eq!(
        arrivals.try_recv(),
        Ok(Arrival::Unreachable { flow: more }),
        "the bound holds"
    );
}
