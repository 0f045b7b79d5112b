//! INVITEs that name a dialog, and calls that belong together: pickup, join, forward, simultaneous ring.

use onrecord::engine::Input;

use super::bench::{A, B, Bench, LENIENT, PROXY};
use super::party::{ALICE, BOB, CAROL, DAVE};

#[test]
fn a_ringing_call_is_picked_up_by_our_own_address() {
    let mut bench = Bench::strict();
    let [alice, bob] = bench.rings(ALICE, BOB, "call-1", "");
    // Carol learned of the dialog from Bob's phone (RFC 4235), where we are the far end.
    let replaces = format!("Replaces: {};early-only\r\nRequire: replaces\r\n", bob.for_far_end());
    bench.invites(CAROL, &format!("sip:{PROXY}"), "call-2", &replaces);
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:alice@{A}"));
    let known_by_alice = format!("{};early-only", alice.for_itself());
    assert_eq!(invite.headers.get("Replaces"), Some(known_by_alice.as_str()));
    assert_eq!(invite.headers.get("Require"), Some("replaces"));
    let [carol, _] = bench.picks_up(CAROL, ALICE);
    let cancel = alice.cancel();
    bench.from(A, cancel);
    bench.answers(BOB, "CANCEL", 200, "");
    bench.answers(BOB, "INVITE", 487, "");
    bench.hangs_up(carol, ALICE);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 2]);
    assert_eq!(bench.headers()[1].callee.identity, "sip:alice@example.com");
    bench.assert_nothing_left();
}

#[test]
fn a_call_that_a_pbx_began_is_picked_up_there_by_the_name_that_the_pbx_told() {
    let mut bench = Bench::strict();
    let [pbx, _] = bench.rings(ALICE, BOB, "call-1", "");
    // Carol's phone watches Bob at the PBX, which tells of its own dialog with us.
    let named = pbx.for_far_end();
    let replaces = format!("Replaces: {named}\r\nRequire: replaces\r\n");
    bench.invites(CAROL, &format!("sip:bob@{PROXY}"), "call-2", &replaces);
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:alice@{A}"));
    assert_eq!(invite.headers.get("Replaces"), Some(named.as_str()), "as it was told");
    let [carol, _] = bench.picks_up(CAROL, ALICE);
    let cancel = pbx.cancel();
    bench.from(A, cancel);
    bench.answers(BOB, "CANCEL", 200, "");
    bench.answers(BOB, "INVITE", 487, "");
    bench.hangs_up(carol, ALICE);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 2]);
    bench.assert_nothing_left();
}

#[test]
fn a_dialog_that_the_target_itself_knows_crosses_as_it_was_named() {
    let mut bench = Bench::strict();
    let [alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let named = bob.for_itself();
    bench.invites(
        DAVE,
        &format!("sip:bob@{PROXY}"),
        "call-2",
        &format!("Replaces: {named}\r\n"),
    );
    assert_eq!(bench.newest(B, "INVITE").headers.get("Replaces"), Some(named.as_str()));
    let [dave, _] = bench.picks_up(DAVE, BOB);
    bench.hangs_up(bob, ALICE);
    bench.hangs_up(dave, BOB);
    drop(alice);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 2]);
    bench.assert_nothing_left();
}

