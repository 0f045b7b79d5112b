//! The recorder loses power, is killed, or meets whatever a seed says: acknowledged ⇒ readable, no call missing,
//! `verify` holds, and recovery can be cut off anywhere.

use std::collections::BTreeSet;
use std::time::Duration;

use super::disk::{Dice, Injected, SimDisk};
use super::node::{Node, check_after_crash, config, ms, recover, session, story, verified};
use onrecord::model::{Fault, Outcome, RecordingEvent, SessionId};
use onrecord::recorder::{File, IoError, VolumeConfig, WriterConfig};

#[test]
fn power_cut_at_every_request_loses_nothing_that_was_acknowledged() {
    let total = {
        let mut node = Node::new(SimDisk::new(0), config());
        story(&mut node);
        node.disk.requests
    };
    assert!(total > 20, "{total}");
    for at in 0..total {
        for seed in 0..4 {
            let context = format!("cut at request {at}, seed {seed}");
            let mut disk = SimDisk::new(seed * 1000 + at);
            let (talks, mut disk) = {
                let mut node = Node::with_fuse(&mut disk, at);
                story(&mut node);
                assert!(node.dead, "{context}");
                (node.talks, node.disk)
            };
            disk.cut_power();
            recover(&mut disk, &config(), None).unwrap();
            check_after_crash(&talks, &disk, &context);
            let before: Vec<File> = disk.files().collect();
            let again = recover(&mut disk, &config(), None).unwrap();
            assert_eq!(again.calls, [], "{context}: recovery is not idempotent");
            assert_eq!(disk.files().collect::<Vec<_>>(), before, "{context}");
        }
    }
}

#[test]
fn power_cut_at_every_request_of_a_recovery_is_met_by_the_next() {
    for seed in 0..3 {
        let mut node = Node::new(SimDisk::new(seed), config());
        story(&mut node);
        let mut crashed = node.disk.clone();
        crashed.cut_power();
        for at in 0.. {
            let mut disk = crashed.clone();
            let finished = recover(&mut disk, &config(), Some(at)).is_some();
            disk.cut_power();
            recover(&mut disk, &config(), None).unwrap();
            check_after_crash(
                &node.talks,
                &disk,
                &format!("seed {seed}, cut at request {at} of recovery"),
            );
            if finished {
                break;
            }
        }
    }
}

#[test]
fn a_killed_process_loses_only_what_was_in_its_memory_and_says_so() {
    let mut node = Node::new(SimDisk::new(5), config());
    story(&mut node);
    let talk = &node.talks[&session(1)];
    let (accepted, acknowledged) = (talk.accepted, talk.acknowledged);
    node.disk.kill();
    let report = recover(&mut node.disk, &config(), None).unwrap();
    let ids: BTreeSet<SessionId> = report.calls.iter().map(|call| call.session).collect();
    assert_eq!(ids, BTreeSet::from([session(1), session(2)]));
    let manifest = verified(&node.disk, session(1));
    assert_eq!(manifest.outcome, Outcome::Faulted);
    assert!(manifest.recovered.is_some_and(|recovered| !recovered.closed));
    assert!(manifest.counts.packets >= acknowledged && manifest.counts.packets <= accepted);
    assert!(node.disk.files().any(|file| matches!(file, File::Report(_))));
}

#[test]
fn a_long_call_moves_out_of_the_spool_and_survives_a_power_cut() {
    for cut in [false, true] {
        let mut node = Node::new(SimDisk::new(9), config());
        node.open(0);
        node.open(1);
        node.talk(&[0, 1], Duration::from_secs(60));
        let status = node.writer.status(node.now);
        assert!(status.segments <= 6, "{status:?}");
        if cut {
            node.disk.cut_power();
            recover(&mut node.disk, &config(), None).unwrap();
            check_after_crash(&node.talks, &node.disk, "long call");
            continue;
        }
        node.close(0);
        node.close(1);
        node.pass(ms(1000));
        for number in [0, 1] {
            let manifest = verified(&node.disk, session(number));
            assert!(manifest.reconciliation.is_exact(), "{:?}", manifest.reconciliation);
            assert_eq!(manifest.outcome, Outcome::Recorded);
        }
        assert_eq!(node.writer.status(node.now).segments, 1);
    }
}

#[test]
fn damage_in_the_spool_costs_what_is_damaged_and_no_more() {
    let mut node = Node::new(SimDisk::new(12), WriterConfig::default());
    node.open(0);
    node.talk(&[0], ms(1000));
    node.disk.kill();
    let segment = node.disk.files().find(|file| matches!(file, File::Segment(_))).unwrap();
    // The zero block, the opening record's block, then a commit a block.
    node.disk.contents_mut(segment).unwrap()[4 * 4096 + 150] ^= 1;
    let report = recover(&mut node.disk, &WriterConfig::default(), None).unwrap();
    assert_eq!(report.torn.len(), 1);
    let manifest = verified(&node.disk, session(0));
    assert_eq!(manifest.breaks.len(), 1);
    assert!(manifest.counts.packets > 50, "{:?}", manifest.counts);
    assert_eq!(manifest.outcome, Outcome::Faulted);
}

