//! Getting one batch at a time durable: on the current segment, else on a fresh one of the same volume, else on the
//! next volume, else nowhere (`Down`), and then again every second.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::model::{Fault, RecordingEvent, Timestamp, earliest};

use super::config::WriterConfig;
use super::io::{File, IoDone, IoError, IoId, IoOp, IoOutcome, Lane, SegmentId, VolumeId};
use super::output::Outbox;
use super::segment::{BLOCK_BYTES, segment_header};

/// How often a recorder that is down tries all volumes.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Offsets within a segment are kept in 32 bits.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;
const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// Numbers that may be taken one after another before a volume counts as broken.
const TAKEN_MAX: u32 = 1_000;
/// How often free space is asked for.
const FREE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Volume {
    reserve: u64,
    next_number: u64,
    /// Files that were there already, since the last segment was made.
    taken: u32,
    free: Option<u64>,
    asked_free: Option<IoId>,
    /// A request that was given up on; nothing is asked of the volume until it answers.
    hung: Option<IoId>,
}

#[derive(Clone, Copy, Debug)]
struct OpenSegment {
    id: SegmentId,
    /// Where the next batch goes: the end of the last, on a block.
    at: u64,
    /// Holds acknowledged bytes.
    used: bool,
}

/// A batch under way.
#[derive(Debug)]
struct Flight {
    bytes: Bytes,
    io: IoId,
    step: Step,
    segment: OpenSegment,
    /// Where to try next.
    plan: VecDeque<VolumeId>,
    issued: Timestamp,
    /// When the watermark is too old.
    deadline: Timestamp,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Creating,
    Appending,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Condition {
    Up,
    Down(Fault),
}

/// A batch that is durable: `base` is where its first byte is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Landed {
    pub(super) segment: SegmentId,
    pub(super) base: u64,
}

#[derive(Debug)]
pub(super) struct Journal {
    volumes: Vec<Volume>,
    segment_bytes: u64,
    lag_max: Duration,
    condition: Condition,
    /// That the reserve is crossed was told.
    crossed: bool,
    current: Option<OpenSegment>,
    flight: Option<Flight>,
    /// What no volume took, and when it is tried again.
    held: Option<(Bytes, Timestamp)>,
    /// Requests that were given up on, of segments that hold nothing: removed once they are known to be there, and ours.
    abandoned: BTreeMap<IoId, (SegmentId, Step)>,
    last_landing: Timestamp,
    free_due: Timestamp,
}

impl Journal {
    pub(super) fn new(config: &WriterConfig, first_segment: u64, now: Timestamp) -> Self {
        let volume = |v: &super::config::VolumeConfig| Volume {
            reserve: v.reserve,
            next_number: first_segment,
            taken: 0,
            free: None,
            asked_free: None,
            hung: None,
        };
        Self {
            volumes: config.volumes.iter().map(volume).collect(),
            segment_bytes: config.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            lag_max: config.lag_max,
            condition: Condition::Up,
            crossed: false,
            current: None,
            flight: None,
            held: None,
            abandoned: BTreeMap::new(),
            last_landing: now,
            free_due: now,
        }
    }

