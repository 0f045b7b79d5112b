//! Methods that a trunk may not use.

use onrecord::sip::Method;
use onrecord::trunk::Trunk;

use super::super::bench::{A, B, Bench, PROXY, SDP};
use super::super::party::{ALICE, BOB};
use super::{configure, trunk};

#[test]
fn a_method_that_a_trunk_may_not_use_gets_405_and_the_list_that_it_may() {
    let mut bench = Bench::unrecorded();
    let carrier = Trunk {
        methods: Some(vec![Method::Invite, Method::Options]),
        ..trunk("carrier", B)
    };
    configure(&mut bench, trunk("pbx", A), carrier);
    bench.invite(SDP, "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, REFER\r\n");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let allow = "INVITE, ACK, BYE, CANCEL, OPTIONS";
    let may_use = format!("{allow}, PRACK");
    assert_eq!(bench.request_to_b("INVITE").headers.get("Allow"), Some(allow));
    bench.b_requests(7, "INFO", "info7", "");
    assert_eq!(bench.response_to_b().status, 405);
    assert_eq!(bench.response_to_b().headers.get("Allow"), Some(may_use.as_str()));
    bench.b_requests(8, "FROBNICATE", "f8", "");
    assert_eq!(
        bench.response_to_b().status,
        501,
        "nobody may use it, and nobody knows it"
    );
    assert_eq!(bench.response_to_b().headers.get("Allow"), Some(may_use.as_str()));
    bench.b_requests(9, "REGISTER", "r9", "");
    assert_eq!(
        bench.response_to_b().status,
        405,
        "known, and not carried inside a call"
    );
    assert_eq!(bench.response_to_b().headers.get("Allow"), Some(may_use.as_str()));
    bench.b_requests(10, "BYE", "bye10", "");
    assert_eq!(bench.response_to_b().status, 200, "a call can always be ended");
}

#[test]
fn outside_calls_allow_lists_what_the_trunk_may_use_there_whether_it_asks_or_errs() {
    let mut bench = Bench::unrecorded();
    let pbx = Trunk {
        methods: Some(vec![Method::Invite, Method::Options, Method::Register]),
        ..trunk("pbx", A)
    };
    configure(&mut bench, pbx, trunk("carrier", B));
    let us = format!("sip:{PROXY}");
    let asked = [
        ("OPTIONS", 200),
        ("MESSAGE", 405),
        ("PUBLISH", 405),
        ("FROBNICATE", 501),
    ];
    for (method, status) in asked {
        bench.requests(method, ALICE, &us, method, "", "");
        let answer = bench.response_to_a();
        assert_eq!(answer.status, status, "{method}");
        let allow = answer.headers.get("Allow");
        assert_eq!(
            allow,
            Some("INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, REGISTER"),
            "{method}"
        );
    }
    bench.requests("FROBNICATE", BOB, &us, "f-1", "", "");
    let refused = bench.response_to_b();
    assert_eq!(refused.status, 501);
    assert!(
        refused
            .headers
            .get("Allow")
            .is_some_and(|allow| allow.ends_with("PUBLISH, REGISTER"))
    );
}

#[test]
fn a_trunk_with_a_list_of_methods_acknowledges_reliable_responses_and_hears_of_no_others() {
    let mut bench = Bench::unrecorded();
    let pbx = Trunk {
        methods: Some(vec![Method::Invite, Method::Update]),
        ..trunk("pbx", A)
    };
    configure(&mut bench, pbx, trunk("carrier", B));
    bench.invite(
        SDP,
        "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, INFO, PRACK\r\n",
    );
    let told = "INVITE, ACK, BYE, CANCEL, INFO, PRACK";
    assert_eq!(bench.request_to_b("INVITE").headers.get("Allow"), Some(told));
    let reliable = "Require: 100rel\r\nRSeq: 1\r\nAllow: INVITE, ACK, BYE, CANCEL, INFO, UPDATE, PRACK\r\n";
    bench.fork_answers("b-tag", 183, reliable, SDP);
    let progress = bench.response_to_a();
    let may_use = "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK";
    assert_eq!(progress.headers.get("Allow"), Some(may_use));
    let tag = progress.headers.to().tag().unwrap().to_owned();
    let rseq = progress.headers.get("RSeq").unwrap();
    bench.a_requests_in(&tag, 2, "PRACK", &format!("RAck: {rseq} 1 INVITE\r\n"), "");
    bench.b_agrees("PRACK", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.b_answers("INVITE", 200, "");
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(3, "OPTIONS", "o3", "");
    assert_eq!(
        bench.response_to_a().headers.get("Allow"),
        Some("INVITE, ACK, BYE, CANCEL, UPDATE, PRACK")
    );
    bench.a_requests(4, "INFO", "i4", "");
    assert_eq!(bench.response_to_a().status, 405);
}
