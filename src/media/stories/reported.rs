//! What the ends say of their streams by RTCP: relayed as it is, and read.

use super::*;
use crate::model::{Mos, Reported};

const VOICE: [u8; 160] = [0x2b; 160];
/// Of the phones.
const OF_A: [u8; 4] = [0, 0xaa, 0, 0];
const OF_B: [u8; 4] = [0, 0xaa, 0, 1];

fn sender_report(ssrc: [u8; 4], ntp: [u8; 8], packets: u8) -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(ssrc);
    report.extend(ntp);
    report.extend([0, 0, 0, 160, 0, 0, 0, packets, 0, 0, 0, 0]);
    report
}

/// `said`: the middle of the NTP time; `waited` in 65,536ths of a second.
fn receiver_report(by: [u8; 4], of: [u8; 4], said: [u8; 4], waited: u32) -> Vec<u8> {
    let mut report = vec![0x81, 201, 0, 7];
    report.extend(by);
    report.extend(of);
    report.extend([64, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 80]);
    report.extend(said);
    report.extend(waited.to_be_bytes());
    report
}

fn source_description(ssrc: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x81, 202, 0, 3];
    packet.extend(ssrc);
    packet.extend(b"\x01\x05a@b.c\0");
    packet
}

/// A call in which both have spoken.
fn talked() -> World {
    let mut world = World::call(Recorded::Strict);
    for leg in Leg::BOTH {
        let mut phone = Phone::new(leg, 0);
        (0..10).for_each(|_| world.say(&mut phone, &VOICE));
    }
    world
}

fn reported(tally: &Tally, leg: Leg) -> Option<Reported> {
    let stream = tally.streams.iter().find(|stream| stream.leg == leg)?;
    stream.quality.as_ref()?.reported.clone()
}

#[test]
fn a_round_trip_is_from_us_to_who_answers_a_sender_report_less_what_it_waited() {
    let mut world = talked();
    let rtcp = Leg::BOTH.map(|leg| world.port(0, leg, Channel::Rtcp));
    let compound = [
        sender_report(OF_A, [0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0], 11),
        source_description(OF_A),
    ]
    .concat();
    assert_eq!(
        goes_to(world.send(rtcp[0], "192.0.2.1:4001", &compound)),
        "198.51.100.1:6001"
    );
    world.wait(540);
    let answer = receiver_report(OF_B, OF_A, [0x12, 0x34, 0x56, 0x78], 32_768);
    assert_eq!(
        goes_to(world.send(rtcp[1], "198.51.100.1:6001", &answer)),
        "192.0.2.1:4001"
    );
    let kept: Vec<_> = world
        .shelf
        .kept
        .iter()
        .filter(|(_, _, kind, _)| *kind == PacketKind::Rtcp)
        .collect();
    assert!(kept[0].3 == compound && kept[1].3 == answer, "as they were");
    let tally = world.close();
    let wanted = Reported {
        name: Some("a@b.c".to_owned()),
        sent: Some(11),
        lost: Some(7),
        fraction_lost_max: Some(64),
        jitter_us_max: Some(10_000),
        round_trip_us: Some(40_000),
        round_trip_us_max: Some(40_000),
        ..Reported::default()
    };
    assert_eq!(reported(&tally, Leg::A), Some(wanted));
    assert_eq!(reported(&tally, Leg::B), None, "nobody said anything of it");
    assert!(
        mos_of(&tally, Leg::A) < mos_of(&talked().close(), Leg::A),
        "delay counts"
    );
}

fn mos_of(tally: &Tally, leg: Leg) -> Option<Mos> {
    let stream = tally.streams.iter().find(|stream| stream.leg == leg)?;
    stream.quality.as_ref()?.mos
}

