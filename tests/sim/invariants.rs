//! The law of the world, checked while it turns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use onrecord::model::Timestamp;

use super::disk::Disk;
use super::ua::packet_number;
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
    /// Numbers that left for the far leg, with the time of the first copy.
    forwarded: BTreeMap<u64, Timestamp>,
    /// Forwarded and not yet seen durable, in order of time.
    exposed: VecDeque<(Timestamp, u64)>,
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
            forwarded: BTreeMap::new(),
            exposed: VecDeque::new(),
        });
    }

    pub fn grade(&self, pair: usize) -> Grade {
        self.calls[pair].grade
    }

    pub fn placed(&self) -> impl Iterator<Item = (usize, &str)> {
        let placed = self.calls.iter().enumerate().filter(|(_, call)| call.placed);
        placed.map(|(pair, call)| (pair, call.call_id.as_str()))
    }

    pub fn was_rung(&self, pair: usize) -> bool {
        self.calls[pair].rung
    }

    pub fn forwarded(&self, pair: usize) -> &BTreeMap<u64, Timestamp> {
        &self.calls[pair].forwarded
    }

    /// A datagram arrived at the proxy.
    pub fn on_received(&mut self, bytes: &[u8]) {
        let Some(heard) = Heard::read(bytes).filter(|heard| heard.method == "INVITE") else { return };
        if let Some(call) = self.calls.iter_mut().find(|call| call.call_id == heard.call_id()) {
            call.placed = true;
        }
    }

    /// `no_ring_before_ready`: the callee hears nothing of a strict call before its opening record is durable.
    pub fn on_sent(&mut self, bytes: &[u8], disk: &Disk, is_for: fn(&Heard, usize) -> bool) -> Option<String> {
        let heard = Heard::read(bytes).filter(|heard| heard.method == "INVITE")?;
        let pair = (0..self.calls.len()).find(|pair| is_for(&heard, *pair))?;
        let call = &mut self.calls[pair];
        if call.rung {
            return None;
        }
        call.rung = true;
        let ready = call.grade != Grade::Strict || disk.acknowledged_text(call.call_id.as_bytes());
        (!ready).then(|| format!("no_ring_before_ready: pair {pair} rang before its opening record was durable"))
    }

    /// A packet left for the far leg.
    pub fn on_forwarded(&mut self, now: Timestamp, bytes: &[u8]) {
        let Some(number) = packet_number(bytes) else { return };
        let call = &mut self.calls[(number >> 33) as usize];
        if call.grade != Grade::Exempt && !call.forwarded.contains_key(&number) {
            call.exposed.push_back((now, number));
        }
        call.forwarded.entry(number).or_insert(now);
    }

    /// `lag_is_bounded`: while a strict call forwards, nothing it forwarded stays undurable longer than `lag_max`.
    pub fn check(&mut self, now: Timestamp, disk: &Disk, lag_max: Duration) -> Option<String> {
        for (pair, call) in self.calls.iter_mut().enumerate() {
            while call.exposed.front().is_some_and(|(_, number)| disk.acknowledged.contains(number)) {
                call.exposed.pop_front();
            }
            let Some((oldest, _)) = call.exposed.front() else { continue };
            let newest = call.exposed.back().map_or(*oldest, |(at, _)| *at);
            if call.grade == Grade::Strict && newest == now && now.since(*oldest) > lag_max + SLACK {
                let lag = now.since(*oldest).as_millis();
                return Some(format!("lag_is_bounded: pair {pair} forwards {lag} ms ahead of the disk"));
            }
        }
        None
    }

    /// Forwarded packets of a pair that are in none of `stored`, with the time of the first and the last.
    pub fn missing(&self, pair: usize, stored: &BTreeSet<u64>) -> Option<(usize, Timestamp, Timestamp)> {
        let missing = self.calls[pair].forwarded.iter().filter(|(number, _)| !stored.contains(number));
        let times: Vec<Timestamp> = missing.map(|(_, at)| *at).collect();
        Some((times.len(), *times.iter().min()?, *times.iter().max()?))
    }
}
