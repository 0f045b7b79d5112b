//! How a seed decides: all times are near the times of others, so that things cross.

use std::time::Duration;

use super::rng::Rng;
use super::script::{
    Calling, Doubt, Fork, Grade, Intrusion, Nature, Quality, Rel100, Script, Step, Studio, Third, Trouble,
};
use super::seat::Seat;

const GRADES: [Grade; 5] = [
    Grade::Strict,
    Grade::Strict,
    Grade::Strict,
    Grade::Lenient,
    Grade::Exempt,
];

const REL100: [Rel100; 8] = [
    Rel100::Unknown,
    Rel100::Unknown,
    Rel100::Supported,
    Rel100::Supported,
    Rel100::Supported,
    Rel100::Supported,
    Rel100::Supported,
    Rel100::Required,
];

pub fn draw(rng: &mut Rng) -> Script {
    let forks = draw_forks(rng);
    let answer = forks.iter().filter_map(answers_at).min();
    let calling = draw_calling(rng, answer);
    let answer = answer.unwrap_or(Duration::from_secs(2));
    let mut script = Script {
        grade: *rng.pick(&GRADES),
        links: draw_links(rng),
        streams: [rng.one_in(5), rng.one_in(5), rng.one_in(5)],
        natures: [draw_nature(rng), draw_nature(rng), draw_nature(rng)],
        calling,
        forks,
        third: draw_third(rng, answer),
        doubt: rng.one_in(6).then(|| Doubt {
            status: *rng.pick(&[401, 407]),
            of_proxy: rng.one_in(2),
        }),
        trying: !rng.one_in(4),
        bounces: rng.one_in(2),
        studio: draw_studio(rng),
        troubles: Vec::new(),
        session_interval: rng.one_in(2).then(|| Duration::from_secs(*rng.pick(&[90, 120, 1_800]))),
        follows: rng.one_in(2),
        executes: rng.one_in(3),
    };
    if script.third == Third::Spare {
        // The carrier's addresses are reached in one way.
        script.streams[2] = script.streams[1];
    }
    script.natures[0].mute_acks = rng.one_in(40);
    script.natures[1].interval_min = rng.one_in(6).then(|| 95 + rng.below(400));
    script.natures[2].interval_min = rng.one_in(12).then(|| 95 + rng.below(400));
    script.troubles = draw_troubles(rng, answer);
    script.troubles.extend(draw_breaks(rng, &script, answer));
    let restart = draw_restart(rng, answer);
    if !restart.is_empty() {
        // One long call, so that there is something to take over.
        for nature in &mut script.natures {
            (nature.pace_ms, nature.acts) = (nature.pace_ms.max(2_000), nature.acts + 2);
        }
        (script.calling.cancel_at, script.calling.bye_early_at) = (None, None);
        script.calling.subscribe_at = None;
        if rng.one_in(2) {
            script.third = Third::Spare;
        }
    }
    script.troubles.extend(restart);
    script
}

fn draw_third(rng: &mut Rng, answer: Duration) -> Third {
    let near = |rng: &mut Rng| {
        if rng.one_in(2) {
            about(rng, answer)
        } else {
            answer + moment(rng)
        }
    };
    match rng.below(8) {
        0..3 => Third::Spare,
        3..5 => Third::Target,
        5 => Third::Consulted(near(rng)),
        _ => {
            let at = near(rng);
            Third::Intruder(
                at,
                *rng.pick(&[Intrusion::Replaces, Intrusion::ReplacesEarly, Intrusion::Join]),
            )
        }
    }
}

/// Connections that break: at the worst moments, or again and again.
fn draw_breaks(rng: &mut Rng, script: &Script, answer: Duration) -> Vec<(Duration, Trouble)> {
    let mut breaks = Vec::new();
    for seat in Seat::ALL.into_iter().filter(|seat| script.streams[seat.index()]) {
        for _ in 0..rng.below(4) {
            let at = match rng.below(3) {
                0 => moment(rng),
                1 => about(rng, answer),
                _ => answer + moment(rng),
            };
            breaks.push((at, Trouble::Breaks(seat)));
        }
    }
    breaks
}

fn draw_links(rng: &mut Rng) -> [Quality; 3] {
    if rng.one_in(2) {
        return [draw_quality(rng), draw_quality(rng), draw_quality(rng)];
    }
    [draw_quality(rng); 3]
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
        rel100: *rng.pick(&REL100),
        updates: !rng.one_in(4),
        stubborn: rng.one_in(12),
        acts: rng.below(5) as u32,
        pace_ms: *rng.pick(&[0, 20, 100, 500, 3_000]),
        hangs_up: rng.one_in(2),
        slow: rng.one_in(4),
        declines: if rng.one_in(4) { 300 } else { 0 },
        mute_acks: false,
        hasty: rng.one_in(10),
        interval_min: None,
        timer: rng.one_in(6).then(|| 60 + rng.below(120)),
        aware: false,
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
        subscribe_at: rng.one_in(16).then(|| moment(rng)),
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
        0 => Some(Step::Reject(
            *rng.pick(&[302, 302, 404, 480, 486, 488, 500, 503, 503, 603]),
        )),
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

/// A phone that just rings, and is picked up or not.
pub fn draw_lone(rng: &mut Rng) -> Fork {
    let ring = Step::Ring {
        sdp: rng.one_in(2),
        reliable: rng.one_in(2),
    };
    let last = match rng.below(8) {
        0 => Step::Reject(*rng.pick(&[302, 486, 503])),
        _ => Step::Accept,
    };
    Fork {
        steps: vec![(moment(rng), ring), (moment(rng), last)],
    }
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
        breaks_off_prompts: false,
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
        match rng.below(16) {
            12 | 13 => troubles.push((at, Trouble::Policies(*rng.pick(&GRADES)))),
            14 => troubles.extend([(at, Trouble::Drain), (mended, Trouble::Admit)]),
            15 => troubles.extend([
                (
                    at,
                    Trouble::Trunks {
                        without_b: rng.one_in(2),
                    },
                ),
                (mended, Trouble::Trunks { without_b: false }),
            ]),
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