#[test]
fn who_replaces_a_dialog_under_a_users_name_reaches_who_has_it() {
    let mut bench = Bench::strict();
    let [bobs, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [carols, carol] = bench.talk(ALICE, CAROL, "call-2", "");
    // Alice has referred Bob to Carol: `Refer-To: <sip:carol@us?Replaces=…>`. The routes lead from Bob's trunk to Alice's.
    let replaces = format!("Replaces: {}\r\nRequire: replaces\r\n", carols.for_far_end());
    bench.invites(BOB, &format!("sip:carol@{PROXY}"), "call-3", &replaces);
    let invite = bench.newest(B, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:carol@{B}"));
    assert_eq!(invite.headers.get("Replaces"), Some(carol.for_itself().as_str()));
    let [third, _] = bench.picks_up(BOB, CAROL);
    assert_eq!(bench.headers()[2].callee.identity, bench.headers()[1].callee.identity);
    bench.hangs_up(third, CAROL);
    bench.hangs_up(bobs, BOB);
    bench.hangs_up(carols, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_dialog_of_strangers_crosses_as_it_was_named_and_is_no_conversation_of_ours() {
    let mut bench = Bench::strict();
    let [alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let named = "other@example.com;to-tag=1;from-tag=2";
    bench.invites(
        CAROL,
        &format!("sip:alice@{PROXY}"),
        "call-2",
        &format!("Replaces: {named}\r\n"),
    );
    assert_eq!(bench.newest(A, "INVITE").headers.get("Replaces"), Some(named));
    let [carol, _] = bench.picks_up(CAROL, ALICE);
    bench.hangs_up(carol, ALICE);
    bench.hangs_up(alice, BOB);
    let sessions: Vec<_> = bench.headers().iter().map(|header| header.session).collect();
    assert_eq!(bench.conversations(), sessions);
    bench.assert_nothing_left();
}

#[test]
fn what_is_meant_for_us_and_names_no_dialog_gets_481() {
    let mut bench = Bench::routed(&[], &[("pbx", "carrier", Some("+"))]);
    let named = "Replaces: other@example.com;to-tag=1;from-tag=2\r\n";
    bench.invites(ALICE, &format!("sip:{PROXY}"), "call-1", named);
    assert_eq!(bench.response_to_a().status, 481);
    bench.invites(ALICE, &format!("sip:{PROXY}"), "call-2", "");
    assert_eq!(bench.response_to_a().status, 404);
}

#[test]
fn two_dialogs_in_one_invite_are_refused() {
    let mut bench = Bench::strict();
    let one = "other@example.com;to-tag=1;from-tag=2";
    for (call_id, more) in [
        ("call-1", format!("Replaces: {one}\r\nReplaces: {one}\r\n")),
        ("call-2", format!("Replaces: {one}\r\nJoin: {one}\r\n")),
        ("call-3", "Replaces: nonsense\r\n".to_owned()),
    ] {
        bench.invites(ALICE, &format!("sip:bob@{PROXY}"), call_id, &more);
        assert_eq!(bench.response_to_a().status, 400, "{more}");
    }
    assert!(bench.to_b.is_empty());
}

#[test]
fn join_and_target_dialog_are_said_over_like_replaces() {
    let mut bench = Bench::strict();
    let [alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.invites(
        CAROL,
        &format!("sip:{PROXY}"),
        "call-2",
        &format!("Join: {}\r\n", bob.for_far_end()),
    );
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.headers.get("Join"), Some(alice.for_itself().as_str()));
    bench.answers(ALICE, "INVITE", 486, "");
    let target = format!(
        "{};local-tag={};remote-tag={}",
        bob.call_id, bob.remote_tag, bob.local_tag
    );
    bench.invites(
        CAROL,
        &format!("sip:alice@{PROXY}"),
        "call-3",
        &format!("Target-Dialog: {target}\r\n"),
    );
    let known = format!(
        "{};local-tag={};remote-tag={}",
        alice.call_id, alice.local_tag, alice.remote_tag
    );
    assert_eq!(
        bench.newest(A, "INVITE").headers.get("Target-Dialog"),
        Some(known.as_str())
    );
    bench.answers(ALICE, "INVITE", 486, "");
    bench.hangs_up(alice, BOB);
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 3]);
    bench.assert_nothing_left();
}

#[test]
fn a_call_that_is_forwarded_while_it_rings_stays_one_conversation_and_its_forwarder_is_asked_for() {
    let rerouted = LENIENT.replace("enabled = true\n", "enabled = true\nrecord_rerouted_calls = true\n");
    let grant = format!(
        "[[grant]]\npolicy = \"desk\"\nto = [\"user:bob@{}\"]\n",
        PROXY.replace(":5070", "")
    );
    let mut bench = Bench::with(&[("desk.toml", &rerouted), ("grants.toml", &grant)]);
    let [alice, _] = bench.rings(ALICE, BOB, "call-1", "");
    let diversion = format!("Diversion: <sip:bob@{PROXY}>;reason=unconditional\r\n");
    // Bob's side sends it back to us for Dave, in Alice's name.
    let alice_by_carrier = super::party::Party { user: "alice", at: B };
    bench.invites(alice_by_carrier, &format!("sip:dave@{PROXY}"), "call-2", &diversion);
    assert_eq!(
        bench.newest(A, "INVITE").headers.get("Diversion"),
        Some(format!("<sip:bob@{PROXY}>;reason=unconditional").as_str())
    );
    bench.answers(DAVE, "INVITE", 486, "");
    let cancel = alice.cancel();
    bench.from(A, cancel);
    bench.answers(BOB, "CANCEL", 200, "");
    bench.answers(BOB, "INVITE", 487, "");
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 2]);
    assert_eq!(bench.headers()[1].policies.len(), 1, "{:?}", bench.headers()[1].trace);
    bench.assert_nothing_left();
}

#[test]
fn who_is_rung_at_several_places_at_once_is_in_one_conversation() {
    let mut bench = Bench::strict();
    let [alice, _] = bench.rings(ALICE, BOB, "call-1", "");
    let other = alice.cancel();
    bench.rings(ALICE, CAROL, "call-1", "");
    bench.answers(CAROL, "INVITE", 486, "");
    bench.from(A, other);
    bench.answers(BOB, "CANCEL", 200, "");
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 2]);
}

