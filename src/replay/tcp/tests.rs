#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::super::forge::{self, ACK, ETHERNET, FIN, Kept, Pcap, SYN, addr, millis};
use super::*;

const A: &str = "192.0.2.1:41000";
const B: &str = "192.0.2.2:5062";

fn message(n: usize, body: &str) -> Vec<u8> {
    let name = if n.is_multiple_of(2) { "Content-Length" } else { "l " };
    format!(
        "MESSAGE sip:b@example.com SIP/2.0\r\nCSeq: {n} MESSAGE\r\n{name}: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn messages() -> Vec<Vec<u8>> {
    vec![
        message(0, ""),
        message(1, "v=0\r\nMESSAGE sip:x@y SIP/2.0\r\n\r\n"),
        message(2, &"long ".repeat(99)),
    ]
}

/// Segments from A to B with their sequence numbers.
fn read(segments: &[(u32, u8, &[u8])]) -> (Vec<Kept>, Vec<Flaw>) {
    let mut file = Pcap::new(ETHERNET);
    for (n, (sequence, flags, payload)) in segments.iter().enumerate() {
        let segment = forge::tcp(addr(A), addr(B), *sequence, flags | ACK, 1, payload);
        file.push(
            millis(n as u64),
            &forge::ethernet(&forge::ip(addr(A).ip(), addr(B).ip(), 6, &segment)),
        );
    }
    forge::read(&file.bytes).unwrap()
}

fn texts(kept: &[Kept]) -> Vec<Vec<u8>> {
    kept.iter().map(|k| k.bytes.clone()).collect()
}

#[test]
fn messages_cut_at_any_byte_are_put_together() {
    let stream = messages().concat();
    for first in [u32::MAX - 40, 1_000] {
        for cut in 0..=stream.len() {
            let (left, right) = stream.split_at(cut);
            let second = first.wrapping_add(1 + cut as u32);
            let segments = [
                (first, SYN, &[][..]),
                (first.wrapping_add(1), 0, left),
                (second, 0, right),
                (second, FIN, &[][..]),
            ];
            let (kept, flaws) = read(&segments);
            assert_eq!(texts(&kept), messages(), "cut at {cut}");
            assert_eq!(flaws, [], "cut at {cut}");
        }
    }
}

#[test]
fn late_repeated_and_overlapping_segments_change_nothing() {
    let stream = messages().concat();
    let part = |from: usize, to: usize| (5_000 + from as u32, 0_u8, &stream[from..to]);
    let len = stream.len();
    let (kept, flaws) = read(&[
        (4_999, SYN, &[]),
        part(300, 400),
        part(100, 310),
        part(390, 395),
        part(0, 120),
        part(0, 120),
        part(50, 350),
        part(400, len),
        part(0, len),
    ]);
    assert_eq!(texts(&kept), messages());
    assert_eq!(flaws, []);
}

#[test]
fn segments_before_the_syn_are_used_in_whatever_order_they_come() {
    let all = messages();
    let stream = all.concat();
    // Not within the second one, whose body has a start line.
    for cut in [
        8,
        20,
        all[0].len() - 1,
        all[0].len(),
        all[0].len() + all[1].len() + 30,
        stream.len() - 1,
    ] {
        let (left, right) = ((101, 0, &stream[..cut]), (101 + cut as u32, 0, &stream[cut..]));
        let syn = (100, SYN, &[][..]);
        for segments in [
            [left, syn, right],
            [right, syn, left],
            [left, right, syn],
            [right, left, syn],
            [syn, right, left],
        ] {
            let (kept, flaws) = read(&segments);
            let mut found = texts(&kept);
            found.sort();
            let mut expected = all.clone();
            expected.sort();
            assert_eq!(found, expected, "cut at {cut}: {segments:?}");
            assert_eq!(flaws, [], "cut at {cut}");
        }
    }
}

#[test]
fn without_a_syn_a_swapped_first_pair_of_segments_costs_no_message() {
    let all = messages();
    let stream = all.concat();
    // Cut within its method, the rest of a start line is one.
    let is_capital = |at: usize| stream[at].is_ascii_uppercase();
    for cut in (1..stream.len()).filter(|cut| !(is_capital(cut - 1) && is_capital(*cut))) {
        let (left, right) = ((101, 0, &stream[..cut]), (101 + cut as u32, 0, &stream[cut..]));
        let (kept, _) = read(&[right, left]);
        assert!(texts(&kept).contains(&all[0]), "cut at {cut}");
        assert!(texts(&kept).contains(&all[2]), "cut at {cut}");
    }
    let cut = all[0].len() - 3;
    let (kept, flaws) = read(&[(101 + cut as u32, 0, &stream[cut..]), (101, 0, &stream[..cut])]);
    let late_first = [all[1].clone(), all[2].clone(), all[0].clone()];
    assert_eq!((texts(&kept), flaws), (late_first.to_vec(), vec![]));
}

#[test]
fn the_beginning_is_waited_for_a_bounded_while() {
    let m = message(2, "x");
    let (left, right) = m.split_at(40);
    for (late, messages) in [(400, 1), (600, 0)] {
        let mut file = Pcap::new(ETHERNET);
        for (at, sequence, payload) in [(0, 141, right), (late, 101, left)] {
            let segment = forge::tcp(addr(A), addr(B), sequence, ACK, 1, payload);
            file.push(
                millis(at),
                &forge::ethernet(&forge::ip(addr(A).ip(), addr(B).ip(), 6, &segment)),
            );
        }
        assert_eq!(forge::read(&file.bytes).unwrap().0.len(), messages, "{late} ms late");
    }
}

#[test]
fn a_capture_that_starts_in_the_middle_begins_with_the_next_message() {
    let stream = messages().concat();
    for cut in 7..messages()[0].len() {
        let (kept, flaws) = read(&[(77, 0, &stream[cut..])]);
        assert_eq!(texts(&kept), messages()[1..], "cut at {cut}");
        assert_eq!(flaws, []);
    }
}

#[test]
fn a_hole_costs_the_message_it_is_in_and_is_named() {
    let all = messages();
    let stream = all.concat();
    let hole = all[0].len() + 10..all[0].len() + 30;
    let (kept, flaws) = read(&[
        (9, SYN, &[]),
        (10, 0, &stream[..hole.start]),
        (10 + hole.end as u32, 0, &stream[hole.end..]),
    ]);
    assert_eq!(texts(&kept).first(), Some(&all[0]));
    assert_eq!(texts(&kept).last(), Some(&all[2]));
    let gap = FlawKind::TcpGap {
        src: addr(A),
        dst: addr(B),
        bytes: 20,
    };
    assert!(flaws.iter().any(|flaw| flaw.kind == gap), "{flaws:?}");
}

#[test]
fn an_acknowledged_hole_is_stepped_over_at_once() {
    let all = messages();
    let mut file = Pcap::new(ETHERNET);
    let mut push = |at: u64, from: &str, to: &str, sequence: u32, acked: u32, payload: &[u8]| {
        let segment = forge::tcp(addr(from), addr(to), sequence, ACK, acked, payload);
        file.push(
            millis(at),
            &forge::ethernet(&forge::ip(addr(from).ip(), addr(to).ip(), 6, &segment)),
        );
    };
    let (first, third) = (&all[0], &all[2]);
    let ahead = (first.len() + all[1].len()) as u32;
    push(0, A, B, 100, 0, first);
    push(1, A, B, 100 + ahead, 0, third);
    push(2, B, A, 1, 100 + ahead + third.len() as u32, b"");
    push(3, B, A, 1, 0, b"not SIP");
    let (kept, _) = forge::read(&file.bytes).unwrap();
    assert_eq!(texts(&kept), [first.clone(), third.clone()]);
    assert_eq!((kept[1].packet, kept[1].at), (3, millis(2)));
}

#[test]
fn copies_to_a_collector_are_cut_by_their_length_and_found_again_behind_a_hole() {
    let chunk = |kind: u8, value: &[u8]| [&[0, 0, 0, kind, 0, value.len() as u8 + 6][..], value].concat();
    let copy = |message: &[u8]| {
        let ends = [
            chunk(3, &[192, 0, 2, 7]),
            chunk(4, &[192, 0, 2, 8]),
            chunk(7, &[19, 196]),
            chunk(8, &[19, 196]),
        ];
        let chunks = [&ends.concat()[..], &chunk(2, &[17]), &chunk(15, message)].concat();
        [b"HEP3", &(chunks.len() as u16 + 6).to_be_bytes()[..], &chunks].concat()
    };
    let all = [message(0, ""), message(1, "\r\n"), message(2, "x\r\n")];
    let copies: Vec<Vec<u8>> = all.iter().map(|message| copy(message)).collect();
    let stream = copies.concat();
    for cut in 1..stream.len() {
        let (kept, flaws) = read(&[
            (9, SYN, &[]),
            (10, 0, &stream[..cut]),
            (10 + cut as u32, 0, &stream[cut..]),
        ]);
        assert_eq!((texts(&kept), flaws), (all.to_vec(), vec![]), "cut at {cut}");
        assert!(
            kept.iter()
                .all(|k| (k.sip, k.src) == (Some(Transport::Udp), addr("192.0.2.7:5060")))
        );
    }
    let hole = copies[0].len() + 10..copies[0].len() + 30;
    let (kept, flaws) = read(&[
        (10, 0, &stream[..hole.start]),
        (10 + hole.end as u32, 0, &stream[hole.end..]),
    ]);
    assert_eq!(texts(&kept), [all[0].clone(), all[2].clone()]);
    assert!(
        flaws.iter().any(|flaw| matches!(flaw.kind, FlawKind::TcpGap { .. })),
        "{flaws:?}"
    );
}

#[test]
fn a_second_connection_on_the_same_ports_starts_anew() {
    let m = message(0, "");
    let (kept, flaws) = read(&[
        (1, SYN, &[]),
        (2, 0, &m),
        (9_000_000, SYN, &[]),
        (9_000_001, 0, &m),
        (3, 0, &[]),
    ]);
    assert_eq!((kept.len(), flaws), (2, vec![]));
}

#[test]
fn keep_alives_between_messages_are_no_messages() {
    let m = message(2, "x");
    let stream = [b"\r\n\r\n", &m[..], b"\r\n", &m[..], b"\r\n\r\n"].concat();
    let (kept, flaws) = read(&[(1, 0, &stream)]);
    assert_eq!(texts(&kept), [m.clone(), m]);
    assert_eq!(flaws, []);
}

#[test]
fn connections_that_are_not_sip_leave_nothing_behind() {
    let mut streams = Streams::default();
    let place = Place {
        packet: 1,
        offset: 0,
        at: millis(0),
    };
    for port in 1..2_000 {
        let src = SocketAddr::new(addr(A).ip(), port);
        let segment = |sequence, syn, payload| Segment {
            sequence,
            acknowledged: None,
            syn,
            fin: false,
            rst: false,
            payload,
        };
        streams.push(place, src, addr(B), &segment(1, true, &[]));
        streams.push(place, src, addr(B), &segment(2, false, b"\x16\x03\x01\x02\x00\x01\x00"));
        streams.push(place, src, addr(B), &segment(9, false, &[0xAA; 1_400]));
    }
    assert_eq!(
        (streams.streams.len(), streams.bytes, streams.poll_output()),
        (0, 0, None)
    );
}

#[test]
fn buffers_stay_within_their_caps() {
    let mut streams = Streams::default();
    let place = Place {
        packet: 1,
        offset: 0,
        at: millis(0),
    };
    for n in 0..20_000_u32 {
        let src = SocketAddr::new(addr(A).ip(), (n % 9_000) as u16 + 1);
        let payload = [b"INVITE sip:b@c SIP/2.0\r\nX: ".to_vec(), vec![b'x'; 8_000]].concat();
        let sequence = 1 + 9_000 * (n % 7);
        let segment = Segment {
            sequence,
            acknowledged: None,
            syn: false,
            fin: false,
            rst: false,
            payload: &payload,
        };
        streams.push(place, src, addr(B), &segment);
        while streams.poll_output().is_some() {}
        assert!(streams.bytes <= BYTES_MAX + payload.len() && streams.streams.len() <= STREAMS_MAX);
    }
    assert_eq!(
        streams.bytes,
        streams.streams.values().map(Stream::bytes).sum::<usize>()
    );
    streams.finish(place);
    assert_eq!((streams.bytes, streams.streams.len()), (0, 0));
}

#[test]
fn an_endless_header_or_a_huge_body_is_passed_over() {
    let mut stream = b"INVITE sip:b@c SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    stream.extend(message(4, "after"));
    let (kept, flaws) = read(&[(1, 0, &stream)]);
    assert_eq!(texts(&kept), [message(4, "after")]);
    assert_eq!(flaws.len(), 1);
}

proptest! {
    #[test]
    fn any_segmentation_in_any_order_gives_the_messages(
        cuts in prop::collection::btree_set(1_usize..700, 0..12),
        order in any::<u64>(),
    ) {
        let stream = messages().concat();
        let mut bounds: Vec<usize> = cuts.into_iter().filter(|cut| *cut < stream.len()).collect();
        bounds.insert(0, 0);
        bounds.push(stream.len());
        let mut segments: Vec<_> =
            bounds.windows(2).map(|w| (50 + w[0] as u32, 0_u8, &stream[w[0]..w[1]])).collect();
        let mut state = order;
        for i in (1..segments.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            segments.swap(i, (state >> 33) as usize % (i + 1));
        }
        segments.insert(0, (49, SYN, &[]));
        let (kept, flaws) = read(&segments);
        prop_assert_eq!(texts(&kept), messages());
        prop_assert_eq!(flaws, vec![]);
    }

    #[test]
    fn hostile_segments_never_panic(
        segments in prop::collection::vec(
            (0_u32..3_000, any::<u8>(), prop::sample::select(vec![0_usize, 1, 3, 5, 40, 90, 200])), 0..60),
    ) {
        let stream = messages().concat();
        let segments: Vec<_> =
            segments.iter().map(|(sequence, flags, len)| (*sequence, *flags & 7, &stream[*len..*len * 2])).collect();
        let _ = read(&segments);
    }
}
