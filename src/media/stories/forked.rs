//! Forks of one INVITE (RFC 3261 §12.1) on B's leg: each shakes hands with us apart (RFC 5764), and whichever is heard has its own keys,
//! ways and place.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{FarEnd, Handshake, IceCredentials, IceLite, Identity, LegKeys, LineKeys};
use crate::rtp::dtls_tests::{End, handshake, identity};
use crate::rtp::stun_tests::{NOMINATED, check};
use crate::rtp::{HANDSHAKE_MAX, Opener, SRTP_GROWTH_MAX, Sealer, Sender};

/// Where the phones think that we are.
const US: Sender = Sender {
    at: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9),
    is_proved: false,
};
const PASSWORD: &str = "a password of ours that is long";
const PLACES: [&str; 2] = [B, "198.51.100.2:6000"];

/// How the forks are reached and keyed.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// It is we who begin.
    begins: bool,
    /// They try their ways.
    is_tried: bool,
}

const MANNERS: [Manner; 4] = [
    Manner {
        begins: true,
        is_tried: false,
    },
    Manner {
        begins: false,
        is_tried: false,
    },
    Manner {
        begins: true,
        is_tried: true,
    },
    Manner {
        begins: false,
        is_tried: true,
    },
];

struct Phone {
    at: &'static str,
    end: FarEnd,
    shakes: Arc<Handshake>,
    lite: Arc<IceLite>,
    dtls: End,
    /// Once it has keys: what it opens by, and seals by.
    keys: Option<(Opener, Sealer)>,
    sequence: u16,
}

impl Phone {
    fn new(now: Timestamp, ours: &Arc<Identity>, manner: Manner, at: &'static str, end: FarEnd) -> Self {
        let theirs = identity();
        Self {
            at,
            end,
            shakes: handshake(ours, &theirs, manner.begins),
            lite: Arc::new(IceLite {
                ours: IceCredentials {
                    ufrag: "ours".to_owned(),
                    password: PASSWORD.to_owned(),
                },
                theirs: format!("phone at {at}"),
            }),
            dtls: End::new(now, handshake(&theirs, ours, !manner.begins)),
            keys: None,
            sequence: 0,
        }
    }

    fn seal(&mut self, clear: &[u8]) -> Vec<u8> {
        let mut packet = clear.to_vec();
        packet.resize(clear.len() + SRTP_GROWTH_MAX, 0);
        let (_, sealer) = self.keys.as_mut().expect("it has shaken hands");
        let length = sealer.seal_rtp(&mut packet, clear.len()).unwrap();
        packet.truncate(length);
        packet
    }
}

struct Forked {
    world: World,
    manner: Manner,
    forks: [Phone; 2],
    said: u16,
}

impl Forked {
    fn new(manner: Manner) -> Self {
        let (world, ours) = (World::new(), identity());
        let ends = [FarEnd::default(), FarEnd::default().next()];
        let forks = [0, 1].map(|fork| Phone::new(world.now, &ours, manner, PLACES[fork], ends[fork]));
        Self {
            world,
            manner,
            forks,
            said: 0,
        }
    }

    /// What this fork has described is what is relayed from here on.
    fn hears(&mut self, fork: usize, answered: bool) {
        let phone = &self.forks[fork];
        let mut plan = plan(Recorded::Strict, vec![line(0, remote(A), remote(phone.at))]);
        let keys = LegKeys {
            handshake: Some(Arc::new((*phone.shakes).clone())),
            ..LegKeys::default()
        };
        let lite = self.manner.is_tried.then(|| Arc::new((*phone.lite).clone()));
        plan.keys = vec![LineKeys {
            index: 0,
            legs: [None, Some(keys)],
            ice: [None, lite],
            muxed: Some([false, true]),
        }];
        (plan.far_end, plan.answered) = (phone.end, answered);
        self.world.command(MediaCommand::Open(plan));
    }

    fn port(&self) -> Port {
        self.world.port(0, Leg::B, Channel::Rtp)
    }

    /// This fork checks its way.
    fn checks(&mut self, fork: usize) {
        let phone = &self.forks[fork];
        let bytes = check(&format!("ours:{}", phone.lite.theirs), PASSWORD, &[NOMINATED]);
        let verdict = self.world.send(self.port(), phone.at, &bytes);
        assert_eq!(verdict, Verdict::Drop(Dropped::Ours));
        let place = address(self.forks[fork].at);
        let is_answer = |sent: &(Port, SocketAddr, Vec<u8>)| sent.1 == place && sent.2[..2] == [1, 1];
        let found = self
            .world
            .sent
            .iter()
            .position(is_answer)
            .expect("an answer to who asks");
        self.world.sent.remove(found);
    }

