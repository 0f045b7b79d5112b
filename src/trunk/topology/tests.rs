use std::time::Duration;

use super::*;
use crate::trunk::{DomainName, Field, Network, Rank, Rewrite, Server};

const OURS: &str = "192.0.2.9:5060";

fn trunk(name: &str, ip: &str, port: Option<u16>) -> Trunk {
    let ip = ip.parse().expect("an address");
    Trunk::new(name.into(), vec![Peer { ip, port }])
}

fn site(text: &str, priority: u16, weight: u16) -> Site {
    Site::parse(text, Rank { priority, weight }).expect("a destination")
}

fn carrier(sites: Vec<Site>) -> Topology {
    let carrier = Trunk {
        sites,
        ..trunk("carrier", "192.0.2.1", None)
    };
    let ours = OURS.parse().expect("an address");
    let listeners = vec![(Transport::Udp, ours), (Transport::Tcp, ours)];
    Topology::new(
        vec![trunk("pbx", "192.0.2.100", None), carrier],
        vec![route("pbx", "carrier", None, 0)],
        listeners,
    )
}

fn targets(topology: &Topology, now: Timestamp) -> Vec<String> {
    let pbx = Arc::clone(&topology.trunks()[0]);
    let uri = Uri::parse("sip:0123@192.0.2.9").expect("a URI");
    let all = topology.destinations(now, &pbx, &uri, &mut |_| 0).expect("a route");
    all.iter()
        .map(|to| format!("{} {} {}", to.flow.transport.as_str(), to.flow.remote, to.target))
        .collect()
}

fn hears(topology: &Topology, remote: SocketAddr, transport: Transport) -> bool {
    let local = OURS.parse().expect("an address");
    let flow = Flow {
        transport,
        local,
        remote,
    };
    topology.hearing(flow) == Hearing::All
}

fn located(addresses: &[&str]) -> Located {
    let server = |(at, text): (usize, &&str)| Server {
        rank: Rank {
            priority: at as u16,
            weight: 0,
        },
        host: DomainName::parse("one.example.com").expect("a name"),
        transport: Transport::Tcp,
        addresses: vec![text.parse().expect("an address")],
    };
    Located {
        servers: addresses.iter().enumerate().map(server).collect(),
        ttl: Duration::from_secs(60),
    }
}

#[test]
fn without_destinations_the_peers_are_tried_in_their_order() {
    let mut topology = carrier(vec![]);
    Arc::make_mut(&mut topology.trunks[1])
        .peers
        .extend(trunk("x", "192.0.2.2", Some(5080)).peers);
    assert_eq!(
        targets(&topology, Timestamp::ZERO),
        [
            "UDP 192.0.2.1:5060 sip:0123@192.0.2.1:5060",
            "UDP 192.0.2.2:5080 sip:0123@192.0.2.2:5080"
        ]
    );
}

#[test]
fn a_uri_without_a_port_means_that_of_its_scheme_and_transport() {
    let ours = [(Transport::Udp, 5060), (Transport::Tls, 5061), (Transport::Wss, 443)];
    let at = |(transport, port)| {
        (
            transport,
            SocketAddr::new("192.0.2.9".parse().expect("an address"), port),
        )
    };
    let names_us = |listeners: &[(Transport, u16)], text: &str| {
        let listeners = listeners.iter().copied().map(at).collect();
        Topology::new(vec![], vec![], listeners).names_us(&Uri::parse(text).expect("a URI"))
    };
    for (listener, text) in ours.into_iter().zip([
        "sip:192.0.2.9;transport=tcp",
        "sip:192.0.2.9;transport=TLS",
        "sips:a@192.0.2.9;transport=ws",
    ]) {
        assert!(names_us(&[listener], text), "{text}");
        assert!(!names_us(&[(Transport::Udp, 5070)], text), "{text}");
    }
    assert!(names_us(&ours, "sips:192.0.2.9") && !names_us(&ours[..1], "sips:192.0.2.9"));
}

