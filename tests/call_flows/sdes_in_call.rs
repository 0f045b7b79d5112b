//! Keys in the SDP of a call that changes: what is offered behind its descriptions, what is answered otherwise than it was offered, and which
//! keys of ours stay.

use onrecord::engine::Input;
use onrecord::model::{Leg, Outcome, SrtpKey, SrtpSuite};
use onrecord::sdp::{MediaLine, SessionDescription};
use onrecord::sip::Response;
use onrecord::trunk::Srtp;

use super::bench::{A, Bench, SDP, invite};
use super::sdes::{KEY, OTHER, bench_of, keyed, keys, line, plan};
use super::sealed_media::hung_up;

const CAPABILITIES: &str = "a=csup:cap-v0\r\na=tcap:1 RTP/SAVP\r\na=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\na=pcfg:1 t=1 a=1\r\n";

#[test]
fn capabilities_do_not_carry_a_key_past_the_recorder() {
    let mut bench = Bench::strict();
    bench.invite(&format!("{SDP}{CAPABILITIES}"), "");
    let offered = String::from_utf8(bench.request_to_b("INVITE").body.to_vec()).unwrap();
    assert!(
        !offered.contains("cap:") && !offered.contains("cfg:") && !offered.contains("inline:"),
        "{offered}"
    );
    bench.b_answers(
        "INVITE",
        200,
        &format!("{}a=acfg:1 t=1 a=1\r\n", keyed("RTP/SAVP", 1, OTHER)),
    );
    assert_eq!(bench.response_to_a().status, 488);
    bench.request_to_b("BYE");
}

#[test]
fn who_answers_by_a_key_that_it_was_not_offered_is_not_heard_by_us_alone() {
    for answer in [
        keyed("RTP/SAVP", 1, OTHER),
        keyed("RTP/AVP", 1, OTHER),
        SDP.replace("RTP/AVP", "RTP/SAVP"),
    ] {
        for (offer, mut bench) in [
            (SDP.to_owned(), Bench::strict()),
            (SDP.to_owned(), Bench::lenient()),
            (keyed("RTP/AVP", 1, KEY), Bench::strict()),
        ] {
            bench.invite(&offer, "");
            bench.b_answers("INVITE", 200, &answer);
            assert_eq!(bench.response_to_a().status, 488, "{offer} {answer}");
            bench.request_to_b("BYE");
        }
    }
}

/// The parties have keys with us, and talk.
fn talking() -> Bench {
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    talk(&mut bench);
    bench
}

fn talk(bench: &mut Bench) {
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    bench.a_requests(1, "ACK", "ack1", "");
}

pub fn ours(bench: &Bench, leg: Leg) -> SrtpKey {
    let keys = keys(bench, leg).expect("an encrypted leg");
    (**keys.ours.as_ref().expect("a key of ours")).clone()
}

#[test]
fn a_line_that_either_refused_comes_back_with_other_keys() {
    let fax = |audio: &str| format!("{audio}m=image 8004 udptl t38\r\n");
    let off = |text: String| text.replace("m=audio 4000", "m=audio 0");
    let mut bench = talking();
    let before = Leg::BOTH.map(|leg| ours(&bench, leg));
    bench.b_requests(2, "INVITE", "b2", &fax(&keyed("RTP/SAVP", 1, OTHER)));
    bench.a_answers("INVITE", 200, &off(fax(&keyed("RTP/SAVP", 1, KEY))));
    assert_eq!(bench.response_to_b().status, 200);
    bench.b_requests(2, "ACK", "b2ack", "");
    let no_fax = |audio: &str| format!("{audio}m=image 0 udptl t38\r\n");
    bench.a_requests(2, "INVITE", "re2", &no_fax(&keyed("RTP/SAVP", 1, KEY)));
    bench.b_answers("INVITE", 200, &no_fax(&keyed("RTP/SAVP", 1, OTHER)));
    bench.a_requests(2, "ACK", "ack2", "");
    for leg in Leg::BOTH {
        let again = ours(&bench, leg);
        assert!(before.iter().all(|before| before.master() != again.master()), "{leg}");
    }
    assert_eq!(hung_up(&mut bench, 3).0, Outcome::Recorded);
}

