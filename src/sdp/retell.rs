//! A description told to a party who knew another one in the same dialog: its far end was exchanged (RFC 3725 §4).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::direction::Direction;
use super::patch::Patch;
use super::{Crypto, MediaLine, SessionDescription, Setup, scan};

/// How the o= line goes on that a party knows: user name, session and address stay, the version grows (RFC 3264 §8).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Thread {
    /// User name and session id.
    head: String,
    /// Network type, address type and address.
    tail: String,
    /// What the party was told last.
    version: u64,
    /// The version of the new far end's first description.
    first: u64,
}

struct Origin {
    head: String,
    version: u64,
    tail: String,
}

impl Thread {
    /// `told`: what the party got last; `next`: the first description of the new far end. None where either has no o= that
    /// can be read: then nobody can tell its versions apart either.
    pub fn continuing(told: &[u8], next: &[u8]) -> Option<Self> {
        let (told, next) = (origin(told)?, origin(next)?);
        Some(Self {
            head: told.head,
            tail: told.tail,
            version: told.version,
            first: next.version,
        })
    }

    /// The far end's description with the o= that the party expects: the same text gives the same version.
    pub fn retell(&self, text: &Bytes) -> Bytes {
        let Some(origin) = origin(text) else {
            return text.clone();
        };
        let grown = origin.version.wrapping_sub(self.first);
        let version = self.version.wrapping_add(1).wrapping_add(grown);
        let value = format!("{} {version} {}", self.head, self.tail);
        let mut out = Vec::with_capacity(text.len() + 32);
        let mut is_told = false;
        for line in scan::lines(text).map_while(Result::ok) {
            let whole = text.get(line.span.clone()).unwrap_or_default();
            if line.kind == Some(b'o') && !is_told {
                is_told = true;
                let start = line.value_at - line.span.start;
                out.extend_from_slice(whole.get(..start).unwrap_or_default());
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(whole.get(start + line.value.len()..).unwrap_or_default());
            } else {
                out.extend_from_slice(whole);
            }
        }
        Bytes::from(out)
    }
}

fn origin(text: &[u8]) -> Option<Origin> {
    let mut lines = scan::lines(text).map_while(Result::ok);
    let line = lines.find(|line| line.kind == Some(b'o'))?;
    let value = std::str::from_utf8(line.value).ok()?;
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let [user, session, version, tail @ ..] = words.as_slice() else {
        return None;
    };
    Some(Origin {
        head: format!("{user} {session}"),
        version: version.parse().ok()?,
        tail: tail.join(" "),
    })
}

/// A party's description as an offer to somebody new: without the holds of the call before, and with at least `lines`
/// m-lines, for who has seen so many in its dialog must not see fewer (RFC 3264 §8).
pub fn reoffer(sdp: &SessionDescription, lines: usize) -> Bytes {
    let text = sdp.text();
    let mut out = Vec::with_capacity(text.len() + 64);
    for line in scan::lines(text).map_while(Result::ok) {
        let is_direction = line.kind == Some(b'a') && {
            let (name, value) = line.attribute();
            value.is_none() && Direction::from_attribute(&name).is_some()
        };
        if !is_direction {
            out.extend_from_slice(text.get(line.span.clone()).unwrap_or_default());
        }
    }
    with_lines(&out, lines.max(sdp.lines().len()))
}

/// The description with so many m-lines: what is missing is added as refused, what is too much is cut off. For who has seen
/// another number of lines in its dialog than the far end that it has now.
pub fn with_lines(text: &[u8], lines: usize) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut seen = 0;
    for line in scan::lines(text).map_while(Result::ok) {
        seen += usize::from(line.kind == Some(b'm'));
        if seen > lines {
            break;
        }
        out.extend_from_slice(text.get(line.span.clone()).unwrap_or_default());
    }
    if seen < lines && !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    for _ in seen..lines {
        out.extend_from_slice(b"m=audio 0 RTP/AVP 0\r\n");
    }
    Bytes::from(out)
}

