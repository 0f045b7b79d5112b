//! A party goes over to another call (RFC 3515, RFC 5589): a `refer` that crosses is decided, one that we execute is a `referral`
//! in the old call and a `successor` as the new one. Calls that came of one another are one `conversation`.

mod consultation;
mod conversation;
mod notice;
mod refer;
mod referral;
mod seat;
mod successor;

pub use consultation::{Consulted, replace_nothing};
pub use conversation::{Answered, Conversations, Referred};
pub use refer::Referral;
pub use referral::{Errand, Staying};

pub(super) use notice::Notices;
pub(super) use referral::Transfers;
