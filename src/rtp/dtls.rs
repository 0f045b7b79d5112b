//! DTLS-SRTP (RFC 5764): the handshake between a leg's peer and us that gives the keys of both. The only user of the DTLS crate.
//!
//! Architecture Invariant: no key leaves before the handshake is done and the peer has proved to own the certificate that its
//! signalling named. What forged datagrams can cost is bounded by [`DATAGRAMS_A_SECOND_MAX`]. Those from elsewhere than the peer's
//! address spoil nothing. Those from it that are no part of a handshake, or not yet, are discarded silently (RFC 6347 §4.1.2.7), and
//! cost no other its place; those that claim room take none from the peer's, but 64 a second of them, or of what could be the end while
//! that is awaited, take its time. A whole forged message can spoil an attempt, and so can 65 records that could be a Finished, between a
//! client's keys and its own: a client says hello anew, at once or when nothing has come of it for seconds, a server forgets the attempt,
//! or waits for the hello to be repeated. So one forged datagram costs seconds.

mod attempt;
mod budget;
mod crypto;
mod hello;
mod records;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use attempt::{Attempt, PAUSE_MIN, Reached, certificate_of};
use aws_lc_rs::digest;
use budget::{Budget, Budgets};
use hello::{Cookies, Hello};
use rtc_dtls::crypto::Certificate;

use crate::model::{Fingerprint, FingerprintHash, Handshake, Identity, KeyingFault, SrtpKey, Timestamp, earliest};

/// Handshake datagrams of one peer that are more than noise, or of a share of the hosts that nothing is known of, that are looked at in one second; a whole
/// handshake takes a dozen.
pub const DATAGRAMS_A_SECOND_MAX: u32 = 64;
/// Longer ones are not looked at: handshakes are cut for the MTU (RFC 6347 §4.1.1).
pub const DATAGRAM_BYTES_MAX: usize = 2_048;
/// A peer that has not shaken hands by then never will.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(60);