const THIRD: &str = "bmV3IGtleSBuZXcga2V5IG5ldyBrZXkgbmV3IGtl";

fn at(port: u16, sdp: &str) -> String {
    sdp.replace("m=audio 4000", &format!("m=audio {port}"))
}

#[test]
fn a_phone_that_takes_over_at_another_place_gets_a_key_that_nothing_was_sealed_by() {
    let offer = |port, key| at(port, &keyed("RTP/SAVP", 1, key));
    // Another place, another key, both.
    for (moved, is_renewed) in [
        (offer(4_100, OTHER), false),
        (offer(4_000, THIRD), false),
        (offer(4_100, THIRD), true),
    ] {
        let mut bench = talking();
        let before = ours(&bench, Leg::B);
        let other = ours(&bench, Leg::A);
        bench.b_requests(2, "INVITE", "b2", &moved);
        bench.a_answers("INVITE", 200, &keyed("RTP/SAVP", 1, KEY));
        let told = line(&bench.response_to_b().body).1;
        assert_eq!(ours(&bench, Leg::B), told[0].key);
        assert_eq!(ours(&bench, Leg::B) != before, is_renewed, "{moved}");
        assert_eq!(ours(&bench, Leg::A), other, "who stays keeps its own");
    }
}

#[test]
fn who_answers_from_another_place_by_another_key_is_offered_new_keys_next() {
    let answer = |port, key| at(port, &keyed("RTP/SAVP", 1, key));
    for (moved, is_renewed) in [
        (answer(4_100, OTHER), false),
        (answer(4_000, THIRD), false),
        (answer(4_100, THIRD), true),
    ] {
        let mut bench = talking();
        let before = Leg::BOTH.map(|leg| ours(&bench, leg));
        bench.a_requests(2, "INVITE", "re2", &keyed("RTP/SAVP", 1, KEY));
        bench.b_answers("INVITE", 200, &moved);
        bench.a_requests(2, "ACK", "ack2", "");
        assert_eq!(
            Leg::BOTH.map(|leg| ours(&bench, leg)),
            before,
            "no answer changes what was offered"
        );
        let unheard = keyed("RTP/SAVP", 1, KEY).replace("AES_CM_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_80");
        bench.a_requests(3, "INVITE", "re3", &unheard);
        assert_eq!(bench.response_to_a().status, 488, "it does not reach B");
        asks_early(&mut bench, 4, &keyed("RTP/SAVP", 1, KEY), &moved);
        let (_, offered) = line(&bench.request_to_b("INVITE").body);
        assert_eq!(
            offered.iter().all(|key| key.key != before[1]),
            is_renewed,
            "{moved} 183"
        );
        bench.b_agrees("INVITE", 488, "");
        assert_eq!(Leg::BOTH.map(|leg| ours(&bench, leg)), before, "as it was");
        for (cseq, status) in [(6, 491), (7, 200)] {
            bench.a_requests(cseq, "INVITE", &format!("re{cseq}"), &keyed("RTP/SAVP", 1, KEY));
            let (_, offered) = line(&bench.request_to_b("INVITE").body);
            assert_eq!(
                offered.iter().all(|key| key.key != before[1]),
                is_renewed,
                "{moved} {status}"
            );
            bench.b_answers("INVITE", status, if status == 200 { &moved } else { "" });
        }
        assert_eq!(ours(&bench, Leg::B) != before[1], is_renewed);
        assert_eq!(ours(&bench, Leg::A), before[0], "who stays keeps its own");
        bench.a_requests(7, "ACK", "ack7", "");
        bench.a_requests(8, "INVITE", "re8", &keyed("RTP/SAVP", 1, KEY));
        let (_, again) = line(&bench.request_to_b("INVITE").body);
        assert_eq!(again[0].key, ours(&bench, Leg::B), "and once only");
    }
}

