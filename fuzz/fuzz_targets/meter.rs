//! Any packets at any times of two parties: what is measured of them, and what is said to ail their sound, never panics and stays
//! within what came. A packet is four bytes (whose and of which channel, tens of milliseconds since the one before, its length) and itself.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use onrecord::media::{Channel, Plane, PlaneOutput, Port};
use onrecord::model::{
    Leg, LegPlan, LinePlan, MediaCommand, MediaEvent, MediaKind, MediaPlan, Origin, Recorded, Remote, SessionId, Tally,
    Timestamp,
};
use onrecord::recorder::{FrameSink, Offer, Packet, Slot};

const SESSION: SessionId = SessionId::from_u128(7);

struct Shelf;

impl FrameSink for Shelf {
    fn open(&mut self, _: SessionId) -> Option<Slot> {
        Some(Slot(1))
    }

    fn close(&mut self, _: Timestamp, _: Slot) {}

    fn offer(&mut self, _: Timestamp, _: Slot, _: Packet<'_>) -> Offer {
        Offer::Accepted
    }
}

/// As one of ours, and the party's, of leg A and of leg B.
fn address(leg: Leg, is_ours: bool, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, leg.index() as u8 + if is_ours { 101 } else { 1 }], port))
}

fn plan() -> MediaPlan {
    let leg = |leg: Leg| LegPlan {
        local: address(leg, true, 4_000),
        remote: Some(Remote { rtp: address(leg, false, 4_000), rtcp: address(leg, false, 4_001) }),
        deaf: false,
        mute: false,
        holds: false,
        origin: Origin::Signalled,
        formats: vec![
            (8, "PCMA".to_owned(), 8_000, 1),
            (9, "G722".to_owned(), 8_000, 1),
            (13, "CN".to_owned(), 8_000, 1),
            (101, "telephone-event".to_owned(), 8_000, 1),
            (111, "opus".to_owned(), 48_000, 2),
        ],
    };
    let lines = vec![LinePlan { index: 0, kind: MediaKind::Audio, a: leg(Leg::A), b: leg(Leg::B) }];
    MediaPlan { session: SESSION, recorded: Recorded::Strict, answered: true, lines, keys: Vec::new(), agreed: Default::default(), far_end: Default::default(), pausing: Default::default() }
}

#[derive(Default)]
struct Told {
    ports: Vec<Port>,
    ailing: usize,
    tally: Option<Box<Tally>>,
}

fn drain(now: Timestamp, plane: &mut Plane, told: &mut Told) {
    while let Some(output) = plane.poll_output() {
        match output {
            PlaneOutput::Bind(port, _) => {
                told.ports.push(port);
                plane.handle_bound(now, port, &mut Shelf);
            }
            PlaneOutput::Event(MediaEvent::Health { ailing, .. }) => {
                assert!(ailing.since <= ailing.until.unwrap_or(now), "{ailing:?}");
                told.ailing += usize::from(ailing.until.is_none());
            }
            PlaneOutput::Event(MediaEvent::Closed { tally, .. }) => told.tally = Some(tally),
            PlaneOutput::Unbind(_) | PlaneOutput::Send { .. } | PlaneOutput::Event(_) => {}
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (mut plane, mut told) = (Plane::new(), Told::default());
    let mut now = Timestamp::from_millis(1_000);
    plane.handle_command(now, MediaCommand::Open(Box::new(plan())), &mut Shelf);
    drain(now, &mut plane, &mut told);
    let (mut rest, mut arrived) = (bytes, 0);
    while let Some(([who, tens, low, high], after)) = rest.split_first_chunk::<4>() {
        now = now + std::time::Duration::from_millis(10 * u64::from(*tens));
        while plane.poll_timeout().is_some_and(|due| due <= now) {
            plane.handle_timeout(now);
            drain(now, &mut plane, &mut told);
        }
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (packet, after) = after.split_at(length);
        let leg = if who & 1 == 0 { Leg::A } else { Leg::B };
        let (channel, port) = if who & 2 == 0 { (Channel::Rtp, 4_000) } else { (Channel::Rtcp, 4_001) };
        let at = told.ports.iter().find(|port| (port.leg(), port.channel()) == (leg, channel));
        let _ = plane.handle_packet(now, *at.expect("bound"), address(leg, false, port), now, packet, &mut Shelf);
        drain(now, &mut plane, &mut told);
        (rest, arrived) = (after, arrived + 1);
    }
    plane.handle_command(now, MediaCommand::Close { session: SESSION }, &mut Shelf);
    drain(now, &mut plane, &mut told);
    let tally = told.tally.expect("closed");
    assert!(told.ailing <= 32 && tally.ailments.len() <= 32);
    assert!(tally.streams.len() <= 64 && tally.accepted <= arrived);
    assert!(tally.streams.iter().map(|stream| stream.packets).sum::<u64>() <= tally.accepted);
    for stream in &tally.streams {
        let quality = stream.quality.as_ref().expect("measured");
        assert!(quality.missing <= quality.expected && quality.duplicates <= stream.packets, "{stream:?}");
        assert!(quality.reordered <= stream.packets && quality.restarts <= stream.packets, "{stream:?}");
        assert!(quality.paused_ms <= now.since(Timestamp::from_millis(1_000)).as_millis() as u64, "{stream:?}");
    }
});
