//! `onrecord`: a SIP back-to-back proxy that records calls by policy and fails closed.
//!
//! The map of the house is `docs/ARCHITECTURE.md`. One pure engine is driven by sockets (`live`), by captures
//! (`replay`) and by the simulator (`tests/sim`); nothing below `engine` reads a clock, opens a socket, touches a
//! disk or spawns a thread.

pub mod b2bua;
pub mod engine;
pub mod media;
pub mod model;
pub mod playback;
pub mod policy;
pub mod recorder;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod trunk;

#[cfg(feature = "shell")]
pub mod board;
#[cfg(feature = "shell")]
pub mod cli;
pub mod config;
#[cfg(feature = "shell")]
pub mod disk;
#[cfg(feature = "shell")]
pub mod live;
#[cfg(feature = "shell")]
pub mod replay;
