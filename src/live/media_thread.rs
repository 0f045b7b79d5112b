//! A media thread: the sockets of its calls, their plane, and the recorder's intake. It shares no lock with anybody.
//!
//! | queue | holds | when full |
//! |---|---|---|
//! | commands | [`COMMANDS_MAX`] | the sender is told, and refuses calls |
//! | events | [`EVENTS_MAX`] | they wait in the plane |
//! | extents, full | [`EXTENTS_MAX`] | they wait in the intake, until it has no block left and refuses packets |
//! | extents, empty | [`EXTENTS_MAX`] | they wait with the recorder |

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::media::{Dropped, Plane, PlaneOutput, Verdict};
use crate::model::{MediaCommand, MediaEvent, Timestamp, earliest};
use crate::recorder::{Extent, Intake};

use super::alarm::Alarm;
use super::clock::Clock;
use super::media_io::{MediaIo, Received};
use super::media_pulse::{PacketCounts, Pulse};
pub use super::media_shared::Sharing;
use super::media_sockets::{MediaSockets, Waker};

/// Commands that wait for one media thread.
pub const COMMANDS_MAX: usize = 4_096;

/// Events that wait for signalling.
pub const EVENTS_MAX: usize = 4_096;

/// How long `Closed` waits for a recorder that takes no extents: then that recording is lost anyhow, and the call's ports
/// must not be.
const CLOSED_PATIENCE: Duration = Duration::from_secs(2);

/// Extents on their way to the recorder, and back: nearly half a second of a thousand calls' while it is stalled.
pub const EXTENTS_MAX: usize = 4_096;

/// Commands between two looks at the packets: binding a call's sockets costs as much as relaying ten.
const COMMANDS_A_TURN: usize = 64;

/// A sign of life is given at least this often.
pub const TURN_MAX: Duration = Duration::from_millis(50);

/// Called by the thread when it has put something into a queue. Must not block.
pub type Wake = Box<dyn Fn() + Send>;

/// Whom the thread tells that a queue has something.
pub struct Wakes {
    /// There are events.
    pub signalling: Wake,
    /// There are full extents.
    pub recorder: Wake,
}

/// Signalling's end. Dropped: the thread ends, its sockets are closed, what was recorded is handed on.
pub struct MediaLink {
    commands: Producer<MediaCommand>,
    events: Consumer<MediaEvent>,
    waker: Waker,
}

impl MediaLink {
    /// The command back if [`COMMANDS_MAX`] wait. Nobody waits for the end of a call's media: it is looked at in the thread's
    /// next turn, within [`TURN_MAX`].
    pub fn send(&mut self, command: MediaCommand) -> Result<(), MediaCommand> {
        let is_awaited = !matches!(command, MediaCommand::Close { .. });
        self.commands
            .push(command)
            .map_err(|rtrb::PushError::Full(command)| command)?;
        if is_awaited {
            self.waker.wake();
        }
        Ok(())
    }

    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop().ok()
    }
}

/// The recorder's end.
pub struct ExtentLink {
    /// In the order of each call's frames.
    pub full: Consumer<Box<Extent>>,
    /// Those that are durable. When it is full, keep them for the next time.
    pub durable: Producer<Box<Extent>>,
}

/// A running media thread and its ends.
pub struct MediaThread {
    pub link: MediaLink,
    pub extents: ExtentLink,
    pub pulse: Arc<Pulse>,
    /// Ends with an error only if the kernel refuses to wait on sockets.
    pub thread: JoinHandle<io::Result<()>>,
}

