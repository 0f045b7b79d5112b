//! Why a call is refused or ended, and what the peer sees: the one table from reason to status.

use std::time::Duration;

use super::turn::Terms;
use crate::model::{Fault, PolicyId};
use crate::policy::{BlockReason, Decision, Verdict};
use crate::sip::Method;
use crate::trunk::{CapReached, retry_after};

/// Q.850 cause values that we send (RFC 6432, RFC 3326 §2).
const CAUSE_CALL_REJECTED: u8 = 21;
const CAUSE_OUT_OF_ORDER: u8 = 27;
const CAUSE_NO_CIRCUIT: u8 = 34;
const CAUSE_CONGESTION: u8 = 42;
const CAUSE_TEMPORARY_FAILURE: u8 = 41;
const CAUSE_TIMER_EXPIRED: u8 = 102;
const CAUSE_NO_RESOURCE: u8 = 47;

/// Why a request from a peer is not carried.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The request came back to us (RFC 3261 §16.3 item 4).
    Loop,
    /// Max-Forwards is used up (RFC 3261 §16.3 item 3).
    TooManyHops,
    /// Require names an option that is not ours (RFC 3261 §8.2.2.3).
    BadExtension { options: Vec<String> },
    /// The body says that it is SDP and is not.
    MalformedSdp { offset: usize },
    /// The body's type or encoding cannot be read, so its media could not be anchored.
    UnsupportedBody,
    /// An INVITE without a Contact URI: no dialog can be made of it (RFC 3261 §8.1.1.8).
    NoContact,
    /// Replaces, Join, Target-Dialog or Refer-To cannot be read, or is there twice (RFC 3891 §3, RFC 3515 §2.4.2).
    BadReference,
    /// The request's URI has a scheme we cannot route (RFC 3261 §8.2.2.1).
    UnsupportedScheme,
    /// A `sips:` URI that came in clear, or that no TLS leads on to (RFC 3261 §26.2.2). No 5xx, as below.
    NotSecure,
    /// No route leads on from this trunk.
    NoRoute,
    /// Who calls or is called cannot be read: no policy could be looked up.
    UnreadableParty,
    /// A policy forbids the call.
    PolicyForbids { policy: PolicyId },
    /// A strict policy wants a recording and the recorder is down. `status`: the policy's choice, 603 if `auto`.
    RecorderDown {
        policy: PolicyId,
        fault: Fault,
        status: u16,
    },
    /// A session would come to have somebody, or media, that a strict policy wants recorded, and the recorder is down.
    Unrecordable { policy: PolicyId },
    /// What is offered cannot be recorded or relayed.
    MediaNotAcceptable,
    /// The media is encrypted with keys that only its ends know, and a strict policy wants it recorded.
    MediaSealed,
    /// A party must be told that it is recorded, and there is no codec that we could tell it in, or nothing to tell it by.
    Untold,
    /// A party was asked whether it agrees to be recorded, and does not.
    Unconsented,
    /// No port pair is free.
    NoPorts,
    /// Free disk space is below the reserve.
    DiskReserve { policy: PolicyId },
    /// This node takes no new calls. Seconds until one may come again; None where another node, or nobody, takes it meanwhile.
    Draining { retry_after: Option<u32> },
    /// As many calls as are allowed are up.
    TooManyCalls,
    /// A trunk has as many calls, or as many a second, as it may.
    TrunkFull { reached: CapReached },
    /// More is asked of this node than it can do; nothing is wrong with the request. Seconds until it may come again; None for
    /// a peer that throttles itself (RFC 7339 §5.10.2).
    Overloaded { retry_after: Option<u32> },
    /// The method is known, and not carried here or not for this trunk (RFC 3261 §8.2.1). `allow`: those that it may use.
    MethodNotAllowed { allow: String },
    /// The method is not known at all (RFC 3261 §21.5.2).
    MethodUnknown { allow: String },
    /// The dialog or transaction does not exist.
    NoSuchDialog,
    /// Another offer is in flight the other way (RFC 3261 §14.2).
    Glare,
    /// An earlier request of the same kind is not answered yet (RFC 3261 §14.2).
    Busy,
    /// CSeq went backwards (RFC 3261 §12.2.2).
    OutOfOrder,
    /// The far end gave no final answer in time.
    NoAnswer,
    /// The far end cannot be reached. No 5xx: that would invite the PBX to route around the recorder.
    Unreachable,
    /// The connection that a phone registered by is gone (RFC 5626 §5.3).
    FlowFailed,
    /// A REFER outside the dialog that it is about (RFC 3515 §2.4.1 lets it be there): nobody would have decided whom it brings in.
    ReferOutside,
    /// Too many executed transfers have led to this call.
    TooManyTransfers,
    /// A REFER wants a call replaced that rings and is not its sender's, or is over: whom it names could only answer 481
    /// (RFC 3891 §3). No 481 here: that would end the dialog of the REFER (RFC 3261 §12.2.1.2).
    Unreplaceable,
    /// The caller gave up.
    Cancelled,
    /// The recording cannot be paused, or not by this party.
    NotPausable,
    /// A session interval below `min` seconds is asked for (RFC 4028 §9).
    IntervalTooSmall { min: u32 },
}

