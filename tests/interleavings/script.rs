//! What a seed decides before the first message: who the phones are, what the links do, what goes wrong and when.

use std::time::Duration;

use super::seat::Seat;

/// Everything that a seed decides.
#[derive(Clone, Debug)]
pub struct Script {
    pub grade: Grade,
    pub links: [Quality; 3],
    /// Who talks by TCP.
    pub streams: [bool; 3],
    /// Of A, B and C.
    pub natures: [Nature; 3],
    pub calling: Calling,
    pub forks: Vec<Fork>,
    pub third: Third,
    /// B asks for credentials.
    pub doubt: Option<Doubt>,
    /// The far side says 100.
    pub trying: bool,
    /// A datagram to a dead phone comes back (ICMP port unreachable).
    pub bounces: bool,
    pub studio: Studio,
    pub troubles: Vec<(Duration, Trouble)>,
    /// The proxy asks for session timers of this interval (RFC 4028).
    pub session_interval: Option<Duration>,
    /// The proxy follows redirections itself.
    pub follows: bool,
    /// It executes REFERs itself.
    pub executes: bool,
}

/// What C is in this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Third {
    /// The carrier's second address.
    Spare,
    /// A party whom others may be sent on to.
    Target,
    /// A calls it too, and joins it with B (RFC 3515 with Replaces).
    Consulted(Duration),
    /// It calls into the dialog of another (RFC 3891, RFC 3911).
    Intruder(Duration, Intrusion),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Intrusion {
    Replaces,
    /// Only while it rings.
    ReplacesEarly,
    Join,
}

/// Who is asked for credentials (RFC 3261 §22).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Doubt {
    pub status: u16,
    /// The proxy has the credentials; else the caller is to bring them.
    pub of_proxy: bool,
}

/// What the policy wants.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Grade {
    Strict,
    Lenient,
    Exempt,
}

/// What a link does to datagrams, in thousandths and milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    pub delay_ms: u64,
    pub jitter_ms: u64,
}

/// How a phone is made and what its owner likes.
#[derive(Clone, Debug)]
pub struct Nature {
    /// Falls silent for ever.
    pub dies_at: Option<Duration>,
    pub rel100: Rel100,
    pub updates: bool,
    /// Uses methods that the other side does not allow.
    pub stubborn: bool,
    /// What it does in the call before it hangs up.
    pub acts: u32,
    pub pace_ms: u64,
    /// Otherwise it leaves that to the other, for a while.
    pub hangs_up: bool,
    /// Thinks about a re-INVITE.
    pub slow: bool,
    /// Of a thousand re-INVITEs and UPDATEs it declines so many.
    pub declines: u64,
    /// Its ACKs to a 2xx never arrive.
    pub mute_acks: bool,
    /// Sends re-INVITEs while one is under way, which RFC 3261 §14.1 forbids.
    pub hasty: bool,
    /// Shorter session intervals it refuses with 422.
    pub interval_min: Option<u64>,
    /// Seconds of a session interval (RFC 4028).
    pub timer: Option<u64>,
    /// Reads what descriptions say of the recording (RFC 7866).
    pub aware: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rel100 {
    Unknown,
    Supported,
    Required,
}

#[derive(Clone, Debug)]
pub struct Calling {
    pub late_offer: bool,
    pub cancel_at: Option<Duration>,
    /// Ends an early dialog by BYE (RFC 3261 §15).
    pub bye_early_at: Option<Duration>,
    /// Something early in an early dialog.
    pub update_early_at: Option<Duration>,
    /// OPTIONS, MESSAGE or PUBLISH beside the call.
    pub outside_at: Option<Duration>,
    /// SUBSCRIBE beside the call.
    pub subscribe_at: Option<Duration>,
}

/// One phone behind the far side's forking proxy.
#[derive(Clone, Debug)]
pub struct Fork {
    /// Each so long after the one before; the first after the INVITE.
    pub steps: Vec<(Duration, Step)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// 180 or 183; with SDP; reliably if that is possible.
    Ring {
        sdp: bool,
        reliable: bool,
    },
    Update,
    Accept,
    Reject(u16),
}

/// The recorder and the relay while they are well.
#[derive(Clone, Debug)]
pub struct Studio {
    /// None: no answer ever.
    pub ready_after: Option<Duration>,
    pub open_fails: bool,
    pub opened_after: Option<Duration>,
    pub bind_fails: bool,
    pub closed_after: Option<Duration>,
    pub sealed_after: Option<Duration>,
    pub accepted: u64,
    /// No prompt comes to its end.
    pub breaks_off_prompts: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    Down,
    Up,
    /// This recording alone.
    Faulted,
    /// Heartbeats stop, and come again.
    Hangs,
    Wakes,
    /// The relay could not hand over a packet.
    Refused,
    /// The next port cannot be bound.
    NoPort,
    Drain,
    Admit,
    ShutDown,
    /// Another generation of policies.
    Policies(Grade),
    /// Other trunks: B's is gone, or all are as before.
    Trunks {
        without_b: bool,
    },
    /// The connections of a phone break.
    Breaks(Seat),
    /// The process is killed, and starts again.
    Killed,
    /// The process hands its calls over to the next.
    HandsOver,
    /// The end of the time that peers have to answer.
    LetsGo,
    Starts,
}
