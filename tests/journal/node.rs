//! One node's recorder, intake and disk in virtual time, with calls that talk.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several tests; a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use onrecord::model::{
    Closing, Direction, Fault, Generation, Header, Leg, Mark, Outcome, Party, Reconciliation, RecordingCommand,
    RecordingEvent, SessionId, SignalPath, Tally, Timestamp,
};
use onrecord::recorder::{
    File, Frame, FrameSink, Intake, IntakeConfig, IoRequest, Manifest, Offer, Output, Packet, PacketKind, Recovery,
    RecoveryReport, SealedCall, Slot, Writer, WriterConfig,
};

use super::disk::{Injected, SimDisk};

pub const START: u64 = 1_763_800_000_000;

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn config() -> WriterConfig {
    WriterConfig {
        segment_bytes: 64 << 10,
        spool_segments: 3,
        ..WriterConfig::default()
    }
}

pub fn session(number: u8) -> SessionId {
    SessionId::mint(Timestamp::from_millis(START), u128::from(number) + 1)
}

pub fn header(session: SessionId) -> Arc<Header> {
    Arc::new(Header {
        session,
        conversation: None,
        node: "lab".into(),
        started: Timestamp::from_millis(START),
        caller: Party {
            identity: "sip:alice@example.com".into(),
            ..Party::default()
        },
        callee: Party {
            identity: "sip:bob@example.com".into(),
            ..Party::default()
        },
        from_trunk: "pbx".into(),
        to_trunk: Some("carrier".into()),
        call_ids: vec![format!("{session}@a")],
        policies: vec!["trading-desk".into()],
        generation: Generation(41),
        policy_hash: "9f2c".into(),
        trace: vec!["grants.toml:2 → trading-desk".into()],
        strict_before: true,
        strict_during: true,
        emergency: false,
    })
}

pub fn closing(ended: Timestamp, accepted: u64) -> Box<Closing> {
    let tally = Tally {
        accepted,
        forwarded: accepted,
        ..Tally::default()
    };
    Box::new(Closing {
        outcome: Outcome::Recorded,
        answered: None,
        ended,
        ended_by: "BYE from A".into(),
        status: Some(200),
        tally: Some(tally),
        fault: None,
        encryption: None,
        conversation: None,
        became: None,
        decisions: Vec::new(),
        formerly: Vec::new(),
        consents: Vec::new(),
    })
}

pub fn packet(session: SessionId, sequence: u32, bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    packet.extend_from_slice(&session.as_u128().to_be_bytes());
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.resize(bytes.max(32), 0xd5);
    packet
}

#[derive(Default)]
pub struct Talk {
    pub slot: Option<Slot>,
    pub offered: u32,
    pub accepted: u64,
    pub refused: Vec<Fault>,
    /// Packets whose extents came back.
    pub acknowledged: u64,
    pub ready: bool,
    pub sealed: Option<Reconciliation>,
}

/// One node: intake, writer and disk in virtual time.
pub struct Node {
    pub now: Timestamp,
    pub intake: Intake,
    pub writer: Writer,
    pub disk: SimDisk,
    pub talks: BTreeMap<SessionId, Talk>,
    pub events: Vec<(Duration, RecordingEvent)>,
    /// Requests until the power goes.
    pub fuse: Option<u64>,
    pub dead: bool,
}

impl Node {
    pub fn new(disk: SimDisk, config: WriterConfig) -> Self {
        Self::with_first_segment(disk, config, 1)
    }

    pub fn with_fuse(disk: &mut SimDisk, fuse: u64) -> Self {
        let now = Timestamp::from_millis(START);
        let mut node = Self {
            now,
            intake: Intake::new(IntakeConfig::default()),
            writer: Writer::new(config(), 1, now),
            disk: disk.clone(),
            talks: BTreeMap::new(),
            events: Vec::new(),
            fuse: Some(fuse),
            dead: false,
        };
        node.writer.handle_timeout(now);
        node.settle();
        node
    }

    pub fn with_first_segment(disk: SimDisk, config: WriterConfig, first_segment: u64) -> Self {
        let now = Timestamp::from_millis(START);
        let mut node = Self {
            now,
            intake: Intake::new(IntakeConfig {
                blocks_max: 256,
                ..IntakeConfig::default()
            }),
            writer: Writer::new(config, first_segment, now),
            disk,
            talks: BTreeMap::new(),
            events: Vec::new(),
            fuse: None,
            dead: false,
        };
        node.writer.handle_timeout(now);
        node.settle();
        node
    }

