//! What the parties agree on between themselves, by option tags and headers that mean nothing to us.

use super::bench::{A, B, Bench, SDP, with_lines};
use super::party::{ALICE, Party, PhoneDialog};

const LISTS: Party = Party { user: "lists", at: B };

fn with_status(port: u16, lines: &str) -> String {
    format!("{}{lines}", SDP.replace("4000", &port.to_string()))
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn how_the_callee_shall_answer_and_where_it_shall_be_found_crosses() {
    let mut bench = Bench::strict();
    let wishes = [
        ("Answer-Mode", "Auto;require"),
        ("Priv-Answer-Mode", "Auto"),
        ("Accept-Contact", "*;audio;require"),
        ("Reject-Contact", "*;actor=\"msg-taker\""),
        ("Request-Disposition", "no-fork"),
    ];
    let lines: String = wishes
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    bench.invite(SDP, &format!("Require: answermode\r\n{lines}"));
    let invite = bench.request_to_b("INVITE");
    for (name, value) in wishes {
        assert_eq!(invite.headers.get(name), Some(value), "{name}");
    }
    assert_eq!(invite.headers.get("Require"), Some("answermode"));
    bench.fork_answers("b-tag", 200, "Answer-Mode: Auto\r\n", SDP);
    assert_eq!(bench.response_to_a().headers.get("Answer-Mode"), Some("Auto"));
}

#[test]
fn a_list_of_resources_is_subscribed_to_and_its_notifies_may_ask_for_event_lists() {
    let mut bench = Bench::strict();
    let list = "Event: presence\r\nExpires: 600\r\nSupported: eventlist\r\n";
    bench.requests("SUBSCRIBE", ALICE, "sip:lists@carrier.example", "sub-1", list, "");
    let subscribe = bench.newest(B, "SUBSCRIBE");
    assert_eq!(subscribe.headers.get("Supported"), Some("eventlist"));
    bench.answers_with(LISTS, "SUBSCRIBE", 200, "Expires: 600\r\nRequire: eventlist\r\n");
    assert_eq!(bench.response_to_a().headers.get("Require"), Some("eventlist"));
    let mut lists = PhoneDialog::of_callee(LISTS, &subscribe);
    let state = "Event: presence\r\nSubscription-State: active;expires=599\r\nRequire: eventlist\r\n";
    let notify = lists.request("NOTIFY", state, "");
    bench.from(B, notify);
    assert_eq!(bench.newest(A, "NOTIFY").headers.get("Require"), Some("eventlist"));
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_eq!(bench.response_to_b().status, 200);
    let required = format!("{list}Require: eventlist\r\n");
    bench.requests("SUBSCRIBE", ALICE, "sip:lists@carrier.example", "sub-2", &required, "");
    assert_eq!(bench.newest(B, "SUBSCRIBE").headers.get("Require"), Some("eventlist"));
}

#[test]
fn preconditions_are_met_between_the_parties_before_the_callee_rings() {
    let mut bench = Bench::strict();
    let wanted = "a=curr:qos local none\r\na=curr:qos remote none\r\na=des:qos mandatory local sendrecv\r\na=des:qos mandatory remote sendrecv\r\n";
    let reserved = wanted.replacen("local none", "local sendrecv", 1);
    let confirm = format!("{wanted}a=conf:qos remote sendrecv\r\n");
    bench.invite(&with_status(4000, wanted), "Require: 100rel, precondition\r\n");
    let invite = bench.request_to_b("INVITE");
    assert_eq!(invite.headers.get("Require"), Some("100rel, precondition"));
    assert!(text(&invite.body).contains(wanted), "{}", text(&invite.body));
    let reliable = "Require: 100rel, precondition\r\nRSeq: 9\r\n";
    bench.fork_answers("b-tag", 183, reliable, &with_status(5000, &confirm));
    let progress = bench.response_to_a();
    assert_eq!(
        progress.headers.get_all("Require").collect::<Vec<_>>(),
        ["100rel", "precondition"]
    );
    assert!(text(&progress.body).contains(&confirm));
    let tag = progress.headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 2, "PRACK", "RAck: 9 1 INVITE\r\n", "");
    bench.b_agrees("PRACK", 200, "");
    let more = "Require: precondition\r\n";
    bench.a_requests_in(&tag, 3, "UPDATE", more, &with_status(4000, &reserved));
    let update = bench.request_to_b("UPDATE");
    assert_eq!(update.headers.get("Require"), Some("precondition"));
    assert!(text(&update.body).contains(&reserved));
    bench.b_agrees("UPDATE", 200, &with_status(5000, &reserved));
    assert!(text(&bench.response_to_a().body).contains(&reserved));
    bench.fork_answers("b-tag", 180, "", "");
    bench.fork_answers("b-tag", 200, "", "");
    bench.a_requests_in(&tag, 1, "ACK", "", "");
    bench.a_requests_in(&tag, 90, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn who_knows_no_preconditions_says_so_itself() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "Require: precondition\r\n");
    bench.fork_answers("b-tag", 420, "Unsupported: precondition\r\n", "");
    let refused = bench.response_to_a();
    assert_eq!(
        (refused.status, refused.headers.get("Unsupported")),
        (420, Some("precondition"))
    );
    let mut bench = Bench::strict();
    bench.invite(SDP, "Supported: precondition\r\n");
    bench.fork_answers("b-tag", 580, "", "");
    assert_eq!(bench.response_to_a().status, 580);
}

