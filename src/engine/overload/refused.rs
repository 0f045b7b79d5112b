//! Which INVITEs were refused, so that no late copy of one is taken for a new call.

use std::time::Duration;

use crate::model::Timestamp;
use crate::sip::{Glance, Request};

/// Places in all, and of those that a request may have. When they are taken, the request that was refused first gives way, and
/// a copy of it is decided anew. No order is kept, so that it costs one look where thousands a second are refused; 4 MiB.
const PLACES: usize = 262_144;
const PLACES_OF_ONE: usize = 4;
/// As long as a sender repeats an INVITE (RFC 3261 §17.1.1.2, 64·T1).
const REFUSED_FOR: Duration = Duration::from_secs(32);

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    print: u64,
    at: Timestamp,
}

#[derive(Debug, Default)]
pub struct Refused {
    /// Empty until the first is refused.
    places: Vec<Place>,
}

impl Refused {
    pub fn knows(&self, now: Timestamp, print: u64) -> bool {
        let mut places = self.places.iter().skip(first_place(print)).take(PLACES_OF_ONE);
        places.any(|place| place.print == print && now.since(place.at) < REFUSED_FOR)
    }

    pub fn note(&mut self, now: Timestamp, print: u64) {
        if self.places.is_empty() {
            self.places.resize(PLACES, Place::default());
        }
        let places = self.places.iter_mut().skip(first_place(print)).take(PLACES_OF_ONE);
        if let Some(place) = places.min_by_key(|place| (place.print != print, place.at)) {
            *place = Place { print, at: now };
        }
    }
}

const fn first_place(print: u64) -> usize {
    (print ^ print >> 32) as usize % (PLACES / PLACES_OF_ONE) * PLACES_OF_ONE
}

/// What all copies of a request have in common: its top Via's branch, Call-ID, From tag and CSeq number. The ACK to a refusal
/// has all of it, too.
pub fn fingerprint(request: &Request) -> u64 {
    let headers = &request.headers;
    let number = headers.cseq().number.to_string();
    let branch = headers.via().and_then(|via| via.branch()).unwrap_or_default();
    print_of([
        branch,
        headers.call_id(),
        headers.from().tag().unwrap_or_default(),
        &number,
    ])
}

/// The same of a request that was only glanced at.
pub fn glanced_print(glance: &Glance<'_>) -> u64 {
    print_of([glance.branch(), glance.call_id, glance.from_tag, glance.number])
}

/// FNV-1a.
fn print_of(parts: [&str; 4]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([b'\n'])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// The To tag of a refusal without state: every copy of the request gets the same (RFC 3261 §8.2.7), and its ACK is known by it.
pub fn tag_of(print: u64) -> String {
    format!("{print:016x}")
}

/// Whether [`tag_of`] makes that tag.
pub fn is_tag_of(tag: &str, print: u64) -> bool {
    tag.len() == 16 && u64::from_str_radix(tag, 16) == Ok(print)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Message;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn who_was_refused_is_known_as_long_as_it_may_come_again() {
        let mut refused = Refused::default();
        assert!(!refused.knows(NOW, 7));
        refused.note(NOW, 7);
        assert!(refused.knows(NOW + Duration::from_secs(31), 7));
        assert!(!refused.knows(NOW + Duration::from_secs(32), 7));
        assert_eq!(refused.places.len(), PLACES);
    }

    #[test]
    fn for_one_too_many_the_first_gives_way() {
        let mut refused = Refused::default();
        let print = |number: u64| 7 + number * PLACES as u64;
        for number in 0..5 {
            refused.note(NOW + Duration::from_secs(number), print(number));
            refused.note(NOW + Duration::from_secs(number), print(number));
        }
        let known: Vec<_> = (0..5).map(|number| refused.knows(NOW, print(number))).collect();
        assert_eq!(known, [false, true, true, true, true]);
    }

    #[test]
    fn a_request_has_one_fingerprint_however_it_is_read() {
        let text = "INVITE sip:b@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK7\r\nFrom: <sip:a@h>;tag=a1\r\n\
            To: <sip:b@h>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\r\n";
        let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else {
            unreachable!("a request")
        };
        let glance = Glance::of(text.as_bytes()).expect("plain");
        assert_eq!(fingerprint(&request), glanced_print(&glance));
        assert_eq!(tag_of(0x1f), "000000000000001f");
        assert!(is_tag_of(&tag_of(0x1f), 0x1f) && !is_tag_of("1f", 0x1f) && !is_tag_of(&tag_of(0x2f), 0x1f));
    }
}