    /// Executes everything that is asked for, and what follows from it.
    pub fn settle(&mut self) {
        while !self.dead {
            while let Some(extent) = self.intake.poll_full() {
                self.writer.handle_extent(self.now, extent);
            }
            let Some(output) = self.writer.poll_output() else {
                return;
            };
            match output {
                Output::Io(request) => self.execute(request),
                Output::Event(event) => self.hear(event),
                Output::Recycle(extent) => {
                    let talk = self.talks.entry(extent.session()).or_default();
                    talk.acknowledged += u64::from(extent.packets());
                    self.intake.recycle(extent);
                }
            }
        }
    }

    pub fn execute(&mut self, request: IoRequest) {
        if let Some(fuse) = &mut self.fuse {
            if *fuse == 0 {
                self.dead = true;
                self.disk.interrupt(request);
                return;
            }
            *fuse -= 1;
        }
        if let Some(done) = self.disk.execute(request) {
            self.writer.handle_io(self.now, done);
        }
    }

    pub fn hear(&mut self, event: RecordingEvent) {
        match &event {
            RecordingEvent::Ready { session } => self.talks.entry(*session).or_default().ready = true,
            RecordingEvent::Sealed {
                session,
                reconciliation,
            } => self.talks.entry(*session).or_default().sealed = Some((**reconciliation).clone()),
            RecordingEvent::Heartbeat { durable_until } => assert!(*durable_until <= self.now),
            _ => {}
        }
        if !matches!(event, RecordingEvent::Heartbeat { .. }) {
            let at = self.now.since(Timestamp::from_millis(START));
            self.events.push((at, event));
        }
    }

    pub fn command(&mut self, command: RecordingCommand) {
        self.writer.handle_command(self.now, command);
        self.settle();
    }

    pub fn open(&mut self, number: u8) {
        let session = session(number);
        self.command(RecordingCommand::Open(header(session)));
        let slot = self.intake.open(session);
        self.talks.entry(session).or_default().slot = Some(slot);
    }

    pub fn offer(&mut self, number: u8, bytes: usize) -> Offer {
        let session = session(number);
        let talk = self.talks.get_mut(&session).unwrap();
        let bytes = packet(session, talk.offered, bytes);
        let leg = if talk.offered.is_multiple_of(2) { Leg::A } else { Leg::B };
        let packet = Packet {
            at: self.now,
            leg,
            line: 0,
            kind: PacketKind::Rtp,
            bytes: &bytes,
        };
        let offer = self.intake.offer(self.now, talk.slot.unwrap(), packet);
        match offer {
            Offer::Accepted => {
                talk.offered += 1;
                talk.accepted += 1;
            }
            Offer::Refused(fault) => talk.refused.push(fault),
        }
        offer
    }

    pub fn signal(&mut self, number: u8, text: &str) {
        let path = SignalPath {
            leg: Leg::A,
            direction: Direction::Received,
            peer: "192.0.2.1:5060".parse().unwrap(),
            local: "192.0.2.9:5060".parse().unwrap(),
            tcp: false,
        };
        let (session, at, bytes) = (session(number), self.now, Bytes::copy_from_slice(text.as_bytes()));
        self.command(RecordingCommand::Signal {
            session,
            at,
            path,
            bytes,
        });
    }

    pub fn mark(&mut self, number: u8, mark: Mark) {
        let (session, at) = (session(number), self.now);
        self.command(RecordingCommand::Mark { session, at, mark });
    }

    pub fn close(&mut self, number: u8) {
        let session = session(number);
        let talk = self.talks.get_mut(&session).unwrap();
        let (slot, accepted) = (talk.slot.take().unwrap(), talk.accepted);
        self.intake.close(self.now, slot);
        self.settle();
        let (at, closing) = (self.now, closing(self.now, accepted));
        self.command(RecordingCommand::Close { session, at, closing });
    }

    /// The call was blocked.
    pub fn keep(&mut self, number: u8) {
        let (header, at) = (header(session(number)), self.now);
        let closing = Box::new(Closing {
            outcome: Outcome::Blocked,
            tally: None,
            fault: Some(Fault::Io),
            ..*closing(self.now, 0)
        });
        self.command(RecordingCommand::Keep { header, at, closing });
    }

