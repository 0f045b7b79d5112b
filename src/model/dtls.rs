//! DTLS-SRTP (RFC 5763) and ICE (RFC 8445) of a leg, on their way from signalling to the media plane.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroize;

/// The longest digest of a certificate, of SHA-512.
pub const DIGEST_BYTES_MAX: usize = 64;

/// By which function a certificate's fingerprint was made (RFC 8122 §5). SHA-1 and MD5 prove nothing any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FingerprintHash {
    Sha256,
    Sha384,
    Sha512,
}

impl FingerprintHash {
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// As `a=fingerprint` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// What a certificate is known by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint {
    hash: FingerprintHash,
    digest: [u8; DIGEST_BYTES_MAX],
}

impl Fingerprint {
    /// None if the digest has another length than its function gives.
    pub fn new(hash: FingerprintHash, digest: &[u8]) -> Option<Self> {
        let mut all = [0; DIGEST_BYTES_MAX];
        (digest.len() == hash.bytes()).then(|| all[..digest.len()].copy_from_slice(digest))?;
        Some(Self { hash, digest: all })
    }

    pub const fn hash(&self) -> FingerprintHash {
        self.hash
    }

    pub fn digest(&self) -> &[u8] {
        &self.digest[..self.hash.bytes()]
    }
}

/// Our certificate in handshakes, with its private key. Nothing prints the key, and it is blanked when it is let go.
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// `certificate`: X.509, DER. `key`: its private key on P-256 or P-384, PKCS #8, DER. `fingerprint`: the certificate's.
    pub const fn new(certificate: Vec<u8>, key: Vec<u8>, fingerprint: Fingerprint) -> Self {
        Self {
            certificate,
            key,
            fingerprint,
        }
    }

    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Identity {}

/// How a leg's keys are agreed on beside the signalling (RFC 5763 §5, RFC 5764). Another one of these is another association
/// (RFC 8842 §4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handshake {
    pub ours: Arc<Identity>,
    /// Of these its peer's certificate has to be.
    pub theirs: Vec<Fingerprint>,
    /// `a=tls-id` of the peer.
    pub tls_id: Option<String>,
    /// It is we who begin: `a=setup:active` (RFC 4145 §4.1).
    pub is_client: bool,
    /// How often its peer has had another association elsewhere, and came back to this one, which it has let go.
    pub round: u32,
}

/// User name fragment and password of one side of ICE (RFC 8445 §5.3).
#[derive(Clone, Eq, PartialEq)]
pub struct IceCredentials {
    pub ufrag: String,
    pub password: String,
}

/// Without the password.
impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceCredentials({}, …)", self.ufrag)
    }
}

/// The ways to a leg are tried by its peer, and we answer (RFC 8445 §2.5: we are lite).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IceLite {
    pub ours: IceCredentials,
    /// Its peer's user name fragment.
    pub theirs: String,
}

/// Why a leg has no keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyingFault {
    /// The peer's fault, or that of somebody between us.
    #[error("the certificate is not the one that was signalled")]
    Certificate,
    #[error("the handshake did not end in time")]
    Timeout,
    /// The peer takes none of our ciphers, or SRTP profiles.
    #[error("no cipher or profile is common")]
    Profile,
    /// Our own.
    #[error("the cipher crate refuses")]
    Ours,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_has_the_length_of_its_function() {
        for hash in FingerprintHash::ALL {
            let digest = vec![7; hash.bytes()];
            let fingerprint = Fingerprint::new(hash, &digest).expect("a fingerprint");
            assert_eq!(fingerprint.digest(), digest);
            assert_eq!(Fingerprint::new(hash, &digest[1..]), None);
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let fingerprint = Fingerprint::new(FingerprintHash::Sha256, &[1; 32]).expect("a fingerprint");
        let identity = Identity::new(vec![1], b"AAAA".to_vec(), fingerprint);
        let credentials = IceCredentials {
            ufrag: "frag".to_owned(),
            password: "secret".to_owned(),
        };
        let told = format!("{identity:?} {credentials:?}");
        assert!(!told.contains("65") && !told.contains("secret"), "{told}");
    }
}