    /// Datagrams of these forks and ours, to and fro, until nobody has anything to say.
    fn shake(&mut self, forks: &[usize]) {
        if self.manner.is_tried {
            forks.iter().for_each(|fork| self.checks(*fork));
        }
        loop {
            let mut is_quiet = true;
            for fork in forks {
                for bytes in self.forks[*fork].dtls.sends() {
                    is_quiet = false;
                    let _ = self.world.send(self.port(), self.forks[*fork].at, &bytes);
                }
            }
            for (via, to, bytes) in std::mem::take(&mut self.world.sent) {
                assert_eq!(via, self.port());
                let known = forks.iter().find(|fork| address(self.forks[**fork].at) == to);
                if let Some(fork) = known {
                    is_quiet = false;
                    let phone = &mut self.forks[*fork];
                    phone.dtls.association.handle_packet(self.world.now, US, &bytes);
                }
            }
            if is_quiet {
                break;
            }
        }
        for phone in &mut self.forks {
            if let (None, Some((theirs, ours))) = (&phone.keys, &phone.dtls.keys) {
                phone.keys = Some((Opener::new(theirs).unwrap(), Sealer::new(ours).unwrap()));
            }
        }
    }

    fn tick(&mut self, for_: Duration) {
        let until = self.world.now + for_;
        while let Some(due) = self.world.plane.poll_timeout().filter(|due| *due <= until) {
            self.world.now = self.world.now.max(due);
            self.world.plane.handle_timeout(self.world.now);
            self.world.drain();
        }
        self.world.now = until;
    }

    /// A and this fork hear each other, and B gets reports; no index is used twice, or the fork would take none of it.
    fn assert_talks(&mut self, fork: usize) {
        let phone = &mut self.forks[fork];
        let clear = rtp(8, phone.sequence);
        let sent = phone.seal(&clear);
        phone.sequence += 1;
        let (port, at) = (self.port(), self.forks[fork].at);
        assert_eq!(goes_to(self.world.send(port, at, &sent)), A, "{fork} {:?}", self.manner);
        assert_eq!(self.world.plane.changed(), clear);
        self.said += 1;
        let a = self.world.port(0, Leg::A, Channel::Rtp);
        assert_eq!(
            goes_to(self.world.send(a, A, &rtp(7, self.said))),
            at,
            "{:?}",
            self.manner
        );
        let mut heard = self.world.plane.changed().to_vec();
        let (opener, _) = self.forks[fork].keys.as_mut().unwrap();
        let length = opener.open_rtp(&mut heard).expect("by its own keys");
        assert_eq!(heard[..length], rtp(7, self.said));
        let a = self.world.port(0, Leg::A, Channel::Rtcp);
        assert_eq!(goes_to(self.world.send(a, "192.0.2.1:4001", &RTCP)), at);
        let mut told = self.world.plane.changed().to_vec();
        let (opener, _) = self.forks[fork].keys.as_mut().unwrap();
        assert_eq!(opener.open_rtcp(&mut told), Ok(RTCP.len()), "{:?}", self.manner);
    }

    fn is_unkeyed(&mut self) -> bool {
        let events = self.world.events();
        events.iter().any(|event| matches!(event, MediaEvent::Unkeyed { .. }))
    }
}

#[test]
fn the_fork_that_shook_hands_first_and_answers_talks_by_its_own_keys_whatever_came_between() {
    for manner in MANNERS {
        let mut call = Forked::new(manner);
        call.hears(0, false);
        call.shake(&[0]);
        call.assert_talks(0);
        call.hears(1, false);
        call.shake(&[1]);
        call.assert_talks(1);
        call.hears(0, true);
        call.assert_talks(0);
        call.tick(HANDSHAKE_MAX + Duration::from_secs(1));
        call.assert_talks(0);
        assert!(!call.is_unkeyed(), "{manner:?}");
    }
}

#[test]
fn a_fork_that_never_shakes_hands_costs_the_one_that_did_and_answers_nothing() {
    for manner in MANNERS {
        let mut call = Forked::new(manner);
        call.hears(0, false);
        call.shake(&[0]);
        call.hears(1, false);
        call.tick(Duration::from_secs(30));
        let a = call.world.port(0, Leg::A, Channel::Rtp);
        let verdict = call.world.send(a, A, &rtp(7, 900));
        assert!(
            matches!(verdict, Verdict::Drop(_)),
            "sealed by no key of another: {verdict:?}"
        );
        call.hears(0, true);
        call.tick(HANDSHAKE_MAX + Duration::from_secs(1));
        call.said = 900;
        call.assert_talks(0);
        assert!(!call.is_unkeyed(), "{manner:?}");
    }
}

