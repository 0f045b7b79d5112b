use proptest::prelude::*;

use super::super::Crypto;
use super::*;

fn locals(text: &[&str]) -> Vec<SocketAddr> {
    text.iter().map(|text| text.parse().unwrap()).collect()
}

fn anchored(text: &str, ours: &[&str]) -> String {
    let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
    String::from_utf8(anchor(&sdp, &locals(ours)).to_vec()).unwrap()
}

#[test]
fn a_line_of_a_type_that_is_none_is_left_out() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nC=IN IP4 192.0.2.2\r\nt=0 0\r\nM=audio 9 RTP/AVP 0\r\n\
                m=audio 4 RTP/AVP 0\r\nx=192.0.2.1\r\ny=0100000001\r\n";
    let out = anchored(text, &["198.51.100.7:40000"]);
    assert!(
        !out.contains("M=") && !out.contains("C=") && !out.contains("x="),
        "{out}"
    );
    assert!(out.ends_with("m=audio 40000 RTP/AVP 0\r\ny=0100000001\r\n"), "{out}");
}

#[test]
fn an_origin_of_the_other_family_becomes_ours_and_any_other_stays() {
    let text =
        "v=0\r\no=alice 7 8 IN IP6 2001:db8::9\r\ns=-\r\nc=IN IP6 2001:db8::9\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n";
    let out = anchored(text, &["198.51.100.7:40000"]);
    assert!(out.contains("o=alice 7 8 IN IP4 198.51.100.7\r\n"), "{out}");
    let out = anchored(text, &["[2001:db8::1]:40000"]);
    assert!(out.contains("o=alice 7 8 IN IP6 2001:db8::9\r\n"), "{out}");
}

#[test]
fn only_addresses_change() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=Fran\u{e7}ais \r\nc=IN IP4 192.0.2.1\r\nb=AS:84\r\nt=0 0\r\nx-unknown\r\n\
                m=audio 49170 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n";
    let wanted = text
        .replace("c=IN IP4 192.0.2.1", "c=IN IP4 198.51.100.7")
        .replace("49170", "40000");
    assert_eq!(anchored(text, &["198.51.100.7:40000"]), wanted);
    assert_eq!(
        anchored(&text.replace("\r\n", "\n"), &["198.51.100.7:40000"]),
        wanted.replace("\r\n", "\n")
    );
}

#[test]
fn every_way_round_the_relay_is_cut_out() {
    let text = "v=0\na=group:BUNDLE 0 1\na=group:LS 0 1\na=ice-lite\na=ICE-ufrag:x\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n\
                a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\n a= Candidate:2\na=end-of-candidates\n\
                a=remote-candidates:1 192.0.2.2 9\na=altc:1 IP4 192.0.2.3 9\na=bundle-only\na=mid:0\na=rtcp:0 nonsense";
    let wanted = "v=0\na=group:LS 0 1\nc=IN IP4 198.51.100.7\nm=audio 40000 RTP/AVP 0\na=mid:0\n";
    assert_eq!(anchored(text, &["198.51.100.7:40000"]), wanted);
}

#[test]
fn both_levels_and_both_families_are_rewritten() {
    let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000/2 RTP/AVP 0\r\na=rtcp:4005 IN IP4 192.0.2.8\r\n\
                m=video 5000 RTP/AVP 31\r\nc=IN IP4 224.2.1.1/127/3\r\na=rtcp:5000\r\n";
    let wanted = "v=0\r\nc=IN IP6 2001:db8::7\r\nm=audio 40000 RTP/AVP 0\r\na=rtcp:40001 IN IP6 2001:db8::7\r\n\
                  m=video 40002 RTP/AVP 31\r\nc=IN IP6 2001:db8::7\r\na=rtcp:40002\r\n";
    assert_eq!(anchored(text, &["[2001:db8::7]:40000", "[2001:db8::7]:40002"]), wanted);
}

