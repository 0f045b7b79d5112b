//! How the recorder is: written by its thread, read by the supervisor and `status`. Signalling has no part in it: it
//! hears events.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::status::RecorderStatus;
use crate::model::{Fault, RecordingEvent, Timestamp};

#[derive(Clone, Debug, Default)]
pub(super) struct Vitals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// When the thread was last seen at work, in nanoseconds.
    pulse: AtomicU64,
    status: Mutex<RecorderStatus>,
}

impl Vitals {
    pub(super) fn beat(&self, now: Timestamp) {
        self.0.pulse.store(now.as_nanos(), Relaxed);
    }

    pub(super) fn last_beat(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.pulse.load(Relaxed))
    }

    /// Notes what the recorder is about to tell signalling.
    pub(super) fn note(&self, now: Timestamp, event: &RecordingEvent) {
        let mut status = self.0.status.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            RecordingEvent::Heartbeat { durable_until } => {
                status.lag_ms = u64::try_from(now.since(*durable_until).as_millis()).unwrap_or(u64::MAX);
                status.lag_peak_ms = status.lag_peak_ms.max(status.lag_ms);
                if !status.up {
                    *status = RecorderStatus {
                        up: true,
                        fault: None,
                        since: now,
                        failing_since: None,
                        ..*status
                    };
                }
            }
            RecordingEvent::Up => {
                *status = RecorderStatus {
                    up: true,
                    fault: None,
                    since: now,
                    failing_since: None,
                    ..*status
                }
            }
            RecordingEvent::Down { fault } => {
                *status = RecorderStatus {
                    up: false,
                    fault: Some(*fault),
                    since: now,
                    ..*status
                };
            }
            RecordingEvent::Reserve { crossed } => status.below_reserve_since = crossed.then_some(now),
            RecordingEvent::Ready { .. }
            | RecordingEvent::OpenFailed { .. }
            | RecordingEvent::Faulted { .. }
            | RecordingEvent::Sealed { .. } => {}
        }
    }

    /// A volume did not do what it was asked. The first time counts until the recorder comes up again.
    pub(super) fn note_failure(&self, now: Timestamp) {
        let mut status = self.0.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.failing_since.get_or_insert(now);
    }

    pub(super) fn status(&self) -> RecorderStatus {
        *self.0.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The supervisor's watch over the recorder thread.
#[derive(Debug)]
pub(super) struct Watch {
    vitals: Vitals,
    /// A thread that gave no sign for this long hangs.
    silence_max: Duration,
    hung: bool,
}

impl Watch {
    pub(super) const fn new(vitals: Vitals, silence_max: Duration) -> Self {
        Self {
            vitals,
            silence_max,
            hung: false,
        }
    }

    /// What signalling has to hear, if the thread has stopped or come back since the last look. `alive` is false once
    /// the thread has ended.
    pub(super) fn look(&mut self, now: Timestamp, alive: bool) -> Option<RecordingEvent> {
        let hangs = !alive || now.since(self.vitals.last_beat()) > self.silence_max;
        if hangs == self.hung {
            return None;
        }
        self.hung = hangs;
        if hangs {
            return Some(RecordingEvent::Down { fault: Fault::Hung });
        }
        // Alive again; whether it can record is what it said itself before or has said since.
        self.vitals.status().up.then_some(RecordingEvent::Up)
    }

    /// The recorder's status with what only the watch knows.
    pub(super) fn status(&self) -> RecorderStatus {
        let status = self.vitals.status();
        if self.hung {
            return RecorderStatus {
                up: false,
                fault: Some(Fault::Hung),
                since: self.vitals.last_beat(),
                ..status
            };
        }
        match status.below_reserve_since {
            Some(since) if status.up => RecorderStatus {
                up: false,
                fault: Some(Fault::Reserve),
                since,
                ..status
            },
            _ => status,
        }
    }

    /// What is open is being recorded.
    pub(super) fn goes_on(&self) -> bool {
        !self.hung && self.vitals.status().up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_recorder_that_hangs_is_down_once_and_up_once_when_it_lives_again() {
        let vitals = Vitals::default();
        let mut watch = Watch::new(vitals.clone(), SECOND);
        let start = Timestamp::from_millis(1_000_000);
        vitals.beat(start);
        vitals.note(start, &RecordingEvent::Up);

        assert_eq!(watch.look(start + SECOND, true), None);
        let late = start + SECOND * 2;
        assert_eq!(
            watch.look(late, true),
            Some(RecordingEvent::Down { fault: Fault::Hung })
        );
        assert_eq!(watch.look(late, true), None);
        assert_eq!((watch.status().up, watch.status().fault), (false, Some(Fault::Hung)));

        vitals.beat(late);
        assert_eq!(watch.look(late, true), Some(RecordingEvent::Up));
        assert_eq!(
            watch.look(late, false),
            Some(RecordingEvent::Down { fault: Fault::Hung }),
            "its thread has ended"
        );
    }

    #[test]
    fn a_recorder_that_was_down_when_it_hung_is_not_up_when_it_lives_again() {
        let vitals = Vitals::default();
        let mut watch = Watch::new(vitals.clone(), SECOND);
        let start = Timestamp::from_millis(1_000_000);
        vitals.note(start, &RecordingEvent::Down { fault: Fault::DiskFull });
        assert!(watch.look(start, true).is_some());
        vitals.beat(start);
        assert_eq!(watch.look(start, true), None);
        assert_eq!(watch.status().fault, Some(Fault::DiskFull));
    }

    #[test]
    fn below_the_reserve_it_is_down_for_who_asks_and_goes_on_with_what_is_open() {
        let vitals = Vitals::default();
        let watch = Watch::new(vitals.clone(), SECOND);
        let start = Timestamp::from_millis(1_000_000);
        vitals.note(start, &RecordingEvent::Up);
        vitals.note(start + SECOND, &RecordingEvent::Reserve { crossed: true });
        let status = watch.status();
        assert_eq!(
            (status.up, status.fault, status.since),
            (false, Some(Fault::Reserve), start + SECOND)
        );
        assert!(watch.goes_on());
        vitals.note(start + SECOND * 2, &RecordingEvent::Reserve { crossed: false });
        assert!(watch.status().up);
    }

    #[test]
    fn the_first_failure_counts_until_the_recorder_is_up_again() {
        let vitals = Vitals::default();
        let start = Timestamp::from_millis(1_000_000);
        vitals.note_failure(start);
        vitals.note(start + SECOND, &RecordingEvent::Down { fault: Fault::Io });
        vitals.note_failure(start + SECOND * 2);
        assert_eq!(vitals.status().failing_since, Some(start));
        vitals.note(start + SECOND * 3, &RecordingEvent::Up);
        assert_eq!(vitals.status().failing_since, None);
    }

    #[test]
    fn the_greatest_lag_is_kept() {
        let vitals = Vitals::default();
        let start = Timestamp::from_millis(1_000_000);
        for lag in [300, 120] {
            let durable_until = start;
            vitals.note(
                start + Duration::from_millis(lag),
                &RecordingEvent::Heartbeat { durable_until },
            );
        }
        assert_eq!((vitals.status().lag_ms, vitals.status().lag_peak_ms), (120, 300));
    }
}
