//! From a name to the servers behind it: which queries DNS is asked, and what follows from the answers (RFC 3263 §4).
//!
//! A hostile answer costs a bounded amount of work: so many records of each kind are looked at, so many queries asked.
//! CNAME chains are followed by the resolver, eight links at most.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::destination::Rank;
use super::site::{Aim, DomainName};
use crate::sip::Transport;

/// NAPTR records of a name that are looked at, the first in their order; the rest are not.
const SERVICES_MAX: usize = 16;
/// SRV records of a service that are looked at, the first in their order; the rest are not.
const SERVERS_MAX: usize = 32;
/// Addresses of one host that are kept; the rest are not.
const ADDRESSES_MAX: usize = 16;
/// Queries for one name: the services of each transport, both address families of each server. Then what is known counts.
const QUERIES_MAX: usize = 80;
/// However short a TTL is, a name is asked for no more often.
pub const TTL_MIN: Duration = Duration::from_secs(5);
/// How soon a name is asked for again of which a part could not be looked up.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// However long a TTL is, a name is asked for again.
pub const TTL_MAX: Duration = Duration::from_secs(3_600);

/// NAPTR services and SRV prefixes of the transports that are chosen without being named, in the order in which SRV is asked
/// where there is no NAPTR (RFC 3263 §4.1). TLS is chosen by NAPTR alone, for a trunk that says whose certificate to believe.
/// WebSocket is not (`SIP+D2W`): only the peer opens one.
const SERVICES: &[(Transport, &str, &str)] = &[
    (Transport::Udp, "SIP+D2U", "_sip._udp"),
    (Transport::Tcp, "SIP+D2T", "_sip._tcp"),
];
const SECURE: (Transport, &str, &str) = (Transport::Tls, "SIPS+D2T", "_sips._tcp");

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordKind {
    Naptr,
    Srv,
    A,
    Aaaa,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    pub name: DomainName,
    pub kind: RecordKind,
}

/// A record as it came; text of strangers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Record {
    Naptr {
        order: u16,
        preference: u16,
        flags: String,
        services: String,
        regexp: String,
        replacement: String,
    },
    Srv {
        rank: Rank,
        port: u16,
        target: String,
    },
    Address(IpAddr),
}

/// What DNS said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// None: there are no such records.
    Records { records: Vec<Record>, ttl: Duration },
    /// No server answered, or only with an error: nothing is known.
    Failed,
}

/// One server of a name, with its addresses in the order in which they are tried.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// Whose addresses they are.
    pub host: DomainName,
    pub rank: Rank,
    pub transport: Transport,
    pub addresses: Vec<SocketAddr>,
}

/// The servers of a name, and for how long that holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Located {
    pub servers: Vec<Server>,
    /// The shortest of all records that it follows from, from [`TTL_MIN`] to [`TTL_MAX`].
    pub ttl: Duration,
}

/// What comes next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    Ask(Query),
    Found(Located),
    /// Nothing usable, or nothing known: whoever has an older answer keeps it.
    Failed,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Stage {
    Services,
    /// SRV names to ask for, the one in flight first; `asked` of which transport it is.
    Servers(VecDeque<(Transport, DomainName)>),
    /// Hosts whose addresses are asked for, the one in flight first, each family in turn.
    Hosts(VecDeque<Lookup>),
    Failed,
}

/// A server whose addresses are not all known yet.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Lookup {
    server: Server,
    port: u16,
    kinds: VecDeque<RecordKind>,
}

/// The search for the servers of one name.
#[derive(Clone, Debug)]
pub struct Search {
    aim: Aim,
    /// Transports that we speak, with the address family of the listener: true for IPv4.
    ways: Vec<(Transport, bool)>,
    /// What was known before: where a host cannot be looked up, its addresses are still these.
    before: Vec<Server>,
    stage: Stage,
    found: Vec<Server>,
    is_partial: bool,
    /// Some address lookup was answered.
    is_answered: bool,
    ttl: Duration,
    queries: usize,
}

impl Search {
    /// `before`: what the last search found.
    pub fn new(aim: Aim, ways: Vec<(Transport, bool)>, before: Option<&Located>) -> Self {
        let mut search = Self {
            aim,
            ways,
            before: before.map(|located| located.servers.clone()).unwrap_or_default(),
            stage: Stage::Services,
            found: Vec::new(),
            is_partial: false,
            is_answered: false,
            ttl: TTL_MAX,
            queries: 0,
        };
        search.begin();
        search
    }

