//! Trunks: who may send to us, and where calls go on.
//!
//! Architecture Invariant: pure. Names are resolved, probes are sent and connections are opened elsewhere.

mod conduct;
mod destination;
mod paths;
mod peer;
mod route;
mod topology;

pub use conduct::{Conduct, Failover, Redirect, Register};
pub use destination::{Destination, Draw, Rank, in_order};
pub use paths::{DATAGRAM_REQUEST_BYTES_MAX, Paths};
pub use peer::{Peer, SIP_PORT, Trunk};
pub use route::Route;
pub use topology::Topology;
