#![allow(clippy::panic)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::Name as DnsName;
use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::*;
use crate::config::{Config, Delivery, TrunkTls};
use crate::live::sip_connection::{Ending, Line};
use crate::live::sip_dial::{self, Opening};
use crate::live::sip_sockets::Shared;
use crate::live::sip_streams::StreamLimits;
use crate::live::tls::Contexts;
use crate::live::tls::tests::Authority;
use crate::sip::Flow;
use crate::trunk::Peer;

const SOON: Duration = Duration::from_secs(20);

/// A DNS server of one zone. None: it answers SERVFAIL to everything.
type Zone = Arc<Mutex<Option<Vec<(String, RData)>>>>;

fn name(text: &str) -> DnsName {
    DnsName::from_ascii(text).expect("a name")
}

fn zone(target: [u8; 4]) -> Vec<(String, RData)> {
    let naptr = NAPTR::new(
        10,
        50,
        (*b"s").into(),
        (*b"SIP+D2T").into(),
        [].into(),
        name("_sip._tcp.example.test."),
    );
    let srv = SRV::new(1, 5, 5066, name("one.example.test."));
    vec![
        ("sip.example.test.".to_owned(), RData::NAPTR(naptr)),
        ("_sip._tcp.example.test.".to_owned(), RData::SRV(srv)),
        ("one.example.test.".to_owned(), RData::A(A(Ipv4Addr::from(target)))),
    ]
}

/// TLS before all else, on this port.
fn secure_zone(port: u16) -> Vec<(String, RData)> {
    let naptr = |order, service: &[u8], replacement| {
        let (flags, service) = ((*b"s").into(), service.into());
        RData::NAPTR(NAPTR::new(order, 50, flags, service, [].into(), name(replacement)))
    };
    let address = RData::A(A(Ipv4Addr::new(127, 0, 0, 21)));
    let srv = RData::SRV(SRV::new(1, 5, port, name("one.example.test.")));
    vec![
        (
            "sip.example.test.".to_owned(),
            naptr(20, b"SIP+D2T", "_sip._tcp.example.test."),
        ),
        (
            "sip.example.test.".to_owned(),
            naptr(10, b"SIPS+D2T", "_sips._tcp.example.test."),
        ),
        ("_sips._tcp.example.test.".to_owned(), srv),
        ("one.example.test.".to_owned(), address),
    ]
}

async fn serve(socket: UdpSocket, zone: Zone, asked: mpsc::Sender<String>) {
    let mut buffer = [0; 1_500];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let Ok(request) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let query = request.queries[0].clone();
        let mut reply = Message::response(request.metadata.id, OpCode::Query);
        reply.metadata.recursion_desired = true;
        reply.metadata.recursion_available = true;
        reply.add_query(query.clone());
        let wanted = query.name().to_ascii().to_lowercase();
        match &*zone.lock().expect("no panic") {
            None => reply.metadata.response_code = ResponseCode::ServFail,
            Some(records) => {
                for (owner, data) in records {
                    if *owner == wanted && data.record_type() == query.query_type() {
                        reply.add_answer(Answered::from_rdata(query.name().clone(), 300, data.clone()));
                    }
                }
            }
        }
        socket
            .send_to(&reply.to_vec().expect("a message"), client)
            .await
            .expect("sent");
        if asked.try_send(format!("{} {wanted}", query.query_type())).is_err() {
            return;
        }
    }
}

struct Bench {
    zone: Zone,
    asked: mpsc::Receiver<String>,
    events: mpsc::Receiver<Input>,
    peers: Peers,
    link: ResolverLink,
    speaking: watch::Sender<Vec<Source>>,
}

async fn bench() -> Bench {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let server = socket.local_addr().expect("bound");
    let zone: Zone = Arc::new(Mutex::new(Some(zone([127, 0, 0, 21]))));
    let (sender, asked) = mpsc::channel(64);
    tokio::spawn(serve(socket, Arc::clone(&zone), sender));
    bench_at(server, zone, asked)
}