/// Clients whose hellos are being answered, each of which is where it says. The host that has most of them makes room.
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
    ours: Certificate,
    cookies: Cookies,
    /// As a client one; as a server one for each that has brought its cookie, until one of them is done.
    attempts: Vec<Attempt>,
    began: Timestamp,
    stage: Stage,
    /// Why the last attempt came to nothing. It may have been a stranger's: told only when the time is over.
    fault: Option<KeyingFault>,
    strangers: Budgets,
    /// Of those that have proved to be the peer, and have no attempt.
    proved: Budget,
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
            ours: certificate_of(&handshake.ours)?,
            handshake,
            cookies: Cookies::new()?,
            attempts: Vec::new(),
            began: now,
            stage: Stage::Shaking,
            fault: None,
            strangers: Budgets::new(),
            proved: Budget::default(),
            said: VecDeque::new(),
        };
        if association.handshake.is_client {
            let attempt = Attempt::calling(now, &association.ours, peer, PAUSE_MIN)?;
            association.attempts.push(attempt);
            association.drain();
        }
        Some(association)
    }

    /// A datagram from where the peer may be. False if it was not looked at.
    pub fn handle_packet(&mut self, now: Timestamp, sender: Sender, datagram: &[u8]) -> bool {
        if self.stage == Stage::Over || datagram.len() > DATAGRAM_BYTES_MAX {
            return false;
        }
        let is_looked_at = match Hello::parse(datagram) {
            Some(_) if self.handshake.is_client => false,
            Some(hello) => self.on_hello(now, sender, &hello, datagram),
            None => self.on_answer(now, sender, datagram),
        };
        self.drain();
        is_looked_at
    }

    /// What is no hello is of an attempt with who is there (RFC 5764 §3): what others say would spoil it.
    fn on_answer(&mut self, now: Timestamp, sender: Sender, datagram: &[u8]) -> bool {
        let is_known = self.attempts.iter().any(|attempt| attempt.is_with(sender.at));
        let moves = sender.is_proved && !is_known;
        let mut is_looked_at = false;
        for attempt in &mut self.attempts {
            if moves || attempt.is_with(sender.at) {
                is_looked_at |= attempt.handle_packet(now, sender, datagram);
            }
        }
        is_looked_at
    }

    /// Who has not shown to be there is asked to, and nothing is kept of it. Once a handshake is done there is nobody else.
    fn on_hello(&mut self, now: Timestamp, sender: Sender, hello: &Hello<'_>, datagram: &[u8]) -> bool {
        let is_its = |attempt: &Attempt| {
            attempt.random == Some(hello.random) && (sender.is_proved || attempt.is_with(sender.at))
        };
        let known = self.attempts.iter().position(is_its);
        // Before the cookie is made, which costs more than all that comes before it.
        let is_stalled = known.is_none_or(|known| self.attempts[known].is_stalled(now));
        let has_time = is_stalled && self.stage == Stage::Shaking && self.has_time(now, sender);
        if !has_time {
            return known.is_some_and(|known| self.attempts[known].handle_packet(now, sender, datagram));
        }
        let place = (!sender.is_proved).then_some(sender.at);
        let cookie = self.cookies.make(&hello.random, place);
        match known {
            Some(known) if hello.brings(&cookie) => _ = self.attempts.remove(known),
            Some(known) => return self.attempts[known].handle_packet(now, sender, datagram),
            None if hello.brings(&cookie) => {}
            None => {
                let bytes = hello.request(&cookie);
                self.said.push_back(Shaken::Send { to: sender.at, bytes });
                return true;
            }
        }
        let Some(mut attempt) = Attempt::answering(now, &self.ours, hello, cookie, sender.at) else {
            return false;
        };
        attempt.handle_packet(now, sender, datagram);
        self.make_room();
        self.attempts.push(attempt);
        true
    }

    /// Whom we call is to be called there from here on.
    pub fn follow(&mut self, to: SocketAddr) {
        if self.handshake.is_client && self.stage == Stage::Shaking {
            self.attempts.iter_mut().for_each(|attempt| attempt.follow(to));
        }
    }

    fn has_time(&mut self, now: Timestamp, sender: Sender) -> bool {
        if sender.is_proved {
            return self.proved.has_time(now);
        }
        self.strangers.has_time(now, sender.at.ip())
    }

    /// At the cost of the host that has most attempts, and there of the oldest.
    fn make_room(&mut self) {
        if self.attempts.len() < ATTEMPTS_MAX {
            return;
        }
        let hosts: Vec<_> = self.attempts.iter().map(|attempt| attempt.peer().ip()).collect();
        let of = |host: &_| hosts.iter().filter(|other| *other == host).count();
        let most = hosts.iter().map(of).max();
        if let Some(oldest) = hosts.iter().position(|host| Some(of(host)) == most) {
            self.attempts.remove(oldest);
        }
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.stage != Stage::Shaking {
            return;
        }
        if now.since(self.began) >= HANDSHAKE_MAX {
            return self.fail(self.fault.unwrap_or(KeyingFault::Timeout));
        }
        let (ours, is_client) = (&self.ours, self.handshake.is_client);
        self.attempts.retain_mut(|attempt| {
            let is_well = attempt.handle_timeout(now);
            let again = (!is_well && is_client).then(|| attempt.again(now, ours)).flatten();
            let is_begun_again = again.is_some();
            if let Some(again) = again {
                *attempt = again;
            }
            is_well || is_begun_again
        });
        self.drain();
    }

    pub fn poll_output(&mut self) -> Option<Shaken> {
        self.said.pop_front()
    }

    /// None once it is done: what the peer repeats is answered when it comes.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let end = Some(self.began + HANDSHAKE_MAX);
        let dues = self.attempts.iter().map(Attempt::due);
        (self.stage == Stage::Shaking)
            .then(|| dues.fold(end, earliest))
            .flatten()
    }

    /// It ended without keys.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether the other end, or one that may be it, is there.
    pub fn is_with(&self, at: SocketAddr) -> bool {
        self.attempts.iter().any(|attempt| attempt.peer() == at)
    }

    fn fail(&mut self, fault: KeyingFault) {
        self.said.push_back(Shaken::Failed(fault));
        self.stage = Stage::Over;
        self.attempts.clear();
    }

    /// Who comes to a server with another certificate, or without a profile, takes nothing from who comes after.
    fn drain(&mut self) {
        let mut place = 0;
        while place < self.attempts.len() {
            let reached = self.attempts[place].drain(&self.handshake, &mut self.said);
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
                Reached::Broken(fault) if self.handshake.is_client => self.fault = fault.or(self.fault),
                Reached::Failed(fault) | Reached::Broken(Some(fault)) => {
                    self.fault = Some(fault);
                    self.attempts.remove(place);
                    continue;
                }
                Reached::Broken(None) => {
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
    crypto::signing_key(&key)?;
    let fingerprint = fingerprint_of(FingerprintHash::Sha256, &certificate)?;
    (!certificate.is_empty()).then(|| Identity::new(certificate, key, fingerprint))
}

fn is_one_of(fingerprints: &[Fingerprint], certificate: &[u8]) -> bool {
    let is_it = |known: &Fingerprint| fingerprint_of(known.hash(), certificate).as_ref() == Some(known);
    fingerprints.iter().any(is_it)
}

#[cfg(test)]
pub mod tests;
