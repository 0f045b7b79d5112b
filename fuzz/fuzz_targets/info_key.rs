//! Any text as the Content-Type and the body of an INFO: never a panic, and a key is one of a telephone's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::b2bua::key_in;
use onrecord::sip::{Method, NameAddr, Request, Uri};

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let uri = Uri::parse("sip:a@b").expect("a URI");
    let party = NameAddr::new(uri.clone());
    let mut info = Request::new(Method::Info, uri, party.clone(), party, "c", 1);
    let Ok(content_type) = std::str::from_utf8(head) else {
        return;
    };
    info.headers.push("Content-Type", content_type);
    info.body = body.to_vec().into();
    let key = key_in(&info);
    assert!(key.is_none_or(|key| "0123456789*#ABCD".contains(key)), "{key:?}");
    for digit in "0123456789*#ABCD".chars() {
        let relayed = format!("Signal={digit}\r\nDuration=160\r\n");
        for (content_type, body) in [("application/dtmf-relay", relayed), ("application/dtmf", digit.to_string())] {
            let mut info = info.clone();
            info.headers.remove("Content-Type");
            info.set_body(content_type, body.into_bytes().into());
            assert_eq!(key_in(&info), Some(digit), "whatever the other headers are");
        }
    }
});
