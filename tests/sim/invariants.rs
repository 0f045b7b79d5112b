//! The law of the world: what is watched while it turns, and what is counted at its end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use onrecord::engine::Engine;
use onrecord::model::{Outcome, RecordingEvent, SessionId, Timestamp};
use onrecord::recorder::{File, Frame, Manifest, SealedCall};

use super::disk::Disk;
use super::packets::packet_number;
use super::setting;
use super::ua::Phone;
use super::wire::Heard;
use super::world::Grade;

/// How late a timer may act on what it measures.
const SLACK: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Call {
    grade: Grade,
    call_id: String,
    /// The caller's INVITE reached the proxy.
    placed: bool,
    /// The callee was sent an INVITE.
    rung: bool,
    session: Option<SessionId>,
    /// The recorder said that this recording is broken.
    faulted: Option<Timestamp>,
    /// Numbers that left for the far leg, with the time of the first copy.
    forwarded: BTreeMap<u64, Timestamp>,
    /// Forwarded and not yet seen durable, in order of time.
    exposed: VecDeque<(Timestamp, u64)>,
    /// Packets that left, repeated ones too.
    relayed: u64,
    /// Caller and callee: the proxy sent it a BYE, a CANCEL or a final refusal.
    told: [bool; 2],
}

/// What the world has seen of every call.
#[derive(Debug, Default)]
pub struct Ledger {
    calls: Vec<Call>,
}

impl Ledger {
    pub fn expect(&mut self, pair: usize, grade: Grade, call_id: &str) {
        assert_eq!(pair, self.calls.len());
        self.calls.push(Call {
            grade,
            call_id: call_id.to_owned(),
            placed: false,
            rung: false,
            session: None,
            faulted: None,
            forwarded: BTreeMap::new(),
            exposed: VecDeque::new(),
            relayed: 0,
            told: [false; 2],
        });
    }

    pub fn grade(&self, pair: usize) -> Grade {
        self.calls[pair].grade
    }

    pub fn was_rung(&self, pair: usize) -> bool {
        self.calls[pair].rung
    }

    pub fn faulted(&self, pair: usize) -> Option<Timestamp> {
        self.calls[pair].faulted
    }

    /// A datagram arrived at the proxy.
    pub fn on_received(&mut self, heard: &Heard) {
        if heard.method == "INVITE"
            && let Some(call) = self.calls.iter_mut().find(|call| call.call_id == heard.call_id())
        {
            call.placed = true;
        }
    }

    /// The proxy sent a message.
    pub fn on_sent(&mut self, heard: &Heard) {
        let phone = |uri: &str| uri.strip_prefix("sip:p")?.split('@').next()?.parse::<usize>().ok();
        match heard.method.as_str() {
            "BYE" => {
                if let Some(number) = phone(&heard.request_uri) {
                    self.calls[number / 2].told[number % 2] = true;
                }
            }
            "CANCEL" => {
                let pair = (0..self.calls.len()).find(|pair| setting::is_callee(*pair, &heard.request_uri));
                pair.into_iter().for_each(|pair| self.calls[pair].told[1] = true);
            }
            "" if heard.status >= 300 && heard.cseq().1 == "INVITE" => {
                let call = self.calls.iter_mut().find(|call| call.call_id == heard.call_id());
                call.into_iter().for_each(|call| call.told[0] = true);
            }
            _ => {}
        }
    }

    /// `both_legs_end`: when the proxy forgets a call, each party has ended it or was told.
    pub fn on_over(&self, pair: usize, phones: [&Phone; 2]) -> Result<(), String> {
        for (phone, told) in phones.into_iter().zip(self.calls[pair].told) {
            if !told && !phone.has_let_go() {
                let (number, state) = (phone.number, phone.state);
                return Err(format!(
                    "both_legs_end: pair {pair} is over, phone {number} is {state:?} and was not told"
                ));
            }
        }
        Ok(())
    }

    /// `no_ring_before_ready`: the callee hears nothing of a strict call before its opening record is durable.
    pub fn on_rung(&mut self, pair: usize, disk: &Disk) -> Result<(), String> {
        let call = &mut self.calls[pair];
        let is_first = !std::mem::replace(&mut call.rung, true);
        if is_first && call.grade == Grade::Strict && !disk.has_acknowledged(&call.call_id) {
            return Err(format!(
                "no_ring_before_ready: pair {pair} rang before its opening record was durable"
            ));
        }
        Ok(())
    }

    /// Which session a pair became.
    pub fn on_view(&mut self, pair: usize, session: SessionId) -> Result<(), String> {
        let known = *self.calls[pair].session.get_or_insert(session);
        if known == session {
            Ok(())
        } else {
            Err(format!("one_outcome: pair {pair} became two sessions"))
        }
    }

