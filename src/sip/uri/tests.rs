#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap()
}

#[test]
fn a_sip_uri_has_its_parts() {
    let uri = uri("sips:+44%2020;x=y:secret@[2001:db8::1]:5071;transport=tcp;lr?Subject=a%20b&X=1");
    assert_eq!(uri.scheme(), Scheme::Sips);
    assert_eq!(uri.user(), Some("+44%2020;x=y"));
    assert_eq!(uri.password(), Some("secret"));
    assert_eq!(uri.host(), Some("[2001:db8::1]"));
    assert_eq!(uri.port(), Some(5071));
    assert_eq!(uri.param("Transport"), Some("tcp"));
    assert!(uri.is_loose());
    assert_eq!(uri.headers(), Some("Subject=a%20b&X=1"));
    assert_eq!(uri.socket_addr(), Some("[2001:db8::1]:5071".parse().unwrap()));
    assert_eq!(
        uri.without_headers().as_str(),
        "sips:+44%2020;x=y:secret@[2001:db8::1]:5071;transport=tcp;lr"
    );
}

#[test]
fn numbers_names_and_unknown_schemes_are_uris_too() {
    let tel = uri("tel:+1-201-555-0123;phone-context=example.com");
    assert_eq!((tel.user(), tel.host()), (Some("+1-201-555-0123"), None));
    assert_eq!(tel.param("phone-context"), Some("example.com"));
    let urn = uri("urn:service:sos.police");
    assert_eq!(
        (urn.scheme(), urn.opaque(), urn.user()),
        (Scheme::Urn, "service:sos.police", None)
    );
    assert_eq!(
        uri("nobodyKnowsThisScheme:totallyopaquecontent").scheme(),
        Scheme::Other
    );
    assert_eq!(uri("sip:example.com").opaque(), "example.com");
}

#[test]
fn a_missing_port_is_the_schemes_own() {
    assert_eq!(
        uri("sip:192.0.2.1").socket_addr(),
        Some("192.0.2.1:5060".parse().unwrap())
    );
    assert_eq!(
        uri("sips:192.0.2.1").socket_addr(),
        Some("192.0.2.1:5061".parse().unwrap())
    );
    assert_eq!(uri("sip:example.com").socket_addr(), None);
}

#[test]
fn what_is_no_uri_is_refused_by_what_is_wrong() {
    let long = format!("sip:{}@example.com", "a".repeat(URI_BYTES_MAX));
    for (text, error) in [
        ("", UriError::NoScheme),
        ("example.com", UriError::NoScheme),
        ("1sip:example.com", UriError::NoScheme),
        ("sip:", UriError::BadHost),
        ("sip:@example.com", UriError::BadCharacter),
        ("sip:a b@example.com", UriError::BadCharacter),
        ("sip:a@example.com\r\nVia: x", UriError::BadCharacter),
        ("sip:a@[2001:db8::1", UriError::BadHost),
        ("sip:a@[nonsense]", UriError::BadHost),
        ("sip:a@2001:db8::1", UriError::BadPort),
        ("sip:a@b:0", UriError::BadPort),
        ("sip:a@b:65536", UriError::BadPort),
        ("sip:a@b:+1", UriError::BadPort),
        ("tel:", UriError::BadHost),
        (long.as_str(), UriError::TooLong),
    ] {
        assert_eq!(Uri::parse(text), Err(error), "{text}");
    }
}

/// The examples of RFC 3261 §19.1.4.
#[test]
fn equivalence_is_that_of_rfc_3261() {
    for (a, b) in [
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtlanTa.CoM;Transport=tcp",
        ),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
    ] {
        assert!(
            uri(a).is_equivalent(&uri(b)) && uri(b).is_equivalent(&uri(a)),
            "{a} ≠ {b}"
        );
    }
    for (a, b) in [
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
        ),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com", "sips:carol@chicago.com"),
    ] {
        assert!(
            !uri(a).is_equivalent(&uri(b)) && !uri(b).is_equivalent(&uri(a)),
            "{a} = {b}"
        );
    }
}

#[test]
fn uris_with_very_many_parameters_are_compared_as_text() {
    let many: String = (0..65).map(|n| format!(";p{n}")).collect();
    let (a, b) = (uri(&format!("sip:a@b{many}")), uri(&format!("sip:a@B{many}")));
    assert!(a.is_equivalent(&a) && !a.is_equivalent(&b));
}

#[test]
fn a_built_uri_escapes_what_a_user_may_not_hold() {
    let at = "192.0.2.1:5060".parse().unwrap();
    assert_eq!(
        Uri::sip(Some("+44 20@x<\r\n"), at).as_str(),
        "sip:+44%2020%40x%3C%0D%0A@192.0.2.1:5060"
    );
    assert_eq!(Uri::sip(Some("a%40b%"), at).user(), Some("a%40b%25"));
    assert_eq!(Uri::sip(None, "[::1]:5070".parse().unwrap()).as_str(), "sip:[::1]:5070");
}

#[test]
fn parameters_are_added_and_replaced_before_the_headers() {
    let uri = uri("sip:a@b;lr;transport=udp?x=1");
    assert_eq!(
        uri.with_param("Transport", "tcp").as_str(),
        "sip:a@b;lr;Transport=tcp?x=1"
    );
    assert_eq!(uri.with_param("ob", "").as_str(), "sip:a@b;lr;transport=udp;ob?x=1");
    assert_eq!(uri.with_param("bad name", "").as_str(), uri.as_str());
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_is_read_is_written_back(text in "\\PC{0,60}") {
        if let Ok(uri) = Uri::parse(&text) {
            prop_assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn reading_near_misses_never_panics(text in "(sip|sips|tel):[a-z0-9@:;?=&%.\\[\\]]{0,30}") {
        if let Ok(uri) = Uri::parse(&text) {
            prop_assert!(uri.is_equivalent(&uri));
            prop_assert_eq!(Uri::parse(uri.without_headers().as_str()), Ok(uri.without_headers()));
        }
    }

    #[test]
    fn any_user_can_be_put_into_a_uri(user in "\\PC{1,30}") {
        let built = Uri::sip(Some(&user), "192.0.2.1:5060".parse().unwrap());
        prop_assert!(built.user().is_some());
    }
}

#[test]
fn a_uri_keeps_its_user_and_parameters_at_another_host() {
    let at = "sbc.example.com:5061".parse().unwrap();
    for (uri, moved) in [
        (
            "sip:127.0.0.1:5060;transport=tls",
            "sip:sbc.example.com:5061;transport=tls",
        ),
        ("sip:a@[::1]?x=y", "sip:a@sbc.example.com:5061?x=y"),
        ("tel:+441234", "tel:+441234"),
    ] {
        assert_eq!(Uri::parse(uri).unwrap().with_host_port(&at).as_str(), moved);
    }
}
