//! Several volumes: one that fails or hangs is left for the next.

use super::super::disk::{Injected, SimDisk};
use super::super::node::{Node, config, ms, session, verified};
use onrecord::model::{Fault, Outcome, RecordingEvent};
use onrecord::recorder::{IoError, VolumeConfig, WriterConfig};

/// Two volumes, and a call that talks when the first of them breaks.
fn with_a_broken_volume(how: Injected) -> Node {
    let two = WriterConfig {
        volumes: vec![VolumeConfig::default(); 2],
        ..config()
    };
    let mut node = Node::new(SimDisk::new(4), two);
    node.open(0);
    node.talk(&[0], ms(300));
    node.disk.broken_volumes = vec![0];
    node.break_disk(how);
    node
}

fn assert_never_down(node: &Node) {
    let is_down = |event: &&RecordingEvent| matches!(event, RecordingEvent::Down { .. });
    assert!(!node.heard().iter().any(is_down), "{:?}", node.events);
}

#[test]
fn a_single_failed_flush_moves_to_a_fresh_segment_without_anybody_noticing() {
    let mut node = Node::new(SimDisk::new(3), config());
    node.open(0);
    node.talk(&[0], ms(300));
    node.disk.broken_times = Some(1);
    node.break_disk(Injected::FlushFails);
    node.talk(&[0], ms(300));
    node.close(0);
    node.pass(ms(500));
    assert_never_down(&node);
    assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
    assert!(node.disk.broken.is_none(), "the fault was met");
    assert_eq!(node.disk.retried, []);
}

#[test]
fn a_volume_that_its_own_segments_fill_is_freed_without_a_restart() {
    for segments in [1, 2] {
        let mut disk = SimDisk::new(1);
        disk.segments_max = segments;
        let mut node = Node::new(disk, config());
        node.open(0);
        node.open(1);
        let fault = Fault::DiskFull;
        for _ in 0..100 {
            node.talk(&[0, 1], ms(100));
            if node.heard().contains(&&RecordingEvent::Down { fault }) {
                break;
            }
        }
        assert!(node.heard().contains(&&RecordingEvent::Down { fault }), "it fills");
        node.close(0);
        node.pass(ms(3000));
        assert!(node.talks[&session(0)].sealed.is_some());
        assert_eq!(
            node.writer.status(node.now).fault,
            None,
            "though the other call goes on"
        );
        node.talk(&[1], ms(300));
        node.close(1);
        node.pass(ms(3000));
        for number in [0, 1] {
            let manifest = verified(&node.disk, session(number));
            assert_eq!(manifest.breaks, []);
            assert_eq!(manifest.reconciliation.stored, node.talks[&session(number)].accepted);
        }
    }
}

#[test]
fn a_volume_that_fails_is_left_for_the_next() {
    let mut node = with_a_broken_volume(Injected::Fail(IoError::Io));
    node.talk(&[0], ms(1000));
    node.open(1);
    node.close(0);
    node.pass(ms(500));
    assert!(node.talks[&session(1)].ready);
    assert_never_down(&node);
    assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
}

#[test]
fn a_volume_that_hangs_is_left_for_the_next_before_the_limit() {
    let mut node = with_a_broken_volume(Injected::Hang);
    node.talk(&[0], ms(3000));
    assert_never_down(&node);
    assert_eq!(node.talks[&session(0)].refused, []);
    node.disk.broken = None;
    node.release();
    node.talk(&[0], ms(300));
    node.close(0);
    node.pass(ms(500));
    assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
}

#[test]
fn a_hung_flush_is_a_fault_at_the_lag_limit_and_its_late_answer_mends_it() {
    let mut node = Node::new(SimDisk::new(6), config());
    node.open(0);
    node.talk(&[0], ms(300));
    let broken = node.break_disk(Injected::Hang);
    node.talk(&[0], ms(2000));
    let fault = Fault::Stalled;
    let down = node.delay(broken, &RecordingEvent::Down { fault }).unwrap();
    assert!(down >= ms(800) && down <= ms(1100), "{down:?}");
    // The intake knew by itself.
    assert_eq!(node.talks[&session(0)].refused.first(), Some(&Fault::Stalled));
    assert!(
        node.talks[&session(0)].accepted <= 30 + 111,
        "{}",
        node.talks[&session(0)].accepted
    );
    node.disk.broken = None;
    node.release();
    assert!(node.heard().contains(&&RecordingEvent::Up));
    node.talk(&[0], ms(300));
    node.close(0);
    node.pass(ms(500));
    let manifest = verified(&node.disk, session(0));
    assert_eq!(manifest.reconciliation.accepted, manifest.reconciliation.stored);
    // What was refused is a gap with both ends.
    let [(_, gap)] = manifest.reconciliation.gaps[..] else {
        panic!("{:?}", manifest.reconciliation.gaps);
    };
    assert!(gap >= ms(800) && gap <= ms(1100), "{gap:?}");
    assert_eq!(manifest.outcome, Outcome::Faulted);
}
