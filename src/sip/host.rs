//! Hosts and ports, as URIs and Via write them (RFC 3261 §25.1 `hostport`).

use std::net::IpAddr;

use super::uri::UriError;

/// Length of the host in `host [":" port]`, and the port. Also the form of Via's sent-by.
pub(super) fn split_host_port(text: &str) -> Result<(usize, Option<u16>), UriError> {
    let host_bytes = if text.starts_with('[') {
        text.find(']').ok_or(UriError::BadHost)? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let host = text.get(..host_bytes).ok_or(UriError::BadHost)?;
    if !is_host(host) {
        return Err(UriError::BadHost);
    }
    let port = match text.get(host_bytes..).unwrap_or_default() {
        "" => None,
        tail => {
            let digits = tail.strip_prefix(':').ok_or(UriError::BadHost)?;
            let all_digits = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
            let port = digits.parse().ok().filter(|port| *port != 0 && all_digits);
            Some(port.ok_or(UriError::BadPort)?)
        }
    };
    Ok((host_bytes, port))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        // '_' is no host name in RFC 1123, and common in private DNS.
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'))
        }
    }
}

/// An address as `host` writes it, IPv6 with or without brackets.
pub(super) fn parse_ip(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().ok()
}
