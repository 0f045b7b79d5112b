//! The latch: from which address one socket takes packets, and to which the far leg's packets are sent.

use std::net::{IpAddr, SocketAddr};

use super::probation::{Evidence, Place, Probation};
use crate::model::{Origin, is_local};

/// Packets of a source from before the newest SDP, after which it has not moved; or of others without one of it between them,
/// after which it has: some seconds.
const SETTLING_PACKETS: u16 = 250;
/// Others' packets without one of it between them, after which a source that came back is thought to have moved all the same:
/// more than overtake each other.
const SILENT_PACKETS: u16 = 5;

/// Holds on to the source that the leg's SDP signalled.
///
/// | source | before it is locked | locked |
/// |---|---|---|
/// | the signalled address | taken, locks | taken, and wins over every other lock |
/// | the signalled host, another port | taken, locks (phones that send from elsewhere than they listen) | taken if it is the locked one; wins over another host |
/// | the host of the signalling, if the [`Origin`] allows it | taken, locks | taken if it is the locked one; wins over a stranger |
/// | any other host, if the [`Origin`] allows all; of RTCP, if RTP is not locked to another | taken, locks | as [`Probation`] has it |
/// | any other host | rejected | rejected |
///
/// So an injector has to forge the signalled host's address, and even then cannot push out the signalled port; where
/// all are allowed it has to be the first, and is heard until who is known better speaks. A new SDP with another address unlocks; what was learned of a leg is heard on
/// until somebody as well known comes (a stranger by proof), for its packets may be under way; and if it speaks on it has not moved, and wins back what
/// came between. An SDP that names no host to send to (port 0, multicast) takes
/// and sends nothing. A holder that names the null address is sent nothing; what it plays is taken from where it was before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latch {
    signalled: Option<SocketAddr>,
    origin: Origin,
    /// Where packets come from.
    locked: Option<SocketAddr>,
    /// Who was locked under an earlier SDP, until it is clear whether it has moved.
    former: Option<Former>,
    /// Of strangers.
    probation: Probation,
    /// Packets since the newest SDP.
    taken: u16,
    /// Of the RTCP of a leg: the host that its RTP comes from. A party that says nothing there would leave it to anybody.
    beside: Option<IpAddr>,
    /// Nothing is sent there.
    deaf: bool,
    /// Where other far ends of the leg speak, who may not know yet that they are not heard.
    others: Box<[SocketAddr]>,
}

/// See [`Latch::former`].
#[derive(Clone, Copy, Debug)]
struct Former {
    at: SocketAddr,
    /// Its packets since the newest SDP.
    heard: u16,
    /// Others' packets since its last.
    missed: u16,
    /// It spoke after another had taken its place.
    is_back: bool,
    /// A stranger proved itself in its place, and gives it up to nobody else.
    is_followed: bool,
}

impl Former {
    const fn at(at: SocketAddr) -> Self {
        Self {
            at,
            heard: 0,
            missed: 0,
            is_back: false,
            is_followed: false,
        }
    }

    /// Whether a source that is known as well as it is heard.
    fn admits(&mut self, from: SocketAddr, is_locked: bool) -> bool {
        if from == self.at {
            self.heard = self.heard.saturating_add(1);
            self.missed = 0;
            self.is_back |= !is_locked;
            self.is_followed = false;
            return true;
        }
        self.missed = self.missed.saturating_add(1);
        is_locked || !self.is_back || self.missed > SILENT_PACKETS
    }

    const fn is_settled(&self) -> bool {
        self.heard >= SETTLING_PACKETS || self.missed >= SETTLING_PACKETS
    }
}

/// What the latch makes of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Admission {
    Taken,
    /// Taken, and the first from a host that no SDP named.
    Learned,
    Foreign,
}

/// How well a source is known; the better wins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Stranger,
    Speaker,
    Host,
    Signalled,
}

impl Latch {
    /// The leg's newest SDP. `deaf`: it wants nothing sent.
    pub(crate) fn signal(&mut self, remote: Option<SocketAddr>, origin: Origin, deaf: bool) {
        let remote = remote.filter(is_sendable);
        if (self.signalled, self.origin) != (remote, origin) {
            self.turn_to(remote, origin);
        }
        self.deaf = deaf;
    }

