//! Too much at once: what is taken on, what is refused, and what peers are told of it.
//!
//! In the order in which it is shed: sources that are no peer (before a byte is parsed, by the driver and again by
//! signalling), then OPTIONS, REGISTER and what else opens no call, then new calls that are no emergency. Never an ACK, BYE,
//! CANCEL or PRACK, never an emergency call; other requests inside a dialog have a bound of their own for each call.

mod admission;
mod bucket;
mod congestion;
mod feedback;

pub use admission::{Admission, AdmissionLimits, Entrant, Overload, fingerprint};
pub use feedback::answer_via;