#[test]
fn who_sends_rtcp_apart_is_told_its_port_though_the_author_has_one_port_for_both() {
    let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=rtcp:4000 IN IP4 192.0.2.1\r\na=rtcp-mux\r\n";
    let told = |muxed| {
        let secured = Some(Secured {
            profile: Some("RTP/AVP".to_owned()),
            muxed,
            ..Secured::default()
        });
        let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
        let out = anchor_secured(&sdp, &locals(&["198.51.100.7:40000"]), &[secured], &[]);
        String::from_utf8(out.to_vec()).unwrap()
    };
    let head = "v=0\r\nc=IN IP4 198.51.100.7\r\nm=audio 40000 RTP/AVP 0\r\n";
    let apart = format!("{head}a=rtcp:40001 IN IP4 198.51.100.7\r\n");
    let together = format!("{head}a=rtcp:40000 IN IP4 198.51.100.7\r\na=rtcp-mux\r\n");
    assert_eq!(told(Some(false)), apart);
    assert_eq!(told(Some(true)), together);
    assert_eq!(told(None), together);
}

#[test]
fn keys_of_ours_take_the_place_of_theirs_line_by_line() {
    const THEIRS: &str = "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    const OURS: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVw";
    let key = Crypto::parse(OURS.strip_prefix("a=crypto:").unwrap()).unwrap();
    let text = format!(
        "v=0\nc=IN IP4 192.0.2.1\na=fingerprint:sha-256 AB\nm=audio 4000 RTP/SAVPF 0\n{THEIRS}\na=sendrecv\n\
         m=video 5000 RTP/AVP 31\na=Crypto:1 x y\nm=audio 0 RTP/AVP 8\n"
    );
    let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
    assert_eq!((sdp.lines()[0].cryptos.len(), sdp.lines()[1].cryptos.len()), (1, 0));
    let locals = locals(&["198.51.100.7:40000", "198.51.100.7:40002", "198.51.100.7:40004"]);
    let said = |is_secure, keys: &[&Crypto]| {
        let keys = keys.iter().map(|key| (*key).clone()).collect();
        Some(Secured {
            is_secure,
            keys,
            ..Secured::default()
        })
    };
    let told =
        |secured: &[Option<Secured>]| String::from_utf8(anchor_secured(&sdp, &locals, secured, &[]).to_vec()).unwrap();
    let wanted = format!(
        "v=0\nc=IN IP4 198.51.100.7\nm=audio 40000 RTP/AVPF 0\na=sendrecv\n\
         m=video 40002 RTP/SAVP 31\n{OURS}\r\nm=audio 0 RTP/SAVP 8\n"
    );
    assert_eq!(
        told(&[said(false, &[]), said(true, &[&key]), said(true, &[&key])]),
        wanted
    );
    assert_eq!(told(&[]), String::from_utf8(anchor(&sdp, &locals).to_vec()).unwrap());
    let partly = told(&[said(true, &[&key])]);
    assert!(
        partly.contains("fingerprint") && partly.contains("a=Crypto:1 x y"),
        "{partly}"
    );
    assert!(
        partly.contains(&format!("RTP/SAVPF 0\na=sendrecv\n{OURS}\r\nm=video")),
        "{partly}"
    );
    let cut = SessionDescription::parse(
        text.trim_end()
            .strip_suffix("m=audio 0 RTP/AVP 8")
            .unwrap()
            .trim_end()
            .as_bytes(),
    );
    let out = anchor_secured(&cut.unwrap(), &locals, &[None, said(true, &[&key])], &[]);
    assert!(out.ends_with(format!("RTP/SAVP 31\n{OURS}\r\n").as_bytes()), "{out:?}");
}

#[test]
fn a_hold_by_a_zero_address_stays_a_hold() {
    let text = "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert_eq!(anchored(text, &["198.51.100.7:40000"]), text.replace("4000", "40000"));
    let wanted = "v=0\r\nc=IN IP6 ::\r\nm=audio 40000 RTP/AVP 0\r\n";
    assert_eq!(anchored(text, &["[2001:db8::7]:40000"]), wanted);
}

