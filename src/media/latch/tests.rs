use proptest::prelude::*;

use super::*;
use crate::media::probation::Medium;
use crate::model::Timestamp;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("invariant: a literal address")
}

fn latch(signalled: &str) -> Latch {
    latch_of(signalled, Origin::Signalled)
}

fn latch_of(signalled: &str, origin: Origin) -> Latch {
    let mut latch = Latch::default();
    latch.signal(Some(address(signalled)), origin, false);
    latch
}

fn speaker() -> IpAddr {
    "198.51.100.1".parse().expect("a literal address")
}

impl Latch {
    fn takes(&mut self, from: &str) -> bool {
        self.admits(address(from), false, Evidence::Nothing) != Admission::Foreign
    }

    /// Of a stream whose packets come each 20 ms.
    fn hears(&mut self, from: &str, sequence: u16) -> bool {
        let mut packet = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        let at = Timestamp::from_millis(20 * u64::from(sequence));
        let evidence = Evidence::of(Medium::Paced, false, at, &packet);
        self.admits(address(from), false, evidence) != Admission::Foreign
    }

    /// A packet by the party's key.
    fn opens(&mut self, from: &str) -> bool {
        self.admits(address(from), false, Evidence::Verified) != Admission::Foreign
    }
}

/// A phone behind NAT that has proved itself, by its packets 0 to 4, and was told of a new port then.
fn moved(from: &str) -> Latch {
    let origin = Origin::First { speaker: speaker() };
    let mut latch = latch_of("10.0.0.5:4000", origin);
    assert!((0..5).all(|packet| latch.hears(from, packet)));
    latch.signal(Some(address("10.0.0.5:5000")), origin, false);
    latch
}

const BEFORE: &str = "203.0.113.9:7000";
const SINCE: &str = "203.0.113.10:8000";
const INJECTOR: &str = "203.0.113.66:9000";

#[test]
fn an_injector_from_another_host_never_gets_in() {
    let mut latch = latch("192.0.2.1:4000");
    assert!(!latch.takes("198.51.100.9:4000"), "not first,");
    assert!(latch.takes("192.0.2.1:4000"));
    assert!(!latch.takes("198.51.100.9:4000"), "nor later");
}

#[test]
fn a_phone_that_sends_from_another_port_is_locked_to_it() {
    let mut latch = latch("192.0.2.1:4000");
    assert!(latch.takes("192.0.2.1:5555"));
    assert!(!latch.takes("192.0.2.1:6666"));
    assert!(latch.takes("192.0.2.1:5555"));
    assert_eq!(
        latch.destination(),
        Some(address("192.0.2.1:4000")),
        "sent to where it listens"
    );
}

#[test]
fn the_signalled_port_wins_over_one_that_was_first() {
    let mut latch = latch("192.0.2.1:4000");
    assert!(latch.takes("192.0.2.1:5555"));
    assert!(latch.takes("192.0.2.1:4000"));
    assert!(!latch.takes("192.0.2.1:5555"));
}

#[test]
fn a_new_sdp_moves_the_latch_and_a_repeated_one_does_not() {
    let mut latch = latch("192.0.2.1:4000");
    assert!(latch.takes("192.0.2.1:5555"));
    latch.signal(Some(address("192.0.2.1:4000")), Origin::Signalled, false);
    assert!(!latch.takes("192.0.2.1:6666"), "still locked");
    latch.signal(Some(address("192.0.2.2:4000")), Origin::Signalled, false);
    assert!(!latch.takes("192.0.2.1:5555"));
    assert!(latch.takes("192.0.2.2:7777"));
}

#[test]
fn who_wants_nothing_sent_is_heard_from_where_it_was_and_nobody_else_is() {
    let mut latch = latch("192.0.2.1:4000");
    assert!(latch.takes("192.0.2.1:5555"));
    latch.signal(Some(address("192.0.2.1:4000")), Origin::Signalled, true);
    assert_eq!(latch.destination(), None);
    assert!(latch.takes("192.0.2.1:5555"), "still locked");
    assert!(!latch.takes("192.0.2.1:6666"));
    assert!(!latch.takes("198.51.100.9:4000"));
    latch.signal(Some(address("192.0.2.1:4000")), Origin::Signalled, false);
    assert_eq!(latch.destination(), Some(address("192.0.2.1:4000")));
}

