//! 401 and 407: answered on our own behalf where the trunk has credentials, passed from end to end elsewhere.

mod everywhere;
pub mod held_byes;

use bytes::Bytes;
use onrecord::model::{Direction, RecordingCommand};
use onrecord::sip::digest::{Credentials, Password, Use, strongest};
use onrecord::sip::{Message, Request, Response};
use onrecord::trunk::Conduct;

use super::bench::{A, B, Bench, SDP, invite};
use super::party::{ALICE, BOB};

pub const REALM: &str = "carrier.example";

fn credentials() -> Credentials {
    Credentials {
        realm: REALM.to_owned(),
        user: "1001".to_owned(),
        password: Password::new("open sesame".to_owned()),
    }
}

/// A carrier that asks who we are, and our credentials there.
pub fn bench() -> Bench {
    Bench::strict_with_carrier(Conduct {
        credentials: Some(credentials()),
        ..Conduct::default()
    })
}

pub fn digest(realm: &str, nonce: &str, more: &str) -> String {
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
    pub fn b_challenges(&mut self, method: &str, status: u16, values: &[String]) {
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
