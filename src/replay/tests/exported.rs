//! What `export` wrote of a recording, played again.

use super::parties::encrypted_call;
use super::*;
use crate::disk::{Disk, StoredFile};
use crate::model::{Closing, Encryption, Header};
use crate::playback::export_pcapng;
use crate::recorder::{Frame, SealedCall};

/// The one call of a capture, recorded. `is_closed`: its closing record is known to who exports it.
fn exported(capture: &[u8], is_closed: bool) -> Vec<u8> {
    let (header, closing, frames) = recorded(capture);
    written(&header, Some(&closing).filter(|_| is_closed), frames)
}

fn written(header: &Header, closing: Option<&Closing>, frames: Vec<Frame>) -> Vec<u8> {
    let mut out = Vec::new();
    let frames = frames.into_iter().map(Ok::<_, std::convert::Infallible>);
    export_pcapng(&mut out, header, closing, frames).unwrap();
    out
}

fn recorded(capture: &[u8]) -> (Header, Closing, Vec<Frame>) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout {
        data: folder.path().to_owned(),
        volumes: vec![folder.path().join("spool")],
    };
    replay_to(capture, &options(), Disk::open(layout.clone()).unwrap()).unwrap();
    let path = layout.sealed().unwrap().calls.into_values().next().unwrap();
    let mut sealed = SealedCall::open(StoredFile::open(&path).unwrap()).unwrap();
    let (header, closing) = (sealed.header().clone(), sealed.manifest().closing.clone());
    let frames = sealed.frames().map(Result::unwrap).collect();
    (header, closing, frames)
}

/// The message as a browser's, with ICE and the fingerprint of a handshake.
fn with_handshake(message: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(message).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let secured = body.replace("RTP/AVP 0\r\n", "UDP/TLS/RTP/SAVPF 0\r\n");
    if secured == body {
        return message.to_vec();
    }
    let fingerprint = ["AB"; 32].join(":");
    let body = format!(
        "{secured}a=rtpmap:0 PCMU/8000\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:abcdefghijklmnopqrstuv\r\na=candidate:1 1 UDP 1 192.0.2.9 9 typ host\r\n"
    );
    let lines = head.split("\r\n").map(|line| match line.split_once(": ") {
        Some(("Content-Length", _)) => format!("Content-Length: {}", body.len()),
        _ => line.to_owned(),
    });
    let head: Vec<String> = lines.collect();
    format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes()
}

#[test]
fn a_call_whose_keys_came_of_a_handshake_with_us_is_played_in_clear() {
    let (header, mut closing, frames) = recorded(&Talk::new("dtls@test").connected().talk(5).hang_up().file.bytes);
    closing.encryption = Some(Encryption::Decrypted);
    let frames = frames.into_iter().map(|frame| match frame {
        Frame::Signal { at, path, bytes } => Frame::Signal {
            at,
            path,
            bytes: with_handshake(&bytes).into(),
        },
        other => other,
    });
    let file = written(&header, Some(&closing), frames.collect());
    let report = replay(&*file, &options()).unwrap();
    assert_eq!((report.calls.len(), report.calls[0].outcome), (1, Outcome::Recorded));
    assert_eq!(streams(&report.calls[0]), [(Leg::A, 0xA, 5, 5), (Leg::B, 0xB, 5, 5)]);
    let told = errors(&report);
    assert!(
        matches!(&told[..], [(1, what)] if what.contains("in clear")),
        "{told:?}"
    );
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
