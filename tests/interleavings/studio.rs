//! The recorder and the relay, played: they answer as the script says, late, never, or with a fault.

use std::time::Duration;

use onrecord::model::{
    Fault, Leg, MediaCommand, MediaEvent, Notice, NoticeKind, Reconciliation, Recorded, RecordingCommand,
    RecordingEvent, SessionId, Tally, Timestamp,
};

use super::process::FOREWORD;
use super::script::{self, Trouble};

#[derive(Clone, Debug)]
pub enum Said {
    Recording(RecordingEvent),
    Media(MediaEvent),
}

impl Said {
    /// Of a fault: the recording that it concerns, or all.
    pub const fn fault(&self) -> Option<Option<SessionId>> {
        match self {
            Self::Recording(RecordingEvent::Down { .. }) => Some(None),
            Self::Recording(RecordingEvent::Faulted { session, .. })
            | Self::Media(MediaEvent::Refused { session, .. }) => Some(Some(*session)),
            _ => None,
        }
    }
}

/// What will be said, after how long. What the recorder promised before it went down it does not say any more.
#[derive(Clone, Debug)]
pub struct Promise {
    pub after: Duration,
    pub said: Said,
    pub age: u32,
}

#[derive(Debug)]
struct Relay {
    session: SessionId,
    lines: usize,
    recorded: Recorded,
}

#[derive(Debug)]
pub struct Studio {
    script: script::Studio,
    pub up: bool,
    pub hung: bool,
    pub age: u32,
    no_port: bool,
    /// Open recordings, and whether they are ready.
    tapes: Vec<(SessionId, bool)>,
    relays: Vec<Relay>,
    /// Asked of a recorder that hangs.
    held: Vec<RecordingCommand>,
    pub promises: Vec<Promise>,
}

fn prompt_over(session: SessionId, leg: Leg) -> MediaEvent {
    let notice = Box::new(Notice {
        leg,
        line: 0,
        kind: NoticeKind::Prompt,
        name: "prompt".to_owned(),
        from: Timestamp::ZERO,
        until: Timestamp::ZERO,
        packets: 20,
        whole: true,
    });
    MediaEvent::Noticed { session, notice }
}

impl Studio {
    pub fn new(script: script::Studio) -> Self {
        Self {
            no_port: script.bind_fails,
            script,
            up: true,
            hung: false,
            age: 0,
            tapes: Vec::new(),
            relays: Vec::new(),
            held: Vec::new(),
            promises: Vec::new(),
        }
    }

    /// The process that it was a part of is gone.
    pub fn restart(&mut self) {
        (self.up, self.hung) = (true, false);
        self.age += 1;
        self.tapes.clear();
        self.relays.clear();
        self.held.clear();
    }

    /// Recordings and relays that nobody closed.
    pub fn open(&self) -> (usize, usize) {
        (self.tapes.len(), self.relays.len())
    }

    fn promise(&mut self, after: Duration, said: Said) {
        let age = self.age;
        self.promises.push(Promise { after, said, age });
    }

    pub fn on_recording(&mut self, command: RecordingCommand) {
        if self.hung {
            self.held.push(command);
            return;
        }
        match command {
            RecordingCommand::Open(header) => {
                let session = header.session;
                if self.tapes.iter().any(|(tape, _)| *tape == session) {
                    return;
                }
                let fails = if self.up {
                    self.script.open_fails.then_some(Fault::Reserve)
                } else {
                    Some(Fault::Io)
                };
                let event = match fails {
                    Some(fault) => RecordingEvent::OpenFailed { session, fault },
                    None => {
                        self.tapes.push((session, false));
                        RecordingEvent::Ready { session }
                    }
                };
                if let Some(after) = self.script.ready_after {
                    self.promise(after, Said::Recording(event));
                }
            }
            RecordingCommand::Close { session, closing, .. } => {
                self.tapes.retain(|(tape, _)| *tape != session);
                let accepted = closing.tally.as_ref().map_or(0, |tally| tally.accepted);
                let reconciliation = Box::new(Reconciliation {
                    accepted,
                    stored: accepted,
                    ..Reconciliation::default()
                });
                if let Some(after) = self.script.sealed_after {
                    self.promise(
                        after,
                        Said::Recording(RecordingEvent::Sealed {
                            session,
                            reconciliation,
                        }),
                    );
                }
            }
            RecordingCommand::Keep { header, .. } => self.tapes.retain(|(tape, _)| *tape != header.session),
            RecordingCommand::Signal { .. } | RecordingCommand::Mark { .. } => {}
        }
    }

