//! SDP (RFC 4566, RFC 8866): what a description says, whether an answer fits its offer, and our addresses in their text.
//!
//! Architecture Invariant: the text of a peer is never rebuilt from a model. [`anchor()`] patches the few bytes that it owns.

mod anchor;
mod bundle;
mod codec;
mod crypto;
mod description;
mod direction;
mod echo;
mod filter;
mod fingerprint;
mod ice;
mod indicate;
mod keyless;
mod offer_answer;
mod patch;
mod reader;
mod refusal;
mod retell;
mod scan;
mod secured;

pub use anchor::{anchor, anchor_secured};
pub use bundle::Bundling;
pub use codec::Format;
pub use crypto::{CRYPTO_LINES_MAX, Crypto};
pub use description::{BYTES_MAX, FORMATS_MAX, MEDIA_LINES_MAX, MediaLine, SdpError, SessionDescription};
pub use direction::Direction;
pub use echo::echo;
pub use filter::{NothingLeft, filter};
pub use fingerprint::{FINGERPRINTS_MAX, Setup, Shake, read_fingerprint};
pub use indicate::indicate;
pub use keyless::keyless;
pub use offer_answer::{AnswerError, OfferError, check_reoffer, negotiate};
pub use refusal::refused_as_known;
pub use retell::{Thread, decline, reoffer, with_lines, without_lines};
pub use secured::Secured;
