//! Who must be recorded, and who may not be called, in transfers that we execute.

use onrecord::model::Fault;
use onrecord::sip::{Message, Method};

use super::super::bench::{A, Bench, LENIENT, PROXY, SDP, STRICT};
use super::super::party::{ALICE, BOB, DAVE};
use super::{assert_told_last, refers, rings, strict};

#[test]
fn a_party_who_must_be_recorded_and_cannot_be_is_not_brought_in_and_the_old_call_stays() {
    let grant = format!("[[grant]]\npolicy = \"desk\"\nto = [\"user:dave@{PROXY}\", \"user:dave@example.com\"]\n");
    let mut bench = Bench::executing(&[("desk.toml", STRICT), ("grants.toml", &grant)]);
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.recorder_fails(Fault::DiskFull);
    refers(&mut bench, &mut alice, "");
    let refusal = bench.response_to_a();
    assert_eq!(refusal.status, 603);
    assert!(
        refusal
            .headers
            .get("Warning")
            .unwrap()
            .contains("policy desk: recorder unavailable")
    );
    bench.input(onrecord::engine::Input::Recording(onrecord::model::RecordingEvent::Up));
    // It is there when the REFER comes, and fails before Dave's recording is open.
    bench.recorder_answers = false;
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.response_to_a().status, 202);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.recorder_fails(Fault::DiskFull);
    assert_told_last(&bench, "SIP/2.0 603 Decline");
    bench.answers(ALICE, "NOTIFY", 200, "");
    let rang = bench
        .to_a
        .iter()
        .any(|message| matches!(message, Message::Request(request) if request.method == Method::Invite));
    assert!(!rang, "Dave never heard of it");
    bench.hangs_up(alice, BOB);
    drop(bob);
    bench.assert_nothing_left();
}

#[test]
fn a_party_whom_a_policy_forbids_is_not_brought_in() {
    let block = STRICT.replace("enabled = true\n", "enabled = true\naction = \"block\"\n");
    let grant = format!("[[grant]]\npolicy = \"desk\"\nto = [\"user:dave@{PROXY}\"]\n");
    let mut bench = Bench::executing(&[("desk.toml", &block), ("grants.toml", &grant)]);
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.response_to_a().status, 403);
    bench.hangs_up(alice, BOB);
    bench.assert_nothing_left();
}

#[test]
fn who_transferred_the_call_is_recorded_by_its_own_policy() {
    let rerouted = LENIENT.replace("enabled = true\n", "enabled = true\nrecord_rerouted_calls = true\n");
    let grant = "[[grant]]\npolicy = \"desk\"\nto = [\"user:alice@example.com\"]\n";
    let mut bench = Bench::executing(&[("desk.toml", &rerouted), ("grants.toml", grant)]);
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    let refer = alice.request("REFER", &format!("Refer-To: <sip:dave@{PROXY}>\r\n"), "");
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let header = bench.headers()[1];
    assert_eq!(header.policies.len(), 1);
    assert!(
        header.trace.join("\n").contains("alice@example.com"),
        "{:?}",
        header.trace
    );
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, DAVE);
    bench.assert_nothing_left();
}

#[test]
fn a_recorder_that_fails_ends_a_strict_call_and_its_transfer() {
    let mut bench = strict();
    rings(&mut bench);
    bench.recorder_fails(Fault::DiskFull);
    assert!(
        bench.story.iter().any(|rung| rung == "CANCEL → B"),
        "{:#?}",
        bench.story
    );
    bench.answers(DAVE, "CANCEL", 200, "");
    bench.answers(DAVE, "INVITE", 487, "");
    bench.answers(BOB, "BYE", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.answers(ALICE, "NOTIFY", 481, "");
    bench.assert_nothing_left();
}
