//! A request at a glance: the little of it that tells whether there is room for it, and what a refusal repeats.
//!
//! Under overload most requests are refused, and reading each as a whole would leave no time for those that are served. Only
//! what is written plainly is told: whatever is folded, doubled, quoted or otherwise odd is left to [`Message::parse`].
//!
//! [`Message::parse`]: super::Message::parse

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use smallvec::SmallVec;

use super::flow::Flow;
use super::message::{HEADERS_MAX, Lines};
use super::name_addr::NameAddr;
use super::uri::DEFAULT_PORT;
use super::via::MAGIC_COOKIE;

/// Header lines that are looked at. A request with more is no plain one.
const LINES_MAX: usize = 64;

/// The topmost Via.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct TopVia<'a> {
    value: &'a str,
    host: &'a str,
    port: u16,
    branch: &'a str,
    asks_rport: bool,
    offers_oc: bool,
}

/// See the module. Values are as they stand in the message, without space around them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glance<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub from_tag: &'a str,
    pub to: &'a str,
    pub to_tag: Option<&'a str>,
    pub call_id: &'a str,
    /// Of CSeq, as digits without a leading zero.
    pub number: &'a str,
    /// It says of itself that it matters more than others, or who is meant beside the Request-URI: Priority,
    /// Resource-Priority, P-Called-Party-ID.
    pub is_marked: bool,
    top: TopVia<'a>,
    vias: SmallVec<[&'a str; 4]>,
    from: &'a str,
}

