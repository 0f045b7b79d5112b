use proptest::prelude::*;

use super::*;
use crate::sip::{Message, Method};

fn rule(passage: Passage, field: &str, pattern: &str, replacement: &str) -> Rewrite {
    let field = Field::parse(field).expect("a field");
    Rewrite::new(passage, field, pattern, replacement).expect("a rule")
}

fn request(uri: &str, from: &str, to: &str) -> Request {
    let uri = Uri::parse(uri).expect("a URI");
    let party = |text| NameAddr::parse(text).expect("a name-addr");
    Request::new(Method::Invite, uri, party(from), party(to), "c1", 1)
}

fn rewritten(uri: &str, pattern: &str, replacement: &str) -> String {
    let mut request = request(uri, "<sip:a@x>", "<sip:b@x>");
    apply(
        &[rule(Passage::In, "request_uri", pattern, replacement)],
        Passage::In,
        &mut request,
    );
    request.uri.to_string()
}

#[test]
fn numbers_are_rewritten_by_groups_and_the_rest_of_the_uri_stays() {
    assert_eq!(
        rewritten("sip:0201234@pbx.example:5070;user=phone", r"^0(\d+)$", "+44$1"),
        "sip:+44201234@pbx.example:5070;user=phone"
    );
    assert_eq!(
        rewritten("tel:00441234;phone-context=x", r"^00(?<n>\d+)$", "+${n}"),
        "tel:+441234;phone-context=x"
    );
    assert_eq!(rewritten("sip:alice@x", r"^0(\d+)$", "+44$1"), "sip:alice@x");
    assert_eq!(rewritten("sip:1@x", "1", "a$$b"), "sip:a$b@x");
    assert_eq!(
        rewritten("sip:x.example", ".*", "bob"),
        "sip:x.example",
        "no user part, no rewriting"
    );
}

#[test]
fn what_a_user_part_may_not_hold_is_escaped_and_a_broken_result_leaves_the_field_as_it_was() {
    assert_eq!(rewritten("sip:1@x", "1", "a@evil>b c"), "sip:a%40evil%3Eb%20c@x");
    assert_eq!(
        rewritten("sip:%0d%0aVia:x@y", "^(.*)$", "1$1"),
        "sip:%0d%0aVia:x@y",
        "a user with a line break"
    );
    assert_eq!(rewritten("tel:+1", "^.*$", "al ice"), "tel:+1");
    assert_eq!(rewritten("sip:1@x", "^1$", ""), "sip:1@x", "no empty user part");
    assert_eq!(rewritten("urn:service:sos", ".*", "x"), "urn:service:sos");
}

#[test]
fn rules_run_in_their_order_and_each_way_has_its_own() {
    let rules = [
        rule(Passage::In, "request_uri", r"^0(\d+)$", "44$1"),
        rule(Passage::Out, "request_uri", r"^\+", ""),
        rule(Passage::In, "request_uri", r"^44", "+44"),
        rule(Passage::In, "from", r"^(\d{4})$", "+44207946$1"),
    ];
    let mut request = request("sip:020@x", "\"A\" <sip:1001@pbx>;tag=1", "<sip:020@x>");
    let applied = apply(&rules, Passage::In, &mut request);
    assert_eq!(request.uri.to_string(), "sip:+4420@x");
    assert_eq!(request.headers.get("From"), Some("\"A\" <sip:+442079461001@pbx>;tag=1"));
    assert_eq!(applied.len(), 3);
    assert_eq!((applied[0].before.as_str(), applied[0].after.as_str()), ("020", "4420"));
    apply(&rules, Passage::Out, &mut request);
    assert_eq!(request.uri.to_string(), "sip:4420@x");
}

#[test]
fn headers_are_rewritten_added_and_removed() {
    let mut request = request("sip:1@x", "<sip:a@x>", "<sip:b@x>");
    request.headers.push("X-Ticket", "T-7");
    request.headers.push("P-Asserted-Identity", "\"A\" <sip:1001@pbx>");
    let rules = [
        rule(Passage::Out, "header:X-Ticket", "^T-7$", ""),
        rule(Passage::Out, "header:X-Via-Us", "^$", "yes"),
        rule(
            Passage::Out,
            "header:P-Asserted-Identity",
            r"sip:(\d+)@",
            "sip:+4420$1@",
        ),
        rule(Passage::Out, "header:P-Asserted-Identity", ">$", ""),
        rule(Passage::Out, "header:X-Absent", "^x", "y"),
    ];
    let applied = apply(&rules, Passage::Out, &mut request);
    assert_eq!(request.headers.get("X-Ticket"), None);
    assert_eq!(request.headers.get("X-Via-Us"), Some("yes"));
    assert_eq!(
        request.headers.get("P-Asserted-Identity"),
        Some("\"A\" <sip:+44201001@pbx>")
    );
    assert_eq!(
        applied.len(),
        3,
        "what would be no address any more is not written: {applied:?}"
    );
}

#[test]
fn rules_that_cannot_be_are_refused() {
    for field in [
        "",
        "host",
        "header:",
        "header:Via",
        "header:call-id",
        "header:f",
        "header:X Y",
        "header:Contact",
        "header:refer-to",
        "header:Subscription-State",
        "header:Content-Disposition",
    ] {
        assert!(Field::parse(field).is_err(), "{field}");
    }
    let new = |pattern: &str, replacement: &str| Rewrite::new(Passage::In, Field::To, pattern, replacement).err();
    assert_eq!(new("(", ""), Some(RuleError::Pattern));
    assert_eq!(
        new("(a{1000}){1000}", ""),
        Some(RuleError::Pattern),
        "too large when compiled"
    );
    assert_eq!(new("(a)", "$2"), Some(RuleError::Group { group: "2".into() }));
    assert_eq!(new("(a)", "$1x"), Some(RuleError::Group { group: "1x".into() }));
    assert_eq!(new("(a)", "${1}x$0$$2"), None);
    assert_eq!(new("a", "x\r\nVia: y"), Some(RuleError::Control));
    assert_eq!(new(&"a".repeat(RULE_BYTES_MAX + 1), ""), Some(RuleError::TooLong));
}

proptest! {
    #[test]
    fn no_text_of_a_stranger_breaks_out_of_a_rewritten_field(
        user in "\\PC{0,40}|[%0-9a-fA-F\r\n]{0,40}",
        value in "\\PC{0,60}",
    ) {
        let Some(uri) = Uri::parse("sip:1@x.example").expect("a URI").with_user(&user) else { return Ok(()); };
        let mut request = request("sip:1@x", "<sip:a@x>", "<sip:b@x>");
        request.uri = uri;
        request.headers.push("X-Note", value);
        let count = request.headers.len();
        let rules = [
            rule(Passage::In, "request_uri", "^(.?)(.*)$", "${2}x${1}"),
            rule(Passage::In, "header:X-Note", "^(.?)(.*)$", "${2}x${1}"),
        ];
        apply(&rules, Passage::In, &mut request);
        prop_assert_eq!(request.uri.host(), Some("x.example"));
        prop_assert!(request.headers.len() <= count);
        request.headers.push_via(crate::sip::Via::new(
            crate::sip::Transport::Udp, "192.0.2.1:5060".parse().expect("an address"), "z9hG4bKx",
        ));
        let message = Message::parse(&Message::from(request).encode());
        let headers = message.as_ref().map(|message| message.headers().len());
        prop_assert!(headers.is_ok_and(|headers| headers <= count + 3), "{:?}", message);
    }
}
