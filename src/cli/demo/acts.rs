//! The acts of the demo, in order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::Broken;
use super::page::Page;
use super::proxy::{Ports, Proxy, await_some};
use super::recording::Recording;
use super::wire::{PACKET_BYTES, PACKET_EVERY, SPEECH, Wire};
use crate::cli::{calls, export, verify};
use crate::disk::Layout;
use crate::engine::{Step, StepKind, ladder};
use crate::live::InjectedFault;
use crate::live::clock::Clock;
use crate::live::control::{Reply, Request};
use crate::model::{Fault, Leg, Outcome, SessionId, Timestamp};

/// Longest wait for anything that takes milliseconds when all is well.
const PATIENCE: Duration = Duration::from_secs(10);

/// A packet still under way arrives within this.
const SETTLE: Duration = Duration::from_millis(200);

/// From the failing write to the BYEs: what docs/SAFETY.md promises.
const BYES_MAX: Duration = Duration::from_millis(250);

/// Packets of each phone before the recorder breaks, and of the call after it was mended.
const SOME_PACKETS: usize = 50;

/// Packets that each phone sends after its call was ended.
const RUDE_PACKETS: usize = 10;

/// How often a dispatcher would ask.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What was measured; `None` if it did not come to that.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    pub wav: Option<PathBuf>,
    ready_ms: f64,
    /// Of the first call: packets that the phones sent and heard, that the proxy relayed, and that are stored.
    sent: usize,
    heard: usize,
    relayed: u64,
    stored: u64,
    /// From the failing write to the BYE that each phone got.
    bye_ms: [Option<f64>; 2],
    /// From mending the volume to the first 200 for OPTIONS.
    mended_ms: Option<f64>,
    /// Outcomes of all calls, in order.
    outcomes: Vec<Outcome>,
}

pub(super) struct Stage {
    clock: Clock,
    data: PathBuf,
    layout: Layout,
    /// Until it is told to end.
    proxy: Option<Proxy>,
    wire: Wire,
    figures: Figures,
}

impl Stage {
    /// The proxy up, the phones bound.
    pub(super) fn set(clock: Clock, data: &Path, page: &mut Page) -> Result<Self, Broken> {
        page.act("The proxy starts");
        let ports = Ports::find().ok_or_else(|| Broken::new("no free ports on 127.0.0.1"))?;
        let wire = Wire::open(clock, ports.sip).map_err(|error| Broken::new(format!("phones: {error}")))?;
        let started = clock.now();
        let peers = Leg::BOTH.map(|leg| wire.phone(leg).place().sip);
        let proxy = Proxy::start(clock, data, ports, peers)?;
        let status = proxy.status()?;
        let ready_ms = millis(started, clock.now());
        page.check(
            status.listeners == [format!("udp:{}", ports.sip)],
            format!(
                "`onrecord serve` answers after {ready_ms:.0} ms: pid {}, SIP {}",
                status.pid,
                status.listeners.join(" ")
            ),
        );
        Ok(Self {
            clock,
            data: data.to_owned(),
            layout: verify::layout(data, &[]),
            proxy: Some(proxy),
            wire,
            figures: Figures {
                ready_ms,
                ..Figures::default()
            },
        })
    }

    pub(super) const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Every act; an error is what made it impossible to go on.
    pub(super) fn play(&mut self, page: &mut Page) -> Result<(), Broken> {
        let mut recording = self.speak(page)?;
        self.listen(page, &mut recording)?;
        self.break_recorder(page)?;
        self.be_refused(page)?;
        self.mend_recorder(page)?;
        self.take_stock(page)
    }