    /// What the recorder told signalling.
    pub fn on_recorder(&mut self, now: Timestamp, event: &RecordingEvent) {
        for call in &mut self.calls {
            let concerns = match event {
                RecordingEvent::Faulted { session, .. } | RecordingEvent::OpenFailed { session, .. } => {
                    call.session == Some(*session)
                }
                RecordingEvent::Down { .. } => call.session.is_some(),
                _ => false,
            };
            if concerns {
                call.faulted.get_or_insert(now);
            }
        }
    }

    /// `record_before_relay`: nothing of a strict call leaves once its recording is broken.
    pub fn on_forwarded(&mut self, now: Timestamp, bytes: &[u8]) -> Result<(), String> {
        let Some(number) = packet_number(bytes) else {
            return Ok(());
        };
        if number >> 32 == setting::STRANGER {
            return Err("no_stranger_is_heard: an injected packet was forwarded".to_owned());
        }
        let pair = (number >> 33) as usize;
        let call = &mut self.calls[pair];
        if call.grade != Grade::Exempt && !call.forwarded.contains_key(&number) {
            call.exposed.push_back((now, number));
        }
        call.forwarded.entry(number).or_insert(now);
        call.relayed += 1;
        match call.faulted {
            Some(_) if call.grade == Grade::Strict => Err(format!(
                "record_before_relay: pair {pair} forwards although its recording is broken"
            )),
            _ => Ok(()),
        }
    }

    /// `lag_is_bounded`: while a strict call forwards, nothing it forwarded stays undurable longer than `lag_max`.
    pub fn check(&mut self, now: Timestamp, disk: &Disk, lag_max: Duration) -> Result<(), String> {
        for (pair, call) in self.calls.iter_mut().enumerate() {
            while call
                .exposed
                .front()
                .is_some_and(|(_, number)| disk.acknowledged.contains(number))
            {
                call.exposed.pop_front();
            }
            let (Some((oldest, _)), Some((newest, _))) = (call.exposed.front(), call.exposed.back()) else {
                continue;
            };
            let lag = now.since(*oldest);
            if call.grade == Grade::Strict && *newest == now && lag > lag_max + SLACK {
                return Err(format!(
                    "lag_is_bounded: pair {pair} forwards {} ms ahead of the disk",
                    lag.as_millis()
                ));
            }
        }
        Ok(())
    }

    /// Forwarded packets of a pair that are not in `stored`: their times.
    fn missing(&self, pair: usize, stored: &BTreeSet<u64>) -> Vec<Timestamp> {
        let missing = self.calls[pair]
            .forwarded
            .iter()
            .filter(|(number, _)| !stored.contains(number));
        missing.map(|(_, at)| *at).collect()
    }

    /// `one_outcome`, and that the outcome is true: every call that reached the proxy against everything on the disk.
    pub fn audit(&self, disk: &Disk, lag_max: Duration) -> Vec<String> {
        let mut broken = Vec::new();
        let sealed = sealed_calls(disk, &mut broken);
        for (pair, call) in self.calls.iter().enumerate() {
            let mine: Vec<&Sealed> = sealed.iter().filter(|sealed| sealed.is_of(&call.call_id)).collect();
            match mine.as_slice() {
                [] if !call.placed => {}
                [sealed] if call.placed => broken.extend(self.judge(pair, sealed, lag_max)),
                _ => {
                    let outcomes: Vec<Outcome> = mine.iter().map(|sealed| sealed.manifest.outcome).collect();
                    broken.push(format!(
                        "one_outcome: pair {pair} has {outcomes:?}, placed {}",
                        call.placed
                    ));
                }
            }
        }
        broken
    }

