//! Messages with a line that is broken and that nobody needs, where who sent them cannot be told, or goes all the same.

use bytes::Bytes;

use super::bench::{A, B, Bench, SDP, answer, in_dialog, invite, with_lines};

/// Lines of the field that break a message, and that nothing depends on.
fn odd_lines() -> Vec<String> {
    [
        "Expires: Mon, 01 Jan 2030 00:00:00 GMT",
        "Expires: -1",
        "Expires: 99999999999",
        "Expires: 3600;x",
        "Expires: ",
        "no header at all",
        "X-N\u{e9}: y",
        "Max-Forwards: abc",
        "Max-Forwards: 999",
        "Content-Type: application/sdp\r\nContent-Type: application/sdp",
        "RSeq: 1\r\nRSeq: 2",
        "X-Y: a\nX-Z: b",
    ]
    .into_iter()
    .map(|line| format!("{line}\r\n"))
    .chain([format!("X-Long: {}\r\n", "y".repeat(9_000))])
    .collect()
}

fn b_answers_with(bench: &mut Bench, method: &str, status: u16, sdp: &str, odd: &str) {
    let bytes = answer(&bench.request_to_b(method), status, "b-tag", "127.0.0.1:5090", sdp);
    bench.from(B, with_lines(&bytes, odd));
}

/// As the phone sends it, with `odd` before its Content-Length.
fn a_requests_with(bench: &mut Bench, cseq: u32, method: &str, odd: &str) {
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, cseq, method, odd, "");
}

