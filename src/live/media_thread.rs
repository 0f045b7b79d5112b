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
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
    use std::sync::mpsc::{Receiver, sync_channel};

    use crate::media::{COOL_DOWN, Port, PortPool};
    use crate::model::{Fault, Gate, LegPlan, LinePlan, MediaKind, MediaPlan, Recorded, Remote, SessionId};
    use crate::recorder::IntakeConfig;

    use super::super::media_sockets;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const SESSION: SessionId = SessionId::from_u128(3);

    struct Rig {
        media: MediaThread,
        alarm: Alarm,
        signalling: Receiver<()>,
        recorder: Receiver<()>,
    }

    impl Rig {
        fn new(intake: IntakeConfig) -> Self {
            Self::with(None, intake)
        }

        fn with(sharing: Option<Sharing>, intake: IntakeConfig) -> Self {
            let (to_signalling, signalling) = sync_channel(1);
            let (to_recorder, recorder) = sync_channel(1);
            let wakes = Wakes {
                signalling: Box::new(move || _ = to_signalling.try_send(())), // full: it is told already
                recorder: Box::new(move || _ = to_recorder.try_send(())),
            };
            let alarm = Alarm::default();
            let (clock, intake) = (Clock::start(), Intake::new(intake));
            let media = MediaThread::spawn("media-0", clock, sharing, intake, alarm.clone(), wakes).unwrap();
            Self {
                media,
                alarm,
                signalling,
                recorder,
            }
        }

        fn event(&mut self) -> MediaEvent {
            loop {
                match self.media.link.poll_event() {
                    Some(event) => return event,
                    None => self.signalling.recv_timeout(PATIENCE).unwrap(),
                }
            }
        }

        fn extent(&mut self) -> Box<Extent> {
            loop {
                match self.media.extents.full.pop() {
                    Ok(extent) => return extent,
                    Err(_) => self.recorder.recv_timeout(PATIENCE).unwrap(),
                }
            }
        }
    }

    fn phone(host: &str) -> UdpSocket {
        let phone = UdpSocket::bind(host).unwrap();
        phone.set_read_timeout(Some(PATIENCE)).unwrap();
        phone
    }

    fn heard(phone: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2_048];
        let (bytes, from) = phone.recv_from(&mut buffer).unwrap();
        (buffer[..bytes].to_vec(), from)
    }

    fn plan(pool: &mut PortPool, a: &UdpSocket, b: &UdpSocket) -> Box<MediaPlan> {
        let mut leg = |phone: &UdpSocket| {
            let rtp = phone.local_addr().unwrap();
            let local = pool.lease(Timestamp::ZERO).unwrap().rtp();
            LegPlan {
                local,
                remote: Some(Remote { rtp, rtcp: rtp }),
                deaf: false,
                mute: false,
                holds: false,
                origin: crate::model::Origin::Signalled,
                formats: Vec::new(),
            }
        };
        let line = LinePlan {
            index: 0,
            kind: MediaKind::Audio,
            a: leg(a),
            b: leg(b),
        };
        Box::new(MediaPlan {
            session: SESSION,
            recorded: Recorded::Strict,
            answered: false,
            lines: vec![line],
            keys: Vec::new(),
            pausing: Default::default(),
        })
    }

    const PACKET: &[u8] = b"\x80\x00\x00\x01\x00\x00\x00\xa0\x00\x00\x00\x07 and sound";

    #[test]
    fn two_phones_hear_each_other_and_the_recorder_hears_both() {
        let ways = [
            ("127.45.0.1", "127.0.0.1:0", None),
            ("::1", "[::1]:0", None),
            ("127.45.0.9", "127.0.0.1:0", Some(Ipv4Addr::new(127, 45, 0, 9))),
        ];
        for (host, phone_host, sharing) in ways {
            if sharing.is_some_and(|at| media_sockets::tests::sharing(at).is_none()) {
                continue;
            }
            let mut rig = Rig::with(sharing.map(media_sockets::tests::at), IntakeConfig::default());
            let mut pool = PortPool::new(host.parse().unwrap(), 21_000..=21_007, COOL_DOWN);
            let (a, b) = (phone(phone_host), phone(phone_host));
            let plan = plan(&mut pool, &a, &b);
            let (a_local, b_local) = (plan.lines[0].a.local, plan.lines[0].b.local);

            rig.media.link.send(MediaCommand::Open(plan)).unwrap();
            assert_eq!(rig.event(), MediaEvent::Opened { session: SESSION });
            a.send_to(PACKET, a_local).unwrap();
            assert_eq!(heard(&b), (PACKET.to_vec(), b_local));
            b.send_to(PACKET, b_local).unwrap();
            assert_eq!(heard(&a), (PACKET.to_vec(), a_local));
            phone(phone_host).send_to(PACKET, a_local).unwrap();
            a.send_to(b"after the injector", a_local).unwrap();
            assert_eq!(heard(&b).0, b"after the injector");

            rig.media.link.send(MediaCommand::Close { session: SESSION }).unwrap();
            let MediaEvent::Closed { tally, .. } = rig.event() else {
                unreachable!()
            };
            assert_eq!((tally.accepted, tally.forwarded, tally.foreign), (3, 3, 1));
            let extent = rig.media.extents.full.pop().expect("handed on before Closed was told");
            assert_eq!(extent.session(), SESSION);
            UdpSocket::bind(a_local).expect("the port is free again");
        }
    }

    #[test]
    fn a_strict_session_is_silent_as_soon_as_the_recorder_is_down_whatever_signalling_does() {
        let mut rig = Rig::new(IntakeConfig::default());
        let mut pool = PortPool::new("127.45.0.5".parse().unwrap(), 21_000..=21_007, COOL_DOWN);
        let (a, b) = (phone("127.0.0.1:0"), phone("127.0.0.1:0"));
        let plan = plan(&mut pool, &a, &b);
        let a_local = plan.lines[0].a.local;
        rig.media.link.send(MediaCommand::Open(plan)).unwrap();
        rig.event();
        a.send_to(PACKET, a_local).unwrap();
        heard(&b);

        rig.alarm.raise(Fault::Io);
        a.send_to(PACKET, a_local).unwrap();
        let fault = Fault::Io;
        assert_eq!(
            rig.event(),
            MediaEvent::Refused {
                session: SESSION,
                fault
            }
        );
        rig.alarm.lower();
        a.send_to(PACKET, a_local).unwrap();
        rig.media.link.send(MediaCommand::Close { session: SESSION }).unwrap();
        let MediaEvent::Closed { tally, .. } = rig.event() else {
            unreachable!()
        };
        assert_eq!((tally.accepted, tally.forwarded), (1, 1), "its gate stays shut");
    }

    #[test]
    fn extents_reach_the_recorder_while_the_call_talks_and_come_back() {
        let mut rig = Rig::new(IntakeConfig::default());
        let mut pool = PortPool::new("127.45.0.2".parse().unwrap(), 21_000..=21_007, COOL_DOWN);
        let (a, b) = (phone("127.0.0.1:0"), phone("127.0.0.1:0"));
        let plan = plan(&mut pool, &a, &b);
        let a_local = plan.lines[0].a.local;
        rig.media.link.send(MediaCommand::Open(plan)).unwrap();
        rig.event();
        for _ in 0..3 {
            a.send_to(PACKET, a_local).unwrap();
            heard(&b);
            let extent = rig.extent();
            rig.media.extents.durable.push(extent).unwrap();
        }
        assert_eq!(rig.media.pulse.packets().forwarded, 3);
        assert_eq!(rig.media.pulse.sessions(), 1);
    }

    #[test]
    fn a_recorder_that_gives_no_block_back_ends_a_strict_call() {
        let mut rig = Rig::new(IntakeConfig {
            blocks_max: 1,
            ..IntakeConfig::default()
        });
        let mut pool = PortPool::new("127.45.0.3".parse().unwrap(), 21_000..=21_007, COOL_DOWN);
        let (a, b) = (phone("127.0.0.1:0"), phone("127.0.0.1:0"));
        let plan = plan(&mut pool, &a, &b);
        let a_local = plan.lines[0].a.local;
        rig.media.link.send(MediaCommand::Open(plan)).unwrap();
        rig.event();
        a.send_to(PACKET, a_local).unwrap();
        heard(&b);
        let _lent = rig.extent();
        a.send_to(PACKET, a_local).unwrap();
        assert!(matches!(rig.event(), MediaEvent::Refused { session: SESSION, .. }));
        rig.media.link.send(MediaCommand::Close { session: SESSION }).unwrap();
        let MediaEvent::Closed { tally, .. } = rig.event() else {
            unreachable!()
        };
        assert_eq!((tally.accepted, tally.forwarded), (1, 1));
        b.set_nonblocking(true).unwrap();
        assert!(b.recv(&mut [0; 64]).is_err(), "nothing went past the recorder");
    }

    #[test]
    fn a_shut_gate_lets_nothing_through() {
        let mut rig = Rig::new(IntakeConfig::default());
        let mut pool = PortPool::new("127.45.0.4".parse().unwrap(), 21_000..=21_007, COOL_DOWN);
        let (a, b) = (phone("127.0.0.1:0"), phone("127.0.0.1:0"));
        let plan = plan(&mut pool, &a, &b);
        let a_local = plan.lines[0].a.local;
        rig.media.link.send(MediaCommand::Open(plan.clone())).unwrap();
        rig.event();
        let shut = MediaCommand::Gate {
            session: SESSION,
            gate: Gate::Shut,
        };
        rig.media.link.send(shut).unwrap();
        rig.media.link.send(MediaCommand::Modify(plan)).unwrap();
        rig.event(); // the commands are done
        a.send_to(PACKET, a_local).unwrap();
        rig.media.link.send(MediaCommand::Close { session: SESSION }).unwrap();
        let MediaEvent::Closed { tally, .. } = rig.event() else {
            unreachable!()
        };
        assert_eq!((tally.accepted, tally.forwarded), (0, 0));
    }

    #[test]
    fn a_port_that_is_in_use_is_said_and_the_thread_ends_when_its_link_is_dropped() {
        let mut rig = Rig::new(IntakeConfig::default());
        let mut pool = PortPool::new("127.45.0.5".parse().unwrap(), 21_000..=21_007, COOL_DOWN);
        let (a, b) = (phone("127.0.0.1:0"), phone("127.0.0.1:0"));
        let plan = plan(&mut pool, &a, &b);
        let taken = plan.lines[0].b.local;
        let _squatter = UdpSocket::bind(taken).unwrap();
        rig.media.link.send(MediaCommand::Open(plan)).unwrap();
        assert_eq!(
            rig.event(),
            MediaEvent::OpenFailed {
                session: SESSION,
                local: taken
            }
        );
        let started = rig.media.pulse.alive_at();
        drop(rig.media.link);
        rig.media.thread.join().unwrap().unwrap();
        assert!(rig.media.pulse.alive_at() >= started);
    }

    /// A network on which every leg's phone has said something, once.
    #[derive(Default)]
    struct OneWord {
        bound: Vec<(Port, SocketAddr)>,
        said: usize,
    }

    impl MediaIo for OneWord {
        fn bind(&mut self, port: Port, at: SocketAddr) -> io::Result<()> {
            self.bound.push((port, at));
            Ok(())
        }

        fn unbind(&mut self, port: Port) {
            self.bound.retain(|(bound, _)| *bound != port);
        }

        fn wait(&mut self, _: Duration) -> io::Result<()> {
            Ok(())
        }

        fn receive(&mut self) -> Option<Received> {
            let (port, at) = *self.bound.get(self.said)?;
            self.said += 1;
            Some(Received {
                port,
                from: phone_of(at),
                at: Timestamp::ZERO,
            })
        }

        fn datagram(&self) -> &[u8] {
            PACKET
        }

        fn forward(&mut self, via: Port, to: SocketAddr) -> bool {
            self.send(via, to, PACKET)
        }

        fn send(&mut self, via: Port, _: SocketAddr, _: &[u8]) -> bool {
            self.bound.iter().any(|(bound, _)| *bound == via)
        }

        fn say(&mut self, via: Port, to: SocketAddr, bytes: &[u8]) -> bool {
            self.send(via, to, bytes)
        }

        fn flush(&mut self) {}

        fn poll_unsent(&mut self) -> Option<Port> {
            None
        }
    }

    fn phone_of(local: SocketAddr) -> SocketAddr {
        SocketAddr::new([127, 0, 0, 9].into(), local.port())
    }

    #[test]
    fn a_recorder_that_takes_nothing_does_not_keep_a_calls_ports_for_ever() {
        let (mut commands, to_do) = RingBuffer::new(4);
        let (events, mut told) = RingBuffer::new(4);
        let (full, _stuck) = RingBuffer::new(2);
        let (_durable, durable) = RingBuffer::new(1);
        let mut turner = Turner {
            io: OneWord::default(),
            clock: Clock::start(),
            plane: Plane::new(),
            intake: Intake::new(IntakeConfig::default()),
            alarm: Alarm::default(),
            outages: 0,
            commands: to_do,
            events,
            full,
            durable,
            closed: VecDeque::new(),
            told: false,
            wakes: Wakes {
                signalling: Box::new(|| ()),
                recorder: Box::new(|| ()),
            },
            counts: PacketCounts::default(),
            pulse: Arc::default(),
        };
        for session in [1, 2].map(SessionId::from_u128) {
            let leg = |port| {
                let local = SocketAddr::new([127, 0, 0, 1].into(), port);
                let rtcp = phone_of(SocketAddr::new(local.ip(), port + 1));
                LegPlan {
                    local,
                    remote: Some(Remote {
                        rtp: phone_of(local),
                        rtcp,
                    }),
                    deaf: false,
                    mute: false,
                    holds: false,
                    origin: crate::model::Origin::Signalled,
                    formats: Vec::new(),
                }
            };
            let line = LinePlan {
                index: 0,
                kind: MediaKind::Audio,
                a: leg(4_000),
                b: leg(4_002),
            };
            let plan = MediaPlan {
                session,
                recorded: Recorded::Strict,
                answered: false,
                lines: vec![line],
                keys: Vec::new(),
                pausing: Default::default(),
            };
            commands.push(MediaCommand::Open(Box::new(plan))).unwrap();
            turner.turn().unwrap();
            assert_eq!(told.pop(), Ok(MediaEvent::Opened { session }));
            commands.push(MediaCommand::Close { session }).unwrap();
            turner.turn().unwrap();
            turner.io.said = 0;
            // The second's extent fills the queue, and nobody knows whether it was the last.
            let is_told = matches!(told.pop(), Ok(MediaEvent::Closed { .. }));
            assert_eq!(is_told, session.as_u128() == 1);
        }
        let now = turner.clock.now();
        turner.hand_on_extents(now + CLOSED_PATIENCE);
        let Ok(MediaEvent::Closed { tally, .. }) = told.pop() else {
            unreachable!()
        };
        assert_eq!((tally.accepted, tally.forwarded), (4, 4));
    }
}
