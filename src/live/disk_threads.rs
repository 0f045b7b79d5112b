//! A thread for each lane of the recorder's disk work, so that the recorder never waits for a disk, sealing never
//! delays a commit, and a volume that hangs never delays another.

use std::collections::VecDeque;
use std::io;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::clock::Clock;
use super::fault_switch::{FaultSwitch, FaultSwitches};
use super::vitals::Vitals;
use super::waker::Waker;
use crate::disk::Disk;
use crate::recorder::{IoDone, IoRequest, Lane, VolumeId};

/// Requests that wait for one lane's thread. Full: they wait with the recorder, whose writer bounds what it has under
/// way by `lag_max` and by the blocks that it has lent.
const REQUESTS_MAX: usize = 256;

/// Answers that wait for the recorder. Full: the disk thread waits.
const ANSWERS_MAX: usize = 1024;

/// Where a volume's failures are noted, at the time at which the disk failed.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    pub clock: Clock,
    pub vitals: Vitals,
}

/// The recorder's end of all disk threads.
#[derive(Debug)]
pub(super) struct DiskThreads {
    lanes: Vec<LaneQueue>,
    pub answers: Receiver<IoDone>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct LaneQueue {
    lane: Lane,
    requests: Sender<IoRequest>,
    waiting: VecDeque<IoRequest>,
}

impl DiskThreads {
    /// One thread for each of `volumes` and one for the archive; each wakes `recorder` with its answers.
    pub(super) fn start(
        disk: &Disk,
        volumes: u16,
        switches: &FaultSwitches,
        recorder: &Waker,
        failures: &Failures,
    ) -> io::Result<Self> {
        let (done, answers) = bounded(ANSWERS_MAX);
        let journals = (0..volumes).map(|volume| Lane::Journal(VolumeId(volume)));
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for (number, lane) in journals.chain([Lane::Archive]).enumerate() {
            let (requests, inbox) = bounded(REQUESTS_MAX);
            let thread = LaneThread {
                disk: disk.another(),
                switch: switches.of(lane),
                inbox,
                done: done.clone(),
                recorder: recorder.clone(),
                failures: matches!(lane, Lane::Journal(_)).then(|| failures.clone()),
            };
            threads.push(
                Builder::new()
                    .name(format!("disk-{number}"))
                    .spawn(move || thread.run())?,
            );
            lanes.push(LaneQueue {
                lane,
                requests,
                waiting: VecDeque::new(),
            });
        }
        Ok(Self {
            lanes,
            answers,
            threads,
        })
    }

    /// Queues a request behind those of its lane; never waits. False when the lane's thread is gone.
    pub(super) fn submit(&mut self, request: IoRequest) -> bool {
        let Some(queue) = self.lanes.iter_mut().find(|queue| queue.lane == request.lane) else {
            return false;
        };
        queue.waiting.push_back(request);
        queue.hand_on()
    }

    /// Hands on what waited for room. False when a lane's thread is gone.
    pub(super) fn hand_on(&mut self) -> bool {
        let mut alive = true;
        for queue in &mut self.lanes {
            alive &= queue.hand_on();
        }
        alive
    }

    /// Ends the threads once they have done what they were given. A lane that hangs is left behind.
    pub(super) fn stop(self) {
        drop(self.lanes);
        for thread in self.threads.into_iter().filter(JoinHandle::is_finished) {
            if thread.join().is_err() {
                tracing::error!("a disk thread had panicked");
            }
        }
    }
}

impl LaneQueue {
    fn hand_on(&mut self) -> bool {
        while let Some(request) = self.waiting.pop_front() {
            match self.requests.try_send(request) {
                Ok(()) => {}
                Err(TrySendError::Full(request)) => {
                    self.waiting.push_front(request);
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }
}

struct LaneThread {
    disk: Disk,
    switch: FaultSwitch,
    inbox: Receiver<IoRequest>,
    done: Sender<IoDone>,
    recorder: Waker,
    /// Of a volume; the archive's failures delay the sealing, no call.
    failures: Option<Failures>,
}

impl LaneThread {
    fn run(mut self) {
        while let Ok(request) = self.inbox.recv() {
            let done = match self.switch.meet(&request.op) {
                Ok(()) => self.disk.execute(request),
                Err(error) => IoDone {
                    id: request.id,
                    result: Err(error),
                },
            };
            if let (Err(_), Some(failures)) = (&done.result, &self.failures) {
                failures.vitals.note_failure(failures.clock.now());
            }
            if self.done.send(done).is_err() {
                return;
            }
            // Sealing goes by groups: the recorder hears of a group, not of each of its calls.
            if self.failures.is_some() || self.inbox.is_empty() {
                self.recorder.wake();
            }
        }
    }
}