/// A refusal as it goes on the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejection {
    pub status: u16,
    /// Header names with values.
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// The policies want it so, whatever the state of the recorder.
    pub(super) const fn is_forbidden(&self) -> bool {
        matches!(
            self,
            Self::PolicyForbids { .. } | Self::UnreadableParty | Self::MediaSealed
        )
    }

    /// The status and headers for this refusal; `host` names us in a Warning (RFC 3261 §20.43).
    pub fn rejection(&self, host: &str) -> Rejection {
        Rejection {
            status: self.status(),
            headers: self.headers(host),
        }
    }

    /// As who asks to change a session hears it: that stays as it was, so no status that would speak of the call (RFC 3261
    /// §14.2).
    pub(super) fn of_change(&self) -> Self {
        match self {
            Self::RecorderDown { policy, .. } | Self::DiskReserve { policy } => {
                Self::Unrecordable { policy: policy.clone() }
            }
            Self::NoPorts => Self::MediaNotAcceptable,
            other => other.clone(),
        }
    }

    pub(super) const fn status(&self) -> u16 {
        match self {
            Self::MalformedSdp { .. } | Self::NoContact | Self::BadReference | Self::UnreadableParty => 400,
            Self::PolicyForbids { .. } | Self::ReferOutside | Self::NotPausable => 403,
            Self::NoRoute => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::NoAnswer => 408,
            Self::UnsupportedBody => 415,
            Self::UnsupportedScheme => 416,
            Self::BadExtension { .. } => 420,
            Self::IntervalTooSmall { .. } => 422,
            Self::FlowFailed => 430,
            Self::Unreachable | Self::NotSecure => 480,
            Self::NoSuchDialog => 481,
            Self::Loop => 482,
            Self::TooManyHops => 483,
            Self::Cancelled => 487,
            Self::MediaNotAcceptable | Self::MediaSealed | Self::Untold | Self::Unrecordable { .. } => 488,
            Self::Glare => 491,
            Self::Busy | Self::OutOfOrder => 500,
            Self::MethodUnknown { .. } => 501,
            Self::DiskReserve { .. }
            | Self::NoPorts
            | Self::Draining { .. }
            | Self::TooManyCalls
            | Self::TrunkFull { .. }
            | Self::Overloaded { .. } => 503,
            Self::TooManyTransfers | Self::Unreplaceable | Self::Unconsented => 603,
            Self::RecorderDown { status, .. } => *status,
        }
    }

    fn headers(&self, host: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::BadExtension { options } => vec![("Unsupported", options.join(", "))],
            Self::MalformedSdp { offset } => vec![warning(host, 399, &format!("malformed SDP at byte {offset}"))],
            Self::IntervalTooSmall { min } => vec![("Min-SE", min.to_string())],
            Self::NoContact => vec![warning(host, 399, "Contact is missing")],
            Self::UnreadableParty => vec![warning(host, 399, "Caller or callee cannot be read")],
            Self::BadReference => vec![warning(host, 399, "Refer-To or the dialog named cannot be read")],
            Self::ReferOutside => vec![warning(host, 399, "REFER is carried inside its call's dialog alone")],
            Self::TooManyTransfers => vec![warning(host, 399, "Too many transfers led to this call")],
            Self::Unreplaceable => vec![warning(
                host,
                399,
                "The call to be replaced is not answered yet, or over",
            )],
            Self::UnsupportedBody => vec![("Accept", "application/sdp, multipart/mixed".to_owned())],
            Self::PolicyForbids { policy } => vec![
                q850(CAUSE_CALL_REJECTED, "Call forbidden by policy"),
                warning(host, 399, &format!("Call forbidden by policy {policy}")),
            ],
            Self::RecorderDown { policy, status, .. } => {
                let cause = if *status == 503 {
                    CAUSE_TEMPORARY_FAILURE
                } else {
                    CAUSE_CALL_REJECTED
                };
                vec![
                    q850(cause, "Recording required by policy"),
                    recorder_warning(host, policy),
                ]
            }
            Self::DiskReserve { policy } => {
                vec![
                    q850(CAUSE_NO_RESOURCE, "Recording space below its reserve"),
                    recorder_warning(host, policy),
                ]
            }
            Self::Unrecordable { policy } => vec![recorder_warning(host, policy)],
            Self::MediaNotAcceptable => vec![warning(host, 304, "Media type not available")],
            Self::MediaSealed => vec![warning(
                host,
                399,
                "Recording required by policy: media is encrypted with keys unknown here",
            )],
            Self::Untold => vec![warning(
                host,
                399,
                "Recording required by policy: its announcement cannot be played with this codec",
            )],
            Self::Unconsented => vec![q850(CAUSE_CALL_REJECTED, "Recording not agreed to")],
            Self::NoPorts => vec![q850(CAUSE_NO_RESOURCE, "No media port free")],
            Self::MethodNotAllowed { allow } | Self::MethodUnknown { allow } => vec![("Allow", allow.clone())],
            Self::TrunkFull { reached } => vec![
                ("Retry-After", retry_after(*reached).as_secs().to_string()),
                match reached {
                    CapReached::Calls => q850(CAUSE_NO_CIRCUIT, "Trunk has all calls that it may have"),
                    CapReached::Rate => q850(CAUSE_CONGESTION, "Trunk has all new calls that it may have for now"),
                },
            ],
            Self::Overloaded {
                retry_after: Some(seconds),
            }
            | Self::Draining {
                retry_after: Some(seconds),
            } => vec![("Retry-After", seconds.to_string())],
            Self::NotSecure => vec![warning(host, 380, "SIPS Not Allowed")],
            Self::Busy => vec![("Retry-After", "2".to_owned())],
            Self::Unreachable => vec![q850(CAUSE_OUT_OF_ORDER, "Next hop unreachable")],
            _ => Vec::new(),
        }
    }
}

