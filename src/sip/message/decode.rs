//! Messages out of bytes: one datagram, or one frame of a stream.
//!
//! Liberal where RFC 3261 is (folding, compact names, odd space, header lists), strict where two readers could take
//! the bytes differently (line ends, lengths, repeated headers).

use bytes::Bytes;

use super::error::{ParseError, Wrong};
use super::field::{self, Field};
use super::headers::{self, CSeq, Headers};
use super::lines::{Line, Lines};
use super::singles::Singles;
use super::{Message, Request, Response};
use crate::sip::grammar;
use crate::sip::method::Method;
use crate::sip::name_addr::NameAddr;
use crate::sip::response;
use crate::sip::uri::Uri;
use crate::sip::via::Via;

/// The longest message, start line to the end of the body: what a UDP datagram can carry.
pub const MESSAGE_BYTES_MAX: usize = 65_535;
/// The longest header, name and value, unfolded.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Header lines of a message, each Via value counted by itself.
pub const HEADERS_MAX: usize = 256;
/// Of a usual INVITE, so that the list is allocated once.
const HEADERS_USUAL: usize = 24;

type Fault = (Wrong, usize);

impl Message {
    /// One datagram or one frame. Bytes beyond Content-Length are dropped (RFC 3261 §18.3). What is returned has a
    /// Via, From, To, Call-ID and CSeq.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::read(bytes, Draft::default())
    }

    /// The same of what must not be refused for a line that nobody needs: lines that are broken, too long or a second of their
    /// name are left out, and a body that is shorter than said is what there is. What a message cannot be answered without
    /// (Via, From, To, Call-ID, CSeq) has to be right all the same, but for the name of who calls or is called; a second line of these must say what the first does.
    pub fn salvage(bytes: &[u8]) -> Result<Self, ParseError> {
        let draft = Draft {
            is_salvage: true,
            ..Draft::default()
        };
        Self::read(bytes, draft)
    }

    /// The same of what comes no better if it comes again: a response that is shorter than it says, too, is what there is.
    pub fn salvage_cut(bytes: &[u8]) -> Result<Self, ParseError> {
        let draft = Draft {
            is_salvage: true,
            takes_cut: true,
            ..Draft::default()
        };
        Self::read(bytes, draft)
    }

    fn read(bytes: &[u8], mut draft: Draft) -> Result<Self, ParseError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ParseError {
                what: Wrong::TooLong,
                offset: MESSAGE_BYTES_MAX,
                reply: None,
            });
        }
        // RFC 3261 §7.5: empty lines before the start line are ignored.
        let start = bytes
            .iter()
            .position(|c| !matches!(c, b'\r' | b'\n'))
            .unwrap_or(bytes.len());
        let mut lines = Lines::new(bytes, start);
        let silent = |(what, offset)| ParseError {
            what,
            offset,
            reply: None,
        };
        let line = lines.next_unfolded().map_err(|_| silent((Wrong::NotSip, start)))?;
        let line = std::str::from_utf8(line).map_err(|_| silent((Wrong::NotSip, start)))?;
        let (start_line, start_fault) = StartLine::parse(line).ok_or_else(|| silent((Wrong::NotSip, start)))?;
        draft.note(start_fault.map(|what| (what, start)));
        draft.read_headers(&mut lines);
        draft.read_body(&start_line, bytes, lines.offset());
        draft.finish(start_line)
    }
}

enum StartLine {
    Request { method: Method, uri: Option<Uri> },
    Response { status: u16, reason: String },
}

impl StartLine {
    /// The line and what is wrong with it; None when it is no line of SIP at all.
    fn parse(line: &str) -> Option<(Self, Option<Wrong>)> {
        if let Some(rest) = line.strip_prefix("SIP/").or_else(|| line.strip_prefix("sip/")) {
            return Self::parse_status(rest);
        }
        let (method, rest) = line.split_once(' ')?;
        let method = Method::parse(method)?;
        let trimmed = rest.trim_end_matches(grammar::is_space);
        let (uri, version) = trimmed.rsplit_once(' ')?;
        if !version.get(..4)?.eq_ignore_ascii_case("SIP/") {
            return None;
        }
        let parsed = Uri::parse(uri);
        let fault = if !version.eq_ignore_ascii_case("SIP/2.0") {
            Some(Wrong::Version)
        } else if trimmed.len() != rest.len() || uri.contains(grammar::is_space) {
            Some(Wrong::StartLine)
        } else {
            match &parsed {
                Err(error) => Some(Wrong::RequestUri(*error)),
                Ok(uri) => uri.headers().map(|_| Wrong::RequestUriHeaders),
            }
        };
        Some((
            Self::Request {
                method,
                uri: parsed.ok(),
            },
            fault,
        ))
    }