/// A resolver that asks this DNS server.
fn bench_at(server: SocketAddr, zone: Zone, asked: mpsc::Receiver<String>) -> Bench {
    let port = server.port();
    let mut connection = ConnectionConfig::udp();
    connection.port = port;
    let mut server = NameServerConfig::udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
    server.connections = vec![connection];
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().cache_size = 0;
    let dns = builder.build().expect("a resolver");

    let peers = Peers::default();
    let (events_in, events) = mpsc::channel(8);
    let (speaking, retired) = watch::channel(Vec::new());
    let listeners = [
        (Transport::Udp, SocketAddr::from(([127, 0, 0, 1], 5060))),
        (Transport::Tcp, SocketAddr::from(([127, 0, 0, 1], 5060))),
        (Transport::Tls, SocketAddr::from(([127, 0, 0, 1], 5061))),
    ];
    let (resolver, link) = Resolver::new(Clock::start(), dns, &listeners, peers.clone(), events_in, retired);
    tokio::spawn(resolver.run());
    Bench {
        zone,
        asked,
        events,
        peers,
        link,
        speaking,
    }
}

fn carrier() -> Vec<Trunk> {
    let site = Site::parse("sip.example.test", Rank::default()).expect("a site");
    vec![Trunk {
        sites: vec![site],
        ..Trunk::new("carrier".into(), vec![])
    }]
}

impl Bench {
    async fn located(&mut self) -> Vec<String> {
        let event = timeout(SOON, self.events.recv()).await.expect("in time");
        let Some(Input::Located { located, .. }) = event else {
            panic!("{event:?}")
        };
        let servers = located.servers.iter();
        servers
            .map(|server| format!("{} {:?}", server.transport.as_str(), server.addresses))
            .collect()
    }

    async fn asked(&mut self) -> String {
        timeout(SOON, self.asked.recv())
            .await
            .expect("in time")
            .expect("a query")
    }

    fn admits(&self, ip: [u8; 4]) -> bool {
        self.peers.allow_connection(SocketAddr::from((ip, 40_000)))
    }
}

#[test]
fn a_name_is_located_by_naptr_srv_and_a_and_its_last_good_answer_is_kept_when_dns_fails() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut bench = bench().await;
        bench.link.follow(carrier()).await;
        assert_eq!(bench.located().await, ["TCP [127.0.0.21:5066]"]);
        let mut asked = Vec::new();
        for _ in 0..3 {
            asked.push(bench.asked().await);
        }
        assert_eq!(
            asked,
            [
                "NAPTR sip.example.test.",
                "SRV _sip._tcp.example.test.",
                "A one.example.test."
            ]
        );
        assert!(bench.admits([127, 0, 0, 21]) && !bench.admits([127, 0, 0, 22]));

        // DNS breaks down: a reload asks again, and what is known stays.
        *bench.zone.lock().expect("no panic") = None;
        bench.link.follow(carrier()).await;
        assert_eq!(bench.asked().await, "NAPTR sip.example.test.");
        assert!(bench.admits([127, 0, 0, 21]));
        assert!(bench.events.try_recv().is_err(), "signalling is told nothing");

        // It is back, and the name has moved: who was there may still end its calls.
        *bench.zone.lock().expect("no panic") = Some(zone([127, 0, 0, 22]));
        bench.link.follow(carrier()).await;
        assert_eq!(bench.located().await, ["TCP [127.0.0.22:5066]"]);
        assert!(bench.admits([127, 0, 0, 21]) && bench.admits([127, 0, 0, 22]));

        // They have ended, signalling says.
        bench.speaking.send_replace(vec![]);
        let closed = async {
            while bench.admits([127, 0, 0, 21]) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, closed).await.expect("in time");
        assert!(bench.admits([127, 0, 0, 22]));
    });
}