#[test]
fn forks_shake_hands_side_by_side_whichever_of_them_is_heard_and_any_may_answer() {
    for manner in MANNERS {
        for winner in [0, 1] {
            let mut call = Forked::new(manner);
            call.hears(0, false);
            call.hears(1, false);
            call.shake(&[0, 1]);
            for fork in [1, 0, 1, winner] {
                call.hears(fork, false);
                // Where we begin and did not know where to, it begins now.
                call.shake(&[0, 1]);
                call.assert_talks(fork);
            }
            call.hears(winner, true);
            call.tick(HANDSHAKE_MAX + Duration::from_secs(1));
            call.assert_talks(winner);
            assert!(!call.is_unkeyed(), "{manner:?}, {winner}");
        }
    }
}

#[test]
fn who_speaks_by_another_dialog_from_the_same_place_with_the_same_certificate_shakes_hands_once() {
    for manner in MANNERS {
        let mut call = Forked::new(manner);
        call.hears(0, false);
        call.shake(&[0]);
        call.forks[0].end = call.forks[1].end;
        call.hears(0, true);
        assert!(call.forks[0].dtls.sends().is_empty() && call.world.sent.is_empty());
        call.assert_talks(0);
    }
}

#[test]
fn the_checks_of_a_fork_are_answered_while_another_that_makes_none_is_heard_and_speaks_its_own_stun() {
    for begins in [true, false] {
        let mut call = Forked::new(Manner { begins, is_tried: true });
        call.hears(0, false);
        call.manner.is_tried = false;
        call.hears(1, false);
        call.shake(&[1]);
        call.assert_talks(1);
        let others = check("somebody:else", PASSWORD, &[NOMINATED]);
        let verdict = call.world.send(call.port(), PLACES[1], &others);
        assert_ne!(verdict, Verdict::Drop(Dropped::Ours), "it is for the other party");
        call.checks(0);
        call.shake(&[0, 1]);
        assert!(call.forks[0].keys.is_some(), "it has shaken hands meanwhile");
        call.assert_talks(1);
        call.manner.is_tried = true;
        call.hears(0, true);
        call.assert_talks(0);
        assert!(!call.is_unkeyed(), "{begins}");
    }
}

#[test]
fn of_ten_forks_the_oldest_shakes_hands_anew_and_no_key_is_begun_twice() {
    let manner = MANNERS[0];
    let mut call = Forked::new(manner);
    call.hears(0, false);
    call.shake(&[0]);
    call.assert_talks(0);
    let ours = identity();
    let mut end = call.forks[0].end;
    for _ in 0..10 {
        end = end.next();
        call.forks[1] = Phone::new(call.world.now, &ours, manner, PLACES[1], end);
        call.hears(1, false);
        call.shake(&[1]);
        call.assert_talks(1);
    }
    call.hears(0, true);
    let a = call.world.port(0, Leg::A, Channel::Rtp);
    let verdict = call.world.send(a, A, &rtp(7, 900));
    assert_eq!(verdict, Verdict::Drop(Dropped::Unsealable));
    assert_eq!(call.world.sent.len(), 1, "a hello");
}

#[test]
fn behind_nat_a_losing_fork_that_goes_on_sending_gives_way_to_the_one_that_answers() {
    const FIRST: &str = "203.0.113.7:50000";
    const SECOND: &str = "203.0.113.8:60000";
    // Two phones behind two NATs may well call themselves the same.
    for private in ["10.0.0.5:5004", "10.0.0.6:7000"] {
        let hears = |world: &mut World, signalled: &str, end| {
            let mut plan = plan(Recorded::Strict, vec![line(0, remote(A), remote(signalled))]);
            plan.lines[0].b.origin = Origin::First {
                speaker: address(INJECTOR).ip(),
            };
            plan.far_end = end;
            world.command(MediaCommand::Open(plan));
        };
        let mut world = World::new();
        let from = |world: &mut World, at: &str, sequence| {
            world.now = world.now + Duration::from_millis(10);
            goes_to(world.talk(Leg::B, at, sequence))
        };
        hears(&mut world, "10.0.0.5:5004", FarEnd::default());
        assert!((0..50).all(|sequence| from(&mut world, FIRST, sequence) == A));
        hears(&mut world, private, FarEnd::default().next());
        let heard = (0..250).filter(|sequence| {
            from(&mut world, FIRST, 50 + sequence);
            from(&mut world, SECOND, *sequence) == A
        });
        assert!(heard.count() >= 245, "{private}");
        assert_eq!(goes_to(world.talk(Leg::A, A, 1)), SECOND);
        assert!(
            (300..900).all(|sequence| from(&mut world, FIRST, sequence) != A),
            "nor when that is silent"
        );
        hears(&mut world, "10.0.0.5:5004", FarEnd::default());
        assert_eq!(goes_to(world.talk(Leg::A, A, 2)), FIRST, "known from before");
        assert!((900..1_200).all(|sequence| from(&mut world, FIRST, sequence) == A));
        assert!((900..1_200).all(|sequence| from(&mut world, SECOND, sequence) != A));
    }
}
