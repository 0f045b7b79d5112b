//! The `recorder` thread: owns `recorder::Writer`, and never waits for a disk.

use std::collections::VecDeque;
use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use tokio::sync::mpsc;

use super::alarm::Alarm;
use super::clock::Clock;
use super::disk_threads::DiskThreads;
use super::media_thread::ExtentLink;
use super::vitals::Vitals;
use super::waker::Waker;
use crate::engine::Input;
use crate::model::{RecordingCommand, RecordingEvent, Timestamp, earliest};
use crate::recorder::{Extent, Output, Writer};

/// Commands that wait for the recorder. Full is a fault of the recorder: see
/// [`signaling`](super::signaling) for what becomes of each command then.
const COMMANDS_MAX: usize = 16_384;

/// How late the recorder may look at commands that nobody waits for: a commit gathers as long.
const COMMANDS_WAIT: Duration = Duration::from_millis(100);

/// Commands handled before answers, extents and timers are looked at again.
const BATCH: usize = 256;

/// It wakes at least this often, so that the supervisor can tell a thread that sleeps from one that hangs.
pub(super) const PULSE_EVERY: Duration = Duration::from_millis(250);

/// How late the recorder may look at full extents: a fifth of the time in which a commit gathers.
pub(super) const EXTENTS_WAIT: Duration = Duration::from_millis(20);

/// One media thread's extents, and those that are durable and wait for room on the way back.
struct Link {
    extents: ExtentLink,
    /// At most as many as the intake has blocks.
    waiting: VecDeque<Box<Extent>>,
}

/// Signalling's end of the recorder.
#[derive(Clone, Debug)]
pub(super) struct RecorderQueue {
    commands: Sender<RecordingCommand>,
    waker: Waker,
    clock: Clock,
}

impl RecorderQueue {
    /// Queues a command; gives it back when the queue is full or the thread is gone. Never waits. Only who opens a recording
    /// waits for an answer; the rest is looked at with the next commit.
    pub(super) fn offer(&self, command: RecordingCommand) -> Result<(), RecordingCommand> {
        let is_awaited = matches!(command, RecordingCommand::Open(_));
        self.commands
            .try_send(command)
            .map_err(crossbeam_channel::TrySendError::into_inner)?;
        if is_awaited {
            self.waker.wake();
        } else {
            self.waker.wake_by(self.clock.now() + COMMANDS_WAIT);
        }
        Ok(())
    }
}

pub(super) struct RecorderThread {
    clock: Clock,
    writer: Writer,
    links: Vec<Link>,
    disks: DiskThreads,
    commands: Receiver<RecordingCommand>,
    events: mpsc::Sender<Input>,
    vitals: Vitals,
    alarm: Alarm,
    waker: Waker,
    /// Requests that a disk has not answered.
    under_way: usize,
    /// Extents came since it slept last.
    is_fed: bool,
    /// Every sender of commands is gone.
    ending: bool,
}

/// What the recorder thread is given.
pub(super) struct RecorderParts {
    pub clock: Clock,
    pub writer: Writer,
    /// In the order of their intakes' numbers.
    pub links: Vec<ExtentLink>,
    pub disks: DiskThreads,
    pub events: mpsc::Sender<Input>,
    pub vitals: Vitals,
    pub alarm: Alarm,
    pub waker: Waker,
}

/// Starts the thread. It ends when every [`RecorderQueue`] is gone and what it was given is done.
pub(super) fn start(parts: RecorderParts) -> io::Result<(RecorderQueue, JoinHandle<()>)> {
    let (commands, inbox) = bounded(COMMANDS_MAX);
    let RecorderParts {
        clock,
        writer,
        links,
        disks,
        events,
        vitals,
        alarm,
        waker,
    } = parts;
    let links = links
        .into_iter()
        .map(|extents| Link {
            extents,
            waiting: VecDeque::new(),
        })
        .collect();
    vitals.beat(clock.now());
    let thread = RecorderThread {
        clock,
        writer,
        links,
        disks,
        commands: inbox,
        events,
        vitals,
        alarm,
        waker: waker.clone(),
        under_way: 0,
        is_fed: false,
        ending: false,
    };
    let joined = Builder::new().name("recorder".to_owned()).spawn(move || {
        thread.waker.adopt();
        thread.run();
    })?;
    Ok((RecorderQueue { commands, waker, clock }, joined))
}

