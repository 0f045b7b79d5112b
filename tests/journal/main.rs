//! The recorder alone, on a disk that fails and loses power.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod crash;
mod disk;
mod faults;
mod node;
