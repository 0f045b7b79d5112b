//! One handshake with one that claims to be the peer, by the DTLS crate.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::budget::Budget;
use super::crypto::{Provider, signing_key};
use super::hello::{Cookie, Hello, Random, without_cookie};
use super::records::{HANDSHAKE, Intake, first_message, renumber, write_record};
use super::{Sender, Shaken, is_one_of};
use crate::model::{Handshake, Identity, KeyingFault, SrtpKey, SrtpSuite, Timestamp, earliest};

/// The label of RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// We would take these in this order; a client's own order counts.
const PROFILES: [SrtpProtectionProfile; 4] = [
    SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32,
];
/// With certificates on curves and with RSA keys.
const SUITES: [CipherSuiteId; 2] = [
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
];
/// The crate sends a name to servers whether one has a name or not (RFC 6066 §3 knows none of addresses); this one is nobody's (RFC 2606).
const SERVER_NAME: &str = "onrecord.invalid";
/// Who it is for the crate, which has nobody else.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

/// How long a flight is waited for that is not answered, and what that grows to (RFC 6347 §4.2.4.1). The crate gives up after seven.
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(16);

/// How long nothing may come of what somebody said, and what that grows to. The crate waits for ever then.
const PATIENCE_MIN: Duration = Duration::from_secs(3);
const PATIENCE_MAX: Duration = Duration::from_secs(12);

/// The DTLS crate counts time from an `Instant`, which only a clock can make. This one is a zero and is never read as time:
/// deadlines are `Timestamp`s that are handed in.
static ZERO: LazyLock<Instant> = LazyLock::new(zero);

#[allow(clippy::disallowed_methods)]
fn zero() -> Instant {
    Instant::now()
}

/// What an attempt has come to.
pub(super) enum Reached {
    Nothing,
    /// What the peer encrypts with, and what we do.
    Keys(SrtpKey, SrtpKey),
    /// The handshake is done, and it was not the peer's, or not for SRTP.
    Failed(KeyingFault),
    /// The rules are broken, by whom is not known: it cannot go on.
    Broken(Option<KeyingFault>),
}

/// Our certificate, as the crate wants it. None if it cannot sign.
pub(super) fn certificate_of(ours: &Identity) -> Option<Certificate> {
    let chain = vec![ours.certificate().to_vec().into()];
    Some(Certificate::from_signing_key(chain, signing_key(ours.key())?))
}

fn config(ours: &Certificate, cookie: Option<Cookie>) -> Option<Arc<HandshakeConfig>> {
    let is_client = cookie.is_none();
    let config = ConfigBuilder::default()
        .with_crypto_provider(Arc::new(Provider::new(cookie)))
        .with_certificates(vec![ours.clone()])
        .with_cipher_suites(SUITES.to_vec())
        .with_srtp_protection_profiles(PROFILES.to_vec())
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .with_flight_interval(PAUSE_MIN)
        // By its fingerprint we know it, not by who signed it (RFC 5763 §5).
        .with_insecure_skip_verify(true)
        .with_server_name(SERVER_NAME.to_owned())
        .build(is_client, None);
    config.ok().map(Arc::new)
}

pub(super) struct Attempt {
    endpoint: Endpoint,
    intake: Intake,
    began: Timestamp,
    /// Of its client, unless that is us.
    pub(super) random: Option<Random>,
    /// By how much our records' numbers are more than the crate's.
    numbers: u64,
    /// Where the other end is, by what was heard of it last.
    peer: SocketAddr,
    /// Where it was when we began, or wanted to be since.
    called: SocketAddr,
    /// When the crate would repeat what was not answered, by its own time.
    armed: Option<Instant>,
    /// How long we wait with that.
    pause: Duration,
    due: Option<Timestamp>,
    patience: Duration,
    /// When that is over.
    stalls: Option<Timestamp>,
    budget: Budget,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Its client has said hello to us; the crate has not heard it yet.
    Strange,
    Shaking,
    /// The end is not told yet.
    Ended,
    Told,
    Broken(Option<KeyingFault>),
}

impl Attempt {
    /// As a client, who waits `pause` for the first answer.
    pub(super) fn calling(now: Timestamp, ours: &Certificate, peer: SocketAddr, pause: Duration) -> Option<Self> {
        let config = config(ours, None)?;
        let mut attempt = Self::new(now, peer, None);
        attempt.pause = pause;
        attempt.endpoint.connect(*ZERO, PEER, config, None).ok()?;
        attempt.arm(now);
        Some(attempt)
    }

