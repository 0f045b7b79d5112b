#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

fn sealed(frames: &[(u64, usize)]) -> Vec<u8> {
    let mut extent = Extent::with_capacity(64);
    extent.reset(3, SessionId::from_u128(77), Timestamp::ZERO);
    for (at, bytes) in frames {
        let payload = vec![1; *bytes];
        let tag = Tag::Packet(PacketKind::Rtcp);
        extent.push(Timestamp::from_nanos(*at), tag, Leg::B, 5, &[&payload]);
    }
    let mut bytes = BytesMut::new();
    extent.seal_into(&mut bytes, 9, 4, [7; 32]);
    bytes.to_vec()
}

proptest! {
    #[test]
    fn an_extent_is_read_back_as_it_was_written(frames in prop::collection::vec((any::<u64>(), 0_usize..300), 0..20)) {
        let mut bytes = sealed(&frames);
        let length = bytes.len();
        bytes.extend_from_slice(b"what follows");
        let view = ExtentView::parse(&bytes).unwrap();
        prop_assert_eq!(view.bytes.len(), length);
        let header = view.header;
        prop_assert_eq!((header.session.as_u128(), header.lsn, header.ordinal), (77, 9, 4));
        prop_assert_eq!(header.previous, [7; 32]);
        let read: Vec<_> = view.frames().map(|f| f.unwrap()).map(|f| (f.at.as_nanos(), f.payload.len())).collect();
        prop_assert_eq!(&read, &frames);
        if let Some(first) = frames.iter().map(|f| f.0).min() {
            prop_assert_eq!(header.first_at.as_nanos(), first);
        }
    }

    #[test]
    fn any_changed_byte_of_an_extent_is_noticed(at in 0_usize..400, flip in 1_u8..) {
        let mut bytes = sealed(&[(1, 100), (2, 150)]);
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(ExtentView::parse(&bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_behind_a_sound_header_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), frames: u32) {
        let mut bytes = vec![0; EXTENT_HEADER_BYTES];
        bytes.extend_from_slice(&body);
        let header = ExtentHeader {
            bytes: bytes.len() as u32,
            session: SessionId::from_u128(0),
            lsn: 0,
            ordinal: 0,
            frames,
            first_at: Timestamp::ZERO,
            last_at: Timestamp::ZERO,
            previous: CHAIN_START,
        };
        header.stamp(&mut bytes);
        let view = ExtentView::parse(&bytes).unwrap();
        prop_assert!(view.frames().count() <= body.len() / FRAME_HEADER_BYTES + 1);
        let _ = super::super::chain::Chain::new().push(&view);
    }

    #[test]
    fn arbitrary_bytes_are_no_extent_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(ExtentView::parse(&bytes).is_err());
        let mut walk = super::super::segment::Walk::new();
        walk.over(&bytes, true, |_, _| panic!("nothing is there"));
    }
}
