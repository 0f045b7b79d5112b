#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::super::forge::{self, ETHERNET, Order, Pcap, millis};
use super::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";

#[test]
fn all_four_kinds_of_pcap_give_the_same_packets_and_times() {
    for order in [Order::Big, Order::Little] {
        for nanos in [false, true] {
            let mut file = Pcap::with(ETHERNET, order, nanos);
            let fine = u64::from(nanos);
            let at = Timestamp::from_nanos(millis(1_234).as_nanos() + 5_000 + fine);
            file.udp(millis(0), A, B, b"one").udp(at, B, A, b"two");
            let (kept, flaws) = forge::read(&file.bytes).unwrap();
            assert_eq!(flaws, [], "{order:?} {nanos}");
            assert_eq!(kept[0].bytes, b"one");
            assert_eq!((kept[1].packet, kept[1].at, &kept[1].bytes[..]), (2, at, &b"two"[..]));
        }
    }
}

#[test]
fn interfaces_of_one_file_keep_their_own_link_types_and_clocks() {
    for order in [Order::Big, Order::Little] {
        let at = millis(1_500);
        let micros = at.as_nanos() / 1_000;
        let binary = (u128::from(at.as_nanos()) << 20) / 1_000_000_000;
        let mut file = forge::section(order);
        file.extend(forge::interface(order, 1, None));
        file.extend(forge::interface(order, 101, Some(9)));
        file.extend(forge::interface(order, 101, Some(0x80 | 20)));
        file.extend(forge::enhanced(order, 0, micros, &forge::ethernet_udp(A, B, b"a")));
        file.extend(forge::block(order, 5, &[0; 12]));
        file.extend(forge::enhanced(order, 1, at.as_nanos(), &forge::ip_udp(A, B, b"b")));
        file.extend(forge::enhanced(order, 2, binary as u64, &forge::ip_udp(A, B, b"c")));
        // A new section forgets the interfaces; it may be of the other byte order.
        let other = if order == Order::Big { Order::Little } else { Order::Big };
        file.extend(forge::section(other));
        file.extend(forge::interface(other, 101, Some(3)));
        file.extend(forge::enhanced(other, 0, at.as_millis(), &forge::ip_udp(A, B, b"d")));
        file.extend(forge::enhanced(other, 1, 0, &forge::ip_udp(A, B, b"e")));
        let (kept, flaws) = forge::read(&file).unwrap();
        let texts: Vec<_> = kept.iter().map(|k| k.bytes.clone()).collect();
        assert_eq!(texts, [b"a", b"b", b"c", b"d"]);
        assert!(
            kept.iter()
                .all(|k| k.at.since(at).as_micros() + at.since(k.at).as_micros() <= 1),
            "{kept:?}"
        );
        assert_eq!(flaws.len(), 1);
        assert_eq!(
            (flaws[0].packet, flaws[0].kind),
            (5, FlawKind::UnknownInterface { interface: 1 })
        );
    }
}

#[test]
fn packet_blocks_of_all_ages_are_read() {
    let order = Order::Little;
    let frame = forge::ip_udp(A, B, b"x");
    let mut file = forge::section(order);
    file.extend(forge::interface(order, 101, None));
    let mut simple = order.u32(frame.len() as u32).to_vec();
    simple.extend(&frame);
    file.extend(forge::block(order, SIMPLE_PACKET, &simple));
    let mut obsolete = order.u16(0).to_vec();
    obsolete.extend(order.u16(3));
    for field in [0, 77, frame.len() as u32, frame.len() as u32] {
        obsolete.extend(order.u32(field));
    }
    obsolete.extend(&forge::ip_udp(A, B, b"y"));
    file.extend(forge::block(order, OBSOLETE_PACKET, &obsolete));
    let (kept, flaws) = forge::read(&file).unwrap();
    assert_eq!((kept.len(), flaws.len()), (2, 0));
    assert_eq!(kept[1].at, Timestamp::from_nanos(77_000));
}

