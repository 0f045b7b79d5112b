//! Where the world's people live and what the product is told about them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use onrecord::engine::{Engine, SignalingConfig};
use onrecord::model::{Generation, Timestamp, TrunkName};
use onrecord::policy::{PolicySet, SourceFile};
use onrecord::recorder::{VolumeConfig, WriterConfig};
use onrecord::sip::Transport;
use onrecord::trunk::{Peer, Route, Topology, Trunk};

use super::net::Datagram;
use super::packets::media_packet;
use super::world::Grade;

pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub const LAG_MAX: Duration = Duration::from_secs(1);
/// Longest after the last phone rests: 64 × T1 of our own transactions, the ports' cool-down, sealing.
pub const TIDY_UP: Duration = Duration::from_secs(90);
pub const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5060);
const CALLERS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
const CALLEES: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1));
const PORTS: RangeInclusive<u16> = 30_000..=30_255;
/// The phone number of who injects: no phone has it.
pub const STRANGER: u64 = 999;
/// Pairs that the grants know.
const PAIRS_MAX: usize = 32;

/// SIP address, media address, and where it sends to. All callees live behind one address, as on a real trunk.
pub fn addresses(pair: usize, is_caller: bool) -> [SocketAddr; 3] {
    let pair = pair as u16;
    if is_caller {
        [
            SocketAddr::new(CALLERS, 6000 + pair),
            SocketAddr::new(CALLERS, 20_000 + 2 * pair),
            PROXY,
        ]
    } else {
        [
            SocketAddr::new(CALLEES, 5060),
            SocketAddr::new(CALLEES, 20_000 + 2 * pair),
            PROXY,
        ]
    }
}

pub fn caller(grade: Grade, pair: usize) -> String {
    let grade = match grade {
        Grade::Strict => "strict",
        Grade::Lenient => "lenient",
        Grade::Exempt => "exempt",
    };
    format!("{grade}{pair}@sim.example")
}

/// The pair that a caller's URI belongs to.
pub fn pair_of(caller: &str) -> Option<usize> {
    let user = caller.split_once(':')?.1.split_once('@')?.0;
    user.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

pub fn callee(pair: usize) -> String {
    format!("callee{pair}x")
}

/// Is this the URI of the pair's callee?
pub fn is_callee(pair: usize, uri: &str) -> bool {
    uri.starts_with(&format!("sip:{}@", callee(pair)))
}

/// RTP from a host that no SDP names, numbered as nobody's.
pub fn injection(ssrc: u64) -> impl Iterator<Item = Datagram> {
    let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 9, 9)), 4000);
    PORTS.map(move |port| {
        let to = SocketAddr::new(PROXY.ip(), port);
        let bytes = media_packet(STRANGER << 32, 1, ssrc as u32).into();
        Datagram { from, to, bytes }
    })
}

fn policy(id: &str, required: bool) -> String {
    format!(
        "[policy]\nid = \"{id}\"\ndescription = \"simulated\"\nenabled = true\nrecord = [\"audio\"]\n\
         [[policy.recorder]]\nid = \"embedded\"\nrequired_before_call_establishment = {required}\n\
         required_during_call = {required}\n"
    )
}

fn grants() -> String {
    ["strict", "lenient"]
        .map(|grade| {
            let users: Vec<String> = (0..PAIRS_MAX)
                .map(|n| format!("\"user:{grade}{n}@sim.example\""))
                .collect();
            format!("[[grant]]\npolicy = \"{grade}\"\nto = [{}]\n", users.join(", "))
        })
        .concat()
}

fn policies() -> Arc<PolicySet> {
    let file = |path: &str, text: String| SourceFile {
        path: path.to_owned(),
        text,
    };
    let files = [
        file("policies/strict.toml", policy("strict", true)),
        file("policies/lenient.toml", policy("lenient", false)),
        file("policies/grants.toml", grants()),
    ];
    Arc::new(PolicySet::compile(&files, Generation(1)).expect("the simulated policies are valid"))
}

fn topology() -> Topology {
    let trunk = |name: &str, peer: Peer| Trunk {
        trusted: true,
        ..Trunk::new(TrunkName::from(name), vec![peer])
    };
    let route = |from: &str, to: &str| Route {
        from: TrunkName::from(from),
        to: TrunkName::from(to),
        prefix: None,
        to_user: None,
        priority: 0,
    };
    Topology::new(
        vec![
            trunk(
                "pbx",
                Peer {
                    ip: CALLERS,
                    port: None,
                },
            ),
            trunk(
                "carrier",
                Peer {
                    ip: CALLEES,
                    port: Some(5060),
                },
            ),
        ],
        vec![route("pbx", "carrier"), route("carrier", "pbx")],
        vec![(Transport::Udp, PROXY)],
    )
}

fn signaling() -> SignalingConfig {
    SignalingConfig {
        node: "sim".to_owned(),
        topology: topology(),
        media_address: PROXY.ip(),
        ports: PORTS,
        cool_down: Duration::from_secs(5),
        session_interval: None,
        ring_max: Duration::from_secs(200),
        calls_max: 64,
        lag_max: LAG_MAX,
        peer_node: false,
        reject_code: onrecord::policy::RejectCode::Auto,
        steps: true,
    }
}

pub fn recorder(volumes: usize) -> WriterConfig {
    WriterConfig {
        lag_max: LAG_MAX,
        segment_bytes: 8 << 20,
        volumes: vec![VolumeConfig::default(); volumes],
        ..WriterConfig::default()
    }
}

/// An engine on an empty disk.
pub fn engine(seed: u64, volumes: usize) -> Engine {
    Engine::fresh(signaling(), recorder(volumes), policies(), seed, START)
}