#[test]
fn refused_lines_stay_refused_and_lines_without_a_local_become_so() {
    let text = "v=0\nc=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0\nm=video 5000 RTP/AVP 31\nm=image 6000 udptl t38\n";
    let wanted = "v=0\nc=IN IP4 198.51.100.7\nm=audio 0 RTP/AVP 0\nm=video 40002 RTP/AVP 31\nm=image 0 udptl t38\n";
    assert_eq!(anchored(text, &["198.51.100.7:40000", "198.51.100.7:40002"]), wanted);
    let third_refused = ["198.51.100.7:40000", "198.51.100.7:40002", "198.51.100.7:0"];
    assert_eq!(anchored(text, &third_refused), wanted);
}

#[test]
fn what_is_not_carried_in_datagrams_is_refused_and_names_no_other_way() {
    for protocol in ["TCP/MSRP", "TCP/TLS/MSRP", "tcp/BFCP", "TCP/RTP/AVP", "MSRP", "SCTP"] {
        let text = format!(
            "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=message 7654 {protocol} *\na=accept-types:text/plain\n\
             a=path:msrp://192.0.2.1:7654/jshA7we;tcp\na=msrp-cema\na=setup:actpass\n"
        );
        let wanted = format!(
            "v=0\nc=IN IP4 198.51.100.7\nm=audio 40000 RTP/AVP 0\nm=message 0 {protocol} *\na=accept-types:text/plain\n\
             a=setup:actpass\n"
        );
        assert_eq!(anchored(&text, &["198.51.100.7:40000", "198.51.100.7:40002"]), wanted);
    }
    let data = "v=0\nc=IN IP4 192.0.2.1\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\n";
    let out = anchored(data, &["198.51.100.7:40000"]);
    assert!(out.contains("m=application 40000 UDP/DTLS/SCTP"), "{out}");
}

#[test]
fn a_line_on_another_address_than_the_session_s_gets_its_own() {
    let text = "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=video 5000 RTP/AVP 31\ni=camera\na=sendonly";
    let wanted = "v=0\nc=IN IP4 198.51.100.7\nm=audio 40000 RTP/AVP 0\nm=video 40002 RTP/AVP 31\ni=camera\n\
                  c=IN IP4 198.51.100.8\na=sendonly";
    assert_eq!(anchored(text, &["198.51.100.7:40000", "198.51.100.8:40002"]), wanted);
    let at_the_end = "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=video 5000 RTP/AVP 31";
    let out = anchored(at_the_end, &["198.51.100.7:40000", "198.51.100.8:40002"]);
    assert!(
        out.ends_with("m=video 40002 RTP/AVP 31\r\nc=IN IP4 198.51.100.8\r\n"),
        "{out}"
    );
}

fn line() -> impl Strategy<Value = String> {
    let address = prop_oneof![
        Just("IN IP4 192.0.2.1"),
        Just("IN IP4 0.0.0.0"),
        Just("IN IP6 2001:db8::1"),
        Just("IN IP4 224.2.1.1/127"),
        Just("IN IP4 pbx.example.com"),
    ];
    prop_oneof![
        address.clone().prop_map(|address| format!("c={address}")),
        (any::<u16>(), 0..4_u8).prop_map(|(port, form)| match form {
            0 => format!("m=audio {port} RTP/AVP 0 8"),
            1 => format!("m=video {port}/2 RTP/AVPF 96"),
            2 => format!("m=message {port} TCP/MSRP *"),
            _ => format!("m=image {port} udptl t38"),
        }),
        (any::<u16>(), address).prop_map(|(port, address)| format!("a=rtcp:{port} {address}")),
        any::<u16>().prop_map(|port| format!("a=rtcp:{port}")),
        Just("a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host".to_owned()),
        Just("a=path:msrp://192.0.2.1:4000/x;tcp".to_owned()),
        Just("i=title".to_owned()),
        Just("a=rtpmap:96 opus/48000/2".to_owned()),
        "[a-z]=[ -~]{0,20}",
        "[ -~]{0,8}",
    ]
}