    /// Another dialog says the same of where it is.
    pub(super) fn renew(&mut self) {
        self.turn_to(self.signalled, self.origin);
    }

    fn turn_to(&mut self, remote: Option<SocketAddr>, origin: Origin) {
        let is_known = |latch: &Self| latch.locked.and_then(|at| latch.rank(at, false)) > Some(Rank::Stranger);
        if is_known(self) {
            self.probation = Probation::trusted();
        }
        self.signalled = remote;
        self.origin = origin;
        self.locked = self
            .locked
            .filter(|locked| origin != Origin::Signalled && self.rank(*locked, false).is_some());
        // Who took its place meanwhile is not the one to come back.
        let is_as_known =
            |at: &SocketAddr| self.locked.map(|locked| self.rank(locked, false)) == Some(self.rank(*at, false));
        let earlier = self.former.map(|former| former.at).filter(is_as_known);
        // A stranger that was first, and has proved nothing, wins nothing back. RTCP has no proof of its own.
        let is_former = self.beside.is_some() || self.probation.has_proved() || is_known(self);
        let locked = self.locked.filter(|_| is_former);
        self.former = locked.map(|locked| Former::at(earlier.unwrap_or(locked)));
        self.taken = 0;
    }

    /// Of one far end of a leg, while others speak there.
    pub(super) fn beyond(mut self, others: impl Iterator<Item = SocketAddr>) -> Self {
        self.others = others.filter(|other| self.locked != Some(*other)).collect();
        self
    }

    /// Whether a description that names this is that of now.
    pub(super) fn is_signalled(&self, remote: Option<SocketAddr>) -> bool {
        self.signalled == remote.filter(is_sendable)
    }

    pub(super) const fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// Where packets come from.
    pub(super) const fn locked(&self) -> Option<SocketAddr> {
        self.locked
    }

    /// Whether packets come from there.
    pub(crate) fn is_on(&self, from: SocketAddr) -> bool {
        self.locked == Some(from)
    }

    /// Whether nothing is to be sent there.
    pub(super) const fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// The RTP of this leg, whose RTCP this is, comes from that host now.
    pub(crate) fn go_beside(&mut self, host: IpAddr) {
        self.beside = Some(host);
        self.locked = self.locked.filter(|locked| self.rank(*locked, false).is_some());
    }

    /// Whether packets from there may ever be taken: what others send is not worth a look.
    pub(super) fn may_admit(&self, from: SocketAddr, ours: bool) -> bool {
        self.rank(from, ours).is_some()
    }

    /// `ours`: it is an address of our own, which is not learned.
    pub(crate) fn admits(&mut self, from: SocketAddr, ours: bool, evidence: Evidence) -> Admission {
        let Some(rank) = self.rank(from, ours) else {
            return Admission::Foreign;
        };
        let is_new = !self.is_on(from);
        let is_first_since = self.taken == 0;
        if !self.follows(from, rank, evidence) {
            return Admission::Foreign;
        }
        self.taken = self.taken.saturating_add(1);
        self.locked = Some(from);
        if (is_new || is_first_since) && rank <= Rank::Speaker {
            Admission::Learned
        } else {
            Admission::Taken
        }
    }

    /// Whether the lock is with this source, or goes to it.
    fn follows(&mut self, from: SocketAddr, rank: Rank, evidence: Evidence) -> bool {
        let is_locked = self.is_on(from);
        let held = self.locked.and_then(|locked| self.rank(locked, false));
        if evidence == Evidence::Verified {
            return self.follows_key(from, rank, held);
        }
        let place = evidence.place();
        let Some(held) = held else {
            self.probation = Probation::begin(from, place);
            return true;
        };
        if !self.others.is_empty()
            && let Some(follows) = self.leaves_others(from, (rank, held), place)
        {
            return follows;
        }
        match &mut self.former {
            Some(former) if rank == held => {
                // Another port of the host that was heard is where that one may have moved: to fax, or to another device behind it.
                let is_strange =
                    rank == Rank::Stranger && !is_locked && from.ip() != former.at.ip() && self.beside.is_none();
                if is_strange && (former.is_followed || !self.probation.is_outrun_by(from, place)) {
                    return false;
                }
                let admits = former.admits(from, is_locked);
                former.is_followed |= admits && is_strange;
                self.former = self.former.filter(|former| !former.is_settled());
                if admits && !is_locked {
                    self.probation = Probation::trusted();
                }
                admits && (!is_locked || rank > Rank::Stranger || self.probation.admits_holder(from, place))
            }
            Some(_) => {
                let is_better = rank > held;
                self.former = self.former.filter(|_| !is_better);
                is_better
            }
            None if rank > Rank::Stranger || held > Rank::Stranger => is_locked || rank > held,
            None if is_locked => self.probation.admits_holder(from, place),
            None => self.probation.yields_to(from, place),
        }
    }

