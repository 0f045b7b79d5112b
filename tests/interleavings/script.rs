//! What a seed decides before the first message: who the phones are, what the links do, what goes wrong and when.

use std::time::Duration;

use super::rng::Rng;

/// Everything that a seed decides.
#[derive(Clone, Debug)]
pub struct Script {
    pub grade: Grade,
    pub links: [Quality; 2],
    pub caller: Nature,
    pub calling: Calling,
    pub callee: Nature,
    pub forks: Vec<Fork>,
    /// The far side asks for credentials first.
    pub challenge: Option<u16>,
    /// The far side says 100.
    pub trying: bool,
    pub studio: Studio,
    pub troubles: Vec<(Duration, Trouble)>,
    /// The proxy asks for session timers of this interval (RFC 4028).
    pub session_interval: Option<Duration>,
    /// The proxy follows redirections itself.
    pub follows: bool,
    /// It executes REFERs itself.
    pub executes: bool,
}

/// What the policy wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    /// Seconds of a session interval (RFC 4028).
    pub timer: Option<u64>,
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
    /// OPTIONS or MESSAGE beside the call.
    pub outside_at: Option<Duration>,
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
    ShutDown,
    /// The process is killed, and starts again.
    Killed,
    /// The process hands its calls over to the next.
    HandsOver,
    Starts,
}

pub fn draw(rng: &mut Rng) -> Script {
    let forks = draw_forks(rng);
    let answer = forks.iter().filter_map(answers_at).min();
    let calling = draw_calling(rng, answer);
    let mut script = Script {
        grade: *rng.pick(&[
            Grade::Strict,
            Grade::Strict,
            Grade::Strict,
            Grade::Lenient,
            Grade::Exempt,
        ]),
        links: draw_links(rng),
        caller: draw_nature(rng),
        calling,
        callee: draw_nature(rng),
        forks,
        challenge: rng.one_in(12).then(|| *rng.pick(&[401, 407])),
        trying: !rng.one_in(4),
        studio: draw_studio(rng),
        troubles: Vec::new(),
        session_interval: rng.one_in(2).then(|| Duration::from_secs(*rng.pick(&[90, 120, 1_800]))),
        follows: rng.one_in(2),
        executes: false,
    };
    script.caller.mute_acks = rng.one_in(40);
    let answer = answer.unwrap_or(Duration::from_secs(2));
    script.troubles = draw_troubles(rng, answer);
    let restart = draw_restart(rng, answer);
    if !restart.is_empty() {
        // Long calls, so that there is something to take over.
        for nature in [&mut script.caller, &mut script.callee] {
            (nature.pace_ms, nature.acts) = (nature.pace_ms.max(2_000), nature.acts + 2);
        }
        (script.calling.cancel_at, script.calling.bye_early_at) = (None, None);
    }
    script.troubles.extend(restart);
    script.executes = rng.one_in(2);
    script
}

fn draw_links(rng: &mut Rng) -> [Quality; 2] {
    if rng.one_in(2) {
        return [draw_quality(rng), draw_quality(rng)];
    }
    let quality = draw_quality(rng);
    [quality, quality]
}

fn draw_quality(rng: &mut Rng) -> Quality {
    let quality = |lost, doubled, reordered, delay_ms, jitter_ms| Quality {
        lost,
        doubled,
        reordered,
        delay_ms,
        jitter_ms,
    };
    match rng.below(8) {
        0..3 => quality(0, 0, 0, 1 + rng.below(20), 0),
        3 => quality(10, 10, 50, 10, 40),
        4 => quality(0, 200, 300, 5, 900),
        5 => quality(50, 20, 200, 40, 200),
        6 => quality(150, 100, 200, 5, 700),
        _ => quality(250, 50, 100, 150, 300),
    }
}

/// A time that others are likely to draw too.
fn moment(rng: &mut Rng) -> Duration {
    let base = *rng.pick(&[0, 1, 5, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000]);
    Duration::from_millis(base) + rng.millis(0..=base / 8)
}

/// Near `at`: a little before or after.
fn about(rng: &mut Rng, at: Duration) -> Duration {
    let early = rng.millis(0..=60).min(at);
    if rng.one_in(2) {
        at - early
    } else {
        at + rng.millis(0..=250)
    }
}

fn draw_nature(rng: &mut Rng) -> Nature {
    Nature {
        dies_at: rng.one_in(16).then(|| moment(rng) + moment(rng)),
        rel100: *rng.pick(&[Rel100::Unknown, Rel100::Supported, Rel100::Supported, Rel100::Supported]),
        updates: !rng.one_in(4),
        stubborn: rng.one_in(12),
        acts: rng.below(5) as u32,
        pace_ms: *rng.pick(&[0, 20, 100, 500, 3_000]),
        hangs_up: rng.one_in(2),
        slow: rng.one_in(4),
        declines: if rng.one_in(4) { 300 } else { 0 },
        mute_acks: false,
        timer: rng.one_in(8).then(|| 90 + rng.below(90)),
    }
}

