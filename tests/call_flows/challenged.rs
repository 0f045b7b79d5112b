//! 401 and 407: answered on our own behalf where the trunk has credentials, passed from end to end elsewhere.

use std::collections::BTreeSet;

use bytes::Bytes;
use onrecord::engine::Input;
use onrecord::model::{Direction, Mark, RecordingCommand};
use onrecord::sip::digest::{Credentials, Password, Use, strongest};
use onrecord::sip::{Flow, Message, Request, Response, Transport};
use onrecord::trunk::Conduct;

use super::bench::{A, B, Bench, GRANTS, PROXY, SDP, STRICT, answer, invite, with_lines};
use super::party::{ALICE, BOB, PhoneDialog};

const REALM: &str = "carrier.example";

fn credentials() -> Credentials {
    Credentials {
        realm: REALM.to_owned(),
        user: "1001".to_owned(),
        password: Password::new("open sesame".to_owned()),
    }
}

fn bench() -> Bench {
    Bench::strict_with_carrier(Conduct {
        credentials: Some(credentials()),
        ..Conduct::default()
    })
}

fn digest(realm: &str, nonce: &str, more: &str) -> String {
    format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\"{more}")
}

/// A challenge to `request`; 401 and 407 name their headers.
fn challenge(request: &Request, status: u16, values: &[String]) -> Bytes {
    let mut response = Response::to(request, status, None, Some("b-tag"));
    let name = if status == 401 {
        "WWW-Authenticate"
    } else {
        "Proxy-Authenticate"
    };
    for value in values {
        response.headers.push(name, value.as_str());
    }
    response.encode()
}

impl Bench {
    /// B challenges the newest request of that method.
    fn b_challenges(&mut self, method: &str, status: u16, values: &[String]) {
        let bytes = challenge(&self.request_to_b(method), status, values);
        self.from(B, bytes);
    }

    fn sent(&self, method: &str) -> Vec<Request> {
        let request = |message: &Message| match message {
            Message::Request(request) if request.method.as_str() == method => Some(request.clone()),
            _ => None,
        };
        self.to_b.iter().filter_map(request).collect()
    }
}

/// Whether the value proves, to who gave this challenge, that we know the password.
fn proves(value: &str, challenge: &str, request: &Request) -> bool {
    let challenge = strongest([challenge].into_iter(), REALM).unwrap();
    let of = |name: &str| {
        let start = value.find(&format!("{name}=")).unwrap() + name.len() + 1;
        value[start..].split(',').next().unwrap().trim_matches('"').to_owned()
    };
    let used = Use {
        method: &request.method,
        uri: request.uri.as_str(),
        body: &request.body,
        cnonce: &of("cnonce"),
        count: u32::from_str_radix(&of("nc"), 16).unwrap(),
    };
    credentials().answer(&challenge, &used) == value
}