#[test]
fn a_file_cut_at_any_byte_gives_the_packets_before_the_cut_and_names_the_rest() {
    let mut pcap = Pcap::new(ETHERNET);
    pcap.udp(millis(0), A, B, b"one").udp(millis(20), A, B, b"two");
    let order = Order::Little;
    let mut pcapng = forge::section(order);
    pcapng.extend(forge::interface(order, 1, Some(9)));
    pcapng.extend(forge::enhanced(order, 0, 5, &forge::ethernet_udp(A, B, b"one")));
    let first_end = pcapng.len();
    pcapng.extend(forge::enhanced(order, 0, 6, &forge::ethernet_udp(A, B, b"two")));
    let second = 24 + 16 + forge::ethernet_udp(A, B, b"one").len();
    for (file, header, second) in [(&pcap.bytes, 24, second), (&pcapng, 28, first_end)] {
        for cut in 0..file.len() {
            let read = forge::read(&file[..cut]);
            if cut < header {
                assert_eq!(read.unwrap_err(), NotACapture::Truncated, "cut at {cut}");
                continue;
            }
            let (kept, flaws) = read.unwrap();
            assert_eq!(kept.len(), usize::from(cut >= second), "cut at {cut}");
            assert!(flaws.len() <= 1, "cut at {cut}: {flaws:?}");
            for flaw in flaws {
                assert_eq!((flaw.packet, flaw.kind), (kept.len() as u64 + 1, FlawKind::Truncated));
                assert!(flaw.offset <= cut as u64);
            }
        }
    }
}

#[test]
fn a_record_of_an_impossible_length_is_named_with_its_offset() {
    let mut file = Pcap::new(ETHERNET);
    file.udp(millis(0), A, B, b"one");
    let offset = file.bytes.len() as u64;
    file.udp(millis(20), A, B, b"two");
    let at = offset as usize + 8;
    file.bytes[at..at + 4].copy_from_slice(&0x7FFF_FFFF_u32.to_le_bytes());
    let (kept, flaws) = forge::read(&file.bytes).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (flaws[0].packet, flaws[0].offset, flaws[0].kind),
        (2, offset, FlawKind::Truncated)
    );
    assert_eq!(
        flaws[0].to_string(),
        format!("packet 2 at byte {offset}: the file ends inside this record")
    );
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    assert_eq!(forge::read(b"").unwrap_err(), NotACapture::Truncated);
    assert_eq!(
        forge::read(b"\x1f\x8b\x08\x00abc").unwrap_err(),
        NotACapture::Compressed { by: "gzip" }
    );
    assert_eq!(
        forge::read(b"RIFFabc").unwrap_err(),
        NotACapture::Magic { magic: *b"RIFF" }
    );
    let mut bad = forge::section(Order::Little);
    bad[8] = 0;
    assert_eq!(forge::read(&bad).unwrap_err(), NotACapture::Header);
}

#[test]
fn a_bad_comment_does_not_cost_the_packet() {
    let order = Order::Little;
    let mut file = forge::section(order);
    file.extend(forge::interface(order, 101, None));
    let frame = forge::ip_udp(A, B, b"xyz!");
    let mut body = Vec::new();
    for field in [0, 0, 1, frame.len() as u32, frame.len() as u32] {
        body.extend(order.u32(field));
    }
    body.extend(&frame);
    body.extend([1, 0, 0xFF, 0x7F, 0xC3, 0x28]);
    file.extend(forge::block(order, 6, &body));
    let (kept, flaws) = forge::read(&file).unwrap();
    assert_eq!((kept.len(), flaws), (1, vec![]));
}

proptest! {
    #[test]
    fn random_bytes_never_panic_or_loop(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0_u8..4) {
        let mut file = match kind {
            0 => Vec::new(),
            1 => Pcap::new(ETHERNET).bytes,
            2 => Pcap::with(101, Order::Big, true).bytes,
            _ => [forge::section(Order::Little), forge::interface(Order::Little, 1, None)].concat(),
        };
        file.extend(bytes);
        let _ = forge::read(&file);
    }

    #[test]
    fn flipped_bytes_never_panic_or_loop(at in 0_usize..400, flip in 1_u8..) {
        let order = Order::Little;
        let mut file = [forge::section(order), forge::interface(order, 1, Some(9))].concat();
        for n in 0..4 {
            file.extend(forge::enhanced(order, 0, n, &forge::ethernet_udp(A, B, b"some payload")));
        }
        let at = at % file.len();
        file[at] ^= flip;
        let (kept, flaws) = forge::read(&file).unwrap_or_default();
        // The interface and its packets: one flaw for each at most.
        prop_assert!(kept.len() <= 4 && flaws.len() <= 5);
    }
}
