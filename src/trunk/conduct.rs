//! What we do on our own behalf at a trunk: prove who we are, register, follow a redirect, try another destination.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::sip::Uri;
use crate::sip::digest::Credentials;

/// The default does none of it: everything passes from end to end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Conduct {
    /// For challenges of this trunk's addresses in its realm; those of other realms pass to the caller.
    pub credentials: Option<Credentials>,
    /// Where the password lies that the credentials were made with, if it is not in the config itself.
    pub password_file: Option<PathBuf>,
    pub register: Option<Register>,
    pub redirect: Redirect,
    pub refer: Refer,
    pub failover: Failover,
}

/// A registration of ours at the trunk (RFC 3261 §10.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Register {
    /// The address of record: To and From of the REGISTER; its host is the Request-URI.
    pub aor: Uri,
    /// What is asked for; the registrar decides. Whole seconds.
    pub expires: Duration,
}

/// What becomes of a 3xx of this trunk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Redirect {
    /// The caller gets it, Contacts and all.
    #[default]
    Pass,
    /// Its Contacts are tried by us (RFC 3261 §8.1.3.4).
    Follow,
}

/// What becomes of a REFER that a party on this trunk sends inside its call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Refer {
    /// The far end gets it, and calls the target itself.
    #[default]
    Pass,
    /// We call the target in the far end's place, or join two calls of ours (RFC 5589).
    Execute,
}

/// The final answers after which the next destination is tried. What is unreachable or silent is always passed over (RFC
/// 3263 §4.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failover(BTreeSet<u16>);

impl Failover {
    /// Statuses from 500 to 599; others are the callee's own word and left out.
    pub fn after(statuses: impl IntoIterator<Item = u16>) -> Self {
        Self(
            statuses
                .into_iter()
                .filter(|status| (500..600).contains(status))
                .collect(),
        )
    }

    pub fn is_after(&self, status: u16) -> bool {
        self.0.contains(&status)
    }
}

/// After 503 alone (RFC 3263 §4.3).
impl Default for Failover {
    fn default() -> Self {
        Self::after([503])
    }
}
