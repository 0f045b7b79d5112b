//! An offer without the payload formats that may not cross (RFC 3264 §6.1 lets who passes it on ask for less).

use std::collections::BTreeSet;

use bytes::Bytes;

use super::scan::{self, Line};
use super::{Format, SessionDescription};

/// Attributes that speak of one payload type, as their first word (RFC 8866 §6.6, §6.15, RFC 4585 §4.2).
const PER_FORMAT: [&str; 3] = ["rtpmap", "fmtp", "rtcp-fb"];

/// Every live line of an offer has lost all its formats: 488.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no payload format of the offer may cross")]
pub struct NothingLeft;

/// The description with only those payload formats of its RTP lines that are `allowed`; None if that is all of them.
///
/// - The formats that stay keep their order, and every other byte stays; `rtpmap`, `fmtp` and `rtcp-fb` of the others go.
/// - A line that has none left keeps its formats and gets port 0: the far end must not accept it (RFC 3264 §6).
/// - Lines that are not RTP, and lines with port 0, stay.
pub fn filter(sdp: &SessionDescription, allowed: impl Fn(&Format) -> bool) -> Result<Option<Bytes>, NothingLeft> {
    let cuts: Vec<Cut> = sdp
        .lines()
        .iter()
        .map(|line| {
            let kept: BTreeSet<u8> = line
                .formats
                .iter()
                .filter(|format| allowed(format))
                .map(|format| format.payload_type)
                .collect();
            let all = kept.len() == line.formats.len() && line.formats.len() < super::FORMATS_MAX;
            match line.is_live() && is_rtp(&line.protocol) {
                false => Cut::Nothing,
                true if all => Cut::Nothing,
                true if kept.is_empty() => Cut::Line,
                true => Cut::AllBut(kept),
            }
        })
        .collect();
    if cuts.iter().all(|cut| *cut == Cut::Nothing) {
        return Ok(None);
    }
    let live = sdp.lines().iter().zip(&cuts);
    if live.clone().all(|(line, cut)| !line.is_live() || *cut == Cut::Line) {
        return Err(NothingLeft);
    }
    Ok(Some(cut_out(sdp, &cuts)))
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Cut {
    Nothing,
    AllBut(BTreeSet<u8>),
    Line,
}

fn is_rtp(protocol: &str) -> bool {
    protocol.split('/').any(|part| part.eq_ignore_ascii_case("RTP"))
}

fn cut_out(sdp: &SessionDescription, cuts: &[Cut]) -> Bytes {
    let text = sdp.text();
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    let mut current: Option<&Cut> = None;
    // What was parsed once has lines of a good shape.
    for line in scan::lines(text).map_while(Result::ok) {
        let whole = text.get(line.span.clone()).unwrap_or_default();
        if line.kind == Some(b'm') {
            current = cuts.get(at);
            at += 1;
            match current {
                Some(Cut::AllBut(_) | Cut::Line) => write_media(&mut out, whole, &line, current),
                _ => out.extend_from_slice(whole),
            }
            continue;
        }
        let gone = matches!(current, Some(Cut::AllBut(kept)) if is_of_another(&line, kept));
        if !gone {
            out.extend_from_slice(whole);
        }
    }
    Bytes::from(out)
}

fn write_media(out: &mut Vec<u8>, whole: &[u8], line: &Line<'_>, cut: Option<&Cut>) {
    let start = line.value_at - line.span.start;
    let words = line
        .value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    out.extend_from_slice(whole.get(..start).unwrap_or_default());
    let mut first = true;
    for (index, word) in words.enumerate() {
        let word = match cut {
            Some(Cut::Line) if index == 1 => b"0",
            Some(Cut::AllBut(kept)) if index > 2 && !payload_type(word).is_some_and(|pt| kept.contains(&pt)) => {
                continue;
            }
            _ => word,
        };
        if !first {
            out.push(b' ');
        }
        first = false;
        out.extend_from_slice(word);
    }
    out.extend_from_slice(whole.get(start + line.value.len()..).unwrap_or_default());
}

fn payload_type(word: &[u8]) -> Option<u8> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Whether the line is an attribute of a payload type that is not among these.
fn is_of_another(line: &Line<'_>, kept: &BTreeSet<u8>) -> bool {
    if line.kind != Some(b'a') {
        return false;
    }
    let (name, value) = line.attribute();
    if !PER_FORMAT.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
        return false;
    }
    let value = value.unwrap_or_default();
    let word = value.split_ascii_whitespace().next().unwrap_or_default();
    payload_type(word.as_bytes()).is_some_and(|pt| !kept.contains(&pt))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 9 8  0 18 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
        m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:* ccm fir\r\n\
        m=image 6000 udptl t38\r\na=T38FaxVersion:0\r\n";

    fn filtered(text: &str, names: &[&str]) -> Result<Option<String>, NothingLeft> {
        let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
        let allowed = |format: &Format| names.iter().any(|name| name.eq_ignore_ascii_case(&format.name));
        let out = filter(&sdp, allowed)?;
        Ok(out.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    #[test]
    fn formats_that_may_not_cross_go_with_their_attributes_and_the_order_stays() {
        let wanted = OFFER
            .replace("RTP/AVP 9 8  0 18 101", "RTP/AVP 8 0 101")
            .replace(
                "a=rtpmap:9 G722/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n",
                "",
            )
            .replace("m=video 5000", "m=video 0");
        let names = ["PCMU", "pcma", "telephone-event"];
        assert_eq!(filtered(OFFER, &names), Ok(Some(wanted)));
        let unix = OFFER.replace("\r\n", "\n");
        assert!(
            filtered(&unix, &names)
                .unwrap()
                .unwrap()
                .contains("RTP/AVP 8 0 101\na=rtpmap:101")
        );
    }

    #[test]
    fn an_offer_of_which_all_may_cross_is_not_touched() {
        let all = ["G722", "PCMA", "PCMU", "G729", "telephone-event", "H264"];
        assert_eq!(filtered(OFFER, &all), Ok(None));
    }

    #[test]
    fn an_offer_of_which_nothing_may_cross_is_refused() {
        let audio = OFFER.split("m=video").next().unwrap();
        assert_eq!(filtered(audio, &["opus"]), Err(NothingLeft));
        assert!(filtered(OFFER, &["opus"]).is_ok(), "the fax line is left");
    }

    proptest! {
        #[test]
        fn what_is_left_is_a_description_of_as_many_lines_with_allowed_formats_only(
            lines in prop::collection::vec((0_u16..3, prop::collection::vec(0_u8..128, 1..6), any::<bool>()), 1..5),
            allowed in prop::collection::btree_set(0_u8..128, 0..64),
        ) {
            let mut text = "v=0\r\nc=IN IP4 192.0.2.1\r\n".to_owned();
            for (port, formats, mapped) in &lines {
                let list: Vec<String> = formats.iter().map(u8::to_string).collect();
                text += &format!("m=audio {} RTP/AVP {}\r\n", port * 4000, list.join(" "));
                for format in formats.iter().filter(|_| *mapped) {
                    text += &format!("a=rtpmap:{format} x{format}/8000\r\na=fmtp:{format} a=1\r\n");
                }
            }
            let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
            match filter(&sdp, |format| allowed.contains(&format.payload_type)) {
                Ok(Some(bytes)) => {
                    let out = SessionDescription::parse(&bytes).unwrap();
                    prop_assert_eq!(out.lines().len(), lines.len());
                    prop_assert!(bytes.len() <= text.len());
                    for line in out.lines().iter().filter(|line| line.is_live()) {
                        prop_assert!(!line.formats.is_empty());
                        prop_assert!(line.formats.iter().all(|format| allowed.contains(&format.payload_type)));
                    }
                }
                Ok(None) => {
                    let live = lines.iter().filter(|(port, ..)| *port != 0);
                    prop_assert!(live.flat_map(|(_, formats, _)| formats).all(|pt| allowed.contains(pt)));
                }
                Err(NothingLeft) => {
                    let live = lines.iter().filter(|(port, ..)| *port != 0);
                    prop_assert!(live.flat_map(|(_, formats, _)| formats).all(|pt| !allowed.contains(pt)));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let text = [b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0 8\r\n", &text[..]].concat();
            if let Ok(sdp) = SessionDescription::parse(&text) {
                let _ = filter(&sdp, |format| format.payload_type == 8);
            }
        }
    }
}
