//! What a description tells its reader of the recording: `a=record` (RFC 7866 §7.1.2).

use bytes::Bytes;

use super::scan::{self, Line};
use crate::model::{Indication, Told};

/// The description with `a=record` on each live m-line: as its author says it, or as `ours` of that line if that is more.
///
/// Who stands between two recorders tells of both (§7.3.1). It is said on the lines: what stands there overrides the session's.
pub fn indicate(text: &[u8], ours: Told) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut session = Indication::default();
    let (mut media, mut lines): (Option<Section>, u16) = (None, 0);
    for line in scan::lines(text).map_while(Result::ok) {
        if let Some(said) = said_in(&line) {
            let place = media.as_mut().map_or(&mut session, |section| &mut section.said);
            *place = said.unwrap_or(*place);
            continue;
        }
        if line.kind == Some(b'm') {
            end(&mut out, media.take());
            media = Some(Section {
                is_live: is_live(&line),
                said: session,
                ours: ours.of(lines),
            });
            lines = lines.saturating_add(1);
        }
        out.extend_from_slice(text.get(line.span.clone()).unwrap_or_default());
    }
    end(&mut out, media);
    Bytes::from(out)
}

/// An m-line and what follows it.
struct Section {
    is_live: bool,
    said: Indication,
    ours: Indication,
}

/// The value of `a=record`; `Some(None)`: one that is none. None: another line.
fn said_in(line: &Line<'_>) -> Option<Option<Indication>> {
    if !matches!(line.kind, Some(b'a' | b'A')) {
        return None;
    }
    let (name, value) = line.attribute();
    name.eq_ignore_ascii_case("record")
        .then(|| Indication::parse(value.as_deref()?))
}

fn is_live(line: &Line<'_>) -> bool {
    let mut words = line
        .value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let port = words.nth(1).unwrap_or_default();
    port.iter().take_while(|c| c.is_ascii_digit()).any(|c| *c != b'0')
}

fn end(out: &mut Vec<u8>, section: Option<Section>) {
    let Some(section) = section.filter(|section| section.is_live) else {
        return;
    };
    if !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"a=record:");
    out.extend_from_slice(section.said.max(section.ours).as_str().as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::SessionDescription;
    use super::*;
    use crate::model::LineSet;

    fn told(text: &str, ours: Indication) -> String {
        String::from_utf8(indicate(text.as_bytes(), Told::whole(ours)).to_vec()).unwrap()
    }

    #[test]
    fn each_live_line_says_how_the_recording_stands_and_all_else_stays() {
        let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\nm=video 0 RTP/AVP 31\r\nm=text 5000 RTP/AVP 98";
        let wanted = "v=0\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\na=record:paused\r\nm=video 0 RTP/AVP 31\r\nm=text 5000 RTP/AVP 98\r\na=record:paused\r\n";
        assert_eq!(told(text, Indication::Paused), wanted);
    }

    #[test]
    fn what_another_recorder_says_stands_where_it_is_more_than_ours() {
        let text = "v=0\na=record:on\nm=audio 4000 RTP/AVP 8\nm=video 5000 RTP/AVP 31\nA= Record: off\nm=text 6000 RTP/AVP 98\na=record:nonsense\n";
        let lines = |ours| -> Vec<String> {
            let out = told(text, ours);
            let said = out.lines().filter_map(|line| line.strip_prefix("a=record:"));
            said.map(str::to_owned).collect()
        };
        assert_eq!(lines(Indication::Off), ["on", "off", "on"]);
        assert_eq!(lines(Indication::Paused), ["on", "paused", "on"]);
        assert_eq!(lines(Indication::On), ["on", "on", "on"]);
        let kept = "v=0\na=recordpref:off\na=recording:on\n";
        assert_eq!(told(kept, Indication::On), kept, "other attributes, and no line");
    }

    #[test]
    fn a_line_that_is_paused_says_so_beside_others_that_are_on() {
        let text =
            "v=0\r\nm=audio 4000 RTP/AVP 8\r\nm=video 0 RTP/AVP 31\r\nm=video 5000 RTP/AVP 31\r\na=record:off\r\n";
        let ours = Told {
            recording: Indication::On,
            paused: LineSet::NONE.with(2),
        };
        let out = String::from_utf8(indicate(text.as_bytes(), ours).to_vec()).unwrap();
        let said: Vec<&str> = out.lines().filter(|line| line.starts_with("a=record")).collect();
        assert_eq!(said, ["a=record:on", "a=record:paused"]);
        let off = indicate(
            text.as_bytes(),
            Told {
                recording: Indication::Off,
                ..ours
            },
        );
        assert!(
            !String::from_utf8(off.to_vec()).unwrap().contains("paused"),
            "nothing is recorded at all"
        );
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            (0..3_u16).prop_map(|port| format!("m=audio {port} RTP/AVP 0")),
            Just("c=IN IP4 192.0.2.1".to_owned()),
            "a=record:(on|off|paused|x{0,3})",
            "a=recordpref:(on|off|pause|nopreference|x{0,3})",
            "[a-z]=[ -~]{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_told_twice_is_told_once(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let once = indicate(&bytes, Told::whole(Indication::On));
            prop_assert_eq!(&indicate(&once, Told::whole(Indication::On)), &once);
        }

        #[test]
        fn the_lines_of_a_description_stay_what_they_are(lines in proptest::collection::vec(line(), 0..16)) {
            let text = lines.into_iter().fold("v=0\r\nc=IN IP4 192.0.2.1\r\n".to_owned(), |text, line| text + &line + "\r\n");
            let Ok(sdp) = SessionDescription::parse(text.as_bytes()) else { return Ok(()) };
            let out = SessionDescription::parse(&indicate(text.as_bytes(), Told::whole(Indication::Paused))).unwrap();
            prop_assert_eq!(sdp.lines(), out.lines());
            let live = sdp.lines().iter().filter(|line| line.is_live()).count();
            let said = std::str::from_utf8(out.text()).unwrap().matches("\na=record:").count();
            prop_assert_eq!(said, live);
        }
    }
}
