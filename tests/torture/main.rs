//! Messages that try a parser and what stands behind it: those of RFC 4475 and RFC 5118, and generated ones.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../call_flows/bench.rs"]
mod bench;
mod generated;
mod hygiene;
mod malformed;
mod messages;
mod overload;
mod peer;
#[cfg(feature = "shell")]
mod socket;