#[test]
fn reports_on_the_rtp_port_and_of_reduced_size_are_read_too() {
    let mut world = talked();
    let port = world.port(0, Leg::B, Channel::Rtp);
    // RFC 5506: an XR alone; RFC 3611 §4.7.
    let mut metrics = vec![0x80, 207, 0, 10];
    metrics.extend(OF_B);
    metrics.extend([7, 0, 0, 8]);
    metrics.extend(OF_A);
    metrics.extend([1, 25, 0, 0, 0, 0, 0, 0, 0, 40, 0, 60]);
    metrics.extend([127, 127, 127, 16, 80, 127, 41, 40, 0, 0, 0, 60, 0, 80, 0, 90]);
    assert_eq!(goes_to(world.send(port, B, &metrics)), A);
    let bye = [&[0x81, 203, 0, 1][..], &OF_B].concat();
    assert_eq!(goes_to(world.send(port, B, &bye)), A);
    let tally = world.close();
    let of_a = reported(&tally, Leg::A).expect("rated");
    assert_eq!((of_a.mos, of_a.discarded), (Some(Mos::from(4.1)), Some(25)));
    assert!(reported(&tally, Leg::B).is_some_and(|of_b| of_b.left));
}

#[test]
fn an_answer_to_a_report_that_never_crossed_tells_no_round_trip() {
    let mut world = talked();
    let rtcp = world.port(0, Leg::B, Channel::Rtcp);
    for said in [[0; 4], [1, 2, 3, 4]] {
        let answer = receiver_report(OF_B, OF_A, said, 0);
        assert_eq!(
            goes_to(world.send(rtcp, "198.51.100.1:6001", &answer)),
            "192.0.2.1:4001"
        );
    }
    let told = reported(&world.close(), Leg::A).expect("told");
    assert_eq!((told.lost, told.round_trip_us), (Some(7), None));
}

#[test]
fn a_report_about_a_stream_of_its_own_or_of_nobody_changes_nothing() {
    let mut world = talked();
    let rtcp = world.port(0, Leg::A, Channel::Rtcp);
    for of in [OF_A, [9, 9, 9, 9]] {
        let lie = receiver_report(OF_A, of, [0; 4], 0);
        assert_eq!(goes_to(world.send(rtcp, "192.0.2.1:4001", &lie)), "198.51.100.1:6001");
    }
    let lie = sender_report(OF_B, [1; 8], 1);
    assert_eq!(goes_to(world.send(rtcp, "192.0.2.1:4001", &lie)), "198.51.100.1:6001");
    let tally = world.close();
    assert_eq!(Leg::BOTH.map(|leg| reported(&tally, leg)), [None, None]);
}

#[test]
fn what_is_encrypted_beyond_us_is_not_taken_for_reports() {
    let mut world = talked();
    let mut sealed = line(0, remote(A), remote(B));
    for leg in [&mut sealed.a, &mut sealed.b] {
        leg.formats = vec![(0, "PCMU (SRTP)".to_owned(), 8_000, 1)];
    }
    world.modify(Recorded::Lenient, vec![sealed]);
    let rtcp = world.port(0, Leg::A, Channel::Rtcp);
    let report = sender_report(OF_A, [1; 8], 1);
    assert_eq!(
        goes_to(world.send(rtcp, "192.0.2.1:4001", &report)),
        "198.51.100.1:6001"
    );
    assert_eq!(reported(&world.close(), Leg::A), None);
}

#[test]
fn a_flood_of_reports_in_one_packet_is_relayed_and_read_only_so_far() {
    let mut world = talked();
    let rtcp = world.port(0, Leg::A, Channel::Rtcp);
    let mut flood = Vec::new();
    for packets in 1..=40 {
        flood.extend(sender_report(OF_A, [1; 8], packets));
    }
    assert_eq!(goes_to(world.send(rtcp, "192.0.2.1:4001", &flood)), "198.51.100.1:6001");
    let told = reported(&world.close(), Leg::A).expect("told");
    assert_eq!(told.sent, Some(8));
}
