//! Captures through the engine: what was on the wire, played to the proxy in virtual time.

mod binding;
mod calls;
mod capture;
mod demux;
mod flaw;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod forge;
mod fragments;
mod link;
mod pcap;
mod script;
mod streams;
mod tcp;

pub use capture::{Capture, Captured, Event, Payload};
pub use flaw::{Flaw, FlawKind, NotACapture};
