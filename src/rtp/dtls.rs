//! DTLS-SRTP (RFC 5764): the handshake between a leg's peer and us that gives the keys of both. The only user of the DTLS crate.
//!
//! Architecture Invariant: no key leaves before the handshake is done and the peer has proved to own the certificate that its
//! signalling named. What forged datagrams can cost is bounded by [`DATAGRAMS_A_SECOND_MAX`], and they end nothing.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use dimpl::{Config, Dtls, DtlsCertificate, Error, Output, SrtpProfile};

use crate::model::{Fingerprint, FingerprintHash, Handshake, Identity, KeyingFault, SrtpKey, SrtpSuite, Timestamp};

/// Handshake datagrams that are looked at in one second; a whole handshake takes a dozen.
pub const DATAGRAMS_A_SECOND_MAX: u32 = 64;
/// Longer ones are not looked at: handshakes are cut for the MTU (RFC 6347 §4.1.1).
pub const DATAGRAM_BYTES_MAX: usize = 2_048;
/// A peer that has not shaken hands by then never will.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(60);

/// Datagrams that wait for those before them.
const QUEUE_MAX: usize = 30;
/// The DTLS crate panics on a certificate that is longer than the buffer; one can be as long as all that waits.
const BUFFER_BYTES: usize = 1 << 16;
const _: () = assert!(QUEUE_MAX * DATAGRAM_BYTES_MAX <= BUFFER_BYTES);

/// The DTLS crate counts time from an `Instant`, which only a clock can make. This one is a zero and is never read as time:
/// deadlines are `Timestamp`s that are handed in.
static ZERO: LazyLock<Instant> = LazyLock::new(zero);
static CONFIG: LazyLock<Option<Arc<Config>>> = LazyLock::new(config);

#[allow(clippy::disallowed_methods)]
fn zero() -> Instant {
    Instant::now()
}

fn config() -> Option<Arc<Config>> {
    let config = Config::builder()
        .max_queue_rx(QUEUE_MAX)
        .handshake_timeout(HANDSHAKE_MAX)
        .build();
    config.ok().map(Arc::new)
}

/// What an association has to say, in this order.
#[derive(Debug, Eq, PartialEq)]
pub enum Shaken {
    Send(Vec<u8>),
    /// What the peer encrypts with, and what we do.
    Keys {
        theirs: SrtpKey,
        ours: SrtpKey,
    },
    /// It ends without keys. Said once.
    Failed(KeyingFault),
}

/// One handshake, and who answers what of it is repeated.
pub struct Association {
    dtls: Dtls,
    handshake: Arc<Handshake>,
    began: Timestamp,
    stage: Stage,
    /// The second that is counted, and its datagrams.
    second: (u64, u32),
    due: Option<Timestamp>,
    said: VecDeque<Shaken>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// `is_known`: the certificate is the one that was signalled. That its owner sent it is not known yet.
    Shaking {
        is_known: bool,
    },
    Done,
    Over,
}

impl Association {
    /// As a client it begins at once. None if the certificate of ours is none.
    pub fn new(now: Timestamp, handshake: Arc<Handshake>) -> Option<Self> {
        let config = CONFIG.clone()?;
        let identity = &handshake.ours;
        let certificate = DtlsCertificate {
            certificate: identity.certificate().to_vec(),
            private_key: identity.key().to_vec(),
        };
        // The crate panics on a key that it cannot read.
        let provider = config.crypto_provider().key_provider;
        provider.load_private_key(&certificate.private_key).ok()?;
        let mut dtls = Dtls::new_12(config, certificate, *ZERO);
        dtls.set_active(handshake.is_client);
        let mut association = Self {
            dtls,
            handshake,
            began: now,
            stage: Stage::Shaking { is_known: false },
            second: (0, 0),
            due: None,
            said: VecDeque::new(),
        };
        association.handle_timeout(now);
        Some(association)
    }

    /// A datagram from where the peer is thought to be. False if it was not looked at.
    pub fn handle_packet(&mut self, now: Timestamp, datagram: &[u8]) -> bool {
        if self.stage == Stage::Over || datagram.len() > DATAGRAM_BYTES_MAX || !self.has_time(now) {
            return false;
        }
        if self.dtls.handle_timeout(self.instant(now)).is_err() {
            self.fail(KeyingFault::Timeout);
            return true;
        }
        // A datagram that breaks the rules ends nothing: who sent it is not known.
        let _ = self.dtls.handle_packet(datagram);
        self.drain(now);
        true
    }

    fn has_time(&mut self, now: Timestamp) -> bool {
        let second = now.as_secs();
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 = self.second.1.saturating_add(1);
        self.second.1 <= DATAGRAMS_A_SECOND_MAX
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.stage == Stage::Over {
            return;
        }
        let is_late = self.stage != Stage::Done && now.since(self.began) >= HANDSHAKE_MAX;
        match self.dtls.handle_timeout(self.instant(now)) {
            Ok(()) if !is_late => self.drain(now),
            Ok(()) | Err(Error::Timeout(_)) => self.fail(KeyingFault::Timeout),
            Err(_) => self.fail(KeyingFault::Ours),
        }
    }

