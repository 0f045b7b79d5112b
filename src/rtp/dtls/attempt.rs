//! One handshake with one that claims to be the peer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use dimpl::crypto::KeyProvider;
use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};

use super::{DATAGRAM_BYTES_MAX, HANDSHAKE_MAX, Shaken, is_one_of};
use crate::model::{Handshake, KeyingFault, SrtpKey, SrtpSuite, Timestamp};

/// Of a ClientHello (RFC 5246 §7.4.1.2).
pub(super) const CLIENT_HELLO_RANDOM_BYTES: usize = 32;

/// Where it stands: after the record's header, the handshake's, and the version (RFC 6347 §4.1, §4.2.2).
const RANDOM_AT: usize = 13 + 12 + 2;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;

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

pub(super) fn key_provider() -> Option<&'static dyn KeyProvider> {
    Some(CONFIG.as_ref()?.crypto_provider().key_provider)
}

/// Who says hello: what both hellos of one client have in common. None for what is none, or not its beginning.
pub(super) fn client_random(datagram: &[u8]) -> Option<[u8; CLIENT_HELLO_RANDOM_BYTES]> {
    let is_hello = datagram.first() == Some(&HANDSHAKE_RECORD) && datagram.get(13) == Some(&CLIENT_HELLO);
    let is_plain = datagram.get(3..5) == Some(&[0, 0]);
    let is_first = datagram.get(19..22) == Some(&[0, 0, 0]);
    let random = datagram.get(RANDOM_AT..)?.first_chunk()?;
    (is_hello && is_plain && is_first).then_some(*random)
}

/// What an attempt has come to.
pub(super) enum Reached {
    Nothing,
    /// What the peer encrypts with, and what we do.
    Keys(SrtpKey, SrtpKey),
    Failed(KeyingFault),
}

pub(super) struct Attempt {
    dtls: Dtls,
    began: Timestamp,
    /// Of its client, unless that is us.
    pub(super) random: Option<[u8; CLIENT_HELLO_RANDOM_BYTES]>,
    /// Where the other end is, by what was heard of it last.
    peer: SocketAddr,
    /// The certificate is the one that was signalled. That its owner sent it is not known before the handshake is done.
    is_known: bool,
    pub(super) due: Option<Timestamp>,
}

impl Attempt {
    /// As a client, without a `random`. None if the certificate of ours is none.
    pub(super) fn new(
        now: Timestamp,
        handshake: &Handshake,
        random: Option<[u8; CLIENT_HELLO_RANDOM_BYTES]>,
        peer: SocketAddr,
    ) -> Option<Self> {
        let config = CONFIG.clone()?;
        let certificate = DtlsCertificate {
            certificate: handshake.ours.certificate().to_vec(),
            private_key: handshake.ours.key().to_vec(),
        };
        // The crate panics on a key that it cannot read.
        key_provider()?.load_private_key(&certificate.private_key).ok()?;
        let mut dtls = Dtls::new_12(config, certificate, *ZERO);
        dtls.set_active(random.is_none());
        Some(Self {
            dtls,
            began: now,
            random,
            peer,
            is_known: false,
            due: None,
        })
    }

    /// Whether its other end is there: who said hello to us, or the host that we did to, which may answer by another port.
    pub(super) fn is_with(&self, at: SocketAddr) -> bool {
        self.peer == at || self.random.is_none() && self.peer.ip() == at.ip()
    }

    pub(super) fn handle_packet(&mut self, now: Timestamp, from: SocketAddr, datagram: &[u8]) {
        self.peer = from;
        let at = self.instant(now);
        // A datagram that breaks the rules ends nothing: who sent it is not known.
        let _ = self
            .dtls
            .handle_timeout(at)
            .and_then(|()| self.dtls.handle_packet(datagram));
    }

    /// False once it has failed.
    pub(super) fn handle_timeout(&mut self, now: Timestamp) -> bool {
        let at = self.instant(now);
        self.due.is_some_and(|due| due > now) || self.dtls.handle_timeout(at).is_ok()
    }

    fn instant(&self, now: Timestamp) -> Instant {
        *ZERO + now.since(self.began)
    }

    pub(super) fn drain(&mut self, now: Timestamp, handshake: &Handshake, said: &mut VecDeque<Shaken>) -> Reached {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut reached = Reached::Nothing;
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => {
                    let (to, bytes) = (self.peer, bytes.to_vec());
                    said.push_back(Shaken::Send { to, bytes });
                }
                Output::PeerCert(certificate) => self.is_known = is_one_of(&handshake.theirs, certificate),
                // The keys come behind it, if a profile was agreed on (RFC 5764 §4.1).
                Output::Connected => reached = Reached::Failed(KeyingFault::Profile),
                Output::KeyingMaterial(material, profile) => {
                    reached = self.keys(&material, profile, handshake.is_client);
                }
                Output::Timeout(at) => {
                    let at = self.began + at.saturating_duration_since(*ZERO);
                    self.due = Some(at.max(now));
                    return reached;
                }
                Output::BufferTooSmall { .. } => return reached,
                _ => {}
            }
        }
    }

    fn keys(&self, material: &[u8], profile: SrtpProfile, is_client: bool) -> Reached {
        if !self.is_known {
            return Reached::Failed(KeyingFault::Certificate);
        }
        match (suite_of(profile).and_then(|suite| keys_of(suite, material)), is_client) {
            (Some([client, server]), true) => Reached::Keys(server, client),
            (Some([client, server]), false) => Reached::Keys(client, server),
            (None, _) => Reached::Failed(KeyingFault::Profile),
        }
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
