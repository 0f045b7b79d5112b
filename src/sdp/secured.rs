//! What a line says of its encryption, and of the ways to it, to who is told it by us: in place of all that its author said of that.

use std::net::SocketAddr;

use super::fingerprint::write_fingerprint;
use super::ice::write_ice;
use super::{Crypto, MediaLine, Setup};
use crate::model::{Fingerprint, IceCredentials};

/// One line's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Secured {
    /// The profile: RTP/SAVP(F), else RTP/AVP(F).
    pub is_secure: bool,
    /// Another profile than that, as it is written.
    pub profile: Option<String>,
    /// Keys of ours.
    pub keys: Vec<Crypto>,
    /// Our certificate in the handshake that its keys come from, and who begins.
    pub shake: Option<(Fingerprint, Setup)>,
    /// We are asked for ways, and are lite.
    pub ice: Option<IceCredentials>,
    /// Whether RTCP goes by our RTP port; None: what its author said stays.
    pub muxed: Option<bool>,
    /// By this name it is in a BUNDLE group of its own (RFC 9143).
    pub bundled: Option<String>,
}

impl Secured {
    /// The profile with or without encryption; its feedback part stays. Whether it is another one.
    pub(super) fn write_protocol(&self, out: &mut String, theirs: &MediaLine) -> bool {
        if let Some(profile) = &self.profile {
            out.push_str(profile);
            return *profile != theirs.protocol;
        }
        let Some(is_secure) = theirs.is_secure_profile() else {
            return false;
        };
        let feedback = if theirs.protocol.ends_with(['F', 'f']) { "F" } else { "" };
        out.push_str(if self.is_secure { "RTP/SAVP" } else { "RTP/AVP" });
        out.push_str(feedback);
        is_secure != self.is_secure
    }

    /// The lines that end a live m-line.
    pub(super) fn write_tail(&self, out: &mut String, local: Option<SocketAddr>) {
        for key in &self.keys {
            key.write(out);
            out.push_str("\r\n");
        }
        self.write_shake(out);
        if let Some(ice) = self.ice.as_ref().filter(|_| local.is_some()) {
            write_ice(out, ice, local);
        }
    }

    /// The same for a line that is refused, where there were ways to it. `shared`: the line whose port it would have had, and where
    /// that is; who has one transport for both may go by what the last of them says.
    pub(super) fn write_refusal(&self, out: &mut String, shared: Option<(&Self, SocketAddr)>) {
        let (said, local) = shared.map_or((self, None), |(said, local)| (said, Some(local)));
        if let Some(ice) = self.ice.as_ref().and(said.ice.as_ref()) {
            said.write_shake(out);
            write_ice(out, ice, local);
        }
    }

    fn write_shake(&self, out: &mut String) {
        if let Some((fingerprint, setup)) = &self.shake {
            write_fingerprint(out, fingerprint);
            out.push_str("\r\na=setup:");
            out.push_str(setup.as_str());
            out.push_str("\r\n");
        }
        if self.muxed == Some(true) {
            out.push_str("a=rtcp-mux\r\n");
        }
    }
}
