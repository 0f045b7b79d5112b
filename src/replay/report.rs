//! What a replay found, as JSON and as text.

use std::fmt::Write as _;

use serde::Serialize;

use super::Early;
use super::binding::CallIndex;
use super::call::Call;
use super::capture_report::{CaptureReport, ErrorReport, counted};
use super::passages::PassageReport;
use super::reenact::Reenactment;
use super::sip_report::{SipReport, printable};
use super::spool::Disk;
use super::story::{Session, Story};
use crate::disk::Layout;
use crate::engine::ladder;
use crate::engine::{Step, StepKind};
use crate::model::{Ailing, Leg, Outcome, Timestamp};
use crate::recorder::File;
use crate::sdp::Format;
use crate::sip::Method;

/// Everything that a replay found. The JSON form is an interface: fields are added, never changed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub capture: CaptureReport,
    /// In order of their first INVITE.
    pub calls: Vec<CallReport>,
    /// What began outside any call, in order.
    pub passages: Vec<PassageReport>,
}

#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    pub call_id: String,
    pub from: String,
    pub to: String,
    /// `record`, `none` or `block`.
    pub decision: &'static str,
    pub policy: Option<String>,
    /// The Call-ID of the first call of the conversation that it belongs to, if that is another.
    pub conversation: Option<String>,
    pub outcome: Outcome,
    pub started: Timestamp,
    /// From the first INVITE to the end of the last try.
    pub duration_ms: u64,
    /// The file of the sealed call, when recordings are kept.
    pub recording: Option<String>,
    pub streams: Vec<StreamReport>,
    /// Packets to where a party receives that the other one did not send: neither counted in `streams` nor recorded.
    pub foreign: u64,
    /// What ailed its sound.
    pub ailments: Vec<Ailing>,
    pub sip: Vec<SipReport>,
    /// Why it was decided so, and what followed: a line each.
    pub trail: Vec<String>,
    /// Packets that the recorder took from the relay, RTCP too.
    pub accepted: u64,
    /// Packets in the sealed recordings. Equal to `accepted`, or something is missing.
    pub stored: u64,
    pub gaps: u64,
    /// Rungs of all its sessions, in order.
    #[serde(skip)]
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    /// Who sent it.
    pub leg: Leg,
    pub ssrc: u32,
    /// The most frequent one.
    pub payload_type: u8,
    pub codec: String,
    /// All of them, as they came first; the first 16.
    pub payload_types: Vec<PayloadTypeReport>,
    /// In the capture, bound to the call by SDP.
    pub packets: u64,
    /// Of `packets`, captured only in part (snap length): counted, not played, not recorded.
    pub cut: u64,
    /// Missing by their sequence numbers.
    pub lost: u64,
    /// Of `packets`, taken by the recorder.
    pub recorded: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct PayloadTypeReport {
    pub payload_type: u8,
    pub codec: String,
    pub packets: u64,
}

impl Report {
    pub(super) fn of<D: Disk>(
        reenactment: Option<&Reenactment<D>>,
        early: &Early,
        [packets, doubles, tls]: [u64; 3],
        layout: Option<&Layout>,
    ) -> Self {
        let mut report = Self {
            capture: CaptureReport {
                packets,
                doubles,
                tls,
                ..CaptureReport::default()
            },
            calls: Vec::new(),
            passages: Vec::new(),
        };
        let capture = &mut report.capture;
        capture.errors.extend(early.flaws.iter().map(ErrorReport::of));
        capture.errors_total = early.in_all;
        let Some(found) = reenactment else {
            return report;
        };
        let counts = found.calls.counts;
        (capture.sip, capture.rtp, capture.rtcp, capture.ignored) =
            (counts.sip, counts.rtp, counts.rtcp, found.unbound);
        (capture.unnamed_streams, capture.unnamed_rtp) = found.unnamed.found();
        capture.begun_before = found.calls.begun_before();
        capture.errors.extend(found.flaws.iter().map(ErrorReport::of));
        capture.errors_total += found.flaws_in_all;
        let nothing = Story::default();
        let story = |n: usize| found.stories.get(&(n as CallIndex)).unwrap_or(&nothing);
        for (n, call) in found.calls.iter().enumerate() {
            match call.method {
                Method::Invite => report.calls.push(CallReport {
                    conversation: found.conversation_of(n as CallIndex).map(str::to_owned),
                    ..of_call(call, story(n), layout)
                }),
                _ => report.passages.push(PassageReport::of(call, story(n))),
            }
        }
        report
    }

