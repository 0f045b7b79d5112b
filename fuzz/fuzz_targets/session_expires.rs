//! Any text as Session-Expires and Min-SE, in requests and answers: never a panic, and never a refresh in a hurry.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use onrecord::model::Timestamp;
use onrecord::sip::dialog::{SessionExpires, SessionTimer};
use onrecord::sip::{Method, NameAddr, Request, Uri};

fuzz_target!(|text: &str| {
    let (expires, min) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(read) = SessionExpires::parse(expires) {
        assert_eq!(SessionExpires::parse(&read.to_string()), Some(read));
    }
    let uri = Uri::parse("sip:a@b").expect("a URI");
    let party = NameAddr::new(uri.clone());
    let mut headers = Request::new(Method::Update, uri, party.clone(), party, "c", 1).headers;
    let mut answer = headers.clone();
    headers.push("Session-Expires", expires);
    headers.push("Min-SE", min);
    headers.push("Supported", "timer");
    let began = Timestamp::from_millis(0);
    let mut timer = SessionTimer::wanting(Some(Duration::from_secs(1_800)));
    timer.on_too_small(&headers);
    timer.on_accepted(began, &headers);
    let early = Timestamp::from_millis(54_000);
    assert!(timer.refresh_due().is_none_or(|due| due >= early));
    timer.grant(began, &headers, &mut answer);
    assert!(timer.refresh_due().is_none_or(|due| due >= early));
    assert!(timer.expiry().is_some());
});
