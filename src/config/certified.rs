//! Whose certificate is believed: the names that one can be for, and trunks that one connection could be of.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use super::{Delivery, Trunk, TrunkTls};
use crate::model::TrunkName;
use crate::policy::Code;
use crate::policy::reader::Table;

const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A name that a certificate can be for, as TLS takes it: a DNS name (RFC 5890 §2.3.1, and `_`), or an IP address, here
/// without brackets. What is given is taken by rustls for certain: a name that it refused could not be demanded.
pub(crate) fn certified_name(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inside) = bare {
        return inside.parse().ok().filter(IpAddr::is_ipv6).map(|ip| ip.to_string());
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_string());
    }
    let labels: Vec<&str> = text.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    let is_name = text.len() <= NAME_BYTES_MAX && labels.iter().all(|label| is_label(label)) && !is_number(last);
    is_name.then(|| text.to_owned())
}

fn is_label(label: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A last label like this makes an IPv4 address of the whole, in one of its old forms.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|c| c.is_ascii_hexdigit()),
        None => label.bytes().all(|c| c.is_ascii_digit()),
    }
}

/// Notes trunks of one address that demand or show different certificates: a connection that comes from there has a port of
/// its own choice, and could be of either. `server_name` may differ: it is for connections that we open, to a known port.
pub(super) fn agreed(
    root: &Table<'_>,
    trunks: &[(Trunk, Range<usize>)],
    deliveries: BTreeMap<TrunkName, Delivery>,
) -> BTreeMap<TrunkName, Delivery> {
    let tls = |trunk: &Trunk| deliveries.get(&trunk.name).and_then(|delivery| delivery.tls.as_ref());
    let mut earlier: BTreeMap<IpAddr, &Trunk> = BTreeMap::new();
    for (trunk, span) in trunks {
        if !trunk.transport.is_secure() && tls(trunk).is_none() {
            continue;
        }
        let mut differs = None;
        for peer in &trunk.peers {
            let other = *earlier.entry(peer.ip.to_canonical()).or_insert(trunk);
            if !is_same_proof(tls(other), tls(trunk)) {
                differs = Some((other, peer.ip));
            }
        }
        if let Some((other, ip)) = differs {
            let message = format!("`{}` and `{}` differ in `[trunk.tls]`", other.name, trunk.name);
            let finding = root
                .at(Code::DuplicatePeer, span, message)
                .label(format!("both at {ip}"))
                .effect("a TLS connection from there could be of either trunk");
            root.note(finding.hint("give both the same `ca`, `client_name`, `certificate` and `key`"));
        }
    }
    deliveries
}

fn is_same_proof(one: Option<&TrunkTls>, other: Option<&TrunkTls>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            (&one.client_name, &one.ca, &one.certificate) == (&other.client_name, &other.ca, &other.certificate)
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_a_host_name_or_an_address_and_for_nothing_that_tls_refuses() {
        for (text, name) in [
            ("pbx.example.com", "pbx.example.com"),
            ("_sip.pbx-1.Example.com", "_sip.pbx-1.Example.com"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
        ] {
            assert_eq!(certified_name(text).as_deref(), Some(name), "{text}");
        }
        let label = "a".repeat(64);
        let long = [&label[1..]; 4].join(".");
        for text in [
            "",
            "pbx..example.com",
            ".example.com",
            "example.com.",
            "-pbx.example.com",
            "pbx-.example.com",
            "*.example.com",
            "pbx:5061",
            "[2001:db8::1]:5061",
            "[192.0.2.1]",
            "[pbx]",
            "192.0.2",
            "pbx.0x1f",
            "b\u{fc}ro.example.com",
            &format!("{label}.example.com"),
            &long,
        ] {
            assert_eq!(certified_name(text), None, "{text}");
        }
    }
}
