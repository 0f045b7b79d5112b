//! What is no SIP, and what is answered by what is wrong with it.

use super::super::*;
use super::{INVITE, changed, refused, request};
use crate::sip::uri::UriError;

#[test]
fn what_is_no_sip_is_not_answered() {
    for text in [
        "",
        "\r\n\r\n",
        "hello\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "SIP/2.0 4294967301 x\r\n\r\n",
        "SIP/2.0 099 x\r\n\r\n",
        "SIP/2.0 20 OK\r\n\r\n",
        "INVITE\r\n\r\n",
        "INVITE sip:a@b\r\n\r\n",
        "IN<VITE sip:a@b SIP/2.0\r\n\r\n",
    ] {
        assert_eq!(refused(text), (Wrong::NotSip, None), "{text}");
    }
}

/// Each change of the INVITE above, what is then wrong with it, and what it is answered.
fn assert_refused(changes: &[(&str, &str, Wrong, u16)]) {
    for (from, to, what, status) in changes {
        assert_eq!(refused(&changed(from, to)), (*what, Some(*status)), "{to:.60}");
    }
}

#[test]
fn broken_start_lines_are_answered_by_what_is_wrong_with_them() {
    let long = format!("sip:{}@x", "a".repeat(5000));
    let uri = "sip:bob@192.0.2.2 ";
    let bad_character = Wrong::RequestUri(UriError::BadCharacter);
    assert_refused(&[
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", Wrong::Version, 505),
        ("SIP/2.0\r\nVia", "SIP/2.0  \r\nVia", Wrong::StartLine, 400),
        (uri, "sip:bob@192.0.2.2; lr ", Wrong::StartLine, 400),
        (uri, " sip:bob@192.0.2.2 ", Wrong::StartLine, 400),
        (uri, "<sip:bob@192.0.2.2> ", bad_character, 400),
        (uri, "sip:bob@192.0.2.2?Route=x ", Wrong::RequestUriHeaders, 400),
        ("sip:bob@192.0.2.2", &long, Wrong::RequestUri(UriError::TooLong), 414),
    ]);
}

#[test]
fn broken_lines_are_answered_by_what_is_wrong_with_them() {
    let many = "X-Y: z\r\n".repeat(HEADERS_MAX);
    let wide = format!("X: {}\r\n", "y".repeat(HEADER_BYTES_MAX));
    let vias = format!("Max-Forwards: 70\r\nVia: {}\r\n", "a,".repeat(3000));
    let line = "Max-Forwards: 70\r\n";
    assert_refused(&[
        (line, "no colon\r\n", Wrong::HeaderLine, 400),
        ("SIP/2.0\r\nVia", "SIP/2.0\r\n X: y\r\nVia", Wrong::HeaderLine, 400),
        (line, "two words: 70\r\n", Wrong::HeaderLine, 400),
        (line, "X: a\rb\r\n", Wrong::BareLineEnd, 400),
        (line, "X: a\nb\r\n", Wrong::BareLineEnd, 400),
        (line, &many, Wrong::TooManyHeaders, 513),
        (line, &vias, Wrong::TooManyHeaders, 513),
        (line, &wide, Wrong::HeaderTooLong, 513),
        (
            "Content-Length: 4\r\n\r\nv=0\n",
            "Content-Length: 4\r\n",
            Wrong::NoEndOfHeaders,
            400,
        ),
    ]);
}

#[test]
fn broken_headers_are_answered_by_what_is_wrong_with_them() {
    let (hops, cseq, length) = ("Max-Forwards: 70", "314159 INVITE", "Content-Length: 4");
    assert_refused(&[
        (hops, "Max-Forwards: 256", Wrong::Malformed("Max-Forwards"), 400),
        (hops, "Max-Forwards: -1", Wrong::Malformed("Max-Forwards"), 400),
        (
            hops,
            "Max-Forwards: 1\r\nMax-Forwards: 2",
            Wrong::Repeated("Max-Forwards"),
            400,
        ),
        (cseq, "2147483648 INVITE", Wrong::Malformed("CSeq"), 400),
        (cseq, "36893488147419103232 INVITE", Wrong::Malformed("CSeq"), 400),
        (cseq, "314159 OPTIONS", Wrong::CSeqMethod, 400),
        (cseq, "314159", Wrong::Malformed("CSeq"), 400),
        (
            "SIP/2.0/UDP 192.0.2.1:5060;",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            Wrong::Malformed("Via"),
            400,
        ),
        (
            "<sip:bob@192.0.2.2>\r\n",
            "\"Mr. J. User <sip:bob@192.0.2.2>\r\n",
            Wrong::Malformed("To"),
            400,
        ),
        (
            "From: ",
            "From: <sip:x@y>;tag=1\r\nFrom: ",
            Wrong::Repeated("From"),
            400,
        ),
        ("Call-ID: ", "i: 1\r\nCall-ID: ", Wrong::Repeated("Call-ID"), 400),
        (
            "Call-ID: a84b4c76e66710@192.0.2.1\r\n",
            "",
            Wrong::Missing("Call-ID"),
            400,
        ),
        ("To: <sip:bob@192.0.2.2>\r\n", "", Wrong::Missing("To"), 400),
        (length, "Content-Length: -999", Wrong::Malformed("Content-Length"), 400),
        (length, "Content-Length: 5", Wrong::BodyTooShort, 400),
        (length, "Content-Length: 18446744073709551615", Wrong::BodyTooShort, 400),
        (
            length,
            "Content-Length: 4\r\nl: 3",
            Wrong::Repeated("Content-Length"),
            400,
        ),
    ]);
}

