//! What is known of a call when the policies are asked.

use crate::model::{MediaKind, Timestamp, TrunkName};

/// The facts of one call, as signalled: URIs are plain text (a name-addr in angle brackets is understood too), and
/// the policies normalise them. Filled by signalling, by `replay` and by `explain`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CallFacts {
    /// The trunk that the INVITE came from.
    pub trunk: Option<TrunkName>,
    /// The trunk that it will be sent to, if a route was found.
    pub to_trunk: Option<TrunkName>,
    /// That trunk writes numbers in E.164 (`e164 = true`): those without any prefix may only lack their plus.
    pub writes_e164: bool,
    /// URI of From.
    pub from: String,
    /// URIs of P-Asserted-Identity (RFC 3325 §9.1: at most one sip and one tel), else of Remote-Party-ID, *only* if the peer
    /// is trusted.
    pub asserted: Vec<String>,
    /// What else names the caller and any caller may write (URIs, or text that is none): P-Asserted-Identity and Remote-Party-ID
    /// of a peer that is not trusted, P-Preferred-Identity of any. It can add a policy and take none away.
    pub caller_claimed: Vec<String>,
    /// Hosts of the caller's URIs that are addresses of the trunk: users there may be users of the dial plan's domains, which
    /// can add a policy and take none away.
    pub caller_hosts: Vec<String>,
    pub request_uri: String,
    /// The Request-URI as the peer wrote it, where the trunk's rules have made another of it: what was an emergency stays one.
    pub dialled: Option<String>,
    /// Request-URIs that it is sent on with, where the route or the rules of what leaves name another user than the
    /// Request-URI does, or several hosts: one for each that may be asked.
    pub sent_on_as: Vec<String>,
    /// URI of To.
    pub to: String,
    /// The peer is trusted: a service URN that stands in To alone makes an emergency call (RFC 6881 §9.2).
    pub to_is_vouched: bool,
    /// Who the Request-URI names at our own address, with the host that the call is sent to instead.
    pub called_at: Option<String>,
    /// URI of P-Called-Party-ID (RFC 7315 §4.2), *only* if the peer is trusted.
    pub called_party_id: Option<String>,
    /// The same of a peer that is not trusted: it can add a policy and take none away.
    pub called_party_claimed: Option<String>,
    /// Who passed the call on (URIs): whom we know of (dialogs that are replaced, REFERs), and of a trusted peer those of
    /// Referred-By, Diversion and History-Info.
    pub rerouted_by: Vec<String>,
    /// Those of these headers if the peer is not trusted: they can add policies and take none away.
    pub rerouting_claimed: Vec<String>,
    /// More of them are named than are looked at.
    pub rerouters_left_out: usize,
    /// Hosts of the URIs above that are our own: their users are users of the dial plan's domains too.
    pub own_hosts: Vec<String>,
    /// The Priority header (RFC 3261 §20.26); `psap-callback` (RFC 7090) only from a peer that may say so.
    pub priority: Option<String>,
    /// The Resource-Priority header (RFC 4412), all values, joined by commas.
    pub resource_priority: Option<String>,
    /// A party of this call rang an emergency number within the last 24 hours.
    pub emergency_callback: bool,
    /// It goes on for an emergency call, whose party was transferred by us, or which was sent on by who was called.
    pub emergency_sent_on: bool,
    /// What the offer contains; empty when it is not known yet (a late offer).
    pub media: Vec<MediaKind>,
    /// The peer is a conference focus (`isfocus`, RFC 4579 §5.1).
    pub conference: bool,
    pub at: Timestamp,
}
