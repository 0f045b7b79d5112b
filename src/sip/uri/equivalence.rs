//! When two URIs name the same resource (RFC 3261 §19.1.4).

use super::{Scheme, Uri, unescaped};

/// URIs with more parameters are equivalent only if they are the same text: comparing each with each takes the square.
const PARAMS_COMPARED_MAX: usize = 64;

impl Uri {
    /// Whether both name the same resource (RFC 3261 §19.1.4). Not transitive: a parameter that only one has is
    /// mostly ignored.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        if self.params().nth(PARAMS_COMPARED_MAX).is_some() || other.params().nth(PARAMS_COMPARED_MAX).is_some() {
            return false;
        }
        if !matches!(self.scheme, Scheme::Sip | Scheme::Sips) {
            return self.text.eq_ignore_ascii_case(&other.text);
        }
        let same_name = match (self.host(), other.host()) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        };
        self.scheme == other.scheme
            && same_name
            && self.port == other.port
            && same_escaped(self.user(), other.user())
            && same_escaped(self.password(), other.password())
            && self.agrees_with(other)
            && other.agrees_with(self)
            && same_headers(self.headers(), other.headers())
    }

    /// Whether no parameter of ours contradicts `other`.
    fn agrees_with(&self, other: &Self) -> bool {
        const NEVER_ONE_SIDED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
        self.params().all(|(name, value)| match other.param(name) {
            Some(theirs) => unescaped(value).eq_ignore_ascii_case(&unescaped(theirs)),
            None => !NEVER_ONE_SIDED.iter().any(|never| never.eq_ignore_ascii_case(name)),
        })
    }
}

fn same_escaped(a: Option<&str>, b: Option<&str>) -> bool {
    a.map(unescaped) == b.map(unescaped)
}

/// Headers are never ignored, and their order does not matter.
fn same_headers(a: Option<&str>, b: Option<&str>) -> bool {
    let sorted = |headers: Option<&str>| {
        let mut parts: Vec<_> = headers
            .unwrap_or_default()
            .split('&')
            .map(|part| unescaped(part).to_ascii_lowercase())
            .collect();
        parts.sort_unstable();
        parts
    };
    a == b || sorted(a) == sorted(b)
}
