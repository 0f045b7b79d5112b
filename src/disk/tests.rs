#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use super::*;
use crate::model::{
    Closing, Header, Leg, Outcome, Party, RecordingCommand, RecordingEvent, SessionId, Tally, Timestamp,
};
use crate::recorder::{
    Folder, FrameSink, Intake, IntakeConfig, IoId, Lane, Offer, Output, Packet, PacketKind, Recovery, SealedCall,
    Writer, WriterConfig, survey,
};

pub(crate) const SESSION: SessionId = SessionId::from_u128(1_763_800_000_123 << 80 | 5);

pub(crate) fn disk(folder: &Path) -> Disk {
    let data = folder.to_owned();
    let volumes = vec![data.join("spool")];
    Disk::open(Layout { data, volumes }).unwrap()
}

fn config() -> WriterConfig {
    WriterConfig {
        segment_bytes: 1 << 20,
        ..WriterConfig::default()
    }
}

fn header() -> Arc<Header> {
    Arc::new(Header {
        session: SESSION,
        conversation: None,
        node: "lab".into(),
        started: SESSION.minted_at(),
        caller: Party::default(),
        callee: Party::default(),
        from_trunk: "pbx".into(),
        to_trunk: None,
        call_ids: Vec::new(),
        policies: Vec::new(),
        generation: crate::model::Generation(1),
        policy_hash: String::new(),
        trace: Vec::new(),
        strict_before: true,
        strict_during: true,
        emergency: false,
    })
}

/// A call of 40 packets, closed or not, on real files.
pub(crate) fn record(disk: &mut Disk, close: bool) -> Vec<RecordingEvent> {
    let mut now = SESSION.minted_at();
    let mut writer = Writer::new(config(), 1, now);
    let mut intake = Intake::new(IntakeConfig::default());
    let mut events = Vec::new();
    let mut step = |writer: &mut Writer, intake: &mut Intake, now| {
        while let Some(output) = writer.poll_output() {
            match output {
                Output::Io(request) => writer.handle_io(now, disk.execute(request)),
                Output::Event(event) => events.push(event),
                Output::Recycle(extent) => intake.recycle(extent),
            }
        }
    };
    writer.handle_timeout(now);
    writer.handle_command(now, RecordingCommand::Open(header()));
    let slot = intake.open(SESSION);
    for n in 0..40_u8 {
        let packet = Packet {
            at: now,
            leg: Leg::A,
            line: 0,
            kind: PacketKind::Rtp,
            bytes: &[n; 172],
        };
        assert_eq!(intake.offer(now, slot, packet), Offer::Accepted);
        now = now + std::time::Duration::from_millis(20);
        intake.flush(now);
        while let Some(extent) = intake.poll_full() {
            writer.handle_extent(now, extent);
        }
        writer.handle_timeout(now);
        step(&mut writer, &mut intake, now);
    }
    if close {
        intake.close(now, slot);
        while let Some(extent) = intake.poll_full() {
            writer.handle_extent(now, extent);
        }
        let closing = Box::new(closing(now));
        let session = SESSION;
        writer.handle_command(
            now,
            RecordingCommand::Close {
                session,
                at: now,
                closing,
            },
        );
        now = now + std::time::Duration::from_millis(200);
        writer.handle_timeout(now);
        step(&mut writer, &mut intake, now);
    }
    events
}

fn closing(ended: Timestamp) -> Closing {
    Closing {
        outcome: Outcome::Recorded,
        answered: None,
        ended,
        ended_by: "BYE from B".into(),
        status: Some(200),
        tally: Some(Tally {
            accepted: 40,
            forwarded: 40,
            ..Tally::default()
        }),
        fault: None,
        encryption: None,
        conversation: None,
        became: None,
        decisions: Vec::new(),
        formerly: Vec::new(),
        consents: Vec::new(),
    }
}

fn recover(disk: &mut Disk) -> crate::recorder::RecoveryReport {
    let now = SESSION.minted_at() + std::time::Duration::from_secs(60);
    let mut recovery = Recovery::new(&config(), now);
    while let Some(request) = recovery.poll_output() {
        recovery.handle_io(now, disk.execute(request));
    }
    recovery.report().expect("recovery ended").clone()
}

#[test]
fn a_call_goes_to_real_files_and_is_verified_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = disk(folder.path());
    let events = record(&mut disk, true);
    assert!(events.contains(&RecordingEvent::Ready { session: SESSION }));
    let path = folder.path().join("calls/2025/11/22").join(SESSION.to_string());
    let mut call = SealedCall::open(StoredFile::open(&path).unwrap()).unwrap();
    assert_eq!(call.verify().unwrap().packets, 40);
    let sealed = disk.layout().sealed().unwrap();
    assert_eq!(
        (sealed.calls, sealed.strays),
        (BTreeMap::from([(SESSION, path)]), vec![])
    );
    let catalog = fs::read(folder.path().join("catalog.jsonl")).unwrap();
    assert_eq!(crate::recorder::parse_catalog(&catalog)[&SESSION].stored, 40);
    let [segment] = &disk.layout().segments().unwrap()[..] else {
        panic!("one segment is in use");
    };
    assert_eq!(fs::metadata(segment).unwrap().len(), 1 << 20, "preallocated");
    assert!(disk.layout().partial_files().unwrap().is_empty());
}

