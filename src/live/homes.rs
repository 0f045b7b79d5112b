//! Where trunks listen: only for these addresses may a connection that a peer has opened stand (RFC 5923 §8.2, RFC 7118 §5).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::sip::Transport;
use crate::trunk::{Peer, Trunk};

/// All clones are the same set: a reload replaces it, the sockets read it without a lock.
#[derive(Clone, Debug, Default)]
pub struct Homes(Arc<ArcSwap<BTreeSet<(Transport, SocketAddr)>>>);

impl Homes {
    pub fn of(trunks: &[Trunk]) -> Self {
        let homes = Self::default();
        homes.follow(trunks);
        homes
    }

    /// Those of these trunks from now on.
    pub fn follow(&self, trunks: &[Trunk]) {
        let of_trunk = |trunk: &Trunk| {
            let transport = trunk.transport;
            let home = move |peer: &Peer| (transport, peer.address_by(transport));
            trunk.peers.iter().map(home).collect::<Vec<_>>()
        };
        self.0.store(Arc::new(trunks.iter().flat_map(of_trunk).collect()));
    }

    pub fn contains(&self, transport: Transport, at: SocketAddr) -> bool {
        self.0.load().contains(&(transport, at))
    }

    #[cfg(test)]
    pub fn at<const N: usize>(homes: [(Transport, SocketAddr); N]) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(homes.into())))
    }

    /// Those of one host.
    pub fn at_host(&self, transport: Transport, ip: IpAddr) -> Vec<SocketAddr> {
        let homes = self.0.load();
        let here = homes.iter().filter(|(of, at)| *of == transport && at.ip() == ip);
        here.map(|(_, at)| *at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_it_sees_the_trunks_of_a_reload() {
        let ip: IpAddr = [192, 0, 2, 1].into();
        let trunk = |transport, port| Trunk {
            transport,
            ..Trunk::new("pbx".into(), vec![Peer { ip, port }])
        };
        let homes = Homes::of(&[trunk(Transport::Ws, None)]);
        let held = homes.clone();
        assert_eq!(held.at_host(Transport::Ws, ip), [SocketAddr::new(ip, 80)]);
        homes.follow(&[trunk(Transport::Wss, Some(8443))]);
        assert!(held.at_host(Transport::Ws, ip).is_empty());
        assert!(held.contains(Transport::Wss, SocketAddr::new(ip, 8443)));
    }
}