#[test]
fn a_destination_that_failed_comes_last_until_its_time_is_over() {
    let mut topology = carrier(vec![site("192.0.2.1", 1, 0), site("sip:192.0.2.2;transport=tcp", 2, 0)]);
    let first = (Transport::Udp, "192.0.2.1:5060".parse().expect("an address"));
    topology.health().on_failure(Timestamp::ZERO, first, None);
    let at = |seconds| targets(&topology, Timestamp::ZERO + Duration::from_secs(seconds))[0].clone();
    assert_eq!(at(0), "TCP 192.0.2.2:5060 sip:0123@192.0.2.2:5060");
    assert_eq!(at(30), "UDP 192.0.2.1:5060 sip:0123@192.0.2.1:5060");
    assert_eq!(
        targets(&topology, Timestamp::ZERO).len(),
        2,
        "it is tried all the same when all else fails"
    );
}

#[test]
fn a_name_is_kept_in_the_request_uri_and_its_servers_may_send() {
    let mut topology = carrier(vec![site("sip.example.com", 1, 0), site("192.0.2.8", 2, 0)]);
    let aim = topology.aims().remove(0);
    let server = "198.51.100.1:5062".parse().expect("an address");
    assert!(!hears(&topology, server, Transport::Tcp));
    topology.locate(aim.clone(), located(&["198.51.100.1:5062", "198.51.100.2:5060"]));
    assert_eq!(
        targets(&topology, Timestamp::ZERO),
        [
            "TCP 198.51.100.1:5062 sip:0123@sip.example.com",
            "TCP 198.51.100.2:5060 sip:0123@sip.example.com",
            "UDP 192.0.2.8:5060 sip:0123@192.0.2.8:5060"
        ]
    );
    assert_eq!(
        topology.trunk_of(server, Transport::Tcp).map(|t| t.name.as_str()),
        Some("carrier")
    );

    topology.locate(aim, located(&["198.51.100.2:5060"]));
    assert_eq!(topology.datagrams_only(), Sources::default());
    Arc::make_mut(&mut topology.trunks[1]).datagrams_only = true;
    let kept = topology.datagrams_only();
    assert!(
        kept.has_host([198, 51, 100, 2].into()),
        "where the name leads now: {kept:?}"
    );
    assert!(topology.trunk_of(server, Transport::Tcp).is_none(), "opens no call");
    assert!(hears(&topology, server, Transport::Tcp), "ends those that are up");
}

#[test]
fn a_source_is_of_who_names_its_port_then_its_address_then_the_longest_range_around_it() {
    let range = |name: &str, text: &str| Trunk {
        networks: vec![Network::parse(text).expect("a range")],
        ..Trunk::new(name.into(), vec![])
    };
    let secure = Trunk {
        transport: Transport::Tls,
        ..range("secure", "10.1.2.0/24")
    };
    let trunks = vec![
        range("wide", "10.0.0.0/8"),
        secure,
        range("narrow", "10.1.0.0/16"),
        trunk("host", "10.1.2.3", None),
        trunk("port", "10.1.2.3", Some(5080)),
    ];
    let topology = Topology::new(trunks, vec![], vec![]);
    let of = |text: &str, transport| {
        let trunk = topology.trunk_of(text.parse().expect("an address"), transport);
        trunk.map(|trunk| trunk.name.as_str())
    };
    for (source, transport, name) in [
        ("10.1.2.3:5080", Transport::Udp, Some("port")),
        ("10.1.2.3:5081", Transport::Udp, Some("host")),
        ("10.1.2.3:40000", Transport::Tcp, Some("host")),
        ("10.1.2.4:5060", Transport::Tls, Some("secure")),
        ("10.1.2.4:5060", Transport::Udp, Some("narrow")),
        ("[::ffff:10.1.9.9]:5060", Transport::Udp, Some("narrow")),
        ("10.9.9.9:5060", Transport::Tcp, Some("wide")),
        ("11.0.0.1:5060", Transport::Udp, None),
    ] {
        assert_eq!(of(source, transport), name, "{source}");
    }
}