impl<'a> Glance<'a> {
    /// None if it is no request, or not a plain one.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = Lines::new(bytes, 0);
        let start = std::str::from_utf8(lines.next_unfolded().ok()?).ok()?;
        let (method, rest) = start.split_once(' ')?;
        let uri = rest.strip_suffix(" SIP/2.0").filter(|uri| is_plain(uri.as_bytes()))?;
        let mut glance = Self {
            method,
            uri,
            from_tag: "",
            to: "",
            to_tag: None,
            call_id: "",
            number: "",
            is_marked: false,
            top: TopVia::NONE,
            vias: SmallVec::new(),
            from: "",
        };
        let mut length = None;
        for _ in 0..LINES_MAX {
            let line = lines.next_unfolded().ok()?;
            if line.is_empty() {
                let body = bytes.len().checked_sub(lines.offset())?;
                return glance.complete(length.unwrap_or(body) == body);
            }
            // Of what is folded, the second line begins with a space.
            let colon = memchr::memchr(b':', line).filter(|_| !line.starts_with(b" ") && !line.starts_with(b"\t"))?;
            let (name, value) = (line.get(..colon)?.trim_ascii_end(), line.get(colon + 1..)?.trim_ascii());
            glance.note(name, value, &mut length)?;
        }
        None
    }

    fn note(&mut self, name: &[u8], value: &'a [u8], length: &mut Option<usize>) -> Option<()> {
        let is = |long: &str, short: &str| {
            (name.len() == long.len() || name.len() == short.len())
                && (name.eq_ignore_ascii_case(long.as_bytes()) || name.eq_ignore_ascii_case(short.as_bytes()))
        };
        let set = |place: &mut &'a str| {
            let text = plain(value)?;
            let is_first = place.is_empty() && !text.is_empty();
            *place = text;
            is_first.then_some(())
        };
        if is("Via", "v") {
            self.vias.push(plain(value)?);
        } else if is("From", "f") {
            set(&mut self.from)?;
        } else if is("To", "t") {
            set(&mut self.to)?;
        } else if is("Call-ID", "i") {
            set(&mut self.call_id)?;
        } else if is("CSeq", "CSeq") {
            set(&mut self.number)?;
        } else if is("Content-Length", "l") {
            let digits = std::str::from_utf8(value).ok()?.parse().ok()?;
            length.replace(digits).is_none().then_some(())?;
        } else if is("Priority", "Resource-Priority") || is("P-Called-Party-ID", "P-Called-Party-ID") {
            self.is_marked = true;
        }
        Some(())
    }

    /// All lines are read.
    fn complete(mut self, is_whole: bool) -> Option<Self> {
        let (number, method) = self.number.split_once(' ')?;
        let is_number = number.bytes().all(|c| c.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
        self.number = Some(number).filter(|number| is_number && (1..=10).contains(&number.len()))?;
        self.from_tag = tag(self.from)?.unwrap_or_default();
        self.to_tag = tag(self.to)?;
        self.top = TopVia::of(self.vias.first()?)?;
        (is_whole && method == self.method && !self.call_id.is_empty()).then_some(self)
    }

    /// The method of a request that opens something, for what is not written plainly: it looks for no more than a tag of To,
    /// which what belongs to a dialog has. None if it is no request, too.
    pub fn opening_method(bytes: &'a [u8]) -> Option<&'a str> {
        let mut lines = Lines::new(bytes, 0);
        let start = std::str::from_utf8(lines.next_unfolded().ok()?).ok()?;
        let (method, _) = start.split_once(' ')?;
        for _ in 0..=HEADERS_MAX {
            // Where the head breaks off it is refused, and to be refused it waits like others.
            let Ok(Some(line)) = lines.next_header() else { break };
            let to = line
                .header()
                .filter(|(name, _)| name.eq_ignore_ascii_case("To") || name.eq_ignore_ascii_case("t"));
            let Some((_, value)) = to else { continue };
            let to = std::str::from_utf8(value)
                .ok()
                .and_then(|text| NameAddr::parse(text).ok());
            return to.is_none_or(|to| to.tag().is_none()).then_some(method);
        }
        Some(method)
    }

    pub const fn branch(&self) -> &'a str {
        self.top.branch
    }

    /// Its sender throttles itself by what it is told (RFC 7339).
    pub const fn offers_oc(&self) -> bool {
        self.top.offers_oc
    }

    /// Sent-by, as the transactions want it.
    pub(super) const fn sent_by(&self) -> (&'a str, u16) {
        (self.top.host, self.top.port)
    }

    /// 503 to it, without state (RFC 3261 §8.2.7), and where that goes. `retry_after`: in seconds.
    pub fn unavailable(&self, flow: Flow, tag: &str, retry_after: u32) -> (Flow, Bytes) {
        let vias: usize = self.vias.iter().map(|via| via.len() + 8).sum();
        let room = vias + self.from.len() + self.to.len() + self.call_id.len() + 256;
        let mut out = Vec::with_capacity(room);
        let mut push = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        push(&["SIP/2.0 503 Service Unavailable\r\nVia: "]);
        let back = self.top.stamped(flow, &mut push);
        for via in self.vias.iter().skip(1) {
            push(&["\r\nVia: ", via]);
        }
        push(&["\r\nFrom: ", self.from, "\r\nTo: ", self.to, ";tag=", tag]);
        push(&[
            "\r\nCall-ID: ",
            self.call_id,
            "\r\nCSeq: ",
            self.number,
            " ",
            self.method,
        ]);
        push(&[
            "\r\nRetry-After: ",
            &retry_after.to_string(),
            "\r\nContent-Length: 0\r\n\r\n",
        ]);
        (back, out.into())
    }
}

impl<'a> TopVia<'a> {
    const NONE: Self = Self {
        value: "",
        host: "",
        port: 0,
        branch: "",
        asks_rport: false,
        offers_oc: false,
    };

