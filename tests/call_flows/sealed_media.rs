//! Media that nobody but its ends can hear: refused where it must be heard, told where it crosses.

use onrecord::engine::Input;
use onrecord::model::{Encryption, MediaCommand, MediaEvent, Outcome, RecordingCommand};

use super::bench::{A, Bench, LENIENT, SDP, STRICT, invite};

const DTLS: &str = "a=setup:actpass\r\na=fingerprint:sha-256 AB:CD\r\n";

fn by(protocol: &str, more: &str) -> String {
    format!("{}{more}", SDP.replace("RTP/AVP", protocol))
}

fn ended(bench: &mut Bench) -> (Outcome, Option<Encryption>) {
    bench.a_requests(1, "ACK", "ack1", "");
    hung_up(bench, 2)
}

/// A says BYE. What its recording says of the call.
pub(super) fn hung_up(bench: &mut Bench, cseq: u32) -> (Outcome, Option<Encryption>) {
    bench.tally.accepted = 100;
    bench.a_requests(cseq, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    let closing = bench.recording.iter().find_map(|command| match command {
        RecordingCommand::Close { closing, .. } => Some((closing.outcome, closing.encryption)),
        _ => None,
    });
    bench.assert_nothing_left();
    closing.unwrap()
}

fn is_noted(bench: &Bench) -> bool {
    format!("{:?}", bench.recording).contains("media is encrypted")
}

#[test]
fn a_strict_call_does_not_begin_with_media_that_nobody_can_hear() {
    for sdp in [
        by("UDP/TLS/RTP/SAVPF", DTLS),
        by("RTP/SAVP", ""),
        by("RTP/SAVP", "a=key-mgmt:mikey AQAF\r\n"),
    ] {
        let mut bench = Bench::strict();
        bench.invite(&sdp, "");
        let refusal = bench.response_to_a();
        assert_eq!(refusal.status, 488);
        assert_eq!(
            refusal.headers.get("Warning"),
            Some("399 lab \"Recording required by policy: media is encrypted with keys unknown here\"")
        );
        assert!(bench.to_b.is_empty());
        let kept = bench.recording.iter().any(
            |command| matches!(command, RecordingCommand::Keep { closing, .. } if closing.outcome == Outcome::Blocked),
        );
        assert!(kept, "{:?}", bench.recording);
        bench.a_requests(1, "ACK", "a1", "");
        bench.assert_nothing_left();
    }
}

#[test]
fn nor_by_an_answer_or_by_an_offer_of_the_callee() {
    let dtls = by("RTP/AVP", DTLS);
    let mut bench = Bench::strict();
    bench.invite(&dtls, "");
    bench.b_answers("INVITE", 200, &dtls);
    assert_eq!(bench.response_to_a().status, 488, "both want it");
    assert!(bench.request_to_b("BYE").headers.get("Reason").is_none());

    let mut late = Bench::strict();
    late.invite("", "");
    late.b_answers("INVITE", 200, &by("UDP/TLS/RTP/SAVP", DTLS));
    assert_eq!(late.response_to_a().status, 488);
}

/// As they stand in plain RTP/AVP: of MIKEY and ZRTP, written in any case, of a line and of the session.
fn agreements() -> [String; 5] {
    let of_session = |attribute: &str| SDP.replacen("m=audio", &format!("{attribute}m=audio"), 1);
    [
        by("RTP/AVP", "a=key-mgmt:mikey AQAFgM0X\r\n"),
        by("RTP/AVP", "a=KEY-MGMT:MIKEY AQAFgM0X\r\n"),
        by("RTP/AVP", "a=zrtp-hash:1.10 fe30efd02423cb05\r\n"),
        of_session("a=key-mgmt:mikey AQAFgM0X\r\n"),
        of_session("a=Zrtp-Hash:1.10 fe30efd02423cb05\r\n"),
    ]
}

#[test]
fn nor_by_keys_that_the_ends_agree_on_in_plain_rtp() {
    for sdp in agreements() {
        let mut bench = Bench::strict();
        bench.invite(&sdp, "");
        bench.b_answers("INVITE", 200, &sdp);
        assert_eq!(bench.response_to_a().status, 488, "{sdp}");
        assert!(bench.request_to_b("BYE").headers.get("Reason").is_none());

        let mut lenient = Bench::lenient();
        lenient.invite(&sdp, "");
        lenient.b_answers("INVITE", 200, &sdp);
        assert_eq!(lenient.response_to_a().status, 200);
        assert_eq!(
            ended(&mut lenient),
            (Outcome::Recorded, Some(Encryption::Sealed)),
            "{sdp}"
        );

        let mut alone = Bench::strict();
        alone.invite(&sdp, "");
        alone.b_answers("INVITE", 200, SDP);
        assert_eq!(
            alone.response_to_a().status,
            200,
            "who answers without has a call that is heard"
        );
        assert_eq!(ended(&mut alone), (Outcome::Recorded, None));
    }
}

#[test]
fn what_the_ends_say_of_keys_behind_their_descriptions_is_told() {
    let mut bench = Bench::strict().connected();
    bench.tally.handshakes = 12;
    assert_eq!(ended(&mut bench), (Outcome::Recorded, None));
    assert!(format!("{:?}", bench.recording).contains("12 packets of ZRTP or DTLS were not relayed"));
}

#[test]
fn nor_does_it_turn_into_one() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "re2", &by("UDP/TLS/RTP/SAVP", DTLS));
    assert_eq!(bench.response_to_a().status, 488);
    bench.a_requests(2, "ACK", "re2", "");
    assert_eq!(bench.signaling.calls(), 1, "the call stays as it was");
}

