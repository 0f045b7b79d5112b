//! A listener that is known outside by a name: what leads to that name leads to us, and what we say of ourselves says it.

use onrecord::trunk::Refer;

use super::bench::{A, ADVERTISED, B, Bench, PROXY, SDP};
use super::consulted::escaped;
use super::party::{ALICE, BOB, CAROL};

#[test]
fn an_attended_transfer_to_our_advertised_name_reaches_the_far_end_of_the_dialog() {
    let mut bench = Bench::advertised(Refer::Pass);
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, carol] = bench.talk(ALICE, CAROL, "call-2", "");
    // All that Alice knows of Carol is our Contact.
    let ours = bench.response_to_a().headers.get("Contact").unwrap().to_owned();
    assert_eq!(ours, format!("<sip:{ADVERTISED}>"));
    let replaces = escaped(&second.for_far_end());
    let refer = alice.request(
        "REFER",
        &format!("Refer-To: <sip:{ADVERTISED}?Replaces={replaces}>\r\n"),
        "",
    );
    bench.from(A, refer);
    let refer_to = bench.newest(B, "REFER").headers.get("Refer-To").unwrap().to_owned();
    assert_eq!(refer_to, format!("<sip:{ADVERTISED}?Replaces={replaces}>"));
    bench.answers(BOB, "REFER", 202, "");
    // Bob calls where he was sent, and the dialog's far end is Carol.
    let replaces = format!("Replaces: {}\r\n", second.for_far_end());
    bench.invites(BOB, &format!("sip:{ADVERTISED}"), "call-3", &replaces);
    let invite = bench.newest(B, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:carol@{B}"));
    assert_eq!(invite.headers.get("Replaces"), Some(carol.for_itself().as_str()));
    let [third, _] = bench.picks_up(BOB, CAROL);
    for (dialog, other) in [(carol, ALICE), (bob, ALICE), (third, CAROL)] {
        bench.hangs_up(dialog, other);
    }
    let session = bench.headers()[0].session;
    assert_eq!(bench.conversations(), [session; 3]);
    bench.assert_nothing_left();
}

#[test]
fn an_attended_transfer_that_we_execute_finds_the_call_behind_our_advertised_name() {
    let mut bench = Bench::advertised(Refer::Execute);
    let [mut first, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [mut second, carol] = bench.talk(ALICE, CAROL, "call-2", "");
    let replaces = escaped(&second.for_far_end());
    let refer = first.request(
        "REFER",
        &format!("Refer-To: <sip:{ADVERTISED}?Replaces={replaces}>\r\n"),
        "",
    );
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_eq!(bench.newest(B, "INVITE").headers.call_id(), carol.call_id);
    for dialog in [&mut first, &mut second] {
        let bye = dialog.request("BYE", "", "");
        bench.from(A, bye);
    }
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.hangs_up(bob, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_ringing_call_is_picked_up_by_our_advertised_name() {
    let mut bench = Bench::advertised(Refer::Pass);
    let [alice, bob] = bench.rings(ALICE, BOB, "call-1", "");
    let replaces = format!("Replaces: {};early-only\r\n", bob.for_far_end());
    bench.invites(CAROL, &format!("sip:{ADVERTISED}"), "call-2", &replaces);
    assert_eq!(bench.newest(A, "INVITE").uri.to_string(), format!("sip:alice@{A}"));
    let [carol, _] = bench.picks_up(CAROL, ALICE);
    let cancel = alice.cancel();
    bench.from(A, cancel);
    bench.answers(BOB, "CANCEL", 200, "");
    bench.answers(BOB, "INVITE", 487, "");
    bench.hangs_up(carol, ALICE);
    bench.assert_nothing_left();
}

#[test]
fn options_for_our_advertised_name_are_answered_here() {
    let mut bench = Bench::advertised(Refer::Pass);
    for (number, uri) in [
        format!("sip:ping@{ADVERTISED}"),
        "sip:ping@SBC.example.test".to_owned(),
        format!("sip:ping@{PROXY}"),
    ]
    .iter()
    .enumerate()
    {
        bench.requests("OPTIONS", ALICE, uri, &format!("o-{number}"), "", "");
        assert_eq!(bench.response_to_a().status, 200, "{uri}");
        let ours = format!("<sip:{ADVERTISED}>");
        assert_eq!(bench.response_to_a().headers.get("Contact"), Some(ours.as_str()));
    }
    assert!(bench.to_b.is_empty());
    bench.assert_nothing_left();
}

#[test]
fn a_registrar_gets_our_advertised_name_as_path_and_calls_by_it_reach_the_phone() {
    let mut bench = Bench::advertised(Refer::Pass);
    let more = "Expires: 3600\r\nSupported: path\r\n";
    bench.requests("REGISTER", ALICE, "sip:carrier.example", "reg-1", more, "");
    let register = bench.newest(B, "REGISTER");
    let path = register.headers.get("Path").unwrap().to_owned();
    assert!(path.ends_with(&format!("@{ADVERTISED};lr>")), "{path}");
    assert_eq!(
        register.headers.get("Contact"),
        Some(format!("<sip:alice@{A}>").as_str()),
        "the phone's own stays"
    );
    bench.answers(BOB, "REGISTER", 200, "");
    bench.invites(BOB, &format!("sip:alice@{A}"), "call-1", &format!("Route: {path}\r\n"));
    assert_eq!(bench.newest(A, "INVITE").uri.to_string(), format!("sip:alice@{A}"));
    let [bob, _] = bench.picks_up(BOB, ALICE);
    bench.hangs_up(bob, ALICE);
    bench.assert_nothing_left();
}
