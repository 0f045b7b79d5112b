#![allow(clippy::unwrap_used, clippy::panic)]

mod refused;

use proptest::prelude::*;

use super::*;

const INVITE: &str = "INVITE sip:bob@192.0.2.2 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@192.0.2.1>;tag=1928301774\r\n\
    To: <sip:bob@192.0.2.2>\r\n\
    Call-ID: a84b4c76e66710@192.0.2.1\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@192.0.2.1>\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 4\r\n\r\nv=0\n";

fn request(text: &str) -> Request {
    match Message::parse(text.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str) -> (Wrong, Option<u16>) {
    let error = Message::parse(text.as_bytes()).unwrap_err();
    (error.what, error.reply.map(|reply| reply.status))
}

/// The INVITE above with one thing changed.
fn changed(from: &str, to: &str) -> String {
    assert!(INVITE.contains(from), "{from}");
    INVITE.replacen(from, to, 1)
}

#[test]
fn a_plain_invite_is_read_and_written_back() {
    let invite = request(INVITE);
    assert_eq!(
        (&invite.method, invite.uri.as_str()),
        (&Method::Invite, "sip:bob@192.0.2.2")
    );
    let headers = &invite.headers;
    assert_eq!(headers.via().and_then(|via| via.branch()), Some("z9hG4bK776asdhds"));
    assert_eq!(headers.from().tag(), Some("1928301774"));
    assert_eq!(headers.to().tag(), None);
    assert_eq!(headers.call_id(), "a84b4c76e66710@192.0.2.1");
    assert_eq!(
        *headers.cseq(),
        CSeq {
            number: 314_159,
            method: Method::Invite
        }
    );
    assert_eq!(headers.max_forwards(), Some(70));
    assert_eq!(
        headers.contact().map(|contact| contact.uri.to_string()).as_deref(),
        Some("sip:alice@192.0.2.1")
    );
    assert_eq!(headers.content_type(), Some("application/sdp"));
    assert_eq!(&invite.body[..], b"v=0\n");
    assert_eq!(invite.encode(), INVITE);
}

/// All that are registered: <https://www.iana.org/assignments/sip-parameters>, Header Fields.
#[test]
fn every_compact_name_is_its_long_one() {
    for (compact, long) in [
        ("a", "Accept-Contact"),
        ("b", "Referred-By"),
        ("c", "Content-Type"),
        ("d", "Request-Disposition"),
        ("e", "Content-Encoding"),
        ("f", "From"),
        ("i", "Call-ID"),
        ("j", "Reject-Contact"),
        ("k", "Supported"),
        ("l", "Content-Length"),
        ("m", "Contact"),
        ("n", "Identity-Info"),
        ("o", "Event"),
        ("r", "Refer-To"),
        ("s", "Subject"),
        ("t", "To"),
        ("u", "Allow-Events"),
        ("v", "Via"),
        ("x", "Session-Expires"),
        ("y", "Identity"),
    ] {
        for name in [compact, &compact.to_uppercase()] {
            assert_eq!(super::field::long_name(name), long);
        }
    }
    let signed = INVITE.replace(
        "Max-Forwards: 70",
        "y: eyJh.eyJk.c2ln;info=<https://example.com/c.pem>;ppt=shaken",
    );
    let read = request(&signed);
    let signed = "eyJh.eyJk.c2ln;info=<https://example.com/c.pem>;ppt=shaken";
    assert_eq!(read.headers.get("Identity"), Some(signed));
    let written = String::from_utf8(read.encode().to_vec()).unwrap();
    assert!(written.contains(&format!("\r\nIdentity: {signed}\r\n")), "{written}");
}

/// Folding, compact names, odd space and order, unknown headers: RFC 4475 §3.1.1.1, in our words.
#[test]
fn a_tortuous_invite_is_read() {
    let invite = request(
        "INVITE sip:b@example.com;unknown SIP/2.0\r\nTO :\r\n sip:b@example.com ;   tag    = 77n\r\n\
         from   : \"Quoted \\\\\\\"\"       <sip:a@example.com>\r\n  ;\r\n  tag = 98a\r\nMaX-fOrWaRdS: 0068\r\n\
         Call-ID: x.y@192.0.2.1\r\nCSeq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390\r\n\
         s :\r\nNew: a\r\n  b c\r\nOdd: ;;,,;;,;\r\nContent-Type: application/sdp\r\nRoute:\r\n <sip:s.example.com;lr>\r\n\
         v:  SIP  / 2.0  / TCP     h.example.com   ;\r\n  branch  =   z9hG4bK9 ,\r\n SIP  /    2.0   / UDP  192.168.255.111\r\n\
         m:\"Q \\\"\\\"\" <sip:a@example.com> ; newparam =\r\n      newvalue ;\r\n  q = 0.33\r\n\r\nbody to the end",
    );
    let headers = &invite.headers;
    assert_eq!(headers.to().tag(), Some("77n"));
    assert_eq!(headers.from().display_name().as_deref(), Some("Quoted \\\""));
    assert_eq!(headers.cseq().number, 9);
    assert_eq!(headers.max_forwards(), Some(68));
    assert_eq!(headers.get("new"), Some("a b c"));
    assert_eq!(headers.get("S"), Some(""));
    assert_eq!(headers.get_all("v").count(), 3);
    assert_eq!(headers.addresses("Route").len(), 1);
    assert_eq!(
        headers
            .contact()
            .and_then(|contact| contact.param("q").map(str::to_owned))
            .as_deref(),
        Some("0.33")
    );
    assert_eq!(&invite.body[..], b"body to the end");
    assert_eq!(Message::parse(&invite.encode()), Ok(Message::Request(invite)));
}

/// RFC 4475 §3.1.1.2, §3.1.1.4, §3.1.1.9.
#[test]
fn strange_and_legal_words_are_read() {
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    let uri =
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
    let text = changed("INVITE sip:bob@192.0.2.2", &format!("{method} {uri}"));
    let text = text.replace("314159 INVITE", &format!("314159 {method}"));
    let text = text.replace(
        "<sip:bob@192.0.2.2>",
        "\"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <sip:semi;par=u%40x@example.com>",
    );
    let request = request(&text);
    assert_eq!(request.method, Method::Other(method.to_owned()));
    assert_eq!(request.uri.host(), Some("example.com"));
    assert_eq!(request.headers.to().uri().user(), Some("semi;par=u%40x"));
    assert!(!request.encode().contains(&0));
}

#[test]
fn bodies_pass_byte_for_byte() {
    let mut bytes = changed("Content-Length: 4", "Content-Length: 256").into_bytes();
    bytes.truncate(bytes.len() - 4);
    let body: Vec<u8> = (0..=255).collect();
    bytes.extend_from_slice(&body);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.body()[..], body);
    assert_eq!(message.encode(), bytes);
}

