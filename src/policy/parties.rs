//! Whose policies are asked: the caller, the callee, and who passed the call on.
//!
//! What the network vouches for counts in full. What the caller's side may write as it likes can only add: a policy that
//! records or blocks is taken from it, none is taken away by it.

use super::decide::{Ask, Role, key};
use super::grants::Found;
use super::identity::Identity;
use super::terms::Action;

/// More URIs of one party than this are not asked about; the first ones count.
const URIS_MAX: usize = 16;
/// More parties that passed the call on than this are not asked about, of those that are known and those that are claimed.
const REROUTERS_MAX: usize = 64;

impl Ask<'_> {
    /// P-Asserted-Identity of a trusted peer, else From (RFC 3325 §5). Where that names nobody, From can add.
    pub(super) fn callers(&self) -> Vec<Identity> {
        if self.facts.asserted.is_empty() {
            self.identities(std::iter::once(&self.facts.from))
        } else {
            self.identities(self.facts.asserted.iter())
        }
    }

    /// The Request-URI, and who it was meant for before it was retargeted.
    pub(super) fn callees(&self) -> Vec<Identity> {
        let facts = self.facts;
        let called = std::iter::once(&facts.request_uri).chain(&facts.called_party_id);
        self.identities(called.chain(&facts.called_at))
    }

    /// Those that can be read, each once; of users at our own addresses also those in the domains of the dial plan, after
    /// all that is written.
    fn identities<'u>(&self, uris: impl Iterator<Item = &'u String>) -> Vec<Identity> {
        let mut known: Vec<Identity> = Vec::new();
        for uri in uris.take(URIS_MAX) {
            let identity = Identity::parse(uri, self.plan);
            if identity.is_readable() && !known.contains(&identity) {
                known.push(identity);
            }
        }
        let ours: Vec<Identity> = known
            .iter()
            .filter(|party| self.is_at_our_address(party))
            .cloned()
            .collect();
        for alias in ours.iter().flat_map(|party| self.in_domains(party)) {
            if !known.contains(&alias) {
                known.push(alias);
            }
        }
        known
    }

    fn in_domains(&self, party: &Identity) -> impl Iterator<Item = Identity> {
        self.plan.domains.iter().filter_map(|domain| party.in_domain(domain))
    }

    fn is_at_our_address(&self, party: &Identity) -> bool {
        is_at(&self.facts.own_hosts, party)
    }

    /// Claims as they are written, as a switch may read them, and with both in the domains of the dial plan.
    fn claimed<'u>(&self, uris: impl Iterator<Item = &'u String> + Clone) -> Vec<Identity> {
        let mut claims = self.identities(uris.clone());
        claims.extend(self.readings(uris));
        let at_trunk = claims.iter().filter(|claim| is_at(&self.facts.caller_hosts, claim));
        let aliases: Vec<Identity> = at_trunk.flat_map(|claim| self.in_domains(claim)).collect();
        claims.extend(aliases);
        claims
    }

    /// Asks for the caller, or for the callee by the identities that the network vouches for.
    /// Gives by which grant.
    fn party(&mut self, role: Role, identities: &[Identity], far: &Identity) -> Option<(Identity, Found)> {
        let trunk = if role == Role::Caller {
            &self.facts.trunk
        } else {
            &self.facts.to_trunk
        };
        let nobody = Identity::default();
        let first = identities.first().unwrap_or(&nobody);
        let found = identities
            .iter()
            .chain(identities.is_empty().then_some(&nobody))
            .filter_map(|identity| Some((identity.clone(), self.set.grants.find(identity, trunk.as_ref())?)))
            .min_by_key(|(_, found)| found.nearest.level);
        match &found {
            Some((identity, found)) => self.apply(role, identity, far, found),
            None => self
                .trace
                .push(format!("{} {}  no grant → none", role.as_str(), key(first))),
        }
        found
    }

    /// Whom the call is sent on to under another name than it was called by, as either trunk writes numbers.
    pub(super) fn onward(&self, callees: &[Identity]) -> Vec<Identity> {
        let beyond = self.set.dial_plan_beyond(self.facts);
        let uris = || self.facts.sent_on_as.iter().take(URIS_MAX);
        let mut parties: Vec<Identity> = self.identities(uris());
        parties.extend(uris().map(|uri| Identity::parse(uri, beyond)));
        let aliases: Vec<Identity> = parties.iter().flat_map(|party| self.in_domains(party)).collect();
        parties.extend(aliases);
        let mut onward: Vec<Identity> = Vec::new();
        for party in parties {
            if party.is_readable() && !callees.contains(&party) && !onward.contains(&party) {
                onward.push(party);
            }
        }
        onward
    }

    /// Who is called in the end can only add, by a grant that is as near as those of who was called; the same user at
    /// another host, where who was called has none.
    pub(super) fn sent_on(&mut self, callees: &[Identity], onward: &[Identity], far: &Identity) {
        let own = callees.iter().filter_map(|callee| self.set.grants.find_person(callee));
        let own = own.map(|found| found.nearest.level).min();
        for party in onward {
            let Some(found) = self.set.grants.find_person(party) else {
                continue;
            };
            let is_another = !callees.iter().any(|callee| callee.is_namesake(party));
            let is_near = own.is_none_or(|own| is_another && found.nearest.level <= own);
            if is_near && self.adds(&found, Role::Callee, far) {
                self.apply(Role::Callee, party, far, &found);
            }
        }
    }

    /// What else the caller may be read as, and what is claimed of them, counts where they have no grant of their own.
    /// Their policy may look at the far end, which is also whom the call is sent on to.
    pub(super) fn caller(&mut self, identities: &[Identity], far: &Identity, onward: &[Identity]) {
        let facts = self.facts;
        let is_hidden = !facts.asserted.is_empty() && !identities.iter().any(Identity::names_somebody);
        let from = (facts.asserted.is_empty() || is_hidden).then_some(&facts.from);
        let claims = self.claimed(facts.asserted.iter().chain(from).chain(&facts.caller_claimed));
        self.claim(Role::Caller, identities, claims, far);
        if is_hidden {
            let claims = self.identities(std::iter::once(&facts.from));
            self.claim(Role::Caller, &[], claims, far);
        }
        let Some((caller, found)) = self.party(Role::Caller, identities, far) else {
            return;
        };
        let mut ends = onward.iter();
        if !self.adds(&found, Role::Caller, far)
            && let Some(end) = ends.find(|end| self.adds(&found, Role::Caller, end))
        {
            self.apply(Role::Caller, &caller, end, &found);
        }
    }

    /// To, P-Called-Party-ID of a peer that is not trusted, and the domain of a Request-URI that is not ours are written by
    /// the caller, while routes go by the user part: they are looked at where the callee has no grant of their own. So is
    /// what else a switch may make of the number.
    pub(super) fn callee(&mut self, identities: &[Identity], far: &Identity) {
        let facts = self.facts;
        let mut claims = self.identities(std::iter::once(&facts.to).chain(&facts.called_party_claimed));
        claims.extend(identities.iter().flat_map(|party| self.in_domains(party)));
        let readings = self.readings(std::iter::once(&facts.request_uri).chain(&facts.called_party_id));
        claims.extend(readings.iter().flat_map(|reading| self.in_domains(reading)));
        claims.extend(readings);
        self.claim(Role::Callee, identities, claims, far);
        self.party(Role::Callee, identities, far);
    }

    fn readings<'u>(&self, uris: impl Iterator<Item = &'u String>) -> Vec<Identity> {
        let uris = uris.take(URIS_MAX);
        uris.filter_map(|uri| Identity::read_otherwise(uri, self.plan, self.facts.writes_e164))
            .collect()
    }

    /// The first of these claims that a policy is found for which adds something, if the party is not known by themselves.
    fn claim(&mut self, role: Role, identities: &[Identity], claims: Vec<Identity>, far: &Identity) {
        let is_known = identities.iter().any(|i| self.set.grants.find_person(i).is_some());
        let mut claims = claims
            .into_iter()
            .filter(|claim| !is_known && !identities.contains(claim));
        let found = claims.find_map(|claim| {
            let found = self.set.grants.find_person(&claim)?;
            self.adds(&found, role, far).then_some((claim, found))
        });
        if let Some((claim, found)) = found {
            self.apply(role, &claim, far, &found);
        }
    }

    /// Everybody that the call was forwarded or transferred by, whose policy asks for that.
    pub(super) fn rerouters(&mut self, caller: &Identity, callee: &Identity) {
        let facts = self.facts;
        let known = facts.rerouted_by.iter().map(|uri| (uri, false)).take(REROUTERS_MAX);
        let claimed = facts
            .rerouting_claimed
            .iter()
            .map(|uri| (uri, true))
            .take(REROUTERS_MAX);
        let mut asked: Vec<Identity> = vec![caller.clone(), callee.clone()];
        for (uri, is_claimed) in known.chain(claimed) {
            for identity in self.identities(std::iter::once(uri)) {
                if asked.contains(&identity) {
                    continue;
                }
                asked.push(identity.clone());
                let Some(found) = self.set.grants.find_person(&identity) else {
                    continue;
                };
                let policy = self.set.policy(&found.nearest.grant);
                let counts = !is_claimed || self.adds(&found, Role::Rerouter, caller);
                if counts && policy.is_some_and(|policy| policy.record_rerouted_calls) {
                    self.apply(Role::Rerouter, &identity, caller, &found);
                }
            }
        }
        if facts.rerouters_left_out > 0 {
            let more = facts.rerouters_left_out;
            self.trace
                .push(format!("rerouted by  {more} more are named than are looked at"));
        }
    }

    /// Whether a grant makes a call more demanding, if anything.
    fn adds(&self, found: &Found, role: Role, far: &Identity) -> bool {
        let policy = self.set.policy(&found.nearest.grant).filter(|policy| policy.enabled);
        policy.is_some_and(|policy| matches!(self.action(policy, role, far), Action::Record | Action::Block))
    }
}

fn is_at(hosts: &[String], party: &Identity) -> bool {
    let bare = |host: &str| host.trim_matches(['[', ']']).to_ascii_lowercase();
    hosts.iter().any(|host| bare(host) == bare(&party.domain))
}
