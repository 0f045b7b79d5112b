//! Pages that want their media bundled (RFC 9143): each line of ours has a port of its own, so a group that we take has one line.

use onrecord::model::Leg;
use onrecord::sdp::SessionDescription;
use onrecord::trunk::{Dtls, Ice, Secrecy, Srtp, Trunk};

use super::bench::{A, B, Bench, SDP};
use super::routed::trunk;
use super::shaken::{begins, bench_of, browser, with};

const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 VP8/90000\r\na=mid:1\r\n";

/// A page on A's side; B knows nothing of encryption.
fn page_and_phone() -> Bench {
    let phone = Trunk {
        secrecy: Secrecy {
            srtp: Srtp::Refuse,
            ..Secrecy::default()
        },
        ..trunk("carrier", B)
    };
    bench_of(with("pbx", A, Dtls::Allow, Ice::Allow), phone)
}

/// With video beside it in the group. `at`: where its lines are reached; a browser that waited for its candidates says so.
fn with_video(page: &str, at: &str) -> String {
    let (head, audio) = page.split_once("m=audio").unwrap();
    let secrets: String = audio
        .split_inclusive("\r\n")
        .filter(|line| {
            ["a=fing", "a=setup", "a=rtcp-mux", "a=ice-"]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .collect();
    let audio = audio.replacen(" 9 ", " 50000 ", 1).replacen("0.0.0.0", at, 1);
    format!(
        "{}m=audio{audio}{VIDEO}{secrets}",
        head.replace("BUNDLE 0", "BUNDLE 0 1")
    )
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

/// The group, and the names of the lines.
fn grouped(body: &[u8]) -> Vec<&str> {
    let is_grouping = |line: &&str| line.starts_with("a=group:") || line.starts_with("a=mid:");
    text(body).lines().filter(is_grouping).collect()
}

fn ports(body: &[u8]) -> Vec<bool> {
    let sdp = SessionDescription::parse(body).unwrap();
    sdp.lines().iter().map(|line| line.port != 0).collect()
}

#[test]
fn a_page_that_offers_a_group_has_one_of_its_audio_in_every_description() {
    let mut bench = page_and_phone();
    bench.invite(&browser("actpass"), "");
    assert!(
        !text(&bench.request_to_b("INVITE").body).contains("group"),
        "B's ports are its own"
    );
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(grouped(&bench.response_to_a().body), ["a=group:BUNDLE 0", "a=mid:0"]);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(begins(&bench, Leg::A), Some(true));
    bench.b_requests(1, "INVITE", "hold", &SDP.replace("sendrecv", "sendonly"));
    assert_eq!(
        grouped(&bench.request_to_a("INVITE").body),
        ["a=group:BUNDLE 0", "a=mid:0"]
    );
    bench.a_answers("INVITE", 200, &browser("passive").replace("sendrecv", "recvonly"));
    assert!(!text(&bench.response_to_b().body).contains("group"));
}

#[test]
fn who_offers_none_is_told_of_none() {
    let mut bench = page_and_phone();
    bench.invite(&browser("actpass").replace("a=group:BUNDLE 0\r\n", ""), "");
    bench.b_answers("INVITE", 200, SDP);
    assert!(grouped(&bench.response_to_a().body).is_empty());
}

#[test]
fn a_line_that_has_no_address_but_its_groups_is_refused_and_the_call_goes_on() {
    let mut bench = page_and_phone();
    bench.invite(&with_video(&browser("actpass"), "192.0.2.7"), "");
    assert_eq!(ports(&bench.request_to_b("INVITE").body), [true, false]);
    let answer = format!("{SDP}m=video 0 RTP/AVP 96\r\n");
    bench.b_answers("INVITE", 200, &answer);
    let told = bench.response_to_a();
    assert_eq!((told.status, ports(&told.body)), (200, vec![true, false]));
    assert_eq!(grouped(&told.body), ["a=group:BUNDLE 0", "a=mid:0", "a=mid:1"]);
}

#[test]
fn a_line_with_an_address_of_its_own_leaves_the_group_and_so_may_one_of_who_has_told_none_yet() {
    let (gathered, trickling) = (
        with_video(&browser("actpass"), "192.0.2.7"),
        with_video(&browser("actpass"), "0.0.0.0"),
    );
    for offer in [
        gathered
            .replace("video 9", "video 50002")
            .replace("0.0.0.0", "192.0.2.7"),
        trickling.replace("audio 50000", "audio 9"),
    ] {
        let mut bench = page_and_phone();
        bench.invite(&offer, "");
        assert_eq!(ports(&bench.request_to_b("INVITE").body), [true, true]);
        bench.b_answers("INVITE", 200, &format!("{SDP}m=video 4002 RTP/AVP 96\r\n"));
        let told = bench.response_to_a().body;
        assert_eq!(ports(&told), [true, true]);
        assert_eq!(grouped(&told), ["a=group:BUNDLE 0", "a=mid:0", "a=mid:1"]);
    }
}

#[test]
fn who_is_to_try_ways_is_offered_a_group_of_the_first_line_and_nobody_else_is() {
    let two = format!("{SDP}m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
    for (ice, named, wanted) in [
        (Ice::Offer, "", &["a=group:BUNDLE 0", "a=mid:0", "a=mid:1"][..]),
        (
            Ice::Offer,
            "a=mid:sound\r\n",
            &["a=group:BUNDLE sound", "a=mid:sound", "a=mid:0"],
        ),
        (Ice::Allow, "", &[]),
    ] {
        let mut bench = bench_of(
            with("pbx", A, Dtls::Allow, Ice::Allow),
            with("carrier", B, Dtls::Require, ice),
        );
        bench.invite(&two.replacen("m=video", &format!("{named}m=video"), 1), "");
        assert_eq!(grouped(&bench.request_to_b("INVITE").body), wanted);
    }
}

#[test]
fn every_line_of_an_answer_with_a_group_has_the_name_that_the_page_gave_it() {
    let mut bench = page_and_phone();
    let offer = with_video(&browser("actpass"), "192.0.2.7")
        .replace("BUNDLE 0 1", "BUNDLE 0 picture")
        .replace("a=mid:1", "a=mid:picture");
    bench.invite(&offer, "");
    bench.b_answers("INVITE", 200, &format!("{SDP}m=video 0 RTP/AVP 96\r\n"));
    assert_eq!(
        grouped(&bench.response_to_a().body),
        ["a=group:BUNDLE 0", "a=mid:0", "a=mid:picture"]
    );
    bench.a_requests(1, "ACK", "ack1", "");
    let two = format!("{SDP}m=video 0 RTP/AVP 96\r\n");
    bench.b_requests(1, "INVITE", "hold", &two.replace("sendrecv", "sendonly"));
    assert_eq!(
        grouped(&bench.request_to_a("INVITE").body),
        ["a=group:BUNDLE 0", "a=mid:0", "a=mid:picture"]
    );
}

#[test]
fn sound_that_has_no_address_but_that_of_video_is_no_call_but_one_for_help_crosses() {
    let offer = with_video(&browser("actpass"), "192.0.2.7")
        .replace("BUNDLE 0 1", "BUNDLE 1 0")
        .replace("video 9", "video 50000")
        .replace("0.0.0.0", "192.0.2.7");
    let mut bench = page_and_phone();
    bench.invite(&offer, "");
    assert!(bench.to_b.is_empty());
    assert_eq!(bench.response_to_a().status, 488);
    let mut bench = page_and_phone();
    super::routed::call(&mut bench, 1, "112", &offer);
    assert_eq!(ports(&bench.request_to_b("INVITE").body), [true, true]);
}

/// A second line of sound in the group, without an address of its own.
fn with_more_sound() -> String {
    let sound = VIDEO
        .replace("video", "audio")
        .replace("96", "8")
        .replace("VP8/90000", "PCMA/8000");
    with_video(&browser("actpass"), "192.0.2.7").replace(VIDEO, &sound)
}

#[test]
fn a_second_line_of_sound_that_has_no_address_is_refused_and_the_first_stays_for_help_too() {
    let answer = format!("{SDP}m=audio 0 RTP/AVP 8\r\n");
    for called in ["bob", "112"] {
        let mut bench = page_and_phone();
        super::routed::call(&mut bench, 1, called, &with_more_sound());
        let offered = bench.request_to_b("INVITE").body;
        assert_eq!(ports(&offered), [true, false], "{called}");
        assert!(
            text(&offered).contains("c=IN IP4 127.0.0.1"),
            "it goes by us: {}",
            text(&offered)
        );
        bench.b_answers("INVITE", 200, &answer);
        let told = bench.response_to_a();
        assert_eq!((told.status, ports(&told.body)), (200, vec![true, false]), "{called}");
    }
    let mut bench = page_and_phone();
    bench.invite(&browser("actpass"), "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "INVITE", "more", &with_more_sound());
    assert_eq!(ports(&bench.request_to_b("INVITE").body), [true, false]);
    bench.b_answers("INVITE", 200, &answer);
    assert_eq!(ports(&bench.response_to_a().body), [true, false]);
}

/// What an m-line says of its ways and its handshake, and whether it is one of silence.
fn ways(body: &[u8], line: usize) -> Vec<&str> {
    let section = text(body).split("m=").nth(line + 1).unwrap();
    let is_way = |line: &&str| {
        let names = [
            "a=ice-",
            "a=candidate",
            "a=end-of",
            "a=finger",
            "a=setup",
            "a=rtcp-mux",
            "a=inactive",
        ];
        names.iter().any(|name| line.starts_with(name))
    };
    section.lines().filter(is_way).collect()
}

/// There are pages that take no answer with a line, also a refused one, that says nothing of its ways, its handshake and formats that
/// they know; and that go by the last line of a group.
#[test]
fn a_refused_line_of_a_group_says_what_the_groups_line_says_so_that_no_page_loses_its_way() {
    for refusal in ["m=audio 0 RTP/AVP 8\r\n", "m=audio 0 RTP/AVP 0\r\na=sendrecv\r\n"] {
        let mut bench = page_and_phone();
        bench.invite(&with_more_sound(), "");
        bench.b_answers("INVITE", 200, &format!("{SDP}{refusal}"));
        let told = bench.response_to_a().body;
        let [taken, refused] = [0, 1].map(|line| ways(&told, line));
        assert_eq!(refused, [&["a=inactive"], &taken[..]].concat());
        assert!(taken.iter().any(|line| line.starts_with("a=candidate")), "{taken:?}");
        let section = text(&told).split("m=").nth(2).unwrap();
        assert!(section.starts_with("audio 0 UDP/TLS/RTP/SAVPF 8\r\n"), "{section}");
        assert!(section.contains("a=rtpmap:8 PCMA/8000\r\n") && !section.contains("sendrecv"));
        assert_eq!(grouped(&told), ["a=group:BUNDLE 0", "a=mid:0", "a=mid:1"]);
    }
}

#[test]
fn a_line_with_a_port_of_its_own_that_the_phone_refuses_says_all_but_a_way() {
    let mut bench = page_and_phone();
    let offer = with_video(&browser("actpass"), "192.0.2.7");
    bench.invite(
        &offer.replace("video 9", "video 50002").replace("0.0.0.0", "192.0.2.7"),
        "",
    );
    bench.b_answers("INVITE", 200, &format!("{SDP}m=video 0 RTP/AVP 31\r\n"));
    let told = bench.response_to_a().body;
    let names: Vec<_> = ways(&told, 1).into_iter().map(|line| &line[..8]).collect();
    assert_eq!(
        names,
        ["a=inacti", "a=finger", "a=setup:", "a=rtcp-m", "a=ice-uf", "a=ice-pw"]
    );
    let section = text(&told).split("m=").nth(2).unwrap();
    assert!(section.contains("a=rtpmap:96 VP8/90000"), "{section}");
    bench.a_requests(1, "ACK", "ack1", "");
    let held = format!("{SDP}m=video 0 RTP/AVP 31\r\n").replace("sendrecv", "sendonly");
    bench.b_requests(1, "INVITE", "hold", &held);
    assert_eq!(
        ways(&bench.request_to_a("INVITE").body, 1).len(),
        6,
        "and so in what comes later"
    );
}

#[test]
fn who_asked_for_no_ways_is_told_of_a_refused_line_what_the_phone_says() {
    let mut bench = Bench::strict();
    bench.invite(
        &format!("{SDP}m=video 5002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"),
        "",
    );
    let refusal = "m=video 0 RTP/AVP 31\r\n";
    bench.b_answers("INVITE", 200, &format!("{SDP}{refusal}"));
    assert!(text(&bench.response_to_a().body).ends_with(refusal));
}
