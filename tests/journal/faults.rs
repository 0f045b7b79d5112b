//! The recorder on a disk that is full, broken, slow or hung: who is told what, and when, and what is kept.

mod volumes;

use std::time::Duration;

use super::disk::{Injected, SimDisk};
use super::node::{
    Node, check_after_crash, closing, config, ms, packet, packets, recover, sealed, session, story, verified,
};
use bytes::Bytes;
use onrecord::model::{Fault, Mark, Outcome, RecordingCommand, RecordingEvent};
use onrecord::recorder::{File, Frame, IoError, VolumeConfig, WriterConfig};

#[test]
fn a_call_is_opened_recorded_and_sealed_exactly() {
    let mut node = Node::new(SimDisk::new(1), config());
    story(&mut node);
    node.close(1);
    node.close(2);
    node.pass(ms(1500));
    for number in [0, 1, 2] {
        let manifest = verified(&node.disk, session(number));
        let talk = &node.talks[&session(number)];
        assert_eq!(talk.sealed.as_ref(), Some(&manifest.reconciliation));
        assert!(manifest.reconciliation.is_exact(), "{:?}", manifest.reconciliation);
        assert_eq!(manifest.reconciliation.stored, talk.accepted);
        assert_eq!(manifest.outcome, Outcome::Recorded);
        let got = packets(&node.disk, session(number));
        let want: Vec<Bytes> = (0..talk.offered)
            .map(|n| packet(session(number), n, 172).into())
            .collect();
        assert_eq!(got, want);
    }
    assert_eq!(verified(&node.disk, session(9)).outcome, Outcome::Blocked);
    let status = node.writer.status(node.now);
    assert_eq!((status.calls, status.sealing, status.segments), (0, 0, 1), "{status:?}");
    let (made, free) = node.intake.blocks();
    assert_eq!(made, free, "a block was not given back");
}

#[test]
fn one_flush_serves_all_calls_of_a_tenth_of_a_second() {
    let mut node = Node::new(SimDisk::new(1), WriterConfig::default());
    let calls: Vec<u8> = (0..20).collect();
    calls.iter().for_each(|call| node.open(*call));
    node.pass(ms(200));
    let before = node.disk.flushes;
    node.talk(&calls, ms(1000));
    assert!(node.disk.flushes - before <= 11, "{}", node.disk.flushes - before);
}

#[test]
fn every_fault_of_a_write_brings_the_recorder_down_at_once_and_up_within_a_second() {
    let faults = [
        (Injected::Fail(IoError::NoSpace), Fault::DiskFull),
        (Injected::Fail(IoError::QuotaExceeded), Fault::QuotaExceeded),
        (Injected::Fail(IoError::Io), Fault::Io),
        (Injected::Fail(IoError::ReadOnly), Fault::ReadOnly),
        (Injected::Half(IoError::ShortWrite), Fault::ShortWrite),
        (Injected::Half(IoError::NoSpace), Fault::DiskFull),
        (Injected::FlushFails, Fault::Io),
    ];
    for (injected, fault) in faults {
        let mut node = Node::new(SimDisk::new(2), config());
        node.open(0);
        node.talk(&[0], ms(300));
        let broken = node.break_disk(injected);
        node.talk(&[0], ms(500));
        // One commit interval, and no more: the failing answer is the news.
        let down = node.delay(broken, &RecordingEvent::Down { fault });
        assert!(
            down.is_some_and(|down| down <= ms(200)),
            "{injected:?} {:?}",
            node.events
        );
        node.open(1);
        let refused = RecordingEvent::OpenFailed {
            session: session(1),
            fault,
        };
        assert!(node.heard().contains(&&refused), "{injected:?} {:?}", node.events);
        node.disk.broken = None;
        let mended = node.now;
        node.pass(ms(1100));
        let up = node.delay(mended, &RecordingEvent::Up);
        assert!(up.is_some_and(|up| up <= ms(1000)), "{injected:?} {:?}", node.events);
        node.close(0);
        node.pass(ms(500));
        let manifest = verified(&node.disk, session(0));
        assert!(
            manifest.reconciliation.is_exact(),
            "all of it was held in memory: {:?}",
            manifest.reconciliation
        );
        assert_eq!(node.disk.retried, [], "{injected:?}: a poisoned segment was used again");
        assert_eq!(
            node.events
                .iter()
                .filter(|(_, e)| matches!(e, RecordingEvent::Down { .. }))
                .count(),
            1
        );
    }
}