    /// No call was refused or ended by the proxy, and what was to be recorded is recorded without gaps.
    pub fn is_fine(&self) -> bool {
        self.calls.iter().all(|call| {
            !matches!(call.outcome, Outcome::Blocked | Outcome::Faulted | Outcome::Unrecorded)
                && call.gaps == 0
                && call.accepted == call.stored
        })
    }

    /// For people: every call with its ladder.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let c = &self.capture;
        c.write_to(&mut text, self.calls.len() as u64, self.passages.len() as u64);
        for call in &self.calls {
            text.push('\n');
            call.write_to(&mut text);
        }
        for passage in &self.passages {
            text.push('\n');
            passage.write_to(&mut text);
        }
        if !c.errors.is_empty() {
            text.push('\n');
        }
        for error in &c.errors {
            let _infallible = writeln!(text, "{}", error.error);
        }
        let unlisted = c.errors_total - c.errors.len() as u64;
        if unlisted > 0 {
            let _infallible = writeln!(text, "and {unlisted} more");
        }
        text
    }
}

impl CallReport {
    fn write_to(&self, text: &mut String) {
        let policy = self
            .policy
            .as_deref()
            .map_or(String::new(), |policy| format!(" ({})", printable(policy)));
        let recording = self
            .recording
            .as_deref()
            .map_or(String::new(), |path| format!(", {}", printable(path)));
        let _infallible = writeln!(
            text,
            "{}  {} → {}\n{}{policy}: {}{recording}, at {}, {:.3} s",
            printable(&self.call_id),
            printable(&self.from),
            printable(&self.to),
            self.decision,
            self.outcome.as_str(),
            self.started,
            self.duration_ms as f64 / 1_000.0
        );
        if let Some(first) = &self.conversation {
            let _infallible = writeln!(text, "  one conversation with {}", printable(first));
        }
        for line in &self.trail {
            let _infallible = writeln!(text, "  {}", printable(line));
        }
        text.push_str(&ladder::render(&self.steps, self.started));
        for stream in &self.streams {
            let cut = if stream.cut > 0 {
                format!(", {} cut by the capture", stream.cut)
            } else {
                String::new()
            };
            let _infallible = writeln!(
                text,
                "  {} sends {:#010x} {} ({}): {}{}{cut}, {} lost, {} recorded",
                stream.leg,
                stream.ssrc,
                printable(&stream.codec),
                stream.payload_type,
                counted(stream.packets, "packet"),
                stream.told_apart(),
                stream.lost,
                stream.recorded
            );
        }
        if self.foreign > 0 {
            let _infallible = writeln!(
                text,
                "  {} from elsewhere than the parties, not recorded",
                counted(self.foreign, "packet")
            );
        }
        for Ailing { ailment, since, until } in &self.ailments {
            let ms = |at: Timestamp| format!("{} ms", at.since(self.started).as_millis());
            let until = until.map_or_else(|| "the end".to_owned(), ms);
            let _infallible = writeln!(text, "  ailed: {ailment}, from {} to {until}", ms(*since));
        }
        SipReport::write_whole(&self.sip, text);
    }
}

impl StreamReport {
    /// ` (50 PCMU, 50 PCMA)`; nothing of a stream with one payload type.
    fn told_apart(&self) -> String {
        if self.payload_types.len() < 2 {
            return String::new();
        }
        let each = self.payload_types.iter();
        let each: Vec<_> = each
            .map(|of| format!("{} {}", of.packets, printable(&of.codec)))
            .collect();
        format!(" ({})", each.join(", "))
    }
}