impl MediaThread {
    /// Starts a thread of this name. `intake` is filled by it alone; while `alarm` is raised, strict sessions are silent.
    /// `sharing`: calls share sockets; an error if the kernel does not allow that.
    pub fn spawn(
        name: &str,
        clock: Clock,
        sharing: Option<Sharing>,
        intake: Intake,
        alarm: Alarm,
        wakes: Wakes,
    ) -> io::Result<Self> {
        let (mut sockets, waker) = MediaSockets::new(clock)?;
        if let Some(sharing) = sharing {
            sockets = sockets.sharing(sharing)?;
        }
        let (commands, to_do) = RingBuffer::new(COMMANDS_MAX);
        let (events_in, events) = RingBuffer::new(EVENTS_MAX);
        let (full_in, full) = RingBuffer::new(EXTENTS_MAX);
        let (durable, durable_out) = RingBuffer::new(EXTENTS_MAX);
        let pulse = Arc::new(Pulse::default());
        pulse.beat(clock.now(), &PacketCounts::default(), 0);
        let turner = Turner {
            io: sockets,
            clock,
            plane: Plane::new(),
            intake,
            alarm,
            outages: 0,
            commands: to_do,
            events: events_in,
            full: full_in,
            durable: durable_out,
            closed: VecDeque::new(),
            told: false,
            wakes,
            counts: PacketCounts::default(),
            pulse: Arc::clone(&pulse),
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || turner.run())?;
        let link = MediaLink {
            commands,
            events,
            waker,
        };
        Ok(Self {
            link,
            extents: ExtentLink { full, durable },
            pulse,
            thread,
        })
    }
}

/// What the thread owns.
struct Turner<I> {
    io: I,
    clock: Clock,
    plane: Plane,
    intake: Intake,
    alarm: Alarm,
    /// Outages of the recorder that are over and known here.
    outages: u32,
    commands: Consumer<MediaCommand>,
    events: Producer<MediaEvent>,
    full: Producer<Box<Extent>>,
    durable: Consumer<Box<Extent>>,
    /// `Closed` events, and until when they wait for their sessions' last extents to be handed on. One a session.
    closed: VecDeque<(Timestamp, MediaEvent)>,
    /// There are events that signalling was not woken for.
    told: bool,
    wakes: Wakes,
    counts: PacketCounts,
    pulse: Arc<Pulse>,
}

impl<I: MediaIo> Turner<I> {
    fn run(mut self) -> io::Result<()> {
        while !self.commands.is_abandoned() || !self.commands.is_empty() {
            self.turn()?;
        }
        let now = self.clock.now();
        self.intake.flush(now + Duration::from_secs(1)); // the youngest, too
        self.hand_on_extents(now);
        Ok(())
    }

    /// Waits, then: blocks back, commands, packets, extents and events out. Commands come before packets, so that a
    /// gate that shall shut lets nothing more through.
    fn turn(&mut self) -> io::Result<()> {
        self.io.wait(self.patience())?;
        let now = self.clock.now();
        while let Ok(extent) = self.durable.pop() {
            self.intake.recycle(extent);
        }
        for _ in 0..COMMANDS_A_TURN {
            let Ok(command) = self.commands.pop() else { break };
            self.plane.handle_command(now, command, &mut self.intake);
            self.drain_plane(now);
        }
        self.wake_signalling();
        while self.relay_one(now) {}
        self.speak(now);
        self.plane.handle_timeout(now);
        self.drain_plane(now);
        self.flush();
        self.intake.flush(now);
        self.wake_signalling();
        self.hand_on_extents(now);
        self.pulse.beat(now, &self.counts, self.plane.len());
        Ok(())
    }

    /// How long there is nothing to do but packets. A wake-up is only good for commands that are looked for after it.
    fn patience(&self) -> Duration {
        let due = earliest(self.intake.poll_timeout(), self.plane.poll_timeout());
        let flush = due.map(|at| self.clock.until(at));
        match flush {
            _ if !self.commands.is_empty() => Duration::ZERO,
            Some(flush) => flush.min(TURN_MAX),
            None => TURN_MAX,
        }
    }

