//! Keys in the SDP of parties that a REFER brings into another call, which we execute (RFC 4568 §6.4, RFC 5589 §6): ours begin
//! anew there, and theirs may go on, by a rollover counter that nobody tells.

use onrecord::model::{Leg, LegKeys};
use onrecord::sdp::Crypto;
use onrecord::trunk::{Conduct, Refer, SdesOver, Srtp, Trunk};

use super::bench::{A, B, Bench, PROXY, audio_at};
use super::executed::{refers, strict};
use super::party::{ALICE, BOB, DAVE, PhoneDialog};
use super::routed::configure;
use super::sdes::{KEY, OTHER, keyed, keys, line, with};
use super::sdes_in_call::ours;

/// Dave's; and Bob's, who changes it as he goes over.
const DAVES: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk";
const NEW: &str = "ZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3";

fn executing() -> Bench {
    let mut bench = strict();
    let trunk = |name, address| Trunk {
        conduct: Conduct {
            refer: Refer::Execute,
            ..Conduct::default()
        },
        ..with(name, address, Srtp::Require, SdesOver::Any)
    };
    configure(&mut bench, trunk("pbx", A), trunk("carrier", B));
    bench
}

fn theirs(keys: &LegKeys) -> &onrecord::model::SrtpKey {
    keys.theirs.as_deref().expect("a key of the party")
}

fn read(key: &str) -> onrecord::model::SrtpKey {
    Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}"))
        .expect("a key")
        .key
}

/// Alice calls Bob, refers him to Dave, and he goes over with this key. The keys of Bob's leg in both calls, and of Dave's.
fn moves(bench: &mut Bench, with: &str) -> [LegKeys; 3] {
    goes_over(bench, with).0
}

/// The same, and Bob's dialog.
fn goes_over(bench: &mut Bench, with: &str) -> ([LegKeys; 3], PhoneDialog) {
    let typed = "Content-Type: application/sdp\r\n";
    let uri = format!("sip:bob@{PROXY}");
    bench.requests("INVITE", ALICE, &uri, "call-1", typed, &keyed("RTP/SAVP", 1, KEY));
    let phone = PhoneDialog::of_callee(BOB, &bench.newest(B, "INVITE"));
    bench.answers(BOB, "INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    let mut alice = PhoneDialog::of_caller(ALICE, &bench.newest_response(A));
    let ack = alice.request("ACK", "", "");
    bench.from(A, ack);
    let before = keys(bench, Leg::B).expect("Bob's leg is encrypted");
    refers(bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 200, &keyed("RTP/SAVP", 1, DAVES));
    let (_, offered) = line(&bench.newest(B, "INVITE").body);
    assert!(offered.iter().all(|key| Some(&key.key) != before.ours.as_deref()));
    bench.answers(BOB, "INVITE", 200, &keyed("RTP/SAVP", 1, with));
    let [bob, dave] = Leg::BOTH.map(|leg| keys(bench, leg).expect("an encrypted leg"));
    ([before, bob, dave], phone)
}

#[test]
fn who_goes_over_with_its_key_is_heard_whatever_it_has_sealed_by_it_and_gets_a_key_of_ours_that_is_new() {
    let [before, bob, dave] = moves(&mut executing(), OTHER);
    assert_eq!((theirs(&before), before.is_carried), (&read(OTHER), false));
    assert_eq!((theirs(&bob), bob.is_carried), (&read(OTHER), true));
    assert_ne!(before.ours, bob.ours);
    assert_eq!(
        (theirs(&dave), dave.is_carried),
        (&read(DAVES), false),
        "he was in no call"
    );
}

#[test]
fn who_goes_over_with_a_new_key_is_heard_by_that() {
    let [before, bob, _] = moves(&mut executing(), NEW);
    assert_eq!(theirs(&bob), &read(NEW));
    assert_ne!(before.ours, bob.ours);
}

#[test]
fn a_key_that_is_agreed_on_after_it_went_over_begins_at_zero() {
    let mut bench = executing();
    let ([_, bob, _], mut phone) = goes_over(&mut bench, OTHER);
    assert!(bob.is_carried);
    bench.answers(DAVE, "INVITE", 200, &keyed("RTP/SAVP", 1, DAVES));
    let offer = phone.request(
        "INVITE",
        "Content-Type: application/sdp\r\n",
        &keyed("RTP/SAVP", 1, NEW),
    );
    bench.from(B, offer);
    bench.answers(DAVE, "INVITE", 200, &keyed("RTP/SAVP", 1, DAVES));
    let renewed = keys(&bench, Leg::A).expect("Bob's leg is encrypted");
    assert_eq!((theirs(&renewed), renewed.is_carried), (&read(NEW), false));
}

#[test]
fn who_stays_because_a_transfer_failed_is_told_its_old_far_end_by_a_new_key() {
    let mut bench = strict();
    let execute = |trunk: Trunk| Trunk {
        conduct: Conduct {
            refer: Refer::Execute,
            ..Conduct::default()
        },
        ..trunk
    };
    let [pbx, carrier] = [("pbx", A, Srtp::Refuse), ("carrier", B, Srtp::Require)]
        .map(|(name, address, srtp)| execute(with(name, address, srtp, SdesOver::Any)));
    configure(&mut bench, pbx, carrier);
    bench.invites(ALICE, &format!("sip:bob@{PROXY}"), "call-1", "");
    let by = |key| keyed("RTP/SAVP", 1, key);
    bench.answers(BOB, "INVITE", 200, &by(OTHER));
    let mut alice = PhoneDialog::of_caller(ALICE, &bench.response_to_a());
    let ack = alice.request("ACK", "", "");
    bench.from(A, ack);
    let first = ours(&bench, Leg::B);
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 180, "");
    let invite = bench.newest(A, "INVITE");
    bench.answers(DAVE, "INVITE", 200, &audio_at(7_000));
    let bye = PhoneDialog::of_callee(DAVE, &invite).request("BYE", "", "");
    bench.from(A, bye);
    let second = line(&bench.request_to_b("INVITE").body).1;
    bench.answers(BOB, "INVITE", 200, &by(NEW));
    let told = line(&bench.request_to_b("INVITE").body).1;
    bench.answers(BOB, "INVITE", 200, &by(OTHER));
    assert_eq!(told[0].key.suite(), first.suite());
    assert!(told.iter().all(|key| key.key != first && !second.contains(key)));
    assert_eq!(ours(&bench, Leg::B), told[0].key);
}