    fn judge(&self, pair: usize, sealed: &Sealed, lag_max: Duration) -> Option<String> {
        let call = &self.calls[pair];
        let outcome = sealed.manifest.outcome;
        let missing = self.missing(pair, &sealed.packets);
        if sealed.packets.iter().any(|number| number >> 32 == setting::STRANGER) {
            return Some(format!(
                "no_stranger_is_heard: pair {pair} has an injected packet in its recording"
            ));
        }
        let is_exact = sealed.manifest.reconciliation.is_exact();
        let said = format!("pair {pair} ({:?}) is {outcome:?}", call.grade);
        let fits = match call.grade {
            Grade::Exempt => outcome == Outcome::Exempt,
            Grade::Strict | Grade::Lenient => outcome != Outcome::Exempt,
        };
        if !fits {
            return Some(format!("one_outcome: {said}"));
        }
        if call.grade == Grade::Exempt {
            return None;
        }
        // A callee may have been called before the recorder broke; without a fault it may not.
        if outcome == Outcome::Blocked && call.rung && sealed.manifest.closing.fault.is_none() {
            return Some(format!("one_outcome: {said}, but its callee was called"));
        }
        if outcome == Outcome::Recorded && (!missing.is_empty() || !is_exact) {
            let count = missing.len();
            return Some(format!(
                "record_before_relay: {said}, {count} packets missing, exact: {is_exact}"
            ));
        }
        if let Some(tally) = &sealed.manifest.closing.tally {
            let (relayed, accepted, unrecorded) = (call.relayed, tally.accepted, tally.unrecorded);
            let unaccepted = call.grade == Grade::Strict && relayed > accepted;
            if relayed != tally.forwarded || unaccepted {
                return Some(format!(
                    "record_before_relay: {said}, {relayed} packets left, told {}, accepted {accepted}, unrecorded {unrecorded}",
                    tally.forwarded
                ));
            }
        }
        let (first, last) = (missing.iter().min()?, missing.iter().max()?);
        let span = last.since(*first);
        if call.grade == Grade::Strict && span > lag_max + SLACK {
            return Some(format!(
                "record_before_relay: {said}, {} ms of what was forwarded are missing",
                span.as_millis()
            ));
        }
        None
    }

    /// `acknowledged_is_readable`: after a crash and recovery, every packet and every call that the disk acknowledged.
    pub fn audit_after_crash(&self, disk: &Disk) -> Vec<String> {
        let mut broken = Vec::new();
        let sealed = sealed_calls(disk, &mut broken);
        let readable: BTreeSet<u64> = sealed
            .iter()
            .flat_map(|sealed| sealed.packets.iter().copied())
            .collect();
        let lost = disk.acknowledged.difference(&readable).count();
        if lost > 0 {
            broken.push(format!(
                "acknowledged_is_readable: {lost} acknowledged packets cannot be read"
            ));
        }
        for (pair, call) in self.calls.iter().enumerate() {
            let mine = sealed.iter().filter(|sealed| sealed.is_of(&call.call_id)).count();
            let opened = disk.has_acknowledged(&call.call_id);
            if mine > 1 || (opened && mine == 0) {
                broken.push(format!(
                    "one_outcome: pair {pair} has {mine} recordings after the crash, opened: {opened}"
                ));
            }
        }
        broken
    }
}

/// `everything_returns`: nothing is left of calls that are over.
pub fn leaks(engine: &Engine) -> Vec<String> {
    let (made, free) = engine.intake().blocks();
    let [ports, transactions, owned, names] = engine.signaling().leftovers();
    let left = [
        ("calls", engine.signaling().calls()),
        ("bound ports", engine.bound()),
        ("relays", engine.plane().len()),
        ("intake slots", engine.intake().len()),
        ("lent blocks", made - free),
        ("leased port pairs", ports),
        ("transactions", transactions),
        ("owners of transactions", owned),
        ("tags and Call-IDs", names),
    ];
    let left = left.iter().filter(|(_, count)| *count > 0);
    left.map(|(what, count)| format!("everything_returns: {count} {what} are left"))
        .collect()
}

/// A sealed call as it can be read from the disk.
#[derive(Debug)]
pub struct Sealed {
    pub manifest: Manifest,
    pub packets: BTreeSet<u64>,
}

impl Sealed {
    pub fn is_of(&self, call_id: &str) -> bool {
        self.manifest
            .header
            .call_ids
            .first()
            .is_some_and(|first| first == call_id)
    }
}

/// Reads and verifies every sealed call; what cannot be read is broken law.
pub fn sealed_calls(disk: &Disk, broken: &mut Vec<String>) -> Vec<Sealed> {
    let mut calls = Vec::new();
    for file in disk.names().filter(|file| matches!(file, File::Sealed(_))) {
        let bytes = disk.contents(file).unwrap_or_default();
        match read_sealed(&bytes) {
            Ok(call) => calls.push(call),
            Err(error) => broken.push(format!("acknowledged_is_readable: {file:?}: {error}")),
        }
    }
    calls
}

fn read_sealed(bytes: &[u8]) -> Result<Sealed, String> {
    let mut call = SealedCall::open(bytes).map_err(|error| error.to_string())?;
    call.verify().map_err(|error| error.to_string())?;
    let manifest = call.manifest().clone();
    let mut packets = BTreeSet::new();
    for frame in call.frames() {
        if let Frame::Packet { bytes, .. } = frame.map_err(|error| error.to_string())? {
            packets.extend(packet_number(&bytes));
        }
    }
    Ok(Sealed { manifest, packets })
}
