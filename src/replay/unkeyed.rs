//! Descriptions of a recording of ours whose media was encrypted: their keys are blanked there, and what was opened is clear.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;

use super::blocks::Provenance;
use super::calls::description_in;
use super::flaw::FlawKind;
use crate::sdp::{MediaLine, Secured, SessionDescription, anchor_secured};
use crate::sip::Message;

/// What is made of them, and what was not told yet.
#[derive(Default)]
pub(super) struct Unkeyed {
    provenance: Provenance,
    is_told: bool,
    news: Option<FlawKind>,
}

impl Unkeyed {
    pub(super) fn new(provenance: Provenance) -> Self {
        Self {
            provenance,
            ..Self::default()
        }
    }

    /// The message as the phones would have said it had their media been clear, if that is what the recording has.
    pub(super) fn told(&mut self, mut message: Message) -> Message {
        if self.provenance == Provenance::Captured {
            return message;
        }
        let Some(text) = description_in(&message) else {
            return message;
        };
        let sdp = SessionDescription::parse(&text).ok();
        let Some(sdp) = sdp.filter(|sdp| sdp.lines().iter().any(|line| line.crypto)) else {
            return message;
        };
        let clear = (self.provenance == Provenance::ExportedInClear)
            .then(|| in_clear(&sdp))
            .flatten();
        let news = match clear {
            Some(clear) => {
                replace(&mut message, &text, &clear);
                Some(FlawKind::Deciphered)
            }
            None => sdp.lines().iter().any(|line| line.keyed).then_some(FlawKind::Keyless),
        };
        if news.is_some() && !self.is_told {
            (self.is_told, self.news) = (true, news);
        }
        message
    }

    pub(super) const fn take_news(&mut self) -> Option<FlawKind> {
        self.news.take()
    }
}

/// In the body, which may have other parts.
fn replace(message: &mut Message, text: &[u8], by: &[u8]) {
    let body = message.body();
    let Some(at) = memchr::memmem::find(body, text) else {
        return;
    };
    let (before, after) = (&body[..at], &body[at + text.len()..]);
    let body = Bytes::from([before, by, after].concat());
    let kind = message.headers().get("Content-Type").unwrap_or_default().to_owned();
    match message {
        Message::Request(request) => request.set_body(&kind, body),
        Message::Response(response) => response.set_body(&kind, body),
    }
}

/// The same media at the same places, as RTP in clear. None: a place is told by a name.
fn in_clear(sdp: &SessionDescription) -> Option<Bytes> {
    let place = |line: &MediaLine| {
        let nowhere = (!line.is_live()).then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        line.connection.or(nowhere).map(|ip| SocketAddr::new(ip, line.port))
    };
    let places: Option<Vec<SocketAddr>> = sdp.lines().iter().map(place).collect();
    let profile = |line: &MediaLine| {
        let is_feedback = line.protocol.ends_with(['F', 'f']);
        Some(if is_feedback { "RTP/AVPF" } else { "RTP/AVP" }.to_owned())
    };
    let secured = |line: &MediaLine| {
        (line.crypto && !line.formats.is_empty()).then(|| Secured {
            profile: profile(line),
            ..Secured::default()
        })
    };
    let secured: Vec<Option<Secured>> = sdp.lines().iter().map(secured).collect();
    Some(anchor_secured(sdp, &places?, &secured, &[]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cleared(text: &str) -> String {
        let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
        String::from_utf8(in_clear(&sdp).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn what_tells_keys_goes_and_the_places_stay() {
        let by_keys = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                       m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xxxx\r\na=sendrecv\r\n";
        let wanted = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                      m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n";
        assert_eq!(cleared(by_keys), wanted);
        let by_handshake = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=ice-lite\r\n\
                            a=fingerprint:sha-256 xx\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=setup:actpass\r\na=ice-ufrag:ab\r\n\
                            a=ice-pwd:cd\r\na=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\r\na=rtcp-mux\r\n\
                            m=audio 0 RTP/AVP 8\r\n";
        let wanted = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                      m=audio 4000 RTP/AVPF 0\r\na=rtcp-mux\r\nm=audio 0 RTP/AVP 8\r\n";
        assert_eq!(cleared(by_handshake), wanted);
    }

    #[test]
    fn a_hold_by_the_null_address_stays_one() {
        let held = cleared("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 X inline:xxxx\r\n");
        assert_eq!(held, "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n");
    }
}
