//! Outside calls: REGISTER with Path, subscriptions, PUBLISH, NOTIFY, MESSAGE and OPTIONS beyond us. No call feels them.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::sip::Message;

use super::bench::{A, B, Bench, PROXY};
use super::party::{ALICE, BOB, Party, PhoneDialog};

const MWI: &str = "Event: message-summary\r\nExpires: 600\r\nAccept: application/simple-message-summary\r\n";
const ACTIVE: &str = "Event: message-summary\r\nSubscription-State: active;expires=599\r\n";
const ENDED: &str = "Event: message-summary\r\nSubscription-State: terminated;reason=timeout\r\n";
/// The voice mail server, seen by the carrier.
const MAIL: Party = Party { user: "mail", at: B };

/// Alice subscribes to her mailbox; gives her dialog and the server's.
fn subscribed(bench: &mut Bench) -> [PhoneDialog; 2] {
    bench.requests("SUBSCRIBE", ALICE, "sip:mail@carrier.example", "sub-1", MWI, "");
    let subscribe = bench.newest(B, "SUBSCRIBE");
    bench.answers_with(MAIL, "SUBSCRIBE", 200, "Expires: 600\r\n");
    let alice = PhoneDialog::of_caller(ALICE, &bench.response_to_a());
    [alice, PhoneDialog::of_callee(MAIL, &subscribe)]
}

#[test]
fn a_subscription_is_a_dialog_on_either_side_and_its_notifies_come_through() {
    let mut bench = Bench::strict();
    let [mut alice, mut mail] = subscribed(&mut bench);
    let sent = bench.newest(B, "SUBSCRIBE");
    assert_ne!(sent.headers.call_id(), "sub-1");
    assert_eq!(sent.uri.to_string(), "sip:mail@carrier.example");
    assert_eq!(sent.headers.get("Contact"), Some(format!("<sip:{PROXY}>").as_str()));
    for (name, value) in [
        ("Event", "message-summary"),
        ("Expires", "600"),
        ("Accept", "application/simple-message-summary"),
    ] {
        assert_eq!(sent.headers.get(name), Some(value));
    }
    assert_eq!(bench.response_to_a().headers.get("Expires"), Some("600"));
    let notify = mail.request("NOTIFY", ACTIVE, "Messages-Waiting: yes\r\n");
    bench.from(B, notify);
    let notify = bench.newest(A, "NOTIFY");
    assert_eq!(notify.headers.call_id(), "sub-1");
    assert_eq!(notify.uri.to_string(), format!("sip:alice@{A}"));
    assert_eq!(notify.headers.to().tag(), Some(alice.local_tag.as_str()));
    assert_eq!(&notify.body[..], b"Messages-Waiting: yes\r\n");
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_eq!(bench.response_to_b().status, 200);
    let refresh = alice.request("SUBSCRIBE", MWI, "");
    bench.from(A, refresh);
    bench.answers_with(MAIL, "SUBSCRIBE", 200, "Expires: 600\r\n");
    assert_eq!(bench.response_to_a().status, 200);
    let refresh = alice.request("SUBSCRIBE", "Event: message-summary\r\nExpires: 0\r\n", "");
    bench.from(A, refresh);
    bench.answers_with(MAIL, "SUBSCRIBE", 200, "Expires: 0\r\n");
    let notify = mail.request("NOTIFY", ENDED, "");
    bench.from(B, notify);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.assert_nothing_left();
    let late = mail.request("NOTIFY", ENDED, "");
    bench.from(B, late);
    assert_eq!(bench.response_to_b().status, 481);
}

#[test]
fn a_notify_may_overtake_the_answer_to_its_subscribe_even_the_last_one() {
    let mut bench = Bench::strict();
    bench.requests("SUBSCRIBE", ALICE, "sip:mail@carrier.example", "sub-1", MWI, "");
    let mut mail = PhoneDialog::of_callee(MAIL, &bench.newest(B, "SUBSCRIBE"));
    let notify = mail.request("NOTIFY", ENDED, "");
    bench.from(B, notify);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let tag = bench.newest(A, "NOTIFY").headers.from().tag().unwrap().to_owned();
    bench.answers_with(MAIL, "SUBSCRIBE", 200, "Expires: 0\r\n");
    assert_eq!(bench.response_to_a().headers.to().tag(), Some(tag.as_str()));
    assert!(bench.response_to_a().headers.contains("Contact"));
    bench.assert_nothing_left();
}

#[test]
fn a_subscription_ends_by_itself_when_nobody_refreshes_it() {
    let mut bench = Bench::strict();
    let [_, mut mail] = subscribed(&mut bench);
    bench.wait(Duration::from_secs(631));
    let notify = mail.request("NOTIFY", ACTIVE, "");
    bench.from(B, notify);
    bench.answers(ALICE, "NOTIFY", 481, "");
    assert_eq!(
        bench.response_to_b().status,
        481,
        "the subscriber does not know it any more"
    );
    bench.assert_nothing_left();
}

