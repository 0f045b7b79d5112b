//! REFER inside a call: carried to the other side, decided before it is, and what comes of it.

use onrecord::model::Fault;

use super::bench::{A, B, Bench, LENIENT, PROXY, STRICT};
use super::party::{ALICE, BOB, CAROL, DAVE};

/// `desk` for one user: strictly recorded, also in calls that are passed on.
fn only_for(user: &str) -> Vec<(String, String)> {
    let grant = format!("[[grant]]\npolicy = \"desk\"\nto = [\"user:{user}@{PROXY}\", \"user:{user}@example.com\"]\n");
    vec![("desk.toml".into(), STRICT.into()), ("grants.toml".into(), grant)]
}

fn with(files: &[(String, String)]) -> Bench {
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    Bench::with(&files)
}

fn refer_to(bench: &Bench, at: &str) -> String {
    bench.newest(at, "REFER").headers.get("Refer-To").unwrap().to_owned()
}

#[test]
fn a_blind_transfer_crosses_and_its_notifies_come_back_under_the_number_of_the_refer() {
    let mut bench = Bench::strict();
    let [mut alice, mut bob] = bench.talk(ALICE, BOB, "call-1", "");
    // So that the numbers differ on both legs.
    for _ in 0..3 {
        let info = alice.request("INFO", "", "");
        bench.from(A, info);
        bench.answers(BOB, "INFO", 200, "");
    }
    bench.story.clear();
    let more = format!("Refer-To: <sip:carol@{PROXY}>\r\nReferred-By: <sip:alice@example.com>\r\nRefer-Sub: true\r\n");
    let refer = alice.request("REFER", &more, "");
    bench.from(A, refer);
    let received = bench.newest(B, "REFER");
    assert_eq!(received.headers.get("Referred-By"), Some("<sip:alice@example.com>"));
    assert_eq!(received.headers.get("Refer-Sub"), Some("true"));
    assert_eq!(received.headers.get("Contact"), Some(format!("<sip:{PROXY}>").as_str()));
    bench.answers(BOB, "REFER", 202, "");
    assert!(
        bench.response_to_a().headers.contains("Contact"),
        "the 2xx refreshes the target"
    );
    let number = received.headers.cseq().number;
    let more = format!(
        "Event: refer;id={number}\r\nSubscription-State: active;expires=60\r\nContent-Type: message/sipfrag\r\n"
    );
    let notify = bob.request("NOTIFY", &more, "SIP/2.0 100 Trying\r\n");
    bench.from(B, notify);
    let told = bench.newest(A, "NOTIFY");
    assert_eq!(
        told.headers.get("Event"),
        Some("refer;id=5"),
        "Alice's REFER was her fifth request"
    );
    assert_eq!(told.headers.get("Subscription-State"), Some("active;expires=60"));
    assert_eq!(&told.body[..], b"SIP/2.0 100 Trying\r\n");
    bench.answers(ALICE, "NOTIFY", 200, "");
    let subscribe = alice.request("SUBSCRIBE", "Event: refer;id=5\r\nExpires: 0\r\n", "");
    bench.from(A, subscribe);
    let event = format!("refer;id={number}");
    assert_eq!(bench.newest(B, "SUBSCRIBE").headers.get("Event"), Some(event.as_str()));
    bench.answers(BOB, "SUBSCRIBE", 200, "");
    assert_eq!(
        bench.story,
        [
            "A → REFER",
            "REFER → B",
            "B → 202",
            "202 → A",
            "B → NOTIFY",
            "NOTIFY → A",
            "A → 200",
            "200 → B",
            "A → SUBSCRIBE",
            "SUBSCRIBE → B",
            "B → 200",
            "200 → A"
        ]
    );
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn the_call_that_a_blind_transfer_makes_goes_on_with_the_conversation() {
    let mut bench = Bench::strict();
    let [mut alice, _bob] = bench.talk(ALICE, BOB, "call-1", "");
    let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    bench.answers(BOB, "REFER", 202, "");
    let [bob, _dave] = bench.talk(BOB, DAVE, "call-2", "");
    bench.hangs_up(alice, BOB);
    let [stranger, _] = bench.talk(BOB, DAVE, "call-3", "");
    for dialog in [bob, stranger] {
        bench.hangs_up(dialog, DAVE);
    }
    let sessions: Vec<_> = bench.headers().iter().map(|header| header.session).collect();
    assert_eq!(bench.conversations(), [sessions[0], sessions[0], sessions[2]]);
    bench.assert_nothing_left();
}

#[test]
fn a_refer_without_a_readable_target_is_refused_and_the_call_goes_on() {
    let mut bench = Bench::strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    for more in [
        "",
        "Refer-To: <nowhere\r\n",
        "Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n",
    ] {
        let refer = alice.request("REFER", more, "");
        bench.from(A, refer);
        assert_eq!(bench.response_to_a().status, 400, "{more}");
    }
    assert!(!bench.story.iter().any(|rung| rung == "REFER → B"));
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn a_party_who_must_be_recorded_and_cannot_be_is_not_brought_in_and_the_old_call_stays() {
    let mut bench = with(&only_for("carol"));
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    bench.recorder_fails(Fault::DiskFull);
    let refer = alice.request("REFER", &format!("Refer-To: <sip:carol@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    let refusal = bench.response_to_a();
    assert_eq!(refusal.status, 603);
    assert_eq!(
        refusal.headers.get("Warning"),
        Some("399 lab \"Recording required by policy desk: recorder unavailable\"")
    );
    assert!(refusal.headers.contains("Reason"));
    assert!(
        !bench
            .story
            .iter()
            .any(|rung| rung == "REFER → B" || rung.starts_with("BYE"))
    );
    let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    bench.answers(BOB, "REFER", 202, "");
    assert_eq!(bench.response_to_a().status, 202, "nobody asks for Dave");
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn a_party_whom_a_policy_forbids_is_not_brought_in() {
    let block = STRICT.replace("enabled = true\n", "enabled = true\naction = \"block\"\n");
    let grant = format!("[[grant]]\npolicy = \"desk\"\nto = [\"user:carol@{PROXY}\"]\n");
    let mut bench = Bench::with(&[("desk.toml", &block), ("grants.toml", &grant)]);
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let refer = alice.request("REFER", &format!("Refer-To: <sip:carol@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    assert_eq!(bench.response_to_a().status, 403);
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn who_transferred_the_call_is_asked_for_even_if_the_invite_does_not_name_them() {
    let rerouted = LENIENT.replace("enabled = true\n", "enabled = true\nrecord_rerouted_calls = true\n");
    let grant = "[[grant]]\npolicy = \"desk\"\nto = [\"user:alice@example.com\"]\n";
    let mut bench = Bench::with(&[("desk.toml", &rerouted), ("grants.toml", grant)]);
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    bench.answers(BOB, "REFER", 202, "");
    let [bob, _] = bench.talk(BOB, DAVE, "call-2", "");
    let trace = bench.headers()[1].trace.join("\n");
    assert!(trace.contains("alice@example.com"), "{trace}");
    assert_eq!(bench.headers()[1].policies.len(), 1);
    bench.hangs_up(alice, BOB);
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn an_attended_transfer_by_our_own_address_joins_the_two_far_ends_and_both_conversations() {
    let mut bench = Bench::strict();
    let [mut first, _bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, _carol] = bench.talk(ALICE, CAROL, "call-2", "");
    // Alice knows Carol by our Contact.
    let replaces = second
        .for_far_end()
        .replace('@', "%40")
        .replace(';', "%3B")
        .replace('=', "%3D");
    let refer = first.request("REFER", &format!("Refer-To: <sip:{PROXY}?Replaces={replaces}>\r\n"), "");
    bench.from(A, refer);
    let refer_to = refer_to(&bench, B);
    assert!(refer_to.contains(&replaces), "it comes back to us: {refer_to}");
    bench.answers(BOB, "REFER", 202, "");
    let carol = bench.newest(B, "INVITE");
    bench.invites(
        BOB,
        &format!("sip:{PROXY}"),
        "call-3",
        &format!("Replaces: {}\r\n", second.for_far_end()),
    );
    let invite = bench.newest(B, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:carol@{B}"), "her Contact");
    let known_by_carol = format!(
        "{};to-tag=carol-tag;from-tag={}",
        carol.headers.call_id(),
        carol.headers.from().tag().unwrap()
    );
    assert_eq!(invite.headers.get("Replaces"), Some(known_by_carol.as_str()));
    let header = bench.headers()[2];
    assert_eq!(
        header.callee.identity,
        format!("sip:carol@{}", PROXY.replace(":5070", ""))
    );
    let [third, mut carol_third] = bench.picks_up(BOB, CAROL);
    bench.hangs_up(second, CAROL);
    bench.hangs_up(first, BOB);
    let bye = carol_third.request("BYE", "", "");
    bench.from(B, bye);
    bench.answers(BOB, "BYE", 200, "");
    drop(third);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 3]);
    bench.assert_nothing_left();
}

#[test]
fn a_refer_to_somewhere_else_names_the_dialog_as_the_target_itself_knows_it() {
    let mut bench = Bench::strict();
    let [mut first, _bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, carol] = bench.talk(ALICE, CAROL, "call-2", "");
    let replaces = second
        .for_far_end()
        .replace('@', "%40")
        .replace(';', "%3B")
        .replace('=', "%3D");
    let more = format!("Refer-To: \"Carol\" <sip:carol@carrier.example?Replaces={replaces}&Subject=x>\r\n");
    let refer = first.request("REFER", &more, "");
    bench.from(A, refer);
    let known = carol
        .for_itself()
        .replace('@', "%40")
        .replace(';', "%3B")
        .replace('=', "%3D");
    assert_eq!(
        refer_to(&bench, B),
        format!("\"Carol\" <sip:carol@carrier.example?Subject=x&Replaces={known}>")
    );
    bench.answers(BOB, "REFER", 202, "");
    bench.hangs_up(first, BOB);
    bench.hangs_up(second, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_refer_storm_is_bounded_and_every_one_is_answered() {
    let mut bench = Bench::strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    for _ in 0..40 {
        let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}>\r\n"), "");
        bench.from(A, refer);
    }
    let carried = bench.story.iter().filter(|rung| *rung == "REFER → B").count();
    let refused = bench.story.iter().filter(|rung| *rung == "500 → A").count();
    assert_eq!((carried, refused), (16, 24));
    bench.hangs_up(alice, BOB);
    let unanswered = bench.story.iter().filter(|rung| *rung == "487 → A").count();
    assert_eq!(unanswered, 16);
    bench.assert_nothing_left();
}

#[test]
fn a_message_in_the_call_crosses_in_both_directions_byte_for_byte() {
    let mut bench = Bench::strict();
    let [mut alice, mut bob] = bench.talk(ALICE, BOB, "call-1", "");
    let typed = "Content-Type: text/plain;charset=UTF-8\r\n";
    let message = alice.request("MESSAGE", typed, "Grüße\r\n\0");
    bench.from(A, message);
    assert_eq!(&bench.newest(B, "MESSAGE").body[..], "Grüße\r\n\0".as_bytes());
    bench.answers(BOB, "MESSAGE", 200, "");
    let message = bob.request("MESSAGE", typed, "ok");
    bench.from(B, message);
    assert_eq!(&bench.newest(A, "MESSAGE").body[..], b"ok");
    bench.answers(ALICE, "MESSAGE", 200, "");
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}