#[test]
fn session_ids_cross_as_they_are_and_an_equal_uuid_is_the_same_conversation() {
    let mut bench = Bench::strict();
    let [alice, bob] = ["ab30317f1a784dc48ff824d0d3715d86", "47755a9de7794ba387653f2099600ef2"];
    let nil = "00000000000000000000000000000000";
    let [first, _] = bench.talk(ALICE, BOB, "call-1", &format!("Session-ID: {alice};remote={nil}\r\n"));
    assert_eq!(
        bench.newest(B, "INVITE").headers.get("Session-ID"),
        Some(format!("{alice};remote={nil}").as_str())
    );
    bench.talk(BOB, DAVE, "call-2", &format!("Session-ID: {bob};remote={alice}\r\n"));
    let _ = first;
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 2]);
}

#[test]
fn a_node_that_drains_takes_the_call_that_completes_a_transfer_and_no_other() {
    let mut bench = Bench::strict();
    let [alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.input(Input::Drain);
    bench.invites(DAVE, &format!("sip:bob@{PROXY}"), "call-2", "");
    let refused = bench.response_to_a();
    assert_eq!(refused.status, 503);
    let wait: u32 = refused.headers.get("Retry-After").unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "there is no other node");
    let stranger = "Replaces: other@example.com;to-tag=1;from-tag=2\r\n";
    bench.invites(DAVE, &format!("sip:bob@{PROXY}"), "call-3", stranger);
    assert_eq!(bench.response_to_a().status, 503);
    let replaces = format!("Replaces: {}\r\n", bob.for_itself());
    bench.invites(DAVE, &format!("sip:bob@{PROXY}"), "call-4", &replaces);
    let [dave, _] = bench.picks_up(DAVE, BOB);
    bench.hangs_up(alice, BOB);
    bench.hangs_up(dave, BOB);
    bench.assert_nothing_left();
}

#[test]
fn a_node_that_drains_takes_the_call_that_a_refer_has_asked_for_and_one_that_shuts_down_does_not() {
    for shuts_down in [false, true] {
        let mut bench = Bench::strict();
        let [mut alice, _bob] = bench.talk(ALICE, BOB, "call-1", "");
        bench.input(if shuts_down { Input::ShutDown } else { Input::Drain });
        let refer_to = format!("Refer-To: <sip:carol@{PROXY}>\r\n");
        let refer = alice.request("REFER", &refer_to, "");
        bench.from(A, refer);
        if !shuts_down {
            bench.answers(BOB, "REFER", 202, "");
        }
        bench.invites(BOB, &format!("sip:carol@{PROXY}"), "call-2", "");
        let is_called = bench.to_a.iter().any(|message| {
            matches!(message, onrecord::sip::Message::Request(request) if request.method.as_str() == "INVITE")
        });
        assert_eq!(is_called, !shuts_down);
        if shuts_down {
            let refused = bench.newest_response(B);
            assert_eq!((refused.status, refused.headers.get("Retry-After")), (503, None));
        }
    }
}
