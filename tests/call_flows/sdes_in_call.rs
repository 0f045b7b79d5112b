//! Keys in the SDP of a call that changes: what is offered behind its descriptions, what is answered otherwise than it was offered, and which
//! keys of ours stay.

use onrecord::model::{Leg, Outcome, SrtpKey};
use onrecord::trunk::Srtp;

use super::bench::{Bench, SDP};
use super::sdes::{KEY, OTHER, bench_of, keyed, keys};
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
    bench.invite(&keyed("RTP/SAVP", 1, KEY), "");
    bench.b_answers("INVITE", 200, &keyed("RTP/SAVP", 1, OTHER));
    bench.a_requests(1, "ACK", "ack1", "");
    bench
}

fn ours(bench: &Bench, leg: Leg) -> SrtpKey {
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