#[test]
fn who_asks_for_a_recording_that_is_open_hears_that_it_is() {
    let mut node = Node::new(SimDisk::new(6), config());
    let is_ready = |event: &&RecordingEvent| matches!(event, RecordingEvent::Ready { .. });
    for asked in 1..=3 {
        node.open(0);
        assert_eq!(node.heard().into_iter().filter(is_ready).count(), asked);
    }
    node.talk(&[0], ms(300));
    let fault = Fault::DiskFull;
    node.break_disk(Injected::Fail(IoError::NoSpace));
    node.talk(&[0], ms(300));
    node.open(0);
    let session = session(0);
    assert_eq!(
        node.heard().last(),
        Some(&&RecordingEvent::OpenFailed { session, fault })
    );
}

#[test]
fn the_gap_counts_what_was_refused() {
    let mut node = Node::new(SimDisk::new(6), config());
    node.open(0);
    node.talk(&[0], ms(300));
    node.break_disk(Injected::Fail(IoError::Io));
    node.talk(&[0], ms(3000));
    node.disk.broken = None;
    node.talk(&[0], ms(1500));
    let refused = node.talks[&session(0)].refused.len() as u64;
    node.close(0);
    node.pass(ms(500));
    let mut call = sealed(&node.disk, session(0)).unwrap();
    let marks = call.frames().filter_map(|frame| match frame.unwrap() {
        Frame::Mark { mark, .. } => Some(mark),
        Frame::Packet { .. } | Frame::Signal { .. } => None,
    });
    let marks: Vec<Mark> = marks.collect();
    let fault = Fault::Stalled;
    assert_eq!(marks, [Mark::GapOpened { fault }, Mark::GapClosed { packets: refused }]);
    assert!(refused > 50);
}

#[test]
fn below_the_reserve_new_calls_are_refused_and_running_ones_go_on() {
    let guarded = WriterConfig {
        volumes: vec![VolumeConfig { reserve: 1 << 30 }],
        ..config()
    };
    let mut node = Node::new(SimDisk::new(7), guarded);
    node.open(0);
    node.disk.free = (1 << 30) - 1;
    node.talk(&[0], ms(1500));
    node.open(1);
    let (session_1, fault) = (session(1), Fault::Reserve);
    assert!(node.heard().contains(&&RecordingEvent::OpenFailed {
        session: session_1,
        fault
    }));
    let told = |node: &Node, crossed| node.heard().contains(&&RecordingEvent::Reserve { crossed });
    assert!(told(&node, true) && !told(&node, false), "nobody has to ask");
    node.disk.free = 1 << 30;
    node.pass(ms(1100));
    assert!(told(&node, false));
    node.open(2);
    assert!(node.talks[&session(2)].ready);
    node.close(0);
    node.pass(ms(500));
    assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
}

#[test]
fn a_blocked_call_is_kept_though_the_recorder_is_down() {
    let mut node = Node::new(SimDisk::new(8), config());
    node.disk.archive_broken = true;
    node.break_disk(Injected::Fail(IoError::Io));
    node.open(0);
    assert!(matches!(
        node.heard()[..],
        [RecordingEvent::Down { .. }, RecordingEvent::OpenFailed { .. }]
    ));
    node.keep(0);
    node.pass(ms(5000));
    assert!(node.talks[&session(0)].sealed.is_none());
    node.disk.broken = None;
    node.pass(ms(2000));
    let manifest = verified(&node.disk, session(0));
    assert_eq!(
        (manifest.outcome, manifest.closing.fault),
        (Outcome::Blocked, Some(Fault::Io))
    );
    assert!(node.talks[&session(0)].sealed.is_some());
    node.disk.cut_power();
    let report = recover(&mut node.disk, &config(), None).unwrap();
    assert_eq!(report.calls, []);
}

