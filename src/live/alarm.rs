//! The recorder's word to the media threads that it can take nothing: read before each packet, without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::model::Fault;

/// Raised and lowered by the recorder's thread. It is the short way: signalling hears the same as an event, shuts each
/// call's gate and ends it, but that takes two more threads their turn, on a busy machine tens of milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<State>);

#[derive(Debug, Default)]
struct State {
    fault: AtomicU8,
    /// How often it was lowered.
    ended: AtomicU32,
}

/// A fault is told as its place here, from 1; 0 is none.
const FAULTS: [Fault; 12] = [
    Fault::OpenFailed,
    Fault::DiskFull,
    Fault::QuotaExceeded,
    Fault::Io,
    Fault::ReadOnly,
    Fault::ShortWrite,
    Fault::Stalled,
    Fault::QueueFull,
    Fault::PoolEmpty,
    Fault::Hung,
    Fault::Reserve,
    Fault::Miscounted,
];

impl Alarm {
    pub fn raise(&self, fault: Fault) {
        let place = FAULTS.iter().position(|known| *known == fault).unwrap_or_default();
        self.0.fault.store(place as u8 + 1, Ordering::Release);
    }

    /// The count grows first: who sees that the fault is over sees that it was.
    pub fn lower(&self) {
        self.0.ended.fetch_add(1, Ordering::Release);
        self.0.fault.store(0, Ordering::Release);
    }

    /// How many outages are over.
    #[inline]
    pub fn ended(&self) -> u32 {
        self.0.ended.load(Ordering::Acquire)
    }

    /// Why nothing can be recorded; none while all is well.
    #[inline]
    pub fn fault(&self) -> Option<Fault> {
        let place = usize::from(self.0.fault.load(Ordering::Acquire)).checked_sub(1)?;
        FAULTS.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_as_itself_until_it_is_over() {
        let alarm = Alarm::default();
        assert_eq!(alarm.fault(), None);
        for fault in FAULTS {
            alarm.raise(fault);
            assert_eq!(alarm.clone().fault(), Some(fault));
        }
        alarm.lower();
        assert_eq!((alarm.fault(), alarm.ended()), (None, 1));
    }
}