#[test]
fn a_broken_ack_and_a_request_that_names_no_via_are_not_answered() {
    let ack = changed("INVITE", "ACK").replace("314159 INVITE", "x");
    assert_eq!(refused(&ack), (Wrong::Malformed("CSeq"), None));
    let (what, reply) = refused(&changed(
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds\r\n",
        "",
    ));
    assert_eq!((what, reply), (Wrong::Missing("Via"), None));
}

#[test]
fn a_refusal_repeats_what_the_request_said_of_itself() {
    let text = changed("Content-Length: 4", "Content-Length: -4");
    let reply = |text: &str| Message::parse(text.as_bytes()).unwrap_err().reply.unwrap();
    let sent = String::from_utf8(reply(&text).encode().to_vec()).unwrap();
    let tag = reply(&text).headers.to().tag().unwrap().to_owned();
    assert_eq!(
        sent,
        format!(
            "SIP/2.0 400 Bad Request: malformed Content-Length header field\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds\r\n\
             From: \"Alice\" <sip:alice@192.0.2.1>;tag=1928301774\r\nTo: <sip:bob@192.0.2.2>;tag={tag}\r\n\
             Call-ID: a84b4c76e66710@192.0.2.1\r\nCSeq: 314159 INVITE\r\nContent-Length: 0\r\n\r\n"
        )
    );
    assert_eq!(reply(&text), reply(&text), "a retransmission gets the same tag");
}

#[test]
fn a_message_that_no_datagram_holds_is_refused() {
    let text = format!("{INVITE}{}", " ".repeat(MESSAGE_BYTES_MAX));
    assert_eq!(refused(&text), (Wrong::TooLong, None));
}

#[test]
fn of_what_must_not_be_refused_the_lines_that_nobody_needs_are_left_out() {
    let long = format!("X: {}\r\n {}\r\n", "a".repeat(9_000), "b".repeat(9_000));
    let odd = ["Max-Forwards: 5\r\n", "Expires: x\r\n", "no header\r\n", &long].concat();
    let broken = INVITE
        .replace("Contact:", &format!("{odd}Contact:"))
        .replace("Content-Length: 4", "Content-Length: 400");
    assert!(Message::parse(broken.as_bytes()).is_err());
    assert_eq!(
        Message::salvage(broken.as_bytes()),
        Ok(request(INVITE).into()),
        "nothing else is lost"
    );
    for needed in ["Via: SIP", "From: ", "To: ", "Call-ID: ", "CSeq: "] {
        let broken = INVITE.replace(needed, &format!("X-{needed}"));
        assert!(Message::salvage(broken.as_bytes()).is_err(), "{needed}");
    }
}

#[test]
fn of_what_must_not_be_refused_who_calls_need_not_be_read() {
    let of_from = |from: &str| {
        let broken = INVITE.replace("\"Alice\" <sip:alice@192.0.2.1>;tag=1928301774", from);
        assert!(Message::parse(broken.as_bytes()).is_err(), "{from}");
        let salvaged = Message::salvage(broken.as_bytes()).ok();
        salvaged.map(|message| match message {
            Message::Request(invite) => invite.headers.get("From").unwrap().to_owned(),
            Message::Response(_) => unreachable!(),
        })
    };
    for (from, read) in [
        ("Al \"the\" Boss, <sip:a@b>;tag=1", "<sip:a@b>;tag=1"),
        ("\"unbal <sip:a@b>;tag=1", "<sip:a@b>;tag=1"),
        ("<sip:Anonymous@>;tag=1", "<sip:anonymous@anonymous.invalid>;tag=1"),
        ("<sip:@x>;tag=1", "<sip:anonymous@anonymous.invalid>;tag=1"),
        ("sip:a b@c;tag=1", "<sip:anonymous@anonymous.invalid>;tag=1"),
    ] {
        assert_eq!(of_from(from).as_deref(), Some(read), "{from}");
    }
    assert_eq!(of_from("<sip:a@b;tag=1>;=;;="), None);
}
