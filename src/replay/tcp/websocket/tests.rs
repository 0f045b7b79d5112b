#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::super::super::flaw::Flaw;
use super::super::super::forge::{self, ACK, ETHERNET, Kept, Pcap, SYN, addr, millis};
use super::*;

const CLIENT: &str = "192.0.2.1:41000";
const SERVER: &str = "192.0.2.2:8080";
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

fn message(n: usize, body: usize) -> Vec<u8> {
    let body = "x".repeat(body);
    format!(
        "MESSAGE sip:b@example.com SIP/2.0\r\nCSeq: {n} MESSAGE\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn frame(first: u8, payload: &[u8], is_masked: bool) -> Vec<u8> {
    let bit = u8::from(is_masked) << 7;
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(bit | len as u8),
        len @ 126..65_536 => {
            bytes.push(bit | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(bit | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    if is_masked {
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend(payload);
    }
    bytes
}

/// A stream from client or server, in the given segments, after the handshake.
fn read(is_client: bool, handshake: bool, segments: &[&[u8]]) -> (Vec<Kept>, Vec<Flaw>) {
    let mut file = Pcap::new(ETHERNET);
    let (src, dst) = if is_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let (src, dst) = (addr(src), addr(dst));
    let mut sequence = 100_u32;
    let mut push = |flags: u8, payload: &[u8]| {
        let segment = forge::tcp(src, dst, sequence, flags | ACK, 1, payload);
        sequence += payload.len() as u32 + u32::from(flags == SYN);
        file.push(millis(0), &forge::ethernet(&forge::ip(src.ip(), dst.ip(), 6, &segment)));
    };
    if handshake {
        push(SYN, b"");
        push(
            0,
            if is_client {
                b"GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
            } else {
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
            },
        );
    }
    for segment in segments {
        push(0, segment);
    }
    forge::read(&file.bytes).unwrap()
}

#[test]
fn messages_that_never_end_stay_within_the_budget_of_all() {
    let mut streams = super::super::Streams::default();
    let place = super::super::Place {
        packet: 1,
        offset: 0,
        at: millis(0),
    };
    let (head, more) = (frame(0x01, &message(1, 7_000), true), frame(0x00, &[b'x'; 8_000], true));
    for n in 0..900_u32 {
        let src = std::net::SocketAddr::new(addr(CLIENT).ip(), (n % 900) as u16 + 1);
        let mut sequence = 1;
        for part in [&head, &more, &more, &more, &more, &more] {
            let segment = super::super::Segment {
                sequence,
                acknowledged: None,
                syn: false,
                fin: false,
                rst: false,
                payload: part,
            };
            streams.push(place, src, addr(SERVER), &segment);
            while streams.poll_output().is_some() {}
            sequence += part.len() as u32;
            assert!(streams.bytes <= super::super::BYTES_MAX + part.len());
        }
    }
    let held = streams.streams.values().map(Stream::bytes).sum::<usize>();
    assert_eq!(streams.bytes, held);
    assert!(held > 8 << 20, "what is not whole yet counts: {held}");
    assert!(streams.streams.len() < 900, "the longest silent were forgotten");
}

#[test]
fn messages_of_any_length_are_read_from_both_ends_with_and_without_a_handshake() {
    let all = [message(0, 0), message(1, 400), message(2, 70_000)];
    for is_client in [true, false] {
        for handshake in [true, false] {
            let mut stream = Vec::new();
            for (n, message) in all.iter().enumerate() {
                stream.push(frame(0x81 + (n as u8 & 1), message, is_client));
                stream.push(frame(0x89, b"ping", is_client));
                stream.push(frame(0x81, b"\r\n\r\n", is_client));
            }
            let stream = stream.concat();
            let mut segments = vec![&stream[..300]];
            segments.extend(stream[300..].chunks(1_400));
            let (kept, flaws) = read(is_client, handshake, &segments);
            assert_eq!(flaws, []);
            assert_eq!(kept.iter().map(|k| k.bytes.clone()).collect::<Vec<_>>(), all);
            assert!(kept.iter().all(|k| k.sip == Some(Transport::Ws)));
        }
    }
}

#[test]
fn a_message_in_several_frames_is_put_together() {
    let whole = message(0, 500);
    let stream = [
        frame(0x01, &whole[..100], true),
        frame(0x8A, b"", true),
        frame(0x00, &whole[100..200], true),
        frame(0x80, &whole[200..], true),
    ]
    .concat();
    let (kept, flaws) = read(true, true, &[&stream]);
    assert_eq!((kept.len(), flaws), (1, vec![]));
    assert_eq!(kept[0].bytes, whole);
}

#[test]
fn what_comes_after_a_frame_that_is_none_is_looked_for_anew() {
    let (first, second) = (frame(0x81, &message(0, 0), true), frame(0x81, &message(1, 0), true));
    let (kept, flaws) = read(true, true, &[&first, &[0xFF; 50], &second]);
    assert_eq!((kept.len(), flaws.len()), (2, 1), "{flaws:?}");
}

/// The stream without the bytes of the hole, which the other end acknowledges before the rest comes, in chunks.
fn read_with_hole(stream: &[u8], hole: std::ops::Range<usize>, chunk: usize) -> (Vec<Vec<u8>>, Vec<Flaw>) {
    let mut file = Pcap::new(ETHERNET);
    let (src, dst) = (addr(CLIENT), addr(SERVER));
    let mut push = |from: usize, payload: &[u8]| {
        let segment = forge::tcp(src, dst, 100 + from as u32, ACK, 1, payload);
        file.push(millis(0), &forge::ethernet(&forge::ip(src.ip(), dst.ip(), 6, &segment)));
        let acked = 100 + (from + payload.len()) as u32;
        let segment = forge::tcp(dst, src, 1, ACK, acked, b"");
        file.push(millis(0), &forge::ethernet(&forge::ip(dst.ip(), src.ip(), 6, &segment)));
    };
    push(0, &stream[..hole.start]);
    let mut at = hole.end;
    for chunk in stream[hole.end..].chunks(chunk) {
        push(at, chunk);
        at += chunk.len();
    }
    let (kept, flaws) = forge::read(&file.bytes).unwrap();
    (kept.into_iter().map(|k| k.bytes).collect(), flaws)
}

#[test]
fn a_gap_costs_only_the_messages_that_it_is_in() {
    let all: Vec<Vec<u8>> = (0..5).map(|n| message(n, 40 * n)).collect();
    for is_client in [true, false] {
        let frames: Vec<Vec<u8>> = all.iter().map(|message| frame(0x81, message, is_client)).collect();
        let stream = frames.concat();
        let first = frames[0].len();
        for (start, len) in (first..stream.len() - 60)
            .flat_map(|start| [1, 7, 150].map(|len| (start, len)))
            .step_by(17)
        {
            let hole = start..(start + len).min(stream.len() - 1);
            let mut at = 0;
            let mut expected = all.clone();
            expected.retain(|message| {
                let from = at;
                at += frame(0x81, message, is_client).len();
                at <= hole.start || from >= hole.end
            });
            for chunk in [33, 1_400] {
                let (kept, flaws) = read_with_hole(&stream, hole.clone(), chunk);
                assert_eq!(kept, expected, "{is_client} {hole:?} {chunk}");
                assert!(
                    flaws.iter().any(|flaw| flaw.to_string().contains("missing")),
                    "{flaws:?}"
                );
            }
        }
    }
}

#[test]
fn a_connection_that_was_there_before_the_capture_is_joined_in_the_middle_of_a_frame() {
    let stream = [frame(0x81, &message(0, 300), true), frame(0x81, &message(1, 0), true)].concat();
    for cut in 1..300 {
        let (kept, flaws) = read(true, false, &[&stream[cut..]]);
        assert_eq!((kept.len(), flaws), (1, vec![]), "{cut}");
        assert_eq!(kept[0].bytes, message(1, 0));
    }
}

#[test]
fn bytes_that_look_like_frames_without_end_are_searched_in_bounded_time() {
    let bait = [&[0x81, 126, 4, 0][..], b"INVITE "].concat().repeat(20_000);
    assert_eq!(first_frame(&bait), None);
    let mut candidates = CANDIDATES_MAX;
    for at in 0..bait.len() {
        let _ = begins(&bait[at..], &mut candidates);
    }
    assert_eq!(candidates, 0);
}

proptest! {
    #[test]
    fn frames_with_a_few_bytes_changed_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in 1_usize..200,
    ) {
        let mut stream = [frame(0x81, &message(0, 0), true), frame(0x01, &message(1, 300), true)].concat();
        for (at, value) in changes {
            let at = at.index(stream.len());
            stream[at] = value;
        }
        let segments: Vec<&[u8]> = stream.chunks(cut).collect();
        let (kept, _) = read(true, false, &segments);
        prop_assert!(kept.len() <= 4);
    }
}
