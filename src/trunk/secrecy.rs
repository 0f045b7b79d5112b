//! What is encrypted between a trunk's peers and us.

/// SRTP with keys told in the SDP (RFC 4568).
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

/// SRTP with keys of a DTLS handshake (RFC 5763).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Dtls {
    /// Never: what it offers so is refused.
    Refuse,
    /// If it offers it; it is not offered it.
    #[default]
    Allow,
    /// Always: it is offered it, and what it offers otherwise is refused.
    Require,
}

/// Whether the trunk's peers try ways to us (RFC 8445), on lines that are encrypted between them and us.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ice {
    /// Media goes where the descriptions say.
    Refuse,
    /// If it offers that.
    #[default]
    Allow,
    /// It is offered, too.
    Offer,
}

/// A trunk's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Secrecy {
    pub srtp: Srtp,
    pub sdes_over: SdesOver,
    pub dtls: Dtls,
    pub ice: Ice,
}
