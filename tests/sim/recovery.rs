//! Power cuts: the machine stops while a request to the disk is under way, and starts again.

use std::time::Duration;

use onrecord::model::Timestamp;
use onrecord::recorder::{Recovery, RecoveryReport};

use super::disk::Disk;
use super::net::Quality;
use super::seeds::{Share, draw_world, try_all};
use super::setting;
use super::stories::{patient, script};
use super::ua::Script;
use super::world::{Grade, World};

/// Recovers as the product does at its start. None when the power was cut again, as `disk.crash_at` asks.
fn recover(disk: &mut Disk, volumes: usize, now: &mut Timestamp) -> Option<RecoveryReport> {
    let mut recovery = Recovery::new(&setting::recorder(volumes), *now);
    for _ in 0..100_000 {
        while let Some(request) = recovery.poll_output() {
            disk.submit(*now, request);
            if disk.is_crash_due() {
                return None;
            }
        }
        if let Some(report) = recovery.report() {
            return Some(report.clone());
        }
        if let Some(due) = recovery.poll_timeout().filter(|due| *due <= *now) {
            recovery.handle_timeout(due.max(*now));
        } else if let Some(done) = disk.poll_done(*now) {
            recovery.handle_io(*now, done);
        } else {
            let next = onrecord::model::earliest(disk.poll_timeout(), recovery.poll_timeout());
            *now = next.expect("recovery waits for the disk or for a time").max(*now);
        }
    }
    panic!("recovery never ended");
}

/// After the power cut of `world`: recovery, which may be cut off too, gives back all that was acknowledged.
fn come_back(world: &mut World) -> RecoveryReport {
    let mut now = world.now + Duration::from_secs(5);
    world.disk.crash();
    for _ in 0..world.rng.below(3) {
        world.disk.crash_at = Some(world.disk.requests + 1 + world.rng.below(12));
        if recover(&mut world.disk, world.volumes, &mut now).is_none() {
            world.disk.crash();
        }
        world.disk.crash_at = None;
    }
    let report = recover(&mut world.disk, world.volumes, &mut now).expect("no more power cuts");
    let broken = world.ledger.audit_after_crash(&world.disk);
    assert!(broken.is_empty(), "{}\n{report:?}", world.complaint(&broken.join("\n")));
    let again = recover(&mut world.disk, world.volumes, &mut now).expect("no more power cuts");
    let found_again = (again.calls.len(), again.unsealed.len());
    assert_eq!(found_again, (0, 0), "{}", world.complaint("recovery is not idempotent"));
    report
}

/// Two calls, one after the other, that end in order.
fn two_calls(crash_at: Option<u64>) -> World {
    let mut world = World::new(11, Quality::PERFECT);
    world.disk.crash_at = crash_at;
    world.pair(Duration::ZERO, Grade::Strict, script(), patient());
    let busy = Script {
        refuses: Some(486),
        ..script()
    };
    world.pair(Duration::from_millis(700), Grade::Lenient, script(), busy);
    world.pair(
        Duration::from_millis(900),
        Grade::Strict,
        patient(),
        Script {
            early_media: true,
            ..script()
        },
    );
    world
}

#[test]
fn a_power_cut_at_any_request_loses_nothing_acknowledged() {
    let mut whole = two_calls(None);
    whole.run_to_rest();
    let requests = whole.disk.requests;
    assert!((30..2000).contains(&requests), "{requests} requests");
    let mut recovered = 0;
    for at in 1..=requests {
        let mut world = two_calls(Some(at));
        world.run_to_rest();
        assert!(world.crashed, "request {at} of {requests} never came");
        recovered += come_back(&mut world).calls.len();
    }
    assert!(
        recovered > 30,
        "only {recovered} calls had to be recovered: the cuts missed the calls"
    );
}

fn cut(seed: u64) {
    let mut world = draw_world(seed);
    world.disk.crash_at = Some(1 + world.rng.below(150));
    world.run_to_rest();
    if world.crashed {
        come_back(&mut world);
    } else {
        world.audit();
    }
}

#[test]
fn a_power_cut_in_any_world_loses_nothing_acknowledged() {
    try_all(Share::All, cut);
}
