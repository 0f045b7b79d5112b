//! The handshake of a side's keys (RFC 5764): when it begins, where its datagrams go, and when it is given up.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::{Handshake, KeyingFault, SrtpKey, Timestamp};
use crate::rtp::{Association, HANDSHAKE_MAX, Sender, Shaken};

/// What comes of a datagram or of time.
#[derive(Debug)]
pub(super) enum Step {
    /// To the peer.
    Send(SocketAddr, Vec<u8>),
    /// What the peer encrypts with, and what we do.
    Keys(Box<[SrtpKey; 2]>),
    Failed(KeyingFault),
}

/// One side's.
#[derive(Debug)]
pub(super) struct Shaking {
    pub(super) handshake: Arc<Handshake>,
    since: Timestamp,
    /// None before there is somebody to shake hands with: most that is signalled never comes to media.
    association: Option<Association>,
    /// No keys came of it.
    is_over: bool,
}

impl Shaking {
    pub(super) const fn new(now: Timestamp, handshake: Arc<Handshake>) -> Self {
        Self {
            handshake,
            since: now,
            association: None,
            is_over: false,
        }
    }

    /// The peer can be reached there. If it is we who begin, we do.
    pub(super) fn begin(&mut self, now: Timestamp, to: SocketAddr, said: &mut Vec<Step>) {
        if self.association.is_none() && self.handshake.is_client && !self.is_over {
            self.associate(now, to);
            self.drain(said);
        }
    }

    /// The peer wants what is for it there from here on.
    pub(super) fn follow(&mut self, to: SocketAddr) {
        if let Some(association) = &mut self.association {
            association.follow(to);
        }
    }

    /// From where the peer may be. Nothing is kept of one that is not looked at.
    pub(super) fn handle_packet(&mut self, now: Timestamp, sender: Sender, bytes: &[u8], said: &mut Vec<Step>) {
        if self.association.is_none() {
            self.associate(now, sender.at);
        }
        if let Some(association) = &mut self.association {
            association.handle_packet(now, sender, bytes);
        }
        self.drain(said);
    }

    fn associate(&mut self, now: Timestamp, peer: SocketAddr) {
        if !self.is_over {
            self.association = Association::new(now, Arc::clone(&self.handshake), peer);
            self.is_over = self.association.is_none();
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, said: &mut Vec<Step>) {
        match &mut self.association {
            Some(association) => association.handle_timeout(now),
            None if !self.is_over && now.since(self.since) >= HANDSHAKE_MAX => {
                self.is_over = true;
                said.push(Step::Failed(KeyingFault::Timeout));
            }
            None => {}
        }
        self.drain(said);
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.association {
            Some(association) => association.poll_timeout(),
            None => (!self.is_over).then(|| self.since + HANDSHAKE_MAX),
        }
    }

    /// No keys come of it any more.
    pub(super) fn has_failed(&self) -> bool {
        self.is_over || self.association.as_ref().is_some_and(Association::is_over)
    }

    /// Whether it is with who is there.
    pub(super) fn is_with(&self, at: SocketAddr) -> bool {
        self.association
            .as_ref()
            .is_some_and(|association| association.is_with(at))
    }

    fn drain(&mut self, said: &mut Vec<Step>) {
        let Some(association) = &mut self.association else {
            return;
        };
        while let Some(shaken) = association.poll_output() {
            said.push(match shaken {
                Shaken::Send { to, bytes } => Step::Send(to, bytes),
                Shaken::Keys { theirs, ours } => Step::Keys(Box::new([theirs, ours])),
                Shaken::Failed(fault) => Step::Failed(fault),
            });
        }
    }
}
