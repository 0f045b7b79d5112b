//! A trunk has only so many calls.

use std::num::NonZeroU32;
use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, RecordingEvent};
use onrecord::sip::Message;
use onrecord::trunk::{Caps, Trunk};

use super::bench::{A, B, Bench, C, PROXY, SDP, STRICT, invite};
use super::party::{ALICE, BOB, CAROL, PhoneDialog};
use super::routed::{call, configure, configure_onward, trunk};

fn capped(calls_max: Option<u32>, rate: Option<u32>) -> Bench {
    capped_in(Bench::unrecorded(), calls_max, rate)
}

fn capped_in(mut bench: Bench, calls_max: Option<u32>, rate: Option<u32>) -> Bench {
    let carrier = Trunk {
        caps: Caps {
            calls_max,
            calls_per_second: rate.and_then(NonZeroU32::new),
        },
        ..trunk("carrier", B)
    };
    configure(&mut bench, trunk("pbx", A), carrier);
    bench
}

#[test]
fn a_full_trunk_refuses_calls_and_takes_them_again_when_one_ends() {
    let mut bench = capped(Some(1), None);
    call(&mut bench, 1, "bob", SDP);
    call(&mut bench, 2, "bob", SDP);
    let refused = bench.response_to_a();
    assert_eq!((refused.status, refused.headers.get("Retry-After")), (503, Some("10")));
    assert!(
        refused
            .headers
            .get("Reason")
            .is_some_and(|reason| reason.starts_with("Q.850;cause=34;"))
    );
    bench.b_answers("INVITE", 486, "");
    bench.wait(Duration::from_secs(60));
    call(&mut bench, 3, "bob", SDP);
    bench.b_answers("INVITE", 180, "");
    assert_eq!(bench.response_to_a().status, 180);
    assert_eq!(bench.signaling.trunks(bench.now)[1].calls, 1);
}

#[test]
fn an_emergency_call_passes_a_full_trunk() {
    let mut bench = capped(Some(1), Some(1));
    call(&mut bench, 1, "bob", SDP);
    bench.b_answers("INVITE", 180, "");
    call(&mut bench, 2, "112", SDP);
    bench.b_answers("INVITE", 180, "");
    assert_eq!(bench.response_to_a().headers.call_id(), "call-2");
    assert_eq!(bench.response_to_a().status, 180);
    assert_eq!(bench.signaling.trunks(bench.now)[1].calls, 2, "it counts all the same");
}

#[test]
fn calls_that_come_too_fast_are_told_to_come_again() {
    let mut bench = capped(None, Some(2));
    for n in 1..4 {
        call(&mut bench, n, "bob", SDP);
    }
    let refused = bench.response_to_a();
    assert_eq!((refused.status, refused.headers.get("Retry-After")), (503, Some("2")));
    assert_eq!(refused.headers.call_id(), "call-3");
    bench.wait(Duration::from_millis(500));
    call(&mut bench, 4, "bob", SDP);
    assert_eq!(bench.request_to_b("INVITE").headers.cseq().number, 1);
    assert_eq!(bench.response_to_a().status, 100);
}

/// A carrier that sends calls on, one of which may be at the branch.
fn with_branch() -> Bench {
    let mut bench = Bench::unrecorded();
    let caps = Caps {
        calls_max: Some(1),
        calls_per_second: None,
    };
    let branch = Trunk {
        caps,
        ..trunk("branch", C)
    };
    configure_onward(&mut bench, trunk("carrier", B), branch);
    bench
}

fn counted(bench: &Bench) -> Vec<u32> {
    bench
        .signaling
        .trunks(bench.now)
        .iter()
        .map(|view| view.calls)
        .collect()
}

#[test]
fn a_call_that_was_sent_on_counts_where_it_is() {
    let mut bench = with_branch();
    call(&mut bench, 1, "bob", SDP);
    assert_eq!(counted(&bench), [1, 1, 0]);
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert_eq!(counted(&bench), [1, 0, 1]);
    bench.c_answers("INVITE", 486, "");
    bench.assert_nothing_left();
    assert_eq!(counted(&bench), [0, 0, 0]);
}

