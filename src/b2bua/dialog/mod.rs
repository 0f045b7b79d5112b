//! What a call has with each peer: a `leg` is a dialog, a `fork` one of several early ones (RFC 3261 §12), `wire` its way out by
//! transactions, `challenge` our proof to a next hop.

mod challenge;
mod fork;
mod leg;
mod wire;

pub use challenge::Waiting;
pub use leg::{CallLeg, LegState};
pub use wire::{Owner, Wire};

pub(super) use fork::{ENDED_MAX, Ended, Forks};
pub(super) use leg::path_of;
