//! DTLS-SRTP (RFC 5764): the handshake between a leg's peer and us that gives the keys of both. The only user of the DTLS crate.
//!
//! Architecture Invariant: no key leaves before the handshake is done and the peer has proved to own the certificate that its
//! signalling named. What forged datagrams can cost is bounded by [`DATAGRAMS_A_SECOND_MAX`], and they end nothing.

mod attempt;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use attempt::{Attempt, CLIENT_HELLO_RANDOM_BYTES, Reached, client_random, key_provider};
use aws_lc_rs::digest;

use crate::model::{Fingerprint, FingerprintHash, Handshake, Identity, KeyingFault, SrtpKey, Timestamp, earliest};

/// Handshake datagrams that are looked at in one second; a whole handshake takes a dozen.
pub const DATAGRAMS_A_SECOND_MAX: u32 = 64;
/// Longer ones are not looked at: handshakes are cut for the MTU (RFC 6347 §4.1.1).
pub const DATAGRAM_BYTES_MAX: usize = 2_048;
/// A peer that has not shaken hands by then never will.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(60);

/// Clients whose hellos are being answered: who forges one takes no place of the true one's, unless so many come between its two. The
/// oldest makes room.
const ATTEMPTS_MAX: usize = 8;

/// Where a datagram came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sender {
    pub at: SocketAddr,
    /// The peer has proved to be there (ICE), and may be at several places.
    pub is_proved: bool,
}

/// What an association has to say, in this order.
#[derive(Debug, Eq, PartialEq)]
pub enum Shaken {
    Send {
        to: SocketAddr,
        bytes: Vec<u8>,
    },
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
    handshake: Arc<Handshake>,
    /// As a client one; as a server one for each that said hello, until one of them is done.
    attempts: Vec<Attempt>,
    began: Timestamp,
    stage: Stage,
    /// Why the last attempt of a client came to nothing. It may have been a stranger's: told only when the time is over.
    fault: Option<KeyingFault>,
    /// The second that is counted, and its datagrams.
    second: (u64, u32),
    said: VecDeque<Shaken>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Shaking,
    Done,
    Over,
}

impl Association {
    /// As a client it begins at once, and its peer is there. None if the certificate of ours is none.
    pub fn new(now: Timestamp, handshake: Arc<Handshake>, peer: SocketAddr) -> Option<Self> {
        let mut association = Self {
            handshake,
            attempts: Vec::new(),
            began: now,
            stage: Stage::Shaking,
            fault: None,
            second: (0, 0),
            said: VecDeque::new(),
        };
        if association.handshake.is_client {
            association
                .attempts
                .push(Attempt::new(now, &association.handshake, None, peer)?);
            association.handle_timeout(now);
        }
        Some(association)
    }

    /// A datagram from where the peer may be. False if it was not looked at.
    pub fn handle_packet(&mut self, now: Timestamp, sender: Sender, datagram: &[u8]) -> bool {
        if self.stage == Stage::Over || datagram.len() > DATAGRAM_BYTES_MAX || !self.has_time(now) {
            return false;
        }
        let is_looked_at = match client_random(datagram) {
            Some(random) => match self.attempt_of(now, random, sender.at) {
                Some(attempt) => {
                    self.attempts[attempt].handle_packet(now, sender.at, datagram);
                    true
                }
                None => false,
            },
            None => self.on_answer(now, sender, datagram),
        };
        self.drain(now);
        is_looked_at
    }

    /// What is no hello is of an attempt with who is there (RFC 5764 §3): what others say would spoil it.
    fn on_answer(&mut self, now: Timestamp, sender: Sender, datagram: &[u8]) -> bool {
        let is_known = self.attempts.iter().any(|attempt| attempt.is_with(sender.at));
        let moves = sender.is_proved && !is_known;
        let mut is_looked_at = false;
        for attempt in &mut self.attempts {
            if moves || attempt.is_with(sender.at) {
                attempt.handle_packet(now, sender.at, datagram);
                is_looked_at = true;
            }
        }
        is_looked_at
    }

    /// Whose hello it is. Once a handshake is done there is nobody else.
    fn attempt_of(
        &mut self,
        now: Timestamp,
        random: [u8; CLIENT_HELLO_RANDOM_BYTES],
        peer: SocketAddr,
    ) -> Option<usize> {
        let known = self.attempts.iter().position(|attempt| attempt.random == Some(random));
        if known.is_some() || self.stage != Stage::Shaking || self.handshake.is_client {
            return known;
        }
        let attempt = Attempt::new(now, &self.handshake, Some(random), peer)?;
        if self.attempts.len() == ATTEMPTS_MAX {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
        Some(self.attempts.len() - 1)
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
        if self.stage != Stage::Shaking {
            return;
        }
        if now.since(self.began) >= HANDSHAKE_MAX {
            return self.fail(self.fault.unwrap_or(KeyingFault::Timeout));
        }
        self.attempts.retain_mut(|attempt| attempt.handle_timeout(now));
        self.drain(now);
    }

    pub fn poll_output(&mut self) -> Option<Shaken> {
        self.said.pop_front()
    }

    /// None once it is done: what the peer repeats is answered when it comes.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let end = Some(self.began + HANDSHAKE_MAX);
        let dues = self.attempts.iter().map(|attempt| attempt.due);
        (self.stage == Stage::Shaking)
            .then(|| dues.fold(end, earliest))
            .flatten()
    }

    fn fail(&mut self, fault: KeyingFault) {
        self.said.push_back(Shaken::Failed(fault));
        self.stage = Stage::Over;
        self.attempts.clear();
    }

    /// Who comes to a server with another certificate, or without a profile, takes nothing from who comes after.
    fn drain(&mut self, now: Timestamp) {
        let mut place = 0;
        while place < self.attempts.len() {
            let reached = self.attempts[place].drain(now, &self.handshake, &mut self.said);
            match reached {
                Reached::Nothing => {}
                _ if self.stage != Stage::Shaking => {}
                Reached::Keys(theirs, ours) => {
                    self.said.push_back(Shaken::Keys { theirs, ours });
                    self.stage = Stage::Done;
                    self.attempts = vec![self.attempts.swap_remove(place)];
                    return;
                }
                Reached::Failed(fault) if self.handshake.is_client => return self.fail(fault),
                Reached::Failed(fault) => {
                    self.fault = Some(fault);
                    self.attempts.remove(place);
                    continue;
                }
            }
            place += 1;
        }
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Association({:?})", self.stage)
    }
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
    key_provider()?.load_private_key(&key).ok()?;
    let fingerprint = fingerprint_of(FingerprintHash::Sha256, &certificate)?;
    (!certificate.is_empty()).then(|| Identity::new(certificate, key, fingerprint))
}

fn is_one_of(fingerprints: &[Fingerprint], certificate: &[u8]) -> bool {
    let is_it = |known: &Fingerprint| fingerprint_of(known.hash(), certificate).as_ref() == Some(known);
    fingerprints.iter().any(is_it)
}

#[cfg(test)]
pub mod tests;
