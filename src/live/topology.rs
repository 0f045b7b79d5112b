//! The configuration in the words of signalling and of the sockets.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::peers::Peers;
use super::sip_sockets::SipSetting;
use super::tls::Contexts;
use crate::config::{Config, LargeRequests};
use crate::engine::{Paths, Peer, Route, SignalingConfig, Topology, Trunk};
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
    let paths = paths(config, &listeners);
    SignalingConfig {
        node: config.node.clone(),
        topology: Topology::new(trunks.collect(), routes.collect(), listeners).with_paths(paths),
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

/// How peers reach the listeners, which are bound in the order of the config.
fn paths(config: &Config, listeners: &[(Transport, SocketAddr)]) -> Paths {
    let mut paths = Paths::by_streams_of(listeners);
    for listener in &config.listen.sip {
        if let Some(at) = &listener.advertised {
            paths.advertise(listener.transport, listener.address, at.clone());
        }
    }
    for (local, public) in config.listen.media_addresses() {
        paths.advertise_media(local, public);
    }
    for trunk in &config.trunks {
        if trunk.delivery.large_requests == LargeRequests::Udp {
            for peer in &trunk.peers {
                paths.keep_datagrams(peer.ip);
            }
        }
    }
    paths
}

/// What the sockets are told.
pub(super) fn sockets(config: &Config, tls: watch::Receiver<Arc<Contexts>>) -> SipSetting {
    let listeners = config.listen.sip.iter();
    SipSetting {
        listeners: listeners
            .map(|listener| (listener.transport, listener.address))
            .collect(),
        peers: peers(config),
        homes: homes(config),
        tls,
        origins: config.listen.origins.clone(),
    }
}

/// Where trunks listen.
fn homes(config: &Config) -> BTreeSet<(Transport, SocketAddr)> {
    let of_trunk = |trunk: &crate::config::Trunk| {
        let transport = trunk.transport;
        let home = move |peer: &crate::config::Peer| {
            let port = peer.port.unwrap_or(transport.default_port());
            (transport, SocketAddr::new(peer.ip, port))
        };
        trunk.peers.iter().map(home).collect::<Vec<_>>()
    };
    config.trunks.iter().flat_map(of_trunk).collect()
}

/// Who may speak to the sockets.
fn peers(config: &Config) -> Peers {
    Peers::new(
        config
            .trunks
            .iter()
            .flat_map(|trunk| trunk.peers.iter().map(|peer| (peer.ip, peer.port))),
    )
}