#[test]
fn who_asks_for_an_offer_is_offered_new_keys() {
    let mut bench = talking();
    let before = Leg::BOTH.map(|leg| ours(&bench, leg));
    bench.b_requests(2, "INVITE", "b2", "");
    bench.a_answers("INVITE", 200, &keyed("RTP/SAVP", 1, KEY));
    let (protocol, offered) = line(&bench.response_to_b().body);
    assert_eq!(protocol, "RTP/SAVP");
    assert_eq!(
        Leg::BOTH.map(|leg| ours(&bench, leg)),
        before,
        "what was agreed holds until the answer"
    );
    bench.b_requests(2, "ACK", "b2ack", &at(4_100, &keyed("RTP/SAVP", offered[0].tag, THIRD)));
    assert_eq!(ours(&bench, Leg::B), offered[0].key);
    assert_ne!(ours(&bench, Leg::B), before[1]);
    assert_eq!(ours(&bench, Leg::A), before[0]);
}

#[test]
fn a_hold_keeps_the_suite_that_is_in_use_whatever_comes_first_in_its_offer() {
    let gcm = "AEAD_AES_256_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=";
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    let (_, offered) = line(&bench.request_to_b("INVITE").body);
    let tag = offered
        .iter()
        .find(|key| key.key.suite() == SrtpSuite::AeadAes256Gcm)
        .unwrap()
        .tag;
    let secure = SDP.replace("RTP/AVP", "RTP/SAVP");
    bench.b_answers("INVITE", 200, &format!("{secure}a=crypto:{tag} {gcm}\r\n"));
    bench.a_requests(1, "ACK", "ack1", "");
    let before = ours(&bench, Leg::B);
    let hold = format!("{}a=crypto:2 {gcm}\r\na=sendonly\r\n", keyed("RTP/SAVP", 1, OTHER));
    bench.b_requests(2, "INVITE", "b2", &hold);
    bench.a_answers("INVITE", 200, &keyed("RTP/SAVP", 1, KEY));
    let (_, told) = line(&bench.response_to_b().body);
    assert_eq!((told.len(), told[0].tag, &told[0].key), (1, 2, &before));
}

/// A asks for this by re-INVITE, and B answers it in a reliable 183.
fn asks_early(bench: &mut Bench, cseq: u32, offer: &str, answer: &str) {
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, cseq, "INVITE", "Supported: 100rel\r\n", offer);
    bench.fork_answers("b-tag", 183, "Require: 100rel\r\nRSeq: 9\r\n", answer);
    bench.a_requests_in(&tag, cseq + 1, "PRACK", &format!("RAck: 9 {cseq} INVITE\r\n"), "");
    bench.b_agrees("PRACK", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn a_change_that_was_answered_early_and_then_refused_is_undone() {
    for status in [500, 487] {
        let mut bench = Bench::strict().connected();
        asks_early(&mut bench, 2, &at(7_100, SDP), SDP);
        assert_eq!(plan(&bench).lines[0].a.remote.unwrap().rtp.port(), 7_100);
        bench.b_agrees("INVITE", status, "");
        assert_eq!(bench.response_to_a().status, status);
        assert_eq!(plan(&bench).lines[0].a.remote.unwrap().rtp.port(), 4_000, "{status}");
        bench.a_requests(2, "ACK", "none", "");
        assert_eq!(hung_up(&mut bench, 4).0, Outcome::Recorded);
    }
}

#[test]
fn and_so_are_its_keys() {
    let mut bench = talking();
    let before = plan(&bench).keys;
    let short = keyed("RTP/SAVP", 1, THIRD).replace("SHA1_80", "SHA1_32");
    asks_early(&mut bench, 2, &short, &keyed("RTP/SAVP", 1, OTHER));
    assert_ne!(plan(&bench).keys, before);
    bench.b_agrees("INVITE", 500, "");
    assert_eq!(plan(&bench).keys, before);
    bench.a_requests(2, "ACK", "none", "");
    bench.a_requests(4, "INVITE", "re4", &keyed("RTP/SAVP", 1, KEY));
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    assert_eq!(plan(&bench).keys, before, "what holds is told again");
}

#[test]
fn each_phone_that_offers_while_it_rings_has_keys_of_its_own_on_both_legs() {
    let reliable = "Require: 100rel\r\nRSeq: 5\r\n";
    let gcm = "a=crypto:1 AEAD_AES_256_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=\r\n";
    let secure = SDP.replace("RTP/AVP", "RTP/SAVP");
    let mut bench = bench_of(Srtp::Allow, Srtp::Allow);
    bench.invite("", "Supported: 100rel\r\n");
    bench.fork_answers("one", 183, reliable, &keyed("RTP/SAVP", 1, OTHER));
    let first = bench.response_to_a();
    bench.fork_answers("two", 183, reliable, &format!("{secure}{gcm}"));
    let second = bench.response_to_a();
    let tag = |response: &Response| response.headers.to().tag().unwrap().to_owned();
    for (cseq, response, answer) in [
        (2, &first, keyed("RTP/SAVP", 1, KEY)),
        (3, &second, format!("{secure}{gcm}")),
    ] {
        let rack = format!("RAck: {} 1 INVITE\r\n", response.headers.get("RSeq").unwrap());
        bench.a_requests_in(&tag(response), cseq, "PRACK", &rack, &answer);
        bench.b_agrees("PRACK", 200, "");
        assert_eq!(bench.response_to_a().status, 200, "{cseq}");
    }
    bench.fork_answers("one", 200, "", "");
    let answered = bench.response_to_a();
    assert_eq!((answered.status, tag(&answered)), (200, tag(&first)));
    let (_, told) = line(&first.body);
    assert_eq!(
        ours(&bench, Leg::A),
        told[0].key,
        "by what was told in the dialog that was answered"
    );
}

#[test]
fn who_must_be_encrypted_does_not_turn_to_clear_in_a_call() {
    let mut bench = bench_of(Srtp::Require, Srtp::Require);
    bench.invite(&keyed("RTP/AVP", 1, KEY), "");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    bench.a_requests(1, "ACK", "ack1", "");
    let before = plan(&bench).keys;
    bench.b_requests(2, "INVITE", "b2", &keyed("RTP/SAVP", 1, OTHER));
    bench.a_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_b().status, 488);
    assert_eq!(plan(&bench).keys, before, "the session stays as it was");
    assert!(
        !bench.story.iter().any(|rung| rung.starts_with("BYE")),
        "{:?}",
        bench.story
    );
    bench.a_answers("INVITE", 200, SDP);
    bench.request_to_a("BYE");
    bench.request_to_b("BYE");
}

