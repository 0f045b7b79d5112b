//! The signalling that a recording keeps, and the rungs of the ladder.

use std::collections::VecDeque;

use bytes::Bytes;

use super::output::{Output, Step, StepKind};
use crate::model::{Direction, Leg, Mark, RecordingCommand, SessionId, SignalPath, Timestamp};
use crate::sip::Flow;

/// Characters of a start line that a rung shows.
const START_LINE_MAX: usize = 200;

/// Where a call's messages are written down.
#[derive(Clone, Copy, Debug)]
pub struct Chronicle {
    session: SessionId,
    /// A recording of this call is open.
    kept: bool,
    /// Somebody reads the ladder.
    steps: bool,
}

impl Chronicle {
    pub const fn new(session: SessionId, steps: bool) -> Self {
        Self {
            session,
            kept: false,
            steps,
        }
    }

    /// From here on the recorder keeps what is written down, or no longer.
    pub const fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    pub fn message(
        &self,
        at: Timestamp,
        leg: Leg,
        direction: Direction,
        flow: Flow,
        bytes: &Bytes,
        out: &mut VecDeque<Output>,
    ) {
        if self.kept {
            let tcp = flow.transport.is_stream();
            let path = SignalPath {
                leg,
                direction,
                peer: flow.remote,
                local: flow.local,
                tcp,
            };
            let bytes = bytes.clone();
            out.push_back(Output::Recording(RecordingCommand::Signal {
                session: self.session,
                at,
                path,
                bytes,
            }));
        }
        if self.steps {
            let start_line = start_line(bytes);
            out.push_back(self.rung(
                at,
                StepKind::Sip {
                    leg,
                    direction,
                    start_line,
                },
            ));
        }
    }

    pub fn mark(&self, at: Timestamp, mark: Mark, out: &mut VecDeque<Output>) {
        if self.kept {
            out.push_back(Output::Recording(RecordingCommand::Mark {
                session: self.session,
                at,
                mark,
            }));
        }
    }

    pub fn step(&self, at: Timestamp, what: StepKind, out: &mut VecDeque<Output>) {
        if self.steps {
            out.push_back(self.rung(at, what));
        }
    }

    const fn rung(&self, at: Timestamp, what: StepKind) -> Output {
        Output::Step(Step {
            at,
            session: self.session,
            what,
        })
    }
}

fn start_line(message: &[u8]) -> String {
    let end = memchr::memchr2(b'\r', b'\n', message)
        .unwrap_or(message.len())
        .min(START_LINE_MAX);
    String::from_utf8_lossy(message.get(..end).unwrap_or_default()).into_owned()
}