impl RecorderThread {
    fn run(mut self) {
        loop {
            let now = self.clock.now();
            self.vitals.beat(now);
            let mut busy = self.take_answers(now);
            busy |= self.take_commands(now);
            busy |= self.take_extents(now);
            if self.writer.poll_timeout().is_some_and(|due| due <= now) {
                self.writer.handle_timeout(now);
                busy = true;
            }
            if !self.hand_on() || (!busy && self.is_over()) {
                break;
            }
            if !busy {
                self.sleep(now);
            }
        }
        self.disks.stop();
    }

    /// While extents come it naps, and they need not wake it: each would, of a sleep until the next commit.
    fn sleep(&mut self, now: Timestamp) {
        let is_fed = std::mem::take(&mut self.is_fed);
        let longest = now + if is_fed { EXTENTS_WAIT } else { PULSE_EVERY };
        self.waker
            .announce(earliest(self.writer.poll_timeout(), Some(longest)).unwrap_or(longest));
        // Extents and most commands are announced by `wake_by`; what else arrives wakes for certain.
        if !self.take_extents(now) && self.commands.is_empty() {
            self.waker.sleep(self.clock);
        }
    }

    fn take_answers(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        while let Ok(done) = self.disks.answers.try_recv() {
            self.under_way = self.under_way.saturating_sub(1);
            self.writer.handle_io(now, done);
            any = true;
        }
        any
    }

    /// A session's last extent is on its ring before signalling hears `MediaEvent::Closed`, and so before it sends
    /// `Close`: the rings are emptied between taking a `Close` and handing it to the writer.
    fn take_commands(&mut self, now: Timestamp) -> bool {
        for taken in 0..BATCH {
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return taken > 0,
                Err(TryRecvError::Disconnected) => {
                    self.ending = true;
                    return taken > 0;
                }
            };
            if matches!(command, RecordingCommand::Close { .. }) {
                self.take_extents(now);
            }
            self.writer.handle_command(now, command);
        }
        true
    }

    fn take_extents(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        for link in &mut self.links {
            while let Ok(extent) = link.extents.full.pop() {
                self.writer.handle_extent(now, extent);
                any = true;
            }
        }
        self.is_fed |= any;
        any
    }

    /// False when it cannot go on: signalling or a disk thread is gone, which the supervisor sees to.
    fn hand_on(&mut self) -> bool {
        while let Some(output) = self.writer.poll_output() {
            match output {
                Output::Io(request) => {
                    self.under_way += 1;
                    if !self.disks.submit(request) {
                        tracing::error!("a disk thread is gone: nothing can be recorded");
                        return false;
                    }
                }
                // Waits when signalling is behind; signalling waits for nobody, so it comes.
                Output::Event(event) => {
                    match &event {
                        RecordingEvent::Down { fault } => self.alarm.raise(*fault),
                        RecordingEvent::Up => self.alarm.lower(),
                        _ => {}
                    }
                    self.vitals.note(self.clock.now(), &event);
                    if self.events.blocking_send(Input::Recording(event)).is_err() {
                        tracing::debug!("an event after the end of signalling");
                    }
                }
                Output::Recycle(extent) => {
                    if let Some(link) = self.links.get_mut(usize::from(extent.intake())) {
                        link.waiting.push_back(extent);
                    }
                }
            }
        }
        self.give_back();
        self.disks.hand_on()
    }

    fn give_back(&mut self) {
        for link in &mut self.links {
            while !link.extents.durable.is_full()
                && let Some(extent) = link.waiting.pop_front()
            {
                if let Err(rtrb::PushError::Full(extent)) = link.extents.durable.push(extent) {
                    link.waiting.push_front(extent);
                }
            }
        }
    }

    /// Nobody can ask for anything any more, nothing is under way, and nothing waits for a commit or a seal. While a disk
    /// fails that may never be: the supervisor does not wait for ever.
    fn is_over(&self) -> bool {
        self.ending && self.under_way == 0 && self.writer.is_idle()
    }
}
