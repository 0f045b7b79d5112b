//! Dialogs: what two peers remember of each other (RFC 3261 §12).

#[allow(clippy::module_inception)] // the house calls the thing by its name
mod dialog;
mod route_set;
mod session_timer;

pub use dialog::{Dialog, DialogError};
pub use session_timer::{INTERVAL_MAX, INTERVAL_MIN, Refresher, SessionExpires, SessionTimer, TooSmall};
