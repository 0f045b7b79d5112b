//! Calls that nothing may refuse or end.

use super::dial_plan::DialPlan;
use super::facts::CallFacts;
use super::identity::Identity;

/// Why a call is an emergency call.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Emergency {
    /// RFC 5031 §4.2.
    #[error("urn:service:sos")]
    ServiceUrn,
    #[error("a number of the trunk's list")]
    Number,
    /// RFC 7090 §5.
    #[error("Priority: psap-callback")]
    Callback,
    /// RFC 4412, RFC 7135.
    #[error("Resource-Priority: esnet")]
    Esnet,
    #[error("a call back within 24 h of an emergency call")]
    CallbackWindow,
    #[error("an emergency call was sent on here")]
    SentOn,
}

const SERVICE_URN: &str = "urn:service:sos";

impl Emergency {
    /// Numbers and the service URN count in the Request-URI, which is where the call goes, numbers also behind a code that hides
    /// the caller's number and before a pause; the URN of a trusted peer also in
    /// To, where it stays when the Request-URI has been resolved to an answering point (RFC 6881 §9.2). Any other caller
    /// could write it there and take every policy away. What was dialled before the rules of what comes in counts as well, and
    /// what it is sent on as, by the plan of the trunk `beyond`, where that is another user.
    pub(crate) fn detect(facts: &CallFacts, callee: &Identity, plan: &DialPlan, beyond: &DialPlan) -> Option<Self> {
        let is_urn = |key: &str| {
            key.strip_prefix(SERVICE_URN)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_priority = |value: &String| {
            value
                .split([',', ';', ' '])
                .any(|word| word.trim().eq_ignore_ascii_case("psap-callback"))
        };
        let is_esnet = |value: &String| {
            value
                .split(',')
                .any(|v| v.trim().get(..6).is_some_and(|v| v.eq_ignore_ascii_case("esnet.")))
        };
        let is_resolved = || facts.to_is_vouched && is_urn(&Identity::parse(&facts.to, plan).key);
        let is_plain = |uri: &String, plan: &DialPlan| {
            let party = Identity::parse(uri, plan);
            is_urn(&party.key) || plan.is_emergency(&party.dialled) || Identity::is_plain_call_for_help(uri, plan)
        };
        let is_called = |uri: &String, plan: &DialPlan| is_plain(uri, plan) || Identity::is_call_for_help(uri, plan);
        // At how many hosts it may be asked for tells nothing: what is dialled there is.
        let is_renamed = |uri: &&String| Identity::parse(uri, plan).dialled != callee.dialled;
        let is_plainly = || {
            let mut sent_on_as = facts.sent_on_as.iter().filter(is_renamed);
            plan.is_emergency(&callee.dialled)
                || Identity::is_plain_call_for_help(&facts.request_uri, plan)
                || facts.dialled.iter().any(|uri| is_plain(uri, plan))
                || sent_on_as.any(|uri| is_called(uri, beyond))
        };
        // Rules may make another number of a code without # and of a pause: then it is for that.
        let leaves_so = || match facts.sent_on_as.as_slice() {
            [] => is_called(&facts.request_uri, plan),
            sent => sent
                .iter()
                .any(|uri| is_called(uri, if is_renamed(&uri) { beyond } else { plan })),
        };
        let is_behind_code = || {
            let mut written = std::iter::once(&facts.request_uri).chain(&facts.dialled);
            written.any(|uri| Identity::is_call_for_help(uri, plan)) && leaves_so()
        };
        let is_number = || is_plainly() || is_behind_code();
        if is_urn(&callee.key) || is_resolved() {
            Some(Self::ServiceUrn)
        } else if is_number() {
            Some(Self::Number)
        } else if facts.priority.as_ref().is_some_and(is_priority) {
            Some(Self::Callback)
        } else if facts.resource_priority.as_ref().is_some_and(is_esnet) {
            Some(Self::Esnet)
        } else if facts.emergency_callback {
            Some(Self::CallbackWindow)
        } else if facts.emergency_sent_on {
            Some(Self::SentOn)
        } else {
            None
        }
    }
}
