use std::collections::BTreeSet;

use super::*;
use crate::sip::{NameAddr, Uri, Via};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

fn limits() -> AdmissionLimits {
    AdmissionLimits {
        half_open_max: 3,
        ..AdmissionLimits::of(100)
    }
}

fn request(method: Method, number: usize) -> Request {
    let uri = Uri::parse("sip:bob@example.com").expect("a URI");
    let party = NameAddr::new(uri.clone());
    let mut request = Request::new(method, uri, party.clone(), party, &format!("c{number}"), 1);
    let via = format!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{number}");
    request.headers.push_via(Via::parse(&via).expect("a Via"));
    request
}

/// Numbers as a mint draws them, but known.
struct Draw(u32);

impl Draw {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }
}

struct Door {
    admission: Admission,
    draw: Draw,
    number: usize,
}

impl Door {
    fn new() -> Self {
        Self {
            admission: Admission::new(limits()),
            draw: Draw(7),
            number: 0,
        }
    }

    fn congested() -> Self {
        let mut door = Self::new();
        for seconds in 0..60 {
            let at = NOW + Duration::from_secs(seconds);
            let second = Duration::from_secs(1);
            door.admission.congestion.note_lag(at, second, second);
        }
        door
    }

    fn ask(&mut self, now: Timestamp, source: IpAddr, request: &Request, emergency: bool) -> Result<(), Overload> {
        let entrant = Entrant {
            source,
            request,
            is_throttled: false,
            has_room: true,
        };
        let draw = &mut self.draw;
        self.admission.decide(now, entrant, &mut || draw.next(), || emergency)
    }

    fn new_request(&mut self, now: Timestamp, source: IpAddr, method: Method) -> Result<(), Overload> {
        self.number += 1;
        self.ask(now, source, &request(method, self.number), false)
    }
}

#[test]
fn half_open_calls_of_one_source_are_bounded_and_another_source_is_not_touched() {
    let mut door = Door::new();
    for session in 0..3 {
        assert_eq!(door.new_request(NOW, ONE, Method::Invite), Ok(()));
        door.admission.on_opened(NOW, SessionId::from_u128(session), ONE);
    }
    assert!(door.new_request(NOW, ONE, Method::Invite).is_err());
    assert_eq!(door.new_request(NOW, OTHER, Method::Invite), Ok(()));
    door.admission.on_settled(SessionId::from_u128(1));
    door.admission.on_settled(SessionId::from_u128(1));
    assert_eq!(door.new_request(NOW, ONE, Method::Invite), Ok(()));
    door.admission.on_opened(NOW, SessionId::from_u128(9), ONE);
    assert!(
        door.new_request(NOW, ONE, Method::Invite).is_err(),
        "settled once, not twice"
    );
}

#[test]
fn requests_of_one_source_are_bounded_by_rate() {
    let mut door = Door::new();
    let rate = limits().chatter;
    let taken = (0..10_000)
        .filter(|_| door.new_request(NOW, ONE, Method::Register).is_ok())
        .count();
    assert_eq!(taken, rate.burst as usize);
    assert_eq!(door.new_request(NOW, OTHER, Method::Register), Ok(()));
    let second = NOW + Duration::from_secs(1);
    let taken = (0..10_000)
        .filter(|_| door.new_request(second, ONE, Method::Subscribe).is_ok())
        .count();
    assert_eq!(taken, rate.per_second as usize);
}

#[test]
fn under_load_what_ends_calls_and_emergencies_are_taken_and_one_probe_a_second_is_answered() {
    let mut door = Door::congested();
    for number in 0..50 {
        for method in [Method::Bye, Method::Ack, Method::Cancel, Method::Prack] {
            assert_eq!(door.ask(NOW, ONE, &request(method, number), false), Ok(()));
        }
        assert_eq!(
            door.ask(NOW, ONE, &request(Method::Invite, 1_000 + number), true),
            Ok(())
        );
        assert!(door.ask(NOW, ONE, &request(Method::Register, number), false).is_err());
    }
    let mut probes = |at: Timestamp| {
        (0..50)
            .filter(|_| door.new_request(at, ONE, Method::Options).is_ok())
            .count()
    };
    assert_eq!((probes(NOW), probes(NOW + Duration::from_secs(1))), (3, 1));
}

