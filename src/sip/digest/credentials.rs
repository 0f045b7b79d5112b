//! Who we are to a peer that asks, and the header value that proves it (RFC 7616 §3.4).

use std::fmt;

use super::challenge::{Challenge, Qop};
use crate::sip::grammar;
use crate::sip::method::Method;

/// A name and password for one realm, and no other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credentials {
    pub realm: String,
    pub user: String,
    pub password: Password,
}

/// Shows itself to nobody: neither by Debug nor by Display.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(String);

/// The request that is proved, and how often the nonce was used.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    pub method: &'a Method,
    /// The Request-URI as it is sent.
    pub uri: &'a str,
    pub body: &'a [u8],
    /// Fresh for each challenge; of the session variants it makes the key.
    pub cnonce: &'a str,
    /// Requests sent with this nonce, this one included: from 1.
    pub count: u32,
}

impl Password {
    pub const fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Credentials {
    /// The value of Authorization or Proxy-Authorization that answers `challenge`.
    pub fn answer(&self, challenge: &Challenge, used: &Use<'_>) -> String {
        let mut out = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\"",
            grammar::quoted(&self.user),
            grammar::quoted(&challenge.realm),
            grammar::quoted(&challenge.nonce),
            grammar::quoted(used.uri),
            self.response(challenge, used),
        );
        if let Some(name) = &challenge.algorithm_name {
            out.push_str(", algorithm=");
            out.push_str(name);
        }
        if let Some(qop) = challenge.qop {
            out.push_str(&format!(
                ", cnonce={}, qop={}, nc={:08x}",
                grammar::quoted(used.cnonce),
                qop.as_str(),
                used.count
            ));
        } else if challenge.session {
            // Without it the peer could not make the key.
            out.push_str(&format!(", cnonce={}", grammar::quoted(used.cnonce)));
        }
        if let Some(opaque) = &challenge.opaque {
            out.push_str(", opaque=");
            out.push_str(&grammar::quoted(opaque));
        }
        out
    }

    /// §3.4.1 to §3.4.3; without qop as RFC 2069 §2.1.1.
    fn response(&self, challenge: &Challenge, used: &Use<'_>) -> String {
        let algorithm = challenge.algorithm;
        let (nonce, cnonce) = (challenge.nonce.as_bytes(), used.cnonce.as_bytes());
        let secret = algorithm.hash(&[
            self.user.as_bytes(),
            challenge.realm.as_bytes(),
            self.password.0.as_bytes(),
        ]);
        let a1 = if challenge.session {
            algorithm.hash(&[secret.as_bytes(), nonce, cnonce])
        } else {
            secret
        };
        let (method, uri) = (used.method.as_str().as_bytes(), used.uri.as_bytes());
        let a2 = if challenge.qop == Some(Qop::AuthInt) {
            algorithm.hash(&[method, uri, algorithm.hash(&[used.body]).as_bytes()])
        } else {
            algorithm.hash(&[method, uri])
        };
        match challenge.qop {
            None => algorithm.hash(&[a1.as_bytes(), nonce, a2.as_bytes()]),
            Some(qop) => {
                let count = format!("{:08x}", used.count);
                algorithm.hash(&[
                    a1.as_bytes(),
                    nonce,
                    count.as_bytes(),
                    cnonce,
                    qop.as_str().as_bytes(),
                    a2.as_bytes(),
                ])
            }
        }
    }
}
