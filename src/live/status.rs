//! What a running `serve` says of itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::sip_sockets::SipCounts;
use crate::engine::RegistrationView;
use crate::model::{Fault, Generation, Timestamp};

/// The answer to `status`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Status {
    pub version: String,
    pub node: String,
    pub pid: u32,
    pub started: Timestamp,
    pub now: Timestamp,
    /// Accepts no more calls: on its way out.
    pub draining: bool,
    /// `udp:127.0.0.1:5070`
    pub listeners: Vec<String>,
    /// Live calls by the name of their state.
    pub calls: BTreeMap<String, u64>,
    /// Live calls whose sound ails, by the name of the impairment.
    #[serde(default)]
    pub ailing: BTreeMap<String, u64>,
    pub recorder: RecorderStatus,
    pub policies: PoliciesStatus,
    pub sip: SipCounts,
    /// Registrations of our own, by the names of their trunks.
    #[serde(default)]
    pub registrations: Vec<RegistrationView>,
    pub media: MediaCounts,
    #[serde(default)]
    pub trunks: Vec<TrunkStatus>,
    /// How many calls with one m-line the limit of file handles and the media ports allow.
    pub calls_max: u64,
}

/// One trunk.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrunkStatus {
    pub name: String,
    /// Calls on it, in both directions.
    pub calls: u32,
    /// None while no name of it is located.
    pub destinations: Vec<DestinationStatus>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DestinationStatus {
    /// `udp:192.0.2.10:5060`
    pub address: String,
    /// `up` and `down` as probes say, `avoided` after a failure, else `unknown`.
    pub state: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RecorderStatus {
    /// Whether a strict call would be accepted now.
    pub up: bool,
    /// Why it is down.
    pub fault: Option<Fault>,
    /// Since when it is up or down.
    pub since: Timestamp,
    /// When a volume failed to write, for the first time since the recorder came up.
    #[serde(default)]
    pub failing_since: Option<Timestamp>,
    /// Since when every volume has less free than its reserve: nothing new is opened, so `up` is false by it.
    #[serde(default)]
    pub below_reserve_since: Option<Timestamp>,
    /// How far the durable watermark trailed at the last heartbeat.
    pub lag_ms: u64,
    /// The longest that it trailed since the start.
    pub lag_peak_ms: u64,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PoliciesStatus {
    pub generation: Generation,
    /// SHA-256 of the files, in hexadecimal.
    pub hash: String,
    pub loaded: Timestamp,
    /// Findings of the newest load if it was refused: the generation above is the older one, still in force.
    pub refused: Vec<String>,
    pub reloads: u64,
    pub reloads_refused: u64,
}

/// Packets since the start, by what became of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MediaCounts {
    /// Sessions that are relayed now.
    pub sessions: u64,
    pub forwarded: u64,
    /// Arrived while their session's gate was shut.
    pub gated: u64,
    /// Not from the signalled source.
    pub foreign: u64,
    /// Before the far leg had said where it receives.
    pub early: u64,
    /// Of a strict call, and the recorder did not take them.
    pub refused: u64,
    /// The network did not take them.
    pub unsent: u64,
}

/// As status and logs write a listener.
pub fn listener(transport: crate::sip::Transport, address: SocketAddr) -> String {
    format!("{}:{address}", transport.as_str().to_ascii_lowercase())
}