#[test]
fn a_call_is_not_sent_on_to_a_trunk_that_is_full_unless_it_is_an_emergency() {
    let mut bench = with_branch();
    call(&mut bench, 1, "bob", SDP);
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    bench.c_answers("INVITE", 180, "");
    bench.to_c.clear();
    call(&mut bench, 2, "bob", SDP);
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert!(bench.to_c.is_empty());
    assert_eq!(bench.response_to_a().status, 302, "the caller may find a way");
    call(&mut bench, 3, "112", SDP);
    bench.b_redirects(302, &[&format!("<sip:112@{C}>")]);
    assert_eq!(bench.request_to_c("INVITE").uri.user(), Some("112"));
    assert_eq!(counted(&bench)[2], 2);
}

#[test]
fn a_call_that_is_sent_on_to_help_is_followed_to_a_full_trunk_too() {
    let mut bench = with_branch();
    call(&mut bench, 1, "bob", SDP);
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    bench.c_answers("INVITE", 180, "");
    for (n, contact, asked) in [
        (2, format!("<sip:112@{C}>"), "sip:112@127.0.0.1:5091"),
        (3, format!("<sips:112@{C}>"), "sips:112@127.0.0.1:5091"),
    ] {
        call(&mut bench, n, "bob", SDP);
        bench.b_redirects(302, &[&contact]);
        assert_eq!(bench.request_to_c("INVITE").uri.to_string(), asked);
    }
    assert_eq!(counted(&bench)[2], 3);
}

/// The branch is full, and a call asks carol at B, who says 100 and no more; dave of the branch is next. Nobody is asked.
fn carol_is_waited_for() -> Bench {
    let mut bench = with_branch();
    call(&mut bench, 1, "bob", SDP);
    bench.b_redirects(302, &[&format!("<sip:erin@{C}>")]);
    bench.c_answers("INVITE", 180, "");
    let wanted = invite(1, "i2", "", SDP, "").to_vec();
    let wanted = String::from_utf8(wanted).unwrap().replace("call-1", "call-2");
    let wanted = wanted.replacen("Contact:", "Supported: histinfo\r\nContact:", 1);
    bench.from(A, wanted.into());
    bench.b_redirects(
        302,
        &[&format!("<sip:carol@{B}>;q=0.9"), &format!("<sip:dave@{C}>;q=0.5")],
    );
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("carol"));
    bench.b_agrees("INVITE", 100, "");
    bench.wait(Duration::from_secs(61));
    assert_eq!(bench.request_to_c("INVITE").uri.user(), Some("erin"));
    bench
}

#[test]
fn who_could_not_be_asked_for_want_of_room_is_asked_once_there_is_some() {
    let mut bench = carol_is_waited_for();
    bench.c_answers("INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486);
    bench.b_answers("INVITE", 486, "");
    assert_eq!(bench.request_to_c("INVITE").uri.user(), Some("dave"));
    bench.c_answers("INVITE", 180, "");
    assert_eq!(counted(&bench), [1, 0, 1]);
}

#[test]
fn who_could_not_be_asked_for_want_of_room_sends_nobody_on() {
    let mut bench = carol_is_waited_for();
    bench.b_redirects(302, &[&format!("<sip:frank@{B}>")]);
    let invite = bench.request_to_b("INVITE");
    assert_eq!(invite.uri.user(), Some("frank"));
    let history: Vec<&str> = invite.headers.get_all("History-Info").collect();
    assert!(history.iter().any(|entry| entry.contains("carol@")), "{history:?}");
    assert!(history.iter().all(|entry| !entry.contains("dave@")), "{history:?}");
}

#[test]
fn who_was_called_securely_is_sent_on_to_help_all_the_same() {
    let mut bench = with_branch();
    let text = String::from_utf8(invite(1, "s1", "", SDP, "").to_vec()).unwrap();
    bench.from(
        A,
        text.replace("sip:bob@127.0.0.1:5070", "sips:112@127.0.0.1:5070").into(),
    );
    for contact in ["<tel:112>", "<urn:service:sos>"] {
        let before = bench.to_b.len();
        bench.b_redirects(302, &[contact]);
        assert!(bench.to_b.len() > before, "{contact}");
    }
}

#[test]
fn a_caller_who_answers_a_challenge_is_one_new_call() {
    for (status, header) in [(407, "Proxy-Authorization"), (401, "Authorization")] {
        let mut bench = capped(None, Some(1));
        for n in 0..3_u64 {
            call(&mut bench, 2 * n as usize, "bob", SDP);
            bench.b_answers("INVITE", status, "");
            assert_eq!(bench.response_to_a().status, status);
            let text = String::from_utf8(invite(2, &format!("again{n}"), "", SDP, "").to_vec()).unwrap();
            let proven = format!("{header}: Digest username=\"u\"\r\nContact:");
            let text = text
                .replace("call-1", &format!("call-{n}"))
                .replacen("Contact:", &proven, 1);
            bench.from(A, text.into());
            assert!(bench.request_to_b("INVITE").headers.contains(header), "{n}");
            bench.b_answers("INVITE", 486, "");
            bench.wait(Duration::from_secs(1));
        }
        call(&mut bench, 8, "bob", SDP);
        call(&mut bench, 9, "bob", SDP);
        assert_eq!(bench.response_to_a().status, 503, "any other in this second");
    }
}

#[test]
fn who_is_sent_on_by_a_302_that_is_passed_may_follow_it() {
    let mut bench = capped(None, Some(1));
    call(&mut bench, 1, "bob", SDP);
    bench.b_redirects(302, &["<sip:carol@192.0.2.9>"]);
    call(&mut bench, 2, "carol", SDP);
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("carol"));
}