#[test]
fn to_a_host_that_only_itself_reaches_nothing_is_sent_but_to_who_speaks_for_it() {
    for origin in [Origin::Speaker(speaker()), Origin::First { speaker: speaker() }] {
        for local in ["127.0.0.1:4000", "169.254.9.9:4000", "[::1]:4000", "[fe80::9]:4000"] {
            let mut latch = latch_of(local, origin);
            assert_eq!(latch.destination(), Some(address("198.51.100.1:4000")), "{local}");
            assert!(latch.takes(local));
            assert_eq!(latch.destination(), Some(address("198.51.100.1:4000")), "{local}");
        }
        let mut latch = latch_of("127.0.0.1:4000", origin);
        assert!(latch.takes("198.51.100.1:61000"));
        assert_eq!(latch.destination(), Some(address("198.51.100.1:61000")));
    }
    let latch = latch("127.0.0.1:4000");
    assert_eq!(
        latch.destination(),
        Some(address("127.0.0.1:4000")),
        "who speaks from there"
    );
}

#[test]
fn what_is_no_host_is_neither_taken_from_nor_sent_to() {
    for nowhere in [
        "0.0.0.0:4000",
        "[::]:4000",
        "192.0.2.1:0",
        "239.1.1.1:4000",
        "[ff02::1]:4000",
        "255.255.255.255:9",
    ] {
        let mut latch = latch(nowhere);
        assert_eq!(latch.destination(), None, "{nowhere}");
        assert!(!latch.takes(nowhere), "{nowhere}");
    }
}

#[test]
fn a_private_address_is_left_for_the_host_of_the_signalling_and_for_nobody_else() {
    let mut latch = latch_of("10.0.0.5:4000", Origin::Speaker(speaker()));
    assert!(!latch.takes("203.0.113.9:4000"), "a stranger");
    assert_eq!(latch.destination(), Some(address("10.0.0.5:4000")));
    assert_eq!(
        latch.admits(address("198.51.100.1:61000"), false, Evidence::Nothing),
        Admission::Learned
    );
    assert_eq!(
        latch.admits(address("198.51.100.1:61000"), false, Evidence::Nothing),
        Admission::Taken
    );
    assert_eq!(latch.destination(), Some(address("198.51.100.1:61000")));
    assert!(!latch.takes("198.51.100.1:61002"), "another port of it");
    assert!(latch.takes("10.0.0.5:4000"), "who can be reached after all");
    assert_eq!(latch.destination(), Some(address("10.0.0.5:4000")));
    assert!(!latch.takes("198.51.100.1:61000"));
}

#[test]
fn behind_nat_the_first_source_is_locked_and_is_sent_to() {
    let mut latch = latch_of("10.0.0.5:4000", Origin::First { speaker: speaker() });
    assert!(latch.takes("203.0.113.9:7000"));
    assert!(!latch.takes("203.0.113.10:7000"), "a stranger");
    assert!(!latch.takes("203.0.113.9:7002"), "another port");
    assert_eq!(latch.destination(), Some(address("203.0.113.9:7000")));
    assert!(latch.takes("10.0.0.5:4000"), "what was signalled is never too late");
}

#[test]
fn behind_nat_the_host_of_the_signalling_wins_however_long_an_injector_was_heard_while_it_rang() {
    let mut latch = latch_of("10.0.0.5:4000", Origin::First { speaker: speaker() });
    for _ in 0..1_000 {
        assert!(latch.takes("203.0.113.9:7000"), "an injector that was first");
    }
    assert!(latch.takes("198.51.100.1:61000"));
    assert!(!latch.takes("203.0.113.9:7000"));
    assert_eq!(latch.destination(), Some(address("198.51.100.1:61000")));
}

