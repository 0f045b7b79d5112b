//! The configuration in the words of signalling and of the sockets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::watch;

use super::homes::Homes;
use super::media_shared::Sharing;
use super::peers::Peers;
use super::sip_sockets::SipSetting;
use super::tls::Contexts;
use crate::config::{Config, MediaListen, MediaSockets};
use crate::engine::SignalingConfig;
use crate::media::COOL_DOWN;
use crate::sip::Transport;
use crate::trunk::{Paths, Topology};

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
        ring_max: config.ring_max,
        lag_max: config.recorder.lag_max,
        peer_node: false,
        reject_code: config.recorder.reject_code,
        steps: false,
    }
}

/// Whether calls share sockets, and the address that has to allow it.
pub(super) fn sharing(media: &MediaListen) -> Option<Sharing> {
    let at = match (media.sockets, media.address) {
        (MediaSockets::Own, _) => return None,
        (MediaSockets::Shared, IpAddr::V4(ip)) => Some(ip),
        (MediaSockets::Shared, IpAddr::V6(_)) => None,
    };
    Some(Sharing {
        at,
        ports: media.ports.clone(),
    })
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
    paths
}

/// What the sockets are told.
pub(super) fn sockets(config: &Config, peers: Peers, homes: Homes, tls: watch::Receiver<Arc<Contexts>>) -> SipSetting {
    let listeners = config.listen.sip.iter();
    SipSetting {
        listeners: listeners
            .map(|listener| (listener.transport, listener.address))
            .collect(),
        peers,
        homes,
        tls,
        origins: config.listen.origins.clone(),
    }
}