#[test]
fn a_change_whose_answer_nobody_else_can_hear_is_refused_and_the_call_stays() {
    let zrtp = format!("{SDP}a=zrtp-hash:1.10 fe30efd02423cb05\r\n");
    let mut bench = Bench::strict().connected();
    bench.b_requests(2, "INVITE", "b2", &zrtp);
    bench.a_answers("INVITE", 200, &zrtp);
    assert_eq!(bench.response_to_b().status, 488);
    bench.b_requests(2, "ACK", "b2", "");
    bench.a_answers("INVITE", 200, SDP);
    assert!(
        !bench.story.iter().any(|rung| rung.starts_with("BYE")),
        "{:?}",
        bench.story
    );
    assert_eq!(hung_up(&mut bench, 2).0, Outcome::Recorded);
}

#[test]
fn a_line_whose_encryption_may_not_be_is_refused_alone() {
    let second = |port: u16, protocol: &str, more: &str| format!("m=audio {port} {protocol} 8\r\n{more}");
    let secure = keyed("RTP/SAVP", 1, KEY);
    // Keys by UDP, which are not read; and a suite that we do not have.
    for (offer, mut bench) in [
        (format!("{secure}{}", second(4_100, "RTP/AVP", "")), Bench::strict()),
        (
            format!(
                "{SDP}{}",
                second(4_100, "RTP/SAVP", "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\r\n")
            ),
            bench_of(Srtp::Allow, Srtp::Allow),
        ),
    ] {
        let secured = usize::from(offer.starts_with(SDP));
        bench.invite(&offer, "");
        let offered = SessionDescription::parse(&bench.request_to_b("INVITE").body).unwrap();
        let live: Vec<_> = offered.lines().iter().map(MediaLine::is_live).collect();
        assert_eq!(live, [secured != 0, secured != 1]);
        assert!(offered.lines().iter().all(|line| line.cryptos.is_empty()));
        let answer = format!(
            "{}{}",
            if secured == 0 {
                at(0, &SDP.replace("AVP", "SAVP"))
            } else {
                SDP.to_owned()
            },
            second(
                if secured == 1 { 0 } else { 4_100 },
                if secured == 1 { "RTP/SAVP" } else { "RTP/AVP" },
                ""
            )
        );
        bench.b_answers("INVITE", 200, &answer);
        assert_eq!(bench.response_to_a().status, 200);
        bench.a_requests(1, "ACK", "ack1", "");
        assert_eq!(hung_up(&mut bench, 2), (Outcome::Recorded, None));
    }
}