#[test]
fn under_load_new_calls_are_refused_in_their_share_and_told_different_times_to_come_again() {
    let mut door = Door::congested();
    let answers: Vec<_> = (0..1_900).map(|_| door.new_request(NOW, ONE, Method::Invite)).collect();
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((15..=70).contains(&taken), "{taken} of 1,900 at 98 %");
    let times: BTreeSet<u32> = answers.iter().filter_map(|answer| answer.err()?.retry_after).collect();
    assert_eq!(times, (1..=RETRY_AFTER_MAX).collect());
}

#[test]
fn a_peer_that_throttles_itself_gets_no_retry_after() {
    let mut door = Door::congested();
    let invites = (0..100).map(|number| request(Method::Invite, number));
    for request in invites {
        let entrant = Entrant {
            source: ONE,
            request: &request,
            is_throttled: true,
            has_room: true,
        };
        let decided = door.admission.decide(NOW, entrant, &mut || 0, || false);
        assert_eq!(decided, Err(Overload { retry_after: None }));
    }
}

#[test]
fn a_copy_of_a_refused_invite_is_refused_the_same_way_until_nobody_repeats_it() {
    let mut door = Door::congested();
    let invites: Vec<_> = (0..200).map(|number| request(Method::Invite, number)).collect();
    let first: Vec<_> = invites.iter().map(|invite| door.ask(NOW, ONE, invite, false)).collect();
    // The load has gone; the copies are still on the way.
    door.admission.congestion = Congestion::default();
    let soon = NOW + Duration::from_secs(31);
    for (invite, decided) in invites.iter().zip(&first) {
        assert_eq!(door.ask(soon, ONE, invite, false), *decided);
    }
    let later = NOW + Duration::from_secs(33);
    assert_eq!(door.ask(later, ONE, &invites[0], false), Ok(()));
}

#[test]
fn for_whom_the_line_has_no_room_there_is_none_here_unless_it_is_an_emergency_or_a_probe() {
    let mut door = Door::new();
    let mut ask = |method, number, emergency: bool| {
        let request = request(method, number);
        let entrant = Entrant {
            source: ONE,
            request: &request,
            is_throttled: false,
            has_room: false,
        };
        door.admission.decide(NOW, entrant, &mut || 0, || emergency).is_ok()
    };
    assert!(!ask(Method::Invite, 1, false) && ask(Method::Invite, 2, true));
    assert!(!ask(Method::Register, 3, false) && !ask(Method::Message, 4, false));
    let probes = (5..50).filter(|number| ask(Method::Options, *number, false)).count();
    assert_eq!(probes, PROBES.burst as usize);
}

#[test]
fn a_spray_inside_one_call_is_bounded_and_its_end_is_not() {
    let mut door = Door::new();
    let (sprayed, quiet) = (SessionId::from_u128(1), SessionId::from_u128(2));
    let mut take = |session, method| door.admission.takes_in_dialog(NOW, session, &request(method, 1));
    let taken = (0..5_000).filter(|_| take(sprayed, Method::Info)).count();
    assert_eq!(taken, limits().in_dialog.burst as usize);
    assert!(take(sprayed, Method::Bye) && take(sprayed, Method::Prack));
    assert!(take(quiet, Method::Info));
    door.admission.forget(sprayed);
    assert_eq!(door.admission.in_dialog.len(), 1);
}

#[test]
fn sources_that_come_once_are_forgotten_and_the_table_never_grows_over_its_bound() {
    let mut door = Door::new();
    let source = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from(number));
    for number in 0..20_000 {
        door.new_request(
            NOW + Duration::from_millis(u64::from(number)),
            source(number),
            Method::Register,
        )
        .ok();
        assert!(door.admission.sources.len() <= SOURCES_MAX);
    }
    let mut crowd = Door::new();
    let taken = (0..20_000)
        .filter(|number| crowd.new_request(NOW, source(*number), Method::Invite).is_ok())
        .count();
    assert_eq!(taken, SOURCES_MAX, "all at once: the first ones only");
}