#[test]
fn a_call_that_a_lasting_fault_ends_is_sealed_while_it_lasts() {
    for injected in [Injected::Fail(IoError::Io), Injected::FlushFails, Injected::Hang] {
        let mut node = Node::new(SimDisk::new(19), config());
        node.open(0);
        node.open(1);
        node.talk(&[0, 1], ms(330));
        node.break_disk(injected);
        // One ends in the very commit that fails, one when the recorder is down.
        node.close(1);
        node.talk(&[0], ms(1500));
        node.signal(
            0,
            "BYE sip:bob@example.com SIP/2.0

",
        );
        node.close(0);
        node.pass(ms(1000));
        for number in [0, 1] {
            let manifest = verified(&node.disk, session(number));
            let talk = &node.talks[&session(number)];
            assert_eq!(talk.sealed.as_ref(), Some(&manifest.reconciliation), "{injected:?}");
            assert_eq!(
                (manifest.reconciliation.stored, manifest.breaks.len()),
                (talk.accepted, 0),
                "{injected:?}"
            );
            assert_eq!(manifest.closing.ended_by, "BYE from A");
        }
        assert_eq!(verified(&node.disk, session(0)).counts.signals, 1);

        node.disk.broken = None;
        node.release();
        node.pass(ms(1500));
        let status = node.writer.status(node.now);
        assert_eq!(
            (status.fault, status.calls, status.sealing),
            (None, 0, 0),
            "{injected:?}"
        );
        assert!(node.writer.is_idle());
        let (made, free) = node.intake.blocks();
        assert_eq!(made, free, "{injected:?}: a block was not given back");
        node.disk.cut_power();
        assert_eq!(recover(&mut node.disk, &config(), None).unwrap().calls, []);
        check_after_crash(&node.talks, &node.disk, &format!("{injected:?}"));
    }
}

#[test]
fn an_archive_that_fails_for_a_while_only_delays_sealing() {
    for long in [false, true] {
        let mut node = Node::new(SimDisk::new(10), config());
        node.open(0);
        node.disk.archive_broken = true;
        node.talk(&[0], Duration::from_secs(if long { 60 } else { 1 }));
        node.disk.broken_volumes = vec![99];
        node.break_disk(Injected::Fail(IoError::NoSpace));
        node.talk(&[0], Duration::from_secs(if long { 60 } else { 1 }));
        node.close(0);
        node.pass(ms(3000));
        assert!(sealed(&node.disk, session(0)).is_none());
        node.disk.broken = None;
        node.pass(ms(2500));
        assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
        let leftovers = node
            .disk
            .files()
            .filter(|file| matches!(file, File::Partial { .. }))
            .count();
        assert_eq!((leftovers, &node.disk.retried[..]), (0, &[][..]));
    }
}

#[test]
fn a_closed_call_waits_for_its_last_packets_and_then_no_longer() {
    let mut node = Node::new(SimDisk::new(11), config());
    for (number, arrives) in [(0, true), (1, false)] {
        node.open(number);
        node.talk(&[number], ms(200));
        let session = session(number);
        node.pass(ms(200));
        let _ = node.offer(number, 172);
        let accepted = node.talks[&session].accepted;
        let (at, closing) = (node.now, closing(node.now, accepted));
        node.command(RecordingCommand::Close { session, at, closing });
        let slot = node.talks.get_mut(&session).unwrap().slot.take().unwrap();
        node.intake.close(node.now, slot);
        let last = node.intake.poll_full().unwrap();
        if arrives {
            node.writer.handle_extent(node.now, last);
        }
        node.pass(ms(1000));
        let manifest = verified(&node.disk, session);
        assert_eq!(
            manifest.reconciliation.accepted - manifest.reconciliation.stored,
            u64::from(!arrives)
        );
        assert_eq!(
            manifest.outcome,
            if arrives { Outcome::Recorded } else { Outcome::Faulted }
        );
    }
}

#[test]
fn a_segment_that_cannot_be_read_costs_its_extents_and_not_the_rest() {
    let mut node = Node::new(SimDisk::new(15), config());
    node.open(0);
    node.talk(&[0], Duration::from_secs(8));
    let segments: Vec<File> = node
        .disk
        .files()
        .filter(|file| matches!(file, File::Segment(_)))
        .collect();
    assert!(segments.len() > 2);
    node.disk.unreadable = Some(segments[1]);
    node.close(0);
    node.pass(Duration::from_secs(10));
    let manifest = verified(&node.disk, session(0));
    assert_eq!((manifest.breaks.len(), manifest.outcome), (1, Outcome::Faulted));
    assert!(manifest.reconciliation.stored > manifest.reconciliation.accepted / 2);
    assert!(manifest.reconciliation.stored < manifest.reconciliation.accepted);
}
