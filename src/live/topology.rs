//! The configuration in the words of signalling and of the sockets.

use std::net::SocketAddr;

use crate::config::Config;
use crate::engine::SignalingConfig;
use crate::media::COOL_DOWN;
use crate::sip::Transport;
use crate::trunk::Topology;

/// What signalling is told at its start. `listeners`: as bound.
pub(super) fn signaling(config: &Config, listeners: Vec<(Transport, SocketAddr)>, calls_max: usize) -> SignalingConfig {
    SignalingConfig {
        node: config.node.clone(),
        topology: Topology::new(config.trunks.clone(), config.routes.clone(), listeners),
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
