//! SIP and SDP as the phones speak them: just enough, and written without a look at `src/sip`, so that the two check
//! each other.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// A message as a phone, or the law, reads it.
#[derive(Clone, Debug)]
pub struct Heard {
    text: Rc<str>,
    /// Of each header: where its name begins and ends, where its value begins and ends.
    lines: Vec<[usize; 4]>,
    body_at: usize,
    /// Empty in a response.
    pub method: String,
    pub uri: String,
    /// 0 in a request.
    pub status: u16,
    pub call_id: String,
    pub from_tag: String,
    pub to_tag: String,
    pub branch: String,
    pub cseq: u32,
    pub cseq_method: String,
}

impl Heard {
    /// Whether its description says how a recording stands (RFC 7866).
    pub fn tells_of_recording(&self) -> bool {
        self.text[self.body_at..].contains("\r\na=record:")
    }

    /// None when it is no SIP message.
    pub fn read(text: &str) -> Option<Self> {
        let head = text.find("\r\n\r\n")?;
        let mut at = text.find("\r\n")?;
        let mut words = text[..at].splitn(3, ' ');
        let (first, second, third) = (words.next()?, words.next()?, words.next()?);
        let (method, uri, status) = match (first, third) {
            ("SIP/2.0", _) => ("", "", second.parse().ok()?),
            (method, "SIP/2.0") => (method, second, 0),
            _ => return None,
        };
        let mut lines = Vec::with_capacity(16);
        while at < head {
            let start = at + 2;
            let end = start + text[start..].find("\r\n")?;
            let colon = start + text[start..end].find(':')?;
            let value = colon + 1 + (text[colon + 1..end].len() - text[colon + 1..end].trim_start().len());
            lines.push([start, colon, value, end]);
            at = end;
        }
        let mut heard = Self {
            text: text.into(),
            lines,
            body_at: head + 4,
            method: method.to_owned(),
            uri: uri.to_owned(),
            status,
            call_id: String::new(),
            from_tag: String::new(),
            to_tag: String::new(),
            branch: String::new(),
            cseq: 0,
            cseq_method: String::new(),
        };
        heard.call_id = heard.header("Call-ID")?.to_owned();
        heard.from_tag = parameter(heard.header("From")?, "tag").unwrap_or_default().to_owned();
        heard.to_tag = parameter(heard.header("To")?, "tag").unwrap_or_default().to_owned();
        heard.branch = parameter(heard.header("Via")?, "branch")?.to_owned();
        let (number, method) = heard.header("CSeq")?.split_once(' ')?;
        (heard.cseq, heard.cseq_method) = (number.parse().ok()?, method.to_owned());
        let length: usize = heard.header("Content-Length")?.parse().ok()?;
        (length == heard.body().len()).then_some(heard)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let text = &self.text;
        let is = |[start, end, _, _]: &&[usize; 4]| text[*start..*end].eq_ignore_ascii_case(name);
        self.lines
            .iter()
            .find(is)
            .map(|[_, _, start, end]| &self.text[*start..*end])
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let text = &self.text;
        let named = self
            .lines
            .iter()
            .filter(move |[start, end, _, _]| text[*start..*end].eq_ignore_ascii_case(name));
        named.map(|[_, _, start, end]| &self.text[*start..*end])
    }

    /// Whether a list header names this token.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(token))
    }

    pub fn body(&self) -> &str {
        &self.text[self.body_at..]
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn sdp(&self) -> Option<Sdp> {
        Sdp::read(self.body())
    }

    /// The URI of Contact.
    pub fn contact(&self) -> Option<String> {
        let (_, rest) = self.header("Contact")?.split_once('<')?;
        Some(rest.split_once('>')?.0.to_owned())
    }

    pub fn is_request(&self) -> bool {
        self.status == 0
    }

    /// Start line, dialog and session in a line, for the ladder.
    pub fn told(&self) -> String {
        let what = if self.is_request() {
            self.method.clone()
        } else {
            format!("{} to {}", self.status, self.cseq_method)
        };
        let sdp = self.sdp().map(|sdp| format!(" [{}]", sdp.told())).unwrap_or_default();
        let tag = |tag: &str| tag.chars().take(6).collect::<String>();
        let (from, to, call) = (tag(&self.from_tag), tag(&self.to_tag), tag(&self.call_id));
        format!("{what} {} {from}→{to} @{call}{sdp}", self.cseq)
    }
}

