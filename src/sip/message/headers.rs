//! The headers of one message: lines in order, and those that every message has also parsed.

use std::fmt;

use super::field::{self, Field};
use crate::sip::grammar;
use crate::sip::method::Method;
use crate::sip::name_addr::NameAddr;
use crate::sip::via::Via;

/// Of a usual request of ours, so that the list is allocated once.
const FIELDS_USUAL: usize = 16;
/// A CSeq number and a space.
const NUMBER_BYTES_MAX: usize = 11;

/// RFC 3261 §8.1.1.5: less than 2^31.
pub const CSEQ_MAX: u32 = (1 << 31) - 1;

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CSeq {
    pub number: u32,
    pub method: Method,
}

impl CSeq {
    fn written(&self) -> String {
        let method = self.method.as_str();
        let mut out = String::with_capacity(NUMBER_BYTES_MAX + method.len());
        grammar::push_number(&mut out, self.number);
        out.push(' ');
        out.push_str(method);
        out
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// Names compare without case, and a compact name equals its long one (RFC 3261 §7.3.3). Values hold no CR, LF or NUL:
/// where one is put in, it becomes a space.
///
/// From, To, Call-ID and CSeq are always there: [`Headers::new`] asks for them, [`Headers::remove`] leaves them, and a
/// value that does not parse does not replace them. Content-Length is never kept: the body has a length, and writing
/// tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Headers {
    fields: Vec<Field>,
    via: Option<Via>,
    from: NameAddr,
    to: NameAddr,
    cseq: CSeq,
}

impl Headers {
    pub fn new(from: NameAddr, to: NameAddr, call_id: &str, cseq: CSeq) -> Self {
        let mut fields = Vec::with_capacity(FIELDS_USUAL);
        fields.extend([
            line("From", from.written()),
            line("To", to.written()),
            line("Call-ID", call_id.to_owned()),
            line("CSeq", cseq.written()),
        ]);
        Self {
            fields,
            via: None,
            from,
            to,
            cseq,
        }
    }

    /// From what was read: one Via value a field, no Content-Length.
    pub(super) const fn of_parts(
        fields: Vec<Field>,
        via: Option<Via>,
        from: NameAddr,
        to: NameAddr,
        cseq: CSeq,
    ) -> Self {
        Self {
            fields,
            via,
            from,
            to,
            cseq,
        }
    }

    /// Those of a response to a request with these: its Vias, From, Call-ID and CSeq, and `to` (RFC 3261 §8.2.6.2).
    pub(crate) fn answered(&self, to: Option<NameAddr>) -> Self {
        let mut written = to.as_ref().map(|to| line("To", to.written()));
        let copied = |field: &Field| match field {
            Field::To(_) if written.is_some() => written.take(),
            field => is_identifying(field).then(|| field.clone()),
        };
        let mut fields = Vec::with_capacity(FIELDS_USUAL.max(self.fields.len()));
        fields.extend(self.fields.iter().filter_map(copied));
        Self {
            fields,
            via: self.via.clone(),
            from: self.from.clone(),
            to: to.unwrap_or_else(|| self.to.clone()),
            cseq: self.cseq.clone(),
        }
    }

    /// The value of the first line of that name, whole even if it is a list.
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = field::long_name(name);
        self.iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Every value of that name; where RFC 3261 §7.3.1 lets values share a line, they come one by one.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let name = field::long_name(name);
        let lines = self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        lines.flat_map(|(name, line)| {
            // Most lines hold one value, list or not.
            let is_list = !grammar::is_one_element(line) && field::is_list(name);
            let (list, whole) = if is_list {
                (Some(line), None)
            } else {
                (None, Some(line))
            };
            list.into_iter().flat_map(grammar::split_list).chain(whole)
        })
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names in their long form, and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(field::parts)
    }

    /// What a response repeats of its request (RFC 3261 §8.2.6.2).
    pub(super) fn identifying(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter().filter(|field| is_identifying(field));
        fields.map(field::parts)
    }

