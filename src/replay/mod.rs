//! Captures through the engine: what was on the wire, played to the proxy in virtual time.

mod capture;
mod demux;
mod flaw;
mod fragments;
mod link;
mod pcap;
mod tcp;

pub use capture::{Capture, Captured, Event, Payload};
pub use flaw::{Flaw, FlawKind, NotACapture};
