//! An existing session modified (RFC 3261 §14, RFC 3311): `modify` takes the offer, `exchange` the answer, `refresh` keeps the
//! session timers. What needs a recording first waits (`withheld`), and the call can go back to what it was (`former`, `retell`).

mod exchange;
mod former;
mod modify;
mod refresh;
mod retell;
mod withheld;

pub(super) use exchange::{Exchange, Stage};
pub(super) use former::Former;
pub(super) use refresh::{Upkeep, glare_wait};
pub(super) use withheld::Withheld;
