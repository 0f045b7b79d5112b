//! Which trunks a source may be of: found by its address, however many there are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::network::Networks;
use super::peer::{Peer, Trunk};
use super::source::Source;
use crate::sip::Transport;

/// By address: which of the trunks, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Senders {
    /// Trunks that name an address to the port.
    named: BTreeMap<SocketAddr, Vec<usize>>,
    hosts: BTreeMap<IpAddr, Vec<Host>>,
    networks: Networks<Vec<usize>>,
}

/// A trunk at an address.
#[derive(Clone, Copy, Debug)]
struct Host {
    trunk: usize,
    /// It may send datagrams from any port of it.
    by_any_port: bool,
}

impl Senders {
    pub(super) fn of(trunks: &[Arc<Trunk>]) -> Self {
        let mut all = Self::default();
        for (at, trunk) in trunks.iter().enumerate() {
            for source in trunk.senders() {
                match source {
                    Source::Peer(Peer { ip, port }) => {
                        if let Some(port) = port {
                            push(
                                all.named.entry(SocketAddr::new(ip.to_canonical(), port)).or_default(),
                                at,
                            );
                        }
                        all.add_host(ip, at, port.is_none());
                    }
                    Source::Network(network) => push(all.networks.entry(network), at),
                }
            }
            for (_, located) in &trunk.located {
                let address = SocketAddr::new(located.ip().to_canonical(), located.port());
                push(all.named.entry(address).or_default(), at);
            }
        }
        all
    }

    fn add_host(&mut self, ip: IpAddr, trunk: usize, by_any_port: bool) {
        let hosts = self.hosts.entry(ip.to_canonical()).or_default();
        match hosts.last_mut().filter(|last| last.trunk == trunk) {
            Some(last) => last.by_any_port |= by_any_port,
            None => hosts.push(Host { trunk, by_any_port }),
        }
    }

    /// The trunks that a message from `source` may be of: those that name its port before those that name its address, and
    /// these before those that name a range around it, the longest first. `transport`: by which the message of a trunk comes.
    pub(super) fn at<'a>(
        &'a self,
        source: SocketAddr,
        transport: impl Fn(usize) -> Option<Transport> + 'a,
    ) -> impl Iterator<Item = usize> + 'a {
        let ip = source.ip().to_canonical();
        let named = self.named.get(&SocketAddr::new(ip, source.port()));
        let may_send = move |host: &&Host| {
            // A connection comes from a port of the kernel's choice.
            host.by_any_port || transport(host.trunk).is_some_and(|transport| transport != Transport::Udp)
        };
        let hosts = self.hosts.get(&ip).into_iter().flatten();
        let hosts = hosts.filter(may_send).map(|host| host.trunk);
        let networks = self.networks.around(ip).flatten().copied();
        named.into_iter().flatten().copied().chain(hosts).chain(networks)
    }
}

fn push(trunks: &mut Vec<usize>, at: usize) {
    if trunks.last() != Some(&at) {
        trunks.push(at);
    }
}