fn description() -> impl Strategy<Value = String> {
    let ending = prop_oneof![Just("\r\n"), Just("\n")];
    (proptest::collection::vec((line(), ending), 0..24)).prop_map(|lines| {
        lines
            .into_iter()
            .fold("v=0\r\n".to_owned(), |text, (line, ending)| text + &line + ending)
    })
}

fn our_locals() -> Vec<SocketAddr> {
    let address = |n: u16| if n % 3 == 2 { "2001:db8::7" } else { "198.51.100.7" };
    (0..64)
        .map(|n| SocketAddr::new(address(n).parse().unwrap(), 40_000 + 2 * n))
        .collect()
}

fn is_owned(line: &str) -> bool {
    let is_of_others = matches!(line.trim_start().as_bytes(), [kind, b'=', ..] if !b"vsiuepbtrzkayfA".contains(kind));
    let line = line.trim_start().to_ascii_lowercase();
    let attribute = line.strip_prefix("a=").map(str::trim);
    is_of_others
        || attribute.is_some_and(|name| {
            [
                "rtcp",
                "candidate",
                "remote-candidates",
                "end-of-candidates",
                "alt",
                "ice-",
                "bundle",
                "group",
                "ccap",
                "path",
                "msrp-cema",
            ]
            .iter()
            .any(|owned| name.starts_with(owned))
        })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), begun: bool) {
        if begun {
            bytes.splice(0..0, *b"v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n");
        }
        if let Ok(sdp) = SessionDescription::parse(&bytes) {
            anchor(&sdp, &our_locals());
            anchor(&sdp, &[]);
        }
    }

    #[test]
    fn mutated_descriptions_never_panic(text in description(), at: prop::sample::Index, byte: u8) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(sdp) = SessionDescription::parse(&bytes) {
            anchor(&sdp, &our_locals());
        }
    }

    #[test]
    fn unowned_lines_stay_and_live_lines_are_ours(text in description()) {
        let Ok(sdp) = SessionDescription::parse(text.as_bytes()) else { return Ok(()) };
        let ours = our_locals();
        let out = String::from_utf8(anchor(&sdp, &ours).to_vec()).unwrap();
        let unowned = |text: &str| -> Vec<String> {
            text.split_inclusive('\n').filter(|line| !is_owned(line)).map(str::to_owned).collect()
        };
        prop_assert_eq!(unowned(&text), unowned(&out));
        let again = SessionDescription::parse(out.as_bytes()).unwrap();
        prop_assert_eq!(again.lines().len(), sdp.lines().len());
        for ((before, after), local) in sdp.lines().iter().zip(again.lines()).zip(&ours) {
            prop_assert_eq!(before.is_live() && before.is_datagram(), after.is_live());
            if !after.is_live() {
                continue;
            }
            prop_assert_eq!(after.port, local.port());
            let held = before.connection.is_some_and(|address| address.is_unspecified());
            prop_assert_eq!(after.connection.map(|address| address.is_unspecified()), Some(held));
            if let (false, Some(remote)) = (held, after.remote()) {
                prop_assert_eq!(remote.rtp, *local);
                prop_assert_eq!(remote.rtcp.ip(), local.ip());
                let ports = [local.port(), local.port() + 1];
                prop_assert!(ports.contains(&remote.rtcp.port()));
            }
        }
        prop_assert!(!out.contains("candidate:1 1") && !out.contains("msrp://"));
    }

    #[test]
    fn anchoring_twice_is_anchoring_once(text in description()) {
        let Ok(sdp) = SessionDescription::parse(text.as_bytes()) else { return Ok(()) };
        let once = anchor(&sdp, &our_locals());
        let again = anchor(&SessionDescription::parse(&once).unwrap(), &our_locals());
        prop_assert_eq!(once, again);
    }
}
