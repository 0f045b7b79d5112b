//! Watches over the threads, answers signals and the control socket, and ends everything in order.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use super::clock::Clock;
use super::control::{Question, Reply, Request};
use super::drain::{Drain, DrainOrder};
use super::fault_switch::FaultSwitches;
use super::file_reader::FileReader;
use super::neighbours::Neighbours;
use super::pause;
use super::policies::{Policies, Reload, concise};
use super::policy_watch::PolicyWatch;
use super::status::Status;
use super::threads::Threads;
use super::tls::Contexts;
use super::tls_watch::TlsWatch;
use super::vitals::Watch;
use crate::engine::Input;
use crate::model::{Generation, RecordingEvent, Timestamp};
use crate::policy::{Format, render};

/// How often the threads are looked at: a recorder that hangs is told of within `lag_max` and this.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long signalling has to take an event: it does so in microseconds, or hangs.
const TELL_MAX: Duration = Duration::from_secs(1);

/// How long files may take to be read; a reload that takes longer is refused.
const READ_MAX: Duration = Duration::from_secs(5);

const NOT_READ: &str = "files are not read in time: the disk hangs\n";

pub(super) struct Supervisor {
    pub clock: Clock,
    pub files: FileReader,
    pub threads: Threads,
    pub policies: Policies,
    pub neighbours: Neighbours,
    pub policy_watch: PolicyWatch,
    pub certificates: TlsWatch,
    pub recorder: Watch,
    pub questions: mpsc::Receiver<Question>,
    /// None unless `serve` was started with `--allow-faults`.
    pub switches: Option<FaultSwitches>,
    /// What does not change.
    pub about: Status,
    pub drain: Option<Drain>,
}

/// Why the supervisor ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// SIGTERM or SIGINT, or drained.
    Asked,
    /// The next start takes the calls over.
    HandedOver,
    /// A thread without which no call can be carried is gone.
    Broken(&'static str),
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT"),
        }
    }
}

impl Supervisor {
    /// Runs until it is told to end, or cannot go on. Exit code 0 for an end in good order.
    pub(super) async fn run(mut self) -> io::Result<ExitCode> {
        let mut signals = Signals::new()?;
        let ending = self.watch(&mut signals).await;
        if let Ending::Broken(thread) = ending {
            tracing::error!(thread, "gone: calls cannot be carried in order any more, all are ended");
        }
        let farewell = self.farewell(ending);
        let in_order = tokio::select! {
            in_order = farewell => in_order,
            () = signals.end() => {
                tracing::warn!("told twice: ending at once");
                false
            }
        };
        match (ending, in_order) {
            (Ending::Asked | Ending::HandedOver, true) => Ok(ExitCode::SUCCESS),
            (Ending::Asked | Ending::HandedOver, false) => Ok(ExitCode::from(1)),
            (Ending::Broken(_), _) => Ok(ExitCode::from(2)),
        }
    }

    async fn watch(&mut self, signals: &mut Signals) -> Ending {
        let mut look_at = self.clock.now();
        loop {
            tokio::select! {
                () = sleep_until(self.clock.instant(look_at).into()) => {
                    let now = self.clock.now();
                    look_at = now + LOOK_EVERY;
                    if let Some(ending) = self.look(now).await {
                        return ending;
                    }
                }
                _ = signals.hang_up.recv() => {
                    tracing::info!("SIGHUP");
                    self.reload_all().await;
                }
                () = self.policy_watch.changed() => {
                    if let Err(_told) = self.reload_policies().await {
                        tracing::debug!("changed policy files were refused");
                    }
                }
                () = self.certificates.followed() => {}
                Some(question) = self.questions.recv() => {
                    let hands_over = matches!(question.request, Request::Drain { order: DrainOrder::HandOver });
                    self.answer(question).await;
                    if hands_over {
                        return Ending::HandedOver;
                    }
                }
                _ = signals.terminate.recv() => return Ending::Asked,
                _ = signals.interrupt.recv() => return Ending::Asked,
            }
        }
    }

