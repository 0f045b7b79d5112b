//! Our certificates in handshakes with parties (RFC 5763 §6.5): others with each start. Who it is of is told by the signalling.

use std::io;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

use crate::model::Identity;
use crate::rtp::identity_of;

/// On P-256, which every peer has (RFC 8827 §6.5), signed by itself.
pub(super) fn mint() -> io::Result<Identity> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "onrecord");
    let certificate = params.self_signed(&key).map_err(io::Error::other)?;
    let identity = identity_of(certificate.der().to_vec(), key.serialize_der());
    identity.ok_or_else(|| io::Error::other("the certificate for DTLS cannot be used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_has_another_certificate() {
        let [one, other] = [(); 2].map(|()| mint().expect("an identity"));
        assert_ne!(one, other);
    }
}
