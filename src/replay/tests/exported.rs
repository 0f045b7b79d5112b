//! What `export` wrote of a recording, played again.

use super::parties::encrypted_call;
use super::*;
use crate::disk::{Disk, StoredFile};
use crate::playback::export_pcapng;
use crate::recorder::SealedCall;

/// The one call of a capture, recorded. `is_closed`: its closing record is known to who exports it.
fn exported(capture: &[u8], is_closed: bool) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout {
        data: folder.path().to_owned(),
        volumes: vec![folder.path().join("spool")],
    };
    replay_to(capture, &options(), Disk::open(layout.clone()).unwrap()).unwrap();
    let path = layout.sealed().unwrap().calls.into_values().next().unwrap();
    let mut sealed = SealedCall::open(StoredFile::open(&path).unwrap()).unwrap();
    let (header, closing) = (sealed.header().clone(), sealed.manifest().closing.clone());
    let mut out = Vec::new();
    export_pcapng(&mut out, &header, Some(&closing).filter(|_| is_closed), sealed.frames()).unwrap();
    out
}

fn errors(report: &Report) -> Vec<(u64, String)> {
    let errors = report.capture.errors.iter();
    errors.map(|error| (error.packet, error.error.clone())).collect()
}

#[test]
fn a_call_that_was_opened_is_played_in_clear_and_told_with_the_packet_that_says_so() {
    let talk = encrypted_call();
    let first = exported(&talk.file.bytes, true);
    let second = exported(&first, true);
    for (file, is_told) in [(first, true), (second, false)] {
        let report = replay(&*file, &options()).unwrap();
        assert_eq!(streams(&report.calls[0]), [(Leg::A, 0xA, 5, 5), (Leg::B, 0xB, 5, 5)]);
        assert_eq!((report.calls.len(), report.calls[0].outcome), (1, Outcome::Recorded));
        assert_eq!(report.calls[0].streams[0].codec, "PCMU");
        let told = errors(&report);
        assert_eq!(told.len(), usize::from(is_told), "{told:?}");
        assert!(
            told.iter()
                .all(|(packet, what)| *packet == 1 && what.contains("in clear"))
        );
    }
}

#[test]
fn without_the_word_that_it_was_opened_its_blanked_keys_are_told_with_their_packet() {
    let file = exported(&encrypted_call().file.bytes, false);
    let report = replay(&*file, &options()).unwrap();
    let told = errors(&report);
    assert!(matches!(&told[..], [(1, what)] if what.contains("keys")), "{told:?}");
    assert_eq!(streams(&report.calls[0]), [(Leg::A, 0xA, 5, 0), (Leg::B, 0xB, 5, 0)]);
}
