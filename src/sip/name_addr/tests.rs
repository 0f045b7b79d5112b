#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> NameAddr {
    NameAddr::parse(text).unwrap()
}

#[test]
fn display_names_come_quoted_bare_or_not_at_all() {
    for (text, name) in [
        (r#""A. \"Al\" Bell" <sip:a@b>;tag=1"#, Some(r#"A. "Al" Bell"#)),
        ("Alice Bell<sip:a@b>;tag=1", Some("Alice Bell")),
        ("Jörg <sip:a@b>;tag=1", Some("Jörg")),
        ("<sip:a@b>;tag=1", None),
        (r#""" <sip:a@b> ; tag = 1"#, None),
        ("sip:a@b;tag=1", None),
        ("sip:a@b ; tag=1", None),
    ] {
        let address = read(text);
        assert_eq!(address.display_name().as_deref(), name, "{text}");
        assert_eq!((address.uri.as_str(), address.tag()), ("sip:a@b", Some("1")), "{text}");
        assert_eq!(read(&address.to_string()), address, "{text}");
    }
}

#[test]
fn parameters_in_brackets_are_the_uris_and_those_behind_the_headers() {
    let route = read("<sip:p@q;lr;a=1>;b=2");
    assert!(route.uri.is_loose());
    assert_eq!(
        (route.uri.param("a"), route.param("a"), route.param("b")),
        (Some("1"), None, Some("2"))
    );
    let bare = read("sip:p@q;lr");
    assert_eq!((bare.uri.param("lr"), bare.param("lr")), (None, Some("")));
}

#[test]
fn tags_are_set_and_taken_away() {
    let address = read("<sip:a@b>;x=1;tag=old");
    assert_eq!(address.clone().with_tag("new").to_string(), "<sip:a@b>;x=1;tag=new");
    assert_eq!(address.without_tag().to_string(), "<sip:a@b>;x=1");
}

#[test]
fn broken_addresses_are_refused_by_what_is_wrong() {
    for (text, error) in [
        (r#""Mr. J. User <sip:j@b>"#, NameAddrError::Unbalanced),
        ("Bob <sip:a@b", NameAddrError::Unbalanced),
        (r#""Bob" sip:a@b"#, NameAddrError::Unbalanced),
        ("Bell, Alexander <sip:a@b>", NameAddrError::BadDisplayName),
        ("<>", NameAddrError::Uri(UriError::NoScheme)),
        ("<sip:a@b>;;tag=1", NameAddrError::Params(ParamsError)),
        ("<sip:a@b> tag=1", NameAddrError::Params(ParamsError)),
        ("*", NameAddrError::Uri(UriError::NoScheme)),
    ] {
        assert_eq!(NameAddr::parse(text), Err(error), "{text}");
    }
}

#[test]
fn a_name_without_its_quotes_gets_them_where_one_address_is_meant() {
    for (text, read) in [
        (
            "Bell, Alexander <sip:a@b>;tag=43",
            r#""Bell, Alexander" <sip:a@b>;tag=43"#,
        ),
        ("Smith; John  <sip:a@b>", r#""Smith; John" <sip:a@b>"#),
        ("Re: Bob @ home, 2nd <sip:a@b>", r#""Re: Bob @ home, 2nd" <sip:a@b>"#),
        (r"back\slash, Inc. <sip:a@b>", r#""back\\slash, Inc." <sip:a@b>"#),
    ] {
        assert!(NameAddr::parse(text).is_err(), "{text}");
        assert_eq!(NameAddr::parse_unquoted(text).unwrap().to_string(), read);
    }
    for text in [
        "<sip:boss@b>, Eve <sip:eve@b>",
        "Boss <sip:boss@b>;tag=1, <sip:eve@b>",
        r#""unbal <sip:a@b>"#,
        r#"Al "the" Boss, <sip:a@b>"#,
        "a> <sip:a@b>",
        "Smith, John sip:a@b",
        "sip:boss@b, <sip:eve@b>;tag=1",
        "Boss, sip:boss@b;tag=1, Eve <sip:eve@b>",
    ] {
        assert!(NameAddr::parse_unquoted(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_is_read_survives_writing_on_one_line(text in "[ -~é\"<>;,=:@\\\\\r\n]{0,60}") {
        if let Ok(address) = NameAddr::parse(&text) {
            prop_assert!(!address.to_string().contains(['\r', '\n']));
            prop_assert_eq!(NameAddr::parse(&address.to_string()), Ok(address));
        }
        if let Ok(address) = NameAddr::parse_unquoted(&text) {
            prop_assert_eq!(NameAddr::parse(&address.to_string()), Ok(address));
        }
    }
}
