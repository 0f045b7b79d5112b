//! Legs whose keys come from a handshake (RFC 5764), and whose peers try their ways (RFC 8445): in virtual time, with peers that
//! are as we are.

mod ways;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::told::{PROMPT_FRAMES, notice, prompt};
use super::*;
use crate::model::{Handshake, IceCredentials, IceLite, Identity, KeyingFault, LegKeys, LineKeys};
use crate::rtp::dtls_tests::{End, handshake, identity};
use crate::rtp::stun_tests::{NOMINATED, check};
use crate::rtp::{DATAGRAMS_A_SECOND_MAX, HANDSHAKE_MAX, Opener, SRTP_GROWTH_MAX, Sealer, Sender};

/// Where the phone thinks that we are.
const US: Sender = Sender {
    at: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9),
    is_proved: false,
};
const PASSWORD: &str = "a password of ours that is long";

/// A world whose A shakes hands, and A.
struct Shaken {
    world: World,
    phone: End,
    ours: Arc<Identity>,
    theirs: Arc<Identity>,
}

fn lite() -> Arc<IceLite> {
    Arc::new(IceLite {
        ours: IceCredentials {
            ufrag: "ours".to_owned(),
            password: PASSWORD.to_owned(),
        },
        theirs: "phone".to_owned(),
    })
}

impl Shaken {
    /// `begins`: it is we who begin.
    fn new(begins: bool, is_tried: bool) -> Self {
        let (ours, theirs) = (identity(), identity());
        let mut shaken = Self {
            world: World::new(),
            phone: End::new(Timestamp::from_millis(1_000), handshake(&theirs, &ours, !begins)),
            ours,
            theirs,
        };
        shaken.agree(handshake(&shaken.ours, &shaken.theirs, begins), is_tried);
        shaken
    }

    fn agree(&mut self, handshake: Arc<Handshake>, is_tried: bool) {
        let plan = Self::plan(handshake, is_tried);
        self.world.command(MediaCommand::Open(plan));
    }

