//! Digest access authentication as a client does it (RFC 7616, RFC 8760, RFC 3261 §22): a peer's challenge read, our
//! credentials written. We challenge nobody.

mod algorithm;
mod challenge;
mod credentials;
#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use challenge::{Challenge, ChallengeError, Qop, challenges, names_realm, strongest};
pub use credentials::{Credentials, Password, Use};