    pub fn poll_output(&mut self) -> Option<Shaken> {
        self.said.pop_front()
    }

    /// None once it is done: what the peer repeats is answered when it comes.
    pub const fn poll_timeout(&self) -> Option<Timestamp> {
        self.due
    }

    fn instant(&self, now: Timestamp) -> Instant {
        *ZERO + now.since(self.began)
    }

    fn fail(&mut self, fault: KeyingFault) {
        self.due = None;
        if self.stage != Stage::Done {
            self.said.push_back(Shaken::Failed(fault));
        }
        self.stage = Stage::Over;
    }

    fn drain(&mut self, now: Timestamp) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut has_ended = false;
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => self.said.push_back(Shaken::Send(bytes.to_vec())),
                Output::PeerCert(certificate) => {
                    let is_known = is_one_of(&self.handshake.theirs, certificate);
                    self.stage = Stage::Shaking { is_known };
                }
                Output::Connected => has_ended = true,
                Output::KeyingMaterial(material, profile) => self.on_keys(&material, profile),
                Output::Timeout(at) => {
                    let at = self.began + at.saturating_duration_since(*ZERO);
                    self.due = Some(at.min(self.began + HANDSHAKE_MAX).max(now));
                    break;
                }
                Output::BufferTooSmall { .. } => break,
                _ => {}
            }
        }
        if has_ended && self.stage != Stage::Done && self.stage != Stage::Over {
            self.fail(KeyingFault::Profile);
        }
        if self.stage == Stage::Done || self.stage == Stage::Over {
            self.due = None;
        }
    }

    /// The handshake is done (RFC 5764 §4.2).
    fn on_keys(&mut self, material: &[u8], profile: SrtpProfile) {
        match self.stage {
            Stage::Shaking { is_known: true } => {}
            Stage::Shaking { is_known: false } => return self.fail(KeyingFault::Certificate),
            Stage::Done | Stage::Over => return,
        }
        let keys = suite_of(profile).and_then(|suite| keys_of(suite, material));
        let Some([client, server]) = keys else {
            return self.fail(KeyingFault::Profile);
        };
        let (theirs, ours) = if self.handshake.is_client {
            (server, client)
        } else {
            (client, server)
        };
        self.said.push_back(Shaken::Keys { theirs, ours });
        self.stage = Stage::Done;
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Association({:?})", self.stage)
    }
}

const fn suite_of(profile: SrtpProfile) -> Option<SrtpSuite> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpSuite::AesCm128HmacSha1_80),
        SrtpProfile::AEAD_AES_128_GCM => Some(SrtpSuite::AeadAes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(SrtpSuite::AeadAes256Gcm),
        _ => None,
    }
}

/// The client's and the server's: both keys, then both salts (RFC 5764 §4.2).
fn keys_of(suite: SrtpSuite, material: &[u8]) -> Option<[SrtpKey; 2]> {
    let (keys, salts) = material.split_at_checked(2 * suite.key_bytes())?;
    let (client_key, server_key) = keys.split_at(suite.key_bytes());
    let (client_salt, server_salt) = salts.split_at_checked(suite.salt_bytes())?;
    let key = |key: &[u8], salt: &[u8]| {
        let mut master = [key, salt].concat();
        let key = SrtpKey::new(suite, &master, None);
        zeroize::Zeroize::zeroize(&mut master);
        key
    };
    Some([key(client_key, client_salt)?, key(server_key, server_salt)?])
}

/// What a certificate (X.509, DER) is known by (RFC 8122 §5).
pub fn fingerprint_of(hash: FingerprintHash, certificate: &[u8]) -> Option<Fingerprint> {
    let algorithm = match hash {
        FingerprintHash::Sha256 => &digest::SHA256,
        FingerprintHash::Sha384 => &digest::SHA384,
        FingerprintHash::Sha512 => &digest::SHA512,
    };
    Fingerprint::new(hash, digest::digest(algorithm, certificate).as_ref())
}

/// An identity of this certificate and key (PKCS #8, DER). None if no handshake can be made with it: the key is not on P-256 or
/// P-384.
pub fn identity_of(certificate: Vec<u8>, key: Vec<u8>) -> Option<Identity> {
    let provider = CONFIG.clone()?.crypto_provider().key_provider;
    provider.load_private_key(&key).ok()?;
    let fingerprint = fingerprint_of(FingerprintHash::Sha256, &certificate)?;
    (!certificate.is_empty()).then(|| Identity::new(certificate, key, fingerprint))
}

fn is_one_of(fingerprints: &[Fingerprint], certificate: &[u8]) -> bool {
    let is_it = |known: &Fingerprint| fingerprint_of(known.hash(), certificate).as_ref() == Some(known);
    fingerprints.iter().any(is_it)
}

#[cfg(test)]
pub mod tests;
