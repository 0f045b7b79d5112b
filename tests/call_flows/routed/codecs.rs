//! Codecs that may not cross from one trunk to another are neither offered nor answered.

use onrecord::trunk::Trunk;

use super::super::bench::{A, B, Bench, C, SDP};
use super::{call, configure, configure_onward, hosts, trunk};

fn codecs(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn only_codecs_that_both_trunks_allow_are_offered() {
    let mut bench = Bench::unrecorded();
    let pbx = Trunk {
        codecs: codecs(&["pcma", "g722", "telephone-event"]),
        ..trunk("pbx", A)
    };
    let carrier = Trunk {
        codecs: codecs(&["pcma", "pcmu", "telephone-event"]),
        ..trunk("carrier", B)
    };
    configure(&mut bench, pbx, carrier);
    let offer = SDP.replace(
        "RTP/AVP 8",
        "RTP/AVP 9 0 8 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000",
    );
    call(&mut bench, 1, "bob", &offer);
    let sdp = String::from_utf8(bench.request_to_b("INVITE").body.to_vec()).unwrap();
    assert!(sdp.contains("RTP/AVP 8 101\r\na=rtpmap:101"), "{sdp}");
    assert!(!sdp.contains("G722"), "{sdp}");
    bench.b_answers("INVITE", 486, "");

    call(&mut bench, 2, "bob", &SDP.replace("RTP/AVP 8", "RTP/AVP 0"));
    assert_eq!(bench.response_to_a().status, 488);
    assert_eq!(hosts(&bench).len(), 1);
}

/// The carrier may have nothing but PCMA and events.
fn with_codecs() -> Bench {
    let mut bench = Bench::unrecorded();
    let carrier = Trunk {
        codecs: codecs(&["pcma", "telephone-event"]),
        ..trunk("carrier", B)
    };
    configure(&mut bench, trunk("pbx", A), carrier);
    bench
}

#[test]
fn what_an_answer_adds_that_may_not_cross_is_left_out() {
    let mut bench = with_codecs();
    bench.invite(&SDP.replace("RTP/AVP 8", "RTP/AVP 8 0"), "");
    let more = SDP.replace(
        "RTP/AVP 8",
        "RTP/AVP 0 8 18\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no",
    );
    bench.b_answers("INVITE", 183, &more);
    bench.b_answers("INVITE", 200, &more);
    let answered = bench.response_to_a();
    let sdp = String::from_utf8(answered.body.to_vec()).unwrap();
    assert!(sdp.contains("RTP/AVP 8\r\n") && !sdp.contains(":18 "), "{sdp}");
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "INVITE", "re1", SDP);
    bench.b_answers("INVITE", 200, &more);
    let sdp = String::from_utf8(bench.response_to_a().body.to_vec()).unwrap();
    assert!(sdp.contains("RTP/AVP 8\r\n"), "{sdp}");
    bench.a_requests(2, "ACK", "ack2", "");
    bench.a_requests(3, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn an_answer_of_which_nothing_may_cross_ends_the_call_before_it_began() {
    let mut bench = with_codecs();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, &SDP.replace("RTP/AVP 8", "RTP/AVP 0"));
    assert_eq!(bench.response_to_a().status, 488);
    assert_eq!(
        bench.story[bench.story.len() - 4..],
        ["B → 200", "488 → A", "ACK → B", "BYE → B"]
    );
    bench.a_requests(1, "ACK", "a1", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn an_emergency_call_has_the_codecs_that_it_can_have() {
    let mut bench = with_codecs();
    let any = SDP.replace("RTP/AVP 8", "RTP/AVP 0");
    call(&mut bench, 1, "112", &any);
    assert!(
        bench
            .request_to_b("INVITE")
            .body
            .ends_with(b"RTP/AVP 0\r\na=sendrecv\r\n")
    );
    bench.b_answers("INVITE", 200, &any);
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn a_call_that_is_sent_on_offers_what_the_other_trunk_may_have() {
    let mut bench = Bench::unrecorded();
    let carrier = Trunk {
        codecs: codecs(&["pcma"]),
        ..trunk("carrier", B)
    };
    let branch = Trunk {
        codecs: codecs(&["pcmu"]),
        ..trunk("branch", C)
    };
    configure_onward(&mut bench, carrier, branch);
    bench.invite(&SDP.replace("RTP/AVP 8", "RTP/AVP 8 0"), "");
    assert!(
        bench
            .request_to_b("INVITE")
            .body
            .ends_with(b"RTP/AVP 8\r\na=sendrecv\r\n")
    );
    bench.b_answers("INVITE", 183, SDP);
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert!(
        bench
            .request_to_c("INVITE")
            .body
            .ends_with(b"RTP/AVP 0\r\na=sendrecv\r\n")
    );
    bench.c_answers("INVITE", 200, &SDP.replace("RTP/AVP 8", "RTP/AVP 0"));
    assert_eq!(bench.response_to_a().status, 200);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.c_answers("BYE", 200, "");
    bench.assert_nothing_left();
}
