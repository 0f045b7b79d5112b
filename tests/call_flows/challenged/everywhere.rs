//! Whatever is challenged is answered for: PRACK, UPDATE, the next address, requests outside calls, subscriptions, our BYE.

use onrecord::model::{Mark, RecordingCommand};
use onrecord::trunk::Conduct;

use super::super::bench::{A, Bench, C, SDP};
use super::super::party::{ALICE, BOB, PhoneDialog};
use super::{REALM, bench, challenge, credentials, digest, proves};

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
    bench.from(C, bytes);
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
