//! What is encrypted between a trunk's peers and us.

/// SRTP with keys told in the SDP (RFC 4568). What is agreed beside it (DTLS) crosses between the parties.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Srtp {
    /// Never: what it offers encrypted is refused, what it is offered is in clear.
    Refuse,
    /// If it offers it; and it is offered what the other party has.
    #[default]
    Allow,
    /// Always: what is in clear is refused.
    Require,
}

/// Which signalling may tell keys: who reads it can hear the call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SdesOver {
    /// Encrypted signalling alone (RFC 4568 §8.1).
    #[default]
    Tls,
    Any,
}

/// A trunk's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Secrecy {
    pub srtp: Srtp,
    pub sdes_over: SdesOver,
}
