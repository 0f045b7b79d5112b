//! What a recording keeps of a call, and what it does not: the signalling (`chronicle`, `discretion`), a `pause`, lines `left_out`;
//! and a recording that comes late (`reattach`).

mod chronicle;
mod discretion;
mod left_out;
mod pause;
mod reattach;

pub use chronicle::Chronicle;
pub use pause::key_in;

pub(super) use left_out::LeavingOut;
pub(super) use pause::Pauses;