#[test]
fn calls_that_a_trunk_never_hears_of_are_none_of_its_new_ones() {
    let block = "[policy]\nid = \"no\"\nenabled = true\naction = \"block\"\n[[policy.recorder]]\nid = \"embedded\"\n";
    let forbidden =
        "[[grant]]\npolicy = \"no\"\nto = [\"user:666\"]\n[[grant]]\npolicy = \"desk\"\nto = [\"user:1000\"]\n";
    let files = [("no.toml", block), ("desk.toml", STRICT), ("grants.toml", forbidden)];
    for (way, user, status) in [
        ("forbidden", "666", 403),
        ("down", "1000", 603),
        ("silent", "1000", 603),
    ] {
        let mut bench = capped_in(Bench::with(&files), None, Some(2));
        match way {
            "down" => bench.recorder_fails(Fault::Io),
            "silent" => bench.recorder_answers = false,
            _ => {}
        }
        for n in 1..3 {
            call(&mut bench, n, user, SDP);
        }
        if way == "silent" {
            assert!(bench.to_a.iter().all(|message| !is_final(message)), "both wait");
            call(&mut bench, 3, "bob", SDP);
            assert_eq!(
                bench.response_to_a().status,
                503,
                "each has its place while it may go on"
            );
            bench.input(Input::Recording(RecordingEvent::Down { fault: Fault::Io }));
        }
        assert_eq!(bench.response_to_a().status, status);
        for n in 4..6 {
            call(&mut bench, n, "bob", SDP);
            assert_eq!(bench.response_to_a().headers.call_id(), format!("call-{n}"));
            assert_eq!(bench.response_to_a().status, 100, "{way}");
        }
        call(&mut bench, 6, "bob", SDP);
        assert_eq!(bench.response_to_a().status, 503, "{way}");
    }
}

fn is_final(message: &Message) -> bool {
    matches!(message, Message::Response(response) if response.is_final())
}

