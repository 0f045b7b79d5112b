//! A line's two sides: where each is bound, from where it is heard, how it is encrypted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::branches::{Branch, Branches, is_unique};
use super::circle::Circle;
use super::hearing::Hearing;
use super::latch::Latch;
use super::pause::Pause;
use super::port::Channel;
use super::probation::Medium;
use super::secrecy::Secrecy;
use super::shaking::{Shaking, Step};
use super::ways::{Checked, Ways};
use crate::model::{FarEnd, IceLite, Leg, LegKeys, Origin, SrtpKey, Timestamp, earliest};
use crate::recorder::PacketKind;
use crate::rtp::{self, Sender, SrtpError};

pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[derive(Debug)]
pub(super) struct Line {
    pub(super) index: u16,
    pub(super) medium: Medium,
    pub(super) hearing: Hearing,
    /// Whose RTCP goes by its RTP port; None: RTCP crosses from port to port.
    pub(super) muxed: Option<[bool; 2]>,
    pub(super) sides: [Side; 2],
}

#[derive(Debug)]
pub(super) struct Side {
    /// Our RTP address towards this leg; port 0 until the line has one.
    pub(super) local: SocketAddr,
    pub(super) sockets: [Socket; 2],
    /// None: what its peer sends and gets is in clear, or sealed beyond us.
    pub(super) secrecy: Option<Box<Secrecy>>,
    /// What its keys were used for while it is in clear: if they come back, no index is used twice (RFC 3711 §9.1).
    resting: Option<Box<Secrecy>>,
    /// What the plan says of it is agreed.
    is_agreed: bool,
    /// What comes from ourselves.
    pub(super) circle: Circle,
    /// Its peer tries the ways to us; the latches do not count then.
    pub(super) ways: Option<Box<Ways>>,
    /// Whom it is with.
    end: FarEnd,
    branches: Branches,
    /// Of what it sends nothing is kept, or was not until a moment ago.
    pub(super) withheld: Option<Box<Pause>>,
}

#[derive(Debug, Default)]
pub(super) struct Socket {
    pub(super) binding: Binding,
    pub(super) latch: Latch,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Binding {
    #[default]
    Absent,
    /// Asked for, by the staged plan.
    Asked,
    /// Bound for the staged plan.
    Fresh,
    /// Bound for a plan that took effect.
    Kept,
}

impl Line {
    /// This leg's side, and the other.
    pub(super) fn pair(sides: &mut [Side; 2], leg: Leg) -> (&mut Side, &mut Side) {
        let [a, b] = sides;
        match leg {
            Leg::A => (a, b),
            Leg::B => (b, a),
        }
    }

    /// Whether packets of this line may arrive at this address of ours.
    pub(super) fn is_ours(&self, host: IpAddr) -> bool {
        self.sides.iter().any(|side| side.local.ip() == host)
    }

    /// By which socket what came from `leg` by `channel` leaves.
    pub(super) fn exit(&self, leg: Leg, channel: Channel, kind: PacketKind) -> Channel {
        match self.muxed {
            None => channel,
            Some(muxed) if muxed[leg.other().index()] => Channel::Rtp,
            Some(_) if kind == PacketKind::Rtcp => Channel::Rtcp,
            Some(_) => channel,
        }
    }
}

impl Side {
    pub(super) fn new() -> Self {
        Self {
            local: NOWHERE,
            sockets: [Socket::default(), Socket::default()],
            secrecy: None,
            resting: None,
            is_agreed: false,
            circle: Circle::default(),
            ways: None,
            end: FarEnd::default(),
            branches: Branches::default(),
            withheld: None,
        }
    }

    /// Nothing of what it sends is kept from here on, or all of it.
    pub(super) fn withhold(&mut self, now: Timestamp, is_withheld: bool) {
        if is_withheld || self.withheld.is_some() {
            self.withheld.get_or_insert_default().set(now, is_withheld);
        }
    }

    /// It is in clear, was not before, and has not agreed to that.
    pub(super) const fn has_lost_keys(&self) -> bool {
        self.secrecy.is_none() && self.resting.is_some() && !self.is_agreed
    }

