//! An answer of ours that takes one line of an offer (RFC 3264 §6).

use std::net::IpAddr;

use bytes::Bytes;

use super::{SessionDescription, scan};

/// What of a line is an answer's to say again: what its formats mean, and the keys. All else speaks for its author.
const KEPT: [&str; 5] = ["rtpmap", "fmtp", "ptime", "maxptime", "crypto"];

/// An answer to the offer: of this line all formats are taken, both ways, and the other lines are refused. `host`: who answers, at the
/// port of the offer.
pub fn echo(offer: &SessionDescription, line: usize, host: IpAddr) -> Bytes {
    let family = if host.is_ipv4() { "IP4" } else { "IP6" };
    let head = format!("v=0\r\no=- 1 1 IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n");
    let mut out = head.into_bytes();
    let mut media = 0;
    for read in scan::lines(offer.text()).map_while(Result::ok) {
        if read.kind == Some(b'm') {
            write_media(&mut out, read.value, media == line);
            media += 1;
            continue;
        }
        let is_kept = media == line + 1 && read.kind == Some(b'a') && {
            let (name, _) = read.attribute();
            KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
        };
        if is_kept {
            out.extend_from_slice(b"a=");
            out.extend_from_slice(read.value);
            out.extend_from_slice(b"\r\n");
        }
    }
    Bytes::from(out)
}

/// An m-line as it is, or refused: by port 0.
pub(super) fn write_media(out: &mut Vec<u8>, value: &[u8], is_taken: bool) {
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    out.extend_from_slice(b"m=");
    for (at, word) in words.enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(if at == 1 && !is_taken { b"0" } else { word });
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_one_line_the_formats_are_taken_and_nothing_that_speaks_for_its_author() {
        let offer = "v=0\r\no=alice 7 41 IN IP4 192.0.2.1\r\ns=Alice\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=tool:x\r\nm=video 5000 RTP/AVP 31\r\na=fmtp:31 x\r\nm=audio 4000 RTP/AVP 96  0\r\na=rtpmap:96 opus/48000/2\r\na=ssrc:7 cname:alice\r\nm=audio 4002 RTP/AVP 0\r\na=ptime:20\r\n";
        let offer = SessionDescription::parse(offer.as_bytes()).unwrap();
        let answer = echo(&offer, 1, "2001:db8::7".parse().unwrap());
        let wanted = "v=0\r\no=- 1 1 IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP6 2001:db8::7\r\nt=0 0\r\nm=video 0 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 96 0\r\na=rtpmap:96 opus/48000/2\r\nm=audio 0 RTP/AVP 0\r\n";
        assert_eq!(String::from_utf8(answer.to_vec()).unwrap(), wanted);
    }
}