#[test]
fn a_subscription_that_is_refused_or_challenged_leaves_nothing() {
    let mut bench = Bench::strict();
    bench.requests("SUBSCRIBE", ALICE, "sip:mail@carrier.example", "sub-1", MWI, "");
    bench.answers_with(
        MAIL,
        "SUBSCRIBE",
        401,
        "WWW-Authenticate: Digest realm=\"mail\", nonce=\"1\"\r\n",
    );
    let challenge = bench.response_to_a();
    assert_eq!(challenge.status, 401);
    assert_eq!(
        challenge.headers.get("WWW-Authenticate"),
        Some("Digest realm=\"mail\", nonce=\"1\"")
    );
    bench.requests("SUBSCRIBE", ALICE, "sip:mail@carrier.example", "sub-2", MWI, "");
    bench.answers_with(MAIL, "SUBSCRIBE", 489, "");
    assert_eq!(bench.response_to_a().status, 489);
    bench.assert_nothing_left();
}

#[test]
fn an_unanswered_subscribe_is_answered_and_forgotten() {
    let mut bench = Bench::strict();
    bench.requests("SUBSCRIBE", ALICE, "sip:mail@carrier.example", "sub-1", MWI, "");
    bench.wait(Duration::from_secs(33));
    assert_eq!(bench.response_to_a().status, 408);
    bench.assert_nothing_left();
}