fn draw_calling(rng: &mut Rng, answer: Option<Duration>) -> Calling {
    let cancel_at = match (rng.below(8), answer) {
        (0, _) | (1, None) => Some(moment(rng)),
        (1 | 2, Some(answer)) => Some(about(rng, answer)),
        (_, None) => Some(Duration::from_secs(20 + rng.below(250))),
        _ => None,
    };
    Calling {
        late_offer: rng.one_in(6),
        cancel_at,
        bye_early_at: rng
            .one_in(24)
            .then(|| answer.map_or(Duration::from_secs(1), |answer| about(rng, answer))),
        update_early_at: rng.one_in(6).then(|| moment(rng)),
        outside_at: rng.one_in(16).then(|| moment(rng)),
    }
}

fn draw_forks(rng: &mut Rng) -> Vec<Fork> {
    let count = *rng.pick(&[1, 1, 1, 1, 1, 2, 2, 3, 4]);
    let together = rng.one_in(2).then(|| moment(rng));
    (0..count).map(|_| draw_fork(rng, together)).collect()
}

fn draw_fork(rng: &mut Rng, together: Option<Duration>) -> Fork {
    let mut steps = Vec::new();
    for _ in 0..rng.below(4) {
        let step = if rng.one_in(6) {
            Step::Update
        } else {
            Step::Ring {
                sdp: rng.one_in(2),
                reliable: rng.one_in(2),
            }
        };
        steps.push((moment(rng), step));
    }
    let last = match rng.below(10) {
        0 => Some(Step::Reject(*rng.pick(&[302, 404, 480, 486, 488, 500, 503, 603]))),
        1 => None,
        _ => Some(Step::Accept),
    };
    // Forks that pick up at one moment.
    let delay = match together {
        Some(at) => at.saturating_sub(steps.iter().map(|(after, _)| *after).sum()) + rng.millis(0..=30),
        None => moment(rng),
    };
    steps.extend(last.map(|last| (delay, last)));
    Fork { steps }
}

fn answers_at(fork: &Fork) -> Option<Duration> {
    let accepts = fork.steps.last().is_some_and(|(_, step)| *step == Step::Accept);
    accepts.then(|| fork.steps.iter().map(|(after, _)| *after).sum())
}

fn draw_studio(rng: &mut Rng) -> Studio {
    let quick = |rng: &mut Rng| Duration::from_millis(*rng.pick(&[0, 0, 0, 1, 10, 40]));
    let ready_after = match rng.below(24) {
        0 => None,
        1 => Some(Duration::from_millis(1_950 + rng.below(100))),
        2 => Some(rng.millis(0..=1_000)),
        _ => Some(quick(rng)),
    };
    let opened_after = match rng.below(40) {
        0 => None,
        1 => Some(rng.millis(0..=2_500)),
        _ => Some(quick(rng)),
    };
    Studio {
        ready_after,
        open_fails: rng.one_in(32),
        opened_after,
        bind_fails: rng.one_in(48),
        closed_after: if rng.one_in(40) { None } else { Some(quick(rng)) },
        sealed_after: if rng.one_in(24) { None } else { Some(quick(rng)) },
        accepted: if rng.one_in(4) { 0 } else { 10 },
    }
}

fn draw_restart(rng: &mut Rng, answer: Duration) -> Vec<(Duration, Trouble)> {
    if !rng.one_in(20) {
        return Vec::new();
    }
    let at = answer + moment(rng);
    let end = *rng.pick(&[Trouble::Killed, Trouble::HandsOver]);
    vec![(at, end), (at + Duration::from_secs(1) + moment(rng), Trouble::Starts)]
}

fn draw_troubles(rng: &mut Rng, answer: Duration) -> Vec<(Duration, Trouble)> {
    let mut troubles = Vec::new();
    if !rng.one_in(3) {
        return troubles;
    }
    for _ in 0..=rng.below(2) {
        let at = match rng.below(4) {
            0 => moment(rng),
            1 => about(rng, answer),
            2 => answer + moment(rng),
            _ => about(rng, answer) + Duration::from_millis(50),
        };
        let mended = at + moment(rng) + moment(rng);
        match rng.below(12) {
            0..4 => troubles.extend([(at, Trouble::Down), (mended, Trouble::Up)]),
            4 => troubles.push((at, Trouble::Down)),
            5 | 6 => troubles.push((at, Trouble::Faulted)),
            7 | 8 => troubles.extend([(at, Trouble::Hangs), (mended, Trouble::Wakes)]),
            9 => troubles.push((at, Trouble::NoPort)),
            10 if rng.one_in(2) => troubles.push((at, *rng.pick(&[Trouble::Drain, Trouble::ShutDown]))),
            _ => troubles.push((at, Trouble::Refused)),
        }
    }
    troubles
}