    /// None if it is a list, or stamped already, or of RFC 2543.
    fn of(value: &'a str) -> Option<Self> {
        if memchr::memchr(b',', value.as_bytes()).is_some() && memchr::memchr(b'"', value.as_bytes()).is_none() {
            return None;
        }
        let (transport, rest) = value.strip_prefix("SIP/2.0/")?.split_once(' ')?;
        let mut params = rest.split(';');
        let sent_by = params.next()?;
        let (host, port) = match sent_by.strip_suffix(']') {
            Some(_) => (sent_by, DEFAULT_PORT),
            None => match sent_by.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().ok()?),
                None => (sent_by, DEFAULT_PORT),
            },
        };
        let is_plain_host = !host.is_empty() && !host.contains([' ', '\t', '"']);
        let mut via = Self {
            value,
            host,
            port,
            ..Self::NONE
        };
        for param in params {
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            match name {
                "branch" => via.branch = value,
                "rport" if param == name && !via.asks_rport => via.asks_rport = true,
                "oc" => via.offers_oc = true,
                "received" => return None,
                _ if name.starts_with("rport") => return None,
                _ if name.contains([' ', '\t']) || name.bytes().any(|c| c.is_ascii_uppercase()) => return None,
                _ => {}
            }
        }
        let unique = via.branch.strip_prefix(MAGIC_COOKIE)?;
        let is_plain_branch = !unique.is_empty() && !unique.contains([' ', '\t', '"']);
        (is_plain_host && is_plain_branch && !transport.is_empty()).then_some(via)
    }

    /// Pushes its value with where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4). Where the answer goes.
    fn stamped(&self, flow: Flow, push: &mut impl FnMut(&[&str])) -> Flow {
        let ip = flow.remote.ip().to_string();
        match self.value.split_once(";rport") {
            Some((before, after)) if self.asks_rport => {
                push(&[
                    before,
                    ";rport=",
                    &flow.remote.port().to_string(),
                    after,
                    ";received=",
                    &ip,
                ]);
                return flow;
            }
            _ if self.host.parse::<IpAddr>() == Ok(flow.remote.ip()) => push(&[self.value]),
            _ => push(&[self.value, ";received=", &ip]),
        }
        if flow.transport.is_reliable() {
            return flow;
        }
        Flow {
            remote: SocketAddr::new(flow.remote.ip(), self.port),
            ..flow
        }
    }
}

/// The tag of From or To. None if it is not written plainly, Some(None) if there is none.
fn tag(value: &str) -> Option<Option<&str>> {
    let text = value.as_bytes();
    let params = match memchr::memrchr(b'>', text) {
        Some(end) => value.get(end + 1..)?,
        None if memchr::memchr(b'"', text).is_some() => return None,
        None => memchr::memchr(b';', text).map_or("", |at| value.get(at..).unwrap_or_default()),
    };
    if memchr::memchr(b'"', params.as_bytes()).is_some() {
        return None;
    }
    for param in params.split(';') {
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("tag") {
            return if value.is_empty() { None } else { Some(Some(value)) };
        }
    }
    Some(None)
}

/// Text without controls.
fn plain(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| is_plain(text.as_bytes()))
}

