//! The law: what every dialog has to keep, read off the wire and the commands, message by message.
//!
//! `heard` takes what reaches the proxy, `requests` and `responses` judge what it sends, `tapes` what it tells the recorder
//! and the relay, `endings` what is owed when something fails and when all is over.

mod endings;
mod heard;
mod requests;
mod responses;
mod tapes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use onrecord::model::{Outcome, SessionId, Timestamp};
use onrecord::sip::Flow;

use super::phone::{GIVE_UP, T1, T2};
use super::script::Grade;
use super::seat::Seat;
use super::text::Heard;

/// In place of a status: the process that owed the answer was killed.
const LOST: u16 = 1;
/// From a fault to the BYE on both legs.
const FAULT_TO_BYE: Duration = Duration::from_millis(250);

/// A request that the proxy got.
#[derive(Debug)]
struct Served {
    seat: Seat,
    branch: String,
    call_id: String,
    cseq: u32,
    method: String,
    flow: Flow,
    opens: bool,
    trying: bool,
    status: u16,
    tag: String,
    owed_by: Option<Timestamp>,
    bond: Option<usize>,
    /// How often it came, and how often its final answer went out; both when its ACK came first.
    copies: u32,
    finals: u32,
    at_ack: Option<(u32, u32)>,
    /// With the process that got it: another may answer it once more.
    lost: bool,
}

/// A request that the proxy sent.
#[derive(Debug)]
struct Sent {
    branch: String,
    method: String,
    text: String,
    at: Timestamp,
    flow: Flow,
    /// How often it went out.
    copies: u32,
    rung: bool,
    cancelled: Option<Timestamp>,
    answered: Option<(Timestamp, u16)>,
    /// How often a refusal came, and how often its ACK went out.
    refusals: u32,
    acks: u32,
    bond: Option<usize>,
    /// With the process that sent it, or with its connection.
    lost: bool,
    /// With the process: the next one acknowledges its 2xx all the same (RFC 3261 §13.2.2.4).
    killed: bool,
}

impl Sent {
    /// Whether a 2xx that comes now finds its transaction (RFC 3261 §9.1, §17.1.1.2, RFC 6026 §7.2).
    fn awaits(&self, now: Timestamp) -> bool {
        if self.lost {
            return false;
        }
        match (self.answered, self.cancelled, self.rung) {
            (Some((at, status)), _, _) => status < 300 && now < at + GIVE_UP,
            (None, Some(at), _) => now < at + GIVE_UP,
            (None, None, true) => true,
            (None, None, false) => now < self.at + GIVE_UP,
        }
    }

    /// It goes out once more: what of Timers A, E and B, F that breaks (RFC 3261 §17.1.1.2, §17.1.2.2).
    fn repeat(&mut self, now: Timestamp) -> Option<&'static str> {
        let is_invite = self.method == "INVITE";
        let step = |number: u32| {
            let grown = T1 * 2_u32.pow(number);
            if is_invite { grown } else { grown.min(T2) }
        };
        let due = self.at + (0..self.copies).map(step).sum::<Duration>();
        self.copies += 1;
        if self.flow.transport.is_stream() {
            Some("a request sent again on a connection")
        } else if self.answered.is_some() {
            Some("a request sent again after its final answer")
        } else if is_invite && self.rung {
            Some("an INVITE sent again after a provisional answer")
        } else if now < due {
            Some("a request sent again too early")
        } else if now >= self.at + GIVE_UP {
            Some("a request sent again for too long")
        } else {
            None
        }
    }
}

/// A dialog of the proxy.
#[derive(Debug)]
struct Bond {
    seat: Seat,
    /// The proxy sent its INVITE.
    by_us: bool,
    call_id: String,
    ours: String,
    theirs: String,
    /// Of the proxy's last request.
    cseq: u32,
    invite: u32,
    confirmed: Option<Timestamp>,
    acknowledged: bool,
    byes: u32,
    bye_heard: bool,
    /// A BYE of ours went down with its connection.
    bye_lost: bool,
    /// With the process that had it: nobody knows it any more.
    forgotten: bool,
    owed_by: Option<Timestamp>,
}

impl Bond {
    /// Both sides know that they talk.
    const fn is_up(&self) -> bool {
        self.confirmed.is_some() && self.acknowledged
    }

    fn is_ended(&self) -> bool {
        self.byes > 0 || self.bye_heard
    }
}

