//! A trunk has only so many calls.

use std::num::NonZeroU32;
use std::time::Duration;

use onrecord::engine::Input;
use onrecord::trunk::{Caps, Conduct, Redirect, Route, Trunk};

use super::bench::{A, B, Bench, C, SDP};
use super::routed::{call, configure, trunk};

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
    let conduct = Conduct {
        redirect: Redirect::Follow,
        ..Conduct::default()
    };
    let carrier = Trunk {
        conduct,
        ..trunk("carrier", B)
    };
    let caps = Caps {
        calls_max: Some(1),
        calls_per_second: None,
    };
    let branch = Trunk {
        caps,
        ..trunk("branch", C)
    };
    let route = |to: &str| Route {
        from: "pbx".into(),
        to: to.into(),
        prefix: None,
        to_user: None,
        priority: 0,
    };
    bench.input(Input::Trunks {
        trunks: vec![trunk("pbx", A), carrier, branch],
        routes: vec![route("carrier"), route("branch")],
    });
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
