//! Who of the strangers that are heard behind NAT is the party: who speaks on, packet after packet (the probation of RFC 3550 §A.1).

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{Leg, LinePlan, MediaKind, Timestamp};
use crate::rtp::is_stun;

/// Packets in sequence by which a source proves itself; RFC 3550 has 2, which a sprayer meets sooner.
const RUN_PACKETS: u8 = 5;
/// They come as media does, one this long after the other at most, which packets of 100 ms keep: a sweep of all ports takes longer.
const PACE: Duration = Duration::from_millis(130);
/// So many are proof at any pace on a line of text (RFC 4103), which comes when somebody types.
const SLOW_PACKETS: u8 = 25;
/// So many packets may be lost or overtaken in a sequence.
const REACH: u16 = 5;

/// A packet's place in its stream, as RTP tells it (RFC 3550 §5.1), and its arrival.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    ssrc: [u8; 4],
    sequence: u16,
    at: Timestamp,
    medium: Medium,
}

/// What a line carries, by its description: that says which numbers its packets have. Their first byte does not, for any may begin a fax'.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Medium {
    /// RTP: sound and pictures, which have a pace.
    #[default]
    Paced,
    /// RTP that comes when it is typed.
    Text,
    /// No RTP, but numbered as that is (T.38 §9.1). Other protocols are by chance: it counts for who is to take the lock alone.
    Fax,
}

impl Medium {
    /// `is_rtp`: its description names formats of RTP.
    pub(crate) const fn of(kind: MediaKind, is_rtp: bool) -> Self {
        match kind {
            MediaKind::Audio | MediaKind::Video => Self::Paced,
            MediaKind::Other if is_rtp => Self::Text,
            MediaKind::Other => Self::Fax,
        }
    }
}

impl From<&LinePlan> for Medium {
    fn from(line: &LinePlan) -> Self {
        let is_rtp = Leg::BOTH.iter().any(|leg| !line.leg(*leg).formats.is_empty());
        Self::of(line.kind, is_rtp)
    }
}

/// What a packet shows of who sent it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Evidence {
    Nothing,
    /// It may go on with a sequence.
    Numbered(Place),
    /// By its tag (RFC 3711 §3.3): it is of who has the key.
    Verified,
}

impl Evidence {
    /// Of a packet on an RTP port, in clear. `is_rtcp`: it looks like that.
    pub(crate) fn of(medium: Medium, is_rtcp: bool, at: Timestamp, packet: &[u8]) -> Self {
        let place = Place::on(medium, at, packet).filter(|_| !is_rtcp || medium == Medium::Fax);
        place.map_or(Self::Nothing, Self::Numbered)
    }

    pub(super) const fn place(self) -> Option<Place> {
        match self {
            Self::Numbered(place) => Some(place),
            Self::Nothing | Self::Verified => None,
        }
    }
}

impl Place {
    fn on(medium: Medium, at: Timestamp, packet: &[u8]) -> Option<Self> {
        let (ssrc, sequence) = match packet {
            [high, low, _, ..] if medium == Medium::Fax && !is_stun(packet) => ([0; 4], [*high, *low]),
            _ if medium == Medium::Fax => return None,
            _ => match packet.first_chunk::<12>()? {
                [0x80..=0xBF, _, high, low, _, _, _, _, ssrc @ ..] => (*ssrc, [*high, *low]),
                _ => return None,
            },
        };
        Some(Self {
            ssrc,
            sequence: u16::from_be_bytes(sequence),
            at,
            medium,
        })
    }
}

/// What a packet is to a sequence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    Ahead,
    /// Overtaken.
    Late,
    /// Of one that came, or from before the first.
    Again,
    Apart,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Run {
    from: SocketAddr,
    newest: Place,
    /// Which came: bit 0 is the newest, bit 1 the one before.
    came: u8,
    length: u8,
    /// Of these, without a pause.
    dense: u8,
}

impl Run {
    const fn begun(from: SocketAddr, newest: Place) -> Self {
        Self {
            from,
            newest,
            came: u8::MAX,
            length: 1,
            dense: 1,
        }
    }

