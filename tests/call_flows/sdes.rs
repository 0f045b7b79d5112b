//! Media that is encrypted by keys in the SDP (RFC 4568): between each party and us, so that what crosses is heard.

use onrecord::engine::Input;
use onrecord::model::{Encryption, Leg, LegKeys, MediaPlan, Outcome, RecordingCommand, SrtpSuite};
use onrecord::sdp::{Crypto, SessionDescription};
use onrecord::trunk::{SdesOver, Secrecy, Srtp, Trunk};

use super::bench::{A, B, Bench, C, SDP, invite};
use super::routed::{configure, trunk};
use super::sealed_media::hung_up;

pub(super) const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
pub(super) const OTHER: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw";

pub(super) fn keyed(protocol: &str, tag: u32, key: &str) -> String {
    let line = format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
    format!("{}{line}", SDP.replace("RTP/AVP", protocol))
}

pub(super) fn with(name: &str, address: &str, srtp: Srtp, sdes_over: SdesOver) -> Trunk {
    Trunk {
        secrecy: Secrecy {
            srtp,
            sdes_over,
            ..Secrecy::default()
        },
        ..trunk(name, address)
    }
}

/// Everything is recorded strictly; keys may be told by UDP.
pub(super) fn bench_of(a: Srtp, b: Srtp) -> Bench {
    let mut bench = Bench::strict();
    configure(
        &mut bench,
        with("pbx", A, a, SdesOver::Any),
        with("carrier", B, b, SdesOver::Any),
    );
    bench
}

pub(super) fn line(body: &[u8]) -> (String, Vec<Crypto>) {
    let sdp = SessionDescription::parse(body).unwrap();
    let line = sdp.lines()[0].clone();
    (line.protocol, line.cryptos)
}

pub(super) fn plan(bench: &Bench) -> MediaPlan {
    bench.plan().clone()
}

pub(super) fn keys(bench: &Bench, leg: Leg) -> Option<LegKeys> {
    plan(bench).keys_of(0, leg).cloned()
}

/// Who talks on this leg encrypts by this, and so do we.
fn assert_keys(bench: &Bench, leg: Leg, theirs: &str, ours: &Crypto) {
    let keys = keys(bench, leg).expect("an encrypted leg");
    let expected = Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{theirs}")).unwrap();
    assert_eq!(keys.theirs.as_deref(), Some(&expected.key));
    assert_eq!(keys.ours.as_deref(), Some(&ours.key));
}

#[test]
fn each_party_has_keys_with_us_alone_and_no_recording_has_them() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite(&keyed("RTP/SAVP", 4, KEY), "");
    let offered = bench.request_to_b("INVITE");
    let (protocol, to_b) = line(&offered.body);
    assert_eq!(
        (protocol.as_str(), to_b[0].tag),
        ("RTP/SAVP", 4),
        "as A insists, and its choice comes first"
    );
    assert!(to_b.iter().any(|key| key.key.suite() == SrtpSuite::AeadAes256Gcm));
    assert!(!String::from_utf8_lossy(&offered.body).contains(KEY));
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 4, OTHER));
    let (protocol, to_a) = line(&bench.response_to_a().body);
    assert_eq!((protocol.as_str(), to_a.len(), to_a[0].tag), ("RTP/SAVP", 1, 4));
    assert_ne!(to_a[0].key.master(), to_b[0].key.master());
    assert_keys(&bench, Leg::A, KEY, &to_a[0]);
    assert_keys(&bench, Leg::B, OTHER, &to_b[0]);
    assert_eq!(
        plan(&bench).lines[0].a.formats[0].1,
        "PCMA",
        "what is recorded is clear"
    );
    bench.a_requests(1, "ACK", "ack1", "");
    let told = format!("{:?} {:?}", bench.recording, bench.media);
    assert!(!told.contains(KEY) && !told.contains(OTHER));
    let kept = bench.recording.iter().any(|command| {
        matches!(command, RecordingCommand::Signal { bytes, .. }
        if bytes.windows(16).any(|word| word == b"inline:xxxxxxxxx"))
    });
    assert!(kept, "the signalling is kept, without keys");
    assert!(
        told.contains("(A AES_CM_128_HMAC_SHA1_80, B AES_CM_128_HMAC_SHA1_80)"),
        "{told}"
    );
    assert_eq!(hung_up(&mut bench, 2), (Outcome::Recorded, Some(Encryption::Decrypted)));
}

