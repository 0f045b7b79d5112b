//! Trunks: who may send to us, and where calls go on.
//!
//! `topology` is the whole of it: `peer`, `network`, `site` and `route` are what is configured, `senders` tells whose a source is, `locate` finds the servers behind a
//! name, `destination` orders them, `health` avoids those that failed, `rewrite` and `caps` are the rules of one trunk,
//! `retired` are peers of before.
//!
//! Architecture Invariant: pure. Names are resolved, probes are sent and connections are opened elsewhere.

mod caps;
mod conduct;
mod destination;
mod health;
mod locate;
mod near;
mod network;
mod paths;
mod peer;
mod retired;
pub mod rewrite;
mod route;
mod secrecy;
mod senders;
mod site;
mod source;
mod topology;

pub use caps::{CapReached, Caps, Loads, retry_after};
pub use conduct::{Conduct, Failover, Redirect, Refer, Register};
pub use destination::{Destination, Draw, Rank, in_order};
pub use health::{AVOIDED_MAX, AVOIDED_MIN, Health, Place};
pub use locate::{Answer, Located, Query, Record, RecordKind, Search, Server, Step, TTL_MAX, TTL_MIN};
pub use near::{Near, NearMedia};
pub use network::{Network, NetworkError};
pub use paths::{DATAGRAM_REQUEST_BYTES_MAX, Paths};
pub use peer::{Peer, Probe, SIP_PORT, Trunk};
pub use rewrite::{Applied, Field, Passage, Rewrite, RuleError};
pub use route::Route;
pub use secrecy::{Dtls, Ice, SdesOver, Secrecy, Srtp};
pub use site::{Aim, DomainName, Host, Site};
pub use source::{Source, Sources};
pub use topology::{Hearing, Topology};