    /// With this far end from here on, of which this is signalled. What is known of the one before rests; but who has another dialog
    /// where that one is, by the same certificate and credentials, is that one. Its place is learned anew only if two may say to be there.
    pub(super) fn turn_to(
        &mut self,
        end: FarEnd,
        remote: Option<SocketAddr>,
        (keys, lite): (Option<&LegKeys>, Option<&Arc<IceLite>>),
    ) {
        let before = std::mem::replace(&mut self.end, end);
        if before == end {
            return;
        }
        let handshake = self.shaking().map(|shaking| Arc::clone(&shaking.handshake));
        let is_same = self.sockets[0].latch.is_signalled(remote)
            && handshake.as_ref() == keys.and_then(|keys| keys.handshake.as_ref())
            && self.ways.as_ref().map(|ways| &ways.lite) == lite;
        let (mut apart, mut ways) = (None, None);
        if !is_same {
            let secrecy = self.secrecy.as_mut().or(self.resting.as_mut());
            apart = secrecy.and_then(|secrecy| secrecy.part());
            ways = self.ways.take();
        }
        if is_same && remote.is_some_and(|remote| is_unique(remote.ip())) {
            self.branches.take(end);
            self.sockets.iter_mut().for_each(|socket| socket.latch.renew());
            return;
        }
        let latches = self.sockets.each_mut().map(|socket| std::mem::take(&mut socket.latch));
        let back = self.branches.take(end);
        if latches[0].signalled().is_some() || apart.is_some() || ways.is_some() {
            self.branches.put(Branch {
                end: before,
                latches,
                apart,
                ways,
            });
        }
        let mut known = [Latch::default(), Latch::default()];
        if let Some(back) = back {
            known = back.latches;
            self.ways = self.ways.take().or(back.ways);
            if let Some(apart) = back.apart.filter(|_| !is_same) {
                let secrecy = self.secrecy.take().or_else(|| self.resting.take());
                self.secrecy = Some(Secrecy::rejoin(secrecy, apart));
            }
        }
        for (channel, (socket, latch)) in self.sockets.iter_mut().zip(known).enumerate() {
            socket.latch = latch.beyond(self.branches.places(channel, remote));
        }
    }

    /// The others are over.
    pub(super) fn let_branches_go(&mut self) {
        self.branches.clear();
    }

    /// By these keys from here on, or in clear; `is_agreed`, or before anything is.
    pub(super) fn secure(&mut self, now: Timestamp, wanted: Option<&LegKeys>, is_agreed: bool) {
        self.is_agreed = is_agreed;
        let known = self.secrecy.take().or_else(|| self.resting.take());
        match wanted {
            Some(wanted) => self.secrecy = Some(Secrecy::renew(now, known, wanted)),
            None => self.resting = known,
        }
    }

    /// The length of the clear packet in `scratch`; None for a side that is in clear, and for who is not heard anyway.
    pub(super) fn open(
        &mut self,
        channel: Channel,
        (from, ours): (SocketAddr, bool),
        (kind, bytes): (PacketKind, &[u8]),
        scratch: &mut [u8],
    ) -> Result<Option<usize>, SrtpError> {
        let is_admitted = self.ways.is_some() || self.sockets[channel.index()].latch.may_admit(from, ours);
        match &mut self.secrecy {
            Some(secrecy) if is_admitted => secrecy.open(kind, bytes, scratch).map(Some),
            _ => Ok(None),
        }
    }

    /// It holds by the null address.
    pub(super) const fn is_deaf(&self, channel: Channel) -> bool {
        self.sockets[channel.index()].latch.is_deaf()
    }

    /// Where what is for this leg is sent to.
    pub(super) fn destination(&self, channel: Channel) -> Option<SocketAddr> {
        let latch = &self.sockets[channel.index()].latch;
        match &self.ways {
            Some(ways) => ways.destination().filter(|_| !latch.is_deaf()),
            None => latch.destination(),
        }
    }

    /// Whether a packet is for ourselves: a check of a way, or a part of a handshake (RFC 7983 §7).
    pub(super) fn is_own(&self, channel: Channel, from: SocketAddr, bytes: &[u8]) -> bool {
        let is_shaken = || self.secrecy.as_ref().is_some_and(|secrecy| secrecy.shaking.is_some());
        match bytes {
            _ if channel != Channel::Rtp => false,
            [0..=3, ..] => rtp::is_stun(bytes) && (self.ways.is_some() || self.branches.are_named_by(bytes)),
            [20..=63, ..] => is_shaken() || self.is_of_branch(from),
            _ => false,
        }
    }