    fn take(&mut self, place: Place) -> Next {
        let ahead = place.sequence.wrapping_sub(self.newest.sequence);
        let behind = ahead.wrapping_neg();
        if place.ssrc != self.newest.ssrc {
            return Next::Apart;
        }
        if (1..=REACH).contains(&ahead) {
            let is_dense = place.at.since(self.newest.at) <= PACE;
            self.dense = if is_dense { self.dense.saturating_add(1) } else { 1 };
            self.length = self.length.saturating_add(1);
            self.came = self.came << ahead | 1;
            self.newest = place;
            return Next::Ahead;
        }
        if behind > REACH {
            return Next::Apart;
        }
        let is_again = self.came >> behind & 1 == 1;
        self.came |= 1 << behind;
        if is_again { Next::Again } else { Next::Late }
    }

    const fn is_proof(&self) -> bool {
        self.dense >= RUN_PACKETS || matches!(self.newest.medium, Medium::Text) && self.length >= SLOW_PACKETS
    }
}

/// Of the stranger that holds the lock, and of one that may take it.
///
/// | holder | its packet | another stranger's |
/// |---|---|---|
/// | has not proved itself | taken if it goes on with its sequence, or with that of its second SSRC, and is no copy | refused; by its fifth in a row, with none of a sequence of the holder between that comes as media does, it takes the lock |
/// | has proved itself | taken | refused |
///
/// So who has one packet in each sweep of all ports may be heard with it until the party speaks, and does not hinder that.
///
/// What is no RTP has no place, but on a line of fax: the holder's is taken, and another's proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probation {
    has_proved: bool,
    /// Of two streams, for sound and its repair (RFC 4588, RFC 8627) come by turns.
    holder: [Option<Run>; 2],
    other: Option<Run>,
}

impl Probation {
    /// `from` has the lock.
    pub(super) fn begin(from: SocketAddr, place: Option<Place>) -> Self {
        Self {
            holder: [place.map(|place| Run::begun(from, place)), None],
            ..Self::default()
        }
    }

    /// Who has the lock is as good as any.
    pub(super) fn trusted() -> Self {
        Self {
            has_proved: true,
            ..Self::default()
        }
    }

    /// Whether a packet of the holder is taken.
    pub(super) fn admits_holder(&mut self, from: SocketAddr, place: Option<Place>) -> bool {
        if self.has_proved {
            self.other = None;
            return true;
        }
        let Some(place) = place.filter(|place| place.medium != Medium::Fax) else {
            return true;
        };
        let is_first = self.holder == [None; 2];
        let run = self.run_of(place.ssrc);
        if !run.is_some_and(|run| run.newest.ssrc == place.ssrc) {
            *run = Some(Run::begun(from, place));
            return is_first;
        }
        let run = run.get_or_insert(Run::begun(from, place));
        let next = run.take(place);
        if next == Next::Apart {
            *run = Run::begun(from, place);
        }
        let run = *run;
        if next == Next::Ahead {
            self.has_proved = run.is_proof();
            // What comes at its own pace may be a sweep's.
            self.other = self.other.filter(|_| run.dense == 1);
        }
        matches!(next, Next::Ahead | Next::Late)
    }

    /// The holder's by this SSRC, or the one that makes room for it: the shorter, of two the older.
    fn run_of(&mut self, ssrc: [u8; 4]) -> &mut Option<Run> {
        let is_it = |run: &Option<Run>| run.is_some_and(|run| run.newest.ssrc == ssrc);
        let worth = |run: &Option<Run>| run.map(|run| (run.length, run.newest.at));
        let [first, second] = &mut self.holder;
        if is_it(first) || !is_it(second) && worth(first) < worth(second) {
            first
        } else {
            second
        }
    }

    /// Whether who holds the lock has shown to be who it is by what it says.
    pub(super) const fn has_proved(&self) -> bool {
        self.has_proved
    }

    /// Whether another stranger takes the lock by this packet.
    pub(super) fn yields_to(&mut self, from: SocketAddr, place: Option<Place>) -> bool {
        let is_proved = !self.has_proved && self.is_outrun_by(from, place);
        if is_proved {
            *self = Self::trusted();
        }
        is_proved
    }

    /// Whether another stranger has spoken on, with nothing of the holder between.
    pub(super) fn is_outrun_by(&mut self, from: SocketAddr, place: Option<Place>) -> bool {
        let Some(place) = place else { return false };
        match &mut self.other {
            Some(run) if run.from == from => {
                if run.take(place) == Next::Apart {
                    *run = Run::begun(from, place);
                }
            }
            // Others that come between count against it: who says most is tried.
            Some(run) if run.dense > 1 => run.dense -= 1,
            other => *other = Some(Run::begun(from, place)),
        }
        self.other.is_some_and(|run| run.from == from && run.is_proof())
    }
}

#[cfg(test)]
mod tests;