#[test]
fn one_leg_is_encrypted_where_the_other_trunk_refuses_or_may_not_be_told_keys() {
    for over in [SdesOver::Any, SdesOver::Tls] {
        let mut bench = Bench::strict();
        let srtp = if over == SdesOver::Any {
            Srtp::Refuse
        } else {
            Srtp::Allow
        };
        configure(
            &mut bench,
            with("pbx", A, Srtp::Require, SdesOver::Any),
            with("carrier", B, srtp, over),
        );
        bench.invite(&keyed("RTP/SAVPF", 1, KEY), "");
        let (protocol, to_b) = line(&bench.request_to_b("INVITE").body);
        assert_eq!((protocol.as_str(), to_b.len()), ("RTP/AVPF", 0));
        bench.b_answers("INVITE", 200, &SDP.replace("RTP/AVP", "RTP/AVPF"));
        let (protocol, to_a) = line(&bench.response_to_a().body);
        assert_eq!(protocol, "RTP/SAVPF");
        assert_keys(&bench, Leg::A, KEY, &to_a[0]);
        assert_eq!(keys(&bench, Leg::B), None);
        bench.a_requests(1, "ACK", "ack1", "");
        assert_eq!(hung_up(&mut bench, 2), (Outcome::Recorded, Some(Encryption::Decrypted)));
    }
}

#[test]
fn a_trunk_that_requires_it_is_offered_it_and_offers_it() {
    let mut call = bench_of(Srtp::Allow, Srtp::Require);
    call.invite(SDP, "");
    let (protocol, to_b) = line(&call.request_to_b("INVITE").body);
    assert_eq!((protocol.as_str(), to_b.len()), ("RTP/SAVP", 3));
    call.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    let (protocol, to_a) = line(&call.response_to_a().body);
    assert_eq!((protocol.as_str(), to_a.len()), ("RTP/AVP", 0));
    assert_keys(&call, Leg::B, OTHER, &to_b[0]);
    assert_eq!(keys(&call, Leg::A), None);

    let mut refused = bench_of(Srtp::Require, Srtp::Allow);
    refused.invite(SDP, "");
    assert_eq!(refused.response_to_a().status, 488);
    assert!(refused.to_b.is_empty());

    let mut unanswered = bench_of(Srtp::Allow, Srtp::Require);
    unanswered.invite(SDP, "");
    unanswered.b_answers("INVITE", 200, SDP);
    assert_eq!(unanswered.response_to_a().status, 488, "an answer in clear is none");
    unanswered.request_to_b("BYE");
}

#[test]
fn keys_are_not_taken_from_signalling_in_clear_unless_that_is_allowed() {
    let mut bench = Bench::strict();
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    assert_eq!(bench.response_to_a().status, 488);
    assert!(bench.to_b.is_empty());

    let mut opportunistic = Bench::strict();
    opportunistic.invite(&keyed("RTP/AVP", 1, KEY), "");
    let (protocol, to_b) = line(&opportunistic.request_to_b("INVITE").body);
    assert_eq!(
        (protocol.as_str(), to_b.len()),
        ("RTP/AVP", 0),
        "RFC 8643: in clear, then"
    );
    opportunistic.b_answers("INVITE", 200, SDP);
    assert_eq!(line(&opportunistic.response_to_a().body).1.len(), 0);
    assert_eq!(keys(&opportunistic, Leg::A), None);
}

#[test]
fn who_offers_it_as_it_may_be_is_encrypted_and_the_other_only_if_it_answers_so() {
    for answer in [SDP.to_owned(), keyed("RTP/AVP", 9, OTHER)] {
        let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
        bench.invite(&keyed("RTP/AVP", 9, KEY), "");
        let (protocol, to_b) = line(&bench.request_to_b("INVITE").body);
        assert_eq!((protocol.as_str(), to_b[0].tag), ("RTP/AVP", 9));
        bench.b_answers("INVITE", 200, &answer);
        let (protocol, to_a) = line(&bench.response_to_a().body);
        assert_eq!(protocol, "RTP/AVP");
        assert_keys(&bench, Leg::A, KEY, &to_a[0]);
        assert_eq!(keys(&bench, Leg::B).is_some(), answer != SDP);
    }
}