    /// RFC 3263 §4.1: a port or a transport that is named makes NAPTR needless; a port makes SRV needless too (§4.2).
    fn begin(&mut self) {
        match (self.aim.port, self.aim.transport) {
            (Some(port), transport) => self.look_up_host(transport.unwrap_or(Transport::Udp), port),
            (None, Some(transport)) => self.look_up_servers(&[transport]),
            (None, None) => {}
        }
    }

    /// What to ask next, or what came of it.
    pub fn poll(&self) -> Step {
        let query = match &self.stage {
            Stage::Services => Some((self.aim.name.clone(), RecordKind::Naptr)),
            Stage::Servers(names) => names.front().map(|(_, name)| (name.clone(), RecordKind::Srv)),
            Stage::Hosts(hosts) => hosts
                .front()
                .and_then(|lookup| Some((lookup.server.host.clone(), *lookup.kinds.front()?))),
            Stage::Failed => None,
        };
        match query {
            Some((name, kind)) if self.queries < QUERIES_MAX => Step::Ask(Query { name, kind }),
            _ if self.found.is_empty() || !self.is_answered => Step::Failed,
            _ => Step::Found(Located {
                servers: self.found.clone(),
                ttl: self.ttl.clamp(TTL_MIN, TTL_MAX),
            }),
        }
    }