#[test]
fn behind_nat_rtcp_comes_from_the_host_of_rtp_and_who_was_there_before_is_let_go() {
    let mut latch = latch_of("10.0.0.5:4001", Origin::First { speaker: speaker() });
    assert!(latch.takes("203.0.113.66:9"), "nobody has spoken yet");
    latch.go_beside("203.0.113.9".parse().expect("a literal address"));
    assert_eq!(latch.destination(), Some(address("10.0.0.5:4001")));
    assert!(!latch.takes("203.0.113.66:9"));
    assert!(latch.takes("203.0.113.9:7001"));
    assert_eq!(latch.destination(), Some(address("203.0.113.9:7001")));
    assert!(
        latch.takes("198.51.100.1:61001"),
        "the host of the signalling still wins"
    );
    assert!(latch.takes("10.0.0.5:4001"), "and so does what was signalled");
}

#[test]
fn packets_under_way_while_a_leg_moves_do_not_keep_it_where_it_was() {
    let origin = Origin::First { speaker: speaker() };
    let mut latch = latch_of("10.0.0.5:4000", origin);
    assert!(latch.takes("198.51.100.1:61000"));
    latch.signal(Some(address("10.0.0.5:5000")), origin, false);
    assert!(latch.takes("198.51.100.1:61000"), "under way");
    for _ in 0..SETTLING_PACKETS {
        assert!(latch.takes("198.51.100.1:62000"), "where it is now");
    }
    assert!(!latch.takes("198.51.100.1:61000"));
    latch.signal(Some(address("10.0.0.5:6000")), origin, false);
    for _ in 0..SETTLING_PACKETS {
        assert!(latch.takes("198.51.100.1:62000"), "it stayed,");
    }
    assert!(!latch.takes("198.51.100.1:63000"), "so that it is firm");
}

#[test]
fn an_injector_after_a_new_sdp_does_not_push_out_who_speaks_on() {
    let origin = Origin::First { speaker: speaker() };
    let mut latch = moved(BEFORE);
    assert!(latch.hears(BEFORE, 5));
    assert!(!latch.hears(INJECTOR, 5), "one packet is nobody");
    latch.signal(Some(address("10.0.0.5:6000")), origin, false);
    for packet in 6..6 + SETTLING_PACKETS {
        assert!(latch.hears(BEFORE, packet), "packet {packet}");
        assert_eq!(latch.destination(), Some(address(BEFORE)));
        for _ in 0..SILENT_PACKETS {
            assert!(!latch.hears(INJECTOR, packet), "packet {packet}");
        }
    }
    assert!(
        (300..600).all(|packet| !latch.hears(INJECTOR, packet)),
        "nor when it is silent"
    );
    assert!(latch.hears(BEFORE, 600));
}

#[test]
fn who_is_heard_instead_of_another_far_end_takes_the_lock_from_it_though_it_speaks_on_and_keeps_it() {
    for origin in [
        Origin::First { speaker: speaker() },
        Origin::Speaker(address(SINCE).ip()),
    ] {
        let mut latch = Latch::default().beyond([address(BEFORE)].into_iter());
        latch.signal(Some(address("10.0.0.5:5000")), origin, false);
        let heard = (0..2 * SETTLING_PACKETS).filter(|packet| {
            latch.hears(BEFORE, 300 + packet);
            latch.hears(SINCE, *packet)
        });
        assert!(heard.count() >= usize::from(2 * SETTLING_PACKETS) - 4);
        assert_eq!(latch.destination(), Some(address(SINCE)));
        assert!((0..900).all(|packet| !latch.hears(BEFORE, 900 + packet)));
    }
}

#[test]
fn who_is_heard_alone_for_seconds_is_no_other_far_end_and_gives_way_to_nobody() {
    let mut latch = Latch::default().beyond([address(BEFORE)].into_iter());
    latch.signal(
        Some(address("10.0.0.5:5000")),
        Origin::First { speaker: speaker() },
        false,
    );
    assert!((0..=SETTLING_PACKETS).all(|packet| latch.hears(BEFORE, packet)));
    for packet in 0..600 {
        assert!(!latch.hears(INJECTOR, packet));
        assert!(latch.hears(BEFORE, SETTLING_PACKETS + 1 + packet));
    }
}

