//! The simulator: the product's own cores in a seeded world of scripted phones, bad links and a failing disk.
#![allow(clippy::panic)]

mod alone;
mod disk;
mod invariants;
mod net;
mod packets;
mod recovery;
mod requesting;
mod rng;
mod seeds;
mod setting;
mod stories;
mod ua;
mod wire;
mod world;
