//! How a leg's trunk has its media: in clear, with keys in SDP or by a handshake, and behind what.

use crate::trunk::{Dtls, Ice, SdesOver, Secrecy, Srtp, Trunk};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    pub(super) srtp: Srtp,
    pub(super) tells_keys: bool,
    pub(super) dtls: Dtls,
    pub(super) ice: Ice,
    /// Its peers cannot be reached before they have spoken.
    pub(super) nat: bool,
    /// It is told the second of our certificates.
    pub(super) has_second: bool,
}

impl Manner {
    pub(super) fn of(trunk: &Trunk, is_secure: bool) -> Self {
        let Secrecy {
            srtp,
            sdes_over,
            dtls,
            ice,
        } = trunk.secrecy;
        Self {
            srtp,
            tells_keys: is_secure || sdes_over == SdesOver::Any,
            dtls,
            ice,
            nat: trunk.nat,
            has_second: false,
        }
    }

    pub(super) const fn requires(self) -> bool {
        matches!(self.srtp, Srtp::Require)
    }

    pub(super) const fn reads_keys(self) -> bool {
        self.tells_keys && !matches!(self.srtp, Srtp::Refuse)
    }
}