    /// Whether an address lookup of some host has failed.
    pub const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Takes the answer to what `poll` asked.
    pub fn handle_answer(&mut self, answer: Answer) {
        self.queries += 1;
        let is_of_host = matches!(self.stage, Stage::Hosts(_));
        let (records, ttl) = match answer {
            Answer::Records { records, ttl } => {
                self.is_answered |= is_of_host;
                (records, ttl)
            }
            // The other servers are as good; this one is where it was, and soon asked for again.
            Answer::Failed if is_of_host => {
                self.is_partial = true;
                (self.known_before(), RETRY_AFTER)
            }
            Answer::Failed => {
                self.stage = Stage::Failed;
                return;
            }
        };
        self.ttl = self.ttl.min(ttl);
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Services => self.on_services(records),
            Stage::Servers(names) => self.on_servers(names, records),
            Stage::Hosts(hosts) => self.on_addresses(hosts, &records),
            Stage::Failed => {}
        }
    }

    /// The addresses that the host in flight had before; those of the family that was asked for count.
    fn known_before(&self) -> Vec<Record> {
        let Stage::Hosts(hosts) = &self.stage else {
            return Vec::new();
        };
        let host = hosts.front().map(|lookup| &lookup.server.host);
        let before = self.before.iter().filter(|server| Some(&server.host) == host);
        let addresses = before.flat_map(|server| &server.addresses);
        addresses.map(|at| Record::Address(at.ip())).collect()
    }

    fn speaks(&self, transport: Transport) -> bool {
        self.ways.iter().any(|(ours, _)| *ours == transport)
    }

    fn on_services(&mut self, records: Vec<Record>) {
        let mut services: Vec<((u16, u16), Transport, DomainName)> = Vec::new();
        for record in records {
            let Record::Naptr {
                order,
                preference,
                flags,
                services: service,
                regexp,
                replacement,
            } = record
            else {
                continue;
            };
            let mut chosen = SERVICES.iter().chain(self.aim.certified.then_some(&SECURE));
            let known = chosen.find(|(_, word, _)| word.eq_ignore_ascii_case(&service));
            let Some((transport, ..)) = known.filter(|(transport, ..)| self.speaks(*transport)) else {
                continue;
            };
            // RFC 3263 §4.1: the flag "s", an empty regular expression, and the replacement names an SRV record.
            if !flags.eq_ignore_ascii_case("s") || !regexp.is_empty() {
                continue;
            }
            if let Some(name) = DomainName::parse(&replacement) {
                services.push(((order, preference), *transport, name));
            }
        }
        services.sort_by_key(|(rank, ..)| *rank);
        services.truncate(SERVICES_MAX);
        if services.is_empty() {
            let ours: Vec<Transport> = SERVICES
                .iter()
                .map(|(transport, ..)| *transport)
                .filter(|transport| self.speaks(*transport))
                .collect();
            return self.look_up_servers(&ours);
        }
        self.stage = Stage::Servers(
            services
                .into_iter()
                .map(|(_, transport, name)| (transport, name))
                .collect(),
        );
    }

    fn look_up_servers(&mut self, transports: &[Transport]) {
        let name = |transport: &Transport| {
            let mut known = SERVICES.iter().chain([&SECURE]);
            let (_, _, prefix) = known.find(|(known, ..)| known == transport)?;
            let name = DomainName::parse(&format!("{prefix}.{}", self.aim.name))?;
            Some((*transport, name))
        };
        self.stage = Stage::Servers(transports.iter().filter_map(name).collect());
        self.skip_empty();
    }

    fn on_servers(&mut self, mut names: VecDeque<(Transport, DomainName)>, records: Vec<Record>) {
        let Some((transport, _)) = names.pop_front() else {
            return;
        };
        let mut servers: Vec<(Rank, u16, DomainName)> = Vec::new();
        for record in records {
            // A target of "." says that the service is not available there (RFC 2782); it is no name either.
            if let Record::Srv { rank, port, target } = record
                && port != 0
                && let Some(target) = DomainName::parse(&target)
            {
                servers.push((rank, port, target));
            }
        }
        if servers.is_empty() {
            self.stage = Stage::Servers(names);
            return self.skip_empty();
        }
        servers.sort_by_key(|(rank, ..)| *rank);
        servers.truncate(SERVERS_MAX);
        let hosts = servers
            .into_iter()
            .map(|(rank, port, host)| self.host(rank, transport, port, host));
        self.stage = Stage::Hosts(hosts.collect());
        self.skip_empty();
    }

    /// No SRV records at all: the host itself, at the default port (RFC 3263 §4.2).
    fn skip_empty(&mut self) {
        match &self.stage {
            Stage::Servers(names) if names.is_empty() => {
                let transport = self.aim.transport.unwrap_or(Transport::Udp);
                self.look_up_host(transport, transport.default_port());
            }
            _ => {}
        }
    }

    fn look_up_host(&mut self, transport: Transport, port: u16) {
        let host = self.host(Rank::default(), transport, port, self.aim.name.clone());
        self.stage = Stage::Hosts(VecDeque::from([host]));
    }

    fn host(&self, rank: Rank, transport: Transport, port: u16, host: DomainName) -> Lookup {
        let families = [(true, RecordKind::A), (false, RecordKind::Aaaa)];
        let reachable = |(is_v4, _): &(bool, RecordKind)| self.ways.contains(&(transport, *is_v4));
        let kinds = families.into_iter().filter(reachable).map(|(_, kind)| kind).collect();
        let server = Server {
            host,
            rank,
            transport,
            addresses: Vec::new(),
        };
        Lookup { server, port, kinds }
    }

    fn on_addresses(&mut self, mut hosts: VecDeque<Lookup>, records: &[Record]) {
        if let Some(lookup) = hosts.front_mut() {
            let (asked, port) = (lookup.kinds.pop_front(), lookup.port);
            let addresses = records.iter().filter_map(|record| match record {
                Record::Address(ip) if is_of(*ip, asked) && is_a_host(*ip) => Some(SocketAddr::new(*ip, port)),
                _ => None,
            });
            let server = &mut lookup.server;
            for address in addresses {
                if server.addresses.len() < ADDRESSES_MAX && !server.addresses.contains(&address) {
                    server.addresses.push(address);
                }
            }
            if lookup.kinds.is_empty() {
                let done = hosts.pop_front().map(|lookup| lookup.server);
                self.found.extend(done.filter(|server| !server.addresses.is_empty()));
            }
        }
        self.stage = Stage::Hosts(hosts);
    }
}

const fn is_of(ip: IpAddr, kind: Option<RecordKind>) -> bool {
    matches!(
        (ip, kind),
        (IpAddr::V4(_), Some(RecordKind::A)) | (IpAddr::V6(_), Some(RecordKind::Aaaa))
    )
}

/// Nobody can be sent to at these; a name that says so is broken or hostile.
fn is_a_host(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests;
