//! Media whose keys come from a handshake (RFC 5763) and whose ways are tried (RFC 8839): between each party and us, so that what
//! crosses is heard.

use onrecord::engine::Input;
use onrecord::model::{Encryption, Identity, KeyingFault, Leg, LineKeys, MediaEvent, Outcome};
use onrecord::rtp::identity_of;
use onrecord::sdp::{MediaLine, SessionDescription, Setup};
use onrecord::trunk::{Dtls, Ice, SdesOver, Secrecy, Srtp, Trunk};

use super::bench::{A, B, Bench, SDP};
use super::routed::{configure, trunk};
use super::sealed_media::hung_up;

const PRINT: &str = "12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD";
const PASSWORD: &str = "asd88fgpdd777uzjYhagZg";

fn identity() -> Identity {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    identity_of(certificate.der().to_vec(), key.serialize_der()).unwrap()
}

/// As a phone tells it that shakes hands.
pub fn shaken(protocol: &str, setup: &str) -> String {
    let told = format!("a=fingerprint:sha-256 {PRINT}\r\na=setup:{setup}\r\na=rtcp-mux\r\n");
    format!("{}{told}", SDP.replace("RTP/AVP", protocol))
}

/// As a browser does, that knows no way to itself yet.
pub fn browser(setup: &str) -> String {
    let sdp = shaken("UDP/TLS/RTP/SAVPF", setup);
    let at = sdp.find("m=audio").unwrap();
    let media = sdp[at..].to_owned();
    let port = media.split(' ').nth(1).unwrap();
    let ways = format!(
        "a=ice-ufrag:8hhY\r\na=ice-pwd:{PASSWORD}\r\na=ice-options:trickle\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2122 f0e1.local 50000 typ host\r\n"
    );
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n";
    let media = media.replacen(&format!(" {port} "), " 9 ", 1);
    let (line, rest) = media.split_once("\r\n").unwrap();
    format!("{head}{line}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n{rest}{ways}")
}

pub fn with(name: &str, address: &str, dtls: Dtls, ice: Ice) -> Trunk {
    Trunk {
        secrecy: Secrecy {
            srtp: Srtp::Allow,
            sdes_over: SdesOver::Any,
            dtls,
            ice,
        },
        ..trunk(name, address)
    }
}

/// Everything is recorded strictly.
pub fn bench_of(a: Trunk, b: Trunk) -> Bench {
    let mut bench = Bench::strict();
    configure(&mut bench, a, b);
    bench.signaling = bench.signaling.with_identities([identity(), identity()]);
    bench
}

fn allowing() -> Bench {
    bench_of(
        with("pbx", A, Dtls::Allow, Ice::Allow),
        with("carrier", B, Dtls::Allow, Ice::Allow),
    )
}

pub fn line(body: &[u8]) -> MediaLine {
    SessionDescription::parse(body).unwrap().lines()[0].clone()
}

fn keys(bench: &Bench) -> LineKeys {
    bench.plan().keys.first().cloned().unwrap_or_default()
}

/// Whether we begin on this leg; None: it shakes no hands.
pub fn begins(bench: &Bench, leg: Leg) -> Option<bool> {
    let keys = keys(bench).legs[leg.index()].clone()?;
    Some(keys.handshake?.is_client)
}

#[test]
fn one_party_shakes_hands_with_us_and_the_other_is_in_clear() {
    let mut bench = allowing();
    bench.invite(&shaken("UDP/TLS/RTP/SAVPF", "actpass"), "");
    let offered = bench.request_to_b("INVITE");
    let to_b = line(&offered.body);
    assert_eq!(to_b.protocol, "RTP/SAVP", "as A insists on encryption");
    assert!(!String::from_utf8_lossy(&offered.body).contains("fingerprint"));
    let answer = SDP.replace("RTP/AVP", "RTP/SAVP")
        + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    bench.b_answers("INVITE", 200, &answer);
    let to_a = line(&bench.response_to_a().body);
    assert_eq!(to_a.protocol, "UDP/TLS/RTP/SAVPF");
    assert_eq!(
        (to_a.shake.setup, to_a.shake.fingerprints.len()),
        (Some(Setup::Active), 1)
    );
    assert!(to_a.muxed && to_a.cryptos.is_empty());
    assert_eq!((begins(&bench, Leg::A), begins(&bench, Leg::B)), (Some(true), None));
    assert_eq!(keys(&bench).muxed, Some([true, false]));
    bench.a_requests(1, "ACK", "ack1", "");
    let told = format!("{:?}", bench.recording);
    assert!(told.contains("(A DTLS-SRTP, B AES_CM_128_HMAC_SHA1_80)"), "{told}");
    assert_eq!(hung_up(&mut bench, 2), (Outcome::Recorded, Some(Encryption::Decrypted)));
}