    fn parse_status(rest: &str) -> Option<(Self, Option<Wrong>)> {
        let (version, rest) = rest.split_once(' ')?;
        let (digits, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let all_digits = digits.len() == 3 && digits.bytes().all(|c| c.is_ascii_digit());
        let status = digits
            .parse()
            .ok()
            .filter(|status| all_digits && (100..700).contains(status))?;
        let fault = (version != "2.0").then_some(Wrong::Version);
        Some((
            Self::Response {
                status,
                reason: grammar::without_controls(reason),
            },
            fault,
        ))
    }
}

/// What was read so far, and the first fault. Reading goes on after a fault, for the answer's sake.
#[derive(Default)]
struct Draft {
    /// Of what can be done without only the first is kept, and nothing that is broken.
    is_salvage: bool,
    /// A response whose body is cut is read as far as it goes.
    takes_cut: bool,
    fields: Vec<Field>,
    fault: Option<Fault>,
    via: Option<Via>,
    from: Option<NameAddr>,
    to: Option<NameAddr>,
    cseq: Option<CSeq>,
    call_id: bool,
    max_forwards: bool,
    content_length: Option<u64>,
    singles: Singles,
    body: Bytes,
}

impl Draft {
    fn note(&mut self, fault: Option<Fault>) {
        let counts = |(what, _): &Fault| !(self.is_salvage && what.is_dispensable());
        self.fault = self.fault.or(fault.filter(counts));
    }

    fn read_headers(&mut self, lines: &mut Lines<'_>) {
        self.fields.reserve(HEADERS_USUAL);
        loop {
            let read = match lines.next_header() {
                Ok(Some(line)) => self.read_header(&line).map_err(|what| (what, line.offset)),
                Ok(None) => return,
                Err(fault @ (Wrong::HeaderTooLong, _)) if self.is_salvage => Err(fault),
                Err(fault @ (Wrong::BareLineEnd, _)) if self.is_salvage && lines.leave_out() => Err(fault),
                Err(fault) => {
                    self.note(Some(fault));
                    return;
                }
            };
            self.note(read.err());
            if self.fields.len() > HEADERS_MAX {
                self.note(Some((Wrong::TooManyHeaders, lines.offset())));
                return;
            }
        }
    }

    fn read_header(&mut self, line: &Line<'_>) -> Result<(), Wrong> {
        let (name, value) = line.header().ok_or(Wrong::HeaderLine)?;
        if !grammar::is_token(name) {
            return Err(Wrong::HeaderLine);
        }
        // Controls may stand escaped in a quoted string (RFC 4475 §3.1.1.2); no phone, log or terminal should meet one.
        let value = match std::str::from_utf8(value) {
            Ok(value) if !grammar::has_controls(value) => value.to_owned(),
            _ => grammar::without_controls(&String::from_utf8_lossy(value))
                .trim_matches(grammar::is_space)
                .to_owned(),
        };
        let field = field::field(field::long_name(name), value);
        let value = field::parts(&field).1;
        match &field {
            Field::Via(_) => return self.read_vias(field),
            Field::ContentLength(_) => return self.read_content_length(value),
            Field::From(_) | Field::To(_) => match (NameAddr::parse(value), &field) {
                (Ok(caller), Field::From(_)) => once("From", &mut self.from, Some(caller))?,
                (Ok(callee), _) => once("To", &mut self.to, Some(callee))?,
                (Err(_), _) => return self.read_mended(&field),
            },
            Field::CSeq(_) => once("CSeq", &mut self.cseq, headers::parse_cseq(value))?,
            Field::CallId(_) if self.call_id => {
                let is_same = self.fields.contains(&field);
                return Err(if is_same {
                    Wrong::Doubled("Call-ID")
                } else {
                    Wrong::Repeated("Call-ID")
                });
            }
            Field::CallId(_) if value.is_empty() || value.contains(grammar::is_space) => {
                return Err(Wrong::Malformed("Call-ID"));
            }
            Field::CallId(_) => self.call_id = true,
            Field::MaxForwards(_) if self.max_forwards => return Err(Wrong::Repeated("Max-Forwards")),
            Field::MaxForwards(_) => {
                self.max_forwards = true;
                headers::parse_digits(value)
                    .filter(|hops| *hops <= 255)
                    .ok_or(Wrong::Malformed("Max-Forwards"))?;
            }
            // As if it were not there (RFC 3261 §10.2.1.1): in an INVITE it is optional, in a response it means little.
            Field::Expires(_) if !is_seconds(value) => return Ok(()),
            field => self.singles.note(field::parts(field).0)?,
        }
        self.fields.push(field);
        Ok(())
    }

