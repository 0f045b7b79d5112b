//! The calls of a capture: who calls whom, what each party described, which datagrams are whose.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::binding::{Bindings, CallIndex, Declared};
use super::blocks::Provenance;
use super::call::Call;
use super::capture::Captured;
use super::dialogs::Dialogs;
use super::far_leg::FarLegs;
use super::flaw::FlawKind;
use super::naming::Referrals;
use super::script::{Line, Script, Sighting, opens};
use super::streams::Streams;
use super::unkeyed::Unkeyed;
use crate::model::{Leg, Ssrc, Timestamp};
use crate::rtp::{RtpHeader, WireKind, classify};
use crate::sdp::SessionDescription;
use crate::sip::{Headers, Message, Method, ParseError, Transport};

/// Calls that are replayed from one capture; the rest is named.
const CALLS_MAX: usize = 100_000;
/// Calls that are counted whose INVITE is not in the capture.
const BEGUN_BEFORE_MAX: usize = 10_000;
/// Payload formats that are remembered per call.
const FORMATS_MAX: usize = 64;
/// An INVITE is in flight for so long after the last that was heard of it (Timer B).
const ATTEMPT_MAX: Duration = Duration::from_secs(32);

/// Where the phones of all calls are, seen from the proxy (RFC 5737): every call has its own ports.
pub(crate) const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const CALLEE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const FIRST_PORT: u32 = 10_000;
const PORTS: u32 = 50_000;

/// How many of what were read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// SIP messages, retransmissions and other dialogs too.
    pub sip: u64,
    /// RTP packets that an SDP binds to a call.
    pub rtp: u64,
    /// RTCP packets that an SDP binds to a call.
    pub rtcp: u64,
}

impl Counts {
    const fn count_foreign(&mut self, kind: WireKind) {
        match kind {
            WireKind::Rtp => self.rtp += 1,
            WireKind::Rtcp => self.rtcp += 1,
            WireKind::Other => {}
        }
    }
}

/// A datagram as the proxy gets it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Play {
    pub call: CallIndex,
    pub sender: Leg,
    /// The sender's signalled address: bound by SDP, it comes from there, whatever a NAT made of it.
    pub from: SocketAddr,
    /// The proxy's.
    pub local: SocketAddr,
    /// Of an RTP packet.
    pub ssrc: Option<Ssrc>,
}

/// What a captured SIP message means.
pub(crate) struct Heard {
    pub call: CallIndex,
    /// What the phones say because of it.
    pub lines: Vec<Line>,
    /// It cannot be read; the proxy gets it as it is, to refuse it.
    pub refused: Option<FlawKind>,
}

#[derive(Default)]
pub(crate) struct Calls {
    calls: Vec<Call>,
    pub(super) dialogs: Dialogs,
    bindings: Bindings,
    /// Call-IDs of calls whose INVITE is not in the capture.
    begun_before: BTreeSet<String>,
    pub counts: Counts,
    pub(super) referrals: Referrals,
    /// Only in what we exported.
    pub far_legs: Option<FarLegs>,
    unkeyed: Unkeyed,
}