#[test]
fn a_callee_that_wants_no_secret_has_a_call_that_is_heard() {
    let mut bench = Bench::strict();
    bench.invite(&by("RTP/AVP", DTLS), "");
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_a().status, 200);
    assert_eq!(ended(&mut bench), (Outcome::Recorded, None));
}

#[test]
fn where_it_crosses_the_recording_tells() {
    let mut bench = Bench::lenient();
    let sdp = by("UDP/TLS/RTP/SAVP", DTLS);
    bench.invite(&sdp, "");
    bench.b_answers("INVITE", 200, &sdp);
    assert_eq!(bench.response_to_a().status, 200);
    assert!(is_noted(&bench));
    assert_eq!(ended(&mut bench), (Outcome::Recorded, Some(Encryption::Sealed)));
}

#[test]
fn an_emergency_call_is_connected_all_the_same() {
    let mut bench = Bench::strict();
    let text = String::from_utf8(invite(1, "a1", "", &by("UDP/TLS/RTP/SAVP", DTLS), "").to_vec()).unwrap();
    bench.from(A, text.replace("sip:bob@", "sip:112@").into());
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("112"));
}

/// Alice and Bob talk, unrecorded, and agree on keys by ZRTP. Nobody but the trader is recorded, by this policy.
fn whispering(policy: &str) -> Bench {
    let grant = "[[grant]]\npolicy = \"desk\"\nto = [\"user:trader@example.com\"]\n";
    let mut bench = Bench::with(&[("desk.toml", policy), ("grants.toml", grant)]);
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let session = bench.media.iter().find_map(|command| match command {
        MediaCommand::Open(plan) => Some(plan.session),
        _ => None,
    });
    let session = session.unwrap();
    bench.input(Input::Media(MediaEvent::Sealed { session, line: 0 }));
    bench
}

const TRADER: &str = "P-Asserted-Identity: <sip:trader@example.com>\r\n";

#[test]
fn who_must_be_heard_does_not_come_to_ends_that_have_keys_of_their_own() {
    let mut bench = whispering(STRICT);
    bench.fork_requests("b-tag", 9, "INVITE", TRADER, SDP);
    assert_eq!(bench.response_to_b().status, 488);
    assert_eq!(bench.signaling.calls(), 1, "the call stays as it was");
    // Over a restart it is known too.
    let mut after = Bench::with(&[
        ("desk.toml", STRICT),
        (
            "grants.toml",
            "[[grant]]\npolicy = \"desk\"\nto = [\"user:trader@example.com\"]\n",
        ),
    ]);
    after.now = bench.now;
    after.to_b.clone_from(&bench.to_b);
    for (session, state) in bench.remembered.clone() {
        after.input(Input::Resume { session, state });
    }
    after.fork_requests("b-tag", 10, "INVITE", TRADER, SDP);
    assert_eq!(after.response_to_b().status, 488);
}

#[test]
fn an_end_that_has_moved_has_none_of_those_keys() {
    let mut bench = whispering(STRICT);
    let elsewhere = SDP.replace("4000", "4800");
    for (cseq, more) in [(9, ""), (10, TRADER)] {
        bench.fork_requests("b-tag", cseq, "INVITE", more, &elsewhere);
        bench.a_answers("INVITE", 200, SDP);
        assert_eq!(bench.response_to_b().status, 200);
        bench.fork_requests("b-tag", cseq, "ACK", "", "");
    }
    assert!(!is_noted(&bench));
}

#[test]
fn where_it_is_not_strict_their_recording_tells() {
    let mut bench = whispering(LENIENT);
    bench.fork_requests("b-tag", 9, "INVITE", TRADER, SDP);
    bench.a_answers("INVITE", 200, SDP);
    bench.fork_requests("b-tag", 9, "ACK", "", "");
    assert!(is_noted(&bench));
    let (outcome, encryption) = hung_up(&mut bench, 2);
    assert_eq!((outcome, encryption), (Outcome::Recorded, Some(Encryption::Sealed)));
}
