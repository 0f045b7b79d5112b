//! Who rings with early media, and who turns out to be somebody else, is decided for before it is heard.

use onrecord::model::{Fault, Gate, Outcome, Recorded};
use onrecord::trunk::Conduct;

use super::super::bench::{B, Bench, CLERK, SDP, STRICT, TO_TRADER, TRADER, answer, reliable, with_video};
use super::{KNOWS, answers_media, became, kept, traders_video};

#[test]
fn who_rings_with_early_media_is_recorded_before_it_is_heard() {
    for in_one in [true, false] {
        let mut bench = Bench::for_trader();
        bench.recorder_answers = false;
        bench.invite(SDP, "");
        if in_one {
            bench.fork_answers("b-tag", 183, TRADER, SDP);
        } else {
            bench.fork_answers("b-tag", 180, TRADER, "");
            assert_eq!(bench.sessions().len(), 0, "who rings without a word is not recorded");
            bench.fork_answers("b-tag", 183, "", SDP);
        }
        assert_eq!(bench.sessions().len(), 1);
        assert_eq!(bench.gates(), [Gate::Shut]);
        bench.recording_opens();
        assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
        assert_eq!(bench.recorded(), Some(Recorded::Strict));
        bench.fork_answers("b-tag", 200, "", SDP);
        bench.a_requests(1, "ACK", "ack", "");
        assert_eq!(bench.headers()[0].callee.identity, "sip:trader@example.com");
        bench.recorder_fails(Fault::Io);
        assert_eq!((bench.times("BYE → A"), bench.times("BYE → B")), (1, 1));
    }
}

#[test]
fn who_is_heard_already_and_turns_out_to_be_another_is_recorded_from_there() {
    let mut bench = Bench::for_trader();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 183, "", SDP);
    assert_eq!(bench.sessions().len(), 0);
    bench.fork_answers("b-tag", 181, TRADER, "");
    assert_eq!((bench.sessions().len(), bench.gates()), (1, vec![Gate::Shut]));
}

#[test]
fn who_rings_with_early_media_and_cannot_be_recorded_is_not_heard_and_is_refused_when_it_answers() {
    let mut bench = Bench::for_trader();
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 183, TRADER, SDP);
    assert_eq!(bench.times("183 → A"), 1);
    assert!(bench.response_to_a().body.is_empty());
    assert!(!answers_media(&bench), "nobody hears it");
    bench.fork_answers("b-tag", 200, "", SDP);
    assert_eq!(bench.response_to_a().status, 603);
    assert_eq!((bench.times("ACK → B"), bench.times("BYE → B")), (1, 1));
    assert!(!answers_media(&bench));
    bench.a_requests(1, "ACK", "a1", "");
    bench.b_agrees("BYE", 200, "");
    let (header, outcome) = kept(&bench);
    assert_eq!(
        (header.callee.identity.as_str(), outcome),
        ("sip:trader@example.com", Outcome::Blocked)
    );
    bench.assert_nothing_left();
}

#[test]
fn who_may_not_be_heard_ringing_keeps_neither_another_phone_nor_another_address_from_answering() {
    let mut bench = Bench::for_trader();
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.fork_answers("trader", 183, TRADER, SDP);
    bench.fork_answers("clerk", 183, CLERK, SDP);
    assert!(answers_media(&bench));
    bench.fork_answers("clerk", 200, CLERK, SDP);
    assert_eq!((bench.response_to_a().status, bench.sessions().len()), (200, 0));
    bench.a_requests(1, "ACK", "ack", "");
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_agrees("BYE", 200, "");
    assert_eq!(kept(&bench).0.callee.identity, "sip:clerk@example.com");
    bench.assert_nothing_left();

    let files = [("desk.toml", STRICT), ("grants.toml", TO_TRADER)];
    let mut bench = Bench::with_spare(&files, Conduct::default());
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.fork_answers("trader", 183, TRADER, SDP);
    bench.fork_answers("trader", 503, "", "");
    bench.c_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_a().status, 200, "{:#?}", bench.story);
}

