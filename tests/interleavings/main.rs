//! Random interleavings of two-leg dialogs: three phones that keep the RFCs and choose the worst moments, datagrams that are
//! lost, doubled and reordered, connections that break, a recorder and a relay that fail at any time, policies and trunks
//! that change between, and the law that every call has to keep.
//!
//! A seed draws (`draw`) who the phones are, what goes wrong and when (`script`); `world` plays it against
//! `engine::Signaling` alone, in virtual time, and `law` reads along. Drawn are: forking, late offers, 100rel and PRACK,
//! UPDATE, glare, re-INVITEs in haste, hold, CANCEL races, late 200s, REFER blind, attended and semi-attended, INVITE with Replaces and Join,
//! SUBSCRIBE inside and beside calls, challenges passed and answered by us, redirections passed and followed, failover to
//! a second destination, session timers and 422, TCP that breaks, dead phones, faults of recorder and relay, drain, restart.
//!
//! A slice runs with every `cargo test`; the whole, on every processor, in some minutes:
//! `ONRECORD_DIALOGS=1000000 cargo test --release --test interleavings every -- --nocapture`; other seeds with
//! `ONRECORD_DIALOGS_FROM=n` besides. One seed, told message by message:
//! `ONRECORD_DIALOG=n cargo test --test interleavings every -- --nocapture`.
#![allow(clippy::panic)]

mod answering;
mod asking;
mod callee;
mod caller;
mod casting;
mod coverage;
mod delivery;
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