    /// A name before the URI that lacks its quotes gets them. What cannot be read even so is left out where it must stop nothing;
    /// who calls is only copied: where nothing else can be read of that either, nobody does.
    fn read_mended(&mut self, field: &Field) -> Result<(), Wrong> {
        let value = field::parts(field).1;
        let is_salvage = self.is_salvage;
        let quoted = NameAddr::parse_unquoted(value).ok();
        let mended = quoted.or_else(|| NameAddr::parse_nameless(value).ok().filter(|_| is_salvage));
        let (name, slot, mended) = match field {
            Field::From(_) => {
                let nobody = || NameAddr::parse_anonymous(value).ok().filter(|_| is_salvage);
                ("From", &mut self.from, mended.or_else(nobody))
            }
            _ => ("To", &mut self.to, mended),
        };
        once(name, slot, mended)?;
        let written = slot.as_ref().map(NameAddr::written).unwrap_or_default();
        self.fields.push(field::field(name, written));
        Ok(())
    }

    /// One field for each value; only the top one must be understood.
    fn read_vias(&mut self, field: Field) -> Result<(), Wrong> {
        let line = field::parts(&field).1;
        let is_list = grammar::find_outside(line, b',').is_some();
        let parsed = if self.via.is_none() {
            let top = if is_list {
                grammar::split_list(line).next()
            } else {
                Some(line)
            };
            Some(top.and_then(|top| Via::parse(top).ok()).ok_or(Wrong::Malformed("Via")))
        } else {
            None
        };
        if is_list {
            let room = (HEADERS_MAX + 1).saturating_sub(self.fields.len());
            let split = grammar::split_list(line)
                .take(room)
                .map(|value| field::field("Via", value.to_owned()));
            self.fields.extend(split);
        } else {
            self.fields.push(field);
        }
        if let Some(parsed) = parsed {
            self.via = Some(parsed?);
        }
        Ok(())
    }

    fn read_content_length(&mut self, value: &str) -> Result<(), Wrong> {
        once("Content-Length", &mut self.content_length, headers::parse_digits(value))
    }