#[test]
fn an_offer_that_no_key_of_can_be_used_is_refused() {
    for crypto in [
        "",
        "a=crypto:1 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP\r\n",
    ] {
        let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
        bench.invite(&format!("{}{crypto}", SDP.replace("RTP/AVP", "RTP/SAVP")), "");
        assert_eq!(bench.response_to_a().status, 488, "{crypto}");
    }
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    let two =
        keyed("RTP/SAVP", 2, KEY).replace("a=crypto:2", "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\r\na=crypto:2");
    bench.invite(&two, "");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 2, OTHER));
    assert_eq!(line(&bench.response_to_a().body).1[0].tag, 2, "the first that we can");
}

#[test]
fn a_hold_keeps_the_keys_and_a_new_key_is_taken_over() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    let (_, to_b) = line(&bench.request_to_b("INVITE").body);
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    let (_, to_a) = line(&bench.response_to_a().body);
    bench.a_requests(1, "ACK", "ack1", "");
    let before = plan(&bench).keys;

    let hold = format!("{}a=sendonly\r\n", keyed("RTP/SAVP", 1, KEY));
    bench.a_requests(2, "INVITE", "re2", &hold);
    assert_eq!(
        line(&bench.request_to_b("INVITE").body).1,
        to_b,
        "the same keys towards B"
    );
    assert_eq!(plan(&bench).keys, before, "while it is open, what was agreed holds");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    assert_eq!(line(&bench.response_to_a().body).1, to_a);
    bench.a_requests(2, "ACK", "ack2", "");
    assert_eq!(plan(&bench).keys, before);

    let new = "bmV3IGtleSBuZXcga2V5IG5ldyBrZXkgbmV3IGtl";
    bench.a_requests(3, "INVITE", "re3", &keyed("RTP/SAVP", 1, new));
    bench.b_answers("INVITE", 488, "");
    bench.a_requests(3, "ACK", "re3", "");
    assert_eq!(plan(&bench).keys, before, "refused: the old key stays");
    bench.a_requests(4, "INVITE", "re4", &keyed("RTP/SAVP", 1, new));
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    bench.a_requests(4, "ACK", "ack4", "");
    assert_keys(&bench, Leg::A, new, &to_a[0]);
    assert_keys(&bench, Leg::B, OTHER, &to_b[0]);
    assert_eq!(hung_up(&mut bench, 5), (Outcome::Recorded, Some(Encryption::Decrypted)));
}

#[test]
fn a_line_that_was_refused_and_comes_back_has_another_key() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    let second = |port: u16, key: &str| {
        let audio = keyed("RTP/SAVP", 1, key);
        format!("{audio}m=audio {port} RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n")
    };
    let of_second = |body: &[u8]| SessionDescription::parse(body).unwrap().lines()[1].cryptos.clone();
    bench.invite(&second(7_000, KEY), "");
    let first = of_second(&bench.request_to_b("INVITE").body);
    bench.b_answers("INVITE", 200, &second(8_000, OTHER));
    bench.a_requests(1, "ACK", "ack1", "");
    for (cseq, port, is_told_anew) in [(2, 0, false), (3, 8_000, true)] {
        bench.a_requests(cseq, "INVITE", &format!("re{cseq}"), &second(7_000, KEY));
        let told = of_second(&bench.request_to_b("INVITE").body);
        assert_eq!(told[0].key.master() != first[0].key.master(), is_told_anew, "{cseq}");
        bench.b_answers("INVITE", 200, &second(port, OTHER));
        bench.a_requests(cseq, "ACK", &format!("ack{cseq}"), "");
    }
    assert_eq!(hung_up(&mut bench, 4).0, Outcome::Recorded);
}

#[test]
fn a_leg_in_clear_that_is_held_does_not_make_the_other_clear() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Refuse);
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    bench.b_answers("INVITE", 200, SDP);
    let (_, to_a) = line(&bench.response_to_a().body);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.b_requests(2, "INVITE", "b2", &format!("{SDP}a=sendonly\r\n"));
    let (protocol, offered) = line(&bench.request_to_a("INVITE").body);
    assert_eq!((protocol.as_str(), &offered), ("RTP/SAVP", &to_a));
    bench.a_answers("INVITE", 200, &keyed("RTP/SAVP", 1, KEY));
    assert_eq!(line(&bench.response_to_b().body), ("RTP/AVP".to_owned(), vec![]));
    assert_keys(&bench, Leg::A, KEY, &to_a[0]);
    assert_eq!(keys(&bench, Leg::B), None);
}