#[test]
fn a_call_that_was_cut_off_is_recovered_from_real_files_once() {
    let folder = tempfile::tempdir().unwrap();
    record(&mut disk(folder.path()), false);
    let mut disk = disk(folder.path());
    let segments = disk.layout().segments().unwrap();
    let survey = survey(StoredFile::open(&segments[0]).unwrap()).unwrap();
    assert!(survey.calls[&SESSION].header.is_some());
    let report = recover(&mut disk);
    assert_eq!(report.calls.len(), 1);
    assert!(report.calls[0].packets > 30, "{report:?}");
    assert_eq!((report.first_segment, disk.layout().segments().unwrap().len()), (2, 0));
    let path = disk.layout().path(File::Sealed(SESSION));
    let mut call = SealedCall::open(StoredFile::open(&path).unwrap()).unwrap();
    assert_eq!(call.verify().unwrap().packets, report.calls[0].packets);
    assert_eq!(recover(&mut disk).calls, []);
}

fn ask(disk: &mut Disk, op: IoOp) -> Result<IoOutcome, IoError> {
    let id = IoId(1);
    let lane = Lane::Archive;
    disk.execute(IoRequest { id, lane, op }).result
}

#[test]
fn a_segment_that_cannot_be_made_leaves_no_file_and_takes_none_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = disk(folder.path());
    let [there, huge] = [7, 9].map(|number| SegmentId {
        volume: VolumeId(0),
        number,
    });
    assert!(
        ask(
            &mut disk,
            IoOp::Create {
                segment: there,
                bytes: 8192
            }
        )
        .is_ok()
    );
    assert!(
        ask(
            &mut disk,
            IoOp::Create {
                segment: there,
                bytes: 4096
            }
        )
        .is_err()
    );
    assert!(
        ask(
            &mut disk,
            IoOp::Create {
                segment: huge,
                bytes: 1 << 60
            }
        )
        .is_err()
    );
    let [there, huge] = [there, huge].map(|segment| disk.layout().path(File::Segment(segment)));
    assert_eq!(fs::metadata(there).unwrap().len(), 8192, "not touched");
    assert!(!huge.exists(), "half made");
}

#[test]
fn a_directory_that_was_there_is_made_durable_too_and_one_that_went_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("new/spool")).unwrap();
    let data = folder.path().join("new");
    let volumes = vec![data.join("spool")];
    let mut disk = Disk::open(Layout {
        data: data.clone(),
        volumes,
    })
    .unwrap();
    for path in ["new/spool", "new", "new/calls/partial"] {
        assert!(disk.directories.contains(&folder.path().join(path)), "{path}");
    }
    let file = File::Report(1);
    let bytes = Bytes::from_static(b"x");
    for _ in 0..2 {
        let write = IoOp::Write {
            file,
            offset: 0,
            bytes: bytes.clone(),
        };
        assert_eq!(ask(&mut disk, write), Ok(IoOutcome::Done));
        fs::remove_dir_all(data.join("log")).unwrap();
    }
}

#[test]
fn what_the_kernel_refuses_has_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = disk(folder.path());
    let volume = VolumeId(0);
    let segment = SegmentId { volume, number: 7 };
    assert_eq!(
        ask(&mut disk, IoOp::Create { segment, bytes: 8192 }),
        Ok(IoOutcome::Done)
    );
    assert_eq!(
        ask(&mut disk, IoOp::Create { segment, bytes: 8192 }),
        Err(IoError::Exists),
        "never twice"
    );
    let other = SegmentId { volume, number: 8 };
    let bytes = Bytes::from_static(b"x");
    let append = IoOp::Append {
        segment: other,
        offset: 0,
        bytes,
    };
    assert_eq!(ask(&mut disk, append), Err(IoError::Missing));
    let file = File::Segment(other);
    let parts = vec![Span {
        file,
        offset: 0,
        bytes: 1,
    }];
    assert_eq!(ask(&mut disk, IoOp::Read { parts }), Err(IoError::Missing));
    let missing = File::Partial {
        session: SESSION,
        attempt: 0,
    };
    let each = IoOutcome::Each(vec![Err(IoError::Missing)]);
    assert_eq!(ask(&mut disk, IoOp::Sync { files: vec![missing] }), Ok(each.clone()));
    assert_eq!(
        ask(
            &mut disk,
            IoOp::Publish {
                partials: vec![(SESSION, 0)]
            }
        ),
        Ok(each)
    );
    assert_eq!(
        ask(&mut disk, IoOp::Remove { file }),
        Ok(IoOutcome::Done),
        "gone is gone"
    );
    let parts = vec![Span {
        file: File::Segment(segment),
        offset: 8000,
        bytes: 1000,
    }];
    let zeros = IoOutcome::Read(vec![Bytes::from(vec![0; 192])]);
    assert_eq!(ask(&mut disk, IoOp::Read { parts }), Ok(zeros));
    assert!(matches!(ask(&mut disk, IoOp::Free { volume }), Ok(IoOutcome::Free(free)) if free > 0));
    fs::remove_dir_all(folder.path().join("spool")).unwrap();
    assert_eq!(
        ask(
            &mut disk,
            IoOp::List {
                folder: Folder::Volume(volume)
            }
        ),
        Err(IoError::Missing)
    );
}

#[test]
fn a_segment_that_cannot_be_made_leaves_nothing_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = disk(folder.path());
    let volume = VolumeId(0);
    let segment = SegmentId { volume, number: 7 };
    ask(&mut disk, IoOp::Create { segment, bytes: 8192 }).unwrap();
    let huge = SegmentId { volume, number: 9 };
    let bytes = 1 << 60;
    assert!(ask(&mut disk, IoOp::Create { segment: huge, bytes }).is_err());
    assert!(!disk.layout().path(File::Segment(huge)).exists(), "half made");
    assert!(disk.layout().path(File::Segment(segment)).exists(), "not touched");
}
