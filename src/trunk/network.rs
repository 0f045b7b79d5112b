//! Ranges of addresses (RFC 4632, RFC 4291 §2.3), and what is known of each.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Wider ranges are slips.
const BITS_MIN: u8 = 8;

/// All addresses that begin with the same bits, like `52.112.0.0/14`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// Why a text is no range. The operator's: to be written otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NetworkError {
    #[error("an address, `/` and the number of bits that its range has in common, like \"192.0.2.0/24\"")]
    Malformed,
    /// What was meant: another range, or one address?
    #[error("a range by its first address, which here is \"{network}\"")]
    NotFirst { network: Network },
    #[error("a range of at least {BITS_MIN} bits in common")]
    TooWide,
}

impl Network {
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = text.split_once('/').ok_or(NetworkError::Malformed)?;
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let is_number = (1..=3).contains(&bits.len()) && bits.bytes().all(|c| c.is_ascii_digit());
        let bits = bits
            .parse::<u8>()
            .ok()
            .filter(|_| is_number)
            .ok_or(NetworkError::Malformed)?;
        if bits > width(address) || address != address.to_canonical() {
            return Err(NetworkError::Malformed);
        }
        if bits < BITS_MIN {
            return Err(NetworkError::TooWide);
        }
        let network = Self::of(address, bits);
        if network.base == address {
            Ok(network)
        } else {
            Err(NetworkError::NotFirst { network })
        }
    }

    /// The range of `bits` that an address is in.
    fn of(address: IpAddr, bits: u8) -> Self {
        let spare = u32::from(width(address).saturating_sub(bits));
        let base = match address {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(spare).unwrap_or(0)).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(spare).unwrap_or(0)).into(),
        };
        Self { base, bits }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && Self::of(address, self.bits) == *self
    }

    /// Whether any address is of both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Something about each of many ranges, found by an address in as many steps as there are lengths of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Networks<T> {
    /// By family and length, the longest first.
    lengths: BTreeMap<(bool, Reverse<u8>), BTreeMap<IpAddr, T>>,
}

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Self {
            lengths: BTreeMap::new(),
        }
    }
}

impl<T: Default> Networks<T> {
    /// What is known of this very range.
    pub(super) fn entry(&mut self, network: Network) -> &mut T {
        let length = (network.base.is_ipv4(), Reverse(network.bits));
        self.lengths.entry(length).or_default().entry(network.base).or_default()
    }

    /// What is known of the ranges that an address is in, the longest first.
    pub(super) fn around(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        let address = address.to_canonical();
        let family = address.is_ipv4();
        let lengths = self.lengths.range((family, Reverse(u8::MAX))..=(family, Reverse(0)));
        lengths.filter_map(move |((_, Reverse(bits)), networks)| networks.get(&Network::of(address, *bits).base))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).expect(text)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_range_contains_its_first_and_its_last_address_and_no_other() {
        for (range, first, last, before, after) in [
            (
                "52.112.0.0/14",
                "52.112.0.0",
                "52.115.255.255",
                "52.111.255.255",
                "52.116.0.0",
            ),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.7", "192.0.2.6", "192.0.2.8"),
            ("10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
            (
                "2001:db8::/32",
                "2001:db8::",
                "2001:db8:ffff::1",
                "2001:db7:ffff::",
                "2001:db9::",
            ),
            (
                "2001:db8::9/128",
                "2001:db8::9",
                "2001:db8::9",
                "2001:db8::8",
                "2001:db8::a",
            ),
        ] {
            let network = network(range);
            assert_eq!(network.to_string(), range);
            assert!(network.contains(ip(first)) && network.contains(ip(last)), "{range}");
            assert!(!network.contains(ip(before)) && !network.contains(ip(after)), "{range}");
        }
        assert!(network("192.0.2.0/24").contains(ip("::ffff:192.0.2.9")), "mapped");
        assert!(
            !network("2001:db8::/32").contains(ip("32.1.13.184")),
            "the same bits of another family"
        );
    }

    #[test]
    fn what_is_no_range_is_refused_and_said_how() {
        for text in [
            "",
            "/",
            "192.0.2.0",
            "192.0.2.0/",
            "192.0.2.0/33",
            "192.0.2.0/+24",
            "192.0.2.0/24:5060",
            "::1/129",
            "::ffff:192.0.2.0/120",
            "[2001:db8::]/32",
            "example.com/24",
        ] {
            assert_eq!(Network::parse(text), Err(NetworkError::Malformed), "{text}");
        }
        for text in ["0.0.0.0/0", "10.0.0.0/7", "::/0"] {
            assert_eq!(Network::parse(text), Err(NetworkError::TooWide), "{text}");
        }
        let meant = network("52.112.0.0/14");
        assert_eq!(
            Network::parse("52.113.0.1/14"),
            Err(NetworkError::NotFirst { network: meant })
        );
    }

    #[test]
    fn the_longest_range_around_an_address_comes_first() {
        let mut networks = Networks::default();
        for text in [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.2.0.0/16",
            "2001:db8::/32",
        ] {
            *networks.entry(network(text)) = text;
        }
        let around = |text| networks.around(ip(text)).copied().collect::<Vec<_>>();
        assert_eq!(around("10.1.2.3"), ["10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/8"]);
        assert_eq!(around("10.2.2.3"), ["10.2.0.0/16", "10.0.0.0/8"]);
        assert_eq!(around("::ffff:10.9.0.1"), ["10.0.0.0/8"]);
        assert_eq!(around("2001:db8::1"), ["2001:db8::/32"]);
        assert!(around("11.0.0.1").is_empty());
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_what_is_read_is_written_back(text in "[0-9a-f.:/]{0,24}|[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,3}") {
            if let Ok(network) = Network::parse(&text) {
                prop_assert_eq!(Network::parse(&network.to_string()), Ok(network));
                prop_assert!(network.contains(network.base));
            }
        }

        #[test]
        fn a_range_is_around_exactly_the_addresses_that_it_contains(bits in 8..=32_u8, base: u32, addresses: [u32; 8]) {
            let network = Network::of(Ipv4Addr::from_bits(base).into(), bits);
            let mut networks = Networks::default();
            *networks.entry(network) = true;
            for address in addresses.map(|address| IpAddr::from(Ipv4Addr::from_bits(address))) {
                prop_assert_eq!(networks.around(address).next().is_some(), network.contains(address));
            }
            prop_assert!(networks.around(Ipv4Addr::from_bits(base).into()).next().is_some());
        }
    }
}