#[test]
fn a_trunk_that_requires_it_is_offered_it_whatever_the_other_has() {
    for (setup, we_begin) in [("active", false), ("passive", true)] {
        let mut bench = bench_of(
            with("pbx", A, Dtls::Allow, Ice::Allow),
            with("carrier", B, Dtls::Require, Ice::Allow),
        );
        bench.invite(SDP, "");
        let to_b = line(&bench.request_to_b("INVITE").body);
        assert_eq!(
            (to_b.protocol.as_str(), to_b.shake.setup, to_b.muxed, to_b.ice),
            ("UDP/TLS/RTP/SAVP", Some(Setup::ActPass), true, None)
        );
        bench.b_answers("INVITE", 200, &shaken("UDP/TLS/RTP/SAVP", setup));
        let to_a = line(&bench.response_to_a().body);
        assert_eq!((to_a.protocol.as_str(), to_a.muxed), ("RTP/AVP", false));
        assert!(to_a.shake.fingerprints.is_empty() && !to_a.crypto);
        assert_eq!((begins(&bench, Leg::A), begins(&bench, Leg::B)), (None, Some(we_begin)));
        assert_eq!(keys(&bench).muxed, Some([false, true]));
        bench.a_requests(1, "ACK", "ack1", "");
        assert_eq!(hung_up(&mut bench, 2), (Outcome::Recorded, Some(Encryption::Decrypted)));
    }
}

#[test]
fn what_a_trunk_requires_or_refuses_is_refused_otherwise() {
    let secured = |dtls| {
        bench_of(
            with("pbx", A, dtls, Ice::Allow),
            with("carrier", B, Dtls::Allow, Ice::Allow),
        )
    };
    for (dtls, offer) in [
        (Dtls::Require, SDP.to_owned()),
        (Dtls::Refuse, shaken("UDP/TLS/RTP/SAVP", "actpass")),
    ] {
        let mut bench = secured(dtls);
        bench.invite(&offer, "");
        assert_eq!(bench.response_to_a().status, 488);
        assert!(bench.to_b.is_empty());
    }
    for answer in [
        SDP.to_owned(),
        shaken("UDP/TLS/RTP/SAVP", "actpass"),
        SDP.replace("RTP/AVP", "UDP/TLS/RTP/SAVP"),
    ] {
        let mut bench = bench_of(
            with("pbx", A, Dtls::Allow, Ice::Allow),
            with("carrier", B, Dtls::Require, Ice::Allow),
        );
        bench.invite(SDP, "");
        bench.b_answers("INVITE", 200, &answer);
        assert_eq!(bench.response_to_a().status, 488, "{answer}");
    }
}

#[test]
fn a_browser_s_ways_are_tried_to_us_and_its_null_address_is_no_hold() {
    let mut bench = allowing();
    bench.invite(&browser("actpass"), "");
    let text = String::from_utf8(bench.request_to_b("INVITE").body.to_vec()).unwrap();
    assert!(
        !text.contains("0.0.0.0") && !text.contains("ice-") && !text.contains("candidate"),
        "{text}"
    );
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_a().status, 488, "B was offered encryption alone");

    let mut bench = bench_of(
        with("pbx", A, Dtls::Allow, Ice::Allow),
        Trunk {
            secrecy: Secrecy {
                srtp: Srtp::Refuse,
                ..Secrecy::default()
            },
            ..trunk("carrier", B)
        },
    );
    bench.invite(&browser("actpass"), "");
    assert_eq!(line(&bench.request_to_b("INVITE").body).protocol, "RTP/AVP");
    bench.b_answers("INVITE", 200, SDP);
    let response = bench.response_to_a();
    let told = String::from_utf8(response.body.to_vec()).unwrap();
    let (session, media) = told.split_once("m=audio").unwrap();
    assert!(
        session.contains("a=ice-lite\r\n") && media.contains("a=rtcp-mux\r\n"),
        "{told}"
    );
    let to_a = line(&response.body);
    let ours = to_a.ice.clone().unwrap();
    assert!(
        media.contains(&format!(
            "a=candidate:1 1 UDP 2130706431 127.0.0.1 {} typ host\r\n",
            to_a.port
        )),
        "{told}"
    );
    let ice = keys(&bench).ice[0].clone().unwrap();
    assert_eq!((ice.ours.clone(), ice.theirs.as_str()), (ours.clone(), "8hhY"));
    bench.a_requests(1, "ACK", "ack1", "");

    // A description as before keeps credentials and part; new credentials of the browser get new ones of ours.
    for (offer, is_same) in [
        (browser("actpass"), true),
        (browser("actpass").replace("8hhY", "9iiZ"), false),
    ] {
        bench.a_requests(
            2 + u32::from(!is_same),
            "INVITE",
            if is_same { "re" } else { "re2" },
            &offer,
        );
        bench.b_answers("INVITE", 200, SDP);
        let again = line(&bench.response_to_a().body);
        assert_eq!(again.ice == Some(ours.clone()), is_same);
        assert_eq!(again.shake.setup, Some(Setup::Active));
        bench.a_requests(2 + u32::from(!is_same), "ACK", if is_same { "rea" } else { "rea2" }, "");
    }
    assert_eq!(keys(&bench).ice[0].clone().unwrap().theirs, "9iiZ");
}

