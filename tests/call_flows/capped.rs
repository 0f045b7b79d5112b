//! A trunk has only so many calls.

use std::num::NonZeroU32;
use std::time::Duration;

use onrecord::trunk::{Caps, Trunk};

use super::bench::{A, B, Bench, SDP};
use super::routed::{call, configure, trunk};

fn capped(calls_max: Option<u32>, rate: Option<u32>) -> Bench {
    let mut bench = Bench::unrecorded();
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
