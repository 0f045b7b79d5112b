//! Calls that come near what the driver keeps of one.

use onrecord::engine::{Input, STATE_BYTES_MAX};

use super::bench::{Bench, SDP};

/// What the driver does: what is too long is not kept, nor what was before.
fn drops_what_is_too_long(bench: &mut Bench) {
    let session = bench.session();
    if bench
        .remembered
        .get(&session)
        .is_some_and(|state| state.len() > STATE_BYTES_MAX)
    {
        bench.remembered.remove(&session);
        bench.input(Input::NotKept { session });
    }
}

/// The length of what is written of it, and whether readers hear that it survives.
fn kept(bench: &Bench) -> (Option<usize>, bool) {
    let session = bench.session();
    let length = bench.remembered.get(&session).map(bytes::Bytes::len);
    (length, bench.views[&session].survives)
}

#[test]
fn a_2xx_without_its_ack_for_which_there_is_no_room_costs_no_call_its_survival() {
    let long = format!("{SDP}a=x:{}\r\n", "x".repeat(STATE_BYTES_MAX / 3));
    let too_long = format!("{SDP}a=x:{}\r\n", "x".repeat(STATE_BYTES_MAX));
    for was_too_long in [false, true] {
        let mut bench = Bench::strict();
        bench.invite(if was_too_long { &too_long } else { SDP }, "");
        bench.b_answers("INVITE", 200, SDP);
        bench.a_requests(1, "ACK", "ack1", "");
        drops_what_is_too_long(&mut bench);
        let before = kept(&bench);
        assert_eq!(before.1, !was_too_long);
        bench.a_requests(2, "INVITE", "re2", SDP);
        bench.b_answers("INVITE", 200, &long);
        drops_what_is_too_long(&mut bench);
        assert_eq!(kept(&bench), (before.0, false), "what was written stands");
        bench.a_requests(2, "ACK", "ack2", "");
        drops_what_is_too_long(&mut bench);
        let (length, survives) = kept(&bench);
        assert!(survives && length > Some(long.len()), "{length:?}");
        bench.story.clear();
        bench.input(Input::HandOver);
        bench.input(Input::ShutDown);
        assert!(
            !bench.story.iter().any(|rung| rung.starts_with("BYE")),
            "{:?}",
            bench.story
        );
        let mut after = bench.goes_on_as(Bench::strict());
        after.a_requests(3, "BYE", "bye", "");
        assert_eq!(after.request_to_b("BYE").headers.to().tag(), Some("b-tag"));
    }
}
