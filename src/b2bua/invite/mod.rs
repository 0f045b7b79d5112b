//! From A's INVITE to B's final answer (RFC 3261 §13): `arrival` is what came, `offer` what is sent on, `attempt` who is asked after
//! a failure or a 3xx (`redirect`, `followed`), `progress` and `reliable` what is said meanwhile, `answer` how it ends.

mod answer;
mod arrival;
mod attempt;
mod followed;
mod offer;
mod progress;
pub(super) mod redirect;
pub(super) mod reliable;

pub use arrival::{Arrival, Asked};
pub use offer::onward;

pub(super) use arrival::Setting;
pub(super) use attempt::Attempts;
pub(super) use reliable::{RAck, Reliable, Standing, carry_rack, names};
