//! How a call ends, and what it leaves behind: `teardown` decides who hears what, `farewell` says why; `parting` and `leaving` are
//! BYEs with a course of their own, `aftermath` what comes when the call is over.

mod aftermath;
mod farewell;
mod leaving;
mod parting;
mod teardown;

pub use aftermath::Aftermath;

pub(super) use aftermath::answered;
pub(super) use farewell::Farewell;
pub(super) use leaving::Leaving;
pub(super) use parting::Partings;
