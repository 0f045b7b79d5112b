//! A call beyond the end of the process: `written` is what the next start takes over, `handover` when it is written down and let go,
//! `unfinished` what was under way then, which the next process finishes.

mod handover;
mod unfinished;
mod written;

pub use unfinished::invite_of;
pub use written::{ResumeError, STATE_BYTES_MAX};

pub(super) use written::{Continuation, Kept};