#[test]
fn ways_are_offered_where_the_trunk_says_so_and_refused_where_it_says_so() {
    let mut bench = bench_of(
        with("pbx", A, Dtls::Allow, Ice::Refuse),
        with("carrier", B, Dtls::Require, Ice::Offer),
    );
    bench.invite(&browser("actpass"), "");
    let to_b = line(&bench.request_to_b("INVITE").body);
    let ours = to_b.ice.clone().unwrap();
    assert_eq!((to_b.protocol.as_str(), to_b.is_ice_lite), ("UDP/TLS/RTP/SAVPF", true));
    bench.b_answers("INVITE", 200, &browser("active"));
    let to_a = line(&bench.response_to_a().body);
    assert_eq!((to_a.ice, to_a.shake.setup), (None, Some(Setup::Active)));
    let agreed = keys(&bench);
    assert!(agreed.ice[0].is_none());
    assert_eq!(agreed.ice[1].as_ref().unwrap().ours, ours);
    assert_eq!(
        (begins(&bench, Leg::A), begins(&bench, Leg::B)),
        (Some(true), Some(false))
    );
    assert_eq!(agreed.muxed, Some([true, true]));
}

#[test]
fn ways_are_tried_with_keys_in_the_sdp_as_well() {
    const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let ways = format!("a=rtcp-mux\r\na=ice-ufrag:8hhY\r\na=ice-pwd:{PASSWORD}\r\n");
    let told = format!("{}{KEY}{ways}", SDP.replace("RTP/AVP", "RTP/SAVP"));
    let mut bench = bench_of(
        with("pbx", A, Dtls::Allow, Ice::Allow),
        with("carrier", B, Dtls::Allow, Ice::Offer),
    );
    bench.invite(&told, "");
    let to_b = line(&bench.request_to_b("INVITE").body);
    assert!(to_b.ice.is_some() && to_b.is_ice_lite && to_b.muxed);
    bench.b_answers("INVITE", 200, &told);
    let to_a = line(&bench.response_to_a().body);
    let agreed = keys(&bench);
    assert_eq!(
        agreed.ice.clone().map(|ice| ice.map(|ice| ice.ours.clone())),
        [to_a.ice, to_b.ice]
    );
    assert_eq!(agreed.muxed, Some([true, true]));
    assert!(agreed.legs.iter().flatten().all(|keys| keys.theirs.is_some()));
}

#[test]
fn a_handshake_that_fails_ends_a_call_that_must_be_heard() {
    for (keyed, told) in [(false, "no keys"), (true, "no new keys")] {
        let mut bench = bench_of(
            with("pbx", A, Dtls::Allow, Ice::Allow),
            with("carrier", B, Dtls::Require, Ice::Allow),
        );
        bench.invite(SDP, "");
        bench.b_answers("INVITE", 200, &shaken("UDP/TLS/RTP/SAVP", "active"));
        bench.a_requests(1, "ACK", "ack1", "");
        bench.input(Input::Media(MediaEvent::Unkeyed {
            session: bench.session(),
            leg: Leg::B,
            line: 0,
            fault: KeyingFault::Certificate,
            keyed,
        }));
        bench.request_to_a("BYE");
        bench.request_to_b("BYE");
        let recorded = format!("{:?}", bench.recording);
        let told = format!("{told} for the media of B, line 0: the certificate is not the one that was signalled");
        assert!(recorded.contains(&told), "{recorded}");
    }
}
