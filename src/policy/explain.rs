//! A decision as people read it.

use std::fmt::Write as _;

use serde_json::json;

use super::decision::{Admission, BlockReason, Decision, RecorderState, Verdict};
use super::terms::RejectCode;
use crate::model::Timestamp;

/// The width of the column that says where something is written.
const SUBJECT_CHARS: usize = 18;
/// Digits of the hash that are enough to tell two loads apart by eye.
const HASH_CHARS: usize = 12;
/// 403: a policy that forbids the call.
const FORBIDDEN: u16 = 403;
/// 400: who calls or is called cannot be read.
const BAD_REQUEST: u16 = 400;

/// What would happen to a call at that moment, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation<'a> {
    pub decision: &'a Decision,
    pub recorder: RecorderState,
    /// The far end is a conference.
    pub meeting: bool,
    pub at: Timestamp,
    /// The config's `reject_code`, for policies that leave it open.
    pub reject_code: RejectCode,
}

impl Explanation<'_> {
    pub fn admission(&self) -> Admission {
        self.decision.admission(self.recorder, self.meeting)
    }

    /// The final status that the INVITE would get; none if it goes on.
    pub fn status(&self) -> Option<u16> {
        match (self.admission(), &self.decision.requirements) {
            (Admission::Proceed | Admission::ProceedUnrecorded, _) => None,
            (Admission::Refuse, Some(r)) => Some(r.reject_code.or(self.reject_code).status(false)),
            (Admission::Refuse, None) if self.decision.verdict == Verdict::Block(BlockReason::Unreadable) => {
                Some(BAD_REQUEST)
            }
            (Admission::Refuse, None) => Some(FORBIDDEN),
        }
    }

    /// Several lines for a terminal.
    pub fn text(&self) -> String {
        let decision = self.decision;
        let mut out = format!("{} at {}  ({})\n", self.headline(), self.at, self.reason());
        for (index, line) in self.trail().iter().enumerate() {
            let (subject, text) = line.split_once("  ").unwrap_or(("", line));
            let _ = writeln!(out, "{:2} {subject:SUBJECT_CHARS$} {text}", index + 1);
        }
        let hash = decision.hash.get(..HASH_CHARS).unwrap_or(&decision.hash);
        let _ = writeln!(out, "generation {} (sha256 {hash}…)", decision.generation);
        out
    }

    /// The same for scripts.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "admission": self.admission(),
            "status": self.status(),
            "at": self.at,
            "recorder": match self.recorder {
                RecorderState::Up => json!("up"),
                RecorderState::Down(fault) => json!({ "down": fault }),
            },
            "meeting": self.meeting,
            "decision": self.decision,
        })
    }

    fn headline(&self) -> String {
        match (self.admission(), &self.decision.verdict) {
            (Admission::Refuse, _) => format!("REJECTED {}", self.status().unwrap_or(FORBIDDEN)),
            (Admission::ProceedUnrecorded, _) => "CONNECTED UNRECORDED".to_owned(),
            (Admission::Proceed, Verdict::Record) => "RECORDED".to_owned(),
            (Admission::Proceed, _) => "NOT RECORDED".to_owned(),
        }
    }

    fn reason(&self) -> String {
        let decision = self.decision;
        let names: Vec<&str> = decision.policies.iter().map(|id| id.as_str()).collect();
        let policies = format!(
            "{} {}",
            if names.len() == 1 { "policy" } else { "policies" },
            names.join(", ")
        );
        let strict = |on, when: &str| if on { format!(", strict {when}") } else { String::new() };
        let before = strict(decision.is_strict_before(self.meeting), "before establishment");
        let during = strict(decision.is_strict_during(self.meeting), "during the call");
        match (self.admission(), &decision.verdict) {
            (_, Verdict::Block(BlockReason::Forbidden { .. })) => format!("{policies} forbids the call"),
            (_, Verdict::Block(BlockReason::Conflict { .. })) => format!("{policies} contradict each other"),
            (_, Verdict::Block(reason @ BlockReason::Unreadable)) => reason.to_string(),
            (Admission::Refuse, _) => format!("{policies}{before}"),
            (Admission::ProceedUnrecorded, _) if decision.emergency => format!("{policies}, emergency"),
            (Admission::ProceedUnrecorded, _) => format!("{policies}, not strict before establishment"),
            (Admission::Proceed, Verdict::Record) => format!("{policies}{before}{during}"),
            (Admission::Proceed, _) if decision.emergency => "no policy asks for it, emergency".to_owned(),
            (Admission::Proceed, _) => "no policy asks for it".to_owned(),
        }
    }

    /// The decision's trail with the recorder's state before the line about emergencies.
    fn trail(&self) -> Vec<String> {
        let mut trail = self.decision.trace.clone();
        if self.decision.verdict == Verdict::Record {
            let state = match self.recorder {
                RecorderState::Up => "up".to_owned(),
                RecorderState::Down(fault) => format!("DOWN ({fault})"),
            };
            trail.insert(trail.len().saturating_sub(1), format!("recorder embedded  {state}"));
        }
        trail
    }
}