#[test]
fn a_flood_of_subscriptions_is_bounded_and_calls_go_on() {
    let mut bench = Bench::unrecorded();
    for number in 0..300 {
        bench.requests(
            "SUBSCRIBE",
            ALICE,
            "sip:mail@carrier.example",
            &format!("sub-{number}"),
            MWI,
            "",
        );
    }
    let refused = |message: &&Message| matches!(message, Message::Response(response) if response.status == 503);
    assert_eq!(bench.to_a.iter().filter(refused).count(), 200, "as many as calls");
    let [alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn a_registration_reaches_the_registrar_with_our_path_and_its_answer_comes_back_whole() {
    let mut bench = Bench::strict();
    let more = "Expires: 3600\r\nSupported: path, outbound\r\nAuthorization: Digest username=\"alice\"\r\n";
    bench.requests("REGISTER", ALICE, "sip:carrier.example", "reg-1", more, "");
    let register = bench.newest(B, "REGISTER");
    assert_eq!(register.uri.to_string(), "sip:carrier.example");
    for (name, value) in [
        ("Contact", format!("<sip:alice@{A}>")),
        ("Supported", "path".to_owned()),
        ("Expires", "3600".to_owned()),
        ("Authorization", "Digest username=\"alice\"".to_owned()),
    ] {
        assert_eq!(register.headers.get(name), Some(value.as_str()));
    }
    let path = register.headers.get("Path").unwrap();
    assert!(
        path.starts_with("<sip:") && path.ends_with(&format!("@{PROXY};lr>")),
        "{path}"
    );
    let told = "Path: <sip:us;lr>\r\nService-Route: <sip:core.carrier.example;lr>\r\nP-Associated-URI: <tel:+1>\r\n";
    bench.answers_with(MAIL, "REGISTER", 200, told);
    let answer = bench.response_to_a();
    for (name, value) in [
        ("Contact", "<sip:mail@127.0.0.1:5090>"),
        ("Service-Route", "<sip:core.carrier.example;lr>"),
        ("P-Associated-URI", "<tel:+1>"),
    ] {
        assert_eq!(answer.headers.get(name), Some(value));
    }
    assert!(answer.headers.to().tag().is_some());
    bench.assert_nothing_left();
}

#[test]
fn a_phone_that_knows_nothing_of_path_is_registered_by_ours_and_is_not_told_of_it() {
    let mut bench = Bench::strict();
    bench.requests("REGISTER", ALICE, "sip:carrier.example", "reg-1", "", "");
    let register = bench.newest(B, "REGISTER");
    let path = register.headers.get("Path").expect("a way back by us").to_owned();
    assert_eq!(register.headers.get("Supported"), Some("path"));
    bench.answers_with(
        MAIL,
        "REGISTER",
        200,
        &format!("Contact: <sip:alice@{A}>;expires=600\r\nPath: {path}\r\n"),
    );
    let answer = bench.response_to_a();
    assert!(answer.headers.contains("Contact") && !answer.headers.contains("Path"));
    bench.requests("REGISTER", ALICE, "sip:carrier.example", "reg-2", "", "");
    bench.answers_with(MAIL, "REGISTER", 423, "Min-Expires: 600\r\n");
    assert_eq!(bench.response_to_a().headers.get("Min-Expires"), Some("600"));
    bench.assert_nothing_left();
}

#[test]
fn publish_and_an_unasked_notify_are_passed_on_and_answered() {
    let mut bench = Bench::strict();
    let more = "Event: presence\r\nExpires: 60\r\nSIP-If-Match: e1\r\nContent-Type: application/pidf+xml\r\n";
    bench.requests(
        "PUBLISH",
        ALICE,
        "sip:alice@carrier.example",
        "p-1",
        more,
        "<presence/>",
    );
    let publish = bench.newest(B, "PUBLISH");
    assert_eq!(
        (publish.headers.get("SIP-If-Match"), &publish.body[..]),
        (Some("e1"), &b"<presence/>"[..])
    );
    bench.answers_with(MAIL, "PUBLISH", 200, "SIP-ETag: e2\r\nExpires: 60\r\n");
    assert_eq!(bench.response_to_a().headers.get("SIP-ETag"), Some("e2"));
    bench.requests("NOTIFY", BOB, &format!("sip:alice@{PROXY}"), "n-1", ACTIVE, "");
    assert_eq!(bench.newest(A, "NOTIFY").headers.get("Event"), Some("message-summary"));
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn options_for_a_user_of_another_host_are_asked_there_and_ours_are_answered_here() {
    let mut bench = Bench::strict();
    bench.requests("OPTIONS", ALICE, "sip:bob@carrier.example", "o-1", "", "");
    assert_eq!(bench.newest(B, "OPTIONS").uri.to_string(), "sip:bob@carrier.example");
    bench.answers_with(BOB, "OPTIONS", 200, "Allow: INVITE, ACK\r\n");
    assert_eq!(bench.response_to_a().headers.get("Allow"), Some("INVITE, ACK"));
    let before = bench.to_b.len();
    bench.requests("OPTIONS", ALICE, &format!("sip:{PROXY}"), "o-2", "", "");
    assert_eq!((bench.response_to_a().status, bench.to_b.len()), (200, before));
    bench.assert_nothing_left();
}

#[test]
fn chatter_goes_on_while_the_node_drains_and_dies_with_nothing() {
    let mut bench = Bench::strict();
    bench.input(Input::Drain);
    bench.requests("REGISTER", ALICE, "sip:carrier.example", "reg-1", "", "");
    bench.answers(MAIL, "REGISTER", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.assert_nothing_left();
}

/// The tags of a dialog of this phone, named by what `local` and `remote` are for.
fn event(package: &str, dialog: &PhoneDialog, [own, other]: [&str; 2]) -> String {
    format!(
        "{package};call-id=\"{}\";{own}={};{other}={}",
        dialog.call_id, dialog.local_tag, dialog.remote_tag
    )
}

#[test]
fn an_event_of_the_dialog_that_it_is_asked_in_names_it_as_the_other_party_knows_it() {
    let mut bench = Bench::strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    // Told from either end: Alice's tag is the local one to her, the remote one to Bob.
    for (package, names) in [
        ("kpml", ["local-tag", "remote-tag"]),
        ("kpml", ["remote-tag", "local-tag"]),
        ("dialog", ["from-tag", "to-tag"]),
    ] {
        let asked = event(package, &alice, names);
        let subscribe = alice.request("SUBSCRIBE", &format!("Event: {asked}\r\nExpires: 600\r\n"), "");
        bench.from(A, subscribe);
        let onward = bench.newest(B, "SUBSCRIBE");
        let [alices, bobs] = names;
        let known = event(package, &bob, [bobs, alices]);
        let sorted = |value: &str| {
            let mut params: Vec<String> = value.split(';').map(str::to_owned).collect();
            params.sort();
            params
        };
        assert_eq!(sorted(onward.headers.get("Event").unwrap()), sorted(&known));
        bench.answers(BOB, "SUBSCRIBE", 202, "");
        assert_eq!(bench.response_to_a().status, 202);
    }
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn who_watches_a_dialog_from_outside_reaches_its_far_end_under_its_name_there() {
    let mut bench = Bench::strict();
    let [alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    for (package, names) in [
        ("kpml", ["local-tag", "remote-tag"]),
        ("dialog", ["from-tag", "to-tag"]),
    ] {
        let lines = format!("Event: {}\r\nExpires: 600\r\n", event(package, &alice, names));
        bench.requests("SUBSCRIBE", ALICE, &format!("sip:{PROXY}"), package, &lines, "");
        let onward = bench.newest(B, "SUBSCRIBE");
        assert_eq!(onward.uri.to_string(), format!("sip:bob@{B}"));
        let named = onward.headers.get("Event").unwrap();
        let [alices, bobs] = names;
        for part in [
            format!("call-id=\"{}\"", bob.call_id),
            format!("{bobs}={}", bob.local_tag),
            format!("{alices}={}", bob.remote_tag),
        ] {
            assert!(named.contains(&part), "{named}");
        }
        bench.answers(BOB, "SUBSCRIBE", 489, "");
        assert_eq!(bench.response_to_a().status, 489);
    }
    bench.requests(
        "SUBSCRIBE",
        ALICE,
        "sip:bob@carrier.example",
        "other",
        "Event: dialog;call-id=x;to-tag=1;from-tag=2\r\nExpires: 600\r\n",
        "",
    );
    let onward = bench.newest(B, "SUBSCRIBE");
    assert_eq!(
        onward.headers.get("Event"),
        Some("dialog;call-id=x;to-tag=1;from-tag=2")
    );
    bench.answers(BOB, "SUBSCRIBE", 489, "");
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}
