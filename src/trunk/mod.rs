//! Trunks: who may send to us, and where calls go on.
//!
//! Architecture Invariant: pure. Names are resolved, probes are sent and connections are opened elsewhere.

mod peer;
mod route;
mod topology;

pub use peer::{Peer, SIP_PORT, Trunk};
pub use route::Route;
pub use topology::Topology;
