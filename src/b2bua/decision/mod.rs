//! What the policies are asked, and asked anew: the `facts` of an INVITE, somebody else at an end (`newcomer`, `meeting`), more kinds
//! of media (`widened`). All that was decided is kept in order.

mod decisions;
pub(super) mod facts;
mod meeting;
pub(super) mod newcomer;
mod widened;

pub use facts::{Kin, Opening, at_our_address, header, led_on, of_invite, rerouters, screened};
pub use meeting::is_focus;

pub(super) use facts::TransferFacts;
pub(super) use meeting::FOCUS;
pub(super) use newcomer::Newcomer;
