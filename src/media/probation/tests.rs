use super::*;

/// The `sequence`th packet of 20 ms.
fn place(ssrc: u8, sequence: u16) -> Option<Place> {
    paced(ssrc, sequence, 20 * u64::from(sequence))
}

fn paced(ssrc: u8, sequence: u16, millis: u64) -> Option<Place> {
    Some(Place {
        ssrc: [0, 0, 0, ssrc],
        sequence,
        at: Timestamp::from_millis(millis),
        medium: Medium::Paced,
    })
}

fn at(port: u16) -> SocketAddr {
    ([203, 0, 113, 9], port).into()
}

#[test]
fn a_place_on_a_line_of_sound_is_read_from_rtp_alone() {
    let packet = [0x80, 0, 1, 2, 0, 0, 0, 0, 9, 8, 7, 6];
    let now = Timestamp::from_nanos(5);
    let on = |packet: &[u8]| Place::on(Medium::Paced, now, packet);
    let found = on(&packet).map(|place| (place.ssrc, place.sequence, place.at));
    assert_eq!(found, Some(([9, 8, 7, 6], 0x0102, now)));
    assert!(on(&packet[..11]).is_none());
    assert!(on(&[0; 12]).is_none(), "another version");
    let is_numbered = |is_rtcp| Evidence::of(Medium::Paced, is_rtcp, now, &packet) != Evidence::Nothing;
    assert!(is_numbered(false) && !is_numbered(true));
}

#[test]
fn what_a_line_carries_is_what_its_description_says() {
    assert_eq!(Medium::of(MediaKind::Audio, false), Medium::Paced);
    assert_eq!(Medium::of(MediaKind::Video, true), Medium::Paced);
    assert_eq!(Medium::of(MediaKind::Other, true), Medium::Text);
    assert_eq!(Medium::of(MediaKind::Other, false), Medium::Fax);
}

#[test]
fn who_was_first_and_speaks_out_of_sequence_gives_way_in_the_fifth_packet_of_who_speaks_on() {
    let mut probation = Probation::begin(at(1), place(1, 100));
    let sweeps = (1..50_u16).map(|sweep| sweep.wrapping_mul(20_000).wrapping_add(100));
    let taken = sweeps.filter(|sequence| probation.admits_holder(at(1), place(1, *sequence)));
    assert_eq!(taken.count(), 0, "one packet was enough");
    for sequence in 0..4 {
        assert!(!probation.yields_to(at(2), place(2, sequence)));
        assert!(
            !probation.admits_holder(at(1), place(1, sequence * 977)),
            "nor does it hinder"
        );
    }
    assert!(probation.yields_to(at(2), place(2, 4)));
    assert!((5..300).all(|sequence| probation.admits_holder(at(2), place(2, sequence))));
    assert!((0..300).all(|sequence| !probation.yields_to(at(1), place(1, sequence))));
}

#[test]
fn who_types_takes_the_port_from_a_stray_packet_by_its_25th_at_any_pace() {
    let typed = |ssrc: u8, sequence: u16| {
        let medium = Medium::Text;
        paced(ssrc, sequence, 300 * u64::from(sequence)).map(|place| Place { medium, ..place })
    };
    let mut probation = Probation::begin(at(1), typed(1, 900));
    assert!((0..24).all(|sequence| !probation.yields_to(at(2), typed(2, sequence))));
    assert!(probation.yields_to(at(2), typed(2, 24)));
    assert!((25..90).all(|sequence| probation.admits_holder(at(2), typed(2, sequence))));
}

#[test]
fn packets_of_100_ms_are_proof_though_they_come_unevenly() {
    let mut probation = Probation::begin(at(1), paced(1, 900, 0));
    let late = [0, 20, 0, 25, 5];
    let party = |packet: u16| paced(2, packet, 1_000 + 100 * u64::from(packet) + late[usize::from(packet)]);
    assert!((0..4).all(|packet| !probation.yields_to(at(2), party(packet))));
    assert!(probation.yields_to(at(2), party(4)));
}

#[test]
fn a_sweep_of_all_ports_in_sequence_is_no_proof_and_gives_way_between_two_of_its_packets() {
    let mut probation = Probation::begin(at(1), paced(1, 0, 0));
    assert!((1..8).all(|sweep| probation.admits_holder(at(1), paced(1, sweep, 400 * u64::from(sweep)))));
    let party = |packet: u16| paced(2, packet, 2_810 + 20 * u64::from(packet));
    assert!((0..4).all(|packet| !probation.yields_to(at(2), party(packet))));
    assert!(probation.yields_to(at(2), party(4)));
    assert!(!probation.yields_to(at(1), paced(1, 8, 3_200)));
}

#[test]
fn copies_and_numbers_that_fall_are_not_taken_from_who_has_not_proved_itself_and_do_not_hinder_the_party() {
    for step in [0, 1] {
        let mut probation = Probation::begin(at(1), paced(1, 900, 0));
        let sweep = |packet: u16| paced(1, 900 - step * packet, 15 * u64::from(packet));
        let party = |packet: u16| paced(2, packet, 15 * u64::from(packet));
        for packet in 1..5 {
            assert!(
                !probation.admits_holder(at(1), sweep(packet)),
                "{step}: packet {packet}"
            );
            assert!(!probation.yields_to(at(2), party(packet)));
        }
        assert!(!probation.admits_holder(at(1), sweep(5)));
        assert!(probation.yields_to(at(2), party(5)), "{step}");
    }
}