    /// As the server of a client that is where it says.
    pub(super) fn answering(
        now: Timestamp,
        ours: &Certificate,
        hello: &Hello<'_>,
        cookie: Cookie,
        peer: SocketAddr,
    ) -> Option<Self> {
        let mut attempt = Self::new(now, peer, Some(hello.random));
        attempt.endpoint.set_server_config(Some(config(ours, Some(cookie))?));
        let [a, b, c, d, e, f] = hello.record;
        // The crate's first record, its own request for the cookie, is never sent.
        attempt.numbers = u64::from_be_bytes([0, 0, a, b, c, d, e, f]).saturating_sub(1);
        Some(attempt)
    }

    fn new(now: Timestamp, peer: SocketAddr, random: Option<Random>) -> Self {
        let is_server = random.is_some();
        Self {
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, None),
            intake: Intake::new(is_server),
            began: now,
            random,
            numbers: 0,
            peer,
            called: peer,
            armed: None,
            pause: PAUSE_MIN,
            due: None,
            patience: PATIENCE_MIN,
            stalls: None,
            budget: Budget::default(),
            stage: if is_server { Stage::Strange } else { Stage::Shaking },
        }
    }

    /// Whether its other end is there: who said hello to us, or the host that we did to, which may answer by another port.
    pub(super) fn is_with(&self, at: SocketAddr) -> bool {
        self.peer == at || self.random.is_none() && self.peer.ip() == at.ip()
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The other end wants what is for it there.
    pub(super) const fn follow(&mut self, to: SocketAddr) {
        self.peer = to;
        self.called = to;
    }

    /// False if it was not looked at.
    pub(super) fn handle_packet(&mut self, now: Timestamp, sender: Sender, datagram: &[u8]) -> bool {
        if matches!(self.stage, Stage::Broken(_)) || !self.budget.is_left(now) {
            return false;
        }
        let told = self.intake.take(datagram);
        if self.intake.counts() {
            self.budget.spend();
        }
        if self.intake.is_spoiled() {
            self.stage = Stage::Broken(None);
            self.due = Some(now + self.pause);
            return true;
        }
        // Who repeats itself may have moved because it was not answered.
        if sender.is_proved || !told.is_empty() {
            self.peer = sender.at;
        }
        if told.is_empty() {
            return true;
        }
        if self.stage == Stage::Strange {
            self.greet(now, &told);
        }
        if matches!(self.stage, Stage::Shaking | Stage::Told) {
            self.read(now, &told);
        }
        true
    }

    /// The crate makes its state of a first hello, and asks for the cookie that this client has brought: it gets both hellos at once.
    fn greet(&mut self, now: Timestamp, told: &[u8]) {
        let Some(first) = first_message(told).and_then(without_cookie) else {
            return;
        };
        let mut record = Vec::with_capacity(told.len());
        write_record(&mut record, 0, HANDSHAKE, &first);
        self.stage = Stage::Shaking;
        self.read(now, &record);
        if self.stage == Stage::Shaking {
            drop(self.endpoint.poll_transmit());
        }
    }

    fn read(&mut self, now: Timestamp, told: &[u8]) {
        let at = self.instant(now);
        let read = self.endpoint.read(at, PEER, None, BytesMut::from(told));
        match (read, self.stage) {
            (Ok(events), Stage::Shaking) => {
                if events
                    .iter()
                    .any(|event| matches!(event, EndpointEvent::HandshakeComplete))
                {
                    self.intake.finish();
                    self.stage = Stage::Ended;
                }
                self.pause = PAUSE_MIN;
                self.arm(now);
            }
            (Err(error), Stage::Shaking) => {
                self.stage = Stage::Broken(fault_of(&error));
                self.due = Some(now + self.pause);
            }
            _ => {}
        }
    }

    /// After what may have set the crate's timer.
    fn arm(&mut self, now: Timestamp) {
        let armed = self.endpoint.poll_timeout(&PEER);
        if armed != self.armed {
            self.armed = armed;
            self.due = armed.map(|_| now + self.pause);
        }
        // By a request for a cookie alone nothing has begun: it may be anybody's, and the cookie false (RFC 6347 §4.2.1).
        let is_asked = self.random.is_none() && self.intake.heard() == 1;
        self.stalls = (armed.is_none() || is_asked).then(|| now + self.patience);
    }

    /// What it was told is not the other end's, by all appearance, and what that says means nothing to it any more.
    pub(super) fn is_stalled(&self, now: Timestamp) -> bool {
        self.stage == Stage::Shaking && self.stalls.is_some_and(|at| at <= now)
    }

    /// As a server it can only wait: a client that has gone on does not say hello again.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let begins_anew = self.random.is_none() && self.stage == Stage::Shaking;
        earliest(self.due, self.stalls.filter(|_| begins_anew))
    }

    /// False once it has failed.
    pub(super) fn handle_timeout(&mut self, now: Timestamp) -> bool {
        if self.random.is_none() && self.is_stalled(now) {
            return false;
        }
        if self.due.is_none_or(|due| due > now) {
            return true;
        }
        self.due = None;
        if matches!(self.stage, Stage::Broken(_)) {
            return false;
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        let at = self.armed.map_or(*ZERO, |armed| armed.max(self.instant(now)));
        let is_well = self.endpoint.handle_timeout(PEER, at).is_ok();
        let stalls = self.stalls;
        self.arm(now);
        self.stalls = stalls.or(self.stalls);
        is_well
    }

    /// Another one to the same peer, who may have been spoken for by somebody else.
    pub(super) fn again(&self, now: Timestamp, ours: &Certificate) -> Option<Self> {
        let again = Self::calling(now, ours, self.called, (self.pause * 2).min(PAUSE_MAX))?;
        Some(Self {
            patience: (self.patience * 2).min(PATIENCE_MAX),
            ..again
        })
    }

    fn instant(&self, now: Timestamp) -> Instant {
        *ZERO + now.since(self.began)
    }

    pub(super) fn drain(&mut self, handshake: &Handshake, said: &mut VecDeque<Shaken>) -> Reached {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let mut bytes = transmit.message.to_vec();
            renumber(&mut bytes, self.numbers);
            said.push_back(Shaken::Send { to: self.peer, bytes });
        }
        match self.stage {
            Stage::Ended => {
                self.stage = Stage::Told;
                let state = self.endpoint.get_connection_state(PEER);
                state.map_or(Reached::Failed(KeyingFault::Ours), |state| keys(state, handshake))
            }
            Stage::Broken(fault) => Reached::Broken(fault),
            Stage::Strange | Stage::Shaking | Stage::Told => Reached::Nothing,
        }
    }
}