#[test]
fn bytes_beyond_content_length_are_dropped_and_without_it_all_are_body() {
    assert_eq!(
        &request(&format!("{INVITE}INVITE sip:other SIP/2.0\r\n")).body[..],
        b"v=0\n"
    );
    assert_eq!(&request(&changed("Content-Length: 4\r\n", "")).body[..], b"v=0\n");
    assert_eq!(&request(&changed("Content-Length: 4", "l: 0002")).body[..], b"v=");
}

#[test]
fn stray_controls_at_the_edge_of_a_value_are_read_the_same_once_written() {
    for (from, to) in [
        ("\"Alice\" ", "\0"),
        ("Max-Forwards: 70", "Subject: \u{c}x\0"),
        ("\r\nMax", ", \u{c}x\r\nMax"),
    ] {
        let message = Message::Request(request(&changed(from, to)));
        assert_eq!(Message::parse(&message.encode()), Ok(message), "{to:?}");
    }
}

#[test]
fn responses_keep_their_own_phrase_or_none() {
    for (line, status, reason) in [
        ("SIP/2.0 200 = 2**3 * 5**2 но сто", 200, "= 2**3 * 5**2 но сто"),
        ("SIP/2.0 100 ", 100, ""),
        ("SIP/2.0 603 Declined, politely", 603, "Declined, politely"),
    ] {
        let text = changed("INVITE sip:bob@192.0.2.2 SIP/2.0", line);
        let Ok(Message::Response(response)) = Message::parse(text.as_bytes()) else {
            panic!("{line}")
        };
        assert_eq!((response.status, response.reason.as_str()), (status, reason));
        assert_eq!(response.encode(), text);
    }
}

/// Words that the grammar cares about, in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r\n ".to_vec()),
        Just(b": ".to_vec()),
        Just(b",".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"<sip:a@b>".to_vec()),
        Just(b";tag=".to_vec()),
        Just(b"Via: SIP/2.0/UDP a;branch=z9hG4bK1".to_vec()),
        Just(b"From: <sip:a@b>;tag=1".to_vec()),
        Just(b"CSeq: 1 INVITE".to_vec()),
        Just(b"Content-Length: ".to_vec()),
        Just(b"INVITE sip:a@b SIP/2.0\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn reading_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (Message::parse(&bytes), Message::salvage(&bytes));
    }

    #[test]
    fn reading_a_soup_of_words_never_panics_and_what_is_read_survives_writing(bytes in soup()) {
        for message in [Message::parse(&bytes), Message::salvage(&bytes)].into_iter().flatten() {
            prop_assert_eq!(Message::parse(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn a_mutated_invite_is_read_and_survives_writing_or_is_refused(
        edits in prop::collection::vec((0..INVITE.len(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = INVITE.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at % bytes.len();
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        match Message::parse(&bytes) {
            Ok(message) => prop_assert_eq!(Message::parse(&message.encode()), Ok(message)),
            Err(error) => {
                if let Some(reply) = error.reply {
                    prop_assert!(Message::parse(&reply.encode()).is_ok() || reply.status >= 400);
                }
            }
        }
    }

    #[test]
    // A name of its own: one of a header that comes once would make two of it.
    fn no_value_put_in_can_start_a_line_of_its_own(name in "Q\\PC{1,11}", value in "[ -~\r\n\0é]{0,40}") {
        let mut invite = request(INVITE);
        invite.headers.push(&name, value.clone());
        invite.headers.set("Subject", value.clone());
        invite.headers.set("From", value.clone());
        invite.method = Method::Invite;
        let lines = invite.headers.len();
        let bytes = invite.encode();
        let Ok(Message::Request(read)) = Message::parse(&bytes) else { panic!("{name} {value}") };
        prop_assert_eq!(read.headers.len(), lines);
        prop_assert_eq!(bytes.windows(2).filter(|pair| pair == b"\r\n").count(), lines + 3);
    }
}
