//! Who calls, as the headers of an INVITE name them.

use std::net::IpAddr;

use crate::sip::{NameAddr, Request, Uri};
use crate::trunk::Trunk;

/// Identities of one header of an INVITE that are looked at; of who sent it on, the latest.
pub(in crate::b2bua) const IDENTITIES_MAX: usize = 16;

const ASSERTED: &str = "P-Asserted-Identity";
const PREFERRED: &str = "P-Preferred-Identity";
const REMOTE: &str = "Remote-Party-ID";

/// What names the caller beside From.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Named {
    /// URIs that a trusted trunk vouches for: of P-Asserted-Identity, else of a Remote-Party-ID that is not of the callee.
    pub(in crate::b2bua) asserted: Vec<String>,
    /// What any caller may write: all of that where the trunk is not trusted, what a phone prefers to be (RFC 3325 §9.2), and
    /// as text what was to be vouched for and is no name-addr.
    pub(in crate::b2bua) claimed: Vec<String>,
    /// Hosts of From and of these URIs that are the trunk's own addresses.
    pub(in crate::b2bua) at_trunk: Vec<String>,
}

impl Named {
    pub(in crate::b2bua) fn of(invite: &Request, from: &Trunk) -> Self {
        let mut named = Self::default();
        let mut in_assertion = false;
        for (name, value) in [ASSERTED, REMOTE, PREFERRED]
            .into_iter()
            .flat_map(|name| values(invite, name))
        {
            let party = NameAddr::parse(value);
            let is_vouched = from.trusted && name != PREFERRED && !(name == REMOTE && in_assertion);
            match party {
                Ok(party) if name == REMOTE && is_called(&party) => {}
                Ok(party) if is_vouched => {
                    in_assertion |= name == ASSERTED;
                    named.asserted.push(party.uri().to_string());
                }
                Ok(_) if from.trusted && name == REMOTE => {}
                Ok(party) => named.claimed.push(party.uri().to_string()),
                Err(_) => named.claimed.push(value.to_owned()),
            }
        }
        let uris = named.asserted.iter().chain(&named.claimed);
        let uris = uris.filter_map(|uri| Uri::parse(uri).ok());
        let uris = uris.chain([invite.headers.from().uri().clone()]);
        let hosts = uris.filter_map(|uri| uri.host().map(str::to_owned));
        named.at_trunk = hosts.filter(|host| is_of(from, host)).collect();
        named
    }
}

fn values<'a>(invite: &'a Request, name: &'static str) -> impl Iterator<Item = (&'static str, &'a str)> {
    let values = invite.headers.get_all(name).take(IDENTITIES_MAX);
    values.map(move |value| (name, value))
}

/// A Remote-Party-ID that names whom it is for.
pub(in crate::b2bua) fn is_called(party: &NameAddr) -> bool {
    party
        .param("party")
        .is_some_and(|party| party.eq_ignore_ascii_case("called"))
}

fn is_of(trunk: &Trunk, host: &str) -> bool {
    let address = host
        .trim_matches(['[', ']'])
        .parse()
        .map(|ip: IpAddr| ip.to_canonical());
    address.is_ok_and(|address| {
        let mut peers = trunk.peers.iter().map(|peer| peer.ip);
        let mut located = trunk.located.iter().map(|located| located.ip());
        peers.any(|ip| ip.to_canonical() == address)
            || located.any(|ip| ip.to_canonical() == address)
            || trunk.networks.iter().any(|network| network.contains(address))
    })
}
