//! Who a party is: as its INVITE names it (`caller`), by what it said and hides of itself (`claims`), and who it is from now on
//! (`connected`, RFC 4916).

pub(super) mod caller;
mod claims;
mod connected;

pub(super) use caller::{IDENTITIES_MAX, Named};
pub(super) use claims::Claims;
