//! Random interleavings of two-leg dialogs: two phones that keep the RFCs and choose the worst moments, links that lose,
//! double and reorder, a recorder and a relay that fail at any time, and the law that every call has to keep.
//!
//! Drives `engine::Signaling` alone, in virtual time: one dialog costs well below a millisecond in a release build. A
//! slice runs with every `cargo test`; the whole:
//! `ONRECORD_DIALOGS=1000000 cargo test --release --test interleavings -- --nocapture`. One seed, told message by
//! message: `ONRECORD_DIALOG=n cargo test --test interleavings -- --nocapture`.
#![allow(clippy::panic)]

mod answering;
mod asking;
mod callee;
mod caller;
mod coverage;
mod doubting;
mod draw;
mod law;
mod network;
mod phone;
mod pracking;
mod process;
mod progress;
mod referring;
#[path = "../sim/rng.rs"]
mod rng;
mod script;
mod seat;
mod seeds;
mod self_test;
mod session;
mod studio;
mod talking;
mod text;
mod timers;
mod watching;
mod world;