impl Calls {
    pub(crate) fn new(provenance: Provenance) -> Self {
        Self {
            far_legs: (provenance != Provenance::Captured).then(FarLegs::default),
            unkeyed: Unkeyed::new(provenance),
            ..Self::default()
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    pub(crate) fn call(&self, index: CallIndex) -> Option<&Call> {
        self.calls.get(index as usize)
    }

    pub(crate) fn call_mut(&mut self, index: CallIndex) -> Option<&mut Call> {
        self.calls.get_mut(index as usize)
    }

    pub(crate) fn len(&self) -> CallIndex {
        self.calls.len() as CallIndex
    }

    /// A captured SIP message: which call it is of, and what the phones say because of it.
    pub(crate) fn on_sip(
        &mut self,
        now: Timestamp,
        captured: &Captured<'_>,
        transport: Transport,
        bytes: &[u8],
    ) -> Result<Option<Heard>, FlawKind> {
        self.counts.sip += 1;
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => return self.on_malformed(now, captured, transport, error).map(Some),
        };
        let message = self.unkeyed.told(self.with_names(message));
        let opens = is_opening(&message);
        if self.is_of_far_leg(&message, captured) {
            return Ok(None);
        }
        let index = match self.index_of(message.headers(), opens, captured) {
            Some(index) => index,
            None if opens => self.begin((now, captured), transport, message.headers())?,
            // What begins in the middle of a dialog, or is none, is no call.
            None => {
                self.note_begun_before(message.headers());
                return Ok(None);
            }
        };
        let Some(call) = self.calls.get_mut(index as usize) else {
            return Ok(None);
        };
        if opens {
            self.dialogs.open(message.headers(), index);
        }
        if call.script.is_none() && opens {
            // Another try, long after the last.
            call.script = Some(Box::new(script(index, transport)));
        }
        let Some(script) = &mut call.script else {
            return Ok(None);
        };
        call.last = call.last.max(captured.at);
        let description = description_in(&message);
        let mut lines = Vec::new();
        let sighting = script.on_captured(message.clone(), (captured.src, captured.dst), &mut lines);
        if let Some(sdp) = description {
            let leg = script.sender_of(&message);
            let parsed = SessionDescription::parse(&sdp).map_err(|what| FlawKind::MalformedSdp { what });
            let is_played = matches!(sighting, Sighting::New | Sighting::Repeated);
            if is_played {
                script.describe(leg, sdp);
            }
            let parsed = parsed?;
            match sighting {
                Sighting::New => call.sources[leg.index()].describe(&message, &parsed, captured.src.ip()),
                // The proxy knows the party by what it was told before; its media may come from here all the same.
                Sighting::Spared => call.sources[leg.index()].describe_beside(&parsed, captured.src.ip()),
                Sighting::Repeated | Sighting::OtherHop | Sighting::Stray => {}
            }
            self.declare(index, leg, &parsed, is_played || sighting == Sighting::Spared);
        }
        Ok(Some(Heard {
            call: index,
            lines,
            refused: None,
        }))
    }

    /// What the message before was without, told once.
    pub(crate) const fn take_unkeyed(&mut self) -> Option<FlawKind> {
        self.unkeyed.take_news()
    }

    fn note_begun_before(&mut self, headers: &Headers) {
        let is_of_call = matches!(
            headers.cseq().method,
            Method::Invite | Method::Ack | Method::Bye | Method::Update | Method::Prack | Method::Info
        );
        if is_of_call && headers.to().tag().is_some() && self.begun_before.len() < BEGUN_BEFORE_MAX {
            self.begun_before.insert(headers.call_id().to_owned());
        }
    }

    /// Calls whose INVITE is not in the capture.
    pub(crate) fn begun_before(&self) -> u64 {
        self.begun_before.len() as u64
    }

    /// What the message is of, if that has begun. A Call-ID may be used again: an INVITE with another From tag begins a
    /// call of its own (RFC 3261 §12), unless it is another hop or another try of the one before; so does the first INVITE
    /// of an agent that registered with its Call-ID, and a request outside the dialogs of a call is no part of it.
    fn index_of(&self, headers: &Headers, is_opening: bool, captured: &Captured<'_>) -> Option<CallIndex> {
        let index = self.dialogs.find(headers)?;
        let begun = self.call(index)?;
        let is_call = begun.method == Method::Invite;
        let is_same = if !is_opening {
            true
        } else if headers.cseq().method != Method::Invite {
            !is_call || self.dialogs.is_opened_by(headers, index)
        } else {
            let hop = (captured.src, captured.dst);
            let is_recent = captured.at.since(begun.last) < ATTEMPT_MAX;
            let takes_in = begun.script.as_deref().filter(|_| is_recent);
            is_call
                && (self.dialogs.is_opened_by(headers, index) || takes_in.is_some_and(|script| script.takes_in(hop)))
        };
        is_same.then_some(index)
    }

    /// An INVITE that the proxy would answer with an error is a call all the same: one that it refuses.
    fn on_malformed(
        &mut self,
        now: Timestamp,
        captured: &Captured<'_>,
        transport: Transport,
        error: ParseError,
    ) -> Result<Heard, FlawKind> {
        let flaw = FlawKind::MalformedSip {
            what: error.what,
            offset: error.offset,
        };
        let reply = error.reply.ok_or(flaw)?;
        let headers = &reply.headers;
        if headers.cseq().method != Method::Invite {
            return Err(flaw);
        }
        let call = match self.index_of(headers, true, captured) {
            Some(index) => index,
            None => self.begin((now, captured), transport, headers)?,
        };
        Ok(Heard {
            call,
            lines: Vec::new(),
            refused: Some(flaw),
        })
    }

    fn begin(
        &mut self,
        (now, captured): (Timestamp, &Captured<'_>),
        transport: Transport,
        headers: &Headers,
    ) -> Result<CallIndex, FlawKind> {
        if self.calls.len() >= CALLS_MAX {
            return Err(FlawKind::TooManyCalls { max: CALLS_MAX });
        }
        let index = self.calls.len() as CallIndex;
        let call_id = headers.call_id().to_owned();
        self.dialogs.open(headers, index);
        self.calls.push(Call {
            call_id,
            called: captured.dst,
            from: headers.from().uri.to_string(),
            to: headers.to().uri.to_string(),
            method: headers.cseq().method.clone(),
            started: captured.at,
            shift: now.since(captured.at),
            last: captured.at,
            script: Some(Box::new(script(index, transport))),
            streams: Streams::default(),
            formats: Vec::new(),
            sources: Default::default(),
            foreign: 0,
            relay: [Vec::new(), Vec::new()],
        });
        Ok(index)
    }

    pub(super) fn declare(&mut self, index: CallIndex, leg: Leg, sdp: &SessionDescription, is_played: bool) {
        let Some(call) = self.calls.get_mut(index as usize) else {
            return;
        };
        for (n, line) in sdp.lines().iter().enumerate() {
            for format in &line.formats {
                call.formats
                    .retain(|(l, pt, _)| (*l, *pt) != (leg, format.payload_type));
                if call.formats.len() < FORMATS_MAX && !format.name.is_empty() {
                    call.formats.push((leg, format.payload_type, format.name.clone()));
                }
            }
            if let Some(remote) = line.remote() {
                let line = n as u16;
                self.bindings.declare(
                    remote,
                    Declared {
                        call: index,
                        leg,
                        line,
                        is_rtcp: false,
                        is_played,
                    },
                );
            }
        }
    }

    /// A captured datagram: counted for its call. None when no SDP so far names its addresses.
    pub(crate) fn on_datagram(&mut self, captured: &Captured<'_>, bytes: &[u8]) -> Option<Option<Play>> {
        let bound = self.bindings.find(captured.src, captured.dst)?;
        let call = self.calls.get_mut(bound.call as usize)?;
        let kind = classify(bytes);
        let Some(from) = call.source_of(&bound, kind, (captured, bytes), self.far_legs.is_some()) else {
            self.counts.count_foreign(kind);
            return Some(None);
        };
        let mut ssrc = None;
        match kind {
            WireKind::Rtp => {
                if let Ok(header) = RtpHeader::parse(bytes) {
                    self.counts.rtp += 1;
                    ssrc = Some(header.ssrc);
                    call.streams.count(bound.sender, &header, bound.is_played, false);
                }
            }
            WireKind::Rtcp => self.counts.rtcp += 1,
            WireKind::Other => {}
        }
        let relay = call.relay[bound.sender.index()].get(usize::from(bound.line));
        let play = relay.copied().flatten().filter(|_| bound.is_played).map(|relay| Play {
            call: bound.call,
            sender: bound.sender,
            from,
            local: if bound.is_rtcp { relay.rtcp } else { relay.rtp },
            ssrc,
        });
        Some(play)
    }

    /// The beginning of a captured datagram: counted, but nothing that could be played. False when no SDP so far names
    /// its addresses.
    pub(crate) fn on_cut(&mut self, captured: &Captured<'_>, start: &[u8]) -> bool {
        let Some(bound) = self.bindings.find(captured.src, captured.dst) else {
            return false;
        };
        let kind = classify(start);
        let Some(call) = self.calls.get_mut(bound.call as usize) else {
            return false;
        };
        if call
            .source_of(&bound, kind, (captured, start), self.far_legs.is_some())
            .is_none()
        {
            self.counts.count_foreign(kind);
            return true;
        }
        match kind {
            WireKind::Rtp => {
                // What the fixed header announces may be beyond the cut.
                let mut fixed = [0; 12];
                fixed.iter_mut().zip(start).for_each(|(to, from)| *to = *from);
                fixed[0] &= 0b1100_0000;
                if let Ok(header) = RtpHeader::parse(&fixed) {
                    self.counts.rtp += 1;
                    call.streams.count(bound.sender, &header, bound.is_played, true);
                }
            }
            WireKind::Rtcp => self.counts.rtcp += 1,
            WireKind::Other => {}
        }
        true
    }
}

fn script(index: CallIndex, transport: Transport) -> Script {
    let port = (FIRST_PORT + index % PORTS) as u16;
    Script::new(
        index,
        transport,
        [SocketAddr::new(CALLER, port), SocketAddr::new(CALLEE, port)],
    )
}

/// A request outside any dialog: a call, or what is no part of one.
fn is_opening(message: &Message) -> bool {
    matches!(message, Message::Request(request) if opens(request))
}

/// The SDP of a message: its body, or the part of a multipart body (RFC 5621) that is one.
pub(crate) fn description_in(message: &Message) -> Option<Bytes> {
    let body = message.body();
    let kind = message.headers().content_type()?;
    if kind.eq_ignore_ascii_case("application/sdp") {
        return Some(body.clone()).filter(|body| !body.is_empty());
    }
    if !kind.get(..10)?.eq_ignore_ascii_case("multipart/") {
        return None;
    }
    let start = memchr::memmem::find(body, b"\nv=0")? + 1;
    let end = memchr::memmem::find(body.get(start..)?, b"\n--").map_or(body.len(), |end| start + end + 1);
    Some(body.slice(start..end))
}
