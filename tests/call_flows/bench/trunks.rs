//! Between whom the proxy stands: the trunks, routes and listeners of a bench, and under which policies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use onrecord::engine::{Signaling, SignalingConfig};
use onrecord::model::{Generation, Tally, Timestamp};
use onrecord::policy::{PolicySet, RejectCode, SourceFile};
use onrecord::sip::Transport;
use onrecord::trunk::{Conduct, Near, NearMedia, Paths, Peer, Rank, Refer, Route, Site, Topology, Trunk};

use super::{
    A, ADVERTISED, ALL_STRICT, B, Bench, C, C6, GRANTS, LENIENT, OUTSIDE, OUTSIDE_MEDIA, PROXY, PROXY6, STRICT,
    TO_TRADER,
};

impl Bench {
    pub fn strict() -> Self {
        Self::with(&ALL_STRICT)
    }

    pub fn lenient() -> Self {
        Self::with(&[("desk.toml", LENIENT), ("grants.toml", GRANTS)])
    }

    /// The trader is recorded strictly, and nobody else.
    pub fn for_trader() -> Self {
        Self::with(&[("desk.toml", STRICT), ("grants.toml", TO_TRADER)])
    }

    pub fn unrecorded() -> Self {
        Self::with(&[])
    }

    pub fn with(files: &[(&str, &str)]) -> Self {
        Self::with_carrier(files, Conduct::default())
    }

    /// `trusted`: A's trunk and B's, in our trust domain (RFC 3325 §2.4) or not.
    pub fn between(trusted: [bool; 2], files: &[(&str, &str)]) -> Self {
        let carrier = trunk("carrier", &[B], trusted[1], Conduct::default());
        Self::on_trunks(files, trusted[0], vec![carrier])
    }

    /// Everything is recorded strictly, and the carrier is behind NAT.
    pub fn strict_with_carrier_behind_nat() -> Self {
        let mut carrier = trunk("carrier", &[B], true, Conduct::default());
        carrier.nat = true;
        Self::on_trunks(&ALL_STRICT, true, vec![carrier])
    }

    /// Everything is recorded strictly, and the carrier's trunk says this of our conduct there.
    pub fn strict_with_carrier(conduct: Conduct) -> Self {
        Self::with_carrier(&ALL_STRICT, conduct)
    }

    pub fn with_carrier(files: &[(&str, &str)], conduct: Conduct) -> Self {
        Self::on_trunks(files, true, vec![trunk("carrier", &[B], true, conduct)])
    }

    /// The carrier's second address is C.
    pub fn with_spare(files: &[(&str, &str)], conduct: Conduct) -> Self {
        Self::on_trunks(files, true, vec![trunk("carrier", &[B, C], true, conduct)])
    }

    /// Everything is recorded strictly; the carrier has these addresses, the first is asked first.
    pub fn strict_with_addresses(addresses: &[&str]) -> Self {
        Self::on_trunks(
            &ALL_STRICT,
            true,
            vec![trunk("carrier", addresses, true, Conduct::default())],
        )
    }

    /// The carrier talks by TCP.
    pub fn by_stream(files: &[(&str, &str)]) -> Self {
        let mut carrier = trunk("carrier", &[B], true, Conduct::default());
        carrier.transport = Transport::Tcp;
        Self::on_trunks(files, true, vec![carrier])
    }

    /// A's trunk talks by this. Everything is recorded strictly.
    pub fn with_phones_by(transport: Transport) -> Self {
        let mut pbx = trunk("pbx", &[A], true, Conduct::default());
        pbx.transport = transport;
        let carrier = trunk("carrier", &[B], true, Conduct::default());
        Self::on_trunks(&ALL_STRICT, true, vec![pbx, carrier])
    }

    /// The carrier's one server is asked by TCP first, then by UDP.
    pub fn by_two_transports(files: &[(&str, &str)]) -> Self {
        let site =
            |transport, priority| Site::parse(&format!("sip:{B};transport={transport}"), Rank { priority, weight: 0 });
        let mut carrier = trunk("carrier", &[B], true, Conduct::default());
        carrier.transport = Transport::Tcp;
        carrier.sites = [site("tcp", 1), site("udp", 2)].map(Option::unwrap).into();
        Self::on_trunks(files, true, vec![carrier])
    }