/// A 2xx to an INVITE of the proxy's.
#[derive(Debug)]
struct Success {
    seat: Seat,
    call_id: String,
    tag: String,
    cseq: u32,
    /// How often it came, and its ACK went out.
    copies: u32,
    acks: u32,
    /// By a process that is gone.
    lost: bool,
}

#[derive(Debug)]
struct Tape {
    session: SessionId,
    /// A's, B's, and those of INVITEs to B that it kept while it was open: later attempts of the same call.
    call_ids: Vec<String>,
    /// The INVITE that it began with.
    invite: Option<usize>,
    opens: u32,
    ready: bool,
    closed: u32,
    kept: u32,
    outcome: Option<Outcome>,
    relays: bool,
    shut: bool,
    /// Its callee has answered.
    answered: bool,
    /// Where the first line of the newest plan sends to A, to B.
    remotes: [Option<SocketAddr>; 2],
}

impl Tape {
    const fn is_open(&self) -> bool {
        self.closed + self.kept == 0
    }

    /// A dialog has gone over from one of the two to the other, or a caller has called again.
    fn shares_dialogs(&self, other: &Self) -> bool {
        self.session != other.session && self.call_ids.iter().any(|id| other.call_ids.contains(id))
    }
}

#[derive(Debug)]
pub struct Law {
    /// What the policies wanted since the beginning.
    grades: BTreeSet<Grade>,
    served: Vec<Served>,
    sent: Vec<Sent>,
    bonds: Vec<Bond>,
    /// Call-IDs of subscriptions beside calls.
    watches: BTreeSet<String>,
    successes: Vec<Success>,
    tapes: Vec<Tape>,
    /// Where anybody said that they hear.
    named: BTreeSet<SocketAddr>,
    /// The same by Call-ID.
    named_in: BTreeMap<String, BTreeSet<SocketAddr>>,
    connected: bool,
    /// A caller has ended an early dialog (RFC 3261 §15): only then may the proxy, which is a caller to B.
    ends_early: bool,
    /// A kill leaves no record of a call that nobody recorded.
    pub loses_outcomes: bool,
    /// The proxy executes transfers: a dialog may go over to another call.
    pub exchanges_parties: bool,
    /// The process has let go of its calls, for the next.
    pub handed_over: bool,
    pub broken: Vec<String>,
    pub seen: BTreeSet<&'static str>,
}

impl Law {
    pub fn new(grade: Grade) -> Self {
        Self {
            grades: BTreeSet::from([grade]),
            served: Vec::new(),
            sent: Vec::new(),
            bonds: Vec::new(),
            watches: BTreeSet::new(),
            successes: Vec::new(),
            tapes: Vec::new(),
            named: BTreeSet::new(),
            named_in: BTreeMap::new(),
            connected: false,
            ends_early: false,
            loses_outcomes: false,
            exchanges_parties: false,
            handed_over: false,
            broken: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Other policies, for calls from now on; which calls that are depends on what changes in them.
    pub fn on_policies(&mut self, grade: Grade) {
        self.grades.insert(grade);
    }

    /// All that was ever wanted.
    fn is_strict(&self) -> bool {
        self.grades.iter().all(|grade| *grade == Grade::Strict)
    }

    fn break_by(&mut self, law: &str, heard: &Heard) {
        self.broken.push(format!("{law}: {}", heard.told()));
    }

    fn bond_of(&self, seat: Seat, call_id: &str, ours: &str, theirs: &str) -> Option<usize> {
        self.bonds
            .iter()
            .position(|bond| bond.seat == seat && bond.call_id == call_id && bond.ours == ours && bond.theirs == theirs)
    }

    fn make_bond(&mut self, seat: Seat, by_us: bool, heard: &Heard, [ours, theirs]: [&str; 2]) -> usize {
        self.bond_of(seat, &heard.call_id, ours, theirs).unwrap_or_else(|| {
            self.bonds.push(Bond {
                seat,
                by_us,
                call_id: heard.call_id.clone(),
                ours: ours.to_owned(),
                theirs: theirs.to_owned(),
                cseq: if by_us { heard.cseq } else { 0 },
                invite: heard.cseq,
                confirmed: None,
                acknowledged: false,
                byes: 0,
                bye_heard: false,
                bye_lost: false,
                forgotten: false,
                owed_by: None,
            });
            self.bonds.len() - 1
        })
    }
}