    fn plan(handshake: Arc<Handshake>, is_tried: bool) -> Box<MediaPlan> {
        let mut plan = plan(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
        let keys = LegKeys {
            handshake: Some(handshake),
            ..LegKeys::default()
        };
        plan.keys = vec![LineKeys {
            index: 0,
            legs: [Some(keys), None],
            ice: [is_tried.then(lite), None],
            muxed: Some([true, false]),
        }];
        plan
    }

    fn port(&self) -> Port {
        self.world.port(0, Leg::A, Channel::Rtp)
    }

    /// Datagrams to and fro, with A at this address, until nobody has anything to say.
    fn talk(&mut self, from: &str) {
        loop {
            let (up, down) = (self.phone.sends(), std::mem::take(&mut self.world.sent));
            if up.is_empty() && down.is_empty() {
                return;
            }
            for bytes in up {
                let verdict = self.world.send(self.port(), from, &bytes);
                assert_eq!(verdict, Verdict::Drop(Dropped::Ours));
            }
            for (via, to, bytes) in down {
                assert_eq!((via, to), (self.port(), address(from)));
                self.phone.association.handle_packet(self.world.now, US, &bytes);
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

    /// What A is told meanwhile.
    fn listen(&mut self, for_: Duration) -> Vec<Vec<u8>> {
        let (until, mut heard) = (self.world.now + for_, Vec::new());
        while let Some(due) = self.world.plane.poll_timeout().filter(|due| *due <= until) {
            self.world.now = self.world.now.max(due);
            self.world.plane.handle_timeout(self.world.now);
            while let Some((_, to)) = self.world.plane.poll_notice(self.world.now) {
                assert_eq!(to, address(A));
                heard.push(self.world.plane.changed().to_vec());
            }
            self.world.drain();
        }
        self.world.now = until;
        heard
    }

    /// Something that is for us.
    fn own(&mut self, from: &str, bytes: &[u8]) {
        assert_eq!(self.world.send(self.port(), from, bytes), Verdict::Drop(Dropped::Ours));
    }

    /// What A says, encrypted.
    fn says(&self, clear: &[u8]) -> Vec<u8> {
        let (_, ours) = self.phone.keys.as_ref().unwrap();
        let mut packet = clear.to_vec();
        packet.resize(clear.len() + SRTP_GROWTH_MAX, 0);
        let mut sealer = Sealer::new(ours).unwrap();
        let length = match clear[1] {
            201 => sealer.seal_rtcp(&mut packet, clear.len()).unwrap(),
            _ => sealer.seal_rtp(&mut packet, clear.len()).unwrap(),
        };
        packet.truncate(length);
        packet
    }

    fn assert_talks(&mut self, from: &str) {
        let sent = self.says(&rtp(7, 1));
        assert_eq!(goes_to(self.world.send(self.port(), from, &sent)), B);
        assert_eq!(self.world.plane.changed(), rtp(7, 1));
        assert_eq!(self.world.shelf.kept.last().unwrap().3, rtp(7, 1));
        let port = self.world.port(0, Leg::B, Channel::Rtp);
        assert_eq!(goes_to(self.world.send(port, B, &rtp(8, 1))), from);
        let mut heard = self.world.plane.changed().to_vec();
        let mut opener = Opener::new(&self.phone.keys.as_ref().unwrap().0).unwrap();
        let length = opener.open_rtp(&mut heard).unwrap();
        assert_eq!(heard[..length], rtp(8, 1));
    }
}

#[test]
fn nothing_passes_before_the_handshake_and_all_is_recorded_in_clear_after_it() {
    for begins in [true, false] {
        let mut call = Shaken::new(begins, false);
        let port = call.port();
        assert_eq!(
            call.world.send(port, A, &rtp(7, 1)),
            Verdict::Drop(Dropped::Undecryptable)
        );
        let b = call.world.port(0, Leg::B, Channel::Rtp);
        assert_eq!(call.world.send(b, B, &rtp(8, 0)), Verdict::Drop(Dropped::Unsealable));
        call.talk(A);
        call.assert_talks(A);
        call.tick(HANDSHAKE_MAX * 2);
        assert!(
            !call
                .world
                .events()
                .iter()
                .any(|event| matches!(event, MediaEvent::Unkeyed { .. }))
        );
        let tally = call.world.close();
        assert_eq!((tally.undecryptable, tally.forwarded), (1, 2));
        assert_eq!(call.world.plane.poll_timeout(), None);
    }
}

#[test]
fn rtcp_leaves_by_the_port_that_each_side_has_it_on() {
    let mut call = Shaken::new(true, false);
    call.talk(A);
    let report = call.says(&RTCP);
    let verdict = call.world.send(call.port(), A, &report);
    assert_eq!(goes_to(verdict), "198.51.100.1:6001");
    let b = call.world.port(0, Leg::B, Channel::Rtcp);
    let Verdict::Change { via, to } = call.world.send(b, "198.51.100.1:6001", &RTCP) else {
        panic!("sealed")
    };
    assert_eq!((via, to), (call.port(), address(A)));
}

#[test]
fn a_certificate_that_was_not_signalled_gives_no_keys_and_is_told() {
    for begins in [true, false] {
        let mut call = Shaken::new(begins, false);
        let stranger = identity();
        let ours = Arc::clone(&call.ours);
        call.phone = End::new(call.world.now, handshake(&stranger, &ours, !begins));
        call.talk(A);
        if !begins {
            // Who came may have been a stranger: the party has until the end.
            assert_eq!(call.world.events(), [MediaEvent::Opened { session: SESSION }]);
            call.tick(HANDSHAKE_MAX);
        }
        let told = MediaEvent::Unkeyed {
            session: SESSION,
            leg: Leg::A,
            line: 0,
            fault: KeyingFault::Certificate,
            keyed: false,
        };
        assert_eq!(call.world.events().last(), Some(&told));
        assert_eq!(
            call.world.send(call.port(), A, &rtp(7, 1)),
            Verdict::Drop(Dropped::Undecryptable)
        );
    }
}

#[test]
fn a_strangers_handshake_with_who_may_be_anywhere_ends_nothing_and_the_partys_own_gives_its_keys() {
    let mut call = Shaken::new(false, false);
    let mut behind_nat = Shaken::plan(handshake(&call.ours, &call.theirs, false), false);
    behind_nat.lines[0].a.origin = Origin::First {
        speaker: address(A).ip(),
    };
    call.world.command(MediaCommand::Modify(behind_nat));
    call.world.events();
    let stranger = End::new(call.world.now, handshake(&identity(), &call.ours, true));
    let party = std::mem::replace(&mut call.phone, stranger);
    call.talk(INJECTOR);
    assert!(call.phone.keys.is_some(), "it has shaken hands");
    let sent = call.says(&rtp(9, 1));
    let verdict = call.world.send(call.port(), INJECTOR, &sent);
    assert_eq!(verdict, Verdict::Drop(Dropped::Undecryptable));
    assert_eq!(call.world.events(), []);
    call.phone = party;
    call.talk(A);
    call.assert_talks(A);
}

#[test]
fn who_never_shakes_hands_is_told_once() {
    for begins in [true, false] {
        let mut call = Shaken::new(begins, false);
        call.tick(HANDSHAKE_MAX + Duration::from_secs(1));
        let is_told = |event: &MediaEvent| {
            matches!(
                event,
                MediaEvent::Unkeyed {
                    fault: KeyingFault::Timeout,
                    ..
                }
            )
        };
        assert_eq!(call.world.events().iter().filter(|event| is_told(event)).count(), 1);
        assert_eq!(call.world.sent.len() > 2, begins, "again and again");
        call.world.sent.clear();
        call.tick(HANDSHAKE_MAX);
        assert!(call.world.sent.is_empty() && !call.world.events().iter().any(is_told));
    }
}

#[test]
fn hellos_of_strangers_are_not_looked_at_and_a_flood_from_the_right_place_ends_nothing() {
    let mut call = Shaken::new(false, false);
    let attacker = identity();
    let hello = End::new(call.world.now, handshake(&attacker, &attacker, true))
        .sends()
        .remove(0);
    let port = call.port();
    for _ in 0..1_000 {
        assert_eq!(call.world.send(port, INJECTOR, &hello), Verdict::Drop(Dropped::Ours));
    }
    assert!(call.world.sent.is_empty());
    for _ in 0..1_000_000 {
        let verdict = call.world.plane.handle_packet(
            call.world.now,
            port,
            address(A),
            call.world.now,
            &hello,
            &mut call.world.shelf,
        );
        assert_eq!(verdict, Verdict::Drop(Dropped::Ours));
    }
    call.world.drain();
    assert!(
        call.world.sent.len() <= DATAGRAMS_A_SECOND_MAX as usize,
        "no more than are looked at"
    );
    call.world.sent.clear();
    call.tick(Duration::from_secs(1));
    call.world.sent.clear();
    call.talk(A);
    call.assert_talks(A);
    assert_eq!(call.world.close().foreign, 1_000);
}

#[test]
fn the_same_handshake_in_a_new_description_keeps_its_keys_and_another_takes_over_when_it_is_done() {
    let mut call = Shaken::new(true, false);
    call.talk(A);
    let theirs = identity();
    let known = Arc::new(Handshake {
        tls_id: Some("another association".to_owned()),
        ..(*handshake(&call.ours, &theirs, true)).clone()
    });
    call.agree(Arc::clone(&known), false);
    call.assert_talks(A);
    let ours = Arc::clone(&call.ours);
    call.phone = End::new(call.world.now, handshake(&theirs, &ours, false));
    call.talk(A);
    call.agree(known, false);
    assert!(call.phone.sends().is_empty() && call.world.sent.is_empty());
    call.assert_talks(A);
}

#[test]
fn a_handshake_that_fails_after_another_was_done_leaves_its_keys_and_says_so() {
    let mut call = Shaken::new(true, false);
    call.talk(A);
    let theirs = identity();
    call.agree(handshake(&call.ours, &theirs, true), false);
    call.tick(HANDSHAKE_MAX + Duration::from_secs(1));
    let told = MediaEvent::Unkeyed {
        session: SESSION,
        leg: Leg::A,
        line: 0,
        fault: KeyingFault::Timeout,
        keyed: true,
    };
    assert_eq!(call.world.events().last(), Some(&told));
    call.assert_talks(A);
}

#[test]
fn checks_and_handshakes_go_on_while_the_gate_is_shut() {
    let mut call = Shaken::new(true, true);
    let shut = |gate| MediaCommand::Gate { session: SESSION, gate };
    call.world.command(shut(Gate::Shut));
    call.own(A, &check("ours:phone", PASSWORD, &[NOMINATED]));
    call.world.sent.remove(0);
    call.talk(A);
    let sent = call.says(&rtp(7, 1));
    assert_eq!(call.world.send(call.port(), A, &sent), Verdict::Drop(Dropped::Gated));
    call.world.command(shut(Gate::Open));
    call.assert_talks(A);
}

#[test]
fn a_prompt_waits_for_the_keys_of_its_leg_and_is_heard_whole() {
    let mut call = Shaken::new(true, false);
    notice(&mut call.world, "PCMU", [Some(prompt()), None], false);
    assert!(call.listen(Duration::from_secs(2)).is_empty(), "nobody could open it");
    call.talk(A);
    let heard = call.listen(Duration::from_secs(1));
    assert_eq!(heard.len(), PROMPT_FRAMES);
    let mut opener = Opener::new(&call.phone.keys.as_ref().unwrap().0).unwrap();
    for mut packet in heard {
        let length = opener.open_rtp(&mut packet).unwrap();
        assert_eq!(packet[12..length], [0x11; 160]);
    }
    let events = call.world.events();
    let told = events.iter().find_map(|event| match event {
        MediaEvent::Noticed { notice, .. } => Some((notice.packets, notice.whole)),
        _ => None,
    });
    assert_eq!(told, Some((PROMPT_FRAMES as u32, true)));
}