    fn speak(&mut self, page: &mut Page) -> Result<Recording, Broken> {
        page.act("Alice calls Bob and both speak: G.711, a packet of 20 ms each way, at its real pace");
        let packets = SPEECH[0].len() / PACKET_BYTES;
        self.connect()?;
        let call_id = self.talk(packets)?;
        self.wire.hang_up();
        self.until("the call to end", |wire| {
            Leg::BOTH.iter().all(|leg| wire.phone(*leg).is_idle())
        })?;
        let layout = &self.layout;
        let recording = await_some(self.clock, PATIENCE, || Recording::find(layout, &call_id));
        let mut recording = recording.ok_or_else(|| Broken::new("the call was not sealed"))?;
        page.text(&ladder::render(&recording.steps()?, recording.started()));
        let trace = self.wire.trace();
        (self.figures.sent, self.figures.heard) = (trace.sent(), trace.heard());
        let seconds = (PACKET_EVERY * packets as u32).as_secs_f64();
        page.check(
            trace.sent() == 2 * packets && trace.heard() == trace.sent(),
            format!(
                "{seconds:.1} s of speech: {} packets said, {} heard at the other end",
                trace.sent(),
                trace.heard()
            ),
        );
        Ok(recording)
    }

    /// Alice calls, Bob picks up.
    fn connect(&mut self) -> Result<(), Broken> {
        self.wire.call();
        self.until("the call to be connected", |wire| {
            Leg::BOTH.iter().all(|leg| wire.phone(*leg).is_talking())
                || wire.phone(Leg::A).status().is_some_and(|s| s >= 300)
        })?;
        match self.wire.phone(Leg::A).status() {
            Some(200) => Ok(()),
            status => Err(Broken::new(format!("the call was refused: {status:?}"))),
        }
    }

