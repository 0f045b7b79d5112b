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
use crate::disk::{Layout, Unreadable};
use crate::engine::ladder;
use crate::live::clock::Clock;
use crate::model::{Leg, Outcome, Timestamp};

/// Longest wait for anything that takes milliseconds when all is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A packet still under way arrives within this.
pub(super) const SETTLE: Duration = Duration::from_millis(200);

/// Packets of each phone before the recorder breaks, and of the call after it was mended.
pub(super) const SOME_PACKETS: usize = 50;

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
    pub(super) bye_ms: [Option<f64>; 2],
    /// From mending the volume to the first 200 for OPTIONS.
    pub(super) mended_ms: Option<f64>,
    /// Outcomes of all calls, in order.
    outcomes: Vec<&'static str>,
}

pub(super) struct Stage {
    pub(super) clock: Clock,
    data: PathBuf,
    layout: Layout,
    /// Until it is told to end.
    proxy: Option<Proxy>,
    pub(super) wire: Wire,
    pub(super) figures: Figures,
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
            layout: Layout {
                data: data.to_owned(),
                volumes: vec![data.join("spool")],
            },
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
        self.play_through(page)
            .map_err(|broken| match self.proxy.as_mut().and_then(Proxy::ended) {
                Some(status) => Broken::new(format!("the proxy has ended ({status}): {}", broken.why)),
                None => broken,
            })
    }

    fn play_through(&mut self, page: &mut Page) -> Result<(), Broken> {
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
        let mut recording = self.converse(packets)?;
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
    pub(super) fn connect(&mut self) -> Result<(), Broken> {
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

    /// A whole call with so many packets from each, and its recording.
    pub(super) fn converse(&mut self, packets: usize) -> Result<Recording, Broken> {
        self.connect()?;
        let call_id = self.wire.phone(Leg::A).call_id().unwrap_or_default().to_owned();
        self.wire.talk(packets);
        let long = PATIENCE + PACKET_EVERY * packets as u32;
        let spoken = self.wire.run_until(long, |wire| wire.spoken() >= packets);
        self.wire.fall_silent();
        spoken.map_err(|_| Broken::new("the phones could not keep pace"))?;
        // The last packet is heard to its end before anybody hangs up. What is lost shows in the counts.
        let _nobody_speaks = self.wire.run_until(SETTLE, |_| false);
        self.wire.hang_up();
        self.until("the call to end", |wire| {
            Leg::BOTH.iter().all(|leg| wire.phone(*leg).is_idle())
        })?;
        let layout = &self.layout;
        let recording = await_some(self.clock, PATIENCE, || Recording::find(layout, &call_id));
        recording.ok_or_else(|| Broken::new("the call was not sealed"))
    }

    pub(super) fn until(&mut self, what: &str, is_so: impl Fn(&Wire) -> bool) -> Result<(), Broken> {
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
        let wav = export::sound(&mut recording.call, &file, None, export::Form::Wav)
            .map_err(|error| Broken::new(error.to_string()))?;
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

    fn take_stock(&mut self, page: &mut Page) -> Result<(), Broken> {
        page.act("The archive: what `onrecord calls list` prints");
        let layout = &self.layout;
        let all = await_some(self.clock, PATIENCE, || {
            layout.sealed().ok().filter(|sealed| sealed.calls.len() >= 4)
        });
        let ended = match self.proxy.take() {
            Some(proxy) => proxy.end()?,
            None => return Err(Broken::new("the proxy is gone")),
        };
        let unreadable = |why: Unreadable| Broken::new(why.to_string());
        page.text(&calls::listed(layout).map_err(unreadable)?);
        self.figures.outcomes = calls::outcomes(layout).map_err(unreadable)?;
        let expected = ["recorded", "faulted", "blocked", "recorded"];
        page.check(
            all.is_some() && self.figures.outcomes == expected,
            "every call left its record: recorded, faulted, blocked, recorded",
        );
        let summary = verify::check(&self.layout);
        page.check(
            summary.ok && summary.calls == 4,
            summary.findings.first().map_or_else(
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

    pub(super) fn proxy(&self) -> Result<&Proxy, Broken> {
        self.proxy.as_ref().ok_or_else(|| Broken::new("the proxy is gone"))
    }
}

pub(super) fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64() * 1000.0
}
