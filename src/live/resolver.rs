//! Asks DNS for the names of trunks, again whenever an answer has grown old, and tells signalling and the sockets.
//!
//! What to ask, and what follows from it, is decided in `trunk::Search`. The last good answer is kept when DNS fails.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, Record as Answered, RecordType};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use super::clock::Clock;
use super::peers::{Owner, Peers};
use crate::engine::Input;
use crate::model::Timestamp;
use crate::sip::Transport;
use crate::trunk::{
    Aim, Answer, Located, Query, Rank, Record, RecordKind, Search, Site, Source, Step, TTL_MAX, TTL_MIN, Trunk,
};

/// How long one query may take, retries of the resolver included.
const QUERY_MAX: Duration = Duration::from_secs(10);
/// Configurations that wait to be looked at. Full: whoever reloads waits.
const NEWS_MAX: usize = 4;
/// Records of one answer that are read; the rest are not.
const RECORDS_MAX: usize = 256;

/// How long an answer of no records holds; the zone's own time for that is not looked at.
const NOTHING_FOR: Duration = Duration::from_secs(60);

/// The end that tells the resolver of another configuration.
#[derive(Clone, Debug)]
pub(super) struct ResolverLink(mpsc::Sender<Vec<Trunk>>);

impl ResolverLink {
    /// These are the trunks from now on.
    pub(super) async fn follow(&self, trunks: Vec<Trunk>) {
        if self.0.send(trunks).await.is_err() {
            tracing::debug!("the resolver has ended");
        }
    }
}

/// What is known of one name.
#[derive(Debug)]
struct Name {
    due: Timestamp,
    /// Failures in a row.
    failures: u32,
    /// Of the last answer: the lookup of some address had failed.
    is_partial: bool,
    located: Option<Located>,
}

/// The names of all trunks, and who may speak to the sockets because of them.
pub(super) struct Resolver {
    clock: Clock,
    dns: TokioResolver,
    /// Transports that we speak, true for IPv4.
    ways: Vec<(Transport, bool)>,
    peers: Peers,
    events: mpsc::Sender<Input>,
    news: mpsc::Receiver<Vec<Trunk>>,
    trunks: Vec<Trunk>,
    names: BTreeMap<Aim, Name>,
    /// Who was admitted and may have calls still: until signalling says who has.
    retired: BTreeSet<Source>,
    /// As signalling knows them; ends with it.
    speaking: watch::Receiver<Vec<Source>>,
}

/// DNS as this host is configured for it (`/etc/resolv.conf`). Names are absolute: search lists do not apply.
fn system() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    // Freshness is decided here, by the bounds of `trunk::locate`.
    builder.options_mut().cache_size = 0;
    builder.build()
}

/// Without a configuration of DNS no name can be located; addresses do not need it.
pub(super) fn system_or_none() -> Result<TokioResolver, NetError> {
    system().or_else(|error| {
        tracing::error!(%error, "DNS is not configured on this host: names of trunks cannot be located");
        let runtime = TokioRuntimeProvider::default();
        TokioResolver::builder_with_config(ResolverConfig::default(), runtime).build()
    })
}

impl Resolver {
    pub(super) fn new(
        clock: Clock,
        dns: TokioResolver,
        listeners: &[(Transport, SocketAddr)],
        peers: Peers,
        events: mpsc::Sender<Input>,
        speaking: watch::Receiver<Vec<Source>>,
    ) -> (Self, ResolverLink) {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let mut ways: Vec<(Transport, bool)> = listeners.iter().map(|(t, at)| (*t, at.is_ipv4())).collect();
        ways.sort_unstable();
        ways.dedup();
        let resolver = Self {
            clock,
            dns,
            ways,
            peers,
            events,
            news,
            trunks: Vec::new(),
            names: BTreeMap::new(),
            retired: BTreeSet::new(),
            speaking,
        };
        (resolver, ResolverLink(sender))
    }

