//! The latch: from which address one socket takes packets, and to which the far leg's packets are sent.

use std::net::{IpAddr, SocketAddr};

/// Holds on to the source that the leg's SDP signalled.
///
/// | source | before it is locked | locked |
/// |---|---|---|
/// | the signalled address | taken, locks | taken, and wins over a lock on another port |
/// | the signalled host, another port | taken, locks (phones that send from elsewhere than they listen) | taken if it is the locked port |
/// | any other host | rejected | rejected |
///
/// So an injector has to forge the signalled host's address, and even then cannot push out the signalled port. A new
/// SDP with another address unlocks. An SDP that names no host to send to (port 0, multicast) takes and sends nothing. A
/// holder that names the null address is sent nothing; what it plays is taken from where it was before.
#[derive(Clone, Debug, Default)]
pub(super) struct Latch {
    signalled: Option<SocketAddr>,
    /// The port of the signalled host that packets come from.
    locked: Option<u16>,
    /// Nothing is sent there.
    deaf: bool,
}

impl Latch {
    /// The leg's newest SDP. `deaf`: it wants nothing sent.
    pub(super) fn signal(&mut self, remote: Option<SocketAddr>, deaf: bool) {
        let remote = remote.filter(is_sendable);
        if self.signalled != remote {
            self.signalled = remote;
            self.locked = None;
        }
        self.deaf = deaf;
    }

    pub(super) fn admits(&mut self, from: SocketAddr) -> bool {
        match self.signalled {
            Some(signalled) if signalled.ip() == from.ip() => {
                let port = from.port();
                if port == signalled.port() {
                    self.locked = Some(port);
                }
                *self.locked.get_or_insert(port) == port
            }
            _ => false,
        }
    }

    /// Where this leg is sent to: what it signalled. For a trunk behind NAT this becomes the locked source.
    pub(super) const fn destination(&self) -> Option<SocketAddr> {
        if self.deaf { None } else { self.signalled }
    }
}

/// One host's address: what is sent to it is not multiplied and does not come back to ourselves.
fn is_sendable(remote: &SocketAddr) -> bool {
    let ip = remote.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("invariant: a literal address")
    }

    fn latch(signalled: &str) -> Latch {
        let mut latch = Latch::default();
        latch.signal(Some(address(signalled)), false);
        latch
    }

    #[test]
    fn an_injector_from_another_host_never_gets_in() {
        let mut latch = latch("192.0.2.1:4000");
        assert!(!latch.admits(address("198.51.100.9:4000")), "not first,");
        assert!(latch.admits(address("192.0.2.1:4000")));
        assert!(!latch.admits(address("198.51.100.9:4000")), "nor later");
    }

    #[test]
    fn a_phone_that_sends_from_another_port_is_locked_to_it() {
        let mut latch = latch("192.0.2.1:4000");
        assert!(latch.admits(address("192.0.2.1:5555")));
        assert!(!latch.admits(address("192.0.2.1:6666")));
        assert!(latch.admits(address("192.0.2.1:5555")));
        assert_eq!(
            latch.destination(),
            Some(address("192.0.2.1:4000")),
            "sent to where it listens"
        );
    }

    #[test]
    fn the_signalled_port_wins_over_one_that_was_first() {
        let mut latch = latch("192.0.2.1:4000");
        assert!(latch.admits(address("192.0.2.1:5555")));
        assert!(latch.admits(address("192.0.2.1:4000")));
        assert!(!latch.admits(address("192.0.2.1:5555")));
    }

    #[test]
    fn a_new_sdp_moves_the_latch_and_a_repeated_one_does_not() {
        let mut latch = latch("192.0.2.1:4000");
        assert!(latch.admits(address("192.0.2.1:5555")));
        latch.signal(Some(address("192.0.2.1:4000")), false);
        assert!(!latch.admits(address("192.0.2.1:6666")), "still locked");
        latch.signal(Some(address("192.0.2.2:4000")), false);
        assert!(!latch.admits(address("192.0.2.1:5555")));
        assert!(latch.admits(address("192.0.2.2:7777")));
    }

    #[test]
    fn who_wants_nothing_sent_is_heard_from_where_it_was_and_nobody_else_is() {
        let mut latch = latch("192.0.2.1:4000");
        assert!(latch.admits(address("192.0.2.1:5555")));
        latch.signal(Some(address("192.0.2.1:4000")), true);
        assert_eq!(latch.destination(), None);
        assert!(latch.admits(address("192.0.2.1:5555")), "still locked");
        assert!(!latch.admits(address("192.0.2.1:6666")));
        assert!(!latch.admits(address("198.51.100.9:4000")));
        latch.signal(Some(address("192.0.2.1:4000")), false);
        assert_eq!(latch.destination(), Some(address("192.0.2.1:4000")));
    }

    #[test]
    fn what_is_no_host_is_neither_taken_from_nor_sent_to() {
        for nowhere in [
            "0.0.0.0:4000",
            "[::]:4000",
            "192.0.2.1:0",
            "239.1.1.1:4000",
            "[ff02::1]:4000",
            "255.255.255.255:9",
        ] {
            let mut latch = latch(nowhere);
            assert_eq!(latch.destination(), None, "{nowhere}");
            assert!(!latch.admits(address(nowhere)), "{nowhere}");
        }
    }

    /// One of a few hosts and ports, so that they meet.
    fn any_address() -> impl Strategy<Value = SocketAddr> {
        (1_u8..4, 4_000_u16..4_004).prop_map(|(host, port)| SocketAddr::new([192, 0, 2, host].into(), port))
    }

    proptest! {
        #[test]
        fn only_the_signalled_host_gets_in_and_its_signalled_port_shuts_the_others_out(
            steps in proptest::collection::vec((0_u8..8, any_address()), 1..60)
        ) {
            let mut latch = Latch::default();
            let mut signalled = None;
            let mut taken_from = Vec::new();
            for (what, address) in steps {
                if what == 0 {
                    if signalled != Some(address) {
                        taken_from.clear();
                    }
                    signalled = Some(address);
                    latch.signal(signalled, false);
                    continue;
                }
                let admitted = latch.admits(address);
                prop_assert!(!admitted || signalled.is_some_and(|signalled| signalled.ip() == address.ip()));
                prop_assert!(admitted || signalled != Some(address), "the signalled address is always taken");
                if admitted {
                    taken_from.push(address);
                }
                if signalled.is_some_and(|signalled| taken_from.contains(&signalled)) && signalled != Some(address) {
                    prop_assert!(!admitted, "another port, after the signalled one was heard");
                }
                let others: std::collections::BTreeSet<_> = taken_from.iter().filter(|a| signalled != Some(**a)).collect();
                prop_assert!(others.len() <= 1, "two ports besides the signalled one");
            }
        }
    }
}