    /// False when the last wait's datagrams are all relayed.
    fn relay_one(&mut self, now: Timestamp) -> bool {
        let Some(received) = self.io.receive() else {
            return false;
        };
        // Before each packet, not each turn: this thread may have been kept waiting since the last.
        self.plane.halt(self.alarm.fault());
        let ended = self.alarm.ended();
        if ended != self.outages {
            self.outages = ended;
            self.intake.forgive();
        }
        let Received { port, from, at } = received;
        let verdict = self
            .plane
            .handle_packet(now, port, from, at, self.io.datagram(), &mut self.intake);
        let count = match verdict {
            Verdict::Forward { via, to } => {
                if self.io.forward(via, to) {
                    &mut self.counts.forwarded
                } else {
                    self.plane.handle_unsent(via);
                    &mut self.counts.unsent
                }
            }
            Verdict::Change { via, to } => {
                if self.io.send(via, to, self.plane.changed()) {
                    &mut self.counts.forwarded
                } else {
                    self.plane.handle_unsent(via);
                    &mut self.counts.unsent
                }
            }
            Verdict::Drop(Dropped::UnknownPort | Dropped::Gated) => &mut self.counts.gated,
            Verdict::Drop(Dropped::Foreign | Dropped::Undecryptable | Dropped::Handshake) => &mut self.counts.foreign,
            Verdict::Drop(Dropped::Ours | Dropped::Hushed) => return true,
            Verdict::Drop(Dropped::Early) => &mut self.counts.early,
            Verdict::Drop(Dropped::Unsealable) => &mut self.counts.unsent,
            Verdict::Drop(Dropped::Refused(_)) => &mut self.counts.refused,
        };
        *count += 1;
        true
    }

    /// What is due of our own: parties are told that they are recorded.
    fn speak(&mut self, now: Timestamp) {
        self.plane.halt(self.alarm.fault());
        while let Some((via, to)) = self.plane.poll_notice(now) {
            // One that is lost is like any packet that is.
            self.counts.forwarded += u64::from(self.io.say(via, to, self.plane.changed()));
        }
    }

    /// What was forwarded leaves, or did not.
    fn flush(&mut self) {
        self.io.flush();
        while let Some(via) = self.io.poll_unsent() {
            self.plane.handle_unsent(via);
            self.counts.forwarded = self.counts.forwarded.saturating_sub(1);
            self.counts.unsent += 1;
        }
    }

    /// Binds, lets go, and tells, as far as the events' queue has room.
    fn drain_plane(&mut self, now: Timestamp) {
        while !self.events.is_full() {
            match self.plane.poll_output() {
                None => break,
                Some(PlaneOutput::Bind(port, at)) => match self.io.bind(port, at) {
                    Ok(()) => self.plane.handle_bound(now, port, &mut self.intake),
                    // Why is not logged here: a thread that relays must not wait for standard error.
                    Err(_) => self.plane.handle_bind_failed(now, port, &mut self.intake),
                },
                Some(PlaneOutput::Unbind(port)) => self.io.unbind(port),
                Some(PlaneOutput::Send { via, to, bytes }) => _ = self.io.say(via, to, &bytes), // or the peer asks again
                Some(PlaneOutput::Event(event @ MediaEvent::Closed { .. })) => {
                    self.closed.push_back((now + CLOSED_PATIENCE, event));
                }
                Some(PlaneOutput::Event(event)) => self.told |= self.events.push(event).is_ok(),
            }
        }
    }

    /// Once for all that was told, if it is not read already.
    fn wake_signalling(&mut self) {
        if std::mem::take(&mut self.told) && self.events.slots() < self.events.buffer().capacity() {
            (self.wakes.signalling)();
        }
    }

    /// Full extents to the recorder, and once the intake has none left, the sessions that waited for it are closed. Nobody
    /// waits for those: signalling is woken for them in the next turn, if it has not looked by then.
    fn hand_on_extents(&mut self, now: Timestamp) {
        let mut handed_on = false;
        let mut all = false;
        while !self.full.is_full() && !all {
            match self.intake.poll_full() {
                Some(extent) => handed_on |= self.full.push(extent).is_ok(),
                None => all = true,
            }
        }
        if handed_on {
            (self.wakes.recorder)();
        }
        while !self.events.is_full()
            && let Some((_, event)) = self.closed.pop_front_if(|(until, _)| all || *until <= now)
        {
            self.told |= self.events.push(event).is_ok();
        }
    }
}

#[cfg(test)]
mod tests;
