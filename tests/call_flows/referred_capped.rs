//! REFER executed by us: how many, and on trunks that are full; and what still reaches whom meanwhile.

use std::time::Duration;

use onrecord::model::Leg;
use onrecord::trunk::{Caps, Conduct, Refer, Trunk};

use super::bench::{A, B, Bench, PROXY, SDP, answer, with_lines};
use super::consulted::{alice_answers_each, consults, escaped};
use super::executed::{assert_old_call_stays, refers, rings, strict};
use super::party::{ALICE, BOB, CAROL, DAVE};
use super::routed::{configure, trunk};

/// REFERs of both trunks are executed by us, and each may have so many calls.
fn capped(calls_max: u32) -> Bench {
    let mut bench = Bench::unrecorded();
    let executes = |name, address| Trunk {
        conduct: Conduct {
            refer: Refer::Execute,
            ..Conduct::default()
        },
        caps: Caps {
            calls_max: Some(calls_max),
            calls_per_second: None,
        },
        ..trunk(name, address)
    };
    let trunks = [executes("pbx", A), executes("carrier", B)];
    let [pbx, carrier] = trunks;
    configure(&mut bench, pbx, carrier);
    bench
}

#[test]
fn two_calls_on_full_trunks_are_joined() {
    let mut bench = capped(2);
    let [_, _, bob, _] = consults(&mut bench);
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    alice_answers_each(&mut bench, "NOTIFY");
    assert_eq!(alice_answers_each(&mut bench, "BYE"), 2);
    let calls: Vec<u32> = bench
        .signaling
        .trunks(bench.now)
        .iter()
        .map(|trunk| trunk.calls)
        .collect();
    assert!(calls.iter().all(|calls| *calls <= 2), "{calls:?}");
    bench.hangs_up(bob, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_party_of_full_trunks_is_sent_on_over_them() {
    let mut bench = capped(1);
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn one_call_makes_sixteen_transfers_and_no_more() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    for _ in 0..16 {
        refers(&mut bench, &mut alice, "");
        bench.answers(ALICE, "NOTIFY", 200, "");
        bench.answers(DAVE, "INVITE", 486, "");
        bench.answers(ALICE, "NOTIFY", 200, "");
        bench.wait(Duration::from_secs(1));
    }
    let calls = bench.headers().len();
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.response_to_a().status, 603);
    assert_eq!(bench.headers().len(), calls);
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn a_transfer_counts_as_half_open_for_who_asked_for_it() {
    // Of a node of a hundred calls, one source may have fifty half open.
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    // Without an offer a call needs no ports yet.
    let rings = |bench: &mut Bench, call_id: &str| {
        bench.requests("INVITE", ALICE, &format!("sip:bob@{PROXY}"), call_id, "", "");
        bench.response_to_a().status
    };
    for n in 0..49 {
        assert_eq!(rings(&mut bench, &format!("ringing-{n}")), 100);
    }
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.newest(A, "NOTIFY").body, "SIP/2.0 100 Trying\r\n");
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_eq!(rings(&mut bench, "one-more"), 503);
    bench.answers(DAVE, "INVITE", 486, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_eq!(rings(&mut bench, "in-its-place"), 100);
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.response_to_a().status, 503);
}

#[test]
fn a_call_that_shall_be_replaced_only_while_it_rings_is_not_joined() {
    let mut bench = strict();
    let [mut first, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let [second, _] = bench.rings(ALICE, CAROL, "call-2", "");
    let refer_to = format!(
        "Refer-To: <sip:carol@{PROXY}?Replaces={}>\r\n",
        escaped(&format!("{};early-only", second.for_far_end()))
    );
    let refer = first.request("REFER", &refer_to, "");
    bench.story.clear();
    bench.from(A, refer);
    let refused = bench.response_to_a();
    assert_eq!(refused.status, 603);
    assert!(
        refused
            .headers
            .get("Warning")
            .is_some_and(|warning| warning.contains("not answered yet"))
    );
    assert_eq!(bench.story, ["A → REFER", "603 → A"]);
    let [second, _] = bench.picks_up(ALICE, CAROL);
    let refer_to = format!(
        "Refer-To: <sip:carol@{PROXY}?Replaces={}>\r\n",
        escaped(&second.for_far_end())
    );
    let refer = first.request("REFER", &refer_to, "");
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    alice_answers_each(&mut bench, "NOTIFY");
    assert_eq!(alice_answers_each(&mut bench, "BYE"), 2);
    bench.hangs_up(bob, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn who_has_hung_up_gets_no_more_media_while_its_transfer_goes_on() {
    let mut bench = strict();
    let [mut alice, _] = rings(&mut bench);
    bench.media.clear();
    let bye = alice.request("BYE", "", "");
    bench.from(A, bye);
    let plan = bench.plans()[0];
    assert_eq!(plan.lines[0].leg(Leg::A).remote, None);
    assert!(plan.lines[0].leg(Leg::B).remote.is_some());
}

#[test]
fn a_session_whose_refresh_fell_due_before_its_caller_came_is_refreshed_then() {
    let mut bench = strict();
    rings(&mut bench);
    let invite = bench.newest(A, "INVITE");
    let accepted = answer(&invite, 200, "dave-tag", &format!("dave@{A}"), SDP);
    let timer = "Require: timer\r\nSession-Expires: 90;refresher=uac\r\nAllow: UPDATE\r\n";
    bench.from(A, with_lines(&accepted, timer));
    bench.answers(BOB, "INVITE", 180, "");
    bench.wait(Duration::from_secs(28));
    bench.answers(BOB, "INVITE", 491, "");
    bench.wait(Duration::from_secs(5));
    bench.answers(BOB, "INVITE", 180, "");
    bench.wait(Duration::from_secs(23));
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.wait(Duration::from_secs(1));
    bench.answers(DAVE, "UPDATE", 200, "");
    bench.story.clear();
    bench.wait(Duration::from_secs(40));
    assert!(
        !bench.story.iter().any(|rung| rung.starts_with("BYE")),
        "{:#?}",
        bench.story
    );
}
