//! What breaks, and when: `recorder:eio@12.5s`, or for a while: `recorder:eio@12.5s..14s`.

use std::str::FromStr;
use std::time::Duration;

use crate::recorder::{IoError, IoOp};

/// A fault of the recorder's disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FaultSpec {
    pub kind: FaultKind,
    /// Since the first packet of the capture.
    pub at: Duration,
    /// Since the first packet, too; None: until the end of the capture. What stalled stays unanswered.
    pub until: Option<Duration>,
}

/// What the disk does with everything that needs to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    Eio,
    Enospc,
    Edquot,
    Erofs,
    Short,
    /// Never answers.
    Stall,
}

impl FaultKind {
    const NAMES: [(&'static str, Self); 6] = [
        ("eio", Self::Eio),
        ("enospc", Self::Enospc),
        ("edquot", Self::Edquot),
        ("erofs", Self::Erofs),
        ("short", Self::Short),
        ("stall", Self::Stall),
    ];

    /// None: there is no answer.
    pub(super) const fn error(self) -> Option<IoError> {
        match self {
            Self::Eio => Some(IoError::Io),
            Self::Enospc => Some(IoError::NoSpace),
            Self::Edquot => Some(IoError::QuotaExceeded),
            Self::Erofs => Some(IoError::ReadOnly),
            Self::Short => Some(IoError::ShortWrite),
            Self::Stall => None,
        }
    }

    /// Reading goes on: it is the writes that fail.
    pub(super) const fn concerns(self, op: &IoOp) -> bool {
        match op {
            IoOp::Create { .. }
            | IoOp::Append { .. }
            | IoOp::Write { .. }
            | IoOp::Extend { .. }
            | IoOp::Sync { .. }
            | IoOp::Publish { .. } => true,
            IoOp::Read { .. }
            | IoOp::Remove { .. }
            | IoOp::Free { .. }
            | IoOp::List { .. }
            | IoOp::Published { .. } => {
                matches!(self, Self::Stall)
            }
        }
    }
}

/// Why a text is no fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAFault {
    #[error("not of the form recorder:KIND@TIME, like recorder:eio@12.5s")]
    Form,
    #[error("only `recorder` can be broken")]
    Target,
    #[error("unknown kind of fault: eio, enospc, edquot, erofs, short, stall are known")]
    Kind,
    #[error("not a time since the start of the capture, like 12.5s, 800ms, or 2m, or 12.5s..14s")]
    Time,
}

impl FromStr for FaultSpec {
    type Err = NotAFault;

    fn from_str(text: &str) -> Result<Self, NotAFault> {
        let (target, rest) = text.split_once(':').ok_or(NotAFault::Form)?;
        let (kind, time) = rest.split_once('@').ok_or(NotAFault::Form)?;
        if target != "recorder" {
            return Err(NotAFault::Target);
        }
        let named = FaultKind::NAMES.iter().find(|(name, _)| *name == kind);
        let (_, kind) = named.ok_or(NotAFault::Kind)?;
        let (from, until) = match time.split_once("..") {
            Some((from, until)) => (from, Some(duration(until).ok_or(NotAFault::Time)?)),
            None => (time, None),
        };
        let at = duration(from).ok_or(NotAFault::Time)?;
        if until.is_some_and(|until| until <= at) {
            return Err(NotAFault::Time);
        }
        Ok(Self { kind: *kind, at, until })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(unit)?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    let is_plain = number.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let number: f64 = number.parse().ok().filter(|_| is_plain)?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_people_write_them() {
        let spec = |text: &str| text.parse::<FaultSpec>();
        assert_eq!(
            spec("recorder:eio@12.5s"),
            Ok(FaultSpec {
                kind: FaultKind::Eio,
                at: Duration::from_millis(12_500),
                until: None,
            })
        );
        assert_eq!(
            spec("recorder:stall@800ms"),
            Ok(FaultSpec {
                kind: FaultKind::Stall,
                at: Duration::from_millis(800),
                until: None,
            })
        );
        assert_eq!(
            spec("recorder:eio@2s..3500ms").map(|s| (s.at, s.until)),
            Ok((Duration::from_secs(2), Some(Duration::from_millis(3_500))))
        );
        assert_eq!(spec("recorder:short@2m").map(|s| s.at), Ok(Duration::from_secs(120)));
        assert_eq!(spec("recorder:eio"), Err(NotAFault::Form));
        assert_eq!(spec("proxy:eio@1s"), Err(NotAFault::Target));
        assert_eq!(spec("recorder:fire@1s"), Err(NotAFault::Kind));
        for time in [
            "",
            "s",
            "1",
            "-1s",
            "1e9s",
            "1x",
            "1.2.3s",
            "NaNs",
            "99999999999999999999999h",
            "2s..",
            "2s..2s",
            "2s..1s",
            "..3s",
        ] {
            assert_eq!(spec(&format!("recorder:eio@{time}")), Err(NotAFault::Time), "{time}");
        }
    }
}
