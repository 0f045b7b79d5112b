//! A call that may not begin unrecorded, and may go on so: while its recorder is away, nothing and nobody is added to it.

use onrecord::engine::Input;
use onrecord::model::{Fault, RecordingEvent};

use super::bench::{A, B, Bench, GRANTS, LENIENT, SDP, STRICT, answer, with_lines};

const VIDEO: &str = "m=video 4002 RTP/AVP 31\r\na=sendrecv\r\n";
const CAROL: &str = "P-Asserted-Identity: <sip:carol@example.com>\r\n";
const NAMESAKE: &str = "P-Asserted-Identity: <sip:bob@elsewhere.example>\r\n";

fn before_only() -> String {
    format!("{STRICT}required_during_call = false\n")
}

fn talking(policy: &str) -> Bench {
    Bench::with(&[("desk.toml", policy), ("grants.toml", GRANTS)]).connected()
}

#[test]
fn a_medium_that_must_be_recorded_is_refused_in_a_gap_and_the_session_stays_as_it_was() {
    let with_video = format!("{SDP}{VIDEO}");
    for (policy, status) in [(before_only(), 488), (LENIENT.to_owned(), 200)] {
        let mut bench = talking(&policy);
        let tag = bench.our_tag();
        bench.recorder_fails(Fault::Io);
        bench.a_requests_in(&tag, 2, "INVITE", "", &with_video);
        if status == 200 {
            bench.b_answers("INVITE", 200, &with_video);
        }
        assert_eq!(bench.response_to_a().status, status, "{:?}", bench.story);
        bench.a_requests_in(&tag, 2, "ACK", "", "");
        let agreed = if status == 200 { &with_video } else { SDP };
        let held = agreed.replace("sendrecv", "sendonly");
        bench.a_requests_in(&tag, 3, "INVITE", "", &held);
        bench.b_answers("INVITE", 200, &agreed.replace("sendrecv", "recvonly"));
        assert_eq!(bench.response_to_a().status, 200, "hold adds nothing");
        bench.a_requests_in(&tag, 3, "ACK", "", "");
        bench.input(Input::Recording(RecordingEvent::Up));
        bench.a_requests_in(&tag, 4, "INVITE", "", &with_video);
        bench.b_answers("INVITE", 200, &with_video);
        assert_eq!(bench.response_to_a().status, 200, "it is recorded again");
    }
}

/// RFC 3264 §6.
#[test]
fn an_answer_has_the_lines_of_its_offer_after_a_medium_was_refused_to_the_other_side() {
    let with_video = format!("{SDP}{VIDEO}");
    let media = |body: &[u8]| String::from_utf8_lossy(body).matches("m=").count();
    let mut bench = Bench::with(&[("desk.toml", &before_only()), ("grants.toml", GRANTS)]);
    bench.invite(SDP, "");
    let ok = answer(&bench.request_to_b("INVITE"), 200, "b-tag", B, SDP);
    bench.from(B, with_lines(&ok, "Supported: record-aware\r\n"));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.b_agrees("INVITE", 200, SDP);
    let tag = bench.our_tag();
    bench.a_requests_in(&tag, 2, "INVITE", "", &with_video);
    bench.b_answers("INVITE", 488, "");
    bench.a_requests_in(&tag, 2, "ACK", "", "");
    bench.a_requests_in(&tag, 3, "INVITE", "", "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests_in(&tag, 3, "ACK", "", SDP);
    let answer = bench.request_to_b("ACK").body;
    assert_eq!(media(&answer), 1, "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_medium_that_a_2xx_offers_in_a_gap_is_refused_if_it_must_be_recorded_and_the_session_stays() {
    let with_video = format!("{SDP}{VIDEO}");
    for (policy, offer, is_refused) in [
        (before_only(), with_video.as_str(), true),
        (before_only(), SDP, false),
        (LENIENT.to_owned(), with_video.as_str(), false),
    ] {
        let mut bench = talking(&policy);
        let tag = bench.our_tag();
        bench.recorder_fails(Fault::Io);
        bench.a_requests_in(&tag, 2, "INVITE", "", "");
        bench.b_answers("INVITE", 200, offer);
        let status = if is_refused { 488 } else { 200 };
        assert!(!bench.story.iter().any(|rung| rung == "BYE → B"), "{:?}", bench.story);
        let told_again = bench.story.ends_with(&["INVITE → B".to_owned()]);
        assert_eq!(told_again, is_refused, "{:?}", bench.story);
        assert!(
            bench.story.iter().any(|rung| rung == &format!("{status} → A")),
            "{:?}",
            bench.story
        );
    }
}

#[test]
fn another_party_is_refused_in_a_gap_and_the_same_under_another_name_is_not() {
    for (policy, more, status) in [
        (before_only(), CAROL, 488),
        (before_only(), NAMESAKE, 200),
        (LENIENT.to_owned(), CAROL, 200),
    ] {
        let mut bench = talking(&policy);
        bench.recorder_fails(Fault::Io);
        bench.fork_requests("b-tag", 9, "UPDATE", more, "");
        if status == 200 {
            let update = bench.request_to_a("UPDATE");
            bench.from(A, super::bench::answer(&update, 200, "a-tag", A, ""));
        }
        assert_eq!(bench.response_to_b().status, status, "{more}");
        assert!(
            !bench.story.iter().any(|rung| rung.starts_with("BYE")),
            "{:?}",
            bench.story
        );
    }
}

#[test]
fn who_accepts_in_a_gap_as_somebody_who_may_not_begin_unrecorded_ends_the_call() {
    let mut bench = talking(&before_only());
    let tag = bench.our_tag();
    bench.recorder_fails(Fault::Io);
    bench.a_requests_in(&tag, 2, "UPDATE", "", "");
    let bytes = super::bench::answer(&bench.request_to_b("UPDATE"), 200, "b-tag", B, "");
    bench.from(B, with_lines(&bytes, CAROL));
    assert!(bench.story.iter().any(|rung| rung == "BYE → B"), "{:?}", bench.story);
}
