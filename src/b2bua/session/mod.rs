//! The session that a call describes and relays (RFC 3264): where its description is in a `body`, the `negotiation` of both legs,
//! what the relay is told of it (`relayed`), and keys that only its ends have (`hearing`).

mod body;
mod hearing;
mod negotiation;
mod relayed;

pub use body::Writing;

pub(super) use body::{Content, describes_body, leave_out_descriptions, sdp_of};
pub(super) use negotiation::{Agreement, Aware, KeptMedia, Negotiation, NegotiationError};