    /// A promise is kept now.
    pub fn on_said(&mut self, said: &Said) {
        if let Said::Recording(RecordingEvent::Ready { session }) = said {
            let opened = self.tapes.iter_mut().filter(|(tape, _)| tape == session);
            opened.for_each(|(_, ready)| *ready = true);
        }
    }

    pub fn on_media(&mut self, command: &MediaCommand) {
        match command {
            MediaCommand::Open(plan) | MediaCommand::Modify(plan) => {
                let (session, lines) = (plan.session, plan.lines.len());
                let known = self.relays.iter().position(|relay| relay.session == session);
                let new = known.is_none_or(|at| self.relays[at].lines < lines);
                if matches!(command, MediaCommand::Modify(_)) && known.is_none() {
                    return;
                }
                let local = plan.lines[0].a.local;
                if new && std::mem::take(&mut self.no_port) {
                    if known.is_some() {
                        // What it says keeps its order.
                        self.promise(Duration::ZERO, Said::Media(MediaEvent::Opened { session }));
                    }
                    self.promise(Duration::ZERO, Said::Media(MediaEvent::OpenFailed { session, local }));
                    return;
                }
                let relay = Relay {
                    session,
                    lines,
                    recorded: plan.recorded,
                };
                match known {
                    Some(at) => self.relays[at] = relay,
                    None => self.relays.push(relay),
                }
                if let Some(after) = self.script.opened_after {
                    self.promise(after, Said::Media(MediaEvent::Opened { session }));
                }
            }
            MediaCommand::Close { session } => {
                let before = self.relays.len();
                self.relays.retain(|relay| relay.session != *session);
                let tally = Box::new(Tally {
                    accepted: self.script.accepted,
                    forwarded: self.script.accepted,
                    ..Tally::default()
                });
                if let Some(after) = self.script.closed_after.filter(|_| self.relays.len() < before) {
                    self.promise(
                        after,
                        Said::Media(MediaEvent::Closed {
                            session: *session,
                            tally,
                        }),
                    );
                }
            }
            MediaCommand::Notice(plan) if !self.script.breaks_off_prompts => {
                for leg in Leg::BOTH {
                    let prompted = plan.legs[leg.index()]
                        .as_ref()
                        .is_some_and(|told| told.prompt.is_some());
                    if prompted {
                        self.promise(FOREWORD, Said::Media(prompt_over(plan.session, leg)));
                    }
                }
            }
            MediaCommand::Gate { .. } | MediaCommand::Notice(_) | MediaCommand::Pausing { .. } => {}
        }
    }

    /// What signalling is told of a trouble, at once.
    pub fn on_trouble(&mut self, trouble: Trouble) -> Option<Said> {
        match trouble {
            Trouble::Down if self.up && !self.hung => {
                self.up = false;
                self.age += 1;
                Some(Said::Recording(RecordingEvent::Down { fault: Fault::Io }))
            }
            Trouble::Up if !self.up && !self.hung => {
                self.up = true;
                Some(Said::Recording(RecordingEvent::Up))
            }
            Trouble::Faulted if self.up && !self.hung => {
                let (session, _) = *self.tapes.iter().rfind(|(_, ready)| *ready)?;
                Some(Said::Recording(RecordingEvent::Faulted {
                    session,
                    fault: Fault::ShortWrite,
                }))
            }
            Trouble::Hangs => {
                self.hung = true;
                self.age += 1;
                None
            }
            Trouble::Wakes if self.hung => {
                self.hung = false;
                for command in std::mem::take(&mut self.held) {
                    self.on_recording(command);
                }
                None
            }
            Trouble::Refused => {
                let relay = self.relays.iter().find(|relay| relay.recorded != Recorded::No)?;
                Some(Said::Media(MediaEvent::Refused {
                    session: relay.session,
                    fault: Fault::PoolEmpty,
                }))
            }
            Trouble::NoPort => {
                self.no_port = true;
                None
            }
            _ => None,
        }
    }
}
