//! Before anything is accepted: seals what an earlier run left unsealed.

use std::thread;

use super::clock::Clock;
use crate::disk::Disk;
use crate::recorder::{Recovery, RecoveryReport, WriterConfig};

/// Runs a recovery to its end on this thread. It retries a failing disk only so often, so it ends.
pub(super) fn recover(clock: Clock, config: &WriterConfig, disk: &mut Disk) -> RecoveryReport {
    let mut recovery = Recovery::new(config, clock.now());
    loop {
        while let Some(request) = recovery.poll_output() {
            let done = disk.execute(request);
            recovery.handle_io(clock.now(), done);
        }
        if let Some(report) = recovery.report() {
            log(report);
            return report.clone();
        }
        match recovery.poll_timeout() {
            Some(due) => {
                thread::park_timeout(clock.until(due));
                recovery.handle_timeout(clock.now());
            }
            None => {
                tracing::error!("recovery stopped half-way: this is a bug; what was left stays where it is");
                return RecoveryReport::default();
            }
        }
    }
}

fn log(report: &RecoveryReport) {
    for call in &report.calls {
        tracing::warn!(
            session = %call.session,
            outcome = call.outcome.as_str(),
            packets = call.packets,
            kept_until = %call.kept_until,
            "recovered a call of an earlier run"
        );
    }
    for torn in &report.torn {
        tracing::warn!(
            volume = torn.volume,
            segment = torn.segment,
            offset = torn.offset,
            "torn tail of a segment"
        );
    }
    if let Some(fault) = report.fault {
        tracing::error!(%fault, unsealed = report.unsealed.len(), "recovery met a fault");
    }
    let (segments, extents, calls) = (report.segments, report.extents, report.calls.len());
    if segments > 0 {
        tracing::info!(segments, extents, calls, "recovered");
    }
}