#[test]
fn an_extent_behind_a_long_stretch_of_nothing_is_found() {
    const FAR: usize = 40 << 20;
    let mut node = Node::new(SimDisk::new(18), WriterConfig::default());
    node.open(0);
    node.talk(&[0], ms(1000));
    node.disk.kill();
    let segment = node.disk.files().find(|file| matches!(file, File::Segment(_))).unwrap();
    // As if the commits between had been wiped.
    let bytes = node.disk.contents_mut(segment).unwrap();
    bytes.copy_within(5 * 4096..100 * 4096, FAR);
    bytes[5 * 4096..100 * 4096].fill(0);
    recover(&mut node.disk, &WriterConfig::default(), None).unwrap();
    let manifest = verified(&node.disk, session(0));
    assert!(manifest.counts.packets > 50, "{:?}", manifest.counts);
    assert_eq!(manifest.breaks.len(), 0);
}

#[test]
fn a_call_that_is_given_up_while_it_opens_is_what_its_record_says() {
    for cut in [false, true] {
        let mut node = Node::new(SimDisk::new(13), config());
        node.break_disk(Injected::Hang);
        node.open(0);
        node.signal(0, "INVITE sip:bob@example.com SIP/2.0\r\n\r\n");
        node.pass(ms(200));
        node.keep(0);
        node.signal(0, "SIP/2.0 603 Declined\r\n\r\n");
        node.disk.broken_volumes = vec![99];
        node.disk.archive_broken = cut;
        node.break_disk(Injected::Fail(IoError::Io));
        node.release();
        node.pass(ms(500));
        if cut {
            assert!(node.talks[&session(0)].sealed.is_none());
            node.disk.cut_power();
            recover(&mut node.disk, &config(), None).unwrap();
        }
        let manifest = verified(&node.disk, session(0));
        assert_eq!((manifest.outcome, manifest.breaks.len()), (Outcome::Blocked, 0));
        assert_eq!(manifest.counts.signals, 1);
        assert!(!node.talks[&session(0)].ready);
    }
}

/// One thing happens.
fn step(node: &mut Node, dice: &mut Dice, open: &mut Vec<u8>, next: &mut u8) {
    match dice.below(12) {
        0..=2 if *next < 20 => {
            node.open(*next);
            if node.talks[&session(*next)].ready {
                open.push(*next);
            } else {
                let slot = node.talks.get_mut(&session(*next)).unwrap().slot.take().unwrap();
                node.intake.close(node.now, slot);
                node.keep(*next);
            }
            *next += 1;
        }
        3 if !open.is_empty() => {
            let call = open.remove(dice.below(open.len() as u64) as usize);
            node.close(call);
        }
        4 => {
            let errors = [IoError::Io, IoError::NoSpace, IoError::ShortWrite, IoError::ReadOnly];
            let error = errors[dice.below(4) as usize];
            let how = [
                Injected::Fail(error),
                Injected::Half(error),
                Injected::FlushFails,
                Injected::Hang,
            ];
            node.disk.broken_volumes = if dice.coin() {
                vec![]
            } else {
                vec![dice.below(2) as u16]
            };
            node.disk.archive_broken = dice.coin();
            node.disk.broken_times = if dice.coin() { None } else { Some(1 + dice.below(4)) };
            node.break_disk(how[dice.below(4) as usize]);
        }
        5 | 6 => {
            node.disk.broken = None;
            node.release();
        }
        _ => {
            let calls = open.clone();
            node.talk(&calls, ms(10 + dice.below(800)));
        }
    }
}

/// All is well again: everything that was accepted is sealed, and nothing is left over.
fn end_well(node: &mut Node, open: &[u8], seed: u64) {
    node.disk.broken = None;
    node.release();
    node.pass(ms(3000));
    open.iter().for_each(|call| node.close(*call));
    node.pass(ms(6000));
    let status = node.writer.status(node.now);
    assert_eq!(
        (status.fault, status.calls, status.sealing),
        (None, 0, 0),
        "seed {seed}: {status:?}"
    );
    let (made, free) = node.intake.blocks();
    assert_eq!(made, free, "seed {seed}: a block was not given back");
    for (session, talk) in node.talks.iter().filter(|(_, talk)| talk.ready) {
        let manifest = verified(&node.disk, *session);
        assert_eq!(manifest.reconciliation.stored, talk.accepted, "seed {seed}: {session}");
        assert_eq!(talk.sealed.as_ref(), Some(&manifest.reconciliation), "seed {seed}");
    }
}

/// Faults come and go, calls come and go, and in the end the power goes, or not.
fn chaos(seed: u64) {
    let mut dice = Dice(seed);
    let some = WriterConfig {
        volumes: vec![VolumeConfig::default(); 1 + dice.below(2) as usize],
        ..config()
    };
    let mut node = Node::new(SimDisk::new(dice.roll()), some.clone());
    let (mut open, mut next) = (Vec::new(), 0);
    for _ in 0..60 {
        step(&mut node, &mut dice, &mut open, &mut next);
    }
    if dice.coin() {
        node.disk.cut_power();
    } else {
        end_well(&mut node, &open, seed);
    }
    assert_eq!(node.disk.retried, [], "seed {seed}: a poisoned segment was used again");
    recover(&mut node.disk, &some, None).unwrap();
    check_after_crash(&node.talks, &node.disk, &format!("seed {seed}"));
}