    /// Takes a batch now.
    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_none() && self.held.is_none()
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        match self.condition {
            Condition::Up => None,
            Condition::Down(fault) => Some(fault),
        }
    }

    /// No volume that answers has more than its reserve.
    pub(super) fn is_below_reserve(&self) -> bool {
        let above = |v: &Volume| v.hung.is_none() && v.free.is_none_or(|free| free >= v.reserve);
        !self.volumes.iter().any(above)
    }

    /// The bytes of the batch that is under way or held.
    pub(super) fn batch(&self) -> Option<&Bytes> {
        let flying = self.flight.as_ref().map(|flight| &flight.bytes);
        flying.or(self.held.as_ref().map(|(bytes, _)| bytes))
    }

    pub(super) fn current(&self) -> Option<SegmentId> {
        self.current.map(|segment| segment.id)
    }

    /// Writes a batch, whole blocks long, whose oldest frame was taken at `oldest`.
    pub(super) fn write(&mut self, now: Timestamp, oldest: Timestamp, bytes: Bytes, out: &mut Outbox) {
        debug_assert!(self.is_idle());
        let deadline = oldest.max(self.last_landing) + self.lag_max;
        let first = self.current.map_or(VolumeId(0), |segment| segment.id.volume);
        // The volume in use twice: where it is, and once more on a fresh segment.
        let mut plan: VecDeque<VolumeId> = self.volumes_from(first).collect();
        if let Some(segment) = self.current
            && segment.at + bytes.len() as u64 <= self.segment_bytes
        {
            let io = append(&segment, &bytes, out);
            self.flight = Some(Flight {
                bytes,
                io,
                step: Step::Appending,
                segment,
                plan,
                issued: now,
                deadline,
            });
            return;
        }
        self.current = None;
        plan.push_front(first);
        self.attempt(now, bytes, plan, deadline, Fault::OpenFailed, out);
    }

    fn volumes_from(&self, first: VolumeId) -> impl Iterator<Item = VolumeId> + use<> {
        let count = self.volumes.len() as u16;
        (0..count).map(move |i| VolumeId((first.0 + i) % count.max(1)))
    }

    /// Starts on the first volume of the plan that answers; `fault` is why the last one did not take it.
    fn attempt(
        &mut self,
        now: Timestamp,
        bytes: Bytes,
        mut plan: VecDeque<VolumeId>,
        deadline: Timestamp,
        fault: Fault,
        out: &mut Outbox,
    ) {
        let mut fault = fault;
        while let Some(id) = plan.pop_front() {
            let Some(volume) = self.volumes.get_mut(usize::from(id.0)) else {
                continue;
            };
            if volume.hung.is_some() {
                fault = Fault::Stalled;
                continue;
            }
            let number = volume.next_number;
            volume.next_number += 1;
            let segment = SegmentId { volume: id, number };
            let op = IoOp::Create {
                segment,
                bytes: self.segment_bytes,
            };
            let io = out.io(Lane::Journal(id), op);
            let segment = OpenSegment {
                id: segment,
                at: 0,
                used: false,
            };
            self.flight = Some(Flight {
                bytes,
                io,
                step: Step::Creating,
                segment,
                plan,
                issued: now,
                deadline,
            });
            return;
        }
        self.held = Some((bytes, now + PROBE_EVERY));
        self.go_down(fault, out);
    }

    fn tell_reserve(&mut self, out: &mut Outbox) {
        let crossed = self.is_below_reserve();
        if crossed != self.crossed {
            self.crossed = crossed;
            out.event(RecordingEvent::Reserve { crossed });
        }
    }

    fn go_down(&mut self, fault: Fault, out: &mut Outbox) {
        if self.condition == Condition::Up {
            self.condition = Condition::Down(fault);
            out.event(RecordingEvent::Down { fault });
        }
    }

    /// None: nothing became durable by this.
    pub(super) fn handle_io(&mut self, now: Timestamp, done: &IoDone, out: &mut Outbox) -> Option<Landed> {
        if self.on_free(done) || self.on_abandoned(done, out) {
            self.tell_reserve(out);
            return None;
        }
        let flight = self.flight.take_if(|flight| flight.io == done.id)?;
        match (&done.result, flight.step) {
            (Ok(IoOutcome::Done), Step::Creating) => {
                if let Some(volume) = self.volume_mut(flight.segment.id) {
                    volume.taken = 0;
                }
                let bytes = with_header(flight.segment.id, &flight.bytes);
                let io = append(&flight.segment, &bytes, out);
                self.flight = Some(Flight {
                    io,
                    step: Step::Appending,
                    issued: now,
                    ..flight
                });
                None
            }
            (Err(IoError::Exists), Step::Creating) => {
                self.on_taken(now, flight, out);
                None
            }
            (Ok(IoOutcome::Done), Step::Appending) => Some(self.on_landed(now, &flight, out)),
            (result, step) => {
                let error = result.as_ref().err().copied().unwrap_or(IoError::Io);
                self.give_up_segment(&flight.segment, step, out);
                let mut plan = flight.plan;
                if step == Step::Creating && error.is_lasting() {
                    plan.retain(|volume| *volume != flight.segment.id.volume);
                }
                self.attempt(now, flight.bytes, plan, flight.deadline, error.fault(), out);
                None
            }
        }
    }

    fn on_landed(&mut self, now: Timestamp, flight: &Flight, out: &mut Outbox) -> Landed {
        let fresh = !flight.segment.used;
        let base = flight.segment.at + if fresh { BLOCK_BYTES as u64 } else { 0 };
        self.current = Some(OpenSegment {
            id: flight.segment.id,
            at: base + flight.bytes.len() as u64,
            used: true,
        });
        self.last_landing = now;
        if self.condition != Condition::Up {
            self.condition = Condition::Up;
            out.event(RecordingEvent::Up);
        }
        Landed {
            segment: flight.segment.id,
            base,
        }
    }

    fn volume_mut(&mut self, segment: SegmentId) -> Option<&mut Volume> {
        self.volumes.get_mut(usize::from(segment.volume.0))
    }

    /// The file is another's, perhaps of a call that recovery could not read: it is left alone, the next number tried.
    fn on_taken(&mut self, now: Timestamp, flight: Flight, out: &mut Outbox) {
        let id = flight.segment.id;
        let mut plan = flight.plan;
        if let Some(volume) = self.volume_mut(id) {
            volume.taken += 1;
            if volume.taken < TAKEN_MAX {
                plan.push_front(id.volume);
            } else {
                volume.taken = 0;
            }
        }
        self.attempt(now, flight.bytes, plan, flight.deadline, IoError::Exists.fault(), out);
    }

    /// A segment that failed is never written or synced again; if we made it and nothing in it was acknowledged, it goes.
    fn give_up_segment(&mut self, segment: &OpenSegment, step: Step, out: &mut Outbox) {
        self.current = None;
        if !segment.used && step == Step::Appending {
            remove_segment(segment.id, out);
        }
    }

    fn on_free(&mut self, done: &IoDone) -> bool {
        let Some(volume) = self.volumes.iter_mut().find(|v| v.asked_free == Some(done.id)) else {
            return false;
        };
        volume.asked_free = None;
        if let Ok(IoOutcome::Free(bytes)) = done.result {
            volume.free = Some(bytes);
        }
        true
    }

    /// A request that was given up on has answered at last: its volume may be asked again, its segment goes.
    fn on_abandoned(&mut self, done: &IoDone, out: &mut Outbox) -> bool {
        let Some(volume) = self.volumes.iter_mut().find(|v| v.hung == Some(done.id)) else {
            return false;
        };
        volume.hung = None;
        if let Some((segment, step)) = self.abandoned.remove(&done.id)
            && (step == Step::Appending || done.result.is_ok())
        {
            remove_segment(segment, out);
        }
        true
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let flight = self.flight.as_ref().and_then(|flight| {
            let turn = flight.issued + self.lag_max / 2;
            let elsewhere = self.has_elsewhere(flight).then_some(turn);
            let stall = (self.condition == Condition::Up).then_some(flight.deadline);
            earliest(elsewhere, stall)
        });
        let probe = self.held.as_ref().map(|(_, due)| *due);
        earliest(earliest(flight, probe), Some(self.free_due))
    }

    fn has_elsewhere(&self, flight: &Flight) -> bool {
        let answers = |id: &VolumeId| self.volumes.get(usize::from(id.0)).is_some_and(|v| v.hung.is_none());
        flight
            .plan
            .iter()
            .any(|id| *id != flight.segment.id.volume && answers(id))
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp, out: &mut Outbox) {
        if now >= self.free_due {
            self.free_due = now + FREE_EVERY;
            self.ask_free(out);
        }
        if self.flight.as_ref().is_some_and(|flight| flight.deadline <= now) {
            self.go_down(Fault::Stalled, out);
        }
        let turn = self.lag_max / 2;
        if let Some(flight) = self.flight.take() {
            if flight.issued + turn <= now && self.has_elsewhere(&flight) {
                self.turn_elsewhere(now, flight, out);
            } else {
                self.flight = Some(flight);
            }
        }
        if let Some((bytes, _)) = self.held.take_if(|(_, due)| *due <= now) {
            let plan = self.volumes_from(VolumeId(0)).collect();
            let deadline = now + self.lag_max;
            self.attempt(now, bytes, plan, deadline, Fault::OpenFailed, out);
        }
    }

    /// The volume hangs: what it was given goes to another as well.
    fn turn_elsewhere(&mut self, now: Timestamp, flight: Flight, out: &mut Outbox) {
        let id = flight.segment.id;
        if let Some(volume) = self.volumes.get_mut(usize::from(id.volume.0)) {
            volume.hung = Some(flight.io);
        }
        if !flight.segment.used {
            self.abandoned.insert(flight.io, (id, flight.step));
        }
        self.tell_reserve(out);
        self.current = None;
        let plan = flight.plan.into_iter().filter(|v| *v != id.volume).collect();
        self.attempt(now, flight.bytes, plan, flight.deadline, Fault::Stalled, out);
    }

    fn ask_free(&mut self, out: &mut Outbox) {
        for (place, volume) in self.volumes.iter_mut().enumerate() {
            if volume.asked_free.is_none() && volume.hung.is_none() {
                let id = VolumeId(place as u16);
                volume.asked_free = Some(out.io(Lane::Journal(id), IoOp::Free { volume: id }));
            }
        }
    }
}

fn append(segment: &OpenSegment, bytes: &Bytes, out: &mut Outbox) -> IoId {
    let op = IoOp::Append {
        segment: segment.id,
        offset: segment.at,
        bytes: bytes.clone(),
    };
    out.io(Lane::Journal(segment.id.volume), op)
}

/// The first batch of a segment goes with the segment's first block, in one write.
fn with_header(segment: SegmentId, batch: &Bytes) -> Bytes {
    let mut bytes = Vec::with_capacity(BLOCK_BYTES + batch.len());
    bytes.extend_from_slice(&segment_header(segment));
    bytes.extend_from_slice(batch);
    bytes.into()
}

pub(super) fn remove_segment(segment: SegmentId, out: &mut Outbox) {
    let file = File::Segment(segment);
    out.io(Lane::Journal(segment.volume), IoOp::Remove { file });
}