#[tokio::test]
async fn a_new_peer_is_let_in_while_dns_does_not_answer() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let server = silent.local_addr().expect("bound");
    let bench = bench_at(server, Zone::default(), mpsc::channel(1).1);
    bench.link.follow(carrier()).await;
    let mut buffer = [0; 1_500];
    let heard = timeout(SOON, silent.recv_from(&mut buffer)).await;
    heard.expect("in time").expect("a query");

    // From here no time passes, so no search ends.
    tokio::time::pause();
    let office = Peer {
        ip: IpAddr::from([127, 0, 0, 31]),
        port: None,
    };
    let mut trunks = carrier();
    trunks.push(Trunk::new("office".into(), vec![office]));
    bench.link.follow(trunks).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(bench.admits([127, 0, 0, 31]));
}

/// A trunk server that shows a certificate for this name; gives its port.
async fn listen_by_tls(authority: &Authority, name: &str) -> (tokio::net::TcpListener, tokio_rustls::TlsAcceptor) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.21", 0)).await.expect("binds");
    (listener, authority.acceptor(name))
}

/// What the config says of the trunk: names by DNS, and whose certificates are believed.
fn config_of(folder: &Path) -> Config {
    let tls = TrunkTls {
        server_name: None,
        ca: Some(folder.join("ca.pem")),
        certificate: None,
        client_name: None,
    };
    let delivery = Delivery { tls: Some(tls) };
    let mut config = Config::embedded();
    config.trunks = carrier();
    config.trunks[0].sites[0].certified = true;
    config.deliveries = [("carrier".into(), delivery)].into();
    config
}

#[tokio::test]
async fn naptr_leads_to_tls_and_the_server_has_to_prove_the_name_that_was_looked_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
    let config = config_of(folder.path());
    let contexts = Arc::new(Contexts::load(&config).expect("of use"));
    // The name of the trunk proves it (RFC 5922 §7.3); that of the host, which DNS told, does not.
    for (shown, is_believed) in [("sip.example.test", true), ("one.example.test", false)] {
        let mut bench = bench().await;
        let (listener, acceptor) = listen_by_tls(&authority, shown).await;
        let remote = listener.local_addr().expect("bound");
        *bench.zone.lock().expect("no panic") = Some(secure_zone(remote.port()));
        bench.link.follow(config.trunks.clone()).await;
        assert_eq!(bench.located().await, [format!("TLS [{remote}]")]);

        let (arrivals, _heard) = mpsc::channel(8);
        let mut shared = Shared::bare(arrivals);
        shared.peers = Arc::new(bench.peers.clone());
        shared.tls = watch::channel(Arc::clone(&contexts)).1;
        let line = Line {
            flow: Flow {
                transport: Transport::Tls,
                local: SocketAddr::from(([127, 0, 0, 1], 5061)),
                remote,
            },
            number: 1,
            limits: StreamLimits::default(),
            shared,
            calls: mpsc::channel(8).0,
        };
        let (writes, inbox) = mpsc::channel(1);
        writes
            .send(Bytes::from_static(b"OPTIONS sip:a SIP/2.0\r\n\r\n"))
            .await
            .expect("room");
        let server = async {
            let (stream, _) = listener.accept().await.expect("is connected to");
            let mut stream = acceptor.accept(stream).await.ok()?;
            let mut heard = [0; 7];
            stream.read_exact(&mut heard).await.ok().map(|_| heard)
        };
        let dialled = sip_dial::serve(&line, Opening::Dial, inbox);
        let (ending, heard) = timeout(SOON, async { tokio::join!(dialled, server) })
            .await
            .expect("in time");
        if is_believed {
            assert_eq!(heard.as_ref(), Some(b"OPTIONS"), "{ending:?}");
        } else {
            assert_eq!(
                (ending, heard),
                (Ending::Broken(std::io::ErrorKind::PermissionDenied), None)
            );
        }
        drop(writes);
    }
}
