//! The places of a description that are ours to write, found once while it is read.

use std::ops::Range;

/// A place in the text, in order of appearance; places never overlap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Patch {
    /// A whole `c=` line's `nettype addrtype address`; of the session, or of the m-line `line`.
    Connection {
        span: Range<usize>,
        line: Option<usize>,
        /// 0.0.0.0 or `::`: the old way to hold (RFC 3264 §8.4).
        unspecified: bool,
    },
    /// `nettype addrtype unicast-address` of the `o=` line.
    Origin { span: Range<usize>, is_ipv4: bool },
    /// The port of an m-line, with its number of ports.
    Port { span: Range<usize>, line: usize },
    /// Where a `c=` line of the m-line `line` may be put in.
    Slot { at: usize, line: usize },
    /// The value of `a=rtcp` (RFC 3605) of the m-line `line`.
    Rtcp {
        span: Range<usize>,
        line: usize,
        /// It says where, not only the port.
        addressed: bool,
        /// It names the RTP port (RFC 5761 §5.1.3).
        muxed: bool,
    },
    /// The transport of an m-line.
    Protocol { span: Range<usize>, line: usize },
    /// A whole line that tells a key, or how one is agreed, of the m-line `line` or of the session.
    Secret { span: Range<usize>, line: Option<usize> },
    /// A whole line that says whether RTCP goes by the RTP port of the m-line `line`.
    Mux { span: Range<usize>, line: usize },
    /// Where the session's own lines end.
    Head { at: usize },
    /// Where the m-line `line` ends: keys of ours may be put in.
    Tail { at: usize, line: usize },
    /// A whole line that would lead media round the relay.
    Strip { span: Range<usize> },
}

/// Attributes that offer the peer another way than through c= and m=. Compared without regard to case.
const BYPASSES: &[&str] = &[
    "candidate",         // RFC 8839 §5.1
    "remote-candidates", // RFC 8839 §5.2
    "end-of-candidates", // RFC 8840
    "bundle-only",       // RFC 8843 §6
    "altc",              // RFC 6947: alternative connectivity
    "alt",               // its proprietary forerunner
    "csup",              // RFC 5939 §3.3.1: capabilities name other transports, profiles and keys
    "creq",              // RFC 5939 §3.3.2
    "acap",              // RFC 5939 §3.4.1: any attribute, keys too
    "tcap",              // RFC 5939 §3.4.2: the profile
    "pcfg",              // RFC 5939 §3.5.1
    "acfg",              // RFC 5939 §3.5.2
    "rmcap",             // RFC 6871: media formats, latent and session configurations
    "omcap",
    "mfcap",
    "mscap",
    "lcfg",
    "sescap",
    "ccap", // RFC 7195: connections
    "bcap", // RFC 7006: bandwidth, titles
    "icap",
    "source-filter", // RFC 4570 §3: whom alone its author sends from; it is we who send
    "path",          // RFC 4975 §8.1: where MSRP really connects to
    "msrp-cema",     // RFC 6714: MSRP that takes c= for a middlebox, and path for the peer
];

/// Attributes that tell a key or how one is agreed. They go where we encrypt with keys of our own.
const SECRETS: &[&str] = &[
    "crypto",      // RFC 4568
    "key-mgmt",    // RFC 4567
    "fingerprint", // RFC 8122
    "zrtp-hash",   // RFC 6189 §8
    "setup",       // RFC 4145, RFC 5763 §5
    "tls-id",      // RFC 8842
    "dtls-id",     // its forerunner
];

/// Attributes by which the ends agree on keys that no description tells: by MIKEY, a DTLS handshake, ZRTP.
const AGREEMENTS: &[&str] = &["key-mgmt", "fingerprint", "zrtp-hash"];

pub(super) fn is_agreement(name: &str) -> bool {
    AGREEMENTS.iter().any(|agreement| name.eq_ignore_ascii_case(agreement))
}

pub(super) fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

/// RFC 5761 §5.1.1, RFC 8858.
pub(super) fn is_mux(name: &str) -> bool {
    name.eq_ignore_ascii_case("rtcp-mux") || name.eq_ignore_ascii_case("rtcp-mux-only")
}

/// Whether an attribute has to go, at any level.
pub(super) fn is_bypass(name: &str, value: Option<&str>) -> bool {
    let is_ice = name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("ice-"));
    let is_bundle = name.eq_ignore_ascii_case("group")
        && value.is_some_and(|value| {
            let semantics = value.split_ascii_whitespace().next().unwrap_or_default();
            semantics.eq_ignore_ascii_case("BUNDLE")
        });
    // A capability may be a c= line (RFC 3407 §2.1); others tell which fax a gateway speaks.
    let is_place = ["cpar", "cparmin", "cparmax"]
        .iter()
        .any(|cap| name.eq_ignore_ascii_case(cap))
        && value.is_some_and(|value| matches!(value.trim_ascii_start().as_bytes(), [b'c' | b'C', b'=', ..]));
    is_ice || is_bundle || is_place || BYPASSES.iter().any(|bypass| name.eq_ignore_ascii_case(bypass))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_round_the_relay_is_known() {
        for (name, value) in [
            ("candidate", Some("1 1 UDP 1 192.0.2.1 9 typ host")),
            ("Candidate", None),
            ("ice-lite", None),
            ("ICE-ufrag", Some("x")),
            ("group", Some("BUNDLE 0 1")),
            ("end-of-candidates", None),
            ("path", Some("msrp://192.0.2.1:7654/x;tcp")),
            ("msrp-cema", None),
            ("cpar", Some(" c=IN IP4 192.0.2.1")),
            ("source-filter", Some(" incl IN IP4 * 192.0.2.1")),
            ("tcap", Some("1 RTP/SAVP")),
            ("Acap", Some("1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x")),
            ("pcfg", Some("1 t=1 a=1")),
            ("acfg", Some("1 t=1 a=1")),
        ] {
            assert!(is_bypass(name, value), "{name}");
        }
        for (name, value) in [
            ("group", Some("LS 0 1")),
            ("rtcp", Some("9")),
            ("ice", None),
            ("mid", Some("0")),
            ("cpar", Some("a=T38FaxVersion:0")),
        ] {
            assert!(!is_bypass(name, value), "{name}");
        }
    }
}
