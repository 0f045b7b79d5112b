//! The configuration in the words of signalling and of the sockets.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::peers::Peers;
use super::sip_sockets::SipSetting;
use super::tls::Contexts;
use crate::config::{Config, LargeRequests};
use crate::engine::SignalingConfig;
use crate::media::COOL_DOWN;
use crate::sip::Transport;
use crate::trunk::{Paths, Peer, Topology, Trunk};

/// What signalling is told at its start. `listeners`: as bound.
pub(super) fn signaling(config: &Config, listeners: Vec<(Transport, SocketAddr)>, calls_max: usize) -> SignalingConfig {
    let paths = paths(config, &listeners);
    SignalingConfig {
        node: config.node.clone(),
        topology: Topology::new(config.trunks.clone(), config.routes.clone(), listeners).with_paths(paths),
        media_address: config.listen.media.address,
        ports: config.listen.media.ports.clone(),
        cool_down: COOL_DOWN,
        calls_max,
        session_interval: config.session_expires,
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
        let delivery = config.deliveries.get(&trunk.name);
        if delivery.is_some_and(|delivery| delivery.large_requests == LargeRequests::Udp) {
            for peer in &trunk.peers {
                paths.keep_datagrams(peer.ip);
            }
        }
    }
    paths
}

/// What the sockets are told.
pub(super) fn sockets(config: &Config, peers: Peers, tls: watch::Receiver<Arc<Contexts>>) -> SipSetting {
    let listeners = config.listen.sip.iter();
    SipSetting {
        listeners: listeners
            .map(|listener| (listener.transport, listener.address))
            .collect(),
        peers,
        homes: homes(config),
        tls,
        origins: config.listen.origins.clone(),
    }
}

/// Where trunks listen.
fn homes(config: &Config) -> BTreeSet<(Transport, SocketAddr)> {
    let of_trunk = |trunk: &Trunk| {
        let transport = trunk.transport;
        let home = move |peer: &Peer| (transport, peer.address_by(transport));
        trunk.peers.iter().map(home).collect::<Vec<_>>()
    };
    config.trunks.iter().flat_map(of_trunk).collect()
}
