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

    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// From here on the recorder keeps what is written down, or no longer.
    pub const fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    /// For the recording alone.
    pub fn signal(
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
        self.signal(at, leg, direction, flow, bytes, out);
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

/// A message of ours as a recording keeps it: what proves that we know a trunk's password is blanked, for who may hear
/// calls may not guess it at leisure. The length stays.
pub fn without_proof(message: &Bytes) -> Bytes {
    let head = memchr::memmem::find(message, b"\r\n\r\n").unwrap_or(message.len());
    let mut kept: Option<Vec<u8>> = None;
    for at in memchr::memmem::find_iter(message.get(..head).unwrap_or_default(), b"response=\"") {
        let line = message.get(..at).unwrap_or_default();
        let line = line
            .get(memchr::memrchr(b'\n', line).map_or(0, |end| end + 1)..)
            .unwrap_or_default();
        if !line.starts_with(b"Authorization:") && !line.starts_with(b"Proxy-Authorization:") {
            continue;
        }
        let digits = kept.get_or_insert_with(|| message.to_vec());
        for digit in digits
            .iter_mut()
            .skip(at + "response=\"".len())
            .take_while(|digit| **digit != b'"')
        {
            *digit = b'x';
        }
    }
    kept.map_or_else(|| message.clone(), Bytes::from)
}

fn start_line(message: &[u8]) -> String {
    let end = memchr::memchr2(b'\r', b'\n', message)
        .unwrap_or(message.len())
        .min(START_LINE_MAX);
    String::from_utf8_lossy(message.get(..end).unwrap_or_default()).into_owned()
}