#[test]
fn a_server_that_dns_names_is_its_trunks_within_anothers_range_and_a_range_that_goes_may_end_its_calls() {
    let mut topology = carrier(vec![site("sip.example.com", 1, 0)]);
    let configured: Vec<Trunk> = topology.trunks().iter().map(|trunk| (**trunk).clone()).collect();
    let mut with_range = configured.clone();
    with_range[0].networks = vec![Network::parse("198.51.100.0/24").expect("a range")];
    topology.replace(with_range, vec![]);
    let aim = topology.aims().remove(0);
    topology.locate(aim, located(&["198.51.100.1:5062"]));
    let name_of = |topology: &Topology, text: &str| {
        let trunk = topology.trunk_of(text.parse().expect("an address"), Transport::Udp);
        trunk.map(|trunk| trunk.name.as_str().to_owned())
    };
    assert_eq!(name_of(&topology, "198.51.100.1:5062").as_deref(), Some("carrier"));
    assert_eq!(name_of(&topology, "198.51.100.2:5062").as_deref(), Some("pbx"));
    let pbx = Arc::clone(&topology.trunks()[0]);
    let member = "198.51.100.2:5062".parse().expect("an address");
    assert!(topology.speaks_for(&pbx, member, Transport::Udp));
    topology.replace(configured, vec![]);
    assert_eq!(name_of(&topology, "198.51.100.2:5062"), None, "opens no call");
    assert!(
        topology.speaks_for(&pbx, member, Transport::Udp),
        "ends those that are up"
    );
    let carrier = Arc::clone(&topology.trunks()[1]);
    assert!(!topology.speaks_for(&carrier, member, Transport::Udp));
}

#[test]
fn another_configuration_keeps_what_is_known_and_lets_old_peers_end_their_calls() {
    let mut topology = carrier(vec![site("sip.example.com", 1, 0)]);
    let aim = topology.aims().remove(0);
    topology.locate(aim, located(&["198.51.100.1:5062"]));
    let carrier = (*topology.trunks()[1]).clone();
    topology.replace(
        vec![Trunk {
            located: vec![],
            ..carrier
        }],
        vec![],
    );
    let pbx = "192.0.2.100:5060".parse().expect("an address");
    assert!(topology.trunk_of(pbx, Transport::Udp).is_none() && hears(&topology, pbx, Transport::Udp));
    assert_eq!(topology.trunks()[0].located.len(), 1, "the name is still known");
}

#[test]
fn the_rules_of_what_leaves_write_the_request_uri() {
    let mut topology = carrier(vec![]);
    let rule = Rewrite::new(Passage::Out, Field::RequestUri, r"^0(\d+)$", "+44$1").expect("a rule");
    Arc::make_mut(&mut topology.trunks[1]).rewrites = vec![rule];
    assert_eq!(
        targets(&topology, Timestamp::ZERO),
        ["UDP 192.0.2.1:5060 sip:+44123@192.0.2.1:5060"]
    );
}

fn route(from: &str, to: &str, prefix: Option<&str>, priority: i64) -> Route {
    Route {
        from: from.into(),
        to: to.into(),
        prefix: prefix.map(str::to_owned),
        to_user: None,
        priority,
    }
}

#[test]
fn two_trunks_on_one_host_are_told_apart_by_port() {
    let trunks = vec![trunk("any", "127.0.0.1", None), trunk("pbx", "127.0.0.1", Some(5080))];
    let topology = Topology::new(trunks, vec![], vec![]);
    let name = |source: &str| {
        let source = source.parse().expect("an address");
        topology
            .trunk_of(source, Transport::Udp)
            .map(|trunk| trunk.name.as_str().to_owned())
    };
    assert_eq!(name("127.0.0.1:5080").as_deref(), Some("pbx"));
    assert_eq!(name("127.0.0.1:5081").as_deref(), Some("any"));
    assert_eq!(name("127.0.0.2:5080"), None);
}

#[test]
fn the_lowest_priority_then_the_first_written_wins() {
    let trunks = vec![
        trunk("uk", "127.0.0.2", None),
        trunk("world", "127.0.0.3", None),
        trunk("test", "127.0.0.4", None),
    ];
    let routes = vec![
        route("pbx", "test", Some("+441"), 20),
        route("pbx", "uk", Some("+44"), 10),
        route("pbx", "world", None, 10),
        route("other", "test", None, 0),
    ];
    let topology = Topology::new(trunks, routes, vec![]);
    let to = |user: &str| {
        topology
            .route(&"pbx".into(), user)
            .map(|(route, _)| route.to.as_str().to_owned())
    };
    assert_eq!(to("+441234").as_deref(), Some("uk"));
    assert_eq!(to("%2B441234").as_deref(), Some("uk"), "the same number");
    assert_eq!(to("+15551234").as_deref(), Some("world"));
    assert_eq!(topology.route(&"nobody".into(), "1"), None);
}
