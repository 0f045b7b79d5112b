//! What the DTLS crate calculates with: aws-lc alone, and of its algorithms those that we offer. A suite whose algorithms are not
//! here is not offered and not taken.

use std::sync::Arc;

use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, UnparsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{aead, agreement, digest, hmac, rand};
use rtc_dtls::crypto_provider::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, CryptoAlgorithm, CryptoError, HashAlgorithm, HmacAlgorithm,
    KeyExchangeAlgorithm, Mac, PublicKey, PublicKeyEncoding, RTCCrypto, RTCCryptoProvider, RTCRandom, SecretVec,
    SignatureScheme, SigningKey,
};

use super::hello::{COOKIE_BYTES, Cookie};

type Done<T> = Result<T, CryptoError>;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// For one handshake.
pub(super) struct Provider {
    /// What the crate asks its client to say: the one that this client has said already.
    cookie: Option<Cookie>,
}

impl Provider {
    pub(super) const fn new(cookie: Option<Cookie>) -> Self {
        Self { cookie }
    }
}

impl RTCCryptoProvider for Provider {
    fn name(&self) -> &'static str {
        "aws-lc"
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self
    }
}

/// The crate draws its cookie, the only thing of that length, when a client is greeted; ours was told before there was any state of it.
impl RTCRandom for Provider {
    fn fill(&self, output: &mut [u8]) -> Done<()> {
        match self.cookie {
            Some(cookie) if output.len() == COOKIE_BYTES => output.copy_from_slice(&cookie),
            _ => rand::fill(output).map_err(|_| CryptoError::RandomnessFailed)?,
        }
        Ok(())
    }
}

impl RTCCrypto for Provider {
    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        match algorithm {
            CryptoAlgorithm::Hash(hash) => hash == HashAlgorithm::Sha256,
            CryptoAlgorithm::Hmac(hmac) => hmac == HmacAlgorithm::Sha256,
            CryptoAlgorithm::Aead(aead) => aead == AeadAlgorithm::Aes128Gcm,
            CryptoAlgorithm::KeyExchange(exchange) => curve(exchange).is_some(),
            CryptoAlgorithm::Signature(scheme) => verifier(scheme).is_some(),
            _ => false,
        }
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Done<Vec<u8>> {
        match algorithm {
            HashAlgorithm::Sha256 => Ok(digest::digest(&digest::SHA256, data).as_ref().to_vec()),
            other => Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Hash(other))),
        }
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Done<Box<dyn Mac>> {
        match algorithm {
            HmacAlgorithm::Sha256 => Ok(Box::new(Sha256Mac(hmac::Key::new(hmac::HMAC_SHA256, key)))),
            other => Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Hmac(other))),
        }
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Done<Box<dyn AeadCipher>> {
        let AeadAlgorithm::Aes128Gcm = algorithm else {
            return Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Aead(algorithm)));
        };
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, key).map_err(|_| CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(Gcm(aead::LessSafeKey::new(key))))
    }

    fn start_key_exchange(&self, algorithm: KeyExchangeAlgorithm) -> Done<Box<dyn ActiveKeyExchange>> {
        let unsupported = || CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::KeyExchange(algorithm));
        let curve = curve(algorithm).ok_or_else(unsupported)?;
        let key = agreement::PrivateKey::generate(curve).map_err(|_| CryptoError::RandomnessFailed)?;
        let public = key.compute_public_key().map_err(|_| CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(Exchange {
            algorithm,
            curve,
            public: public.as_ref().to_vec(),
            key,
        }))
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Done<()> {
        let unsupported = CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Signature(scheme));
        let (verifier, encoding) = verifier(scheme).ok_or(unsupported)?;
        if public_key.encoding != encoding {
            return Err(CryptoError::InvalidPublicKey);
        }
        UnparsedPublicKey::new(verifier, public_key.bytes)
            .verify(message, signature)
            .map_err(|_| CryptoError::InvalidSignature)
    }
}

const fn curve(algorithm: KeyExchangeAlgorithm) -> Option<&'static agreement::Algorithm> {
    match algorithm {
        KeyExchangeAlgorithm::P256 => Some(&agreement::ECDH_P256),
        KeyExchangeAlgorithm::P384 => Some(&agreement::ECDH_P384),
        KeyExchangeAlgorithm::X25519 => Some(&agreement::X25519),
        _ => None,
    }
}