    /// Another far end speaks on though it is not heard any more, and says nothing against the one that is: that takes the lock from
    /// it, and not the other way round. Who is heard alone for some seconds is the one.
    fn leaves_others(&mut self, from: SocketAddr, (rank, held): (Rank, Rank), place: Option<Place>) -> Option<bool> {
        let is_other = |at: SocketAddr| self.others.contains(&at) && self.signalled != Some(at);
        let holder = self.locked.filter(|locked| is_other(*locked));
        match holder {
            Some(holder) if from == holder => {
                if self.taken >= SETTLING_PACKETS {
                    self.others = Box::default();
                    self.probation = Probation::trusted();
                }
                Some(true)
            }
            _ if is_other(from) && rank <= held && self.probation.has_proved() => Some(false),
            Some(_) if rank < held => Some(false),
            Some(_) => {
                let follows =
                    rank > Rank::Stranger || self.beside.is_some() || self.probation.is_outrun_by(from, place);
                if follows {
                    self.probation = Probation::trusted();
                }
                Some(follows)
            }
            None => None,
        }
    }

    /// The same of who has the key: nobody but the party, whose packet may have been copied. So a new SDP moves it at once, and nothing
    /// else does; but not away from where it said to be, if it is there.
    fn follows_key(&mut self, from: SocketAddr, rank: Rank, held: Option<Rank>) -> bool {
        let is_locked = self.is_on(from);
        let is_proved = held > Some(Rank::Stranger) || self.probation.has_proved();
        let follows = match (&mut self.former, held) {
            _ if is_locked => true,
            (_, None) => true,
            (Some(_), Some(held)) => rank > held || held < Rank::Signalled,
            (None, Some(held)) => rank > held || rank == held && !is_proved,
        };
        if let Some(former) = &mut self.former {
            former.admits(from, is_locked);
        }
        self.former = self
            .former
            .filter(|former| rank < Rank::Signalled && !former.is_settled());
        if follows {
            self.probation = Probation::trusted();
        }
        follows
    }

    fn rank(&self, from: SocketAddr, ours: bool) -> Option<Rank> {
        let signalled = self.signalled?;
        if from == signalled {
            return Some(Rank::Signalled);
        }
        if from.ip() == signalled.ip() {
            return Some(Rank::Host);
        }
        let rank = match self.origin {
            Origin::Speaker(speaker) | Origin::First { speaker } if from.ip() == speaker => Rank::Speaker,
            Origin::First { .. } if self.beside.is_none_or(|host| host == from.ip()) => Rank::Stranger,
            Origin::First { .. } | Origin::Signalled | Origin::Speaker(_) => return None,
        };
        Some(rank).filter(|_| !ours && is_sendable(&from))
    }

    /// Where this leg is sent to: what it signalled, or where it was heard from if that cannot be reached.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        if self.deaf {
            return None;
        }
        let signalled = self.signalled?;
        let follows = |locked: &SocketAddr| match self.origin {
            Origin::Signalled => false,
            Origin::Speaker(_) => locked.ip() != signalled.ip(),
            Origin::First { .. } => true,
        };
        let to = self.locked.filter(follows).unwrap_or(signalled);
        let speaker = self.origin.speaker();
        // For us that name would be somebody else's, or our own.
        let elsewhere = speaker.filter(|speaker| is_local(to.ip()) && !is_local(*speaker));
        Some(elsewhere.map_or(to, |speaker| SocketAddr::new(speaker, to.port())))
    }
}

/// One host's address: what is sent to it is not multiplied and does not come back to ourselves.
fn is_sendable(remote: &SocketAddr) -> bool {
    let ip = remote.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests;
