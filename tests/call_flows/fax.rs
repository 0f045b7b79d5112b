//! Holds in each form, music on hold, and fax: audio that becomes T.38, and back (RFC 3264, ITU-T T.38 Annex D).

use onrecord::model::{Leg, Mark, MediaKind, RecordingCommand};

use super::bench::{Bench, SDP};

const T38: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=image 6000 udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n";

fn holds(bench: &Bench) -> Vec<String> {
    let marks = bench.recording.iter().filter_map(|command| match command {
        RecordingCommand::Mark {
            mark: Mark::Held { by },
            ..
        } => Some(format!("held by {by}")),
        RecordingCommand::Mark {
            mark: Mark::Resumed { by },
            ..
        } => Some(format!("resumed by {by}")),
        _ => None,
    });
    marks.collect()
}

#[test]
fn a_reinvite_to_t38_in_place_of_audio_is_relayed_and_recorded_raw() {
    let mut bench = Bench::strict().connected();
    bench.b_requests(1, "INVITE", "f1", T38);
    let offer = String::from_utf8_lossy(&bench.request_to_a("INVITE").body).into_owned();
    assert!(
        offer.contains("m=image 40") && offer.contains("a=T38FaxUdpEC:t38UDPRedundancy"),
        "{offer}"
    );
    bench.a_answers("INVITE", 200, &T38.replace("6000", "6002"));
    bench.b_requests(1, "ACK", "f2", "");
    let line = &bench.plan().lines[0];
    assert_eq!(line.kind, MediaKind::Other);
    let port = |leg: Leg| line.leg(leg).remote.map(|remote| remote.rtp.port());
    assert_eq!((port(Leg::A), port(Leg::B)), (Some(6002), Some(6000)));
    assert_eq!(bench.plan().recorded, onrecord::model::Recorded::Strict);
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn t38_beside_audio_gets_ports_of_its_own() {
    let mut bench = Bench::strict().connected();
    let both = format!("{SDP}m=image 6000 udptl t38\r\n").replace("m=audio 4000", "m=audio 0");
    bench.b_requests(1, "INVITE", "f1", &both);
    bench.a_answers("INVITE", 200, &both.replace("6000", "6002"));
    let lines = &bench.plan().lines;
    assert_eq!((lines.len(), lines[1].kind), (2, MediaKind::Other));
    assert!(lines[0].a.remote.is_none() && lines[1].a.remote.is_some() && lines[1].b.remote.is_some());
}

#[test]
fn a_fax_that_is_refused_stays_audio() {
    let mut bench = Bench::strict().connected();
    for (cseq, status) in [(1, 488), (2, 606), (3, 415)] {
        bench.b_requests(cseq, "INVITE", &format!("f{cseq}"), T38);
        bench.a_answers("INVITE", status, "");
        assert_eq!(bench.response_to_b().status, status);
        bench.b_requests(cseq, "ACK", &format!("f{cseq}"), "");
    }
    assert!(
        bench.media.is_empty(),
        "the relay carries what was agreed: {:?}",
        bench.media
    );
    bench.b_requests(4, "INVITE", "f9", &SDP.replace("RTP/AVP 8", "RTP/AVP 0"));
    bench.a_answers("INVITE", 200, SDP);
    assert_eq!(bench.response_to_b().status, 200, "the fallback: fax over G.711");
    assert_eq!(bench.plan().lines[0].kind, MediaKind::Audio);
}

#[test]
fn a_fax_ends_and_the_parties_talk_again() {
    let mut bench = Bench::strict().connected();
    bench.b_requests(1, "INVITE", "f1", T38);
    bench.a_answers("INVITE", 200, T38);
    bench.b_requests(1, "ACK", "f2", "");
    bench.a_requests(2, "INVITE", "f3", SDP);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(2, "ACK", "f4", "");
    assert_eq!(bench.plan().lines[0].kind, MediaKind::Audio);
}

#[test]
fn a_hold_is_seen_in_each_form_and_so_is_its_end() {
    let forms = [
        SDP.replace("sendrecv", "sendonly"),
        SDP.replace("sendrecv", "inactive"),
        SDP.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0"),
    ];
    for form in forms {
        let mut bench = Bench::strict().connected();
        bench.a_requests(2, "INVITE", "h1", &form);
        let offer = String::from_utf8_lossy(&bench.request_to_b("INVITE").body).into_owned();
        assert!(!offer.contains("192.0.2.1\r\nt="), "{offer}");
        bench.b_answers("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
        bench.a_requests(2, "ACK", "h2", "");
        assert_eq!(holds(&bench), ["held by A"], "{form}");
        bench.a_requests(3, "INVITE", "h3", SDP);
        bench.b_answers("INVITE", 200, SDP);
        bench.a_requests(3, "ACK", "h4", "");
        assert_eq!(holds(&bench), ["held by A", "resumed by A"], "{form}");
    }
}

#[test]
fn both_sides_hold_and_one_lets_go() {
    let mut bench = Bench::strict().connected();
    bench.a_requests(2, "INVITE", "h1", &SDP.replace("sendrecv", "sendonly"));
    bench.b_answers("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
    bench.a_requests(2, "ACK", "h2", "");
    bench.b_requests(1, "INVITE", "h3", &SDP.replace("sendrecv", "inactive"));
    bench.a_answers("INVITE", 200, &SDP.replace("sendrecv", "inactive"));
    bench.b_requests(1, "ACK", "h4", "");
    bench.a_requests(3, "INVITE", "h5", &SDP.replace("sendrecv", "recvonly"));
    bench.b_answers("INVITE", 200, &SDP.replace("sendrecv", "sendonly"));
    bench.a_requests(3, "ACK", "h6", "");
    assert_eq!(holds(&bench), ["held by A", "held by B", "resumed by A"]);
}

/// RFC 7088 §2: who holds sends the music of a server that it asked by an INVITE without an offer.
#[test]
fn music_on_hold_comes_from_another_address_and_goes_back() {
    let mut bench = Bench::strict().connected();
    let music = SDP
        .replace("192.0.2.1\r\nt=", "192.0.2.77\r\nt=")
        .replace("4000", "7000")
        .replace("sendrecv", "sendonly");
    bench.a_requests(2, "INVITE", "m1", "");
    bench.b_answers("INVITE", 200, SDP);
    assert!(!bench.response_to_a().body.is_empty(), "B's offer");
    bench.a_requests(2, "ACK", "m2", &music);
    let remote = bench.plan().lines[0].a.remote.unwrap();
    assert_eq!(remote.rtp.to_string(), "192.0.2.77:7000");
    assert_eq!(holds(&bench), ["held by A"]);
    bench.a_requests(3, "INVITE", "m3", SDP);
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(3, "ACK", "m4", "");
    assert_eq!(
        bench.plan().lines[0].a.remote.unwrap().rtp.to_string(),
        "192.0.2.1:4000"
    );
}

/// Where A's packets come from, and whether it wants any.
fn place_of_a(bench: &Bench) -> (String, bool) {
    let a = &bench.plan().lines[0].a;
    let place = a.remote.map_or("nowhere".to_owned(), |remote| remote.rtp.to_string());
    (place, a.deaf)
}

#[test]
fn who_holds_by_the_null_address_plays_from_where_it_was() {
    let null = SDP.replace("192.0.2.1\r\nt=", "0.0.0.0\r\nt=");
    let off = null.replace("m=audio 4000", "m=audio 0");
    let mut bench = Bench::strict().connected();
    let steps = [
        (null.clone(), "192.0.2.1:4000", true),
        (null.replace("4000", "4010"), "192.0.2.1:4010", true),
        (
            SDP.replace("192.0.2.1\r\nt=", "192.0.2.9\r\nt="),
            "192.0.2.9:4000",
            false,
        ),
        (null.clone(), "192.0.2.9:4000", true),
        (off, "nowhere", false),
        // Of a line that was off nothing is known but who speaks for it.
        (null.clone(), "127.0.0.1:4000", true),
        (SDP.to_owned(), "192.0.2.1:4000", false),
    ];
    for (cseq, (offer, place, deaf)) in (2..).zip(steps) {
        bench.a_requests(cseq, "INVITE", &format!("n{cseq}"), &offer);
        bench.b_answers("INVITE", 200, SDP);
        bench.a_requests(cseq, "ACK", &format!("k{cseq}"), "");
        assert_eq!(place_of_a(&bench), (place.to_owned(), deaf), "{offer}");
    }
}

#[test]
fn who_calls_with_the_null_address_is_heard_from_the_host_that_speaks_for_it() {
    let mut bench = Bench::strict();
    bench.invite(&SDP.replace("192.0.2.1\r\nt=", "0.0.0.0\r\nt="), "");
    bench.b_answers("INVITE", 200, SDP);
    assert_eq!(place_of_a(&bench), ("127.0.0.1:4000".to_owned(), true));
}

#[test]
fn a_reinvite_without_an_offer_crosses_the_other_way_too() {
    let mut bench = Bench::strict().connected();
    bench.b_requests(1, "INVITE", "l1", "");
    assert!(bench.request_to_a("INVITE").body.is_empty());
    bench.a_answers("INVITE", 200, &SDP.replace("4000", "4600"));
    bench.b_requests(1, "ACK", "l2", &SDP.replace("4000", "5600"));
    assert!(!bench.request_to_a("ACK").body.is_empty());
    let line = &bench.plan().lines[0];
    let port = |leg: Leg| line.leg(leg).remote.map(|remote| remote.rtp.port());
    assert_eq!((port(Leg::A), port(Leg::B)), (Some(4600), Some(5600)));
}