    /// Adds a line at the end. A name that is no token is made one.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        if let Some(field) = self.admit(name, value.into(), false) {
            let is_via = matches!(field, Field::Via(_));
            self.fields.push(field);
            if is_via {
                self.find_top_via();
            }
        }
    }

    /// One line instead of all of that name, at the place of the first, or at the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        if let Some(field) = self.admit(name, value.into(), true) {
            let name = field::long_name(name);
            let at = self.position(name).unwrap_or(self.fields.len());
            self.fields
                .retain(|old| !field::parts(old).0.eq_ignore_ascii_case(name));
            let is_via = matches!(field, Field::Via(_));
            self.fields.insert(at.min(self.fields.len()), field);
            if is_via {
                self.find_top_via();
            }
        }
    }

    pub fn remove(&mut self, name: &str) {
        let name = field::long_name(name);
        if !is_essential(name) {
            self.fields
                .retain(|old| !field::parts(old).0.eq_ignore_ascii_case(name));
            if name.eq_ignore_ascii_case("Via") {
                self.find_top_via();
            }
        }
    }

    pub fn from(&self) -> &NameAddr {
        &self.from
    }

    pub fn set_from(&mut self, from: NameAddr) {
        self.replace(line("From", from.written()));
        self.from = from;
    }

    pub fn to(&self) -> &NameAddr {
        &self.to
    }

    pub fn set_to(&mut self, to: NameAddr) {
        self.replace(line("To", to.written()));
        self.to = to;
    }

    pub fn call_id(&self) -> &str {
        let is_it = |field: &&Field| matches!(field, Field::CallId(_));
        self.fields.iter().find(is_it).map_or("", |field| field::parts(field).1)
    }

    pub const fn cseq(&self) -> &CSeq {
        &self.cseq
    }

    /// The top Via; every parsed message has one, a request that is being built may not yet.
    pub const fn via(&self) -> Option<&Via> {
        self.via.as_ref()
    }

    /// A new top Via: ours, when a request is sent.
    pub fn push_via(&mut self, via: Via) {
        self.fields.insert(0, line("Via", via.written()));
        self.via = Some(via);
    }

    /// The top Via replaced by `via`; pushed if there is none.
    pub(crate) fn set_via(&mut self, via: Via) {
        match self.position("Via") {
            Some(at) if self.via.is_some() => {
                self.fields[at] = line("Via", via.written());
                self.via = Some(via);
            }
            _ => self.push_via(via),
        }
    }

    /// The first Contact that is an address; None also for `*`.
    pub fn contact(&self) -> Option<NameAddr> {
        self.get_all("Contact").find_map(|value| NameAddr::parse(value).ok())
    }

    /// In order; values that are no addresses are left out.
    pub fn record_routes(&self) -> Vec<NameAddr> {
        self.addresses("Record-Route")
    }

    /// Every value of a list of addresses, like P-Asserted-Identity or Diversion; what is no address is left out.
    pub fn addresses(&self, name: &str) -> Vec<NameAddr> {
        self.get_all(name)
            .filter_map(|value| NameAddr::parse(value).ok())
            .collect()
    }

    /// None if absent; parsed messages hold no value that does not fit.
    pub fn max_forwards(&self) -> Option<u8> {
        self.get("Max-Forwards")?.parse().ok()
    }

    /// The media type without parameters, like `application/sdp`.
    pub fn content_type(&self) -> Option<&str> {
        let value = self.get("Content-Type")?;
        value
            .split(';')
            .next()
            .map(|media_type| media_type.trim_matches(grammar::is_space))
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The line to write, if it may stand. Of the essential four only a replacement that parses may.
    fn admit(&mut self, name: &str, value: String, replaces: bool) -> Option<Field> {
        let name = field::long_name(name);
        let value = grammar::one_line(value);
        if name.eq_ignore_ascii_case("Content-Length") || is_essential(name) && !replaces {
            return None;
        }
        if name.eq_ignore_ascii_case("From") {
            self.from = NameAddr::parse(&value).ok()?;
        } else if name.eq_ignore_ascii_case("To") {
            self.to = NameAddr::parse(&value).ok()?;
        } else if name.eq_ignore_ascii_case("CSeq") {
            self.cseq = parse_cseq(&value)?;
        } else if name.eq_ignore_ascii_case("Via") {
            Via::parse(&value).ok()?;
        }
        let name = grammar::as_token(name);
        Some(field::field(if name.is_empty() { "X" } else { &name }, value))
    }

    fn replace(&mut self, field: Field) {
        let name = field::parts(&field).0;
        match self.position(name) {
            Some(at) => self.fields[at] = field,
            None => self.fields.push(field),
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.iter().position(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    fn find_top_via(&mut self) {
        let is_via = |field: &&Field| matches!(field, Field::Via(_));
        self.via = self
            .fields
            .iter()
            .find(is_via)
            .and_then(|field| Via::parse(field::parts(field).1).ok());
    }
}

pub(super) const fn is_identifying(field: &Field) -> bool {
    matches!(
        field,
        Field::Via(_) | Field::From(_) | Field::To(_) | Field::CallId(_) | Field::CSeq(_)
    )
}

/// Whatever the parts of a typed value held: one line.
fn line(name: &str, value: String) -> Field {
    field::field(name, grammar::one_line(value))
}

fn is_essential(name: &str) -> bool {
    ["From", "To", "Call-ID", "CSeq"]
        .iter()
        .any(|essential| essential.eq_ignore_ascii_case(name))
}

/// `number method`, the number below 2^31.
pub(super) fn parse_cseq(text: &str) -> Option<CSeq> {
    let text = text.trim_matches(grammar::is_space);
    let (digits, method) = text.split_once(grammar::is_space)?;
    let number = parse_digits(digits)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|n| *n <= CSEQ_MAX)?;
    Some(CSeq {
        number,
        method: Method::parse(method.trim_start_matches(grammar::is_space))?,
    })
}

/// Digits and nothing else, leading zeros allowed.
pub(super) fn parse_digits(text: &str) -> Option<u64> {
    let all_digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}
