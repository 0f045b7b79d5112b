//! Any text as a challenge: never a panic, few challenges, and each that is understood is answered on one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::sip::Method;
use onrecord::sip::digest::{Credentials, Password, Use, challenges, names_realm, strongest};

fuzz_target!(|line: &str| {
    let known: Vec<_> = challenges(line).flatten().collect();
    assert!(known.len() <= 16);
    for challenge in &known {
        let realm = challenge.realm.clone();
        let credentials = Credentials {
            realm: realm.clone(),
            user: "u".to_owned(),
            password: Password::new("p".to_owned()),
        };
        let used = Use {
            method: &Method::Invite,
            uri: "sip:b@c",
            body: b"",
            cnonce: "c",
            count: 1,
        };
        let answer = credentials.answer(challenge, &used);
        assert!(!answer.contains(['\r', '\n', '\0']));
        if !realm.contains(['\r', '\n', '\0']) {
            assert!(names_realm(&answer, &realm), "{answer}");
        }
        assert!(strongest([line].into_iter(), &realm).is_some());
    }
});
