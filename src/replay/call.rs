//! One call of a capture: what is known of it, and who speaks for its parties.

use std::net::SocketAddr;
use std::time::Duration;

use super::binding::Bound;
use super::capture::Captured;
use super::script::Script;
use super::sources::{Source, Sources};
use super::streams::Streams;
use crate::media::Evidence;
use crate::model::{Leg, Remote, Timestamp};
use crate::rtp::{WireKind, is_handshake, is_stun};
use crate::sip::Method;

/// A call, or a request outside any, with what follows under its Call-ID.
pub(crate) struct Call {
    pub call_id: String,
    /// Where its first message went to.
    pub called: SocketAddr,
    pub from: String,
    pub to: String,
    pub started: Timestamp,
    /// How much later than it was captured it began in virtual time.
    pub shift: Duration,
    /// Capture time of its last message.
    pub last: Timestamp,
    /// INVITE, or what began it outside any call.
    pub method: Method,
    pub script: Option<Box<Script>>,
    pub streams: Streams,
    /// What each party's payload types mean; the newest description counts.
    pub(super) formats: Vec<(Leg, u8, String)>,
    /// Where the media of each party comes from, on the hop that is played.
    pub sources: [Sources; 2],
    /// Packets to a party's address that the other one did not send: left out.
    pub foreign: u64,
    /// Where the proxy told each party to send to, m-line by m-line.
    pub relay: [Vec<Option<Remote>>; 2],
}

impl Call {
    /// The encoding's name, as whoever receives the payload type described it, else as who sends it did.
    pub(crate) fn codec(&self, sender: Leg, payload_type: u8) -> Option<&str> {
        [sender.other(), sender]
            .into_iter()
            .find_map(|leg| self.formats.iter().find(|(l, pt, _)| *l == leg && *pt == payload_type))
            .map(|(_, _, name)| name.as_str())
    }

    /// From where the proxy gets a datagram, as it knows its sender. None: its sender is no party, which is counted.
    /// `is_vouched`: it was recorded as the party's.
    pub(super) fn source_of(
        &mut self,
        bound: &Bound,
        kind: WireKind,
        (captured, bytes): (&Captured<'_>, &[u8]),
        is_vouched: bool,
    ) -> Option<SocketAddr> {
        let (to, sources) = ((bound.line, bound.is_rtcp), &mut self.sources[bound.sender.index()]);
        // Of whoever tries a way or greets, which is no media.
        let is_greeting =
            kind == WireKind::Other && (is_stun(bytes) || sources.is_rtp(bound.line) && is_handshake(bytes));
        // What went elsewhere than the other party said is no sign of who sends to where it said.
        if is_vouched || !bound.is_played || !bound.is_addressed || is_greeting {
            return Some(sources.agreed(to).unwrap_or(captured.src));
        }
        let evidence = match sources.medium(bound.line) {
            _ if bound.is_rtcp => Evidence::Nothing,
            medium => Evidence::of(medium, kind == WireKind::Rtcp, captured.at, bytes),
        };
        match sources.admit(to, captured.src, evidence) {
            Source::Party(known) => Some(known),
            Source::Foreign => {
                self.foreign += 1;
                None
            }
        }
    }
}
