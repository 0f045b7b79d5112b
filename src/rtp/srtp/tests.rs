//! What crosses between who seals and who opens.

use proptest::prelude::*;

use super::*;
use crate::model::SrtpSuite;
use crate::rtp::packet::tests::rtp;

fn key_of(suite: SrtpSuite, fill: u8, mki: Option<Mki>) -> SrtpKey {
    SrtpKey::new(suite, &vec![fill; suite.master_bytes()], mki).expect("a key")
}

fn pair(suite: SrtpSuite) -> (Sealer, Opener) {
    let key = key_of(suite, 7, None);
    (
        Sealer::new(&key).expect("a sealer"),
        Opener::new(&key).expect("an opener"),
    )
}

const RTCP: [u8; 28] = [
    0x80, 200, 0, 6, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
];

fn sealed(sealer: &mut Sealer, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + SRTP_GROWTH_MAX, 0);
    let length = sealer.seal_rtp(&mut buffer, packet.len()).expect("sealed");
    buffer.truncate(length);
    buffer
}

fn opened(opener: &mut Opener, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = packet.to_vec();
    let length = opener.open_rtp(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[test]
fn what_is_sealed_is_opened_with_every_suite_and_nothing_of_it_is_seen_between() {
    for suite in SrtpSuite::ALL {
        let (mut sealer, mut opener) = pair(suite);
        let mut with_all = rtp(9, 1);
        with_all[0] = 0x92; // two CSRCs and an extension
        with_all.splice(12..12, [0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        for clear in [rtp(9, 0), with_all, rtp(9, 2)[..12].to_vec()] {
            let packet = sealed(&mut sealer, &clear);
            assert!(!packet.windows(8).any(|window| window == [0xd5; 8]), "{suite:?}");
            assert_eq!(opened(&mut opener, &packet).as_deref(), Ok(&clear[..]), "{suite:?}");
            assert_eq!(opened(&mut opener, &packet), Err(SrtpError::Replayed), "{suite:?}");
        }
        let mut buffer = [0; RTCP.len() + SRTP_GROWTH_MAX];
        for _ in 0..3 {
            buffer[..RTCP.len()].copy_from_slice(&RTCP);
            let length = sealer.seal_rtcp(&mut buffer, RTCP.len()).expect("sealed");
            assert_ne!(buffer[8..28], RTCP[8..28]);
            let mut again = buffer;
            assert_eq!(opener.open_rtcp(&mut buffer[..length]), Ok(RTCP.len()));
            assert_eq!(buffer[..RTCP.len()], RTCP);
            assert_eq!(opener.open_rtcp(&mut again[..length]), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn the_counter_rolls_over_through_loss_and_reordering() {
    for suite in SrtpSuite::ALL {
        let (mut sealer, mut opener) = pair(suite);
        let mut late = None;
        for step in 0..200_000_u32 {
            let clear = rtp(5, (step & 0xffff) as u16);
            if step % 97 != 0 && step % 65_536 > 6 && step % 65_536 < 65_530 && step % 1_000 != 0 {
                continue;
            }
            let packet = sealed(&mut sealer, &clear);
            match step % 3 {
                0 if late.is_none() => late = Some((packet, clear)),
                _ => assert_eq!(opened(&mut opener, &packet).as_deref(), Ok(&clear[..]), "{step}"),
            }
            if step % 3 == 1
                && let Some((packet, clear)) = late.take()
            {
                let taken = opened(&mut opener, &packet);
                assert!(matches!(&taken, Ok(bytes) if *bytes == clear) || taken == Err(SrtpError::Replayed));
            }
        }
    }
}

#[test]
fn whoever_receives_follows_a_source_that_begins_anew() {
    for suite in SrtpSuite::ALL {
        let (mut sealer, mut opener) = pair(suite);
        for (from, strays) in [(60_000, 0), (20_000, 0), (9, 1), (50_000, 1)] {
            let mut heard = 0;
            for sequence in from..from + 9_000 {
                let (mut buffer, length) = (rtp(5, sequence as u16), rtp(5, 0).len());
                buffer.resize(length + SRTP_GROWTH_MAX, 0);
                let Ok(length) = sealer.seal_rtp(&mut buffer, length) else {
                    continue;
                };
                assert!(opener.open_rtp(&mut buffer[..length]).is_ok(), "{sequence}");
                heard += 1;
            }
            assert_eq!(heard, 9_000 - strays, "from {from}");
        }
    }
}

#[test]
fn a_forged_packet_changes_nothing() {
    for suite in SrtpSuite::ALL {
        let (mut sealer, mut opener) = pair(suite);
        let first = sealed(&mut sealer, &rtp(9, 65_000));
        assert!(opened(&mut opener, &first).is_ok());
        let honest = sealed(&mut sealer, &rtp(9, 65_001));
        for sequence in (0..65_536).step_by(1_021) {
            let mut forged = sealed(
                &mut Sealer::new(&key_of(suite, 8, None)).expect("a sealer"),
                &rtp(9, sequence as u16),
            );
            assert!(opened(&mut opener, &forged).is_err());
            forged[11] ^= 1; // another stream, of which none is kept
            assert_eq!(opened(&mut opener, &forged), Err(SrtpError::Forged));
        }
        for at in 0..honest.len() {
            let mut bent = honest.clone();
            bent[at] ^= 0x10;
            assert!(opened(&mut opener, &bent).is_err(), "byte {at}");
        }
        assert!(opened(&mut opener, &honest).is_ok(), "{suite:?}");
        assert!(opened(&mut opener, &sealed(&mut sealer, &rtp(9, 65_002))).is_ok());
    }
}

#[test]
fn no_index_is_used_twice_however_a_sender_repeats_itself() {
    let (mut sealer, _) = pair(SrtpSuite::AeadAes128Gcm);
    let mut buffer = rtp(9, 7);
    let length = buffer.len();
    buffer.resize(length + SRTP_GROWTH_MAX, 0);
    assert!(sealer.seal_rtp(&mut buffer.clone(), length).is_ok());
    assert_eq!(sealer.seal_rtp(&mut buffer, length), Err(SrtpError::Replayed));
    let cramped = rtp(9, 8);
    assert_eq!(
        sealer.seal_rtp(&mut cramped.clone(), cramped.len()),
        Err(SrtpError::Malformed),
        "no room for a tag"
    );
}

#[test]
fn a_short_tag_is_of_rtp_alone() {
    let (mut sealer, _) = pair(SrtpSuite::AesCm128HmacSha1_32);
    assert_eq!(sealed(&mut sealer, &rtp(9, 7)).len(), 172 + 4);
    let mut buffer = [0; RTCP.len() + SRTP_GROWTH_MAX];
    buffer[..RTCP.len()].copy_from_slice(&RTCP);
    assert_eq!(sealer.seal_rtcp(&mut buffer, RTCP.len()), Ok(RTCP.len() + 4 + 10));
}

#[test]
fn a_master_key_identifier_is_looked_for_where_the_suite_has_it() {
    for suite in SrtpSuite::ALL {
        let mki = Mki::new(0x0102_0304, 4).expect("an MKI");
        let mut sealer = Sealer::new(&key_of(suite, 7, None)).expect("a sealer");
        let mut opener = Opener::new(&key_of(suite, 7, Some(mki))).expect("an opener");
        let plain = sealed(&mut sealer, &rtp(9, 7));
        assert!(opened(&mut opener, &plain).is_err());
        let is_aead = matches!(suite, SrtpSuite::AeadAes128Gcm | SrtpSuite::AeadAes256Gcm);
        let at = if is_aead { plain.len() } else { 172 };
        let mut named = plain;
        named.splice(at..at, [1, 2, 3, 4]);
        assert_eq!(opened(&mut opener, &named).as_deref(), Ok(&rtp(9, 7)[..]), "{suite:?}");
        let mut buffer = [0; RTCP.len() + SRTP_GROWTH_MAX];
        buffer[..RTCP.len()].copy_from_slice(&RTCP);
        let length = sealer.seal_rtcp(&mut buffer, RTCP.len()).expect("sealed");
        let mut named = buffer[..length].to_vec();
        let at = if is_aead { length } else { RTCP.len() + 4 };
        named.splice(at..at, [1, 2, 3, 4]);
        assert_eq!(opener.open_rtcp(&mut named), Ok(RTCP.len()), "{suite:?}");
    }
}

#[test]
fn rtcp_in_clear_is_refused() {
    let (mut sealer, mut opener) = pair(SrtpSuite::AesCm128HmacSha1_80);
    let mut buffer = [0; RTCP.len() + SRTP_GROWTH_MAX];
    buffer[..RTCP.len()].copy_from_slice(&RTCP);
    let length = sealer.seal_rtcp(&mut buffer, RTCP.len()).expect("sealed");
    buffer[RTCP.len()] &= 0x7f;
    assert_eq!(opener.open_rtcp(&mut buffer[..length]), Err(SrtpError::Forged));
}

/// As [`opened`], with the other rollover counters that a packet may have.
fn opened_by_guess(opener: &mut Opener, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let first = opened(opener, packet);
    match first {
        Err(SrtpError::Forged) if opener.seek_further() => opened_by_guess(opener, packet),
        first => first,
    }
}

#[test]
fn a_stream_whose_packets_before_the_wrap_are_lost_or_late_is_heard_from_its_first_on() {
    for suite in SrtpSuite::ALL {
        let (mut sealer, mut opener) = pair(suite);
        let packets: Vec<_> = [65_534, 65_535, 0, 1, 2]
            .map(|sequence| (rtp(9, sequence), sealed(&mut sealer, &rtp(9, sequence))))
            .into();
        for n in [2, 4, 1, 3] {
            let (clear, packet) = &packets[n];
            assert_eq!(
                opened_by_guess(&mut opener, packet).as_ref(),
                Ok(clear),
                "{suite:?}: {n}"
            );
            assert_eq!(opened_by_guess(&mut opener, packet), Err(SrtpError::Replayed));
        }
        assert_eq!(opened_by_guess(&mut opener, &packets[0].1).as_ref(), Ok(&packets[0].0));
    }
}

#[test]
fn a_stream_that_is_heard_from_its_last_number_on_goes_round_at_once() {
    for suite in SrtpSuite::ALL {
        let (mut sealer, mut opener) = pair(suite);
        for sequence in [65_535, 0, 1] {
            let packet = sealed(&mut sealer, &rtp(9, sequence));
            assert_eq!(opened(&mut opener, &packet), Ok(rtp(9, sequence)), "{suite:?}");
        }
    }
}

#[test]
fn one_that_begins_at_zero_has_nothing_before_it_and_no_index_is_used_twice() {
    for suite in SrtpSuite::ALL {
        let (mut sealer, mut opener) = pair(suite);
        let first = sealed(&mut sealer, &rtp(9, 0));
        let mut buffer = rtp(9, 65_535);
        let length = buffer.len();
        buffer.resize(length + SRTP_GROWTH_MAX, 0);
        assert_eq!(sealer.seal_rtp(&mut buffer, length), Err(SrtpError::Replayed));
        assert_eq!(opened_by_guess(&mut opener, &first), Ok(rtp(9, 0)));
        let mut others = Sealer::new(&key_of(suite, 7, None)).expect("a sealer");
        let of_before = sealed(&mut others, &rtp(9, 65_535));
        assert_eq!(
            opened_by_guess(&mut opener, &of_before),
            Err(SrtpError::Replayed),
            "its counter would be below zero"
        );
    }
}

#[test]
fn a_forged_packet_is_tried_twice_where_its_stream_may_have_gone_round_and_once_where_not() {
    for (sequence, ssrc, tries) in [(5, 9, 2), (40_000, 9, 1), (5, 7, 1)] {
        let (mut sealer, mut opener) = pair(SrtpSuite::AesCm128HmacSha1_80);
        assert!(opened(&mut opener, &sealed(&mut sealer, &rtp(7, 4))).is_ok());
        let mut forged = sealed(&mut sealer, &rtp(ssrc, sequence));
        forged[20] ^= 1;
        let mut tried = 0;
        loop {
            tried += 1;
            assert_eq!(opened(&mut opener, &forged), Err(SrtpError::Forged));
            if !opener.seek_further() {
                break;
            }
        }
        assert_eq!(tried, tries, "{sequence} of {ssrc}");
        forged[20] ^= 1;
        assert!(opened(&mut opener, &forged).is_ok(), "and nothing has changed");
    }
}

proptest! {
    #[test]
    fn around_the_wrap_no_index_is_used_twice_and_whatever_was_sealed_is_opened_once(
        first in 65_500_u32..65_560,
        order in proptest::collection::vec(0..40_u32, 1..120),
        heard in proptest::collection::vec(any::<proptest::sample::Index>(), 1..60),
    ) {
        let suite = SrtpSuite::AeadAes128Gcm;
        let (mut sealer, mut opener) = pair(suite);
        let mut packets = Vec::new();
        let mut indexes = std::collections::BTreeSet::new();
        for number in order {
            let sequence = (first + number) as u16;
            let clear = rtp(9, sequence);
            if let Ok(index) = sealer.streams.next_rtp(Ssrc(9), sequence) {
                prop_assert!(indexes.insert(index), "{index:?} again");
                packets.push((clear.clone(), sealed(&mut sealer, &clear)));
            }
        }
        let mut known = std::collections::BTreeSet::new();
        for place in heard {
            let place = place.index(packets.len());
            let (clear, packet) = &packets[place];
            let taken = opened_by_guess(&mut opener, packet);
            match known.insert(place) {
                true => prop_assert_eq!(taken.as_ref(), Ok(clear)),
                false => prop_assert_eq!(taken, Err(SrtpError::Replayed)),
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_never_open(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        suite in 0..4_usize,
        begun: bool,
        named: bool,
    ) {
        if begun && !bytes.is_empty() {
            bytes[0] = 0x80 | bytes[0] & 0x1f;
        }
        let mki = Mki::new(1, 2).filter(|_| named);
        let key = key_of(SrtpSuite::ALL[suite], 7, mki);
        let mut opener = Opener::new(&key).expect("an opener");
        prop_assert!(opener.open_rtp(&mut bytes.clone()).is_err());
        prop_assert!(opener.open_rtcp(&mut bytes.clone()).is_err());
        let mut sealer = Sealer::new(&key).expect("a sealer");
        let _ = sealer.seal_rtp(&mut bytes.clone(), bytes.len());
        let length = bytes.len();
        bytes.resize(length + SRTP_GROWTH_MAX, 0);
        let _ = sealer.seal_rtp(&mut bytes.clone(), length);
        let _ = sealer.seal_rtcp(&mut bytes, length);
    }
}