/// The description with the m-lines refused that are to be `off`.
pub fn without_lines(sdp: &SessionDescription, off: impl Fn(usize) -> bool) -> Bytes {
    let text = sdp.text();
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    for patch in &sdp.patches {
        if let Patch::Port { span, line } = patch
            && off(*line)
        {
            out.extend_from_slice(text.get(copied..span.start).unwrap_or_default());
            out.push(b'0');
            copied = span.end;
        }
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    Bytes::from(out)
}

/// The answer to an offer that may change nothing: `held` as it is known to who offers, and the m-lines that are new in the offer,
/// or other than those, refused (RFC 3264 §6).
pub fn decline(held: &SessionDescription, offer: &SessionDescription) -> Bytes {
    let lines = held.lines().iter().zip(offer.lines());
    let stays = |held: &MediaLine, offered: &MediaLine| {
        let is_same = held.media == offered.media && held.protocol == offered.protocol;
        let has_key =
            held.is_secure_profile() != Some(true) || held.cryptos.iter().any(|key| answering(key, offered).is_some());
        is_same && has_key && (offered.is_live() || !held.is_live())
    };
    let kept = lines.take_while(|(held, offered)| stays(held, offered)).count();
    let mut out = with_answering_keys(&with_lines(held.text(), kept), offer);
    if !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    let text = offer.text();
    let media = scan::lines(text).map_while(Result::ok);
    for line in media.filter(|line| line.kind == Some(b'm')).skip(kept) {
        let mut words = line
            .value
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        out.extend_from_slice(b"m=");
        out.extend_from_slice(words.next().unwrap_or_default());
        out.extend_from_slice(b" 0");
        for word in words.skip(1) {
            out.push(b' ');
            out.extend_from_slice(word);
        }
        out.extend_from_slice(b"\r\n");
    }
    Bytes::from(out)
}

/// Of each m-line's keys the first that answers one of the offer's, by the offer's tag (RFC 4568 §5.1.2), and who begins the
/// handshake, if there is one.
fn with_answering_keys(text: &[u8], offer: &SessionDescription) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut lines = offer.lines().iter();
    let (mut offered, mut setup) = (None, Setup::Passive);
    for line in scan::lines(text).map_while(Result::ok) {
        if line.kind == Some(b'm') {
            offered = lines.next();
            let is_passive = offered.is_some_and(|line| line.shake.setup == Some(Setup::Passive));
            setup = if is_passive { Setup::Active } else { Setup::Passive };
        }
        match line.attribute() {
            // It was an offer once; an answer has to choose (RFC 5763 §5).
            (name, Some(value)) if is_setup(&line, &name) && Setup::parse(&value) == Some(Setup::ActPass) => {
                out.extend_from_slice(format!("a=setup:{}\r\n", setup.as_str()).as_bytes());
            }
            (name, Some(value)) if line.kind == Some(b'a') && name.eq_ignore_ascii_case("crypto") => {
                let key = Crypto::parse(&value).and_then(|key| answering(&key, offered?));
                let Some(key) = key else { continue };
                offered = None;
                let mut written = String::new();
                key.write(&mut written);
                written.push_str("\r\n");
                out.extend_from_slice(written.as_bytes());
            }
            _ => out.extend_from_slice(text.get(line.span.clone()).unwrap_or_default()),
        }
    }
    out
}

fn is_setup(line: &scan::Line<'_>, name: &str) -> bool {
    line.kind == Some(b'a') && name.eq_ignore_ascii_case("setup")
}