/// A hangs up with this.
fn says_last(described: &str, body: &[u8]) -> onrecord::sip::Request {
    let mut bench = Bench::strict().connected();
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    let bye = format!(
        "BYE sip:127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKlast;rport\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a-tag\r\nTo: <sip:bob@127.0.0.1:5070>;tag={tag}\r\nCall-ID: call-1\r\nCSeq: 9 BYE\r\n{described}Content-Length: {}\r\n\r\n",
        body.len()
    );
    bench.from(A, [bye.as_bytes(), body].concat().into());
    bench.request_to_b("BYE")
}

#[test]
fn the_last_words_of_a_party_cross_with_their_body() {
    let isup = [0x0c, 0x02, 0x00, 0x02, 0x80, 0x90];
    let described =
        "Content-Type: application/isup;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n";
    let bye = says_last(described, &isup);
    assert_eq!(bye.body, isup[..]);
    assert_eq!(
        bye.headers.get("Content-Type"),
        Some("application/isup;version=itu-t92+")
    );
    assert_eq!(bye.headers.get("Content-Disposition"), Some("signal;handling=optional"));
}

#[test]
fn without_a_body_nothing_describes_one() {
    let described = "Content-Type: application/sdp\r\nContent-Disposition: session\r\nReason: Q.850;cause=16\r\n";
    for body in [SDP, ""] {
        let bye = says_last(described, body.as_bytes());
        assert!(bye.body.is_empty());
        assert_eq!(bye.headers.get("Reason"), Some("Q.850;cause=16"));
        assert!(
            !bye.headers
                .iter()
                .any(|(name, _)| name.starts_with("Content-") && name != "Content-Length")
        );
    }
    // An unreliable answer stays behind, for it is none (RFC 3262 §5).
    let mut bench = Bench::strict();
    bench.invite("", "");
    let progress = super::bench::answer(&bench.request_to_b("INVITE"), 183, "b-tag", B, SDP);
    bench.from(B, with_lines(&progress, "Content-Disposition: session\r\n"));
    assert!(bench.response_to_a().body.is_empty());
    assert!(!bench.response_to_a().headers.contains("Content-Disposition"));
}

#[test]
fn a_number_that_would_run_out_begins_anew_on_the_other_leg() {
    let mut bench = Bench::strict();
    let high = 2_147_483_646;
    bench.from(A, super::bench::invite(high, "a1", "", SDP, "Supported: 100rel\r\n"));
    let number = bench.request_to_b("INVITE").headers.cseq().number;
    assert!(number < 1 << 30, "{number}");
    bench.fork_answers("b-tag", 200, "", SDP);
    bench.a_requests(high, "ACK", "ack1", "");
    assert_eq!(bench.request_to_b("ACK").headers.cseq().number, number);
    bench.a_requests(high + 1, "BYE", "bye", "");
    assert!(bench.request_to_b("BYE").headers.cseq().number > number);
}
