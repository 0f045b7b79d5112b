//! Peers whose certificate has an RSA key: the DTLS crate itself, with a signer of the tests.

use std::time::Instant;

use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto_provider::{CryptoError, PublicKey, PublicKeyEncoding, SignatureScheme, SigningKey};
use rtc_dtls::endpoint::Endpoint;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;

use super::super::crypto::Provider;
use super::*;

struct Signer(RsaKeyPair);

impl SigningKey for Signer {
    fn supports(&self, scheme: SignatureScheme) -> bool {
        scheme == SignatureScheme::RsaPkcs1Sha256
    }

    fn public_key(&self) -> PublicKey<'_> {
        PublicKey {
            encoding: PublicKeyEncoding::RsaPkcs1Der,
            bytes: self.0.public_key().as_ref(),
        }
    }

    fn sign(&self, _: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.0
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
            .unwrap();
        Ok(signature)
    }
}

/// A peer, as far as a handshake goes.
struct Rsa {
    endpoint: Endpoint,
    certificate: Vec<u8>,
    /// Signed with, if it is not the certificate's.
    config: ConfigBuilder,
    profiles: Vec<SrtpProtectionProfile>,
}

impl Rsa {
    fn new(has_its_own_key: bool) -> Self {
        let [key, other] = [(); 2].map(|()| rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let signing = if has_its_own_key { key } else { other };
        let signer = Signer(RsaKeyPair::from_pkcs8(&signing.serialize_der()).unwrap());
        let chain = vec![certificate.der().clone()];
        let config = ConfigBuilder::default()
            .with_certificates(vec![Certificate::from_signing_key(chain, Arc::new(signer))])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_insecure_skip_verify(true)
            .with_server_name("peer.invalid".to_owned());
        Self {
            endpoint: Endpoint::new(SOMEWHERE.at, TransportProtocol::UDP, None),
            certificate: certificate.der().to_vec(),
            config,
            profiles: vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80],
        }
    }

    fn config(&self, is_client: bool) -> Arc<HandshakeConfig> {
        let cookie = (!is_client).then_some([5; 20]);
        let config = self.config.clone().with_srtp_protection_profiles(self.profiles.clone());
        let config = config.with_crypto_provider(Arc::new(Provider::new(cookie)));
        Arc::new(config.build(is_client, None).unwrap())
    }

    /// With us, until nobody has anything to say. `is_client`: the peer.
    fn shake(&mut self, is_client: bool) -> End {
        let ours = identity();
        let fingerprint = fingerprint_of(FingerprintHash::Sha384, &self.certificate).unwrap();
        let handshake = Handshake {
            ours,
            theirs: vec![fingerprint],
            tls_id: None,
            is_client: !is_client,
            round: 0,
        };
        let mut end = End::new(START, Arc::new(handshake));
        let now = now();
        if is_client {
            let config = self.config(true);
            self.endpoint.connect(now, ELSEWHERE.at, config, None).unwrap();
        } else {
            self.endpoint.set_server_config(Some(self.config(false)));
        }
        loop {
            let sent = end.sends();
            for bytes in &sent {
                let _ = self.endpoint.read(now, ELSEWHERE.at, None, bytes.as_slice().into());
            }
            let mut is_silent = sent.is_empty();
            while let Some(transmit) = self.endpoint.poll_transmit() {
                end.association.handle_packet(START, SOMEWHERE, &transmit.message);
                is_silent = false;
            }
            if is_silent {
                return end;
            }
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_peer_with_an_rsa_certificate_shakes_hands_at_either_end() {
    for is_client in [true, false] {
        let mut peer = Rsa::new(true);
        let mut end = peer.shake(is_client);
        let (theirs, ours) = end.keys.take().expect("keys");
        let state = peer.endpoint.get_connection_state(ELSEWHERE.at).unwrap();
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 60).unwrap();
        let [client, server] = [
            [&material.as_ref()[..16], &material.as_ref()[32..46]],
            [&material.as_ref()[16..32], &material.as_ref()[46..]],
        ]
        .map(|parts| parts.concat());
        let (their, our) = if is_client { (client, server) } else { (server, client) };
        assert_eq!((theirs.master(), ours.master()), (&their[..], &our[..]));
        assert_eq!(theirs.suite(), SrtpSuite::AesCm128HmacSha1_80);
        assert_ne!(end.association.handshake.is_client, is_client);
        assert!(end.failed.is_none());
    }
}

#[test]
fn who_has_the_rsa_certificate_but_not_its_key_gets_no_keys() {
    for is_client in [true, false] {
        let mut end = Rsa::new(false).shake(is_client);
        assert_eq!(
            (end.keys.take(), end.failed.take()),
            (None, None),
            "it may have been a stranger"
        );
        end.association.handle_timeout(START + HANDSHAKE_MAX);
        end.sends();
        assert_eq!((end.keys, end.failed), (None, Some(KeyingFault::Certificate)));
    }
}

#[test]
fn the_short_tag_is_agreed_on_where_a_peer_has_no_other() {
    let mut peer = Rsa::new(true);
    peer.profiles = vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32];
    let (theirs, _) = peer.shake(false).keys.expect("keys");
    assert_eq!(theirs.suite(), SrtpSuite::AesCm128HmacSha1_32);
}

#[test]
fn who_has_no_profile_for_srtp_gets_no_keys() {
    let mut peer = Rsa::new(true);
    peer.profiles = Vec::new();
    let mut end = peer.shake(true);
    end.association.handle_timeout(START + HANDSHAKE_MAX);
    end.sends();
    assert_eq!((end.keys, end.failed), (None, Some(KeyingFault::Profile)));
}

#[test]
fn a_client_whose_handshake_somebody_spoilt_says_hello_again_and_not_faster_each_time() {
    let mut end = Rsa::new(false).shake(false);
    let (mut now, mut hellos) = (START, 0);
    while let Some(due) = end.association.poll_timeout() {
        assert!(due >= now);
        now = due;
        end.association.handle_timeout(now);
        let sent = end.sends();
        hellos += sent.iter().filter(|bytes| Hello::parse(bytes).is_some()).count();
    }
    assert!((2..=8).contains(&hellos), "{hellos}");
    assert_eq!(
        (now, end.failed),
        (START + HANDSHAKE_MAX, Some(KeyingFault::Certificate))
    );
}
