//! Anything in any order: a strict session is relayed only as far as it was recorded.

use proptest::prelude::*;

use super::*;

/// What may happen to a plane, drawn at random.
#[derive(Clone, Debug)]
enum Step {
    Packet {
        token: u64,
        line: usize,
        leg: bool,
        rtcp: bool,
        from: u8,
        bytes: Vec<u8>,
    },
    Plan {
        open: bool,
        recorded: Recorded,
        lines: Vec<(u16, u8, u8)>,
    },
    Gate(bool),
    Close,
    Recorder(Option<Fault>, bool),
    Taken(Option<u16>),
}

fn sources(choice: u8) -> &'static str {
    [
        A,
        B,
        INJECTOR,
        "192.0.2.1:4001",
        "198.51.100.1:6001",
        "192.0.2.1:9",
        "0.0.0.0:4000",
        "[::1]:4000",
    ][choice as usize % 8]
}

fn step() -> impl Strategy<Value = Step> {
    let recorded = prop_oneof![Just(Recorded::No), Just(Recorded::Lenient), Just(Recorded::Strict)];
    let recorded = (
        any::<bool>(),
        recorded,
        proptest::collection::vec((0_u16..20, any::<u8>(), any::<u8>()), 0..4),
    );
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), any::<u16>()).prop_map(|(ssrc, sequence)| rtp(u32::from(ssrc), sequence)),
    ];
    let token = prop_oneof![8 => Just(0_u64), 1 => any::<u64>()];
    prop_oneof![
        12 => (token, 0_usize..3, any::<bool>(), any::<bool>(), any::<u8>(), bytes).prop_map(
            |(token, line, leg, rtcp, from, bytes)| Step::Packet { token, line, leg, rtcp, from, bytes }
        ),
        3 => recorded.prop_map(|(open, recorded, lines)| Step::Plan { open, recorded, lines }),
        1 => any::<bool>().prop_map(Step::Gate),
        1 => Just(Step::Close),
        2 => (proptest::option::of(Just(Fault::Io)), any::<bool>()).prop_map(|(fault, room)| Step::Recorder(fault, room)),
        1 => proptest::option::of(40_000_u16..40_080).prop_map(Step::Taken),
    ]
}

fn random_plan(recorded: Recorded, lines: &[(u16, u8, u8)]) -> Box<MediaPlan> {
    let side = |choice: u8| {
        if choice.is_multiple_of(3) {
            None
        } else {
            remote(sources(choice))
        }
    };
    plan(
        recorded,
        lines
            .iter()
            .map(|(index, a, b)| {
                let mut line = line(*index, side(*a), side(*b));
                if *b >= 200 {
                    line.b.local.set_ip([10, 0, 0, 2].into());
                }
                line
            })
            .collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_of_a_strict_session_is_forwarded_that_was_not_accepted(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut world = World::new();
        // The newest plan is not always in effect; strict at any time since the last close is what is claimed below.
        let mut only_strict = true;
        for step in steps {
            match step {
                Step::Packet { token, line, leg, rtcp, from, bytes } => {
                    let leg = if leg { Leg::A } else { Leg::B };
                    let channel = if rtcp { Channel::Rtcp } else { Channel::Rtp };
                    let known = world.bound.iter().map(|(port, _)| *port)
                        .find(|port| (port.line(), port.leg(), port.channel()) == (line, leg, channel));
                    let port = known.filter(|_| token == 0).unwrap_or(Port::from_token(token));
                    let kept = world.shelf.kept.len();
                    let verdict = world.send(port, sources(from), &bytes);
                    let taken = world.shelf.kept.len() - kept;
                    if let Verdict::Forward { via, to } = verdict {
                        prop_assert!(taken == 1 || !only_strict, "forwarded without the recorder");
                        prop_assert!(world.bound.iter().any(|(bound, _)| *bound == via), "sent from a port of ours");
                        prop_assert!(!to.ip().is_unspecified() && to.port() != 0);
                        if taken == 1 {
                            prop_assert_eq!(&world.shelf.kept.last().unwrap().3, &bytes);
                        }
                    } else {
                        prop_assert_eq!(taken, 0, "recorded and not forwarded");
                    }
                }
                Step::Plan { open, recorded, lines } => {
                    only_strict &= recorded == Recorded::Strict;
                    let plan = random_plan(recorded, &lines);
                    world.command(if open { MediaCommand::Open(plan) } else { MediaCommand::Modify(plan) });
                }
                Step::Gate(open) => {
                    let gate = if open { Gate::Open } else { Gate::Shut };
                    world.command(MediaCommand::Gate { session: SESSION, gate });
                }
                Step::Close => {
                    world.command(MediaCommand::Close { session: SESSION });
                    prop_assert!(world.plane.is_empty() && world.bound.is_empty() && world.shelf.slots.is_empty());
                    only_strict = true;
                }
                Step::Recorder(refuses, no_room) => (world.shelf.refuses, world.shelf.no_room) = (refuses, no_room),
                Step::Taken(port) => world.taken = port.map(|port| SocketAddr::new([10, 0, 0, 1].into(), port)).into_iter().collect(),
            }
        }
        world.command(MediaCommand::Close { session: SESSION });
        prop_assert!(world.plane.is_empty() && world.bound.is_empty() && world.shelf.slots.is_empty());
    }
}
