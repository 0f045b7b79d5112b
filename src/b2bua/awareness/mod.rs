//! The parties know that they are recorded, and have a say: told by a prompt or a tone (`announce`, `foreword`), asked (`consent`,
//! `consented`), told by SDP (`aware`, RFC 7866 §7.1).

mod announce;
mod aware;
mod consent;
mod consented;
mod foreword;
mod languages;

pub use consented::Dissent;

pub(super) use announce::{Announced, Answers};
pub(super) use aware::Telling;
pub(super) use consented::Carried;