fn answering(key: &Crypto, offered: &MediaLine) -> Option<Crypto> {
    let mut theirs = offered.cryptos.iter();
    let tag = theirs.find(|theirs| theirs.key.suite() == key.key.suite())?.tag;
    Some(Crypto {
        tag,
        key: key.key.clone(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TOLD: &[u8] =
        b"v=0\r\no=alice 7 41 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

    fn of(origin: &str) -> Bytes {
        Bytes::from(format!(
            "v=0\r\no={origin}\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
        ))
    }

    fn told(thread: &Thread, text: &Bytes) -> String {
        String::from_utf8(thread.retell(text).to_vec()).unwrap()
    }

    #[test]
    fn the_session_that_a_party_knows_goes_on_with_the_descriptions_of_another() {
        let first = of("carol 1 1000 IN IP6 ::1");
        let thread = Thread::continuing(TOLD, &first).unwrap();
        assert!(told(&thread, &first).contains("\r\no=alice 7 42 IN IP4 192.0.2.1\r\n"));
        assert!(told(&thread, &of("carol 1 1001 IN IP6 ::1")).contains("o=alice 7 43 IN IP4 192.0.2.1\r\n"));
        assert!(
            told(&thread, &first).contains("o=alice 7 42"),
            "what is said again is no news"
        );
        assert!(told(&thread, &first).ends_with("c=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"));
        assert_eq!(Thread::continuing(TOLD, b"v=0\r\ns=-\r\n"), None);
        assert_eq!(Thread::continuing(TOLD, b"v=0\r\no=- x y IN IP4 h\r\n"), None);
        let bare = Bytes::from_static(b"v=0\r\ns=-\r\n");
        assert_eq!(thread.retell(&bare), bare);
    }

    #[test]
    fn who_was_held_is_offered_to_somebody_new_without_the_hold_and_with_every_line() {
        let held = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\na=inactive\r\nm=audio 4000 RTP/AVP 8\r\na=RecvOnly\r\na=sendonly:1\r\na=ptime:20";
        let sdp = SessionDescription::parse(held.as_bytes()).unwrap();
        let offer = reoffer(&sdp, 2);
        let text = String::from_utf8(offer.to_vec()).unwrap();
        assert_eq!(
            text,
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\na=sendonly:1\r\na=ptime:20\r\nm=audio 0 RTP/AVP 0\r\n"
        );
        let sdp = SessionDescription::parse(&offer).unwrap();
        assert_eq!((sdp.lines().len(), sdp.is_hold()), (2, false));
    }

    #[test]
    fn a_description_has_as_many_lines_as_its_reader_knows() {
        let text = |lines: usize| String::from_utf8(with_lines(TOLD, lines).to_vec()).unwrap();
        assert_eq!(text(1).as_bytes(), TOLD);
        assert!(text(3).ends_with("m=audio 4000 RTP/AVP 0\r\nm=audio 0 RTP/AVP 0\r\nm=audio 0 RTP/AVP 0\r\n"));
        assert!(text(0).ends_with("t=0 0\r\n"));
        assert_eq!(with_lines(text(3).as_bytes(), 1), TOLD);
    }

    #[test]
    fn a_line_that_is_to_be_off_has_port_0_and_the_others_stay() {
        let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\nm=video 4002/2 RTP/AVP 96\r\na=x\r\n";
        let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
        assert_eq!(without_lines(&sdp, |_| false), text);
        assert_eq!(without_lines(&sdp, |line| line == 1), text.replace("4002/2", "0"));
    }

    #[test]
    fn an_offer_that_may_change_nothing_is_answered_by_what_holds_and_the_rest_is_refused() {
        let held = SessionDescription::parse(TOLD).unwrap();
        let answer = |offer: &str| {
            let offer = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nc=IN IP4 192.0.2.9\r\n{offer}");
            let offer = SessionDescription::parse(offer.as_bytes()).unwrap();
            String::from_utf8(decline(&held, &offer).to_vec()).unwrap()
        };
        let told = String::from_utf8(TOLD.to_vec()).unwrap();
        let audio = "m=audio 4000 RTP/AVP 0\r\n";
        assert_eq!(answer(audio), told);
        let video = "m=video  6000 RTP/AVP 96  97\r\na=rtpmap:96 VP8/90000\r\n";
        let refused = "m=video 0 RTP/AVP 96 97\r\n";
        assert_eq!(answer(&format!("{audio}{video}")), format!("{told}{refused}"));
        let head = told.replace(audio, "");
        assert_eq!(answer(video), format!("{head}{refused}"), "no audio in its place");
        let off = "m=audio 0 RTP/AVP 0\r\n";
        assert_eq!(answer(off), format!("{head}{off}"));
    }

    #[test]
    fn of_several_keys_that_answers_whose_suite_is_offered_by_the_tag_of_the_offer() {
        let line = |tag: u32, suite: &str, key: char| {
            let key: String = std::iter::repeat_n(key, 40).collect();
            format!("a=crypto:{tag} {suite} inline:{key}\r\n")
        };
        let text = |lines: &str| {
            let text = String::from_utf8(TOLD.to_vec()).unwrap().replace("RTP/AVP", "RTP/SAVP");
            SessionDescription::parse(format!("{text}{lines}").as_bytes()).unwrap()
        };
        let (long, short) = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32");
        let held = text(&[line(1, short, 'A'), line(2, long, 'B')].concat());
        let answer = decline(&held, &text(&line(7, long, 'C')));
        assert!(answer.ends_with(format!("RTP/SAVP 0\r\n{}", line(7, long, 'B')).as_bytes()));
        let both = decline(&held, &text(&[line(3, long, 'C'), line(4, short, 'D')].concat()));
        assert!(both.ends_with(format!("RTP/SAVP 0\r\n{}", line(4, short, 'A')).as_bytes()));
        let none = decline(&text(&line(1, short, 'A')), &text(&line(1, long, 'C')));
        assert!(none.ends_with(b"m=audio 0 RTP/SAVP 0\r\n"), "no suite in common");
        let held = text("a=setup:actpass\r\n").text().clone();
        for (offered, chosen) in [("actpass", "passive"), ("active", "passive"), ("passive", "active")] {
            let clear = |setup: &str| {
                let text = String::from_utf8(held.to_vec())
                    .unwrap()
                    .replace("RTP/SAVP", "UDP/TLS/RTP/SAVP");
                SessionDescription::parse(text.replace("actpass", setup).as_bytes()).unwrap()
            };
            let answer = decline(&clear("actpass"), &clear(offered));
            assert!(
                answer.ends_with(format!("a=setup:{chosen}\r\n").as_bytes()),
                "{offered}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(proptest::num::u8::ANY, 0..300), begun in proptest::bool::ANY) {
            let mut text = text;
            if begun {
                let mut whole = TOLD.to_vec();
                whole.append(&mut text);
                text = whole;
            }
            let thread = Thread::continuing(TOLD, TOLD).unwrap();
            let told = thread.retell(&Bytes::from(text.clone()));
            proptest::prop_assert!(told.len() <= text.len() + 64);
            if let Ok(sdp) = SessionDescription::parse(&text) {
                let offer = reoffer(&sdp, 3);
                let again = SessionDescription::parse(&offer).unwrap();
                proptest::prop_assert!(again.lines().len() >= 3.max(sdp.lines().len()));
                let off = SessionDescription::parse(&without_lines(&sdp, |_| true)).unwrap();
                proptest::prop_assert!(off.lines().iter().all(|line| !line.is_live()));
                let held = SessionDescription::parse(TOLD).unwrap();
                let answer = SessionDescription::parse(&decline(&held, &sdp)).unwrap();
                proptest::prop_assert_eq!(answer.lines().len(), sdp.lines().len());
            }
        }
    }
}
