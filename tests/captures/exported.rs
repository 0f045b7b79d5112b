//! Recordings of captures, exported and played again.

use onrecord::model::Leg;
use onrecord::playback::export_pcapng;
use onrecord::recorder::{Frame, PacketKind};

use super::*;

/// What `export` wrote of a recording is what the recording is of: played again, and of that again, the same is recorded.
#[test]
fn what_was_exported_of_a_call_is_replayed_as_that_call() {
    let all = scenarios();
    for name in EXPORTED {
        let scenario = all.iter().find(|scenario| scenario.name == name).unwrap();
        let options = scenario.options(&scenario.command().unwrap()).unwrap();
        let first = recorded(&fs::read(scenario.folder.join("call.pcap")).unwrap(), &options);
        let second = recorded(&first.exported, &options);
        let third = recorded(&second.exported, &options);
        assert_eq!(first.said, second.said, "{name}");
        assert_eq!(second.said, third.said, "{name}, once more");
    }
}

/// One call each.
const EXPORTED: [&str; 16] = [
    "plain-call",
    "privacy",
    "failover-to-ipv4",
    "forked-early-media",
    "music-on-hold",
    "forked-third-answers",
    "codec-change",
    "dtmf",
    "early-media",
    "fax",
    "failover-to-ipv6",
    "hold-and-resume",
    "ipv6-call",
    "late-offer",
    "ssrc-change",
    "tcp-call",
];

/// Captures whose recordings lack what the call depended on, so that the replay of them is another call.
const LACKING: [(&str, &str); 5] = [
    ("connected-identity", "the INVITE: the recording began with an UPDATE"),
    (
        "consent-given",
        "the key by which she agreed: it was pressed before anything of hers was kept",
    ),
    ("pause-by-keys", "the keys that ended the pause"),
    ("recording-aware", "the same"),
    ("redirect-followed", "the 3xx: only who it led to has a policy"),
];

/// Of every capture, packet for packet, whatever became of the call: transferred, forked, paused, picked up.
#[test]
fn what_was_exported_of_any_recording_is_recorded_again_to_the_last_packet() {
    let (mut compared, mut lacking) = (0, Vec::new());
    for scenario in scenarios() {
        let mut options = scenario.options(&scenario.command().unwrap()).unwrap();
        let recordings = all_recorded(&fs::read(scenario.folder.join("call.pcap")).unwrap(), &options);
        // What broke then does not break again.
        options.faults.clear();
        for Whole { exported, packets } in recordings {
            if packets.is_empty() {
                continue;
            }
            let again = all_recorded(&exported, &options);
            compared += 1;
            let is_same = matches!(&again[..], [again] if again.packets == packets);
            if !is_same {
                lacking.push(scenario.name.clone());
            }
        }
    }
    assert_eq!(lacking, LACKING.map(|(name, _)| name));
    assert!(compared > 50, "{compared}");
}

#[test]
fn what_another_program_wrote_anew_is_any_capture() {
    let all = scenarios();
    let scenario = all.iter().find(|scenario| scenario.name == "plain-call").unwrap();
    let options = scenario.options(&scenario.command().unwrap()).unwrap();
    let mut file = recorded(&fs::read(scenario.folder.join("call.pcap")).unwrap(), &options).exported;
    let author = b"onrecord ";
    let at = file.windows(author.len()).position(|bytes| bytes == author).unwrap();
    file[at..at + author.len()].copy_from_slice(b"Wireshark");
    let report = replay(&*file, &options).unwrap();
    assert_eq!(report.calls.len(), 2);
    assert!(report.to_text().contains("recorded by `replay`"));
}

struct Recording {
    exported: Vec<u8>,
    /// Outcome, packets stored, and each stream: leg, SSRC, packets, recorded.
    said: (Outcome, u64, Vec<String>),
}

/// The one call of a capture.
fn recorded(capture: &[u8], options: &ReplayOptions) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout {
        data: folder.path().to_owned(),
        volumes: vec![folder.path().join("spool")],
    };
    let report = replay_to(capture, options, Disk::open(layout.clone()).unwrap()).unwrap();
    let [call] = &report.calls[..] else {
        panic!("{} calls: {}", report.calls.len(), report.to_text())
    };
    let (_, path) = layout.sealed().unwrap().calls.into_iter().next().unwrap();
    let mut sealed = SealedCall::open(StoredFile::open(&path).unwrap()).unwrap();
    let (header, closing) = (sealed.header().clone(), sealed.manifest().closing.clone());
    let mut exported = Vec::new();
    export_pcapng(&mut exported, &header, Some(&closing), sealed.frames()).unwrap();
    let streams = call.streams.iter();
    let streams = streams.map(|s| format!("{} {:08x} {} {} {}", s.leg, s.ssrc, s.codec, s.packets, s.recorded));
    Recording {
        exported,
        said: (call.outcome, call.stored, streams.collect()),
    }
}

/// A recording: as it is exported, and of each of its packets the leg, the line, the kind and the bytes.
struct Whole {
    exported: Vec<u8>,
    packets: Vec<(Leg, u16, PacketKind, Vec<u8>)>,
}

/// In the order of their identifiers.
fn all_recorded(capture: &[u8], options: &ReplayOptions) -> Vec<Whole> {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout {
        data: folder.path().to_owned(),
        volumes: vec![folder.path().join("spool")],
    };
    replay_to(capture, options, Disk::open(layout.clone()).unwrap()).unwrap();
    let calls = layout.sealed().unwrap().calls.into_values();
    calls.map(|path| whole(&path)).collect()
}

fn whole(path: &Path) -> Whole {
    let mut sealed = SealedCall::open(StoredFile::open(path).unwrap()).unwrap();
    let (header, closing) = (sealed.header().clone(), sealed.manifest().closing.clone());
    let frames: Vec<Frame> = sealed.frames().map(Result::unwrap).collect();
    let packets = frames.iter().filter_map(|frame| match frame {
        Frame::Packet {
            kind: PacketKind::Withheld,
            ..
        } => None,
        Frame::Packet {
            leg, line, kind, bytes, ..
        } => Some((*leg, *line, *kind, bytes.to_vec())),
        _ => None,
    });
    let packets = packets.collect();
    let mut exported = Vec::new();
    let frames = frames.into_iter().map(Ok::<_, std::convert::Infallible>);
    export_pcapng(&mut exported, &header, Some(&closing), frames).unwrap();
    Whole { exported, packets }
}