/// RSA from 2048 bits on; SHA-1 proves nothing.
fn verifier(scheme: SignatureScheme) -> Option<(&'static dyn VerificationAlgorithm, PublicKeyEncoding)> {
    let point = PublicKeyEncoding::EcUncompressedPoint;
    let rsa = PublicKeyEncoding::RsaPkcs1Der;
    match scheme {
        SignatureScheme::EcdsaP256Sha256 => Some((&signature::ECDSA_P256_SHA256_ASN1, point)),
        SignatureScheme::EcdsaP384Sha256 => Some((&signature::ECDSA_P384_SHA256_ASN1, point)),
        SignatureScheme::EcdsaP384Sha384 => Some((&signature::ECDSA_P384_SHA384_ASN1, point)),
        SignatureScheme::RsaPkcs1Sha256 => Some((&signature::RSA_PKCS1_2048_8192_SHA256, rsa)),
        SignatureScheme::RsaPkcs1Sha384 => Some((&signature::RSA_PKCS1_2048_8192_SHA384, rsa)),
        SignatureScheme::RsaPkcs1Sha512 => Some((&signature::RSA_PKCS1_2048_8192_SHA512, rsa)),
        _ => None,
    }
}

struct Sha256Mac(hmac::Key);

impl Mac for Sha256Mac {
    fn output_len(&self) -> usize {
        digest::SHA256_OUTPUT_LEN
    }

    fn sign(&mut self, input: &[&[u8]], output: &mut [u8]) -> Done<()> {
        let (expected, actual) = (digest::SHA256_OUTPUT_LEN, output.len());
        let whole = output.first_chunk_mut::<{ digest::SHA256_OUTPUT_LEN }>();
        let output = whole.ok_or(CryptoError::InvalidTagLength { expected, actual })?;
        let mut context = hmac::Context::with_key(&self.0);
        input.iter().for_each(|part| context.update(part));
        output.copy_from_slice(context.sign().as_ref());
        Ok(())
    }

    fn verify(&mut self, input: &[&[u8]], expected: &[u8]) -> Done<()> {
        hmac::verify(&self.0, &input.concat(), expected).map_err(|_| CryptoError::AuthenticationFailed)
    }
}

struct Gcm(aead::LessSafeKey);

fn nonce_of(nonce: &[u8]) -> Done<aead::Nonce> {
    aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::InvalidNonceLength {
        expected: NONCE_BYTES,
        actual: nonce.len(),
    })
}

impl AeadCipher for Gcm {
    fn tag_len(&self) -> usize {
        TAG_BYTES
    }

    fn seal_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag_out: &mut [u8]) -> Done<()> {
        let (expected, actual) = (TAG_BYTES, tag_out.len());
        let tag_out = tag_out.first_chunk_mut::<TAG_BYTES>();
        let tag_out = tag_out.ok_or(CryptoError::InvalidTagLength { expected, actual })?;
        let sealed = self
            .0
            .seal_in_place_separate_tag(nonce_of(nonce)?, aead::Aad::from(aad), text);
        let tag = sealed.map_err(|_| CryptoError::AuthenticationFailed)?;
        tag_out.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open_in_place(&mut self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8]) -> Done<()> {
        let opened = self
            .0
            .open_in_place_separate_tag(nonce_of(nonce)?, aead::Aad::from(aad), tag, text);
        opened.map(|_| ()).map_err(|_| CryptoError::AuthenticationFailed)
    }
}

struct Exchange {
    algorithm: KeyExchangeAlgorithm,
    curve: &'static agreement::Algorithm,
    public: Vec<u8>,
    key: agreement::PrivateKey,
}

impl ActiveKeyExchange for Exchange {
    fn algorithm(&self) -> KeyExchangeAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer_public_key: &[u8]) -> Done<SecretVec> {
        let peer = agreement::UnparsedPublicKey::new(self.curve, peer_public_key);
        agreement::agree(&self.key, peer, CryptoError::InvalidPublicKey, |secret| {
            Ok(SecretVec::new(secret.to_vec()))
        })
    }
}

/// Ours, of the certificate.
struct Signer {
    scheme: SignatureScheme,
    pair: EcdsaKeyPair,
}

/// The private key of a certificate (PKCS #8, DER). None if it is not on P-256 or P-384.
pub(super) fn signing_key(key: &[u8]) -> Option<Arc<dyn SigningKey>> {
    let schemes = [
        (
            SignatureScheme::EcdsaP256Sha256,
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        ),
        (
            SignatureScheme::EcdsaP384Sha384,
            &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        ),
    ];
    let signer = schemes.into_iter().find_map(|(scheme, algorithm)| {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key).ok()?;
        Some(Signer { scheme, pair })
    });
    Some(Arc::new(signer?))
}

impl SigningKey for Signer {
    fn supports(&self, scheme: SignatureScheme) -> bool {
        self.scheme == scheme
    }

    fn public_key(&self) -> PublicKey<'_> {
        PublicKey {
            encoding: PublicKeyEncoding::EcUncompressedPoint,
            bytes: self.pair.public_key().as_ref(),
        }
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Done<Vec<u8>> {
        if !self.supports(scheme) {
            return Err(CryptoError::UnsupportedAlgorithm(CryptoAlgorithm::Signature(scheme)));
        }
        let signed = self.pair.sign(&rand::SystemRandom::new(), message);
        let signature = signed.map_err(|_| CryptoError::Provider("no signature".to_owned()))?;
        Ok(signature.as_ref().to_vec())
    }
}
