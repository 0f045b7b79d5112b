//! Before anything is accepted: seals what an earlier run left unsealed.

use std::thread;

use super::clock::Clock;
use crate::recorder::{IoDone, IoRequest, Recovery, RecoveryReport, WriterConfig};

/// Why nothing may be recorded before somebody has looked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecoveryError {
    /// The medium's fault, or the operator's: a directory that may not be read.
    #[error("{0} of the recorder's directories cannot be listed: what is in them would be lost")]
    Unlisted(u64),
    /// Ours.
    #[error("recovery stopped half-way, which is a bug; what an earlier run left is where it was")]
    Stuck,
}

/// Runs a recovery to its end on this thread. It retries a failing disk only so often, so it ends.
pub(super) fn recover(
    clock: Clock,
    config: &WriterConfig,
    mut execute: impl FnMut(IoRequest) -> IoDone,
) -> Result<RecoveryReport, RecoveryError> {
    let mut recovery = Recovery::new(config, clock.now());
    loop {
        while let Some(request) = recovery.poll_output() {
            let done = execute(request);
            recovery.handle_io(clock.now(), done);
        }
        if let Some(report) = recovery.report() {
            log(report);
            return match report.unlisted {
                0 => Ok(report.clone()),
                folders => Err(RecoveryError::Unlisted(folders)),
            };
        }
        match recovery.poll_timeout() {
            Some(due) => {
                thread::park_timeout(clock.until(due));
                recovery.handle_timeout(clock.now());
            }
            None => return Err(RecoveryError::Stuck),
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
    if report.unreadable > 0 {
        let (segments, calls) = (report.unreadable, report.unsealed.len());
        tracing::error!(
            segments,
            calls,
            "cannot be read: they and the calls in them wait for the next start"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{IoError, IoId, IoOp, IoOutcome};

    #[test]
    fn a_recovery_that_hears_no_answer_is_an_error_and_no_empty_spool() {
        let stranger = |_| IoDone {
            id: IoId(u64::MAX),
            result: Ok(IoOutcome::Done),
        };
        let report = recover(Clock::start(), &WriterConfig::default(), stranger);
        assert_eq!(report, Err(RecoveryError::Stuck));
    }

    #[test]
    fn a_volume_that_cannot_be_listed_is_an_error_and_nothing_is_touched() {
        let listed = |request: IoRequest| {
            assert!(matches!(request.op, IoOp::List { .. }), "{request:?}");
            IoDone {
                id: request.id,
                result: Err(IoError::Io),
            }
        };
        let report = recover(Clock::start(), &WriterConfig::default(), listed);
        assert_eq!(report, Err(RecoveryError::Unlisted(2)));
    }
}
