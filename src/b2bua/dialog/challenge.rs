//! Challenges of a next hop that are answered on our own behalf: 401 and 407 in the realm that the trunk has credentials
//! for (RFC 3261 §22, RFC 7616). All others pass to who sent the request, and its own credentials pass on.
//!
//! Whoever asked with a request sees one transaction: what is sent again goes by the id of the first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::leg::LegState;
use super::wire::Owner;
use crate::b2bua::call::Call;
use crate::b2bua::crossing::set_number;
use crate::b2bua::invite::Reliable;
use crate::b2bua::modification::Stage;
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::dialog::Dialog;
use crate::sip::digest::{self, Algorithm, Challenge, Use};
use crate::sip::transaction::ClientId;
use crate::sip::{Headers, Method, Mint, Request, Response};
use crate::trunk::Trunk;

/// Challenges of one request that are answered. A second only if the nonce was stale or it asks by another algorithm.
const CHALLENGES_MAX: u8 = 2;

/// Who asks: where the challenge is and where the answer goes (RFC 3261 §22.2, §22.3).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Asker {
    User,
    Proxy,
}

const ASKERS: [Asker; 2] = [Asker::User, Asker::Proxy];

impl Asker {
    const fn challenge(self) -> &'static str {
        match self {
            Self::User => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }

    const fn credentials(self) -> &'static str {
        match self {
            Self::User => "Authorization",
            Self::Proxy => "Proxy-Authorization",
        }
    }
}

/// A request that may be challenged, as it was sent, without our Via.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub request: Request,
    answered: u8,
    algorithms: Vec<Algorithm>,
}

/// What a peer asked for: later requests bring it unasked (RFC 3261 §22.3).
#[derive(Debug)]
struct Known {
    trunk: Arc<Trunk>,
    challenge: Challenge,
    cnonce: String,
    /// Requests sent with this nonce.
    count: u32,
    /// What the last INVITE bore; its ACK bears the same (RFC 3261 §22.1).
    invite: Option<String>,
}

/// The challenges that calls and registrations have met, and the requests that still may be challenged.
#[derive(Debug, Default)]
pub struct Challenges {
    waiting: BTreeMap<ClientId, Waiting>,
    known: BTreeMap<(Owner, Asker), Known>,
}

impl Challenges {
    /// Requests that are kept for a challenge, and challenges that are known: both end with their calls.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.known.len()
    }

    /// Proves who we are where that was asked before on this leg.
    pub(super) fn prove(&mut self, owner: Owner, request: &mut Request) {
        for asker in ASKERS {
            if let Some(known) = self.known.get_mut(&(owner, asker)) {
                known.prove(asker, request);
            }
        }
    }

    /// The credentials of the INVITE for its ACK.
    pub(super) fn repeat(&self, owner: Owner, ack: &mut Request) {
        for asker in ASKERS {
            let known = self.known.get(&(owner, asker));
            if let Some(value) = known.and_then(|known| known.invite.as_ref()) {
                ack.headers.push(asker.credentials(), value.as_str());
            }
        }
    }

    pub(super) fn keep(&mut self, id: ClientId, waiting: Waiting) {
        self.waiting.insert(id, waiting);
    }

    /// What `id` asked, if it may be asked again.
    pub(super) fn take(&mut self, id: ClientId) -> Option<Waiting> {
        self.waiting.remove(&id)
    }

    pub(super) fn forget_request(&mut self, id: ClientId) {
        self.waiting.remove(&id);
    }

    pub(super) fn forget(&mut self, owner: Owner) {
        for asker in ASKERS {
            self.known.remove(&(owner, asker));
        }
    }

    /// The request again with what `response` asks for, if we can and may tell it.
    pub(super) fn answer(
        &mut self,
        mut waiting: Waiting,
        owner: Owner,
        trunk: &Arc<Trunk>,
        response: &Response,
        mint: &mut Mint,
    ) -> Option<Waiting> {
        let credentials = trunk.conduct.credentials.as_ref()?;
        if waiting.answered >= CHALLENGES_MAX {
            return None;
        }
        let mut is_answered = false;
        for asker in ASKERS {
            let lines = response.headers.get_all(asker.challenge());
            let Some(challenge) = digest::strongest(lines, &credentials.realm) else {
                continue;
            };
            let known = self.known.get(&(owner, asker));
            // The caller has credentials of its own for this realm: it is asked.
            if known.is_none() && names_realm(&waiting.request.headers, asker, &credentials.realm) {
                return None;
            }
            let is_new = waiting.answered == 0 || challenge.stale || !waiting.algorithms.contains(&challenge.algorithm);
            if !is_new {
                return None;
            }
            waiting.algorithms.push(challenge.algorithm);
            let mut known = Known {
                trunk: Arc::clone(trunk),
                challenge,
                cnonce: mint.tag(),
                count: 0,
                invite: None,
            };
            known.prove(asker, &mut waiting.request);
            self.known.insert((owner, asker), known);
            is_answered = true;
        }
        waiting.answered += 1;
        is_answered.then_some(waiting)
    }
}

