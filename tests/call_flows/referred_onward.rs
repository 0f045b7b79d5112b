//! REFER executed by us: the new call goes on to others, and bears what the REFER or a 3xx gives it.

use onrecord::model::Fault;
use onrecord::sip::{Message, Method};

use super::bench::{A, Bench, PROXY, SDP, STRICT, answer};
use super::executed::{assert_old_call_stays, assert_told_last, refers, strict};
use super::party::{ALICE, BOB, CAROL, DAVE, Party};

const ERIN: Party = Party { user: "erin", at: A };
const DATA: &str = "56a390f3d2b7310023a2;encoding=hex;purpose=foo;content=bar";
const ESCAPED: &str = "User-to-User=56a390f3d2b7310023a2%3Bencoding%3Dhex%3Bpurpose%3Dfoo%3Bcontent%3Dbar";

/// Dave sends the call on to Erin.
fn sends_on(bench: &mut Bench, more: &str) {
    bench.answers_with(DAVE, "INVITE", 302, &format!("Contact: <sip:erin@{PROXY}{more}>\r\n"));
}

#[test]
fn a_target_that_has_moved_is_followed_as_the_party_itself_would_have() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    sends_on(&mut bench, "");
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:erin@{A}"));
    assert_eq!(invite.headers.get("Referred-By"), Some("<sip:alice@example.com>"));
    bench.answers(ERIN, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(ALICE, "BYE", 200, "");
    bench.hangs_up(bob, ERIN);
    bench.assert_nothing_left();
}

#[test]
fn who_is_called_instead_is_decided_anew_and_must_be_recordable() {
    let grant = "[[grant]]\npolicy = \"desk\"\nto = [\"user:erin@127.0.0.1\"]\n";
    let mut bench = Bench::executing(&[("desk.toml", STRICT), ("grants.toml", grant)]);
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.recorder_fails(Fault::Io);
    sends_on(&mut bench, "");
    assert_eq!(bench.newest(A, "INVITE").uri.user(), Some("dave"), "Erin hears nothing");
    assert_told_last(&bench, "SIP/2.0 603 Decline");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.hangs_up(bob, ALICE);
    bench.assert_nothing_left();
}

#[test]
fn a_target_that_moves_for_ever_is_given_up() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    for number in 0..20 {
        let moved = format!("Contact: <sip:u{number}@{PROXY}>\r\n");
        bench.answers_with(DAVE, "INVITE", 302, &moved);
    }
    // Five Contacts are looked at, and his own is in each answer.
    assert_eq!(bench.newest(A, "INVITE").uri.user(), Some("u1"));
    assert_told_last(&bench, "SIP/2.0 302 Moved Temporarily");
    bench.answers(ALICE, "NOTIFY", 200, "");
    assert_old_call_stays(&mut bench, alice);
}

#[test]
fn data_for_the_target_comes_with_its_invite_and_nothing_that_says_who_calls() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let forged = "P-Asserted-Identity=%3Csip%3Aboss%40example.com%3E&From=sip%3Aboss%40example.com";
    let more = format!("Refer-To: <sip:dave@{PROXY}?{forged}&{ESCAPED}>\r\n");
    let refer = alice.request("REFER", &more, "");
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:dave@{A}"));
    assert_eq!(invite.headers.get("User-to-User"), Some(DATA));
    assert_eq!(invite.headers.get("P-Asserted-Identity"), None);
    assert_eq!(invite.headers.from().uri().user(), Some("bob"));
    sends_on(&mut bench, "");
    assert_eq!(bench.newest(A, "INVITE").headers.get("User-to-User"), Some(DATA));
}

#[test]
fn what_the_peers_know_a_call_by_comes_from_the_uri_of_refer_to_and_nothing_that_is_ours_or_the_callers_to_say() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let theirs =
        "X-Genesys-CallUUID=7%3Ba%20b&Accept-Contact=*%3Bmobility%3D%22fixed%22&cisco-guid=1-2&x-two=1&X-Two=2";
    let ours = "X-Recording-Decision=none&Organization=Evil&P-Charging-Vector=1&Priority=emergency&Require=odd&Identity=1\
                &Via=SIP%2F2.0%2FUDP%20192.0.2.66&X-Broken=1%0D%0AP-Odd%3A%201&X%20Y=1";
    let more = format!("Refer-To: <sip:dave@{PROXY}?{theirs}&{ours}>\r\n");
    let refer = alice.request("REFER", &more, "");
    bench.from(A, refer);
    let invite = bench.newest(A, "INVITE");
    let told = |name| invite.headers.get_all(name).collect::<Vec<_>>();
    assert_eq!(told("X-Genesys-CallUUID"), ["7;a b"]);
    assert_eq!(told("Accept-Contact"), ["*;mobility=\"fixed\""]);
    assert_eq!(told("Cisco-Guid"), ["1-2"]);
    assert_eq!(told("X-Two"), ["1"], "of each name the first");
    for name in [
        "Organization",
        "P-Charging-Vector",
        "Priority",
        "Require",
        "Identity",
        "P-Odd",
    ] {
        assert_eq!(told(name), [""; 0], "{name}");
    }
    assert_eq!(told("Via").len(), 1);
    assert_ne!(told("X-Recording-Decision"), ["none"]);
}