/// Of a handshake that is done.
fn keys(state: &State, handshake: &Handshake) -> Reached {
    let certificate = state.peer_certificates.first();
    if !certificate.is_some_and(|certificate| is_one_of(&handshake.theirs, certificate)) {
        return Reached::Failed(KeyingFault::Certificate);
    }
    let pair = suite_of(state.srtp_protection_profile()).and_then(|suite| {
        let length = 2 * suite.master_bytes();
        let material = state.export_keying_material(EXPORTER, &[], length).ok()?;
        keys_of(suite, material.as_ref())
    });
    match (pair, handshake.is_client) {
        (Some([client, server]), true) => Reached::Keys(server, client),
        (Some([client, server]), false) => Reached::Keys(client, server),
        (None, _) => Reached::Failed(KeyingFault::Profile),
    }
}

/// What it says of the peer, if it was the peer.
const fn fault_of(error: &Error) -> Option<KeyingFault> {
    match error {
        Error::ErrCipherSuiteNoIntersection
        | Error::ErrInvalidCipherSuite
        | Error::ErrServerNoMatchingSrtpProfile
        | Error::ErrClientNoMatchingSrtpProfile
        | Error::ErrRequestedButNoSrtpExtension
        | Error::ErrServerRequiredButNoClientEms
        | Error::ErrClientRequiredButNoServerEms
        | Error::ErrNoSupportedEllipticCurves
        | Error::ErrNoAvailableSignatureSchemes => Some(KeyingFault::Profile),
        Error::ErrClientCertificateRequired
        | Error::ErrKeySignatureMismatch
        | Error::ErrKeySignatureVerifyUnimplemented => Some(KeyingFault::Certificate),
        _ => None,
    }
}

const fn suite_of(profile: SrtpProtectionProfile) -> Option<SrtpSuite> {
    match profile {
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Some(SrtpSuite::AesCm128HmacSha1_80),
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32 => Some(SrtpSuite::AesCm128HmacSha1_32),
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(SrtpSuite::AeadAes128Gcm),
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Some(SrtpSuite::AeadAes256Gcm),
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
