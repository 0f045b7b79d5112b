//! What goes from one leg to the other: headers (`carry`), numbers as the trunks want them (`numbering`), whole requests (`pass`),
//! dialogs that are named in them (`replaces`, `event`), and each `subscription`.

pub(super) mod carry;
mod event;
pub(super) mod numbering;
mod pass;
pub(super) mod replaces;
mod subscription;

pub use carry::{ALLOW, ALLOW_OUTSIDE, Crossing, carry, unsupported};
pub use event::DialogEvent;
pub use numbering::{arrive, arriving, cross, cross_identities};
pub use pass::back;
pub use replaces::{DialogName, Meant, check_refer_to, dialog_named, dialog_of_refer_to, option_of};
pub use subscription::{Onward, SubscriptionId, Subscriptions, set_number};

pub(super) use event::ReferNumber;
pub(super) use pass::{PASSINGS_MAX, Passing, refreshes_target};