#[test]
fn of_all_the_lines_that_a_uri_could_bring_sixteen_come() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let lines: Vec<String> = (0..30).map(|number| format!("X-N{number}=1")).collect();
    let more = format!("Refer-To: <sip:dave@{PROXY}?{}>\r\n", lines.join("&"));
    let refer = alice.request("REFER", &more, "");
    bench.from(A, refer);
    let invite = bench.newest(A, "INVITE");
    let brought = invite.headers.iter().filter(|(name, _)| name.starts_with("X-N"));
    assert_eq!(brought.count(), 16);
}

#[test]
fn data_of_who_sent_the_call_on_takes_the_place_of_the_callers() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    let more = format!("Refer-To: <sip:dave@{PROXY}?User-to-User=00>\r\n");
    let refer = alice.request("REFER", &more, "");
    bench.from(A, refer);
    bench.answers(ALICE, "NOTIFY", 200, "");
    sends_on(&mut bench, &format!("?{ESCAPED}"));
    let invite = bench.newest(A, "INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:erin@{A}"));
    let data: Vec<&str> = invite.headers.get_all("User-to-User").collect();
    assert_eq!(data, [DATA]);
}

#[test]
fn a_second_refer_does_not_swallow_the_last_word_on_the_first() {
    let mut bench = strict();
    let [mut alice, bob] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "");
    let trying = bench.newest(A, "NOTIFY");
    bench.answers(DAVE, "INVITE", 486, "");
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.response_to_a().status, 491);
    let told = answer(&trying, 200, "alice-tag", A, "");
    bench.from(A, told);
    assert_told_last(&bench, "SIP/2.0 486 Busy Here");
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.response_to_a().status, 491, "it may be on its way");
    bench.answers(ALICE, "NOTIFY", 200, "");
    refers(&mut bench, &mut alice, "");
    assert_eq!(bench.response_to_a().status, 202);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.answers(DAVE, "INVITE", 486, "");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.hangs_up(bob, ALICE);
    bench.assert_nothing_left();
}

#[test]
fn who_referred_hears_the_last_before_a_bye_of_ours() {
    for answers in [true, false] {
        let mut bench = strict();
        let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
        refers(&mut bench, &mut alice, "");
        if answers {
            bench.answers(ALICE, "NOTIFY", 200, "");
        }
        bench.answers(DAVE, "INVITE", 180, "");
        bench.story.clear();
        bench.recorder_fails(Fault::Io);
        let at = |step: &str| bench.story.iter().position(|other| other == step);
        assert!(at("NOTIFY → A").unwrap() < at("BYE → A").unwrap(), "{:?}", bench.story);
        assert_told_last(&bench, "SIP/2.0 487 Request Terminated");
        let notices = |bench: &Bench| bench.to_a.iter().filter(|message| is_notify(message)).count();
        assert_eq!(notices(&bench), 2);
        bench.answers(ALICE, "BYE", 200, "");
        bench.answers(ALICE, "NOTIFY", 481, "");
        assert_eq!(notices(&bench), 2);
    }
}

fn is_notify(message: &Message) -> bool {
    matches!(message, Message::Request(request) if request.method == Method::Notify)
}

#[test]
fn the_transfer_of_an_emergency_call_is_one_too_and_nothing_refuses_it() {
    let mut bench = strict();
    bench.invites(BOB, &format!("sip:112@{PROXY}"), "call-1", "");
    let [bob, mut help] = bench.picks_up(BOB, DAVE);
    bench.recorder_fails(Fault::Io);
    refers(&mut bench, &mut help, "");
    assert_eq!(bench.response_to_a().status, 202);
    bench.answers(DAVE, "NOTIFY", 200, "");
    bench.answers(ERIN, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    bench.answers(DAVE, "NOTIFY", 200, "");
    bench.answers(DAVE, "BYE", 200, "");
    // Who was only brought in by a REFER may not be called back past the policies; who called for help may.
    bench.invites(CAROL, &format!("sip:erin@{PROXY}"), "call-2", "");
    assert_eq!(bench.response_to_b().status, 603);
    bench.invites(DAVE, &format!("sip:carol@{PROXY}"), "call-3", "");
    assert_eq!(bench.response_to_a().status, 603);
    bench.invites(DAVE, &format!("sip:bob@{PROXY}"), "call-4", "");
    bench.answers(BOB, "INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486);
    bench.hangs_up(bob, ERIN);
    let headers = bench.headers();
    let decided: Vec<&String> = headers.iter().flat_map(|header| &header.trace).collect();
    let why = "emergency  an emergency call was sent on here";
    assert!(decided.iter().any(|line| line.starts_with(why)), "{decided:?}");
}
