//! SIP as the phones speak it: just enough, and written without a look at `src/sip`, so that the two check each other.

use std::net::SocketAddr;

/// A message as a phone reads it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The method of a request; empty in a response.
    pub method: String,
    pub request_uri: String,
    /// Of a response; 0 in a request.
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Heard {
    /// None when the proxy sent what is no SIP message: the world calls that a failure.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?;
        let mut words = start.splitn(3, ' ');
        let (first, second, third) = (words.next()?, words.next()?, words.next()?);
        let headers = lines.map(|line| {
            line.split_once(':')
                .map(|(name, value)| (long(name.trim()), value.trim()))
        });
        let headers: Option<Vec<(String, String)>> = headers.map(|h| h.map(|(n, v)| (n, v.to_owned()))).collect();
        let mut heard = Self {
            method: String::new(),
            request_uri: String::new(),
            status: 0,
            headers: headers?,
            body: body.to_owned(),
        };
        if first == "SIP/2.0" {
            heard.status = second.parse().ok()?;
        } else if third == "SIP/2.0" {
            heard.method = first.to_owned();
            heard.request_uri = second.to_owned();
        } else {
            return None;
        }
        let complete = ["via", "from", "to", "call-id", "cseq"]
            .iter()
            .all(|name| heard.header(name).is_some());
        let length = heard
            .header("content-length")
            .map_or(Some(body.len()), |length| length.parse().ok());
        (complete && length == Some(body.len())).then_some(heard)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn call_id(&self) -> &str {
        self.header("call-id").unwrap_or_default()
    }

    /// Number and method.
    pub fn cseq(&self) -> (u32, &str) {
        let (number, method) = self
            .header("cseq")
            .and_then(|cseq| cseq.split_once(' '))
            .unwrap_or(("0", ""));
        (number.parse().unwrap_or(0), method.trim())
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> &str {
        parameter(self.header("via").unwrap_or_default(), "branch").unwrap_or_default()
    }

    pub fn tag(&self, header: &str) -> Option<&str> {
        parameter(self.header(header)?, "tag")
    }

    /// The URI of Contact.
    pub fn contact(&self) -> Option<String> {
        let value = self.header("contact")?;
        let uri = match value.split_once('<') {
            Some((_, rest)) => rest.split_once('>')?.0,
            None => value.split(';').next()?,
        };
        Some(uri.to_owned())
    }

    /// Where the SDP in the body wants audio, and whether it wants any: None without usable SDP.
    pub fn media(&self) -> Option<(SocketAddr, bool)> {
        let line = |prefix: &str| self.body.lines().find_map(|line| line.strip_prefix(prefix));
        let host = line("c=IN IP4 ").or_else(|| line("c=IN IP6 "))?;
        let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
        let wants = !self
            .body
            .lines()
            .any(|line| line == "a=sendonly" || line == "a=inactive");
        (port != 0).then_some((SocketAddr::new(host.parse().ok()?, port), wants))
    }
}

fn long(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "v" => "via".to_owned(),
        "f" => "from".to_owned(),
        "t" => "to".to_owned(),
        "i" => "call-id".to_owned(),
        "m" => "contact".to_owned(),
        "l" => "content-length".to_owned(),
        "c" => "content-type".to_owned(),
        _ => name,
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

/// Offer or answer: one line of PCMU.
pub fn sdp(media: SocketAddr, version: u32, direction: &str) -> String {
    let family = if media.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (media.ip(), media.port());
    format!(
        "v=0\r\no=- 7 {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na={direction}\r\n"
    )
}

/// The response to `request` with our tag; every Via goes back.
pub fn response(request: &Heard, status: u16, tag: &str, contact: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for via in request.all("via") {
        text += &format!("Via: {via}\r\n");
    }
    let to = request.header("to").unwrap_or_default();
    let to = if status == 100 || request.tag("to").is_some() {
        to.to_owned()
    } else {
        format!("{to};tag={tag}")
    };
    let (from, call_id) = (request.header("from").unwrap_or_default(), request.call_id());
    let cseq = request.header("cseq").unwrap_or_default();
    text += &format!("From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\nContact: <{contact}>\r\n");
    finish(text, body)
}

/// Ends head and message.
pub fn finish(mut text: String, body: &str) -> String {
    if !body.is_empty() {
        text += "Content-Type: application/sdp\r\n";
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    text
}