/// A failing seed is run alone by `SEED=n cargo test --test journal whatever`.
#[test]
fn whatever_fails_what_was_acknowledged_is_kept() {
    let seeds = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seeds.map_or(0..40, |seed: u64| seed..seed + 1) {
        chaos(seed);
    }
}

#[test]
fn a_segment_that_is_there_already_is_never_touched() {
    let two = WriterConfig {
        volumes: vec![VolumeConfig::default(); 2],
        ..config()
    };
    for hangs in [false, true] {
        let mut node = Node::new(SimDisk::new(16), config());
        story(&mut node);
        node.talk(&[1, 2], ms(2000));
        node.disk.kill();
        let Node { mut disk, talks, .. } = node;
        let before: Vec<(File, Vec<u8>)> = disk
            .files()
            .filter(|file| matches!(file, File::Segment(_)))
            .map(|file| (file, disk.contents(file).unwrap().to_vec()))
            .collect();
        assert!(before.len() > 1);
        if hangs {
            disk.broken_volumes = vec![0];
            disk.broken = Some(Injected::Hang);
        }
        // Numbered as if nobody had listed the volume.
        let mut node = Node::with_first_segment(disk, two.clone(), 1);
        node.pass(ms(2000));
        node.disk.broken = None;
        node.release();
        node.open(5);
        assert!(node.talks[&session(5)].ready, "{:?}", node.events);
        assert!(
            !node
                .heard()
                .iter()
                .any(|event| matches!(event, RecordingEvent::Down { .. }))
        );
        for (file, bytes) in before {
            assert_eq!(node.disk.contents(file), Some(bytes.as_slice()), "{file:?}");
        }
        node.disk.cut_power();
        recover(&mut node.disk, &two, None).unwrap();
        check_after_crash(&talks, &node.disk, "before");
        check_after_crash(&node.talks, &node.disk, "after");
    }
}

#[test]
fn while_a_segment_cannot_be_read_no_call_that_may_be_in_it_is_sealed_without_it() {
    for place in 0..3 {
        let mut node = Node::new(SimDisk::new(17), config());
        // Closed within the first segment; cut off in a later one; over all of them, and closed.
        node.open(0);
        node.talk(&[0], ms(100));
        node.close(0);
        node.disk.broken_volumes = vec![99];
        node.disk.archive_broken = true;
        node.break_disk(Injected::Fail(IoError::NoSpace));
        node.open(1);
        node.open(2);
        node.talk(&[1, 2], ms(4000));
        node.close(2);
        node.pass(ms(200));
        node.disk.kill();
        let segments: Vec<File> = node
            .disk
            .files()
            .filter(|file| matches!(file, File::Segment(_)))
            .collect();
        assert!(segments.len() >= 3, "{segments:?}");
        node.disk.unreadable = Some(segments[place]);
        let report = recover(&mut node.disk, &config(), None).unwrap();
        assert_eq!(
            (report.unreadable, &report.unsealed[..]),
            (1, &[session(1), session(2)][..])
        );
        assert!(node.disk.files().any(|file| matches!(file, File::Report(_))));
        for segment in segments {
            assert!(
                node.disk.contents(segment).is_some(),
                "{segment:?} has parts of what is not sealed"
            );
        }
        node.disk.unreadable = None;
        let report = recover(&mut node.disk, &config(), None).unwrap();
        let calls = if place == 0 { 3 } else { 2 };
        assert_eq!((report.calls.len(), report.unsealed.len()), (calls, 0));
        check_after_crash(&node.talks, &node.disk, &format!("segment {place}"));
    }
}

#[test]
fn recovery_with_a_full_archive_keeps_the_spool_for_the_next() {
    let mut node = Node::new(SimDisk::new(14), config());
    story(&mut node);
    node.disk.cut_power();
    node.disk.broken_volumes = vec![99];
    node.disk.archive_broken = true;
    node.disk.broken = Some(Injected::Fail(IoError::NoSpace));
    let report = recover(&mut node.disk, &config(), None).unwrap();
    assert_eq!((report.calls.len(), report.unsealed.len()), (0, 2));
    assert_eq!(report.fault, Some(Fault::DiskFull));
    // The node runs on beside it, and the next start finds both.
    let Node { disk, talks, .. } = node;
    let mut node = Node::with_first_segment(disk, config(), report.first_segment);
    node.disk.broken = None;
    node.open(5);
    node.talk(&[5], ms(300));
    node.disk.cut_power();
    recover(&mut node.disk, &config(), None).unwrap();
    check_after_crash(&talks, &node.disk, "before the archive was full");
    check_after_crash(&node.talks, &node.disk, "after");
}