fn is_plain(text: &[u8]) -> bool {
    // Every byte is looked at, so that it can be done many at a time.
    !text.iter().fold(false, |found, c| found | c.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sip::transaction::{Output, TransactionLimits, Transactions};
    use crate::sip::{Message, Response, Transport};

    const INVITE: &str = "INVITE sip:bob@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK7;rport\r\n\
        Via: SIP/2.0/TCP [2001:db8::1];branch=z9hG4bK6\r\nMax-Forwards: 70\r\nFrom: \"A; tag=no\" <sip:alice@example.com>;tag=a1\r\n\
        To: <sip:bob@example.com>\r\nCall-ID: c1@192.0.2.1\r\nCSeq: 7 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\n\
        Content-Length: 4\r\n\r\nv=0\n";

    fn flow(remote: &str) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: SocketAddr::from(([192, 0, 2, 9], 5060)),
            remote: remote.parse().expect("an address"),
        }
    }

    /// What the long way says.
    fn refused(text: &str, flow: Flow) -> (Flow, Bytes) {
        let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else {
            unreachable!("a request")
        };
        let mut response = Response::to(&request, 503, None, Some("t1"));
        response.headers.push("Retry-After", "3");
        let mut transactions = Transactions::new(TransactionLimits { live_max: 8 });
        transactions.refuse(flow, response);
        match transactions.poll_output() {
            Some(Output::Send { flow, bytes }) => (flow, bytes),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_at_a_glance_is_the_one_that_the_long_way_gives() {
        for via in [
            "192.0.2.1:5070;branch=z9hG4bK7;rport",
            "192.0.2.1:5070;rport;branch=z9hG4bK7;alias",
            "192.0.2.1;branch=z9hG4bK7",
            "phone.example.com:5080;branch=z9hG4bK7",
        ] {
            for remote in ["192.0.2.1:5070", "198.51.100.7:9"] {
                let text = INVITE.replace("192.0.2.1:5070;branch=z9hG4bK7;rport", via);
                let glance = Glance::of(text.as_bytes()).expect("a plain request");
                let seen = glance.unavailable(flow(remote), "t1", 3);
                let long = refused(&text, flow(remote));
                assert_eq!(
                    (seen.0, Message::parse(&seen.1)),
                    (long.0, Message::parse(&long.1)),
                    "{via} {remote}"
                );
                assert_eq!(seen.1, long.1);
            }
        }
    }

    #[test]
    fn it_tells_what_a_request_is() {
        let glance = Glance::of(INVITE.as_bytes()).expect("a plain request");
        assert_eq!(
            (glance.method, glance.uri, glance.call_id),
            ("INVITE", "sip:bob@192.0.2.9", "c1@192.0.2.1")
        );
        assert_eq!(
            (glance.from_tag, glance.to_tag, glance.number, glance.branch()),
            ("a1", None, "7", "z9hG4bK7")
        );
        assert!(!glance.is_marked && !glance.offers_oc());
        let other = INVITE
            .replace("To: <sip:bob@example.com>", "t: sip:bob@example.com ; tag = b2")
            .replace(";rport", ";oc;oc-algo=\"loss,rate\"")
            .replace("Max-Forwards: 70", "Resource-Priority: esnet.0");
        let glance = Glance::of(other.as_bytes()).expect("plain enough");
        assert_eq!(
            (glance.to_tag, glance.is_marked, glance.offers_oc()),
            (Some("b2"), true, true)
        );
    }

    #[test]
    fn what_is_not_written_plainly_is_left_to_the_long_way() {
        for (plain, odd) in [
            ("Call-ID: c1@192.0.2.1", "Call-ID: c1@192.0.2.1\r\nCall-ID: c2"),
            ("Call-ID: c1@192.0.2.1", "Call-ID:\r\n c1@192.0.2.1"),
            ("Call-ID: c1@192.0.2.1\r\n", ""),
            ("Call-ID: c1", "Call-ID: c1\u{7}"),
            ("CSeq: 7 INVITE", "CSeq: 07 INVITE"),
            ("CSeq: 7 INVITE", "CSeq: 7 BYE"),
            ("z9hG4bK7", "7"),
            (";rport", ";rport=9"),
            (";rport", ";received=192.0.2.1"),
            (";rport", ", SIP/2.0/UDP h;branch=z9hG4bK5"),
            (";tag=a1", ";x=\"y;tag=z\""),
            ("Content-Length: 4", "Content-Length: 5"),
            ("Content-Length: 4", "Content-Length: 4\r\nl: 4"),
            ("SIP/2.0\r\nVia", "SIP/2.0\nVia"),
            ("INVITE sip:bob@192.0.2.9 SIP/2.0", "SIP/2.0 200 OK"),
        ] {
            let text = INVITE.replacen(plain, odd, 1);
            assert_ne!(text, INVITE);
            assert_eq!(Glance::of(text.as_bytes()), None, "{odd}");
        }
        let many = INVITE.replace("Max-Forwards: 70", &"X: y\r\n".repeat(LINES_MAX));
        assert_eq!(Glance::of(many.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_it_never_panics_and_a_refusal_can_be_read(at in 0..INVITE.len(), bytes in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut text = INVITE.as_bytes().to_vec();
            text.splice(at..at, bytes);
            if let Some(glance) = Glance::of(&text) {
                let (_, refusal) = glance.unavailable(flow("192.0.2.1:5070"), "t1", 3);
                let read = refusal.windows(4).filter(|part| *part == b"\r\n\r\n").count();
                prop_assert_eq!(read, 1, "one message, whatever was in it");
            }
        }
    }
}
