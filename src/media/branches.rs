//! The far ends of a leg that are not heard now: forks of one INVITE ring side by side (RFC 3261 §12.1), and any of them may be heard
//! next, or answer. Each shakes hands, proves its ways and is latched to apart, and goes on where it was left.

use std::net::{IpAddr, SocketAddr};

use super::latch::Latch;
use super::secrecy::Apart;
use super::shaking::Step;
use super::ways::{Checked, Ways};
use crate::model::{FarEnd, Timestamp, earliest, is_local, is_private};
use crate::rtp::{BindingRequest, Sender};

/// The oldest makes room, and begins anew if it comes back.
const BRANCHES_MAX: usize = 8;

/// One of them.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) end: FarEnd,
    /// Of its RTP, of its RTCP.
    pub(super) latches: [Latch; 2],
    pub(super) apart: Option<Apart>,
    pub(super) ways: Option<Box<Ways>>,
}

impl Branch {
    /// Whether its handshake is with who is there.
    fn shakes_at(&self, from: SocketAddr) -> bool {
        let [latch, _] = &self.latches;
        self.apart.as_ref().is_some_and(|apart| match &self.ways {
            Some(ways) => ways.is_proved(from),
            None => latch.is_on(from) || latch.signalled() == Some(from) || apart.shaking.is_with(from),
        })
    }

    fn stir(&mut self, said: &mut Vec<Step>, each: impl FnOnce(&mut Apart, &mut Vec<Step>)) {
        let Some(apart) = &mut self.apart else { return };
        let mut steps = Vec::new();
        each(apart, &mut steps);
        for step in steps {
            match (step, &mut self.apart) {
                (Step::Send(to, bytes), _) => said.push(Step::Send(to, bytes)),
                (Step::Keys(keys), Some(apart)) => apart.key_by(*keys),
                // Nobody hears it: if it is heard again it may try again.
                (Step::Failed(_), apart) => *apart = None,
                (Step::Keys(_), None) => {}
            }
        }
    }
}

/// Whether that name is one host's: behind two NATs two may have the same.
pub(super) fn is_unique(host: IpAddr) -> bool {
    !is_private(host) && !is_local(host)
}

/// Those of one side, the newest last.
#[derive(Debug, Default)]
pub(super) struct Branches(Vec<Branch>);

impl Branches {
    pub(super) fn put(&mut self, branch: Branch) {
        if self.0.len() == BRANCHES_MAX {
            self.0.remove(0);
        }
        self.0.push(branch);
    }

    pub(super) fn take(&mut self, end: FarEnd) -> Option<Branch> {
        let place = self.0.iter().position(|branch| branch.end == end)?;
        Some(self.0.remove(place))
    }

    /// Where they are heard from, of RTP or of RTCP, but who is there where another is said to be now: that is this one, unless
    /// the address is one that two may have.
    pub(super) fn places(&self, channel: usize, remote: Option<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
        let remote = remote.filter(|remote| is_unique(remote.ip()));
        let others = self.0.iter().filter(move |branch| {
            let [latch, _] = &branch.latches;
            remote.is_none() || !latch.is_signalled(remote)
        });
        others.filter_map(move |branch| branch.latches[channel].locked())
    }

    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    pub(super) fn shake_at(&self, from: SocketAddr) -> bool {
        self.0.iter().any(|branch| branch.shakes_at(from))
    }

    /// A part of a handshake. False if it is of none of them.
    pub(super) fn handle_packet(
        &mut self,
        now: Timestamp,
        from: SocketAddr,
        bytes: &[u8],
        said: &mut Vec<Step>,
    ) -> bool {
        let Some(branch) = self.0.iter_mut().find(|branch| branch.shakes_at(from)) else {
            return false;
        };
        let is_proved = branch.ways.is_some();
        branch.stir(said, |apart, steps| {
            apart
                .shaking
                .handle_packet(now, Sender { at: from, is_proved }, bytes, steps);
        });
        true
    }

    /// Whether a check names one of them. Others' STUN is between the parties.
    pub(super) fn are_named_by(&self, bytes: &[u8]) -> bool {
        let mut ways = self.0.iter().filter_map(|branch| branch.ways.as_ref()).peekable();
        let request = ways.peek().and_then(|_| BindingRequest::parse(bytes));
        request.is_some_and(|request| ways.any(|ways| ways.is_named_by(&request)))
    }

    /// A check of a way. False if it is of none of them.
    pub(super) fn check(&mut self, now: Timestamp, from: SocketAddr, bytes: &[u8], said: &mut Vec<Step>) -> bool {
        for branch in &mut self.0 {
            let Some(ways) = &mut branch.ways else { continue };
            if let Checked::Answer(answer) = ways.check(from, bytes) {
                let here = ways.here();
                said.push(Step::Send(from, answer));
                branch.stir(said, |apart, steps| {
                    if let Some(here) = here {
                        apart.shaking.begin(now, here, steps);
                    }
                });
                return true;
            }
        }
        false
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, said: &mut Vec<Step>) {
        for branch in &mut self.0 {
            branch.stir(said, |apart, steps| {
                if apart.shaking.poll_timeout().is_some_and(|due| due <= now) {
                    apart.shaking.handle_timeout(now, steps);
                }
            });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let dues = self
            .0
            .iter()
            .filter_map(|branch| branch.apart.as_ref()?.shaking.poll_timeout());
        dues.fold(None, |first, due| earliest(first, Some(due)))
    }
}