#[test]
fn after_a_new_sdp_single_packets_of_a_sprayer_take_nothing_from_who_is_silent_or_has_moved() {
    let sweep = |number: u16| number.wrapping_mul(977).wrapping_add(3_000);
    let mut silent = moved(BEFORE);
    assert!((0..2 * SETTLING_PACKETS).all(|number| !silent.hears(INJECTOR, sweep(number))));
    assert!(!silent.takes(INJECTOR), "nor what is no media");
    assert!(silent.hears(BEFORE, 300));
    let mut moved = moved(BEFORE);
    let heard = (0..2 * SETTLING_PACKETS).filter(|packet| {
        assert!(
            packet % 4 > 0 || !moved.hears(INJECTOR, sweep(*packet)),
            "packet {packet}"
        );
        moved.hears(SINCE, *packet)
    });
    assert!(heard.count() > usize::from(2 * SETTLING_PACKETS - 10));
    assert_eq!(moved.destination(), Some(address(SINCE)));
    assert!((0..600).all(|packet| !moved.hears(INJECTOR, packet)), "it is firm");
}

#[test]
fn who_has_proved_to_have_moved_gives_way_to_who_it_was_before_alone_and_moves_again() {
    let mut latch = moved(BEFORE);
    assert!((0..4).all(|packet| !latch.hears(SINCE, packet)) && latch.hears(SINCE, 4));
    assert!((0..50).all(|packet| !latch.hears(INJECTOR, packet)));
    let origin = Origin::First { speaker: speaker() };
    latch.signal(Some(address("10.0.0.5:6000")), origin, false);
    assert!((0..4).all(|packet| !latch.hears(INJECTOR, 700 + packet)) && latch.hears(INJECTOR, 704));
    assert!(latch.hears(BEFORE, 100), "who speaks on as before has not moved at all");
    assert!(!latch.hears(INJECTOR, 705));
}

#[test]
fn after_a_new_sdp_the_host_that_was_heard_is_followed_to_another_port_by_whatever_it_sends() {
    let mut latch = moved(BEFORE);
    let next = SocketAddr::new(address(BEFORE).ip(), 59_000).to_string();
    assert!(latch.takes(&next), "the first packet of a fax, say");
    assert_eq!(latch.destination(), Some(address(&next)));
    assert!(!latch.takes(INJECTOR));
}

#[test]
fn who_was_first_and_proved_nothing_wins_nothing_back_after_a_new_sdp() {
    let origin = Origin::First { speaker: speaker() };
    let mut latch = latch_of("10.0.0.5:4000", origin);
    assert!(latch.hears(INJECTOR, 900), "who else might it be?");
    latch.signal(Some(address("10.0.0.5:5000")), origin, false);
    assert!((0..4).all(|packet| !latch.hears(SINCE, packet)) && latch.hears(SINCE, 4));
    assert!((0..900).all(|packet| !latch.hears(INJECTOR, 900 + packet)));
}

#[test]
fn a_packet_of_before_a_move_that_is_overtaken_does_not_make_its_phone_deaf() {
    let mut latch = moved(BEFORE);
    assert!(
        (0..5).any(|packet| latch.hears(SINCE, packet)) && latch.hears(BEFORE, 5),
        "one came late"
    );
    let heard = (5..5 + SETTLING_PACKETS)
        .filter(|packet| latch.hears(SINCE, *packet))
        .count();
    assert!(heard > usize::from(SETTLING_PACKETS) - 12, "{heard}");
    assert!((300..300 + SETTLING_PACKETS).all(|packet| latch.hears(SINCE, packet)));
    assert!(!latch.hears(BEFORE, 6));
    assert_eq!(latch.destination(), Some(address(SINCE)));
}

/// Behind NAT, by its key; and told of a new port since.
fn moved_by_key(from: &str) -> Latch {
    let origin = Origin::First { speaker: speaker() };
    let mut latch = latch_of("10.0.0.5:4000", origin);
    assert!(latch.opens(from));
    latch.signal(Some(address("10.0.0.5:5000")), origin, false);
    latch
}

