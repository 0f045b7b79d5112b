//! The call-flow ladder: what happened between A, the proxy, B and the recorder, as text. One renderer for tests, the
//! command line and the pages.

use std::fmt::Write;

use crate::b2bua::{Step, StepKind};
use crate::model::{Direction, Leg, Timestamp};

/// Columns of the arrow between two lifelines.
const ARROW: usize = 26;

/// Renders the rungs of one call; times are milliseconds since `start`.
pub fn render(steps: &[Step], start: Timestamp) -> String {
    render_each(steps.iter().map(|step| (step.at, &step.what)), start)
}

/// As [`render`], of rungs that are no call's.
pub fn render_each<'a>(steps: impl IntoIterator<Item = (Timestamp, &'a StepKind)>, start: Timestamp) -> String {
    let mut text = format!(
        "{:>7}  {:<w$}{:<w$}{:<w$}recorder\n",
        "ms",
        "A",
        "proxy",
        "B",
        w = ARROW + 1
    );
    for (at, what) in steps {
        let millis = at.since(start).as_millis();
        let _infallible = writeln!(text, "{millis:>7}  {}", rung(what).trim_end());
    }
    text
}

/// The rungs without their times: what a test compares.
pub fn shape(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        text.push_str(rung(&step.what).trim_end());
        text.push('\n');
    }
    text
}

fn rung(what: &StepKind) -> String {
    match what {
        StepKind::Sip {
            leg: Leg::A,
            direction: Direction::Received,
            start_line,
        } => {
            format!("{}│{}│", arrow_right(&label(start_line)), blank())
        }
        StepKind::Sip {
            leg: Leg::A,
            direction: Direction::Sent,
            start_line,
        } => {
            format!("{}│{}│", arrow_left(&label(start_line)), blank())
        }
        StepKind::Sip {
            leg: Leg::B,
            direction: Direction::Sent,
            start_line,
        } => {
            format!("{}│{}│", blank(), arrow_right(&label(start_line)))
        }
        StepKind::Sip {
            leg: Leg::B,
            direction: Direction::Received,
            start_line,
        } => {
            format!("{}│{}│", blank(), arrow_left(&label(start_line)))
        }
        StepKind::Decided(why) => format!("{}│{}│  {}", blank(), blank(), printable(why)),
        StepKind::RecordingAsked => recorder(&arrow_right("open")),
        StepKind::RecordingReady => recorder(&arrow_left("ready")),
        StepKind::RecordingFaulted(fault) => recorder(&arrow_left(&format!("fault: {fault}"))),
        StepKind::MediaGated => format!("{}✕{}│  media gated", blank(), blank()),
        StepKind::MediaReopened => format!("{}│{}│  media goes on", blank(), blank()),
        StepKind::RecordingPaused(by) => format!("{}│{}│  recording paused by {by}", blank(), blank()),
        StepKind::RecordingResumed(by) => format!("{}│{}│  recording goes on, by {by}", blank(), blank()),
        StepKind::Consent { leg, consent } => {
            format!("{}│{}│  consent of {leg}: {}", blank(), blank(), consent.as_str())
        }
        StepKind::Ended { outcome, by } => {
            format!("{}│{}│  {}: {}", blank(), blank(), outcome.as_str(), printable(by))
        }
        StepKind::Sealed { accepted, stored } => recorder(&arrow_left(&format!("sealed {stored}/{accepted}"))),
    }
}

fn recorder(arrow: &str) -> String {
    format!("{}│{}│{arrow}", blank(), blank())
}

fn blank() -> String {
    " ".repeat(ARROW)
}

fn arrow_right(text: &str) -> String {
    let text = fit(text);
    let dashes = "─".repeat(ARROW.saturating_sub(text.chars().count() + 3));
    format!(" {text} {dashes}▶")
}

fn arrow_left(text: &str) -> String {
    let text = fit(text);
    let dashes = "─".repeat(ARROW.saturating_sub(text.chars().count() + 3));
    format!("◀{dashes} {text} ")
}

fn fit(text: &str) -> String {
    text.chars().take(ARROW - 5).collect()
}

/// `INVITE`, or `200 OK`: of a start line what a ladder has room for.
fn label(start_line: &str) -> String {
    let text = match start_line.strip_prefix("SIP/2.0 ") {
        Some(status) => status,
        None => start_line.split(' ').next().unwrap_or_default(),
    };
    printable(text)
}

/// The peer's text, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                '·'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fault, SessionId};

    #[test]
    fn a_refused_call_reads_from_left_to_right() {
        let step = |ms: u64, what| Step {
            at: Timestamp::from_millis(1_000 + ms),
            session: SessionId::from_u128(1),
            what,
        };
        let sip = |leg, direction, start_line: &str| StepKind::Sip {
            leg,
            direction,
            start_line: start_line.to_owned(),
        };
        let steps = [
            step(
                0,
                sip(Leg::A, Direction::Received, "INVITE sip:bob@example.com SIP/2.0"),
            ),
            step(0, StepKind::RecordingAsked),
            step(4, StepKind::RecordingFaulted(Fault::DiskFull)),
            step(4, sip(Leg::A, Direction::Sent, "SIP/2.0 603 Dec\u{1b}line")),
        ];
        let text = render(&steps, Timestamp::from_millis(1_000));
        let expected = [
            "     ms  A                          proxy                      B                          recorder",
            "      0   INVITE ─────────────────▶│                          │",
            "      0                            │                          │ open ───────────────────▶",
            "      4                            │                          │◀── fault: disk full (ENO",
            "      4  ◀─────────── 603 Dec·line │                          │",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{text}");
        assert!(text.contains("603 Dec·line"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