    async fn look(&mut self, now: Timestamp) -> Option<Ending> {
        let alive = !self.threads.recorder.is_finished();
        if let Some(event) = self.recorder.look(now, alive) {
            match &event {
                RecordingEvent::Down { fault } => tracing::error!(%fault, alive, "recorder"),
                _ => tracing::warn!("the recorder gives signs of life again"),
            }
            self.tell(Input::Recording(event)).await;
        }
        if self.threads.signaling.is_finished() {
            return Some(Ending::Broken("sip"));
        }
        if self.threads.counters.listeners_lost.load(Relaxed) > 0 {
            return Some(Ending::Broken("a SIP listener"));
        }
        if self
            .drain
            .is_some_and(|drain| drain.is_over(now, self.threads.board.len()))
        {
            return Some(Ending::Asked);
        }
        self.threads.media_is_broken().then_some(Ending::Broken("media"))
    }

    /// Reads files, and watches over the threads meanwhile. None: not in time.
    async fn read<T: Send + 'static>(&mut self, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let latest = self.clock.now() + READ_MAX;
        let mut reading = self.files.ask(read)?;
        let mut look_at = self.clock.now() + LOOK_EVERY;
        while look_at < latest {
            tokio::select! {
                read = &mut reading => return read.ok(),
                () = sleep_until(self.clock.instant(look_at).into()) => {
                    let now = self.clock.now();
                    look_at = now + LOOK_EVERY;
                    // Whatever ends it is seen again by who looks next.
                    let _ending: Option<Ending> = self.look(now).await;
                }
            }
        }
        None
    }

    pub(super) async fn tell(&self, input: Input) {
        match timeout(TELL_MAX, self.threads.events.send(input)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::debug!("signalling is gone"),
            Err(_) => tracing::error!("signalling takes no events: it hangs"),
        }
    }

    /// Certificates on their own; the config's trunks and routes, and the policies: all of them or none. But trunks whose
    /// certificates cannot be used stay out, and hold back no policy.
    async fn reload_all(&mut self) -> Reply {
        let mut refusals = Vec::new();
        let Some(read) = self.read(self.certificates.look()).await else {
            return refused(&[NOT_READ]);
        };
        if let Err(error) = self.certificates.renew(read) {
            tracing::error!(%error, "certificates refused: those in force stay");
            refusals.push(format!("{error}\n"));
        }
        let read = match self.neighbours.look() {
            Some(look) => self.read(look).await.map(Some),
            None => Some(None),
        };
        let proposal = match read {
            None => return refused(&[NOT_READ]),
            Some(None) => None,
            Some(Some(Ok((config, findings)))) => Some(self.neighbours.propose(config, &findings)),
            Some(Some(Err(findings))) => {
                for finding in &findings {
                    tracing::error!("config refused: {}", concise(finding));
                }
                tracing::error!(findings = findings.len(), "config refused: what is in force stays");
                refusals.push(render(&findings, Format::Full));
                return refused(&refusals);
            }
        };
        let mut accepted = None;
        if let Some(proposal) = proposal {
            let config = self.neighbours.with(&proposal);
            let look = config.clone();
            match self.read(move || Contexts::load(&look)).await {
                None => return refused(&[NOT_READ]),
                Some(Ok(contexts)) => accepted = Some((proposal, config, contexts)),
                Some(Err(error)) => {
                    tracing::error!(%error, "trunks refused: those in force stay");
                    refusals.push(format!("trunks stay as they are: {error}\n"));
                }
            }
        }
        let generation = match self.reload_policies().await {
            Ok(generation) => generation,
            Err(why) => {
                refusals.push(why);
                return refused(&refusals);
            }
        };
        let (mut restart, mut warnings) = (Vec::new(), Vec::new());
        if let Some((proposal, config, contexts)) = accepted {
            self.certificates.adopt(config, contexts);
            warnings.clone_from(proposal.warnings());
            let (inputs, tables) = self.neighbours.adopt(proposal).await;
            restart = tables;
            self.policies.follow(self.neighbours.config());
            for input in inputs {
                self.tell(input).await;
            }
        }
        if refusals.is_empty() {
            return Reply::Reloaded {
                generation,
                restart,
                warnings,
            };
        }
        refusals.push(format!("policies: generation {generation} is in force\n"));
        refused(&refusals)
    }

    /// The generation in force, or why it stays.
    async fn reload_policies(&mut self) -> Result<Generation, String> {
        let Some(read) = self.read(self.policies.look()).await else {
            tracing::error!("policy files are not read in time: those in force stay");
            return Err(NOT_READ.to_owned());
        };
        match self.policies.adopt(read) {
            Reload::New(set) => self.tell(Input::Policies(set)).await,
            Reload::Same => {}
            Reload::Refused(findings) => return Err(render(&findings, Format::Full)),
        }
        Ok(self.policies.status().generation)
    }

    async fn answer(&mut self, question: Question) {
        let reply = match question.request {
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::Reload => self.reload_all().await,
            Request::Drain { order } => self.drain(order).await,
            Request::Pause { session, why } => pause::pause(&self.threads, &self.clock, session, why).await,
            Request::Resume { session } => pause::resume(&self.threads, &self.clock, session).await,
            Request::Fault { volume, fault } => match &self.switches {
                None => Reply::Refused {
                    why: "serve was started without --allow-faults".to_owned(),
                },
                Some(switches) if switches.turn(volume, fault) => {
                    tracing::warn!(?volume, ?fault, "fault switch turned by hand");
                    Reply::Done
                }
                Some(_) => Reply::Refused {
                    why: "no such volume".to_owned(),
                },
            },
        };
        self::reply(question.answer, reply);
    }

    async fn drain(&mut self, order: DrainOrder) -> Reply {
        match order {
            DrainOrder::UntilEmpty { within_ms } => {
                self.drain = Some(Drain::begin(self.clock.now(), within_ms));
                self.about.draining = true;
                self.tell(Input::Drain).await;
            }
            DrainOrder::Cancel => {
                self.drain = None;
                self.about.draining = false;
                self.tell(Input::Admit).await;
            }
            DrainOrder::HandOver => {}
        }
        let calls = self.threads.board.calls();
        let lost = match order {
            DrainOrder::HandOver => calls.iter().filter(|call| !call.survives).count(),
            DrainOrder::UntilEmpty { .. } | DrainOrder::Cancel => 0,
        };
        if lost > 0 {
            tracing::warn!(lost, "calls that are not in the dialog store are ended");
        }
        Reply::Draining {
            calls: calls.len() as u64,
            lost: lost as u64,
        }
    }

    fn status(&self) -> Status {
        Status {
            now: self.clock.now(),
            calls: self.threads.calls(),
            ailing: self.threads.ailing(),
            recorder: self.recorder.status(),
            policies: self.policies.status().clone(),
            sip: self.threads.counters.read(),
            registrations: self.threads.board.registrations(),
            media: self.threads.packets(),
            trunks: self.neighbours.status(),
            ..self.about.clone()
        }
    }

    /// A short wait in which the control socket is served. False when `latest` has come.
    pub(super) async fn pause_before(&mut self, latest: Timestamp) -> bool {
        let now = self.clock.now();
        let until = now + LOOK_EVERY / 10;
        tokio::select! {
            () = sleep_until(self.clock.instant(until).into()) => {}
            Some(question) = self.questions.recv() => match is_refused_at_the_end(&question.request) {
                true => reply(question.answer, refused(&["serve is ending\n"])),
                false => self.answer(question).await,
            }
        }
        now < latest
    }
}

/// Calls that are being ended are not waited for, and no call is admitted again.
const fn is_refused_at_the_end(request: &Request) -> bool {
    matches!(request, Request::Drain { .. })
}

fn refused<S: AsRef<str>>(refusals: &[S]) -> Reply {
    let texts: Vec<&str> = refusals.iter().map(AsRef::as_ref).collect();
    Reply::Refused { why: texts.join("\n") }
}

fn reply(to: oneshot::Sender<Reply>, reply: Reply) {
    if to.send(reply).is_err() {
        tracing::debug!("the client did not wait for its answer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_has_begun_is_not_taken_back_and_status_is_told_all_along() {
        for order in [
            DrainOrder::Cancel,
            DrainOrder::HandOver,
            DrainOrder::UntilEmpty { within_ms: None },
        ] {
            assert!(is_refused_at_the_end(&Request::Drain { order }));
        }
        assert!(!is_refused_at_the_end(&Request::Status));
    }
}