#[test]
fn who_rings_reliably_and_may_not_be_heard_is_parted_with_while_others_ring() {
    for is_alone in [true, false] {
        let mut bench = Bench::for_trader();
        bench.recorder_fails(Fault::Io);
        bench.invite(SDP, KNOWS);
        if !is_alone {
            bench.fork_answers("clerk", 180, CLERK, "");
        }
        bench.fork_answers("trader", 183, &format!("{TRADER}{}", reliable(4)), SDP);
        assert_eq!(bench.times("183 → A"), 0);
        if is_alone {
            assert_eq!(bench.response_to_a().status, 603);
            assert_eq!(bench.times("CANCEL → B"), 1);
            bench.a_requests(1, "ACK", "a1", "");
            bench.b_agrees("CANCEL", 200, "");
            bench.fork_answers("trader", 487, "", "");
            assert_eq!(kept(&bench).0.callee.identity, "sip:trader@example.com");
        } else {
            assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("trader"));
            bench.b_agrees("BYE", 200, "");
            bench.fork_answers("clerk", 200, CLERK, SDP);
            assert_eq!(bench.response_to_a().status, 200);
            bench.a_requests(1, "ACK", "ack", "");
            bench.a_requests(2, "BYE", "bye", "");
            bench.b_agrees("BYE", 200, "");
        }
        bench.assert_nothing_left();
    }
}

#[test]
fn the_record_names_who_was_called_and_not_who_rang_at_an_address_that_failed() {
    let files = [("desk.toml", STRICT), ("grants.toml", TO_TRADER)];
    let mut bench = Bench::with_spare(&files, Conduct::default());
    bench.invite(SDP, "");
    bench.fork_answers("trader", 183, TRADER, SDP);
    assert_eq!(bench.headers()[0].callee.identity, "sip:trader@example.com");
    bench.fork_answers("trader", 503, "", "");
    bench.c_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(bench.recorded(), Some(Recorded::Strict), "what is recorded stays so");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.c_answers("BYE", 200, "");
    assert_eq!(became(&bench), Some("sip:bob@127.0.0.1"));
    bench.assert_nothing_left();
}

#[test]
fn media_that_was_refused_does_not_count_when_somebody_else_comes() {
    let mut bench = traders_video();
    bench.recorder_fails(Fault::Io);
    bench.invite(&with_video(), "");
    let refuses = format!("{SDP}m=video 0 RTP/AVP 96\r\n");
    bench.b_answers("INVITE", 200, &refuses);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.fork_requests("b-tag", 9, "UPDATE", TRADER, &refuses);
    assert_eq!(bench.times("UPDATE → A"), 1, "nobody records the trader's voice");
}

#[test]
fn who_rings_without_a_word_does_not_keep_another_from_answering() {
    let mut bench = Bench::for_trader();
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.fork_answers("trader", 180, TRADER, "");
    bench.fork_answers("clerk", 180, CLERK, "");
    bench.fork_answers("clerk", 200, CLERK, SDP);
    assert_eq!(bench.response_to_a().status, 200);
    assert_eq!(bench.sessions().len(), 0);

    let mut bench = Bench::for_trader();
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.fork_answers("clerk", 180, CLERK, "");
    bench.fork_answers("trader", 180, TRADER, "");
    bench.fork_answers("trader", 200, "", SDP);
    assert_eq!(bench.response_to_a().status, 603, "who rang is who answers");
}

#[test]
fn the_record_names_who_answers_and_not_who_was_heard_ringing_beside() {
    for (more, named) in [("", "sip:bob@127.0.0.1"), (CLERK, "sip:clerk@example.com")] {
        let mut bench = Bench::for_trader();
        bench.invite(SDP, "");
        bench.fork_answers("trader", 183, TRADER, SDP);
        bench.fork_answers("other", 180, "", "");
        bench.fork_answers("other", 200, more, SDP);
        bench.a_requests(1, "ACK", "ack", "");
        assert_eq!(bench.recorded(), Some(Recorded::Strict), "what is recorded stays so");
        bench.recorder_fails(Fault::Io);
        bench.a_answers("BYE", 200, "");
        let bytes = answer(&bench.request_to_b("BYE"), 200, "other", "127.0.0.1:5090", "");
        bench.from(B, bytes);
        assert_eq!(became(&bench), Some(named));
    }
}