/// Why a call is refused that this decision wants recorded before it begins, while the recorder is down.
pub fn of_recorder(decision: &Decision, terms: &Terms, fault: Fault) -> Refusal {
    let policy = first_policy(decision);
    if fault == Fault::Reserve {
        return Refusal::DiskReserve { policy };
    }
    let chosen = decision.requirements.as_ref().map(|r| r.reject_code);
    let chosen = chosen.unwrap_or_default().or(terms.reject_code);
    let status = chosen.status(terms.peer_node);
    Refusal::RecorderDown { policy, fault, status }
}

/// Whether a decision lets a call take place at all, whatever becomes of its recording.
pub fn of_verdict(decision: &Decision) -> Result<(), Refusal> {
    match &decision.verdict {
        Verdict::Block(BlockReason::Unreadable) => Err(Refusal::UnreadableParty),
        Verdict::Block(_) => Err(Refusal::PolicyForbids {
            policy: first_policy(decision),
        }),
        Verdict::Record | Verdict::None => Ok(()),
    }
}

/// The policy that a refusal names.
pub fn first_policy(decision: &Decision) -> PolicyId {
    let first = decision.policies.first().cloned();
    first.unwrap_or_else(|| PolicyId::from("(none)"))
}

/// Why a method is not carried: known to SIP, or not (RFC 3261 §8.2.1, §21.5.2). `allow`: what its sender may use.
pub const fn of_method(method: &Method, allow: String) -> Refusal {
    match method {
        Method::Other(_) => Refusal::MethodUnknown { allow },
        _ => Refusal::MethodNotAllowed { allow },
    }
}

