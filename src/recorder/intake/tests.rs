#![allow(clippy::unwrap_used, clippy::panic, clippy::vec_box)]

use super::*;
use crate::model::Leg;
use crate::recorder::frame::PacketKind;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

fn id(number: u128) -> SessionId {
    SessionId::from_u128(number)
}

fn offer(intake: &mut Intake, now: u64, slot: Slot, bytes: usize) -> Offer {
    let payload = vec![0xd5; bytes];
    let packet = Packet {
        at: at(now),
        leg: Leg::A,
        line: 0,
        kind: PacketKind::Rtp,
        bytes: &payload,
    };
    intake.offer(at(now), slot, packet)
}

fn drain(intake: &mut Intake) -> Vec<Box<Extent>> {
    std::iter::from_fn(|| intake.poll_full()).collect()
}

fn sessions(extents: &[Box<Extent>]) -> Vec<u128> {
    extents.iter().map(|extent| extent.session.as_u128()).collect()
}

#[test]
fn an_extent_is_handed_on_when_it_is_full_or_a_tenth_of_a_second_old() {
    let mut intake = Intake::new(IntakeConfig::default());
    let slot = intake.open(id(1));
    for _ in 0..21 {
        assert_eq!(offer(&mut intake, 0, slot, 172), Offer::Accepted);
    }
    assert!(intake.poll_full().is_none());
    assert_eq!(offer(&mut intake, 1, slot, 172), Offer::Accepted);
    let full = intake.poll_full().unwrap();
    assert_eq!((full.frames, full.packets), (21, 21));
    assert_eq!(intake.poll_timeout(), Some(at(101)));
    intake.flush(at(100));
    assert!(intake.poll_full().is_none());
    intake.flush(at(101));
    assert_eq!(intake.poll_full().unwrap().frames, 1);
    assert_eq!(intake.poll_timeout(), None);
}

#[test]
fn old_extents_leave_in_order_of_age_whatever_happened_between() {
    let mut intake = Intake::new(IntakeConfig::default());
    let slots: Vec<Slot> = (0..5).map(|n| intake.open(id(n))).collect();
    for (n, slot) in slots.iter().enumerate() {
        assert_eq!(offer(&mut intake, n as u64, *slot, 100), Offer::Accepted);
    }
    intake.close(at(10), slots[2]);
    assert_eq!(offer(&mut intake, 11, slots[0], 4000), Offer::Accepted);
    assert_eq!(sessions(&drain(&mut intake)), [2, 0, 0]);
    assert_eq!(offer(&mut intake, 12, slots[0], 100), Offer::Accepted);
    intake.flush(at(103));
    assert_eq!(sessions(&drain(&mut intake)), [1, 3]);
    intake.flush(at(200));
    assert_eq!(sessions(&drain(&mut intake)), [4, 0]);
}

#[test]
fn an_empty_pool_refuses_until_a_block_comes_back() {
    let mut intake = Intake::new(IntakeConfig {
        blocks_max: 2,
        ..IntakeConfig::default()
    });
    let slot = intake.open(id(1));
    let mut accepted = 0;
    while offer(&mut intake, accepted, slot, 1900) == Offer::Accepted {
        accepted += 1;
    }
    assert_eq!(accepted, 4);
    assert_eq!(offer(&mut intake, 5, slot, 1900), Offer::Refused(Fault::PoolEmpty));
    let mut lent = drain(&mut intake);
    assert_eq!(lent.len(), 2);
    intake.recycle(lent.remove(0));
    assert_eq!(offer(&mut intake, 6, slot, 1900), Offer::Accepted);
    intake.close(at(7), slot);
    let last = intake.poll_full().unwrap();
    let refused = Refusals {
        fault: Fault::PoolEmpty,
        since: at(4),
        packets: 2,
    };
    assert_eq!(last.refused, Some(refused));
    intake.recycle(last);
    intake.recycle(lent.remove(0));
    let (made, free) = intake.blocks();
    assert_eq!((made, intake.len()), (free, 0));
}

#[test]
fn a_block_that_does_not_come_back_in_time_stalls_every_call() {
    let mut intake = Intake::new(IntakeConfig::default());
    let (one, two) = (intake.open(id(1)), intake.open(id(2)));
    assert_eq!(offer(&mut intake, 0, one, 100), Offer::Accepted);
    intake.flush(at(100));
    let lent = intake.poll_full().unwrap();
    assert_eq!(offer(&mut intake, 1000, two, 100), Offer::Accepted);
    assert_eq!(offer(&mut intake, 1001, two, 100), Offer::Refused(Fault::Stalled));
    intake.recycle(lent);
    assert_eq!(offer(&mut intake, 1002, two, 100), Offer::Accepted);
}

#[test]
fn what_was_lent_before_an_outage_stalls_nobody_after_it() {
    let mut intake = Intake::new(IntakeConfig::default());
    let (one, two) = (intake.open(id(1)), intake.open(id(2)));
    assert_eq!(offer(&mut intake, 0, one, 100), Offer::Accepted);
    intake.flush(at(100));
    let before = intake.poll_full().unwrap();
    assert_eq!(offer(&mut intake, 1500, two, 100), Offer::Refused(Fault::Stalled));
    intake.forgive();
    assert_eq!(offer(&mut intake, 1500, two, 100), Offer::Accepted);
    intake.flush(at(1600));
    let after = intake.poll_full().unwrap();
    assert_eq!(offer(&mut intake, 2400, two, 100), Offer::Accepted);
    assert_eq!(
        offer(&mut intake, 2501, two, 100),
        Offer::Refused(Fault::Stalled),
        "the new one counts"
    );
    intake.recycle(after);
    assert_eq!(offer(&mut intake, 2502, two, 100), Offer::Accepted);
    intake.recycle(before);
    assert_eq!(offer(&mut intake, 2503, two, 100), Offer::Accepted);
}

#[test]
fn a_packet_of_any_udp_length_is_taken_whole_and_one_too_long_refused() {
    let mut intake = Intake::new(IntakeConfig::default());
    let slot = intake.open(id(1));
    for bytes in [0, 1, 3984, 3985, 65_535] {
        assert_eq!(offer(&mut intake, 0, slot, bytes), Offer::Accepted, "{bytes}");
    }
    assert_eq!(offer(&mut intake, 0, slot, 65_536), Offer::Refused(Fault::PoolEmpty));
    for _ in 0..2 {
        assert_eq!(offer(&mut intake, 0, slot, 65_535), Offer::Accepted);
    }
    assert_eq!(offer(&mut intake, 0, slot, 65_535), Offer::Refused(Fault::PoolEmpty));
    assert_eq!(
        offer(&mut intake, 0, slot, 100),
        Offer::Accepted,
        "the rest does not starve"
    );
    intake.close(at(1), slot);
    for extent in drain(&mut intake) {
        intake.recycle(extent);
    }
    let (made, free) = intake.blocks();
    assert_eq!(made, free);
}

#[test]
fn an_unknown_slot_is_refused_and_closing_twice_does_nothing() {
    let mut intake = Intake::new(IntakeConfig::default());
    let slot = intake.open(id(1));
    intake.close(at(0), slot);
    intake.close(at(0), slot);
    assert_eq!(offer(&mut intake, 0, slot, 10), Offer::Refused(Fault::Miscounted));
    assert!(intake.poll_full().is_none());
}
