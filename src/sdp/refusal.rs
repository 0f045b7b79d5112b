//! A line that is refused, for pages that read those as they read others.
//!
//! Who checks that every m-line of an answer has formats that it knows, ways and a handshake takes no answer at all where a phone
//! refuses a line in a word. What a refused line says binds nobody (RFC 3264 §6).

use bytes::Bytes;

use super::echo::write_media;
use super::{SessionDescription, scan};

/// What of a line as its reader has it may be said of it again.
const KEPT: [&str; 3] = ["rtpmap", "fmtp", "mid"];

/// The description, and in these lines, which it refuses, the formats and the name that its reader gave them. `theirs`: the reader's
/// description.
pub fn refused_as_known(
    sdp: &SessionDescription,
    theirs: &SessionDescription,
    is_refused: impl Fn(usize) -> bool,
) -> Bytes {
    let known = sections(theirs.text());
    let text = sdp.text();
    let mut out = Vec::with_capacity(text.len() + 256);
    let mut media = 0;
    let mut refused: Option<&Section<'_>> = None;
    for line in scan::lines(text).map_while(Result::ok) {
        if line.kind == Some(b'm') {
            finish(&mut out, refused);
            refused = known.get(media).filter(|_| is_refused(media));
            media += 1;
            if let Some(section) = refused {
                write_media(&mut out, section.media, false);
                continue;
            }
        }
        if refused.is_none() || line.kind != Some(b'a') {
            out.extend_from_slice(text.get(line.span.clone()).unwrap_or_default());
        }
    }
    finish(&mut out, refused);
    Bytes::from(out)
}

struct Section<'a> {
    media: &'a [u8],
    attributes: Vec<&'a [u8]>,
}

fn sections(text: &[u8]) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in scan::lines(text).map_while(Result::ok) {
        match (line.kind, sections.last_mut()) {
            (Some(b'm'), _) => sections.push(Section {
                media: line.value,
                attributes: Vec::new(),
            }),
            (Some(b'a'), Some(section)) => {
                let (name, _) = line.attribute();
                let is_kept = KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept));
                section.attributes.extend(is_kept.then_some(line.value));
            }
            _ => {}
        }
    }
    sections
}

fn finish(out: &mut Vec<u8>, section: Option<&Section<'_>>) {
    let Some(section) = section else { return };
    if !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    for attribute in section.attributes.iter().chain([&&b"inactive"[..]]) {
        out.extend_from_slice(b"a=");
        out.extend_from_slice(attribute);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFER: &str = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 96 0\r\na=rtpmap:96 opus/48000/2\r\na=mid:0\r\n\
                         m=video 4000 UDP/TLS/RTP/SAVPF 97\r\na=rtpmap:97 VP8/90000\r\na=rtcp-fb:97 nack\r\na=fmtp:97 x=1\r\na=ssrc:7 cname:a\r\na=mid:1\r\n";

    fn told(answer: &str, offer: &str) -> String {
        let [answer, offer] = [answer, offer].map(|text| SessionDescription::parse(text.as_bytes()).unwrap());
        let is_refused = |line: usize| !answer.lines()[line].is_live();
        String::from_utf8(refused_as_known(&answer, &offer, is_refused).to_vec()).unwrap()
    }

    #[test]
    fn a_line_that_is_refused_in_a_word_says_what_its_offerer_said_of_its_formats_and_that_nothing_is_sent() {
        let head = "v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 5000 RTP/AVP 0\r\na=sendrecv\r\n";
        let wanted = format!(
            "{head}m=video 0 UDP/TLS/RTP/SAVPF 97\r\nb=AS:1\r\na=rtpmap:97 VP8/90000\r\na=fmtp:97 x=1\r\na=mid:1\r\na=inactive\r\n"
        );
        for refusal in [
            "m=video 0 RTP/AVP 31\r\nb=AS:1\r\n",
            "m=video 0 RTP/AVP 31\r\nb=AS:1",
            "m=video 0 RTP/AVP 31\r\nb=AS:1\r\na=sendrecv\r\na=mid:x\r\n",
        ] {
            assert_eq!(told(&format!("{head}{refusal}"), OFFER), wanted);
        }
    }

    #[test]
    fn a_line_that_its_reader_does_not_have_stays_as_it_is() {
        let answer = "v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 5000 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\nm=text 0 RTP/AVP 98\r\na=x\r\n";
        assert!(told(answer, OFFER).ends_with("a=mid:1\r\na=inactive\r\nm=text 0 RTP/AVP 98\r\na=x\r\n"));
    }

    proptest! {
        #[test]
        fn whatever_is_refused_by_whatever_words_is_read_again(
            lines in proptest::collection::vec("(m=audio 0 RTP/AVP [0-9]{1,3}|a=[a-z]{1,6}:[ -~]{0,9}|b=AS:1|[ -~]{0,12})", 0..20),
            theirs in proptest::collection::vec("(m=audio [0-9]{1,4} RTP/AVP [0-9 ]{0,9}|a=rtpmap:[ -~]{0,9}|a=mid:[ -~]{0,9})", 0..20),
        ) {
            let text = |lines: Vec<String>| format!("v=0\r\nc=IN IP4 192.0.2.1\r\n{}", lines.join("\r\n"));
            let [answer, offer] = [lines, theirs].map(|lines| SessionDescription::parse(text(lines).as_bytes()));
            if let (Ok(answer), Ok(offer)) = (answer, offer) {
                let told = refused_as_known(&answer, &offer, |line| !answer.lines()[line].is_live());
                let told = SessionDescription::parse(&told);
                prop_assert_eq!(told.map(|told| told.lines().len()), Ok(answer.lines().len()));
            }
        }
    }
}
