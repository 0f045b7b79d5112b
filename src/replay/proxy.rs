//! The proxy that a capture is played to: between the phones, with a trunk to each side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::calls::{CALLEE, CALLER};
use super::options::ReplayOptions;
use crate::config::{Config, RING_MAX_DEFAULT};
use crate::engine::SignalingConfig;
use crate::model::TrunkName;
use crate::policy::RejectCode;
use crate::sip::Transport;
use crate::trunk::{Conduct, Host, Near, Paths, Peer, Refer, Route, SdesOver, Secrecy, Srtp, Topology, Trunk};

/// The proxy's addresses in a replay (RFC 5737, RFC 3849).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Listeners {
    v4: SocketAddr,
    v6: SocketAddr,
}

impl Listeners {
    const USUAL: Self = Self::numbered(1);

    const fn numbered(n: u8) -> Self {
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n as u16);
        Self {
            v4: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, n)), 5060),
            v6: SocketAddr::new(IpAddr::V6(v6), 5060),
        }
    }

    /// Others than the proxy's that was captured, if that was a replay's: who sends to our own address is nobody.
    pub(super) fn beside(captured: IpAddr) -> Self {
        let usual = Self::USUAL;
        if [usual.v4.ip(), usual.v6.ip()].contains(&captured) {
            Self::numbered(2)
        } else {
            usual
        }
    }

    /// Our end of a path to `remote`.
    pub(super) const fn facing(self, remote: SocketAddr) -> SocketAddr {
        if remote.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// Calls that a replayed proxy has at a time.
const LIVE_MAX: usize = 20_000;
/// Destinations of the called trunk that are stood in for; further ones are left out.
const DESTINATIONS_MAX: u8 = 16;

pub(super) fn signaling(options: &ReplayOptions, lag_max: Duration, ours: Listeners) -> SignalingConfig {
    let Listeners { v4, v6 } = ours;
    let config = options.config.as_deref();
    let [caller, callee] = &options.trunks;
    let from = stand_in(config, caller, |_| vec![CALLER]);
    let to = stand_in(config, callee, callees);
    let mut paths = Paths::default();
    let mut listeners = vec![(Transport::Udp, v4), (Transport::Tcp, v4), (Transport::Ws, v4)];
    if to.peers.iter().any(|peer| peer.ip.is_ipv6()) {
        listeners.push((Transport::Udp, v6));
        for listener in [v4, v6] {
            paths.advertise_media(listener.ip(), listener.ip());
        }
    }
    SignalingConfig {
        node: "replay".to_owned(),
        topology: Topology::new(vec![from, to], routes(config, caller, callee), listeners).with_paths(paths),
        media_address: v4.ip(),
        ports: 6_000..=65_535,
        cool_down: Duration::from_secs(1),
        session_interval: config.and_then(|config| config.session_expires),
        ring_max: config.map_or(RING_MAX_DEFAULT, |config| config.ring_max),
        calls_max: LIVE_MAX,
        lag_max,
        peer_node: false,
        reject_code: config.map_or(RejectCode::Auto, |config| config.recorder.reject_code),
        steps: true,
    }
}

/// The trunk as the config has it, at the addresses of a replay; without a config one that passes everything.
///
/// Nothing is registered at it, nobody probes it, and a REFER is the phones' own: the capture has no answers to what we would
/// do there.
fn stand_in(config: Option<&Config>, name: &TrunkName, addresses: impl FnOnce(&Trunk) -> Vec<IpAddr>) -> Trunk {
    let configured = config.and_then(|config| config.trunks.iter().find(|trunk| trunk.name == *name));
    let trunk = configured.cloned().unwrap_or_else(|| Trunk {
        trusted: true,
        // Its media can be opened if its signalling was captured in clear.
        secrecy: Secrecy {
            srtp: Srtp::Allow,
            sdes_over: SdesOver::Any,
            ..Secrecy::default()
        },
        ..Trunk::new(name.clone(), Vec::new())
    });
    Trunk {
        peers: addresses(&trunk)
            .into_iter()
            .map(|ip| Peer { ip, port: None })
            .collect(),
        networks: Vec::new(),
        sites: Vec::new(),
        located: Vec::new(),
        transport: Transport::Udp,
        probe: None,
        near: Near::default(),
        conduct: Conduct {
            register: None,
            refer: Refer::default(),
            ..trunk.conduct.clone()
        },
        ..trunk
    }
}

/// An address for each destination of the trunk, of its family, in their order. A name is taken for IPv4.
fn callees(trunk: &Trunk) -> Vec<IpAddr> {
    let mut sites: Vec<_> = trunk.sites.iter().collect();
    sites.sort_by_key(|site| site.rank.priority);
    let of_site = |host: &Host| matches!(host, Host::Address(IpAddr::V6(_)));
    let is_ipv6: Vec<bool> = if sites.is_empty() {
        trunk.peers.iter().map(|peer| peer.ip.is_ipv6()).collect()
    } else {
        sites.iter().map(|site| of_site(&site.host)).collect()
    };
    let address = |(number, is_ipv6): (u8, bool)| match CALLEE {
        IpAddr::V4(ip) if !is_ipv6 => {
            let [a, b, c, d] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d + number))
        }
        _ => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1 + u16::from(number))),
    };
    let addresses: Vec<IpAddr> = (0..DESTINATIONS_MAX).zip(is_ipv6).map(address).collect();
    if addresses.is_empty() { vec![CALLEE] } else { addresses }
}

/// The config's routes from the one trunk to the other; without a config the way is free.
fn routes(config: Option<&Config>, from: &TrunkName, to: &TrunkName) -> Vec<Route> {
    let Some(config) = config else {
        return vec![Route {
            from: from.clone(),
            to: to.clone(),
            prefix: None,
            to_user: None,
            priority: 0,
        }];
    };
    let routes = config.routes.iter();
    routes
        .filter(|route| route.from == *from && route.to == *to)
        .cloned()
        .collect()
}