#[test]
fn a_challenged_invite_is_sent_again_with_our_credentials_and_a_hears_nothing_of_it() {
    let mut bench = bench();
    bench.invite(SDP, "");
    let asked = digest(REALM, "n1", ", algorithm=SHA-256");
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n0", ""), asked.clone()]);
    let invites = bench.sent("INVITE");
    let [first, second] = &invites[..] else {
        panic!("{invites:?}")
    };
    assert_eq!(second.headers.cseq().number, first.headers.cseq().number + 1);
    assert_eq!(second.headers.call_id(), first.headers.call_id());
    assert_eq!(second.headers.from().tag(), first.headers.from().tag());
    assert_eq!(second.body, first.body);
    assert_ne!(second.headers.via(), first.headers.via());
    assert_eq!(first.headers.get("Proxy-Authorization"), None);
    let proof = second.headers.get("Proxy-Authorization").unwrap();
    assert!(proves(proof, &asked, second), "{proof}");
    bench.b_answers("INVITE", 180, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let ack = bench.request_to_b("ACK");
    assert_eq!(ack.headers.cseq().number, 2);
    assert_eq!(ack.headers.get("Proxy-Authorization"), Some(proof), "RFC 3261 §22.1");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(
        bench.story,
        [
            "A → INVITE",
            "decided",
            "100 → A",
            "open",
            "ready",
            "INVITE → B",
            "B → 407",
            "ACK → B",
            "INVITE → B",
            "B → 180",
            "180 → A",
            "B → 200",
            "200 → A",
            "A → ACK",
            "ACK → B",
            "A → BYE",
            "200 → A",
            "BYE → B",
            "B → 200",
            "recorded: BYE from A",
            "sealed 10/10",
        ]
    );
    bench.assert_nothing_left();
}

#[test]
fn later_requests_bring_credentials_unasked_with_the_next_count() {
    let mut bench = bench();
    bench.invite(SDP, "");
    let asked = digest(REALM, "n1", "");
    bench.b_challenges("INVITE", 401, std::slice::from_ref(&asked));
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "INVITE", "again", SDP);
    let again = bench.request_to_b("INVITE");
    let proof = again.headers.get("Authorization").unwrap();
    assert!(
        proof.contains("nc=00000002") && proves(proof, &asked, &again),
        "{proof}"
    );
    assert_eq!(again.headers.cseq().number, 3);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(2, "ACK", "ack2", "");
    assert_eq!(bench.request_to_b("ACK").headers.get("Authorization"), Some(proof));
    bench.a_requests(3, "BYE", "bye1", "");
    let bye = bench.request_to_b("BYE");
    assert!(bye.headers.get("Authorization").unwrap().contains("nc=00000003"));
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn every_request_of_a_call_is_answered_for_when_it_is_challenged() {
    for method in ["INFO", "MESSAGE", "UPDATE", "INVITE", "BYE"] {
        let mut bench = bench().connected();
        let body = if matches!(method, "INVITE" | "UPDATE") { SDP } else { "" };
        bench.a_requests(2, method, "m1", body);
        let first = bench.request_to_b(method);
        let asked = digest(REALM, "n1", "");
        bench.b_challenges(method, 401, std::slice::from_ref(&asked));
        let second = bench.request_to_b(method);
        assert_eq!(
            second.headers.cseq().number,
            first.headers.cseq().number + 1,
            "{method}"
        );
        assert!(
            proves(second.headers.get("Authorization").unwrap(), &asked, &second),
            "{method}"
        );
        bench.b_answers(method, 200, body);
        if method != "BYE" {
            assert_eq!(bench.response_to_a().status, 200, "{method}");
            if method == "INVITE" {
                bench.a_requests(2, "ACK", "ack2", "");
                assert_eq!(
                    bench.request_to_b("ACK").headers.cseq().number,
                    second.headers.cseq().number
                );
            }
            bench.a_requests(3, "BYE", "bye1", "");
            let bye = bench.request_to_b("BYE");
            assert_eq!(bye.headers.cseq().number, second.headers.cseq().number + 1, "{method}");
            bench.b_answers("BYE", 200, "");
        }
        bench.assert_nothing_left();
    }
}

#[test]
fn who_refers_hears_of_it_under_its_own_number_though_its_refer_was_challenged() {
    let mut bench = bench();
    let [mut alice, mut bob] = bench.talk(ALICE, BOB, "call-1", "");
    let refer = alice.request("REFER", "Refer-To: <sip:carol@example.com>\r\n", "");
    bench.from(A, refer);
    let first = bench.request_to_b("REFER").headers.cseq().number;
    bench.b_challenges("REFER", 407, &[digest(REALM, "n1", "")]);
    let second = bench.request_to_b("REFER").headers.cseq().number;
    assert_eq!(second, first + 1);
    bench.answers(BOB, "REFER", 202, "");
    let state = "Subscription-State: active;expires=60\r\nContent-Type: message/sipfrag\r\n";
    let more = format!("Event: refer;id={second}\r\n{state}");
    let notify = bob.request("NOTIFY", &more, "SIP/2.0 100 Trying\r\n");
    bench.from(B, notify);
    let told = bench.newest(A, "NOTIFY");
    assert_eq!(told.headers.get("Event"), Some("refer;id=2"), "Alice's second request");
}

#[test]
fn our_own_bye_is_proved_too() {
    let mut bench = bench().connected();
    bench.recorder_fails(onrecord::model::Fault::Io);
    bench.b_challenges("BYE", 407, &[digest(REALM, "n1", "")]);
    assert_eq!(bench.sent("BYE").len(), 2);
    bench.b_answers("BYE", 200, "");
    bench.a_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn without_credentials_a_challenge_and_its_answer_cross_from_end_to_end() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    let asked = digest(REALM, "n1", "");
    bench.b_challenges("INVITE", 407, std::slice::from_ref(&asked));
    let answer = bench.response_to_a();
    assert_eq!(
        (answer.status, answer.headers.get("Proxy-Authenticate")),
        (407, Some(asked.as_str()))
    );
    bench.a_requests(1, "ACK", "a1", "");
    let own = "Digest username=\"alice\", realm=\"carrier.example\", nonce=\"n1\", response=\"00\"";
    bench.from(A, invite(2, "a2", "", SDP, &format!("Proxy-Authorization: {own}\r\n")));
    assert_eq!(
        bench.request_to_b("INVITE").headers.get("Proxy-Authorization"),
        Some(own)
    );
    bench.b_answers("INVITE", 486, "");
    bench.a_requests(2, "ACK", "a2", "");
    bench.assert_nothing_left();
}

#[test]
fn another_realm_is_the_callers_to_answer_and_its_credentials_stay_beside_ours() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_challenges("INVITE", 407, &[digest("pbx.example", "n1", "")]);
    assert_eq!(bench.response_to_a().status, 407);
    assert_eq!(bench.sent("INVITE").len(), 1);
    bench.a_requests(1, "ACK", "a1", "");
    let theirs = "Digest username=\"alice\", realm=\"pbx.example\", nonce=\"n1\", response=\"00\"";
    bench.from(
        A,
        invite(2, "a2", "", SDP, &format!("Proxy-Authorization: {theirs}\r\n")),
    );
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n2", "")]);
    let renewed = bench.request_to_b("INVITE");
    let all: Vec<&str> = renewed.headers.get_all("Proxy-Authorization").collect();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0] == theirs && all[1].contains("username=\"1001\""), "{all:?}");
    bench.b_answers("INVITE", 486, "");
    bench.a_requests(2, "ACK", "a2", "");
    bench.assert_nothing_left();
}

