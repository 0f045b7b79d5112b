//! Captures through the engine: what was on the wire, played to the proxy in virtual time.

mod capture;
mod demux;
mod flaw;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod forge;
mod fragments;
mod link;
mod pcap;
mod tcp;

pub use capture::{Capture, Captured, Event, Payload};
pub use flaw::{Flaw, FlawKind, NotACapture};
