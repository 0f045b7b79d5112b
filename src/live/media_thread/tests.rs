#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, sync_channel};

use crate::media::{COOL_DOWN, Port, PortPool};
use crate::model::{Fault, Gate, LegPlan, LinePlan, MediaKind, MediaPlan, Recorded, Remote, SessionId, Tally};
use crate::recorder::IntakeConfig;

use super::super::media_sockets;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);
const SESSION: SessionId = SessionId::from_u128(3);

/// The media thread, between a signalling and a recorder that are the test's.
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

/// A call that is open: two phones, and where A's is received.
struct Talk {
    a: UdpSocket,
    b: UdpSocket,
    plan: Box<MediaPlan>,
    a_local: SocketAddr,
}

impl Rig {
    /// Opens a call of two phones on `phone_host`, with our ports at `host`.
    fn talk(&mut self, host: &str, phone_host: &str) -> Talk {
        let mut pool = PortPool::new(host.parse().unwrap(), 21_000..=21_007, COOL_DOWN);
        let (a, b) = (phone(phone_host), phone(phone_host));
        let plan = plan(&mut pool, &a, &b);
        self.media.link.send(MediaCommand::Open(plan.clone())).unwrap();
        assert_eq!(self.event(), MediaEvent::Opened { session: SESSION });
        let a_local = plan.lines[0].a.local;
        Talk { a, b, plan, a_local }
    }

    fn close(&mut self) -> Tally {
        self.media.link.send(MediaCommand::Close { session: SESSION }).unwrap();
        let MediaEvent::Closed { tally, .. } = self.event() else {
            unreachable!()
        };
        *tally
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
    let mut ends = |phone: &UdpSocket| {
        let rtp = phone.local_addr().unwrap();
        (pool.lease(Timestamp::ZERO).unwrap().rtp(), Remote { rtp, rtcp: rtp })
    };
    call_of(SESSION, [ends(a), ends(b)])
}

/// One line, recorded strictly; of each leg our end and the phone's.
fn call_of(session: SessionId, [a, b]: [(SocketAddr, Remote); 2]) -> Box<MediaPlan> {
    let leg = |(local, remote)| LegPlan {
        local,
        remote: Some(remote),
        deaf: false,
        mute: false,
        holds: false,
        origin: crate::model::Origin::Signalled,
        formats: Vec::new(),
    };
    let line = LinePlan {
        index: 0,
        kind: MediaKind::Audio,
        a: leg(a),
        b: leg(b),
    };
    Box::new(MediaPlan {
        session,
        recorded: Recorded::Strict,
        answered: false,
        lines: vec![line],
        keys: Vec::new(),
        agreed: Default::default(),
        far_end: Default::default(),
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
        let Talk { a, b, plan, a_local } = rig.talk(host, phone_host);
        let b_local = plan.lines[0].b.local;

        a.send_to(PACKET, a_local).unwrap();
        assert_eq!(heard(&b), (PACKET.to_vec(), b_local));
        b.send_to(PACKET, b_local).unwrap();
        assert_eq!(heard(&a), (PACKET.to_vec(), a_local));
        phone(phone_host).send_to(PACKET, a_local).unwrap();
        a.send_to(b"after the injector", a_local).unwrap();
        assert_eq!(heard(&b).0, b"after the injector");

        let tally = rig.close();
        assert_eq!((tally.accepted, tally.forwarded, tally.foreign), (3, 3, 1));
        let extent = rig.media.extents.full.pop().expect("handed on before Closed was told");
        assert_eq!(extent.session(), SESSION);
        UdpSocket::bind(a_local).expect("the port is free again");
    }
}

#[test]
fn a_strict_session_is_silent_as_soon_as_the_recorder_is_down_whatever_signalling_does() {
    let mut rig = Rig::new(IntakeConfig::default());
    let Talk { a, b, a_local, .. } = rig.talk("127.45.0.5", "127.0.0.1:0");
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
    let tally = rig.close();
    assert_eq!((tally.accepted, tally.forwarded), (1, 1), "its gate stays shut");
}

#[test]
fn extents_reach_the_recorder_while_the_call_talks_and_come_back() {
    let mut rig = Rig::new(IntakeConfig::default());
    let Talk { a, b, a_local, .. } = rig.talk("127.45.0.2", "127.0.0.1:0");
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
    let Talk { a, b, a_local, .. } = rig.talk("127.45.0.3", "127.0.0.1:0");
    a.send_to(PACKET, a_local).unwrap();
    heard(&b);
    let _lent = rig.extent();
    a.send_to(PACKET, a_local).unwrap();
    assert!(matches!(rig.event(), MediaEvent::Refused { session: SESSION, .. }));
    let tally = rig.close();
    assert_eq!((tally.accepted, tally.forwarded), (1, 1));
    b.set_nonblocking(true).unwrap();
    assert!(b.recv(&mut [0; 64]).is_err(), "nothing went past the recorder");
}

#[test]
fn a_shut_gate_lets_nothing_through() {
    let mut rig = Rig::new(IntakeConfig::default());
    let Talk { a, plan, a_local, .. } = rig.talk("127.45.0.4", "127.0.0.1:0");
    let shut = MediaCommand::Gate {
        session: SESSION,
        gate: Gate::Shut,
    };
    rig.media.link.send(shut).unwrap();
    rig.media.link.send(MediaCommand::Modify(plan)).unwrap();
    rig.event(); // the commands are done
    a.send_to(PACKET, a_local).unwrap();
    let tally = rig.close();
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
        let ends = |port| {
            let local = SocketAddr::new([127, 0, 0, 1].into(), port);
            let rtcp = phone_of(SocketAddr::new(local.ip(), port + 1));
            let rtp = phone_of(local);
            (local, Remote { rtp, rtcp })
        };
        let plan = call_of(session, [ends(4_000), ends(4_002)]);
        commands.push(MediaCommand::Open(plan)).unwrap();
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