/// The value of `;name=` behind the address of a header value.
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let parameters = value.rsplit_once('>').map_or(value, |(_, rest)| rest);
    parameters.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// An offer or answer. Each has a name of its own, and an answer names its offer: both cross the proxy in lines that it
/// has no reason to touch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sdp {
    pub serial: String,
    /// The serial of the offer; empty in an offer.
    pub answers: String,
    pub host: IpAddr,
    /// One a line; 0 if refused.
    pub ports: Vec<u16>,
    pub direction: &'static str,
}

const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

impl Sdp {
    fn read(body: &str) -> Option<Self> {
        let mut sdp = Self {
            serial: String::new(),
            answers: String::new(),
            host: IpAddr::from([0, 0, 0, 0]),
            ports: Vec::new(),
            direction: DIRECTIONS[0],
        };
        for line in body.split("\r\n") {
            let (kind, value) = line.split_once('=').unwrap_or_default();
            match kind {
                "s" => sdp.serial = value.to_owned(),
                "c" => sdp.host = value.strip_prefix("IN IP4 ")?.parse().ok()?,
                "m" => sdp.ports.push(value.split(' ').nth(1)?.parse().ok()?),
                "a" => {
                    if let Some(answers) = value.strip_prefix("x-answers:") {
                        sdp.answers = answers.to_owned();
                    } else if let Some(direction) = DIRECTIONS.iter().find(|direction| **direction == value) {
                        sdp.direction = direction;
                    }
                }
                _ => {}
            }
        }
        (!sdp.ports.is_empty()).then_some(sdp)
    }

    pub fn is_offer(&self) -> bool {
        self.answers.is_empty()
    }

    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.ports.iter().map(|port| SocketAddr::new(self.host, *port))
    }

    pub fn write(&self) -> String {
        let Self {
            serial,
            answers,
            host,
            ports,
            direction,
        } = self;
        let mut text = format!("v=0\r\no=- 7 1 IN IP4 {host}\r\ns={serial}\r\nc=IN IP4 {host}\r\nt=0 0\r\n");
        if !answers.is_empty() {
            text += &format!("a=x-answers:{answers}\r\n");
        }
        for (index, port) in ports.iter().enumerate() {
            let kind = if index == 0 { "audio" } else { "video" };
            text += &format!("m={kind} {port} RTP/AVP 8\r\na={direction}\r\n");
        }
        text
    }

    /// The proxy says something itself, before it asks anybody.
    pub fn is_of_proxy(&self) -> bool {
        self.serial == "-"
    }

    pub fn told(&self) -> String {
        let Self {
            serial,
            answers,
            ports,
            direction,
            ..
        } = self;
        let lines = ports.len();
        if answers.is_empty() {
            format!("offer {serial} {direction} {lines}")
        } else {
            format!("answer {serial} to {answers} {direction} {lines}")
        }
    }
}

/// The response to `request`; `tag` unless it has one. `more` are whole header lines.
pub fn response(request: &Heard, status: u16, tag: &str, more: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for via in request.all("Via") {
        text += &format!("Via: {via}\r\n");
    }
    let to = request.header("To").unwrap_or_default();
    let tagged = if status == 100 || !request.to_tag.is_empty() || tag.is_empty() {
        String::new()
    } else {
        format!(";tag={tag}")
    };
    let (from, call_id) = (request.header("From").unwrap_or_default(), &request.call_id);
    let (number, method) = (request.cseq, &request.cseq_method);
    text += &format!("From: {from}\r\nTo: {to}{tagged}\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\n{more}");
    finish(text, body)
}

/// Ends head and message.
pub fn finish(mut text: String, body: &str) -> String {
    if !body.is_empty() {
        text += if body.starts_with("v=0") {
            "Content-Type: application/sdp\r\n"
        } else {
            "Content-Type: text/plain\r\n"
        };
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    text
}