    /// Whether a part of a handshake from there is of a far end that is not heard now.
    fn is_of_branch(&self, from: SocketAddr) -> bool {
        let latch = &self.sockets[Channel::Rtp.index()].latch;
        let shaking = self.secrecy.as_ref().and_then(|secrecy| secrecy.shaking.as_ref());
        let is_here = match &self.ways {
            Some(ways) => ways.is_proved(from),
            None => latch.is_on(from) || latch.signalled() == Some(from),
        };
        let is_here = is_here || shaking.is_some_and(|shaking| shaking.is_with(from));
        !is_here && self.branches.shake_at(from)
    }

    /// False if it comes from where its peer has not been proved, or signalled, to be.
    pub(super) fn handle_own(
        &mut self,
        now: Timestamp,
        (from, ours): (SocketAddr, bool),
        bytes: &[u8],
        said: &mut Vec<Step>,
    ) -> bool {
        if let [0..=3, ..] = bytes {
            return self.check(now, from, bytes, said);
        }
        if self.is_of_branch(from) {
            return self.branches.handle_packet(now, from, bytes, said);
        }
        let is_there = match &self.ways {
            Some(ways) => ways.is_proved(from),
            None => self.sockets[Channel::Rtp.index()].latch.may_admit(from, ours),
        };
        let is_proved = self.ways.is_some();
        if let Some(shaking) = self.shaking().filter(|_| is_there) {
            let sender = Sender { at: from, is_proved };
            shaking.handle_packet(now, sender, bytes, said);
        }
        is_there
    }

    /// A check of a way, of who is heard or of another far end. False if it is of neither.
    fn check(&mut self, now: Timestamp, from: SocketAddr, bytes: &[u8], said: &mut Vec<Step>) -> bool {
        let Some((answer, here)) = self.ways.as_mut().and_then(|ways| match ways.check(from, bytes) {
            Checked::Answer(answer) => Some((answer, ways.wanted())),
            Checked::Strange => None,
        }) else {
            return self.branches.check(now, from, bytes, said);
        };
        said.push(Step::Send(from, answer));
        self.begin(now, said);
        if let (Some(shaking), Some(here)) = (self.shaking(), here) {
            shaking.follow(here);
        }
        true
    }

    /// Shakes hands, if it is we who begin and the peer can be reached.
    pub(super) fn begin(&mut self, now: Timestamp, said: &mut Vec<Step>) {
        let to = match &self.ways {
            Some(ways) => ways.here().filter(|_| !self.sockets[0].latch.is_deaf()),
            None => self.destination(Channel::Rtp),
        };
        if let (Some(shaking), Some(to)) = (self.shaking(), to) {
            shaking.begin(now, to, said);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, said: &mut Vec<Step>) {
        let due = |due: Timestamp| due <= now;
        if let Some(shaking) = self.shaking().filter(|shaking| shaking.poll_timeout().is_some_and(due)) {
            shaking.handle_timeout(now, said);
        }
        self.branches.handle_timeout(now, said);
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let shaking = self.secrecy.as_ref().and_then(|secrecy| secrecy.shaking.as_ref());
        earliest(
            shaking.and_then(|shaking| shaking.poll_timeout()),
            self.branches.poll_timeout(),
        )
    }

    pub(super) fn shaking(&mut self) -> Option<&mut Shaking> {
        self.secrecy.as_mut()?.shaking.as_deref_mut()
    }

    pub(super) fn key_by(&mut self, [theirs, ours]: [SrtpKey; 2]) {
        if let Some(secrecy) = &mut self.secrecy {
            secrecy.key_by(theirs, ours);
        }
    }

    pub(super) fn settle(&mut self, remotes: [Option<SocketAddr>; 2], origin: Origin, deaf: bool) {
        for (socket, remote) in self.sockets.iter_mut().zip(remotes) {
            if socket.binding == Binding::Fresh {
                socket.binding = Binding::Kept;
            }
            socket.latch.signal(remote, origin, deaf);
        }
    }
}