#[test]
fn no_key_is_remembered_for_the_time_after_a_restart() {
    let mikey = format!("{SDP}a=key-mgmt:mikey AQAFgM0X\r\n");
    // Keys that were offered by UDP and are not in use; and those that the ends have between them.
    for (offer, answer, mut bench, goes_on) in [
        (keyed("RTP/AVP", 1, KEY), SDP.to_owned(), Bench::strict(), true),
        (mikey.clone(), SDP.to_owned(), Bench::strict(), true),
        (mikey.clone(), mikey.clone(), Bench::lenient(), false),
    ] {
        bench.invite(&offer, "");
        bench.b_answers("INVITE", 200, &answer);
        bench.a_requests(1, "ACK", "ack1", "");
        let mut after = Bench::lenient();
        assert_eq!(bench.remembered.len(), 1);
        for (session, state) in bench.remembered.clone() {
            let text = String::from_utf8_lossy(&state).into_owned();
            assert!(!text.contains("inline:") && !text.contains("AQAF"), "{text}");
            after.input(Input::Resume { session, state });
        }
        let ends = after.story.iter().any(|rung| rung.starts_with("BYE"));
        assert_eq!((after.signaling.calls(), ends), (1, !goes_on), "{offer}");
    }
}

#[test]
fn nor_of_an_emergency_whose_media_passes_by() {
    let mut bench = Bench::strict();
    bench.ports_bind = false;
    let text = String::from_utf8(invite(1, "a1", "", &keyed("RTP/SAVP", 1, KEY), "").to_vec()).unwrap();
    bench.from(A, text.replace("sip:bob@", "sip:112@").into());
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    bench.a_requests(1, "ACK", "ack1", "");
    let mut after = Bench::strict();
    for (session, state) in bench.remembered.clone() {
        assert!(!String::from_utf8_lossy(&state).contains("inline:"));
        after.input(Input::Resume { session, state });
    }
    assert_eq!(after.signaling.calls(), 1);
    assert!(after.to_a.is_empty() && after.to_b.is_empty(), "it goes on");
}

#[test]
fn a_new_line_without_a_port_for_it_is_not_acceptable_and_the_call_stays() {
    let mut bench = talking();
    let before = ours(&bench, Leg::B);
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    let lines = |more: usize| format!("{SDP}{}", "m=audio 4000 RTP/AVP 8\r\n".repeat(more));
    for number in 2..20 {
        let more = if number < 5 { 15 } else { 0 };
        let text = invite(1, &format!("n{number}"), "", &lines(more), "");
        let text = String::from_utf8(text.to_vec()).unwrap();
        bench.from(A, text.replace("call-1", &format!("call-{number}")).into());
    }
    assert_eq!(bench.response_to_a().status, 503);
    let key = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THIRD}\r\n");
    let audio = keyed("RTP/SAVP", 1, THIRD);
    let asked = bench.to_b.len();
    let video = format!("{audio}m=video 4002 RTP/SAVP 96\r\n{key}");
    bench.a_requests_in(&tag, 2, "INVITE", "", &video);
    assert_eq!((bench.response_to_a().status, bench.to_b.len()), (488, asked));
    bench.a_requests_in(&tag, 3, "INVITE", "", &audio);
    let told = line(&bench.request_to_b("INVITE").body).1;
    assert_eq!(told[0].key, before, "the keys that it knows");
}

#[test]
fn who_turns_to_clear_in_a_call_has_agreed_to_that() {
    let mut bench = talking();
    bench.a_requests(2, "INVITE", "a2", SDP);
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_a().status, 200);
    let plan = plan(&bench);
    assert_eq!((plan.agreed, plan.keys_of(0, Leg::A)), ([true; 2], None));
}