/// Bob's call in the place of Alice's is picked up, and then all three calls end.
fn carol_takes_bob_and_all_hang_up(mut bench: Bench, bobs: PhoneDialog, carols: PhoneDialog) {
    let [third, _] = bench.picks_up(BOB, CAROL);
    bench.hangs_up(third, CAROL);
    bench.hangs_up(bobs, BOB);
    bench.hangs_up(carols, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn who_takes_the_place_of_a_call_on_a_full_trunk_needs_no_other() {
    let mut bench = capped_in(Bench::strict(), Some(2), None);
    let [bobs, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [carols, carol] = bench.talk(ALICE, CAROL, "call-2", "");
    bench.invites(BOB, "sip:alice@pbx.example", "call-3", "");
    assert_eq!(bench.response_to_b().status, 503);
    // Alice has referred Bob to Carol.
    let replaces = format!("Replaces: {}\r\nRequire: replaces\r\n", carols.for_far_end());
    bench.invites(BOB, &format!("sip:carol@{PROXY}"), "call-4", &replaces);
    let invite = bench.newest(B, "INVITE");
    assert_eq!(invite.headers.get("Replaces"), Some(carol.for_itself().as_str()));
    carol_takes_bob_and_all_hang_up(bench, bobs, carols);
}

#[test]
fn the_place_of_a_call_is_promised_to_one_at_a_time() {
    let mut bench = capped_in(Bench::strict(), Some(2), None);
    let [bobs, _] = bench.talk(ALICE, BOB, "call-1", "");
    let [carols, _] = bench.talk(ALICE, CAROL, "call-2", "");
    let replaces = format!("Replaces: {}\r\nRequire: replaces\r\n", carols.for_far_end());
    let carol = format!("sip:carol@{PROXY}");
    bench.invites(BOB, &carol, "call-3", &replaces);
    let asked = bench.newest(B, "INVITE").headers.call_id().to_owned();
    bench.invites(BOB, &carol, "call-4", &replaces);
    assert_eq!(bench.response_to_b().status, 503, "bob's first is to have it");
    bench.b_answers("INVITE", 486, "");
    bench.invites(BOB, &carol, "call-5", &replaces);
    assert_ne!(bench.newest(B, "INVITE").headers.call_id(), asked);
    carol_takes_bob_and_all_hang_up(bench, bobs, carols);
}

#[test]
fn callers_who_answer_no_challenge_are_new_calls_soon() {
    let mut bench = capped(None, Some(1));
    for (n, status) in [(1, 407), (2, 407), (3, 503)] {
        call(&mut bench, n, "bob", SDP);
        if status == 407 {
            bench.b_answers("INVITE", 407, "");
        }
        assert_eq!(bench.response_to_a().status, status, "{n}");
    }
}

#[test]
fn a_caller_who_answers_a_challenge_on_the_last_channel_need_not_wait_for_the_recording() {
    let mut bench = capped_in(Bench::strict(), Some(1), None);
    call(&mut bench, 1, "bob", SDP);
    // What is recorded of this call is stored late.
    bench.media_answers = false;
    bench.b_answers("INVITE", 407, "");
    assert_eq!(bench.response_to_a().status, 407);
    assert_eq!(counted(&bench), [0, 0]);
    assert_eq!(
        bench.signaling.calls(),
        1,
        "its media is not closed, its recording not sealed"
    );
    bench.media_answers = true;
    call(&mut bench, 2, "bob", SDP);
    bench.b_answers("INVITE", 180, "");
    assert_eq!(bench.response_to_a().headers.call_id(), "call-2");
    assert_eq!(bench.response_to_a().status, 180);
    assert_eq!(counted(&bench), [1, 1]);
}

#[test]
fn a_call_has_its_place_until_both_parties_are_gone() {
    let bench = capped_in(Bench::strict(), Some(1), None);
    let mut bench = bench.connected();
    bench.a_requests(2, "BYE", "bye", "");
    assert_eq!(counted(&bench), [1, 1], "B has not answered its BYE");
    bench.recorder_answers = false;
    bench.b_agrees("BYE", 200, "");
    assert_eq!((counted(&bench), bench.signaling.calls()), (vec![0, 0], 1));
}

#[test]
fn recordings_that_are_not_sealed_keep_nobody_out_until_there_are_as_many_as_calls_may_be() {
    let mut bench = Bench::strict();
    for n in 1..=100 {
        call(&mut bench, n, "bob", SDP);
        bench.recorder_answers = false;
        bench.b_answers("INVITE", 486, "");
        bench.recorder_answers = true;
    }
    assert_eq!(
        (bench.signaling.calls(), bench.signaling.is_full(bench.now)),
        (100, false)
    );
    for n in 101..=200 {
        call(&mut bench, n, "bob", SDP);
        bench.recorder_answers = false;
        bench.b_answers("INVITE", 486, "");
        bench.recorder_answers = true;
    }
    assert_eq!(
        (bench.signaling.calls(), bench.signaling.is_full(bench.now)),
        (200, true)
    );
    call(&mut bench, 201, "bob", SDP);
    assert_eq!(bench.response_to_a().status, 503);
}
