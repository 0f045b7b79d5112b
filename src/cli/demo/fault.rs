//! The acts in which the recorder is broken, and mended.

use std::time::Duration;

use super::Broken;
use super::acts::{PATIENCE, SETTLE, SOME_PACKETS, Stage, millis};
use super::page::Page;
use super::wire::Wire;
use crate::engine::{Step, StepKind, ladder};
use crate::live::InjectedFault;
use crate::live::control::{Reply, Request};
use crate::model::{Fault, Leg, Outcome, SessionId, Timestamp};

/// From the failing write to the BYEs, at most: strict mode is worth no more than it is quick.
const BYES_MAX: Duration = Duration::from_millis(250);

/// Packets that each phone sends after its call was ended.
const RUDE_PACKETS: usize = 10;

/// How often a dispatcher would ask.
const ASK_EVERY: Duration = Duration::from_millis(100);

impl Stage {
    pub(super) fn break_recorder(&mut self, page: &mut Page) -> Result<(), Broken> {
        page.act("They talk again, and every write to the volume fails (EIO, on purpose)");
        self.connect()?;
        self.wire.talk(usize::MAX);
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
                    "{} got BYE {:.1} ms after the failing write (at most: {} ms), {}",
                    name(leg),
                    took.unwrap_or(f64::NAN),
                    BYES_MAX.as_millis(),
                    reason.map_or("no Reason", |_| "Reason: SIP;cause=503")
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
            format!(
                "{sent} packets said after the BYE, {heard} got through; the last that did was said {newest} that write"
            ),
        );
    }

    pub(super) fn be_refused(&mut self, page: &mut Page) -> Result<(), Broken> {
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

    pub(super) fn mend_recorder(&mut self, page: &mut Page) -> Result<(), Broken> {
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
        let recording = self.converse(SOME_PACKETS)?;
        let manifest = recording.call.manifest();
        let (stored, heard) = (manifest.reconciliation.stored, self.wire.trace().heard());
        page.check(
            manifest.outcome == Outcome::Recorded && stored == heard as u64,
            format!("calls are taken and recorded again: {heard} packets heard = {stored} stored"),
        );
        Ok(())
    }

    fn turn(&self, fault: InjectedFault) -> Result<(), Broken> {
        match self.proxy()?.ask(&Request::Fault { volume: None, fault })? {
            Reply::Done => Ok(()),
            reply => Err(Broken::new(format!("the fault switch: {reply:?}"))),
        }
    }
}

const fn name(leg: Leg) -> &'static str {
    match leg {
        Leg::A => "Alice",
        Leg::B => "Bob",
    }
}
