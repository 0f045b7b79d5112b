#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::model::{Closing, Leg, Mark, Outcome, Reconciliation, Timestamp};
use crate::recorder::extent::{CHAIN_START, Extent, Tag};
use crate::recorder::frame::PacketKind;
use crate::recorder::seal::{closing_bytes, file_header};
use crate::recorder::stored::{hex, json};
use proptest::prelude::*;

fn header(session: SessionId) -> Header {
    let text = format!(
        r#"{{"session":"{session}","node":"lab","started":"2026-11-22T09:00:00Z",
            "caller":{{"identity":"sip:alice@example.com","display_name":null,"raw":[]}},
            "callee":{{"identity":"sip:bob@example.com","display_name":null,"raw":[]}},
            "from_trunk":"pbx","to_trunk":null,"call_ids":["a"],"policies":["desk"],"generation":1,"policy_hash":"",
            "trace":[],"strict_before":true,"strict_during":true,"emergency":false}}"#
    );
    serde_json::from_str(&text).unwrap()
}

/// A sealed call of `extents` extents, each of three packets, and what was given for extent 2.
fn file(extents: u32, left_out: Option<u32>) -> Vec<u8> {
    let session = SessionId::from_u128(0xabc);
    let mut bytes = bytes::BytesMut::from(&file_header(session, SealKind::Plain)[..]);
    let (mut link, mut chain) = (CHAIN_START, Chain::new());
    for ordinal in 0..extents {
        let mut extent = Extent::with_capacity(100);
        extent.reset(0, session, Timestamp::ZERO);
        let at = Timestamp::from_millis(u64::from(ordinal));
        match ordinal {
            0 => extent.push(at, Tag::Opening, Leg::A, 0, &[&json(&header(session))]),
            1 => extent.push(at, Tag::Mark, Leg::A, 0, &[&json(&Mark::Answered)]),
            _ => (0..3_u8).for_each(|n| {
                let tag = Tag::Packet(PacketKind::Rtp);
                extent.push(at, tag, Leg::B, 0, &[&[0x80, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, n]]);
            }),
        }
        let start = bytes.len();
        link = extent.seal_into(&mut bytes, u64::from(ordinal), ordinal, link);
        chain.push(&ExtentView::parse(&bytes[start..]).unwrap()).unwrap();
        if left_out == Some(ordinal) {
            bytes.truncate(start);
        }
    }
    chain.counts.bytes = (bytes.len() - FILE_HEADER_BYTES) as u64;
    let manifest = manifest(session, &chain);
    bytes.extend_from_slice(&closing_bytes(&manifest, &chain.head()));
    bytes.to_vec()
}

fn manifest(session: SessionId, chain: &Chain) -> Manifest {
    Manifest {
        session,
        software: "onrecord".into(),
        sealed: Timestamp::ZERO,
        outcome: Outcome::Recorded,
        header: header(session),
        closing: Closing {
            outcome: Outcome::Recorded,
            answered: None,
            ended: Timestamp::from_millis(9),
            ended_by: "BYE from A".into(),
            status: Some(200),
            tally: None,
            fault: None,
            encryption: None,
            conversation: None,
            became: None,
            decisions: Vec::new(),
            formerly: Vec::new(),
            consents: Vec::new(),
        },
        reconciliation: Reconciliation {
            stored: chain.counts.packets,
            ..Reconciliation::default()
        },
        counts: chain.counts.clone(),
        streams: chain.streams.clone(),
        breaks: chain.breaks.clone(),
        chain: hex(&chain.head()),
        recovered: None,
    }
}

fn check(bytes: &[u8]) -> Result<Counts, SealError> {
    SealedCall::open(bytes)?.verify()
}

#[test]
fn whose_parties_changed_is_listed_by_those_of_the_end_and_others_are_written_as_ever() {
    let session = SessionId::from_u128(7);
    let mut manifest = manifest(session, &Chain::new());
    assert!(!String::from_utf8(json(&manifest)).expect("text").contains("became"));
    let mut became = header(session);
    became.callee.identity = "sip:trader@example.com".into();
    became.policies = vec!["desk".into()];
    manifest.closing.became = Some(became.into());
    let read: Manifest = serde_json::from_slice(&json(&manifest)).expect("its own JSON");
    let entry = crate::recorder::catalog::Entry::from(&read);
    assert_eq!(entry.to, "sip:trader@example.com");
    assert_eq!(entry.policies, ["desk".into()]);
}

#[test]
fn a_sealed_call_is_read_back_and_verified() {
    let bytes = file(5, None);
    let counts = check(&bytes).unwrap();
    assert_eq!((counts.extents, counts.packets, counts.marks), (5, 9, 1));
    let mut call = SealedCall::open(bytes.as_slice()).unwrap();
    assert_eq!(call.header().caller.identity, "sip:alice@example.com");
    let frames: Vec<Frame> = call.frames().map(Result::unwrap).collect();
    assert_eq!(frames.len(), 10);
    assert_eq!(
        frames[0],
        Frame::Mark {
            at: Timestamp::from_millis(1),
            mark: Mark::Answered
        }
    );
}

#[test]
fn every_flipped_bit_is_found_and_none_before_it_is_blamed() {
    let bytes = file(4, None);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let error = check(&damaged).expect_err("a flipped bit");
        assert!(error.offset() <= bytes.len() as u64, "{at}: {error}");
    }
}

#[test]
fn the_first_thing_wrong_is_named_with_its_byte() {
    let whole = file(5, None);
    let start = |ordinal: u32| {
        let mut store = whole.as_slice();
        let mut extents = Extents::new(&mut store, whole.len() as u64);
        (0..=ordinal)
            .map(|_| extents.next_extent().unwrap().unwrap().0)
            .last()
            .unwrap()
    };
    let mut flipped = whole.clone();
    flipped[start(2) as usize + 100] ^= 4;
    flipped[start(3) as usize + 100] ^= 4;
    let error = ExtentError::Checksum;
    assert_eq!(
        check(&flipped),
        Err(SealError::Extent {
            offset: start(2),
            error
        })
    );

    let missing = SealError::Missing {
        offset: start(2),
        expected: 2,
        found: 3,
    };
    assert_eq!(check(&file(5, Some(2))), Err(missing));
    assert_eq!(missing.offset(), start(2));

    // The last extent cannot be missed by those behind it: the counts do.
    let Err(SealError::Count {
        what: "extents",
        stated: 5,
        found: 4,
        ..
    }) = check(&file(5, Some(4)))
    else {
        panic!("{:?}", check(&file(5, Some(4))));
    };
    for bytes in 0..whole.len() {
        assert!(check(&whole[..bytes]).is_err(), "cut to {bytes} bytes");
    }
    assert_eq!(check(b"not a call"), Err(SealError::Truncated { offset: 10 }));
}

proptest! {
    #[test]
    fn mutated_files_never_panic_and_never_pass(
        edits in prop::collection::vec((any::<usize>(), any::<u8>(), 0_u8..4), 1..8),
    ) {
        let whole = file(6, None);
        let mut bytes = whole.clone();
        for (at, value, kind) in edits {
            let at = at % bytes.len().max(1);
            match kind {
                0 | 2 if bytes.is_empty() => {}
                0 => bytes[at] = value,
                1 => bytes.insert(at, value),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if bytes != whole {
            prop_assert!(check(&bytes).is_err());
        }
        if let Ok(mut call) = SealedCall::open(bytes.as_slice()) {
            let _ = call.frames().count();
        }
        let _ = crate::recorder::survey(bytes.as_slice());
    }
}