    /// The carrier is outside: we face it from [`OUTSIDE`], with media of its own before a NAT.
    pub fn on_two_networks(files: &[(&str, &str)]) -> Self {
        Self::facing_outside(files, &[B])
    }

    /// With a listener for IPv6 before [`OUTSIDE`].
    pub fn on_two_networks_and_families(files: &[(&str, &str)]) -> Self {
        Self::facing_outside(files, &[B, C6])
    }

    fn facing_outside(files: &[(&str, &str)], addresses: &[&str]) -> Self {
        let mut carrier = trunk("carrier", addresses, true, Conduct::default());
        let outside: SocketAddr = OUTSIDE.parse().unwrap();
        carrier.near = Near {
            listener: Some((Transport::Udp, outside)),
            media: Some(NearMedia {
                bound: outside.ip(),
                told: OUTSIDE_MEDIA.parse().unwrap(),
            }),
        };
        Self::on_trunks(files, true, vec![carrier])
    }

    /// The carrier talks by TLS. Nothing is recorded.
    pub fn secured() -> Self {
        let mut carrier = trunk("carrier", &[B], true, Conduct::default());
        carrier.transport = Transport::Tls;
        Self::on_trunks(&[], true, vec![carrier])
    }

    /// C is a trunk of its own, for who dials 7….
    pub fn with_branch(files: &[(&str, &str)], carrier: Conduct, branch: Conduct) -> Self {
        let trunks = vec![
            trunk("carrier", &[B], true, carrier),
            trunk("branch", &[C], true, branch),
        ];
        Self::on_trunks(files, true, trunks)
    }

    /// C is a trunk of its own that nobody may call.
    pub fn with_closed_branch(files: &[(&str, &str)], carrier: Conduct) -> Self {
        let trunks = vec![
            trunk("carrier", &[B], true, carrier),
            trunk("closed", &[C], true, Conduct::default()),
        ];
        Self::on_trunks(files, true, trunks)
    }

    /// `routes`: from, to, prefix.
    pub fn routed(files: &[(&str, &str)], routes: &[(&str, &str, Option<&str>)]) -> Self {
        let routes = routes.iter().map(|(from, to, prefix)| route(from, to, *prefix));
        let carrier = trunk("carrier", &[B], true, Conduct::default());
        Self::on_routes(files, true, vec![carrier], routes.collect())
    }

    /// REFERs of both trunks are executed by us.
    pub fn executing(files: &[(&str, &str)]) -> Self {
        let executes = || Conduct {
            refer: Refer::Execute,
            ..Conduct::default()
        };
        let trunks = vec![
            trunk("pbx", &[A], true, executes()),
            trunk("carrier", &[B], true, executes()),
        ];
        Self::on_trunks(files, true, trunks)
    }

    /// Our listener is known outside by [`ADVERTISED`]. Everything is recorded strictly. `refer`: what becomes of REFERs of both trunks.
    pub fn advertised(refer: Refer) -> Self {
        let conduct = || Conduct {
            refer,
            ..Conduct::default()
        };
        Self::advertised_to(conduct(), conduct())
    }

    /// The same; what is said of our conduct at A's trunk and at the carrier's.
    pub fn advertised_to(pbx: Conduct, carrier: Conduct) -> Self {
        let trunks = vec![trunk("pbx", &[A], true, pbx), trunk("carrier", &[B], true, carrier)];
        let routes = vec![route("pbx", "carrier", None), route("carrier", "pbx", None)];
        let mut paths = Paths::default();
        paths.advertise(Transport::Udp, PROXY.parse().unwrap(), ADVERTISED.parse().unwrap());
        Self::on_paths(&ALL_STRICT, true, trunks, routes, paths)
    }