#[test]
fn a_caller_with_credentials_of_its_own_for_the_realm_is_asked_itself() {
    let mut bench = bench();
    let own = "Digest username=\"alice\", realm=\"carrier.example\", nonce=\"n0\", response=\"00\"";
    bench.invite(SDP, &format!("Authorization: {own}\r\n"));
    bench.b_challenges("INVITE", 401, &[digest(REALM, "n1", "")]);
    assert_eq!(bench.response_to_a().status, 401);
    assert_eq!(bench.sent("INVITE").len(), 1);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_peer_that_challenges_for_ever_is_answered_twice_at_most() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n1", "")]);
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n2", ", stale=true")]);
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n3", ", stale=true")]);
    assert_eq!(bench.sent("INVITE").len(), 3);
    assert_eq!(bench.response_to_a().status, 407);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_wrong_password_is_told_once_and_a_new_algorithm_is_worth_another_try() {
    let mut bench = self::bench();
    bench.invite(SDP, "");
    bench.b_challenges("INVITE", 401, &[digest(REALM, "n1", "")]);
    bench.b_challenges("INVITE", 401, &[digest(REALM, "n2", "")]);
    assert_eq!((bench.sent("INVITE").len(), bench.response_to_a().status), (2, 401));
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
    let mut bench = self::bench();
    bench.invite(SDP, "");
    bench.b_challenges("INVITE", 401, &[digest(REALM, "n1", "")]);
    bench.b_challenges("INVITE", 401, &[digest(REALM, "n2", ", algorithm=SHA-256")]);
    assert_eq!(bench.sent("INVITE").len(), 3);
    bench.b_answers("INVITE", 486, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_cancel_after_the_challenge_waits_for_the_provisional_of_the_new_invite() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 100, "");
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n1", "")]);
    bench.from(A, super::ordinary::cancel());
    assert_eq!(bench.sent("CANCEL").len(), 0);
    bench.b_answers("INVITE", 180, "");
    let (cancel, invite) = (bench.request_to_b("CANCEL"), bench.request_to_b("INVITE"));
    assert_eq!(cancel.headers.cseq().number, invite.headers.cseq().number);
    assert_eq!(cancel.headers.via(), invite.headers.via());
    bench.b_answers("CANCEL", 200, "");
    bench.b_answers("INVITE", 487, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_challenge_that_crosses_a_cancel_is_not_answered() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.from(A, super::ordinary::cancel());
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n1", "")]);
    assert_eq!(bench.sent("INVITE").len(), 1);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_recording_keeps_the_credentials_without_what_proves_them() {
    let mut bench = bench();
    bench.invite(SDP, "");
    bench.b_challenges("INVITE", 407, &[digest(REALM, "n1", "")]);
    let sent = bench.request_to_b("INVITE").encode();
    let kept = bench.recording.iter().rev().find_map(|command| match command {
        RecordingCommand::Signal { path, bytes, .. } if path.direction == Direction::Sent => Some(bytes.clone()),
        _ => None,
    });
    let kept = kept.unwrap();
    assert_eq!(kept.len(), sent.len());
    let text = String::from_utf8_lossy(&kept);
    assert!(text.contains(&format!("response=\"{}\"", "x".repeat(32))), "{text}");
    assert!(text.contains("username=\"1001\""), "{text}");
    assert!(Message::parse(&kept).is_ok());
}

#[test]
fn a_prack_and_an_early_update_are_answered_for_too() {
    let mut bench = bench();
    bench.invite(SDP, "Supported: 100rel\r\n");
    let asked = digest(REALM, "n1", "");
    bench.b_challenges("INVITE", 407, std::slice::from_ref(&asked));
    bench.fork_answers("b-tag", 183, "Require: 100rel\r\nRSeq: 9\r\n", SDP);
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 2, "PRACK", "RAck: 9 1 INVITE\r\n", "");
    let prack = bench.request_to_b("PRACK");
    assert_eq!(
        prack.headers.get("RAck"),
        Some("9 2 INVITE"),
        "the number of B's own INVITE"
    );
    assert!(
        prack
            .headers
            .get("Proxy-Authorization")
            .unwrap()
            .contains("nc=00000002")
    );
    let renewed = digest(REALM, "n2", ", stale=true");
    bench.b_challenges("PRACK", 407, std::slice::from_ref(&renewed));
    let again = bench.request_to_b("PRACK");
    assert_eq!(again.headers.get("RAck"), Some("9 2 INVITE"));
    assert_eq!(again.headers.cseq().number, prack.headers.cseq().number + 1);
    assert!(proves(
        again.headers.get("Proxy-Authorization").unwrap(),
        &renewed,
        &again
    ));
    bench.b_agrees("PRACK", 200, "");
    bench.a_requests_in(&tag, 3, "UPDATE", "", SDP);
    bench.b_challenges("UPDATE", 407, &[digest(REALM, "n3", ", stale=true")]);
    bench.b_agrees("UPDATE", 200, SDP);
    assert_eq!(bench.response_to_a().headers.cseq().method.as_str(), "UPDATE");
    bench.fork_answers("b-tag", 200, "", "");
    bench.a_requests_in(&tag, 1, "ACK", "", "");
    assert_eq!(bench.request_to_b("ACK").headers.cseq().number, 2);
    bench.a_requests_in(&tag, 90, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_trunk_that_fails_over_is_asked_and_proved_anew_at_its_next_address() {
    let conduct = Conduct {
        credentials: Some(credentials()),
        ..Conduct::default()
    };
    let mut bench = Bench::with_spare(&[], conduct);
    bench.invite(SDP, "");
    bench.b_challenges("INVITE", 401, &[digest(REALM, "n1", "")]);
    bench.b_answers("INVITE", 503, "");
    let first = bench.request_to_c("INVITE");
    assert_eq!(
        first.headers.get("Authorization"),
        None,
        "another address, another nonce"
    );
    let asked = digest(REALM, "c1", "");
    let bytes = challenge(&first, 401, std::slice::from_ref(&asked));
    bench.from(super::bench::C, bytes);
    let second = bench.request_to_c("INVITE");
    assert!(proves(second.headers.get("Authorization").unwrap(), &asked, &second));
    bench.c_answers("INVITE", 486, "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_challenged_bye_is_not_said_again_to_who_has_hung_up_meanwhile() {
    let mut bench = bench().connected();
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_requests(1, "BYE", "theirs", "");
    bench.b_challenges("BYE", 401, &[digest(REALM, "n1", "")]);
    assert_eq!(bench.sent("BYE").len(), 1);
    bench.assert_nothing_left();
}

#[test]
fn what_is_passed_on_outside_calls_is_answered_for_too() {
    let mut bench = bench();
    for method in ["MESSAGE", "PUBLISH"] {
        bench.requests(method, ALICE, "sip:bob@carrier.example", method, "", "hello");
        let asked = digest(REALM, "n1", ", algorithm=SHA-256");
        bench.b_challenges(method, 401, std::slice::from_ref(&asked));
        let sent = bench.sent(method);
        let [first, second] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(second.headers.cseq().number, first.headers.cseq().number + 1);
        assert!(proves(second.headers.get("Authorization").unwrap(), &asked, second));
        // A nonce that grew old is no wrong password.
        bench.b_challenges(method, 401, &[digest(REALM, "n2", ", algorithm=SHA-256, stale=true")]);
        assert_eq!(bench.sent(method).len(), 3);
        bench.b_challenges(method, 401, &[digest(REALM, "n3", ", algorithm=SHA-256, stale=true")]);
        assert_eq!(
            (bench.sent(method).len(), bench.response_to_a().status),
            (3, 401),
            "twice at most"
        );
        bench.to_b.clear();
    }
    bench.assert_nothing_left();
}

#[test]
fn a_subscription_is_proved_from_its_first_request_to_its_last() {
    let mut bench = bench();
    let more = "Event: message-summary\r\nExpires: 600\r\n";
    bench.requests("SUBSCRIBE", ALICE, "sip:mail@carrier.example", "sub-1", more, "");
    bench.b_challenges("SUBSCRIBE", 407, &[digest(REALM, "n1", "")]);
    bench.answers_with(BOB, "SUBSCRIBE", 200, "Expires: 600\r\n");
    let mut alice = PhoneDialog::of_caller(ALICE, &bench.response_to_a());
    assert_eq!(bench.response_to_a().headers.cseq().number, 1, "A hears nothing of it");
    let refresh = alice.request("SUBSCRIBE", "Event: message-summary\r\nExpires: 0\r\n", "");
    bench.from(A, refresh);
    bench.b_challenges("SUBSCRIBE", 407, &[digest(REALM, "n2", "")]);
    let numbers: Vec<u32> = bench
        .sent("SUBSCRIBE")
        .iter()
        .map(|sent| sent.headers.cseq().number)
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    bench.answers_with(BOB, "SUBSCRIBE", 200, "Expires: 0\r\n");
    assert_eq!(bench.response_to_a().status, 200);
    bench.assert_nothing_left();
}

#[test]
fn who_registers_through_us_proves_itself() {
    let mut bench = bench();
    bench.requests("REGISTER", ALICE, "sip:carrier.example", "reg-1", "Expires: 60\r\n", "");
    bench.b_challenges("REGISTER", 401, &[digest(REALM, "n1", "")]);
    assert_eq!((bench.sent("REGISTER").len(), bench.response_to_a().status), (1, 401));
    bench.assert_nothing_left();
}

#[test]
fn a_bye_that_is_challenged_and_cannot_be_proved_is_told_of_in_the_recording() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "BYE", "bye", "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.b_challenges("BYE", 407, &[digest(REALM, "n1", "")]);
    assert_eq!(bench.sent("BYE").len(), 1, "nobody is there to prove it");
    let told = bench.recording.iter().any(|command| {
        let RecordingCommand::Mark {
            mark: Mark::Note(note), ..
        } = command
        else {
            return false;
        };
        note.contains("407 by trunk carrier")
    });
    assert!(told, "{:?}", bench.recording);
    bench.assert_nothing_left();
}

pub const PROOF: &str = "Proxy-Authorization: Digest username=\"alice\"\r\n";

/// A call of who has proved itself to the far end. No credentials are ours.
pub fn proved() -> Bench {
    let mut bench = Bench::strict();
    bench.invite(SDP, PROOF);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.story.clear();
    bench
}

#[test]
fn who_proves_itself_hears_that_its_bye_is_challenged_and_says_it_again() {
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.b_challenges("BYE", 407, &[digest(REALM, "n2", "")]);
    let challenged = bench.response_to_a();
    assert_eq!(challenged.status, 407);
    assert!(challenged.headers.get("Proxy-Authenticate").unwrap().contains("n2"));
    let tag = challenged.headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 3, "BYE", PROOF, "");
    assert!(bench.request_to_b("BYE").headers.contains("Proxy-Authorization"));
    bench.b_answers("BYE", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
    let ladder = [
        "A → BYE",
        "BYE → B",
        "B → 407",
        "407 → A",
        "A → BYE",
        "BYE → B",
        "B → 200",
        "200 → A",
    ];
    assert_eq!(bench.story[..8], ladder);
    assert!(
        bench.story.contains(&"recorded: BYE from A".to_owned()),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
}

#[test]
fn who_does_not_say_its_challenged_bye_again_is_gone_all_the_same() {
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.b_challenges("BYE", 401, &[digest(REALM, "n2", "")]);
    assert_eq!(bench.response_to_a().status, 401);
    bench.wait(std::time::Duration::from_secs(33));
    let numbers: BTreeSet<u32> = bench.sent("BYE").iter().map(|bye| bye.headers.cseq().number).collect();
    assert_eq!(numbers.len(), 2);
    bench.b_answers("BYE", 200, "");
    assert!(
        bench.story.contains(&"recorded: BYE from A".to_owned()),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
    // Nor does a far end that says nothing keep the call up.
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.wait(std::time::Duration::from_secs(33));
    assert_eq!(bench.response_to_a().status, 200);
    bench.assert_nothing_left();
}

#[test]
fn a_held_bye_waits_for_nobody_when_the_call_ends_otherwise() {
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    let byes = bench.sent("BYE").len();
    bench.b_requests(7, "BYE", "theirs", "");
    assert_eq!((bench.response_to_a().status, bench.response_to_b().status), (200, 200));
    assert_eq!(bench.sent("BYE").len(), byes, "who said BYE gets none");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    let byes = bench.sent("BYE").len();
    bench.recorder_fails(onrecord::model::Fault::Io);
    assert_eq!(bench.response_to_a().status, 200);
    assert!(bench.story.contains(&"gated".to_owned()), "{:?}", bench.story);
    assert_eq!(bench.sent("BYE").len(), byes, "who said BYE gets none, and B has ours");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

/// The same, by a connection that we opened. `more`: header lines of B's 2xx.
pub fn proved_by_stream(more: &str) -> Bench {
    let mut bench = Bench::by_stream(&[("desk.toml", STRICT), ("grants.toml", GRANTS)]);
    bench.invite(SDP, PROOF);
    let invite = bench.request_to_b("INVITE");
    by_stream(&mut bench, with_lines(&answer(&invite, 200, "b-tag", B, SDP), more));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.to_b.clear();
    bench
}

pub fn stream() -> Flow {
    Flow {
        transport: Transport::Tcp,
        local: PROXY.parse().unwrap(),
        remote: B.parse().unwrap(),
    }
}

fn by_stream(bench: &mut Bench, bytes: Bytes) {
    bench.input(Input::Sip { flow: stream(), bytes });
}

fn tells_untold(bench: &Bench) -> bool {
    let is_told = |command: &RecordingCommand| {
        matches!(command, RecordingCommand::Mark { mark: Mark::Note(note), .. }
            if note.contains("not answered by trunk carrier"))
    };
    bench.recording.iter().any(is_told)
}

#[test]
fn a_held_bye_whose_connection_breaks_is_said_once_more_and_who_said_it_is_let_go() {
    for is_ended_otherwise in [false, true] {
        let mut bench = proved_by_stream("");
        bench.a_requests(2, "BYE", "bye2", "");
        let first = bench.request_to_b("BYE");
        if is_ended_otherwise {
            bench.recorder_fails(onrecord::model::Fault::Io);
        }
        bench.to_b.clear();
        bench.input(Input::Unreachable { flow: stream() });
        assert_eq!(bench.response_to_a().status, 200);
        let second = bench.request_to_b("BYE");
        assert!(second.headers.cseq().number > first.headers.cseq().number);
        let ok = answer(&second, 200, "b-tag", B, "");
        by_stream(&mut bench, ok);
        assert_eq!(bench.sent("BYE").len(), 1);
        assert!(!tells_untold(&bench));
        bench.assert_nothing_left();
    }
}

#[test]
fn a_far_end_that_cannot_be_told_of_a_held_bye_is_told_of_in_the_recording() {
    let mut bench = proved_by_stream("");
    bench.a_requests(2, "BYE", "bye2", "");
    for _ in 0..2 {
        assert!(!tells_untold(&bench));
        bench.input(Input::Unreachable { flow: stream() });
    }
    assert_eq!(bench.sent("BYE").len(), 2);
    assert!(tells_untold(&bench), "{:?}", bench.recording);
    assert!(
        bench.story.contains(&"recorded: BYE from A".to_owned()),
        "{:?}",
        bench.story
    );
    bench.assert_nothing_left();
    // Datagrams have no other way.
    let mut bench = proved();
    bench.a_requests(2, "BYE", "bye2", "");
    bench.wait(std::time::Duration::from_secs(33));
    assert!(tells_untold(&bench), "{:?}", bench.recording);
    bench.assert_nothing_left();
}