#[test]
fn an_offer_in_the_answer_is_keyed_the_other_way_round() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite("", "");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    let (protocol, to_a) = line(&bench.response_to_a().body);
    assert_eq!(protocol, "RTP/SAVP");
    bench.a_requests(1, "ACK", "ack1", &keyed("RTP/SAVP", 1, KEY));
    let (_, to_b) = line(&bench.request_to_b("ACK").body);
    assert_keys(&bench, Leg::A, KEY, &to_a[0]);
    assert_keys(&bench, Leg::B, OTHER, &to_b[0]);
}

#[test]
fn of_phones_that_ring_side_by_side_each_has_its_own_key_and_the_caller_keeps_one() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    let (_, to_b) = line(&bench.request_to_b("INVITE").body);
    bench.fork_answers("one", 183, "", &keyed("RTP/SAVP", 1, OTHER));
    let (_, early) = line(&bench.response_to_a().body);
    assert_keys(&bench, Leg::A, KEY, &early[0]);
    assert_keys(&bench, Leg::B, OTHER, &to_b[0]);
    let second = "bmV3IGtleSBuZXcga2V5IG5ldyBrZXkgbmV3IGtl";
    bench.fork_answers("two", 200, "", &keyed("RTP/SAVP", 1, second));
    let (_, answered) = line(&bench.response_to_a().body);
    assert_eq!(answered, early);
    assert_keys(&bench, Leg::A, KEY, &early[0]);
    assert_keys(&bench, Leg::B, second, &to_b[0]);
}

#[test]
fn who_is_asked_after_another_gets_other_keys() {
    let mut bench = Bench::strict_with_addresses(&[B, C]);
    let mut carrier = with("carrier", B, Srtp::Allow, SdesOver::Any);
    carrier.peers.extend(trunk("carrier", C).peers);
    configure(&mut bench, with("pbx", A, Srtp::Allow, SdesOver::Any), carrier);
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    let (_, first) = line(&bench.request_to_b("INVITE").body);
    bench.b_answers("INVITE", 503, "");
    let (protocol, second) = line(&bench.request_to_c("INVITE").body);
    assert_eq!((protocol.as_str(), second.len()), ("RTP/SAVP", first.len()));
    assert!(first.iter().zip(&second).all(|(first, second)| first.key != second.key));
    bench.c_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    assert_keys(&bench, Leg::B, OTHER, &second[0]);
}

#[test]
fn an_emergency_call_is_connected_whatever_its_keys() {
    let mut bench = Bench::strict();
    let text = String::from_utf8(invite(1, "a1", "", &keyed("RTP/SAVP", 1, KEY), "").to_vec()).unwrap();
    bench.from(A, text.replace("sip:bob@", "sip:112@").into());
    assert_eq!(bench.request_to_b("INVITE").uri.user(), Some("112"));
}

#[test]
fn a_hand_over_ends_a_call_with_keys_while_its_peers_can_be_told() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    bench.a_requests(1, "ACK", "ack1", "");
    assert!(!bench.views[&bench.session()].survives, "it counts as lost");
    bench.input(Input::HandOver);
    bench.request_to_a("BYE");
    bench.request_to_b("BYE");
    assert!(bench.remembered.is_empty());
}

#[test]
fn a_restart_ends_a_call_whose_keys_are_written_nowhere() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    bench.a_requests(1, "ACK", "ack1", "");
    let kept = bench.remembered.clone();
    let mut after = bench_of(Srtp::Allow, Srtp::Allow);
    for (session, state) in kept {
        let text = String::from_utf8_lossy(&state).into_owned();
        assert!(!text.contains(KEY) && !text.contains(OTHER), "{text}");
        after.input(Input::Resume { session, state });
    }
    after.request_to_a("BYE");
    after.request_to_b("BYE");
    after.a_answers("BYE", 200, "");
    after.b_answers("BYE", 200, "");
    assert_eq!(after.signaling.calls(), 0);
}

#[test]
fn a_hand_over_ends_a_call_whose_keys_are_written_nowhere_while_its_peers_can_be_told() {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    bench.a_requests(1, "ACK", "ack1", "");
    bench.input(Input::HandOver);
    bench.request_to_a("BYE");
    bench.request_to_b("BYE");
    assert!(bench.remembered.is_empty());
}
