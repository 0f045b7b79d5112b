//! Headers that a URI brings for the request that it opens: `?Replaces=…` (RFC 3261 §19.1.1).

use std::borrow::Cow;
use std::fmt::Write as _;

use super::{Scheme, URI_BYTES_MAX, Uri, unescaped};

impl Uri {
    /// The value of the first header of that name, escapes resolved.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.header_pairs().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| unescaped(value).into_owned())
    }

    /// Each header, its name as written and its value with escapes resolved.
    pub fn named_headers(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.header_pairs().map(|(name, value)| (name, unescaped(value)))
    }

    /// The same with this header and no other of its name. Unchanged if the result were no URI.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut text = self.without_headers().to_string();
        for (other, kept) in self
            .header_pairs()
            .filter(|(other, _)| !other.eq_ignore_ascii_case(name))
        {
            let _ = write!(text, "{}{other}={kept}", separator(&text));
        }
        let _ = write!(text, "{}{name}={}", separator(&text), escaped(value));
        Self::parse(&text).unwrap_or_else(|_| self.clone())
    }

    /// The same user, at the host, port and transport of `other`.
    #[must_use]
    pub fn at(&self, other: &Self) -> Self {
        let Some(host) = other.host() else { return self.clone() };
        let mut text = format!("{}:", if other.scheme == Scheme::Sips { "sips" } else { "sip" });
        if let Some(user) = self.user() {
            let _ = write!(text, "{user}@");
        }
        text.push_str(host);
        if let Some(port) = other.port {
            let _ = write!(text, ":{port}");
        }
        let kept = self.params().filter(|(name, _)| !is_of_hop(name));
        for (name, value) in kept.chain(other.params().filter(|(name, _)| is_of_hop(name))) {
            let equals = if value.is_empty() { "" } else { "=" };
            let _ = write!(text, ";{name}{equals}{value}");
        }
        if let Some(headers) = self.headers() {
            let _ = write!(text, "?{headers}");
        }
        Self::parse(&text).unwrap_or_else(|_| self.clone())
    }

    fn header_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.headers().unwrap_or_default().split('&');
        pairs.filter_map(|pair| pair.split_once('='))
    }
}

fn is_of_hop(param: &str) -> bool {
    param.eq_ignore_ascii_case("transport") || param.eq_ignore_ascii_case("maddr")
}

fn separator(text: &str) -> char {
    if text.contains('?') { '&' } else { '?' }
}

/// `unreserved` and the harmless of `hnv-unreserved` stay (RFC 3261 §25.1).
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len().min(URI_BYTES_MAX));
    for c in value.bytes() {
        if c.is_ascii_alphanumeric() || b"-_.!~*'()[]/:+$".contains(&c) {
            out.push(char::from(c));
        } else {
            let _ = write!(out, "%{c:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_header_is_read_unescaped_and_written_escaped() {
        let text = "sip:bob@biloxi.example.com?Replaces=425928%40bobster%3Bto-tag%3D7743%3Bfrom-tag%3D6472&Subject=Hi";
        let uri = Uri::parse(text).unwrap();
        let value = uri.header("replaces").unwrap();
        assert_eq!(value, "425928@bobster;to-tag=7743;from-tag=6472");
        assert_eq!(uri.header("Join"), None);
        let other = uri.with_header("Replaces", "1@h;to-tag=2;from-tag=3");
        assert_eq!(
            other.as_str(),
            "sip:bob@biloxi.example.com?Subject=Hi&Replaces=1%40h%3Bto-tag%3D2%3Bfrom-tag%3D3"
        );
        assert_eq!(other.header("Replaces").unwrap(), "1@h;to-tag=2;from-tag=3");
    }

    #[test]
    fn what_would_be_no_uri_leaves_it_as_it_was() {
        let uri = Uri::parse("sip:bob@example.com").unwrap();
        assert_eq!(uri.with_header("Replaces", &"x".repeat(URI_BYTES_MAX)), uri);
    }

    #[test]
    fn a_user_moves_to_another_host_with_headers_and_all() {
        let uri = Uri::parse("sip:bob@192.0.2.1:5070;user=phone;transport=udp?Replaces=1").unwrap();
        let other = Uri::parse("sip:[2001:db8::1];transport=tcp").unwrap();
        assert_eq!(
            uri.at(&other).as_str(),
            "sip:bob@[2001:db8::1];user=phone;transport=tcp?Replaces=1"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_value_comes_back_as_it_went_in(value in "\\PC{0,200}") {
            let uri = Uri::parse("sip:bob@example.com;transport=tcp?a=b").unwrap();
            proptest::prop_assert_eq!(uri.with_header("Replaces", &value).header("replaces"), Some(value));
        }
    }
}