#[test]
fn a_sweep_that_counts_is_no_proof_however_often_it_comes_and_hinders_no_party_with_packets_of_60_ms() {
    let mut probation = Probation::begin(at(1), paced(1, 0, 0));
    assert!((1..200).all(|sweep| probation.admits_holder(at(1), paced(1, sweep, 200 * u64::from(sweep)))));
    assert!(!probation.has_proved());
    let party = |packet: u16| paced(2, packet, 40_010 + 60 * u64::from(packet));
    assert!((0..3).all(|packet| !probation.yields_to(at(2), party(packet))));
    assert!(probation.admits_holder(at(1), paced(1, 200, 40_150)));
    assert!(!probation.yields_to(at(2), party(3)));
    assert!(probation.yields_to(at(2), party(4)));
}

#[test]
fn fax_has_numbers_by_which_it_takes_a_lock_and_what_has_none_is_the_holders_all_the_same() {
    let other = |packet: &[u8], millis| Place::on(Medium::Fax, Timestamp::from_millis(millis), packet);
    let medium = |place: Option<Place>| place.map(|place| (place.sequence, place.medium));
    assert_eq!(medium(other(&[0, 7, 1, 2], 5)), Some((7, Medium::Fax)));
    assert_eq!(other(&[0, 7], 5), None);
    assert_eq!(
        other(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], 5),
        None,
        "a check of a way"
    );
    let mut probation = Probation::begin(at(1), None);
    assert!((0..9).all(|packet| probation.admits_holder(at(1), other(&[0x20, packet & 4, 0], 5))));
    let fax = |number: u8| other(&[0, number, 1], 30 * u64::from(number));
    assert!((0..4).all(|number| !probation.yields_to(at(2), fax(number))));
    assert!(probation.yields_to(at(2), fax(4)));
}

#[test]
fn who_spoke_five_packets_keeps_the_lock_though_it_falls_silent_and_who_types_keeps_it_too() {
    let mut speaks = Probation::begin(at(1), place(1, 0));
    let typed = |packet: u16| {
        paced(1, packet, 900 * u64::from(packet)).map(|place| Place {
            medium: Medium::Text,
            ..place
        })
    };
    let mut types = Probation::begin(at(1), typed(0));
    assert!((1..5).all(|sequence| speaks.admits_holder(at(1), place(1, sequence))));
    assert!((1..25).all(|packet| types.admits_holder(at(1), typed(packet))));
    for mut probation in [speaks, types] {
        assert!((0..900).all(|sequence| !probation.yields_to(at(2), place(2, sequence))));
    }
}

#[test]
fn losses_late_packets_and_another_stream_after_the_proof_are_the_partys() {
    let mut probation = Probation::begin(at(1), paced(1, 65_534, 0));
    for (sequence, taken) in [
        (0, true),
        (65_535, true),
        (2, true),
        (2, false),
        (1, true),
        (5, true),
        (6, true),
    ] {
        assert_eq!(
            probation.admits_holder(at(1), paced(1, sequence, 100)),
            taken,
            "{sequence}"
        );
    }
    assert!(
        probation.admits_holder(at(1), place(7, 40_000)),
        "an answer after ringing"
    );
    assert!(probation.admits_holder(at(1), None), "what is no RTP");
}

#[test]
fn who_speaks_and_repairs_by_turns_takes_the_lock_and_is_heard_and_three_sources_by_turns_are_nobody() {
    let by_turns = |packet: u16, streams: u16| {
        let ssrc = u8::try_from(packet % streams).ok()?;
        paced(ssrc, packet / streams, 10 * u64::from(packet))
    };
    let mut probation = Probation::begin(at(1), by_turns(0, 2));
    assert!(
        !probation.admits_holder(at(1), by_turns(1, 2)),
        "one packet is no stream"
    );
    assert!((2..60).all(|packet| probation.admits_holder(at(1), by_turns(packet, 2))));
    assert!((0..60).all(|packet| !probation.yields_to(at(2), place(9, packet))));
    let mut probation = Probation::begin(at(1), by_turns(0, 3));
    let taken = (1..60).filter(|packet| probation.admits_holder(at(1), by_turns(*packet, 3)));
    assert!(taken.count() < 60);
    assert!(Probation::trusted().admits_holder(at(1), by_turns(1, 3)));
}

#[test]
fn a_thousand_sources_that_say_less_than_the_party_do_not_keep_it_out() {
    let mut probation = Probation::begin(at(1), place(1, 0));
    let mut sprayer = 1_000;
    let took = (0..100).position(|sequence| {
        if sequence % 3 == 0 {
            sprayer += 1;
            assert!(!probation.yields_to(at(sprayer), paced(9, sprayer, 20 * u64::from(sequence))));
        }
        probation.yields_to(at(2), place(2, sequence))
    });
    assert!(took.is_some_and(|packets| packets < 12), "{took:?}");
}

#[test]
fn numbers_of_a_fax_that_look_like_rtp_or_rtcp_are_a_faxs() {
    // From 0x8000 on its number is what RTP of version 2 begins with, and its second byte may be RTCP's.
    for first in [0x7ffc_u16, 0x80c6, 0xbffd, 0xc7ff] {
        let fax = |number: u16| {
            let [high, low] = (first + number).to_be_bytes();
            let datagram = [high, low, 4, 1, 2, 3, 4, 0, 0, 0, number as u8, 0];
            let is_rtcp = crate::rtp::classify(&datagram) == crate::rtp::WireKind::Rtcp;
            Evidence::of(
                Medium::Fax,
                is_rtcp,
                Timestamp::from_millis(30 * u64::from(number)),
                &datagram,
            )
            .place()
        };
        let mut holder = Probation::begin(at(1), fax(0));
        assert!(
            (0..9).all(|_| holder.admits_holder(at(1), fax(3))),
            "{first:x}: whatever it sends"
        );
        assert!((0..4).all(|number| !holder.yields_to(at(2), fax(number))), "{first:x}");
        assert!(holder.yields_to(at(2), fax(4)), "{first:x}");
    }
}