impl From<Request> for Waiting {
    fn from(request: Request) -> Self {
        Self {
            request,
            answered: 0,
            algorithms: Vec::new(),
        }
    }
}

impl Known {
    fn prove(&mut self, asker: Asker, request: &mut Request) {
        let Some(credentials) = &self.trunk.conduct.credentials else {
            return;
        };
        self.count = self.count.saturating_add(1);
        let used = Use {
            method: &request.method,
            uri: request.uri.as_str(),
            body: &request.body,
            cnonce: &self.cnonce,
            count: self.count,
        };
        let value = credentials.answer(&self.challenge, &used);
        let name = asker.credentials();
        let others: Vec<String> = request.headers.get_all(name).map(str::to_owned).collect();
        request.headers.remove(name);
        for other in others {
            if !digest::names_realm(&other, &credentials.realm) {
                request.headers.push(name, other);
            }
        }
        request.headers.push(name, value.as_str());
        if request.method == Method::Invite {
            self.invite = Some(value);
        }
    }
}

fn names_realm(headers: &Headers, asker: Asker, realm: &str) -> bool {
    headers
        .get_all(asker.credentials())
        .any(|value| digest::names_realm(value, realm))
}

impl Call {
    /// Sends a challenged request again with our credentials. False: the response is an answer like any other.
    pub(in crate::b2bua) fn answer_challenge(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        client: ClientId,
        response: &Response,
    ) -> bool {
        if !response.is_final() {
            return false;
        }
        let Some(waiting) = turn.wire.take_waiting(client) else {
            return false;
        };
        if !matches!(response.status, 401 | 407) || !self.is_wanted_still(side, client, &waiting.request) {
            return false;
        }
        let trunk = Arc::clone(&self.leg(side).trunk);
        let Some(mut waiting) = turn.wire.answer(waiting, Owner::Call(self.id, side), &trunk, response) else {
            return false;
        };
        let before = waiting.request.headers.cseq().number;
        if !self.renumber(side, &mut waiting.request) {
            return false;
        }
        let request = waiting.request.clone();
        self.on_refer_renumbered(side, before, &request);
        turn.renew(self.line(side), client, waiting);
        if request.method == Method::Invite && request.headers.to().tag().is_none() {
            self.on_invite_renewed(turn, client, request);
        } else {
            self.on_exchange_renewed(client);
        }
        true
    }

    /// Whether the answer to a request still matters: not of an INVITE that is being cancelled, of a BYE to who has hung up,
    /// nor of what was carried through a call that has ended.
    fn is_wanted_still(&self, side: Leg, client: ClientId, request: &Request) -> bool {
        match request.method {
            // The peer's own BYE may have come meanwhile.
            Method::Bye => self.leg(side).is_leaving_by(client) || self.is_fork_leaving_by(client),
            Method::Invite if request.headers.to().tag().is_none() => {
                matches!(&self.b.state, LegState::Inviting { client: c, cancel: None, .. } if *c == client)
            }
            // How a transfer goes on may be told to who has hung up.
            Method::Notify => self.phase != Phase::Ending,
            _ => self.phase != Phase::Ending && !self.leg(side).is_over(),
        }
    }

    /// The next CSeq number (RFC 3261 §22.2): of the dialog, or of the INVITE that is to make one.
    fn renumber(&mut self, side: Leg, request: &mut Request) -> bool {
        let number = match request.headers.to().tag() {
            None => Some(request.headers.cseq().number.saturating_add(1)),
            Some(theirs) => {
                let ours = request.headers.from().tag().unwrap_or_default();
                let found = match side {
                    Leg::A => self.focus_on(ours),
                    Leg::B => self.focus_on_callee(theirs),
                };
                let dialog = self.leg_mut(side).dialog.as_mut().filter(|_| found);
                let number = dialog.map(Dialog::next_number);
                number.or_else(|| self.next_number_of_leaving(theirs))
            }
        };
        number.and_then(|number| set_number(request, number)).is_some()
    }

    /// B's INVITE went out again, as this transaction: what was heard of it before is forgotten.
    pub(in crate::b2bua) fn on_invite_renewed(&mut self, turn: &mut Turn<'_>, client: ClientId, invite: Request) {
        self.close_exchange(turn);
        self.start_over(turn);
        self.b.dialog = None;
        self.b.invite = Some(Box::new(invite));
        self.invited_by = self.b.flow;
        self.b.state = LegState::Inviting {
            client,
            provisional: false,
            cancel: None,
        };
        self.watch_answer(turn, false);
    }

    /// A re-INVITE went out again: nothing to cancel until the far end has heard of it, and its provisional answers are
    /// numbered anew.
    fn on_exchange_renewed(&mut self, client: ClientId) {
        let Some(exchange) = self
            .exchange
            .as_mut()
            .filter(|exchange| exchange.client == Some(client))
        else {
            return;
        };
        exchange.reliable = Reliable::default();
        if let Stage::Waiting { provisional, .. } = &mut exchange.stage {
            *provisional = false;
        }
    }
}