    /// Time passes, timers fire.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while !self.dead {
            let due = [self.intake.poll_timeout(), self.writer.poll_timeout()];
            let next = due.into_iter().flatten().min().filter(|due| *due <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.intake.flush(self.now);
            self.writer.handle_timeout(self.now);
            self.settle();
        }
        self.now = until;
    }

    /// 50 packets a second each way, on each of the calls.
    pub fn talk(&mut self, calls: &[u8], time: Duration) {
        for _ in 0..time.as_millis() / 10 {
            for call in calls {
                let _ = self.offer(*call, 172);
            }
            self.settle();
            self.pass(ms(10));
        }
    }

    /// What hung answers.
    pub fn release(&mut self) {
        for done in self.disk.release() {
            self.writer.handle_io(self.now, done);
        }
        self.settle();
    }

    pub fn heard(&self) -> Vec<&RecordingEvent> {
        self.events.iter().map(|(_, event)| event).collect()
    }

    /// How long after `since` the event was heard.
    pub fn delay(&self, since: Timestamp, wanted: &RecordingEvent) -> Option<Duration> {
        let since = since.since(Timestamp::from_millis(START));
        let mut events = self.events.iter().filter(|(at, _)| *at >= since);
        events.find(|(_, event)| event == wanted).map(|(at, _)| *at - since)
    }

    pub fn break_disk(&mut self, how: Injected) -> Timestamp {
        self.disk.broken = Some(how);
        self.now
    }
}

pub fn sealed(disk: &SimDisk, session: SessionId) -> Option<SealedCall<&[u8]>> {
    let bytes = disk.contents(File::Sealed(session))?;
    Some(SealedCall::open(bytes).unwrap_or_else(|error| panic!("{session}: {error}")))
}

pub fn verified(disk: &SimDisk, session: SessionId) -> Manifest {
    let mut call = sealed(disk, session).unwrap_or_else(|| panic!("{session} is missing"));
    call.verify().unwrap_or_else(|error| panic!("{session}: {error}"));
    call.manifest().clone()
}

pub fn packets(disk: &SimDisk, session: SessionId) -> Vec<Bytes> {
    let mut call = sealed(disk, session).unwrap();
    let frames: Vec<Frame> = call.frames().map(Result::unwrap).collect();
    let packets = frames.into_iter().filter_map(|frame| match frame {
        Frame::Packet { bytes, .. } => Some(bytes),
        Frame::Signal { .. } | Frame::Mark { .. } => None,
    });
    packets.collect()
}

/// Runs recovery; with a fuse it may die on the way.
pub fn recover(disk: &mut SimDisk, config: &WriterConfig, mut fuse: Option<u64>) -> Option<RecoveryReport> {
    let mut now = Timestamp::from_millis(START + 3_600_000);
    let mut recovery = Recovery::new(config, now);
    loop {
        while let Some(request) = recovery.poll_output() {
            if let Some(left) = &mut fuse {
                if *left == 0 {
                    disk.interrupt(request);
                    return None;
                }
                *left -= 1;
            }
            if let Some(done) = disk.execute(request) {
                recovery.handle_io(now, done);
            }
        }
        if let Some(report) = recovery.report() {
            return Some(report.clone());
        }
        now = recovery.poll_timeout().expect("recovery stands still");
        recovery.handle_timeout(now);
    }
}

/// Three calls that overlap: one is closed in time, one goes on, one is opened late; and a blocked one.
pub fn story(node: &mut Node) {
    node.open(0);
    node.signal(0, "INVITE sip:bob@example.com SIP/2.0\r\n\r\n");
    node.talk(&[0], ms(150));
    node.open(1);
    node.mark(1, Mark::Answered);
    node.talk(&[0, 1], ms(250));
    if !node.dead {
        node.close(0);
    }
    node.open(2);
    node.keep(9);
    node.talk(&[1, 2], ms(300));
}

pub fn check_after_crash(talks: &BTreeMap<SessionId, Talk>, disk: &SimDisk, context: &str) {
    for (session, talk) in talks {
        if !talk.ready && talk.sealed.is_none() {
            continue;
        }
        let manifest = verified(disk, *session);
        assert!(manifest.breaks.len() <= 1, "{context}: {session} {:?}", manifest.breaks);
        if talk.slot.is_none() && talk.offered == 0 {
            continue;
        }
        let stored = packets(disk, *session);
        assert!(
            stored.len() as u64 >= talk.acknowledged,
            "{context}: {session} lost acknowledged packets"
        );
        for (sequence, bytes) in stored.iter().take(talk.acknowledged as usize).enumerate() {
            assert_eq!(
                *bytes,
                packet(*session, sequence as u32, 172),
                "{context}: {session} packet {sequence}"
            );
        }
        if let Some(reconciliation) = &talk.sealed {
            assert_eq!(manifest.reconciliation, *reconciliation, "{context}");
            assert!(manifest.recovered.is_none(), "{context}: sealed twice");
        }
    }
    let leftovers = disk
        .files()
        .filter(|file| matches!(file, File::Segment(_) | File::Partial { .. }));
    assert_eq!(leftovers.collect::<Vec<_>>(), [], "{context}");
}
