//! An answer that takes one line of an offer as it is (RFC 3264 §6).

use std::net::IpAddr;

use bytes::Bytes;

use super::{SessionDescription, scan, without_lines};

/// The offer as an answer to it: of this line everything is taken, the other lines are refused. `host`: who answers.
pub fn echo(offer: &SessionDescription, line: usize, host: IpAddr) -> Bytes {
    let text = without_lines(offer, |other| other != line);
    let family = if host.is_ipv4() { "IP4" } else { "IP6" };
    let mut out = Vec::with_capacity(text.len() + 64);
    for line in scan::lines(&text).map_while(Result::ok) {
        if line.kind == Some(b'o') {
            out.extend_from_slice(format!("o=- 1 1 IN {family} {host}\r\n").as_bytes());
        } else {
            out.extend_from_slice(text.get(line.span.clone()).unwrap_or_default());
        }
    }
    Bytes::from(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_taken_as_it_is_and_the_session_is_the_answerer_s_own() {
        let offer = "v=0\r\no=alice 7 41 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 5000 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 96 0\r\na=rtpmap:96 opus/48000/2\r\nm=audio 4002 RTP/AVP 0\r\n";
        let offer = SessionDescription::parse(offer.as_bytes()).unwrap();
        let answer = echo(&offer, 1, "2001:db8::7".parse().unwrap());
        let wanted = "v=0\r\no=- 1 1 IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 0 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 96 0\r\na=rtpmap:96 opus/48000/2\r\nm=audio 0 RTP/AVP 0\r\n";
        assert_eq!(String::from_utf8(answer.to_vec()).unwrap(), wanted);
    }
}