    fn read_body(&mut self, start: &StartLine, bytes: &[u8], at: usize) {
        if self.fault.is_some() {
            return;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let length = self
            .content_length
            .map_or(Ok(rest.len()), usize::try_from)
            .unwrap_or(usize::MAX);
        match rest.get(..length).or_else(|| self.is_salvage.then_some(rest)) {
            Some(body) if body.len() < length && !self.may_be_cut(start) => self.note(Some((Wrong::BodyTooShort, at))),
            Some(body) => self.body = Bytes::copy_from_slice(body),
            None => self.note(Some((Wrong::BodyTooShort, at))),
        }
    }

    /// A request that begins something, and comes no better if it comes again; and a BYE, whose sender is gone all the same. A
    /// response that is cut is discarded (RFC 3261 §18.3): its copy may be whole.
    fn may_be_cut(&self, start: &StartLine) -> bool {
        let begins = || self.to.as_ref().is_some_and(|to| to.tag().is_none());
        match start {
            StartLine::Request { method, .. } => *method == Method::Bye || begins(),
            StartLine::Response { .. } => self.takes_cut,
        }
    }

    fn finish(mut self, start: StartLine) -> Result<Message, ParseError> {
        if self.fault.is_none() {
            let missing = self.missing().map(|name| (Wrong::Missing(name), 0));
            self.note(missing);
        }
        if let (None, StartLine::Request { method, .. }) = (self.fault, &start)
            && self.cseq.as_ref().is_some_and(|cseq| cseq.method != *method)
        {
            let unknown = matches!(method, Method::Other(_));
            let what = if unknown {
                Wrong::UnknownCSeqMethod
            } else {
                Wrong::CSeqMethod
            };
            self.fault = Some((what, 0));
        }
        let fault = self.fault;
        let Self {
            fields,
            via,
            from,
            to,
            cseq,
            body,
            ..
        } = self;
        match (fault, start, via, from, to, cseq) {
            (None, StartLine::Request { method, uri: Some(uri) }, Some(via), Some(from), Some(to), Some(cseq)) => {
                let headers = Headers::of_parts(fields, Some(via), from, to, cseq);
                Ok(Message::Request(Request {
                    method,
                    uri,
                    headers,
                    body,
                }))
            }
            (None, StartLine::Response { status, reason }, Some(via), Some(from), Some(to), Some(cseq)) => {
                let headers = Headers::of_parts(fields, Some(via), from, to, cseq);
                Ok(Message::Response(Response {
                    status,
                    reason,
                    headers,
                    body,
                }))
            }
            (fault, start, via, from, to, cseq) => {
                let (what, offset) = fault.unwrap_or((Wrong::StartLine, 0));
                let reply = match start {
                    StartLine::Request { method, .. } if method != Method::Ack => {
                        let essentials = (via, from, to, cseq.unwrap_or(CSeq { number: 0, method }));
                        reply_to(what, fields, essentials).map(Box::new)
                    }
                    _ => None,
                };
                Err(ParseError { what, offset, reply })
            }
        }
    }

    fn missing(&self) -> Option<&'static str> {
        let present = [
            ("Via", self.via.is_some()),
            ("From", self.from.is_some()),
            ("To", self.to.is_some()),
            ("Call-ID", self.call_id),
            ("CSeq", self.cseq.is_some()),
        ];
        present.iter().find(|(_, present)| !present).map(|(name, _)| *name)
    }
}

fn once<T: PartialEq>(name: &'static str, slot: &mut Option<T>, value: Option<T>) -> Result<(), Wrong> {
    if slot.is_some() {
        return Err(if *slot == value {
            Wrong::Doubled(name)
        } else {
            Wrong::Repeated(name)
        });
    }
    *slot = Some(value.ok_or(Wrong::Malformed(name))?);
    Ok(())
}

/// RFC 3261 §20.19.
fn is_seconds(value: &str) -> bool {
    headers::parse_digits(value).is_some_and(|seconds| seconds <= u64::from(u32::MAX))
}

/// The refusal of a request that is broken: what it said of itself, as it said it (RFC 3261 §8.2.6.2). Nothing if it
/// named no Via, for then it is no request of SIP.
fn reply_to(
    what: Wrong,
    fields: Vec<Field>,
    (via, from, to, cseq): (Option<Via>, Option<NameAddr>, Option<NameAddr>, CSeq),
) -> Option<Response> {
    let status = what.status()?;
    let fields: Vec<_> = fields.into_iter().filter(headers::is_identifying).collect();
    if !fields.iter().any(|field| matches!(field, Field::Via(_))) {
        return None;
    }
    let tag = response::stateless_tag(fields.iter().map(|field| field::parts(field).1));
    let nobody = || NameAddr::new(Uri::parse("sip:anonymous@anonymous.invalid").expect("invariant: a URI"));
    let untagged = to.clone().filter(|to| to.tag().is_none());
    let headers = Headers::of_parts(
        fields,
        via,
        from.unwrap_or_else(nobody),
        to.unwrap_or_else(nobody),
        cseq,
    );
    let mut response = Response {
        status,
        reason: response::reason_phrase(status).to_owned(),
        headers,
        body: Bytes::new(),
    };
    if status == 400 {
        response.reason = format!("Bad Request: {what}");
    }
    if let Some(to) = untagged {
        response.headers.set_to(to.with_tag(&tag));
    }
    Some(response)
}