    /// So many packets from each, and time for the last to arrive. Returns the call's Call-ID on Alice's side.
    fn talk(&mut self, packets: usize) -> Result<String, Broken> {
        let call_id = self.wire.phone(Leg::A).call_id().unwrap_or_default().to_owned();
        self.wire.talk();
        let long = PATIENCE + PACKET_EVERY * packets as u32;
        let spoken = self.wire.run_until(long, |wire| wire.spoken() >= packets);
        self.wire.fall_silent();
        spoken.map_err(|_| Broken::new("the phones could not keep pace"))?;
        // The last packet is heard to its end before anybody hangs up. What is lost shows in the counts.
        let _nobody_speaks = self.wire.run_until(SETTLE, |_| false);
        Ok(call_id)
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Wire) -> bool) -> Result<(), Broken> {
        self.wire
            .run_until(PATIENCE, is_so)
            .map_err(|_| Broken::new(format!("waited {} s for {what}", PATIENCE.as_secs())))
    }

    fn listen(&mut self, page: &mut Page, recording: &mut Recording) -> Result<(), Broken> {
        page.act("Why it was recorded, and what was kept");
        for line in recording.decision() {
            page.text(&format!("     {line}\n"));
        }
        let manifest = recording.call.manifest();
        let (outcome, kept) = (manifest.outcome, manifest.reconciliation.clone());
        (self.figures.relayed, self.figures.stored) = (kept.forwarded, kept.stored);
        page.check(
            outcome == Outcome::Recorded
                && kept.is_exact()
                && kept.forwarded == kept.stored
                && kept.stored == self.figures.heard as u64,
            format!("packets relayed = packets stored: {} = {}", kept.forwarded, kept.stored),
        );
        page.check(
            recording.holds_the_speech()?,
            format!(
                "what is stored is what was said, byte for byte: {} bytes of speech a side",
                SPEECH[0].len()
            ),
        );
        let counts = recording.verify()?;
        page.check(
            counts.packets == kept.stored,
            format!(
                "verified: {} extents, {} bytes, SHA-256 chain {}…",
                counts.extents,
                counts.bytes,
                recording.call.manifest().chain.get(..16).unwrap_or_default()
            ),
        );
        let file = self.data.join("alice-calls-bob.wav");
        let wav = export::wav(&mut recording.call, &file).map_err(|error| Broken::new(error.to_string()))?;
        let speech_ms = (PACKET_EVERY * (SPEECH[0].len() / PACKET_BYTES) as u32).as_millis() as u64;
        page.check(
            wav.packets_lost == 0 && wav.duration_ms >= speech_ms,
            format!(
                "{:.1} s of sound, Alice left, Bob right: {}",
                wav.duration_ms as f64 / 1000.0,
                file.display()
            ),
        );
        self.figures.wav = Some(file);
        Ok(())
    }

    fn break_recorder(&mut self, page: &mut Page) -> Result<(), Broken> {
        page.act("They talk again, and every write to the volume fails (EIO, on purpose)");
        self.connect()?;
        self.wire.talk();
        self.until("the phones to talk", |wire| wire.spoken() >= SOME_PACKETS)?;
        let asked = self.clock.now();
        self.turn(InjectedFault::Eio)?;
        self.until("both to get a BYE", |wire| {
            Leg::BOTH.iter().all(|leg| wire.phone(*leg).bye().is_some())
        })?;
        let ended = self.wire.spoken();
        // They talk on, as if they had not understood.
        self.until("the phones to talk on", |wire| wire.spoken() >= ended + RUDE_PACKETS)?;
        self.wire.fall_silent();
        let _nothing_comes = self.wire.run_until(SETTLE, |_| false);

        let recorder = self.proxy()?.status()?.recorder;
        page.check(
            !recorder.up && recorder.fault == Some(Fault::Io),
            recorder.fault.map_or("the recorder is up".to_owned(), |fault| {
                format!("the recorder is down: {fault}")
            }),
        );
        let failed = recorder.failing_since.ok_or_else(|| Broken::new("no write failed"))?;
        self.show_end(page, asked, failed);
        self.check_end(page, failed);
        Ok(())
    }

    /// The ladder from the fault on; 0 ms is the failing write.
    fn show_end(&self, page: &Page, asked: Timestamp, failed: Timestamp) {
        let trace = self.wire.trace();
        let mut steps: Vec<Step> = trace.steps.iter().filter(|step| step.at >= asked).cloned().collect();
        steps.push(Step {
            at: failed,
            session: SessionId::from_u128(0),
            what: StepKind::RecordingFaulted(Fault::Io),
        });
        steps.sort_by_key(|step| step.at);
        page.text(&ladder::render(&steps, failed));
    }

    fn check_end(&mut self, page: &mut Page, failed: Timestamp) {
        let trace = self.wire.trace();
        let mut first_bye = None;
        for leg in Leg::BOTH {
            let at = trace.told(leg, "BYE ");
            let reasons = self.wire.phone(leg).bye().unwrap_or_default();
            let reason = reasons.iter().find(|reason| reason.starts_with("SIP;cause=503"));
            let after = at.map(|at| at.since(failed));
            let took = after.map(|after| after.as_secs_f64() * 1000.0);
            page.check(
                reason.is_some() && after.is_some_and(|after| after <= BYES_MAX),
                format!(
                    "{} got BYE {:.1} ms after the failing write (promised: {} ms); Reason: {}",
                    name(leg),
                    took.unwrap_or(f64::NAN),
                    BYES_MAX.as_millis(),
                    reason.map_or("none", String::as_str)
                ),
            );
            self.figures.bye_ms[leg.index()] = took;
            first_bye = crate::model::earliest(first_bye, at);
        }
        let (heard, sent) = first_bye.map_or((usize::MAX, 0), |bye| trace.heard_of_sent_after(bye));
        let newest = trace.newest_heard_sent().unwrap_or_default();
        let newest = if newest > failed {
            format!("{:.1} ms after", millis(failed, newest))
        } else {
            format!("{:.1} ms before", millis(newest, failed))
        };
        page.check(
            heard == 0 && sent > 0,
            format!("media stopped: {sent} packets said after the BYE, {heard} got through; the last that did was said {newest} the failing write"),
        );
    }

    fn be_refused(&mut self, page: &mut Page) -> Result<(), Broken> {
        page.act("Alice tries again while the recorder is down");
        self.wire.call();
        self.until("an answer to the INVITE", |wire| wire.phone(Leg::A).status().is_some())?;
        let status = self.wire.phone(Leg::A).status().unwrap_or_default();
        let rang = self.wire.trace().told(Leg::B, "INVITE ").is_some();
        page.text(&ladder::render(
            &self.wire.trace().steps,
            self.wire.trace().steps.first().map_or(Timestamp::ZERO, |step| step.at),
        ));
        page.check(
            status == 603 && !rang,
            format!(
                "INVITE is refused: {status}; Bob's phone {}",
                if rang { "rang" } else { "did not ring" }
            ),
        );
        self.wire.ask();
        self.until("an answer to OPTIONS", |wire| {
            wire.phone(Leg::A).options_status().is_some()
        })?;
        let status = self.wire.phone(Leg::A).options_status().unwrap_or_default();
        page.check(
            status == 503,
            format!("OPTIONS is answered {status}: dispatchers take this node out"),
        );
        Ok(())
    }

    fn mend_recorder(&mut self, page: &mut Page) -> Result<(), Broken> {
        page.act("The volume is mended");
        let mended = self.clock.now();
        self.turn(InjectedFault::None)?;
        let is_well = |wire: &Wire| wire.phone(Leg::A).options_status() == Some(200);
        while !is_well(&self.wire) && self.clock.now().since(mended) < PATIENCE {
            self.wire.ask();
            // Late means: not well yet.
            let _well = self.wire.run_until(ASK_EVERY, is_well);
        }
        let took = millis(mended, self.clock.now());
        page.check(
            is_well(&self.wire),
            format!("OPTIONS is answered 200 again after {took:.0} ms"),
        );
        self.figures.mended_ms = Some(took);
        self.connect()?;
        let call_id = self.talk(SOME_PACKETS)?;
        self.wire.hang_up();
        self.until("the call to end", |wire| {
            Leg::BOTH.iter().all(|leg| wire.phone(*leg).is_idle())
        })?;
        let layout = &self.layout;
        let recording = await_some(self.clock, PATIENCE, || Recording::find(layout, &call_id));
        let recording = recording.ok_or_else(|| Broken::new("the call was not sealed"))?;
        let manifest = recording.call.manifest();
        let (stored, heard) = (manifest.reconciliation.stored, self.wire.trace().heard());
        page.check(
            manifest.outcome == Outcome::Recorded && stored == heard as u64,
            format!("calls are taken and recorded again: {heard} packets heard = {stored} stored"),
        );
        Ok(())
    }

    fn take_stock(&mut self, page: &mut Page) -> Result<(), Broken> {
        page.act("The archive: what `onrecord calls list` prints");
        let layout = &self.layout;
        let all = await_some(self.clock, PATIENCE, || (layout.sealed().len() >= 4).then_some(()));
        let ended = match self.proxy.take() {
            Some(proxy) => proxy.end()?,
            None => return Err(Broken::new("the proxy is gone")),
        };
        page.text(&calls::listed(&self.data));
        self.figures.outcomes = calls::outcomes(&self.data);
        let expected = [Outcome::Recorded, Outcome::Faulted, Outcome::Blocked, Outcome::Recorded];
        page.check(
            all.is_some() && self.figures.outcomes == expected,
            "every call left its record: recorded, faulted, blocked, recorded",
        );
        let summary = verify::check(&self.layout).map_err(|error| Broken::new(error.to_string()))?;
        page.check(
            summary.ok && summary.calls == 4,
            summary.finding.map_or_else(
                || {
                    format!(
                        "`onrecord verify`: {} calls, {} packets, all as they were written",
                        summary.calls, summary.packets
                    )
                },
                |finding| format!("{}: {}", finding.file.display(), finding.error),
            ),
        );
        page.check(
            ended.success(),
            format!("`onrecord serve`, told to end, ended in good order ({ended})"),
        );
        Ok(())
    }

    fn turn(&self, fault: InjectedFault) -> Result<(), Broken> {
        match self.proxy()?.ask(&Request::Fault { volume: None, fault })? {
            Reply::Done => Ok(()),
            reply => Err(Broken::new(format!("the fault switch: {reply:?}"))),
        }
    }

    fn proxy(&self) -> Result<&Proxy, Broken> {
        self.proxy.as_ref().ok_or_else(|| Broken::new("the proxy is gone"))
    }
}

const fn name(leg: Leg) -> &'static str {
    match leg {
        Leg::A => "Alice",
        Leg::B => "Bob",
    }
}

fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64() * 1000.0
}
