//! The proxy that a capture is played to: between the phones, with a trunk to each side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::calls::{CALLEE, CALLER};
use crate::engine::SignalingConfig;
use crate::model::TrunkName;
use crate::sip::Transport;
use crate::trunk::{Peer, Route, Topology, Trunk};

/// The proxy's address in a replay (RFC 5737).
pub(super) const LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 5060);
/// Calls that a replayed proxy has at a time.
const LIVE_MAX: usize = 20_000;

pub(super) fn signaling(trunks: &[TrunkName; 2], lag_max: Duration) -> SignalingConfig {
    let trunk = |name: &TrunkName, ip| Trunk {
        trusted: true,
        ..Trunk::new(name.clone(), vec![Peer { ip, port: None }])
    };
    let [caller, callee] = trunks;
    let route = Route {
        from: caller.clone(),
        to: callee.clone(),
        prefix: None,
        to_user: None,
        priority: 0,
    };
    let listeners = vec![(Transport::Udp, LISTENER), (Transport::Tcp, LISTENER)];
    SignalingConfig {
        node: "replay".to_owned(),
        topology: Topology::new(
            vec![trunk(caller, CALLER), trunk(callee, CALLEE)],
            vec![route],
            listeners,
        ),
        media_address: LISTENER.ip(),
        ports: 6_000..=65_535,
        cool_down: Duration::from_secs(1),
        session_interval: None,
        calls_max: LIVE_MAX,
        lag_max,
        peer_node: false,
        reject_code: crate::policy::RejectCode::Auto,
        steps: true,
    }
}
