//! Too much at once: what is taken on, what is refused, and what peers are told of it.
//!
//! Who opens something waits in a [`Line`], which the driver holds; what belongs to calls that are up does not. For whom it has
//! no room is told as [`Input::Excess`](super::Input::Excess), and refused with as little work as can be.
//!
//! In the order in which it is shed: sources that are no peer (before a byte is parsed, by the driver and again by
//! signalling), then OPTIONS, REGISTER and what else opens no call, then new calls that are no emergency. Never an ACK, BYE,
//! CANCEL or PRACK, never an emergency call; other requests inside a dialog have a bound of their own for each call.

mod admission;
mod bucket;
mod congestion;
mod feedback;
mod line;
mod refused;

pub use admission::{Admission, AdmissionLimits, Entrant, Overload};
pub use feedback::answer_via;
pub use line::{Line, Newcomer, Opening};
pub use refused::{fingerprint, glanced_print, is_tag_of, tag_of};
