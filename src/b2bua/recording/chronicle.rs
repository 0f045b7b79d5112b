//! The signalling that a recording keeps, and the rungs of the ladder.

use std::collections::VecDeque;

use bytes::Bytes;

use super::discretion::without_words;
use crate::b2bua::output::{Output, Step, StepKind};
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
    /// It is paused: nothing that somebody says is kept.
    withheld: bool,
    /// Nothing that who is at leg A, at leg B says is kept.
    left_out: [bool; 2],
    /// Somebody reads the ladder.
    steps: bool,
}

impl Chronicle {
    pub const fn new(session: SessionId, steps: bool) -> Self {
        Self {
            session,
            kept: false,
            withheld: false,
            left_out: [false; 2],
            steps,
        }
    }

    pub const fn leave_out(&mut self, legs: [bool; 2]) {
        self.left_out = legs;
    }

    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// From here on the recorder keeps what is written down, or no longer.
    pub const fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    pub const fn withhold(&mut self, withheld: bool) {
        self.withheld = withheld;
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
            let bytes = without_keys(&without_proof(bytes));
            let author = match direction {
                Direction::Received => leg,
                Direction::Sent => leg.other(),
            };
            let bytes = if self.withheld || self.left_out[author.index()] {
                without_words(&bytes)
            } else {
                Some(bytes)
            };
            let Some(bytes) = bytes else { return };
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

    /// Another decision holds from here on: for the ladder, and for a recording that is open already.
    pub fn decided(&self, at: Timestamp, decided: String, out: &mut VecDeque<Output>) {
        self.mark(at, Mark::Note(format!("decided anew: {decided}")), out);
        self.step(at, StepKind::Decided(decided), out);
    }

    pub fn is_kept(&self) -> bool {
        self.kept
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

/// A message as a recording keeps it: what proves that somebody knows a password is blanked, for who may hear calls may not
/// guess it at leisure (RFC 7616 §3.4.1 `response`). The length stays.
fn without_proof(message: &Bytes) -> Bytes {
    let mut kept: Option<Vec<u8>> = None;
    // Empty lines may stand before the start line (RFC 3261 §7.5).
    let start = message.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let (mut at, mut proves) = (start.unwrap_or(message.len()), false);
    while let Some(rest) = message.get(at..).filter(|rest| is_in_head(rest)) {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let line = rest.get(..end).unwrap_or_default();
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            proves = is_credentials(line);
        }
        if proves && let Some(proof) = proof_in(line) {
            let copy = kept.get_or_insert_with(|| message.to_vec());
            if let Some(digits) = copy.get_mut(at + proof.start..at + proof.end) {
                digits.fill(b'x');
            }
        }
        at += end;
    }
    kept.map_or_else(|| message.clone(), Bytes::from)
}

/// A message as a recording keeps it: the keys of its media are blanked (RFC 4568 §6.1 `inline`, RFC 4566 §5.12 `k=`, RFC 4567
/// §3.1). What is recorded is clear, and who may hear one call may not open what somebody else captured of it. The length stays.
fn without_keys(message: &Bytes) -> Bytes {
    let Some(head) = memchr::memmem::find(message, b"\r\n\r\n") else {
        return message.clone();
    };
    let mut kept: Option<Vec<u8>> = None;
    let mut blanked = 0;
    for at in memchr::memchr_iter(b':', &message[head..]).map(|at| head + at) {
        let begins = |name: &[u8]| {
            let start = (at + 1).checked_sub(name.len());
            start
                .and_then(|start| message.get(start..=at))
                .is_some_and(|word| word.eq_ignore_ascii_case(name))
        };
        let ends: &[u8] = if at < blanked {
            continue;
        } else if begins(b"inline:") {
            b"|; \t\r\n"
        } else if begins(b"\nk=clear:") || begins(b"\nk=base64:") || begins(b"\na=key-mgmt:") {
            b"\r\n"
        } else {
            continue;
        };
        let rest = message.get(at + 1..).unwrap_or_default();
        blanked = at + 1 + rest.iter().position(|byte| ends.contains(byte)).unwrap_or(rest.len());
        if let Some(key) = kept.get_or_insert_with(|| message.to_vec()).get_mut(at + 1..blanked) {
            key.fill(b'x');
        }
    }
    kept.map_or_else(|| message.clone(), Bytes::from)
}

fn is_in_head(rest: &[u8]) -> bool {
    !rest.is_empty() && !rest.starts_with(b"\r\n")
}

fn is_credentials(line: &[u8]) -> bool {
    if !matches!(line.first(), Some(b'A' | b'a' | b'P' | b'p')) {
        return false;
    }
    let colon = memchr::memchr(b':', line).unwrap_or_default();
    let name = line.get(..colon).unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(b"Authorization") || name.eq_ignore_ascii_case(b"Proxy-Authorization")
}

/// Where the value of `response` stands, without its quotes.
fn proof_in(line: &[u8]) -> Option<std::ops::Range<usize>> {
    const NAME: &[u8] = b"response";
    let name = line
        .windows(NAME.len())
        .position(|word| word.eq_ignore_ascii_case(NAME))?
        + NAME.len();
    let start = name + line.get(name..)?.iter().position(|byte| !b" \t=\"".contains(byte))?;
    let end = start
        + line
            .get(start..)?
            .iter()
            .position(|byte| b"\", \t\r\n".contains(byte))?;
    Some(start..end)
}

fn start_line(message: &[u8]) -> String {
    let end = memchr::memchr2(b'\r', b'\n', message)
        .unwrap_or(message.len())
        .min(START_LINE_MAX);
    String::from_utf8_lossy(message.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_keeps_no_key_of_its_media_however_it_is_written() {
        let message = Bytes::from_static(
            b"INVITE sip:b@c SIP/2.0\r\n\r\nv=0\r\nk=base64:c2VjcmV0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:WVNfX19z|2^20|1:4;Inline:MTIz\
              \r\na=crypto:2 X INLINE:Zm9v\r\na=key-mgmt:mikey AQAF\r\na=x:inline:inline:a",
        );
        let kept = without_keys(&message);
        let text = std::str::from_utf8(&kept).expect("text");
        let wanted = "k=base64:xxxxxxxx\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:xxxxxxxx|2^20|1:4;Inline:xxxx\r\na=crypto:2 X INLINE:xxxx\r\n\
                      a=key-mgmt:xxxxxxxxxx\r\na=x:inline:xxxxxxxx";
        assert!(text.ends_with(wanted), "{text}");
        assert_eq!(kept.len(), message.len());
    }

    #[test]
    fn a_recording_keeps_no_proof_of_a_password_however_it_is_written() {
        let message = Bytes::from_static(
            b"INVITE sip:b@c SIP/2.0\r\nAuthorization: Digest username=\"a\", response=\"0123456789abcdef\", realm=\"r\"\r\n\
              proxy-authorization : Digest a=\"b\",\r\n Response = \"feed\"\r\nSubject: response=\"kept\"\r\n\r\nresponse=\"body\"",
        );
        let kept = without_proof(&message);
        let text = std::str::from_utf8(&kept).expect("text");
        assert!(text.contains("response=\"xxxxxxxxxxxxxxxx\", realm"), "{text}");
        assert!(text.contains("Response = \"xxxx\"\r\n"), "{text}");
        assert!(
            text.contains("Subject: response=\"kept\"") && text.ends_with("response=\"body\""),
            "{text}"
        );
        assert_eq!(kept.len(), message.len());
    }
}