    fn on_trunks(files: &[(&str, &str)], trusted: bool, trunks: Vec<Trunk>) -> Self {
        let mut routes = vec![route("pbx", "carrier", None), route("carrier", "pbx", None)];
        if trunks.iter().any(|trunk| trunk.name.as_str() == "branch") {
            routes.insert(0, route("pbx", "branch", Some("7")));
        }
        Self::on_routes(files, trusted, trunks, routes)
    }

    fn on_routes(files: &[(&str, &str)], trusted: bool, trunks: Vec<Trunk>, routes: Vec<Route>) -> Self {
        Self::on_paths(files, trusted, trunks, routes, Paths::default())
    }

    fn on_paths(
        files: &[(&str, &str)],
        trusted: bool,
        mut trunks: Vec<Trunk>,
        routes: Vec<Route>,
        mut paths: Paths,
    ) -> Self {
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| SourceFile {
                path: (*path).into(),
                text: (*text).into(),
            })
            .collect();
        let policies = Arc::new(PolicySet::compile(&files, Generation(1)).unwrap());
        if !trunks.iter().any(|trunk| trunk.name.as_str() == "pbx") {
            trunks.insert(0, trunk("pbx", &[A], trusted, Conduct::default()));
        }
        let mut listeners = vec![(Transport::Udp, PROXY.parse().unwrap())];
        if trunks
            .iter()
            .flat_map(|trunk| &trunk.peers)
            .any(|peer| peer.ip.is_ipv6())
        {
            listeners.push((Transport::Udp, PROXY6.parse().unwrap()));
            let ours = [PROXY, PROXY6].map(|listener| listener.parse::<SocketAddr>().unwrap().ip());
            ours.into_iter().for_each(|ip| paths.advertise_media(ip, ip));
        }
        listeners.extend(trunks.iter().filter_map(|trunk| trunk.near.listener));
        for transport in [Transport::Tcp, Transport::Tls, Transport::Ws] {
            if trunks.iter().any(|trunk| trunk.transport == transport) {
                listeners.push((transport, PROXY.parse().unwrap()));
            }
        }
        let carrier = trunks.iter().find(|trunk| trunk.name.as_str() == "carrier");
        let faced = carrier.and_then(|carrier| Some(carrier.near.listener?.1));
        let config = SignalingConfig {
            node: "lab".to_owned(),
            topology: Topology::new(trunks, routes, listeners).with_paths(paths),
            media_address: "127.0.0.1".parse().unwrap(),
            ports: 40_000..=40_199,
            cool_down: Duration::ZERO,
            session_interval: Some(Duration::from_secs(1_800)),
            ring_max: Duration::from_secs(600),
            calls_max: 100,
            lag_max: Duration::from_secs(1),
            peer_node: false,
            reject_code: RejectCode::Auto,
            steps: true,
        };
        Self {
            faced,
            now: Timestamp::from_millis(1_763_800_000_000),
            signaling: Signaling::new(config, policies, 7),
            story: Vec::new(),
            to_a: Vec::new(),
            to_b: Vec::new(),
            to_c: Vec::new(),
            recording: Vec::new(),
            media: Vec::new(),
            remembered: BTreeMap::new(),
            recorder_answers: true,
            recorder_lives: true,
            ports_bind: true,
            media_answers: true,
            tally: Tally {
                accepted: 10,
                forwarded: 10,
                ..Tally::default()
            },
        }
    }
}

fn trunk(name: &str, addresses: &[&str], trusted: bool, conduct: Conduct) -> Trunk {
    let peer = |address: &&str| {
        let address: SocketAddr = address.parse().unwrap();
        Peer {
            ip: address.ip(),
            port: Some(address.port()),
        }
    };
    Trunk {
        trusted,
        conduct,
        ..Trunk::new(name.into(), addresses.iter().map(peer).collect())
    }
}

/// Calls from one trunk to another, of numbers that begin so or of all.
pub fn route(from: &str, to: &str, prefix: Option<&str>) -> Route {
    Route {
        from: from.into(),
        to: to.into(),
        prefix: prefix.map(str::to_owned),
        to_user: None,
        priority: 0,
    }
}
