//! Numbers and headers rewritten by rule, as calls come in from a trunk or go out to it.
//!
//! What a rule makes is never written to the wire as it is: user parts are escaped and the URI is read again, header
//! values must be one line of text. A result that fails leaves the field as it was.

use regex::{Regex, RegexBuilder};

use crate::sip::{Headers, NameAddr, Request, Scheme, Uri};

/// Rules of one trunk.
pub const RULES_MAX: usize = 64;
/// The longest pattern or replacement, in bytes.
pub const RULE_BYTES_MAX: usize = 512;
/// What a compiled pattern may take, in bytes. Matching is linear in the text, whatever the pattern.
const COMPILED_BYTES_MAX: usize = 1 << 18;
/// Longer user parts and header values are left as they are, and no rule makes one.
const TEXT_BYTES_MAX: usize = 2_048;
/// Lines of one header that a rule looks at.
const LINES_MAX: usize = 16;

/// Headers of a hop, a dialog or a body: no rule may touch them.
const STRUCTURAL: [&str; 35] = [
    "Allow",
    "Authorization",
    "CSeq",
    "Call-ID",
    "Contact",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Type",
    "Event",
    "From",
    "Identity",
    "Join",
    "MIME-Version",
    "Max-Forwards",
    "Min-SE",
    "Path",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "RSeq",
    "Record-Route",
    "Refer-To",
    "Replaces",
    "Require",
    "Route",
    "Service-Route",
    "Session-Expires",
    "Subscription-State",
    "Supported",
    "Target-Dialog",
    "Timestamp",
    "To",
    "Via",
];

/// Which way the call goes, as seen from us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Passage {
    /// From the trunk, before routes and policies.
    In,
    /// To the trunk, after both.
    Out,
}

/// What a rule reads and writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Field {
    /// The user part of the Request-URI, or the number if it is a `tel:` URI.
    RequestUri,
    From,
    To,
    /// Each line of this header; an absent header is one line of no text, and a line of no text is removed.
    Header(String),
}

/// Why a text is no rule. The operator's to mend.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleError {
    #[error("neither `request_uri`, `from`, `to` nor `header:` and a name")]
    Field,
    #[error("a header that belongs to a hop, a dialog or a body")]
    Structural,
    #[error("longer than {RULE_BYTES_MAX} bytes")]
    TooLong,
    #[error("no regular expression, or one too large")]
    Pattern,
    /// `$2` or `${name}` without such a group.
    #[error("the pattern has no group `{group}`")]
    Group { group: String },
    #[error("a control character")]
    Control,
}

impl Field {
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        match text {
            "request_uri" => Ok(Self::RequestUri),
            "from" => Ok(Self::From),
            "to" => Ok(Self::To),
            _ => {
                let name = text.strip_prefix("header:").ok_or(RuleError::Field)?;
                let is_token = |c: u8| c.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&c);
                if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token) {
                    return Err(RuleError::Field);
                }
                // One letter is a compact form, of which all but Subject's are structural.
                if name.len() == 1 || STRUCTURAL.iter().any(|s| s.eq_ignore_ascii_case(name)) {
                    return Err(RuleError::Structural);
                }
                Ok(Self::Header(name.to_owned()))
            }
        }
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RequestUri => f.write_str("request_uri"),
            Self::From => f.write_str("from"),
            Self::To => f.write_str("to"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// One rule: what matches in a field is replaced, once.
#[derive(Clone, Debug)]
pub struct Rewrite {
    pub passage: Passage,
    pub field: Field,
    pattern: Regex,
    replacement: String,
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        self.passage == other.passage
            && self.field == other.field
            && self.pattern.as_str() == other.pattern.as_str()
            && self.replacement == other.replacement
    }
}

impl Eq for Rewrite {}

/// What a rule did, for `explain` and the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    pub field: Field,
    pub before: String,
    pub after: String,
}

impl Rewrite {
    /// `replacement`: `$1` and `${name}` are groups of the pattern, `$$` is a dollar.
    pub fn new(passage: Passage, field: Field, pattern: &str, replacement: &str) -> Result<Self, RuleError> {
        if pattern.len() > RULE_BYTES_MAX || replacement.len() > RULE_BYTES_MAX {
            return Err(RuleError::TooLong);
        }
        if replacement.chars().any(char::is_control) {
            return Err(RuleError::Control);
        }
        let pattern = RegexBuilder::new(pattern)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|_| RuleError::Pattern)?;
        if let Some(group) = unknown_group(&pattern, replacement) {
            return Err(RuleError::Group { group });
        }
        Ok(Self {
            passage,
            field,
            pattern,
            replacement: replacement.to_owned(),
        })
    }

    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    pub fn replacement(&self) -> &str {
        &self.replacement
    }

    /// None: nothing matches, or the result would be what was there.
    fn replaced(&self, text: &str) -> Option<String> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let captures = self.pattern.captures(text)?;
        let whole = captures.get(0)?;
        let mut out = text.get(..whole.start())?.to_owned();
        captures.expand(&self.replacement, &mut out);
        out.push_str(text.get(whole.end()..)?);
        (out.len() <= TEXT_BYTES_MAX && out != text && !out.chars().any(char::is_control)).then_some(out)
    }

    /// Applies the rule to a URI of its field.
    fn uri(&self, uri: &Uri) -> Option<(Uri, Applied)> {
        let before = uri.user()?;
        let after = self.replaced(&crate::sip::unescaped(before))?;
        let uri = with_user(uri, &after)?;
        let applied = Applied {
            field: self.field.clone(),
            before: before.to_owned(),
            after: uri.user().unwrap_or_default().to_owned(),
        };
        Some((uri, applied))
    }
}

