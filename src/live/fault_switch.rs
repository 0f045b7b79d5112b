//! Breaking a volume on purpose: for tests, the demo, and an operator's drill.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::recorder::{IoError, IoOp, Lane};

/// What a volume does to writes, instead of writing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InjectedFault {
    /// It writes.
    #[default]
    None,
    Enospc,
    Edquot,
    Eio,
    Erofs,
    ShortWrite,
    /// Writes do not return until the fault is changed.
    Hang,
}

impl InjectedFault {
    const ALL: [Self; 7] = [
        Self::None,
        Self::Enospc,
        Self::Edquot,
        Self::Eio,
        Self::Erofs,
        Self::ShortWrite,
        Self::Hang,
    ];

    const fn error(self) -> Option<IoError> {
        match self {
            Self::None | Self::Hang => None,
            Self::Enospc => Some(IoError::NoSpace),
            Self::Edquot => Some(IoError::QuotaExceeded),
            Self::Eio => Some(IoError::Io),
            Self::Erofs => Some(IoError::ReadOnly),
            Self::ShortWrite => Some(IoError::ShortWrite),
        }
    }
}

/// One volume's switch, shared by its disk thread and the control socket.
///
/// It exists in every build, so that what is shipped is what was tested; it can be turned only in a `serve` that was
/// started with `--allow-faults`. While it is off it costs one relaxed load a request.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitch(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    fault: AtomicU8,
    turned: Mutex<()>,
    wake: Condvar,
}

impl FaultSwitch {
    pub fn turn(&self, fault: InjectedFault) {
        let guard = self.0.turned.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.fault.store(fault as u8, Ordering::Release);
        drop(guard);
        self.0.wake.notify_all();
    }

    fn position(&self) -> InjectedFault {
        let position = usize::from(self.0.fault.load(Ordering::Acquire));
        InjectedFault::ALL.get(position).copied().unwrap_or_default()
    }

    /// What becomes of a request that is about to be executed. Blocks while the switch says hang.
    pub fn meet(&self, op: &IoOp) -> Result<(), IoError> {
        let harmless = matches!(
            op,
            IoOp::Read { .. } | IoOp::List { .. } | IoOp::Published { .. } | IoOp::Free { .. }
        );
        if harmless || self.position() == InjectedFault::None {
            return Ok(());
        }
        let mut guard = self.0.turned.lock().unwrap_or_else(PoisonError::into_inner);
        while self.position() == InjectedFault::Hang {
            guard = self.0.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.position().error().map_or(Ok(()), Err)
    }
}

/// The switches of all volumes, in the order of the configuration. The archive lane has none.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitches(Vec<FaultSwitch>);

impl FaultSwitches {
    pub fn new(volumes: usize) -> Self {
        Self((0..volumes).map(|_| FaultSwitch::default()).collect())
    }

    /// The switch of a lane.
    pub fn of(&self, lane: Lane) -> FaultSwitch {
        match lane {
            Lane::Journal(volume) => self.0.get(usize::from(volume.0)).cloned().unwrap_or_default(),
            Lane::Archive => FaultSwitch::default(),
        }
    }

    /// Turns one volume's switch, or all. False when there is no such volume.
    pub fn turn(&self, volume: Option<u16>, fault: InjectedFault) -> bool {
        match volume.map(|volume| self.0.get(usize::from(volume))) {
            Some(None) => false,
            Some(Some(switch)) => {
                switch.turn(fault);
                true
            }
            None => {
                self.0.iter().for_each(|switch| switch.turn(fault));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{SegmentId, VolumeId};

    #[test]
    fn a_broken_volume_fails_writes_until_it_is_mended() {
        let switches = FaultSwitches::new(1);
        let lane = Lane::Journal(VolumeId(0));
        let create = IoOp::Create {
            segment: SegmentId {
                volume: VolumeId(0),
                number: 1,
            },
            bytes: 4096,
        };

        assert!(switches.turn(None, InjectedFault::Enospc));
        assert_eq!(switches.of(lane).meet(&create), Err(IoError::NoSpace));
        assert_eq!(switches.of(Lane::Archive).meet(&create), Ok(()));
        assert_eq!(switches.of(lane).meet(&IoOp::Free { volume: VolumeId(0) }), Ok(()));

        assert!(switches.turn(Some(0), InjectedFault::None));
        assert_eq!(switches.of(lane).meet(&create), Ok(()));
        assert!(!switches.turn(Some(1), InjectedFault::Eio), "there is no such volume");
    }

    #[test]
    fn every_fault_has_its_own_place_in_the_switch() {
        for (place, fault) in InjectedFault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, place);
        }
    }
}
