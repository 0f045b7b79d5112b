use proptest::prelude::*;

use super::*;
use crate::sip::message::Request;
use crate::sip::{Method, NameAddr, Uri};

const HALF_HOUR: Option<Duration> = Some(Duration::from_secs(1_800));

fn headers(lines: &[(&str, &str)]) -> Headers {
    let uri = Uri::parse("sip:alice@example.com").expect("a URI");
    let party = NameAddr::new(uri.clone());
    let mut headers = Request::new(Method::Invite, uri, party.clone(), party, "c1", 1).headers;
    for (name, value) in lines {
        headers.push(name, *value);
    }
    headers
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// What `ask` writes: Session-Expires and Min-SE.
fn asked(timer: &SessionTimer) -> (Option<String>, Option<String>) {
    let mut written = headers(&[]);
    timer.ask(&mut written);
    let text = |name| written.get(name).map(str::to_owned);
    (text("Session-Expires"), text("Min-SE"))
}

#[test]
fn the_header_is_read_in_each_of_its_forms() {
    let expires = |interval, refresher| Some(SessionExpires { interval, refresher });
    assert_eq!(SessionExpires::parse("1800"), expires(1_800, None));
    assert_eq!(
        SessionExpires::parse(" 90 ; x=y ; Refresher = UAS"),
        expires(90, Some(Refresher::Uas))
    );
    assert_eq!(
        SessionExpires::parse("90;refresher=uac"),
        expires(90, Some(Refresher::Uac))
    );
    assert_eq!(SessionExpires::parse("90;refresher=both"), expires(90, None));
    assert_eq!(SessionExpires::parse("99999999999"), expires(u32::MAX, None));
    for broken in ["", "x", "-90", "9 0", ";refresher=uac"] {
        assert_eq!(SessionExpires::parse(broken), None, "{broken}");
    }
    let compact = headers(&[("x", "120")]);
    assert_eq!(SessionExpires::of(&compact), expires(120, None));
}

#[test]
fn a_peer_that_knows_no_timers_is_refreshed_by_us() {
    let mut timer = SessionTimer::wanting(HALF_HOUR);
    assert_eq!(asked(&timer), (Some("1800".to_owned()), None));
    timer.on_accepted(at(0), &headers(&[]));
    assert_eq!(timer.refresh_due(), Some(at(910)));
    assert_eq!(timer.expiry(), Some(at(1_768)));
    assert_eq!(asked(&timer), (Some("1800;refresher=uac".to_owned()), None));
}

#[test]
fn the_answer_says_who_refreshes_and_how_often() {
    let mut timer = SessionTimer::wanting(HALF_HOUR);
    timer.on_accepted(at(0), &headers(&[("Session-Expires", "600;refresher=uas")]));
    assert_eq!(timer.refresh_due(), None);
    assert_eq!(timer.expiry(), Some(at(568)));
    assert_eq!(asked(&timer).0, Some("600;refresher=uas".to_owned()));
    timer.on_accepted(at(300), &headers(&[("Session-Expires", "90;refresher=uac")]));
    assert_eq!((timer.refresh_due(), timer.expiry()), (Some(at(354)), Some(at(360))));
}

#[test]
fn an_answer_may_shorten_and_neither_lengthen_nor_flood() {
    let mut timer = SessionTimer::wanting(HALF_HOUR);
    timer.on_accepted(at(0), &headers(&[("Session-Expires", "1;refresher=uac")]));
    assert_eq!(timer.refresh_due(), Some(at(54)));
    timer.on_accepted(at(0), &headers(&[("Session-Expires", "4000000000;refresher=uac")]));
    assert_eq!(timer.refresh_due(), Some(at(54)));
}

#[test]
fn a_422_is_followed_by_a_longer_interval() {
    let mut timer = SessionTimer::wanting(HALF_HOUR);
    assert!(timer.on_too_small(&headers(&[("Min-SE", "3600")])));
    assert_eq!(asked(&timer), (Some("3600".to_owned()), Some("3600".to_owned())));
    assert!(
        !timer.on_too_small(&headers(&[("Min-SE", "3600")])),
        "the same again is no help"
    );
    assert!(!timer.on_too_small(&headers(&[("Min-SE", "4000000000")])));
    assert!(!timer.on_too_small(&headers(&[])));
}

/// RFC 4028 §9, Table 2.
#[test]
fn a_grant_follows_table_2() {
    let rows = [
        (&[][..], None, true),
        (&[("Supported", "timer")], Some("1800;refresher=uac"), false),
        (
            &[("Supported", "timer"), ("Session-Expires", "600")],
            Some("600;refresher=uac"),
            false,
        ),
        (
            &[("Supported", "timer"), ("Session-Expires", "600;refresher=uac")],
            Some("600;refresher=uac"),
            false,
        ),
        (
            &[("Supported", "timer"), ("Session-Expires", "600;refresher=uas")],
            Some("600;refresher=uas"),
            true,
        ),
        (
            &[("Supported", "timer"), ("Session-Expires", "7200")],
            Some("1800;refresher=uac"),
            false,
        ),
        (
            &[("Supported", "timer"), ("Session-Expires", "7200"), ("Min-SE", "3600")],
            Some("3600;refresher=uac"),
            false,
        ),
        (&[("Session-Expires", "20")], None, true),
    ];
    for (lines, granted, ours) in rows {
        let mut timer = SessionTimer::wanting(HALF_HOUR);
        let mut response = headers(&[]);
        timer.grant(at(0), &headers(lines), &mut response);
        assert_eq!(response.get("Session-Expires"), granted, "{lines:?}");
        assert_eq!(response.get("Require"), granted.map(|_| "timer"), "{lines:?}");
        assert_eq!(timer.refresh_due().is_some(), ours, "{lines:?}");
        assert!(timer.expiry().is_some());
    }
}

#[test]
fn without_a_wish_of_our_own_only_what_the_peer_asks_for_is_kept() {
    let mut timer = SessionTimer::wanting(None);
    assert_eq!(asked(&timer), (None, None));
    timer.on_accepted(at(0), &headers(&[("Session-Expires", "90;refresher=uac")]));
    assert_eq!(timer.expiry(), None);
    let mut response = headers(&[]);
    timer.grant(at(0), &headers(&[("Supported", "timer")]), &mut response);
    assert_eq!((response.get("Session-Expires"), timer.expiry()), (None, None));
    timer.grant(
        at(0),
        &headers(&[("Supported", "timer"), ("Session-Expires", "90")]),
        &mut response,
    );
    assert_eq!(response.get("Session-Expires"), Some("90;refresher=uac"));
    assert_eq!(timer.expiry(), Some(at(60)));
}

#[test]
fn what_is_below_the_minimum_is_refused_to_who_can_ask_again() {
    let small = [("Session-Expires", "89"), ("Supported", "100rel, timer")];
    assert_eq!(SessionTimer::check(&headers(&small)), Err(TooSmall { min: 90 }));
    assert_eq!(SessionTimer::check(&headers(&small[..1])), Ok(()));
    assert_eq!(
        SessionTimer::check(&headers(&[("Session-Expires", "90"), small[1]])),
        Ok(())
    );
}

proptest! {
    #[test]
    fn no_header_panics_or_makes_us_refresh_in_a_hurry(value in "[ -~]{0,30}", min in "[ -~]{0,12}", number: u32) {
        for value in [value, format!("{number};refresher=uac")] {
            let lines = [("Session-Expires", value.as_str()), ("Min-SE", min.as_str()), ("Supported", "timer")];
            let mut timer = SessionTimer::wanting(HALF_HOUR);
            timer.on_too_small(&headers(&lines));
            timer.on_accepted(at(0), &headers(&lines));
            prop_assert!(timer.refresh_due().is_none_or(|due| due >= at(54)));
            prop_assert!(timer.expiry().is_some_and(|due| due >= at(60)));
            let _ = SessionTimer::check(&headers(&lines));
            timer.grant(at(0), &headers(&lines), &mut headers(&[]));
            prop_assert!(timer.refresh_due().is_none_or(|due| due >= at(54)));
            prop_assert!(timer.expiry().is_some_and(|due| due <= at(86_400)));
        }
    }
}
