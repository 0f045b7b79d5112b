//! What may stand in a message, and what crosses: decided once, here shown from the outside.

use crate::bench::{A, Bench, PROXY, SDP, invite};
use crate::peer::send;

/// An INVITE with these lines more.
fn with(lines: &str) -> Vec<u8> {
    invite(1, "h1", "", SDP, lines).to_vec()
}

/// The INVITE with `from` replaced.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(with("")).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn nothing_in_a_value_becomes_a_header_of_its_own() {
    for smuggled in [
        "Subject: a\rX-Evil: 1\r\n",
        "Subject: a\nX-Evil: 1\r\n",
        "Subject: a\n\rX-Evil: 1\r\n",
    ] {
        assert_eq!(send(&with(smuggled)).word(), "400", "{smuggled:?}");
    }
    for (line, subject) in [
        ("Subject: a\0X-Evil: 1\r\n", "a X-Evil: 1"),
        ("Subject: a\r\n X-Evil: 1\r\n", "a X-Evil: 1"),
        ("Subject: a\r\n\tX-Evil: 1\r\n", "a X-Evil: 1"),
        ("Subject: a%0d%0aX-Evil: 1\r\n", "a%0d%0aX-Evil: 1"),
    ] {
        let onward = send(&with(line)).forwarded.pop().unwrap();
        assert_eq!(onward.headers.get("Subject"), Some(subject), "{line:?}");
        assert_eq!(onward.headers.get("X-Evil"), None, "{line:?}");
    }
    let folded = changed(" SIP/2.0\r\nVia", " SIP/2.0\r\n X-Evil: 1\r\nVia");
    assert_eq!(send(&folded).word(), "400", "nothing is folded onto the start line");
}

#[test]
fn control_characters_reach_nobody() {
    let onward = send(&with("Subject: \x1b[2J\x07bell\x7f \tend\r\n"))
        .forwarded
        .pop()
        .unwrap();
    assert_eq!(onward.headers.get("Subject"), Some("[2J bell  \tend"));
    let quoted = changed("\"Alice\"", "\"A\\\x07\\\x00lice\"");
    let onward = send(&quoted).forwarded.pop().unwrap();
    assert_eq!(onward.headers.from().display_name().as_deref(), Some("A  lice"));
    assert_eq!(
        send(&changed("sip:bob@", "sip:b\x01ob@")).word(),
        "400",
        "in a URI they are refused"
    );
}

#[test]
fn a_length_that_two_readers_could_take_differently_is_refused() {
    let length = format!("Content-Length: {}", SDP.len());
    let right = SDP.len();
    for wrong in [
        format!("{length}\r\nContent-Length: 5"),
        format!("{length}\r\n{length}"),
        format!("{length}\r\nl: {right}"),
        format!("Content-Length: {right}, {right}"),
        format!("Content-Length: +{right}"),
        format!("Content-Length: {right} 5"),
        format!("Content-Length: 0x{right:x}"),
        "Content-Length: -1".to_owned(),
        "Content-Length:".to_owned(),
        "Content-Length: 18446744073709551617".to_owned(),
    ] {
        assert_eq!(send(&changed(&length, &wrong)).word(), "400", "{wrong:?}");
    }
    for right in [format!("l : {right}"), format!("CONTENT-LENGTH:000{right}")] {
        assert_eq!(send(&changed(&length, &right)).word(), "forwarded", "{right:?}");
    }
}

#[test]
fn headers_of_one_value_come_once() {
    for line in [
        "From: <sip:eve@example.com>;tag=2",
        "f: <sip:eve@example.com>;tag=2",
        "To: <sip:eve@example.com>",
        "Call-ID: other",
        "i: other",
        "CSeq: 2 INVITE",
        "Max-Forwards: 1",
        "Content-Type: text/plain",
        "c: text/plain",
        "Session-Expires: 90\r\nx: 1800",
        "Replaces: a;to-tag=1;from-tag=2\r\nReplaces: b;to-tag=1;from-tag=2",
        "Refer-To: <sip:a@b>\r\nr: <sip:c@d>",
    ] {
        assert_eq!(send(&with(&format!("{line}\r\n"))).word(), "400", "{line:?}");
    }
}

#[test]
fn methods_are_what_they_are_letter_by_letter() {
    let lower = String::from_utf8(with("")).unwrap().replace("INVITE", "invite");
    assert_eq!(send(lower.as_bytes()).word(), "501", "another method than INVITE");
    assert_eq!(send(&changed("1 INVITE", "1 invite")).word(), "400");
    assert_eq!(
        send(&changed("SIP/2.0\r\n", "sip/2.0\r\n")).word(),
        "forwarded",
        "the version has no case"
    );
}

#[test]
fn space_before_the_colon_is_part_of_the_grammar_and_space_before_a_name_is_not() {
    assert_eq!(send(&changed("Call-ID:", "Call-ID \t:")).word(), "forwarded");
    assert_eq!(send(&changed("Call-ID:", "Call ID:")).word(), "400");
    let onward = send(&changed("Call-ID:", "Subject: a\r\n Call-ID:")).answers;
    assert_eq!(
        onward[0].status, 400,
        "a folded Call-ID is Subject's, and Call-ID is missing"
    );
}

#[test]
fn headers_of_the_hop_and_claims_stay_behind() {
    let lines = "Record-Route: <sip:192.0.2.66;lr>\r\nRoute: <sip:192.0.2.66;lr>\r\nPath: <sip:192.0.2.66;lr>\r\nX-Recording-Decision: none\r\nP-Preferred-Identity: <sip:ceo@example.com>\r\nNewFangled: x\r\nX-Ticket: 7\r\n";
    let onward = send(&with(lines)).forwarded.pop().unwrap();
    for stays in [
        "Record-Route",
        "Route",
        "Path",
        "X-Recording-Decision",
        "P-Preferred-Identity",
        "NewFangled",
    ] {
        assert!(!onward.headers.contains(stays), "{stays}");
    }
    assert_eq!(onward.headers.get("X-Ticket"), Some("7"));
    assert_eq!(onward.headers.get_all("Via").count(), 1);
    let text = String::from_utf8(onward.encode().to_vec()).unwrap();
    assert!(
        !text.contains(A) && !text.contains("192.0.2.66"),
        "no address of A is seen: {text}"
    );
    assert!(text.contains(PROXY));
}

#[test]
fn what_a_trunk_asserts_crosses_as_far_as_it_is_trusted() {
    let asserted = "P-Asserted-Identity: <sip:ceo@example.com>\r\nPrivacy: id\r\n";
    for (trusted, crosses) in [
        ([true, true], true),
        ([false, true], false),
        ([true, false], false),
        ([false; 2], false),
    ] {
        let mut bench = Bench::between(trusted, &[]);
        bench.invite(SDP, asserted);
        let invite = bench.request_to_b("INVITE");
        assert_eq!(invite.headers.contains("P-Asserted-Identity"), crosses, "{trusted:?}");
        // The callee asserts itself in its answer: the same, the other way.
        let mut ringing = onrecord::sip::Response::to(&invite, 180, None, Some("b-tag"));
        ringing.headers.push("P-Asserted-Identity", "<sip:bob@example.com>");
        ringing.headers.push("Contact", "<sip:bob@127.0.0.1:5090>");
        bench.from(crate::bench::B, ringing.encode());
        let heard = bench.response_to_a();
        assert_eq!(heard.status, 180);
        assert_eq!(
            heard.headers.contains("P-Asserted-Identity"),
            trusted[1],
            "{trusted:?}: no privacy asked for"
        );
    }
}