    /// Runs until its link or signalling is gone.
    pub(super) async fn run(mut self) {
        loop {
            let next = self.names.iter().min_by_key(|(_, name)| name.due);
            let next = next.map(|(aim, name)| (aim.clone(), name.due));
            let clock = self.clock;
            let due = async {
                match &next {
                    Some((_, due)) => sleep_until(clock.instant(*due).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                trunks = self.news.recv() => match trunks {
                    Some(trunks) => self.follow(trunks),
                    None => return,
                },
                Ok(()) = self.speaking.changed() => {
                    self.retired = self.speaking.borrow_and_update().iter().copied().collect();
                    self.admit(BTreeSet::new());
                }
                () = due => {
                    let Some((aim, _)) = next else { continue };
                    if !self.refresh(aim).await {
                        return;
                    }
                }
            }
        }
    }

    /// Another configuration: every name is asked for anew.
    fn follow(&mut self, trunks: Vec<Trunk>) {
        let before = self.admitted();
        self.trunks = trunks;
        let now = self.clock.now();
        let sites = self.trunks.iter().flat_map(|trunk| &trunk.sites);
        let aims: Vec<Aim> = sites.filter_map(Site::aim).collect();
        self.names.retain(|aim, _| aims.contains(aim));
        for aim in aims {
            let name = self.names.entry(aim).or_insert(Name {
                due: now,
                failures: 0,
                is_partial: false,
                located: None,
            });
            name.due = now;
        }
        self.admit(before);
    }

    /// Asks for one name, until there is another configuration. False when its link or signalling is gone.
    async fn refresh(&mut self, aim: Aim) -> bool {
        let Some(name) = self.names.get(&aim) else {
            return true;
        };
        let mut search = Search::new(aim.clone(), self.ways.clone(), name.located.as_ref());
        let step = loop {
            match search.poll() {
                Step::Ask(query) => tokio::select! {
                    biased;
                    // A dead DNS keeps no new peer waiting; the search is begun again.
                    trunks = self.news.recv() => match trunks {
                        Some(trunks) => {
                            self.follow(trunks);
                            return true;
                        }
                        None => return false,
                    },
                    answer = ask(&self.dns, &query) => search.handle_answer(answer),
                },
                end => break end,
            }
        };
        let now = self.clock.now();
        let before = self.admitted();
        let Some(name) = self.names.get_mut(&aim) else {
            return true;
        };
        let Step::Found(located) = step else {
            name.failures = name.failures.saturating_add(1);
            let pause = TTL_MIN.saturating_mul(1_u32.checked_shl(name.failures - 1).unwrap_or(u32::MAX));
            name.due = now + pause.min(TTL_MAX / 12);
            let kept = name.located.as_ref().map_or(0, |located| located.servers.len());
            tracing::warn!(name = %aim.name, failures = name.failures, kept, "DNS has no usable answer");
            return true;
        };
        (name.failures, name.due) = (0, now + located.ttl);
        if !std::mem::replace(&mut name.is_partial, search.is_partial()) && search.is_partial() {
            tracing::warn!(name = %aim.name, "DNS does not say where every server of it is: what is known of those stays as it was");
        }
        let servers = located.servers.len();
        if name.located.as_ref().map(|old| &old.servers) == Some(&located.servers) {
            return true;
        }
        tracing::info!(name = %aim.name, servers, ttl = ?located.ttl, "located");
        name.located = Some(located.clone());
        // The sockets first: who is sent to may answer.
        self.admit(before);
        self.events.send(Input::Located { aim, located }).await.is_ok()
    }

    /// Who may speak now, by configuration and by DNS.
    fn admitted(&self) -> BTreeSet<Source> {
        let configured = self.trunks.iter().flat_map(Trunk::senders);
        let located = self.names.values().filter_map(|name| name.located.as_ref());
        let addresses = located
            .flat_map(|located| &located.servers)
            .flat_map(|server| &server.addresses);
        let addresses = addresses.map(|at| Source::from((at.ip(), None)));
        configured.chain(addresses).collect()
    }

    fn owners(&self) -> Vec<(SocketAddr, Owner)> {
        let mut owners = Vec::new();
        for trunk in &self.trunks {
            for aim in trunk.sites.iter().filter_map(Site::aim) {
                let located = self.names.get(&aim).and_then(|name| name.located.as_ref());
                let servers = located.iter().flat_map(|located| &located.servers);
                let owner = Owner {
                    trunk: trunk.name.clone(),
                    name: aim.name,
                };
                let addresses = servers.flat_map(|server| &server.addresses);
                owners.extend(addresses.map(|at| (*at, owner.clone())));
            }
        }
        owners
    }

    /// Opens the sockets to who may speak now, and leaves them open to who may have calls still.
    fn admit(&mut self, before: BTreeSet<Source>) {
        let now = self.admitted();
        self.retired.extend(before.difference(&now));
        let all = now.iter().chain(&self.retired);
        self.peers.replace(all.copied(), self.owners());
    }
}

async fn ask(dns: &TokioResolver, query: &Query) -> Answer {
    let kind = match query.kind {
        RecordKind::Naptr => RecordType::NAPTR,
        RecordKind::Srv => RecordType::SRV,
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
    };
    // With its final dot the name is absolute.
    match timeout(QUERY_MAX, dns.lookup(format!("{}.", query.name), kind)).await {
        Ok(Ok(lookup)) => {
            let answers = lookup.answers().iter().take(RECORDS_MAX);
            let ttl = answers.clone().map(|record| record.ttl).min().unwrap_or(0);
            Answer::Records {
                records: answers.filter_map(record).collect(),
                ttl: Duration::from_secs(u64::from(ttl)),
            }
        }
        Ok(Err(error)) if error.is_no_records_found() || error.is_nx_domain() => Answer::Records {
            records: Vec::new(),
            ttl: NOTHING_FOR,
        },
        Ok(Err(error)) => {
            tracing::debug!(name = %query.name, ?kind, %error, "DNS");
            Answer::Failed
        }
        Err(_) => Answer::Failed,
    }
}

fn record(answered: &Answered) -> Option<Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match &answered.data {
        RData::A(a) => Record::Address(a.0.into()),
        RData::AAAA(aaaa) => Record::Address(aaaa.0.into()),
        RData::SRV(srv) => Record::Srv {
            rank: Rank {
                priority: srv.priority,
                weight: srv.weight,
            },
            port: srv.port,
            target: srv.target.to_ascii(),
        },
        RData::NAPTR(naptr) => Record::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            services: text(&naptr.services),
            regexp: text(&naptr.regexp),
            replacement: naptr.replacement.to_ascii(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
