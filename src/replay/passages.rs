//! What began outside any call, as a report tells it: REGISTER, SUBSCRIBE with its NOTIFYs, MESSAGE, PUBLISH.

use std::fmt::Write as _;

use serde::Serialize;

use super::call::Call;
use super::sip_report::{SipReport, printable};
use super::story::Story;
use crate::engine::{StepKind, ladder};
use crate::model::Timestamp;

/// A request outside any call, with what followed in its dialog. Nobody records it.
#[derive(Clone, Debug, Serialize)]
pub struct PassageReport {
    pub call_id: String,
    pub method: String,
    pub from: String,
    pub to: String,
    pub started: Timestamp,
    pub sip: Vec<SipReport>,
    #[serde(skip)]
    steps: Vec<(Timestamp, StepKind)>,
}

impl PassageReport {
    pub(super) fn of(call: &Call, story: &Story) -> Self {
        let step = |told: &super::story::Told| {
            let what = StepKind::Sip {
                leg: told.leg,
                direction: told.direction,
                start_line: told.start_line.to_string(),
            };
            (told.at - call.shift, what)
        };
        Self {
            call_id: call.call_id.clone(),
            method: call.method.as_str().to_owned(),
            from: call.from.clone(),
            to: call.to.clone(),
            started: call.started,
            sip: SipReport::all(call, story),
            steps: story.sip.iter().map(step).collect(),
        }
    }

    pub(super) fn write_to(&self, text: &mut String) {
        let _infallible = writeln!(
            text,
            "{}  {} {} → {}, at {}",
            printable(&self.call_id),
            printable(&self.method),
            printable(&self.from),
            printable(&self.to),
            self.started
        );
        let steps = self.steps.iter().map(|(at, what)| (*at, what));
        text.push_str(&ladder::render_each(steps, self.started));
        SipReport::write_whole(&self.sip, text);
    }
}