fn of_call(call: &Call, story: &Story, layout: Option<&Layout>) -> CallReport {
    let telling = story.telling();
    let view = telling.and_then(|(_, session)| session.view.as_ref());
    let ended = story
        .sessions()
        .filter_map(|(_, session)| session.ended)
        .max()
        .map_or(call.last, |ended| ended - call.shift);
    let published = telling.filter(|(_, session)| session.is_published);
    let recording = published.and_then(|(id, _)| {
        let path = layout?.path(File::Sealed(id));
        Some(path.to_string_lossy().into_owned())
    });
    let sum = |of: fn(&Session) -> u64| story.sessions().map(|(_, session)| of(session)).sum();
    let steps: Vec<Step> = story
        .sessions()
        .flat_map(|(_, session)| session.steps.iter().cloned())
        .map(|step| Step {
            at: step.at - call.shift,
            ..step
        })
        .collect();
    let ailments = story.sessions().flat_map(|(_, session)| &session.ailments);
    let ailments = ailments.map(|ailing| Ailing {
        since: ailing.since - call.shift,
        until: ailing.until.map(|until| until - call.shift),
        ..*ailing
    });
    CallReport {
        call_id: call.call_id.clone(),
        from: call.from.clone(),
        to: call.to.clone(),
        decision: decision(telling.map(|(_, session)| session)),
        policy: view
            .and_then(|view| view.policies.first())
            .map(|policy| policy.as_str().to_owned()),
        conversation: None,
        outcome: telling
            .and_then(|(_, session)| session.outcome())
            .unwrap_or(Outcome::NoMedia),
        started: call.started,
        duration_ms: u64::try_from(ended.since(call.started).as_millis()).unwrap_or(u64::MAX),
        recording,
        streams: streams(call),
        foreign: call.foreign,
        ailments: ailments.collect(),
        sip: SipReport::all(call, story),
        trail: steps.iter().filter_map(trail).collect(),
        accepted: sum(|session| session.reconciliation.as_ref().map_or(session.relayed, |r| r.accepted)),
        stored: sum(|session| session.reconciliation.as_ref().map_or(0, |r| r.stored)),
        gaps: sum(|session| session.reconciliation.as_ref().map_or(0, |r| r.gaps.len() as u64)),
        steps,
    }
}

fn decision(session: Option<&Session>) -> &'static str {
    let Some(session) = session else { return "none" };
    let has_policy = session.view.as_ref().is_some_and(|view| !view.policies.is_empty());
    match (session.is_wanted, session.outcome()) {
        (true, _) => "record",
        (false, Some(Outcome::Blocked)) if session.view.as_ref().is_some_and(|view| view.forbidden) => "block",
        (false, Some(Outcome::Blocked | Outcome::Unrecorded | Outcome::Faulted)) if has_policy => "record",
        (false, _) => "none",
    }
}

fn streams(call: &Call) -> Vec<StreamReport> {
    let report = |(leg, ssrc, stream): (Leg, crate::model::Ssrc, &super::streams::Stream)| {
        let payload_type = stream.payload_type();
        let name = |payload_type| {
            // Some send what nobody offered; what its number means is fixed.
            let name = call
                .codec(leg, payload_type)
                .or_else(|| Format::static_name(payload_type));
            name.unwrap_or("unknown").to_owned()
        };
        let payload_types = stream
            .payload_types()
            .iter()
            .map(|(number, packets)| PayloadTypeReport {
                payload_type: *number,
                codec: name(*number),
                packets: *packets,
            });
        StreamReport {
            leg,
            ssrc: ssrc.0,
            payload_type,
            codec: name(payload_type),
            payload_types: payload_types.collect(),
            packets: stream.packets,
            cut: stream.cut,
            lost: stream.lost(),
            recorded: stream.recorded,
        }
    };
    call.streams.iter().map(report).collect()
}

fn trail(step: &Step) -> Option<String> {
    match &step.what {
        StepKind::Decided(why) => Some(why.clone()),
        StepKind::RecordingFaulted(fault) => Some(format!("recorder: {fault}")),
        StepKind::MediaGated => Some("media stopped".to_owned()),
        StepKind::MediaReopened => Some("media goes on".to_owned()),
        StepKind::RecordingPaused(by) => Some(format!("recording paused by {by}")),
        StepKind::RecordingResumed(by) => Some(format!("recording goes on, by {by}")),
        StepKind::Consent { leg, consent } => Some(format!("consent of {leg}: {}", consent.as_str())),
        StepKind::Ended { by, .. } => Some(format!("ended: {by}")),
        StepKind::Sip { .. } | StepKind::RecordingAsked | StepKind::RecordingReady | StepKind::Sealed { .. } => None,
    }
}