#[test]
fn a_caller_whose_name_lacks_its_quotes_is_connected_and_named_with_them() {
    let unquoted = |message: Bytes| {
        let text = String::from_utf8(message.to_vec()).unwrap();
        let odd = text.replace("\"Alice\" <", "Smith, Alice; Sales <");
        assert_ne!(odd, text);
        Bytes::from(odd)
    };
    let mut bench = Bench::strict();
    bench.from(A, unquoted(invite(1, "a1", "", SDP, "")));
    let from = bench.request_to_b("INVITE").headers.from().to_string();
    assert!(
        from.starts_with("\"Smith, Alice; Sales\" <sip:alice@example.com>;tag="),
        "{from}"
    );
    bench.b_answers("INVITE", 200, SDP);
    let dialog = bench.response_to_a();
    assert_eq!(dialog.headers.from().tag(), Some("a-tag"));
    let to = dialog.headers.get("To").unwrap();
    for (number, method) in [(1, "ACK"), (2, "BYE")] {
        let from = "\"Alice\" <sip:alice@example.com>;tag=a-tag";
        let said = in_dialog(A, method, method, (from, to), "call-1", number, "");
        bench.from(A, unquoted(said));
    }
    bench.b_answers("BYE", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.assert_nothing_left();
}

#[test]
fn a_bye_that_is_cut_ends_the_call() {
    let mut bench = Bench::strict().connected();
    let dialog = bench.response_to_a();
    let to = dialog.headers.get("To").unwrap();
    let bye = in_dialog(
        A,
        "BYE",
        "bye",
        ("<sip:alice@example.com>;tag=a-tag", to),
        "call-1",
        2,
        SDP,
    );
    bench.from(A, bye.slice(..bye.len() - 40));
    assert_eq!(bench.request_to_b("BYE").headers.cseq().number, 2);
    bench.b_answers("BYE", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.assert_nothing_left();
}

#[test]
fn a_response_that_is_cut_is_discarded_and_its_copy_counts() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    let whole = answer(&bench.request_to_b("INVITE"), 200, "b-tag", "127.0.0.1:5090", SDP);
    bench.from(B, whole.slice(..whole.len() - 40));
    assert_ne!(bench.response_to_a().status, 200);
    bench.from(B, whole);
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn an_answer_in_an_emergency_counts_however_long_it_says_that_it_is() {
    let length = format!("Content-Length: {}", SDP.len());
    for said in ["Content-Length: 2000", "Content-Length: 99999999999"] {
        let mut bench = Bench::strict();
        let invite = String::from_utf8(invite(1, "a1", "", SDP, "").to_vec()).unwrap();
        bench.from(A, invite.replace("sip:bob@", "sip:112@").into());
        for status in [183, 200] {
            let whole = answer(&bench.request_to_b("INVITE"), status, "b-tag", B, SDP);
            let text = String::from_utf8(whole.to_vec()).unwrap();
            bench.from(B, text.replace(&length, said).into());
            let heard = bench.response_to_a();
            assert_eq!(heard.status, status, "{said}");
            assert!(heard.body.ends_with(b"a=sendrecv\r\n"), "{said}");
        }
        bench.a_requests(1, "ACK", "ack1", "");
        bench.a_requests(2, "BYE", "bye", "");
        let bye = answer(&bench.request_to_b("BYE"), 200, "b-tag", B, "");
        let bye = String::from_utf8(bye.to_vec()).unwrap();
        bench.from(B, bye.replace("Content-Length: 0", said).into());
        assert_eq!(bench.response_to_a().headers.cseq().number, 2, "{said}");
        bench.assert_nothing_left();
    }
}

#[test]
fn a_response_with_a_broken_line_that_nobody_needs_counts_without_it() {
    for odd in odd_lines() {
        let mut bench = Bench::strict();
        bench.invite(SDP, "");
        b_answers_with(&mut bench, "INVITE", 183, SDP, &odd);
        assert_eq!(bench.response_to_a().status, 183, "{odd}");
        b_answers_with(&mut bench, "INVITE", 200, SDP, &odd);
        assert_eq!(bench.response_to_a().status, 200, "{odd}");
        bench.a_requests(1, "ACK", "ack1", "");
        assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 1, "{odd}");
        bench.a_requests(2, "INVITE", "again", SDP);
        b_answers_with(&mut bench, "INVITE", 200, SDP, &odd);
        assert_eq!(bench.response_to_a().headers.cseq().number, 2, "{odd}");
        bench.a_requests(2, "ACK", "ack2", "");
        bench.a_requests(3, "BYE", "bye", "");
        b_answers_with(&mut bench, "BYE", 200, "", &odd);
        assert_eq!(bench.response_to_a().headers.cseq().number, 3, "{odd}");
        bench.assert_nothing_left();
    }
}

#[test]
fn a_refusal_with_a_broken_line_is_heard_by_the_caller() {
    for odd in odd_lines() {
        let mut bench = Bench::strict();
        bench.invite(SDP, "");
        b_answers_with(&mut bench, "INVITE", 486, "", &odd);
        assert_eq!(bench.response_to_a().status, 486, "{odd}");
        assert!(bench.story.iter().any(|rung| rung == "ACK → B"), "{odd}");
        bench.a_requests(1, "ACK", "a1", "");
        bench.assert_nothing_left();
    }
}

#[test]
fn of_what_makes_a_response_a_second_line_must_say_the_same() {
    for (line, is_read) in [
        ("CSeq: 1 INVITE\r\n", true),
        ("CSeq: 2 INVITE\r\n", false),
        ("Content-Length: 7\r\n", false),
        ("From: <sip:mallory@example.com>;tag=m\r\n", false),
        ("Call-ID: another\r\n", false),
    ] {
        let mut bench = Bench::strict();
        bench.invite(SDP, "");
        let before = bench.to_a.len();
        b_answers_with(&mut bench, "INVITE", 486, "", line);
        assert_eq!(bench.to_a.len() > before, is_read, "{line}");
    }
}

#[test]
fn who_ends_a_call_with_a_broken_line_ends_it() {
    for odd in odd_lines() {
        let mut bench = Bench::strict().connected();
        a_requests_with(&mut bench, 2, "INFO", &odd);
        b_answers_with(&mut bench, "INFO", 200, "", "");
        assert_eq!(bench.response_to_a().status, 200, "{odd}");
        a_requests_with(&mut bench, 3, "BYE", &odd);
        bench.b_answers("BYE", 200, "");
        assert_eq!(bench.response_to_a().status, 200, "{odd}");
        bench.assert_nothing_left();
    }
}

#[test]
fn who_acknowledges_or_gives_up_with_a_broken_line_is_understood() {
    for odd in odd_lines() {
        let mut bench = Bench::strict();
        bench.invite(SDP, "");
        bench.b_answers("INVITE", 200, SDP);
        a_requests_with(&mut bench, 1, "ACK", &odd);
        assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 1, "{odd}");

        let mut bench = Bench::strict();
        bench.invite(SDP, "");
        bench.b_answers("INVITE", 180, "");
        bench.from(A, cancel(&odd));
        assert_eq!(bench.request_to_b("CANCEL").headers.cseq().number, 1, "{odd}");
    }
}

/// Of the bench's INVITE.
fn cancel(odd: &str) -> Bytes {
    let invite = String::from_utf8(invite(1, "a1", "", "", "").to_vec()).unwrap();
    let cancel = invite
        .replace("INVITE", "CANCEL")
        .replace(&format!("Contact: <sip:alice@{A}>\r\n"), "");
    with_lines(&cancel.into(), odd)
}

#[test]
fn an_invite_whose_time_to_live_cannot_be_read_has_none() {
    for odd in [
        "Expires: \r\n",
        "Expires: 180;\r\n",
        "Expires: Mon, 01 Jan 2030 00:00:00 GMT\r\n",
    ] {
        let mut bench = Bench::strict();
        bench.invite(SDP, odd);
        assert!(bench.request_to_b("INVITE").headers.get("Expires").is_none());
    }
}

#[test]
fn what_begins_a_call_with_any_other_broken_line_is_refused() {
    for odd in odd_lines().iter().filter(|odd| !odd.starts_with("Expires")) {
        let mut bench = Bench::strict();
        bench.invite(SDP, odd);
        assert!(bench.to_b.is_empty(), "{odd}");
        assert!([400, 513].contains(&bench.response_to_a().status), "{odd}");
    }
}