/// Reason values of a BYE or CANCEL that a lost recorder causes (RFC 3326; never `cause=200`, which would hide the call
/// as completed elsewhere).
pub fn recording_lost() -> Vec<String> {
    vec![
        "SIP;cause=503;text=\"Recording lost; policy requires recording\"".to_owned(),
        q850(CAUSE_TEMPORARY_FAILURE, "Recording lost").1,
    ]
}

/// Reason values of a BYE that a shutdown causes.
pub fn shutting_down() -> Vec<String> {
    vec!["SIP;cause=503;text=\"Proxy is shutting down\"".to_owned()]
}

/// Reason values of a BYE because the ACK to a 2xx never came (RFC 3261 §13.3.1.4).
pub fn no_ack() -> Vec<String> {
    let text = "No ACK to a 2xx";
    vec![
        format!("SIP;cause=408;text=\"{text}\""),
        q850(CAUSE_TIMER_EXPIRED, text).1,
    ]
}

/// How long a caller whose INVITE waits for the recorder and the ports is kept before it is refused.
pub const SET_UP_MAX: Duration = Duration::from_secs(2);

fn q850(cause: u8, text: &str) -> (&'static str, String) {
    ("Reason", format!("Q.850;cause={cause};text=\"{text}\""))
}

fn recorder_warning(host: &str, policy: &PolicyId) -> (&'static str, String) {
    warning(
        host,
        399,
        &format!("Recording required by policy {policy}: recorder unavailable"),
    )
}

fn warning(host: &str, code: u16, text: &str) -> (&'static str, String) {
    let text: String = text
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'))
        .collect();
    ("Warning", format!("{code} {host} \"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_call_without_a_recorder_gets_the_status_of_its_policy_and_says_why() {
        let refusal = Refusal::RecorderDown {
            policy: PolicyId::from("desk"),
            fault: Fault::DiskFull,
            status: 603,
        };
        let rejection = refusal.rejection("lab");
        assert_eq!(rejection.status, 603);
        assert_eq!(
            rejection.headers,
            [
                (
                    "Reason",
                    "Q.850;cause=21;text=\"Recording required by policy\"".to_owned()
                ),
                (
                    "Warning",
                    "399 lab \"Recording required by policy desk: recorder unavailable\"".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn no_503_for_one_call_invites_a_peer_to_stop_all_its_traffic() {
        let policy = PolicyId::from("desk");
        let leaving = Refusal::Draining { retry_after: None };
        for refusal in [Refusal::NoPorts, Refusal::DiskReserve { policy }, leaving] {
            let rejection = refusal.rejection("lab");
            assert_eq!(rejection.status, 503);
            assert!(rejection.headers.iter().all(|(name, _)| *name != "Retry-After"));
        }
    }

    #[test]
    fn a_full_trunk_says_when_to_try_again_and_a_barred_method_what_is_allowed() {
        let full = |reached| Refusal::TrunkFull { reached }.rejection("lab");
        let calls = full(CapReached::Calls);
        assert_eq!((calls.status, calls.headers[0].1.as_str()), (503, "10"));
        assert!(calls.headers[1].1.starts_with("Q.850;cause=34;"));
        assert!(full(CapReached::Rate).headers[1].1.starts_with("Q.850;cause=42;"));
        let allow = "INVITE, ACK".to_owned();
        let barred = of_method(&Method::Info, allow.clone()).rejection("lab");
        assert_eq!((barred.status, &barred.headers[..]), (405, &[("Allow", allow)][..]));
    }

    #[test]
    fn a_reason_for_a_lost_recording_never_says_completed_elsewhere() {
        assert!(recording_lost().iter().all(|reason| !reason.contains("cause=200")));
        assert_eq!(
            recording_lost()[0],
            "SIP;cause=503;text=\"Recording lost; policy requires recording\""
        );
    }

    #[test]
    fn a_policy_name_cannot_break_out_of_a_warning() {
        let policy = PolicyId::from("x\"\r\nEvil: 1");
        let rejection = Refusal::PolicyForbids { policy }.rejection("lab");
        assert_eq!(rejection.headers[1].1, "399 lab \"Call forbidden by policy xEvil: 1\"");
    }
}
