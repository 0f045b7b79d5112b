//! The recorder on a disk that fails, stalls and loses power: acknowledged ⇒ readable, no call missing, `verify` holds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use disk::{Injected, SimDisk};
use onrecord::model::{
    Closing, Direction, Fault, Generation, Header, Leg, Mark, Outcome, Party, Reconciliation, RecordingCommand,
    RecordingEvent, SessionId, SignalPath, Tally, Timestamp,
};
use onrecord::recorder::{
    File, Frame, FrameSink, Intake, IntakeConfig, IoError, IoRequest, Manifest, Offer, Output, Packet, PacketKind,
    Recovery, RecoveryReport, SealedCall, Slot, VolumeConfig, Writer, WriterConfig,
};

const START: u64 = 1_763_800_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config() -> WriterConfig {
    WriterConfig {
        segment_bytes: 64 << 10,
        spool_segments: 3,
        ..WriterConfig::default()
    }
}

fn session(number: u8) -> SessionId {
    SessionId::mint(Timestamp::from_millis(START), u128::from(number) + 1)
}

fn header(session: SessionId) -> Box<Header> {
    Box::new(Header {
        session,
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

fn closing(ended: Timestamp, accepted: u64) -> Box<Closing> {
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
    })
}

fn packet(session: SessionId, sequence: u32, bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    packet.extend_from_slice(&session.as_u128().to_be_bytes());
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.resize(bytes.max(32), 0xd5);
    packet
}

#[derive(Default)]
struct Talk {
    slot: Option<Slot>,
    offered: u32,
    accepted: u64,
    refused: Vec<Fault>,
    /// Packets whose extents came back.
    acknowledged: u64,
    ready: bool,
    sealed: Option<Reconciliation>,
}

/// One node: intake, writer and disk in virtual time.
struct Node {
    now: Timestamp,
    intake: Intake,
    writer: Writer,
    disk: SimDisk,
    talks: BTreeMap<SessionId, Talk>,
    events: Vec<(Duration, RecordingEvent)>,
    /// Requests until the power goes.
    fuse: Option<u64>,
    dead: bool,
}

impl Node {
    fn new(disk: SimDisk, config: WriterConfig) -> Self {
        Self::with_first_segment(disk, config, 1)
    }

    fn with_first_segment(disk: SimDisk, config: WriterConfig, first_segment: u64) -> Self {
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
    fn settle(&mut self) {
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

    fn execute(&mut self, request: IoRequest) {
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

    fn hear(&mut self, event: RecordingEvent) {
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

    fn command(&mut self, command: RecordingCommand) {
        self.writer.handle_command(self.now, command);
        self.settle();
    }

    fn open(&mut self, number: u8) {
        let session = session(number);
        self.command(RecordingCommand::Open(header(session)));
        let slot = self.intake.open(session);
        self.talks.entry(session).or_default().slot = Some(slot);
    }

    fn offer(&mut self, number: u8, bytes: usize) -> Offer {
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

    fn signal(&mut self, number: u8, text: &str) {
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

    fn mark(&mut self, number: u8, mark: Mark) {
        let (session, at) = (session(number), self.now);
        self.command(RecordingCommand::Mark { session, at, mark });
    }

    fn close(&mut self, number: u8) {
        let session = session(number);
        let talk = self.talks.get_mut(&session).unwrap();
        let (slot, accepted) = (talk.slot.take().unwrap(), talk.accepted);
        self.intake.close(self.now, slot);
        self.settle();
        let (at, closing) = (self.now, closing(self.now, accepted));
        self.command(RecordingCommand::Close { session, at, closing });
    }

    /// Time passes, timers fire.
    fn pass(&mut self, time: Duration) {
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
    fn talk(&mut self, calls: &[u8], time: Duration) {
        for _ in 0..time.as_millis() / 10 {
            for call in calls {
                let _ = self.offer(*call, 172);
            }
            self.settle();
            self.pass(ms(10));
        }
    }

    fn heard(&self) -> Vec<&RecordingEvent> {
        self.events.iter().map(|(_, event)| event).collect()
    }

    /// How long after `since` the event was heard.
    fn delay(&self, since: Timestamp, wanted: &RecordingEvent) -> Option<Duration> {
        let since = since.since(Timestamp::from_millis(START));
        let mut events = self.events.iter().filter(|(at, _)| *at >= since);
        events.find(|(_, event)| event == wanted).map(|(at, _)| *at - since)
    }

    fn break_disk(&mut self, how: Injected) -> Timestamp {
        self.disk.broken = Some(how);
        self.now
    }
}

fn sealed(disk: &SimDisk, session: SessionId) -> Option<SealedCall<&[u8]>> {
    let bytes = disk.contents(File::Sealed(session))?;
    Some(SealedCall::open(bytes).unwrap_or_else(|error| panic!("{session}: {error}")))
}

fn verified(disk: &SimDisk, session: SessionId) -> Manifest {
    let mut call = sealed(disk, session).unwrap_or_else(|| panic!("{session} is missing"));
    call.verify().unwrap_or_else(|error| panic!("{session}: {error}"));
    call.manifest().clone()
}

fn packets(disk: &SimDisk, session: SessionId) -> Vec<Bytes> {
    let mut call = sealed(disk, session).unwrap();
    let frames: Vec<Frame> = call.frames().map(Result::unwrap).collect();
    let packets = frames.into_iter().filter_map(|frame| match frame {
        Frame::Packet { bytes, .. } => Some(bytes),
        Frame::Signal { .. } | Frame::Mark { .. } => None,
    });
    packets.collect()
}

/// Runs recovery; with a fuse it may die on the way.
fn recover(disk: &mut SimDisk, config: &WriterConfig, mut fuse: Option<u64>) -> Option<RecoveryReport> {
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
fn story(node: &mut Node) {
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
    let (header, at) = (header(session(9)), node.now);
    let closing = Box::new(Closing {
        outcome: Outcome::Blocked,
        tally: None,
        ..*closing(node.now, 0)
    });
    node.command(RecordingCommand::Keep { header, at, closing });
    node.talk(&[1, 2], ms(300));
}

fn check_after_crash(talks: &BTreeMap<SessionId, Talk>, disk: &SimDisk, context: &str) {
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

#[test]
fn a_call_is_opened_recorded_and_sealed_exactly() {
    let mut node = Node::new(SimDisk::new(1), config());
    story(&mut node);
    node.close(1);
    node.close(2);
    node.pass(ms(1500));
    for number in [0, 1, 2] {
        let manifest = verified(&node.disk, session(number));
        let talk = &node.talks[&session(number)];
        assert_eq!(talk.sealed.as_ref(), Some(&manifest.reconciliation));
        assert!(manifest.reconciliation.is_exact(), "{:?}", manifest.reconciliation);
        assert_eq!(manifest.reconciliation.stored, talk.accepted);
        assert_eq!(manifest.outcome, Outcome::Recorded);
        let got = packets(&node.disk, session(number));
        let want: Vec<Bytes> = (0..talk.offered)
            .map(|n| packet(session(number), n, 172).into())
            .collect();
        assert_eq!(got, want);
    }
    assert_eq!(verified(&node.disk, session(9)).outcome, Outcome::Blocked);
    let status = node.writer.status(node.now);
    assert_eq!((status.calls, status.sealing, status.segments), (0, 0, 1), "{status:?}");
    let (made, free) = node.intake.blocks();
    assert_eq!(made, free, "a block was not given back");
}

#[test]
fn one_flush_serves_all_calls_of_a_tenth_of_a_second() {
    let mut node = Node::new(SimDisk::new(1), WriterConfig::default());
    let calls: Vec<u8> = (0..20).collect();
    calls.iter().for_each(|call| node.open(*call));
    node.pass(ms(200));
    let before = node.disk.flushes;
    node.talk(&calls, ms(1000));
    assert!(node.disk.flushes - before <= 11, "{}", node.disk.flushes - before);
}

#[test]
fn power_cut_at_every_request_loses_nothing_that_was_acknowledged() {
    let total = {
        let mut node = Node::new(SimDisk::new(0), config());
        story(&mut node);
        node.disk.requests
    };
    assert!(total > 20, "{total}");
    for at in 0..total {
        for seed in 0..4 {
            let context = format!("cut at request {at}, seed {seed}");
            let mut disk = SimDisk::new(seed * 1000 + at);
            let (talks, mut disk) = {
                let mut node = Node::with_fuse(&mut disk, at);
                story(&mut node);
                assert!(node.dead, "{context}");
                (node.talks, node.disk)
            };
            disk.cut_power();
            recover(&mut disk, &config(), None).unwrap();
            check_after_crash(&talks, &disk, &context);
            let before: Vec<File> = disk.files().collect();
            let again = recover(&mut disk, &config(), None).unwrap();
            assert_eq!(again.calls, [], "{context}: recovery is not idempotent");
            assert_eq!(disk.files().collect::<Vec<_>>(), before, "{context}");
        }
    }
}

impl Node {
    fn with_fuse(disk: &mut SimDisk, fuse: u64) -> Self {
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
}

#[test]
fn power_cut_at_every_request_of_a_recovery_is_met_by_the_next() {
    for seed in 0..3 {
        let mut node = Node::new(SimDisk::new(seed), config());
        story(&mut node);
        let mut crashed = node.disk.clone();
        crashed.cut_power();
        for at in 0.. {
            let mut disk = crashed.clone();
            let finished = recover(&mut disk, &config(), Some(at)).is_some();
            disk.cut_power();
            recover(&mut disk, &config(), None).unwrap();
            check_after_crash(
                &node.talks,
                &disk,
                &format!("seed {seed}, cut at request {at} of recovery"),
            );
            if finished {
                break;
            }
        }
    }
}

#[test]
fn a_killed_process_loses_only_what_was_in_its_memory_and_says_so() {
    let mut node = Node::new(SimDisk::new(5), config());
    story(&mut node);
    let talk = &node.talks[&session(1)];
    let (accepted, acknowledged) = (talk.accepted, talk.acknowledged);
    node.disk.kill();
    let report = recover(&mut node.disk, &config(), None).unwrap();
    let ids: BTreeSet<SessionId> = report.calls.iter().map(|call| call.session).collect();
    assert_eq!(ids, BTreeSet::from([session(1), session(2)]));
    let manifest = verified(&node.disk, session(1));
    assert_eq!(manifest.outcome, Outcome::Faulted);
    assert!(manifest.recovered.is_some_and(|recovered| !recovered.closed));
    assert!(manifest.counts.packets >= acknowledged && manifest.counts.packets <= accepted);
    assert!(node.disk.files().any(|file| matches!(file, File::Report(_))));
}

#[test]
fn every_fault_of_a_write_brings_the_recorder_down_at_once_and_up_within_a_second() {
    let faults = [
        (Injected::Fail(IoError::NoSpace), Fault::DiskFull),
        (Injected::Fail(IoError::QuotaExceeded), Fault::QuotaExceeded),
        (Injected::Fail(IoError::Io), Fault::Io),
        (Injected::Fail(IoError::ReadOnly), Fault::ReadOnly),
        (Injected::Half(IoError::ShortWrite), Fault::ShortWrite),
        (Injected::Half(IoError::NoSpace), Fault::DiskFull),
        (Injected::FlushFails, Fault::Io),
    ];
    for (injected, fault) in faults {
        let mut node = Node::new(SimDisk::new(2), config());
        node.open(0);
        node.talk(&[0], ms(300));
        let broken = node.break_disk(injected);
        node.talk(&[0], ms(500));
        // One commit interval, and no more: the failing answer is the news.
        let down = node.delay(broken, &RecordingEvent::Down { fault });
        assert!(
            down.is_some_and(|down| down <= ms(200)),
            "{injected:?} {:?}",
            node.events
        );
        node.open(1);
        let refused = RecordingEvent::OpenFailed {
            session: session(1),
            fault,
        };
        assert!(node.heard().contains(&&refused), "{injected:?} {:?}", node.events);
        node.disk.broken = None;
        let mended = node.now;
        node.pass(ms(1100));
        let up = node.delay(mended, &RecordingEvent::Up);
        assert!(up.is_some_and(|up| up <= ms(1000)), "{injected:?} {:?}", node.events);
        node.close(0);
        node.pass(ms(500));
        let manifest = verified(&node.disk, session(0));
        assert!(
            manifest.reconciliation.is_exact(),
            "all of it was held in memory: {:?}",
            manifest.reconciliation
        );
        assert_eq!(node.disk.retried, [], "{injected:?}: a poisoned segment was used again");
        assert_eq!(
            node.events
                .iter()
                .filter(|(_, e)| matches!(e, RecordingEvent::Down { .. }))
                .count(),
            1
        );
    }
}

#[test]
fn a_single_failed_flush_moves_to_a_fresh_segment_without_anybody_noticing() {
    let mut node = Node::new(SimDisk::new(3), config());
    node.open(0);
    node.talk(&[0], ms(300));
    node.disk.broken_times = Some(1);
    node.break_disk(Injected::FlushFails);
    node.talk(&[0], ms(300));
    node.close(0);
    node.pass(ms(500));
    assert!(
        !node
            .heard()
            .iter()
            .any(|event| matches!(event, RecordingEvent::Down { .. }))
    );
    assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
    assert!(node.disk.broken.is_none(), "the fault was met");
    assert_eq!(node.disk.retried, []);
}

#[test]
fn a_volume_that_fails_is_left_for_the_next() {
    let two = WriterConfig {
        volumes: vec![VolumeConfig::default(); 2],
        ..config()
    };
    let mut node = Node::new(SimDisk::new(4), two);
    node.open(0);
    node.talk(&[0], ms(300));
    node.disk.broken_volumes = vec![0];
    node.break_disk(Injected::Fail(IoError::Io));
    node.talk(&[0], ms(1000));
    node.open(1);
    node.close(0);
    node.pass(ms(500));
    assert!(node.talks[&session(1)].ready);
    assert!(
        !node
            .heard()
            .iter()
            .any(|event| matches!(event, RecordingEvent::Down { .. })),
        "{:?}",
        node.events
    );
    assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
}

#[test]
fn a_volume_that_hangs_is_left_for_the_next_before_the_limit() {
    let two = WriterConfig {
        volumes: vec![VolumeConfig::default(); 2],
        ..config()
    };
    let mut node = Node::new(SimDisk::new(4), two);
    node.open(0);
    node.talk(&[0], ms(300));
    node.disk.broken_volumes = vec![0];
    node.break_disk(Injected::Hang);
    node.talk(&[0], ms(3000));
    assert!(
        !node
            .heard()
            .iter()
            .any(|event| matches!(event, RecordingEvent::Down { .. })),
        "{:?}",
        node.events
    );
    assert_eq!(node.talks[&session(0)].refused, []);
    node.disk.broken = None;
    for done in node.disk.release() {
        node.writer.handle_io(node.now, done);
    }
    node.settle();
    node.talk(&[0], ms(300));
    node.close(0);
    node.pass(ms(500));
    assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
}

#[test]
fn a_hung_flush_is_a_fault_at_the_lag_limit_and_its_late_answer_mends_it() {
    let mut node = Node::new(SimDisk::new(6), config());
    node.open(0);
    node.talk(&[0], ms(300));
    let broken = node.break_disk(Injected::Hang);
    node.talk(&[0], ms(2000));
    let fault = Fault::Stalled;
    let down = node.delay(broken, &RecordingEvent::Down { fault }).unwrap();
    assert!(down >= ms(800) && down <= ms(1100), "{down:?}");
    // The intake knew by itself.
    assert_eq!(node.talks[&session(0)].refused.first(), Some(&Fault::Stalled));
    assert!(
        node.talks[&session(0)].accepted <= 30 + 111,
        "{}",
        node.talks[&session(0)].accepted
    );
    node.disk.broken = None;
    for done in node.disk.release() {
        node.writer.handle_io(node.now, done);
    }
    node.settle();
    assert!(node.heard().contains(&&RecordingEvent::Up));
    node.talk(&[0], ms(300));
    node.close(0);
    node.pass(ms(500));
    let manifest = verified(&node.disk, session(0));
    assert_eq!(manifest.reconciliation.accepted, manifest.reconciliation.stored);
    // What was refused is a gap with both ends.
    let [(_, gap)] = manifest.reconciliation.gaps[..] else {
        panic!("{:?}", manifest.reconciliation.gaps);
    };
    assert!(gap >= ms(800) && gap <= ms(1100), "{gap:?}");
    assert_eq!(manifest.outcome, Outcome::Faulted);
}

#[test]
fn the_gap_counts_what_was_refused() {
    let mut node = Node::new(SimDisk::new(6), config());
    node.open(0);
    node.talk(&[0], ms(300));
    node.break_disk(Injected::Fail(IoError::Io));
    node.talk(&[0], ms(3000));
    node.disk.broken = None;
    node.talk(&[0], ms(1500));
    let refused = node.talks[&session(0)].refused.len() as u64;
    node.close(0);
    node.pass(ms(500));
    let mut call = sealed(&node.disk, session(0)).unwrap();
    let marks = call.frames().filter_map(|frame| match frame.unwrap() {
        Frame::Mark { mark, .. } => Some(mark),
        Frame::Packet { .. } | Frame::Signal { .. } => None,
    });
    let marks: Vec<Mark> = marks.collect();
    let fault = Fault::Stalled;
    assert_eq!(marks, [Mark::GapOpened { fault }, Mark::GapClosed { packets: refused }]);
    assert!(refused > 50);
}

#[test]
fn below_the_reserve_new_calls_are_refused_and_running_ones_go_on() {
    let guarded = WriterConfig {
        volumes: vec![VolumeConfig { reserve: 1 << 30 }],
        ..config()
    };
    let mut node = Node::new(SimDisk::new(7), guarded);
    node.open(0);
    node.disk.free = (1 << 30) - 1;
    node.talk(&[0], ms(1500));
    node.open(1);
    let (session_1, fault) = (session(1), Fault::Reserve);
    assert!(node.heard().contains(&&RecordingEvent::OpenFailed {
        session: session_1,
        fault
    }));
    node.disk.free = 1 << 30;
    node.pass(ms(1100));
    node.open(2);
    assert!(node.talks[&session(2)].ready);
    node.close(0);
    node.pass(ms(500));
    assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
}

#[test]
fn a_blocked_call_is_kept_though_the_recorder_is_down() {
    let mut node = Node::new(SimDisk::new(8), config());
    node.disk.archive_broken = true;
    node.break_disk(Injected::Fail(IoError::Io));
    node.open(0);
    assert!(matches!(
        node.heard()[..],
        [RecordingEvent::Down { .. }, RecordingEvent::OpenFailed { .. }]
    ));
    let (header, at) = (header(session(0)), node.now);
    let closing = Box::new(Closing {
        outcome: Outcome::Blocked,
        tally: None,
        fault: Some(Fault::Io),
        ..*closing(node.now, 0)
    });
    node.command(RecordingCommand::Keep { header, at, closing });
    node.pass(ms(5000));
    assert!(node.talks[&session(0)].sealed.is_none());
    node.disk.broken = None;
    node.pass(ms(2000));
    let manifest = verified(&node.disk, session(0));
    assert_eq!(
        (manifest.outcome, manifest.closing.fault),
        (Outcome::Blocked, Some(Fault::Io))
    );
    assert!(node.talks[&session(0)].sealed.is_some());
    node.disk.cut_power();
    let report = recover(&mut node.disk, &config(), None).unwrap();
    assert_eq!(report.calls, []);
}

#[test]
fn a_long_call_moves_out_of_the_spool_and_survives_a_power_cut() {
    for cut in [false, true] {
        let mut node = Node::new(SimDisk::new(9), config());
        node.open(0);
        node.open(1);
        node.talk(&[0, 1], Duration::from_secs(60));
        let status = node.writer.status(node.now);
        assert!(status.segments <= 6, "{status:?}");
        if cut {
            node.disk.cut_power();
            recover(&mut node.disk, &config(), None).unwrap();
            check_after_crash(&node.talks, &node.disk, "long call");
            continue;
        }
        node.close(0);
        node.close(1);
        node.pass(ms(1000));
        for number in [0, 1] {
            let manifest = verified(&node.disk, session(number));
            assert!(manifest.reconciliation.is_exact(), "{:?}", manifest.reconciliation);
            assert_eq!(manifest.outcome, Outcome::Recorded);
        }
        assert_eq!(node.writer.status(node.now).segments, 1);
    }
}

#[test]
fn an_archive_that_fails_for_a_while_only_delays_sealing() {
    for long in [false, true] {
        let mut node = Node::new(SimDisk::new(10), config());
        node.open(0);
        node.disk.archive_broken = true;
        node.talk(&[0], Duration::from_secs(if long { 60 } else { 1 }));
        node.disk.broken_volumes = vec![99];
        node.break_disk(Injected::Fail(IoError::NoSpace));
        node.talk(&[0], Duration::from_secs(if long { 60 } else { 1 }));
        node.close(0);
        node.pass(ms(3000));
        assert!(sealed(&node.disk, session(0)).is_none());
        node.disk.broken = None;
        node.pass(ms(2500));
        assert!(verified(&node.disk, session(0)).reconciliation.is_exact());
        let leftovers = node
            .disk
            .files()
            .filter(|file| matches!(file, File::Partial { .. }))
            .count();
        assert_eq!((leftovers, &node.disk.retried[..]), (0, &[][..]));
    }
}

#[test]
fn a_closed_call_waits_for_its_last_packets_and_then_no_longer() {
    let mut node = Node::new(SimDisk::new(11), config());
    for (number, arrives) in [(0, true), (1, false)] {
        node.open(number);
        node.talk(&[number], ms(200));
        let session = session(number);
        node.pass(ms(200));
        let _ = node.offer(number, 172);
        let accepted = node.talks[&session].accepted;
        let (at, closing) = (node.now, closing(node.now, accepted));
        node.command(RecordingCommand::Close { session, at, closing });
        let slot = node.talks.get_mut(&session).unwrap().slot.take().unwrap();
        node.intake.close(node.now, slot);
        let last = node.intake.poll_full().unwrap();
        if arrives {
            node.writer.handle_extent(node.now, last);
        }
        node.pass(ms(1000));
        let manifest = verified(&node.disk, session);
        assert_eq!(
            manifest.reconciliation.accepted - manifest.reconciliation.stored,
            u64::from(!arrives)
        );
        assert_eq!(
            manifest.outcome,
            if arrives { Outcome::Recorded } else { Outcome::Faulted }
        );
    }
}

#[test]
fn damage_in_the_spool_costs_what_is_damaged_and_no_more() {
    let mut node = Node::new(SimDisk::new(12), WriterConfig::default());
    node.open(0);
    node.talk(&[0], ms(1000));
    node.disk.kill();
    let segment = node.disk.files().find(|file| matches!(file, File::Segment(_))).unwrap();
    // The zero block, the opening record's block, then a commit a block.
    node.disk.contents_mut(segment).unwrap()[4 * 4096 + 150] ^= 1;
    let report = recover(&mut node.disk, &WriterConfig::default(), None).unwrap();
    assert_eq!(report.torn.len(), 1);
    let manifest = verified(&node.disk, session(0));
    assert_eq!(manifest.breaks.len(), 1);
    assert!(manifest.counts.packets > 50, "{:?}", manifest.counts);
    assert_eq!(manifest.outcome, Outcome::Faulted);
}

#[test]
fn a_call_that_is_given_up_while_it_opens_is_what_its_record_says() {
    for cut in [false, true] {
        let mut node = Node::new(SimDisk::new(13), config());
        node.break_disk(Injected::Hang);
        node.open(0);
        node.signal(0, "INVITE sip:bob@example.com SIP/2.0\r\n\r\n");
        node.pass(ms(200));
        let (header, at) = (header(session(0)), node.now);
        let closing = Box::new(Closing {
            outcome: Outcome::Blocked,
            tally: None,
            ..*closing(node.now, 0)
        });
        node.command(RecordingCommand::Keep { header, at, closing });
        node.signal(0, "SIP/2.0 603 Declined\r\n\r\n");
        node.disk.broken_volumes = vec![99];
        node.disk.archive_broken = cut;
        node.break_disk(Injected::Fail(IoError::Io));
        for done in node.disk.release() {
            node.writer.handle_io(node.now, done);
        }
        node.settle();
        node.pass(ms(500));
        if cut {
            assert!(node.talks[&session(0)].sealed.is_none());
            node.disk.cut_power();
            recover(&mut node.disk, &config(), None).unwrap();
        }
        let manifest = verified(&node.disk, session(0));
        assert_eq!((manifest.outcome, manifest.breaks.len()), (Outcome::Blocked, 0));
        assert_eq!(manifest.counts.signals, 1);
        assert!(!node.talks[&session(0)].ready);
    }
}
