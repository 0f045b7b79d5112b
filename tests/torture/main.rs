//! Messages that try a parser and what stands behind it: those of RFC 4475 and RFC 5118, and generated ones.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, unused_imports, reason = "other tests use the same bench")]
#[path = "../call_flows/bench/mod.rs"]
mod bench;
mod generated;
mod hygiene;
mod malformed;
mod messages;
mod overload;
mod peer;
#[cfg(feature = "shell")]
mod socket;