#[test]
fn after_a_new_sdp_the_first_verified_packet_takes_the_lock_and_one_that_was_under_way_costs_nothing() {
    let mut latch = moved_by_key(BEFORE);
    assert!(latch.opens(SINCE), "a tag is proof");
    assert_eq!(latch.destination(), Some(address(SINCE)));
    assert!(latch.opens(BEFORE), "overtaken");
    assert!((0..2 * SETTLING_PACKETS).all(|_| latch.opens(SINCE)));
    assert_eq!(latch.destination(), Some(address(SINCE)));
    assert!(!latch.opens(BEFORE), "it is firm");
}

#[test]
fn a_verified_packet_moves_a_phone_away_from_the_host_of_its_signalling_too() {
    const SIGNALLING: &str = "198.51.100.1:61000";
    let mut latch = moved_by_key(SIGNALLING);
    assert!(latch.opens(SINCE) && latch.opens(SIGNALLING) && latch.opens(SINCE));
    assert_eq!(latch.destination(), Some(address(SINCE)));
}

#[test]
fn without_a_new_sdp_copies_of_verified_packets_move_nobody_and_never_away_from_what_was_signalled() {
    let origin = Origin::First { speaker: speaker() };
    let mut latch = latch_of("10.0.0.5:4000", origin);
    assert!(latch.opens(BEFORE));
    assert!((0..9).all(|_| !latch.opens(INJECTOR)));
    latch.signal(Some(address(SINCE)), origin, false);
    assert!(latch.opens(SINCE));
    assert!((0..9).all(|_| !latch.opens(INJECTOR)));
    assert!(latch.opens(SINCE));
}

#[test]
fn the_first_verified_packet_takes_the_lock_from_who_was_heard_in_clear_and_proved_nothing() {
    let mut latch = latch_of("10.0.0.5:4000", Origin::First { speaker: speaker() });
    assert!(latch.hears(INJECTOR, 0));
    assert!(latch.opens(SINCE));
    assert!((0..9).all(|packet| !latch.hears(INJECTOR, packet)));
    assert_eq!(latch.destination(), Some(address(SINCE)));
}

#[test]
fn no_address_of_ours_is_learned() {
    let mut latch = latch_of("10.0.0.5:4000", Origin::First { speaker: speaker() });
    assert_eq!(
        latch.admits(address("192.0.2.77:4000"), true, Evidence::Nothing),
        Admission::Foreign
    );
    assert_eq!(
        latch.admits(address("10.0.0.5:4000"), true, Evidence::Nothing),
        Admission::Taken,
        "named by the SDP"
    );
}

/// One of a few hosts and ports, so that they meet.
fn any_address() -> impl Strategy<Value = SocketAddr> {
    (1_u8..4, 4_000_u16..4_004).prop_map(|(host, port)| SocketAddr::new([192, 0, 2, host].into(), port))
}

proptest! {
    #[test]
    fn only_the_signalled_host_gets_in_and_its_signalled_port_shuts_the_others_out(
        steps in proptest::collection::vec((0_u8..8, any_address()), 1..60)
    ) {
        let mut latch = Latch::default();
        let mut signalled = None;
        let mut taken_from = Vec::new();
        for (what, address) in steps {
            if what == 0 {
                if signalled != Some(address) {
                    taken_from.clear();
                }
                signalled = Some(address);
                latch.signal(signalled, Origin::Signalled, false);
                continue;
            }
            let admitted = latch.admits(address, false, Evidence::Nothing) != Admission::Foreign;
            prop_assert!(!admitted || signalled.is_some_and(|signalled| signalled.ip() == address.ip()));
            prop_assert!(admitted || signalled != Some(address), "the signalled address is always taken");
            if admitted {
                taken_from.push(address);
            }
            if signalled.is_some_and(|signalled| taken_from.contains(&signalled)) && signalled != Some(address) {
                prop_assert!(!admitted, "another port, after the signalled one was heard");
            }
            let others: std::collections::BTreeSet<_> = taken_from.iter().filter(|a| signalled != Some(**a)).collect();
            prop_assert!(others.len() <= 1, "two ports besides the signalled one");
        }
    }
}
