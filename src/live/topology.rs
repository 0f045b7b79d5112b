//! The configuration in the words of signalling and of the sockets.

use std::net::SocketAddr;

use super::peers::Peers;
use crate::config::Config;
use crate::engine::{Peer, Route, SignalingConfig, Topology, Trunk};
use crate::media::COOL_DOWN;
use crate::sip::Transport;

/// What signalling is told at its start. `listeners`: as bound.
pub(super) fn signaling(config: &Config, listeners: Vec<(Transport, SocketAddr)>, calls_max: usize) -> SignalingConfig {
    let trunks = config.trunks.iter().map(|trunk| Trunk {
        name: trunk.name.clone(),
        peers: trunk
            .peers
            .iter()
            .map(|peer| Peer {
                ip: peer.ip,
                port: peer.port,
            })
            .collect(),
        transport: trunk.transport,
        trusted: trunk.trusted,
    });
    // The file's order stands: a route's place is its priority.
    let routes = config.routes.iter().zip(0..).map(|(route, priority)| Route {
        from: route.from.clone(),
        to: route.to.clone(),
        prefix: route.prefix.clone(),
        to_user: route.to_user.clone(),
        priority,
    });
    SignalingConfig {
        node: config.node.clone(),
        topology: Topology::new(trunks.collect(), routes.collect(), listeners),
        media_address: config.listen.media.address,
        ports: config.listen.media.ports.clone(),
        cool_down: COOL_DOWN,
        calls_max,
        lag_max: config.recorder.lag_max,
        peer_node: false,
        reject_code: config.recorder.reject_code,
        steps: false,
    }
}

/// Who may speak to the sockets.
pub(super) fn peers(config: &Config) -> Peers {
    Peers::new(
        config
            .trunks
            .iter()
            .flat_map(|trunk| trunk.peers.iter().map(|peer| (peer.ip, peer.port))),
    )
}