/// All rules of this direction, in their order, on a request.
pub fn apply(rules: &[Rewrite], passage: Passage, request: &mut Request) -> Vec<Applied> {
    let mut all = apply_to_uri(rules, passage, &mut request.uri);
    all.extend(apply_to_headers(rules, passage, &mut request.headers));
    all
}

/// Those of the Request-URI.
pub fn apply_to_uri(rules: &[Rewrite], passage: Passage, uri: &mut Uri) -> Vec<Applied> {
    let rules = rules
        .iter()
        .filter(|rule| rule.passage == passage && rule.field == Field::RequestUri);
    rules
        .filter_map(|rule| {
            let (new, applied) = rule.uri(uri)?;
            *uri = new;
            Some(applied)
        })
        .collect()
}

/// Those of From, To and other headers.
pub fn apply_to_headers(rules: &[Rewrite], passage: Passage, headers: &mut Headers) -> Vec<Applied> {
    let mut all = Vec::new();
    for rule in rules.iter().filter(|rule| rule.passage == passage) {
        let applied = match &rule.field {
            Field::RequestUri => None,
            Field::From => party(rule, headers.from()).map(|(from, applied)| {
                headers.set_from(from);
                applied
            }),
            Field::To => party(rule, headers.to()).map(|(to, applied)| {
                headers.set_to(to);
                applied
            }),
            Field::Header(name) => lines(rule, name, headers),
        };
        all.extend(applied);
    }
    all
}

/// The URI with another user part or number; none if that is no URI.
pub fn with_user(uri: &Uri, user: &str) -> Option<Uri> {
    match uri.scheme() {
        Scheme::Sip | Scheme::Sips => uri.with_user(user),
        Scheme::Tel => {
            let digits = user.strip_prefix('+').unwrap_or(user);
            let is_number =
                !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_hexdigit() || b"*#-.()".contains(&c));
            let tail = uri
                .as_str()
                .find(';')
                .map_or("", |at| uri.as_str().get(at..).unwrap_or_default());
            is_number
                .then(|| Uri::parse(&format!("tel:{user}{tail}")).ok())
                .flatten()
        }
        Scheme::Urn | Scheme::Other => None,
    }
}

fn party(rule: &Rewrite, party: &NameAddr) -> Option<(NameAddr, Applied)> {
    let (uri, applied) = rule.uri(&party.uri)?;
    let mut party = party.clone();
    party.uri = uri;
    Some((party, applied))
}

fn lines(rule: &Rewrite, name: &str, headers: &mut Headers) -> Option<Applied> {
    let old: Vec<String> = headers.get_all(name).take(LINES_MAX).map(str::to_owned).collect();
    if headers.get_all(name).count() > LINES_MAX {
        return None;
    }
    let shown = old.join(", ");
    let mut changed = false;
    let texts = if old.is_empty() { vec![String::new()] } else { old };
    let new: Vec<String> = texts
        .into_iter()
        .map(|line| match rule.replaced(&line) {
            Some(new) if is_as_readable(&line, &new) => {
                changed = true;
                new
            }
            _ => line,
        })
        .filter(|line| !line.trim().is_empty())
        .collect();
    if !changed {
        return None;
    }
    let after = new.join(", ");
    headers.remove(name);
    for line in new {
        headers.push(name, line);
    }
    Some(Applied {
        field: rule.field.clone(),
        before: shown,
        after,
    })
}

/// What was an address or a list of them is one afterwards.
fn is_as_readable(before: &str, after: &str) -> bool {
    let are_addresses = |text: &str| crate::sip::elements(text).all(|element| NameAddr::parse(element).is_ok());
    before.is_empty() || after.is_empty() || !are_addresses(before) || are_addresses(after)
}

/// A group that the replacement names and the pattern lacks: it would be replaced by nothing.
fn unknown_group(pattern: &Regex, replacement: &str) -> Option<String> {
    let mut rest = replacement;
    while let Some(at) = rest.find('$') {
        rest = rest.get(at + 1..)?;
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let name = match rest.strip_prefix('{') {
            Some(braced) => braced.split('}').next().unwrap_or_default(),
            None => {
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                rest.get(..end).unwrap_or_default()
            }
        };
        let is_known = match name.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => pattern.capture_names().flatten().any(|known| known == name),
        };
        if !is_known {
            return Some(name.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests;
