//! Parties whose SDP names a host that nobody can reach: behind NAT, or by a name (RFC 4961).

use onrecord::engine::Input;
use onrecord::model::{Leg, Mark, MediaEvent, Origin, RecordingCommand};

use super::bench::{B, Bench, SDP, invite};
use super::routed::{configure, trunk};

/// What A's connection is, with the phone at 127.0.0.1, and where its media is expected.
fn place_of_a(connection: &str) -> (String, Origin) {
    let mut bench = Bench::strict();
    bench.invite(
        &SDP.replace("IN IP4 192.0.2.1\r\nt=", &format!("{connection}\r\nt=")),
        "",
    );
    bench.b_answers("INVITE", 200, SDP);
    let a = &bench.plan().lines[0].a;
    (a.remote.unwrap().rtp.to_string(), a.origin)
}

#[test]
fn who_names_a_private_address_is_heard_from_the_host_that_speaks_for_it_too() {
    let speaker = Origin::Speaker("127.0.0.1".parse().unwrap());
    for (connection, place, origin) in [
        ("IN IP4 10.1.2.3", "10.1.2.3:4000", speaker),
        ("IN IP4 100.64.0.9", "100.64.0.9:4000", speaker),
        ("IN IP6 fd00::9", "[fd00::9]:4000", speaker),
        ("IN IP4 192.0.2.1", "192.0.2.1:4000", Origin::Signalled),
        ("IN IP4 phone.example.com", "127.0.0.1:4000", Origin::Signalled),
    ] {
        assert_eq!(place_of_a(connection), (place.to_owned(), origin), "{connection}");
    }
}

#[test]
fn who_names_a_host_that_only_itself_reaches_is_where_it_speaks_from() {
    const PHONE: &str = "198.51.100.7:5060";
    for connection in ["IN IP4 127.0.0.1", "IN IP4 169.254.7.7", "IN IP6 ::1", "IN IP6 fe80::1"] {
        let mut bench = Bench::strict();
        configure(&mut bench, trunk("pbx", PHONE), trunk("carrier", B));
        let offer = SDP.replace("IN IP4 192.0.2.1\r\nt=", &format!("{connection}\r\nt="));
        bench.from(PHONE, invite(1, "i1", "", &offer, ""));
        bench.b_answers("INVITE", 200, SDP);
        let speaker = "198.51.100.7".parse().unwrap();
        assert_eq!(bench.plan().lines[0].a.origin, Origin::Speaker(speaker), "{connection}");
    }
}

#[test]
fn the_media_of_a_trunk_behind_nat_comes_from_where_it_comes_and_the_recording_says_from_where() {
    let mut bench = Bench::strict_with_carrier_behind_nat();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    let line = bench.plan().lines[0].clone();
    let speaker = "127.0.0.1".parse().unwrap();
    assert_eq!(
        (line.a.origin, line.b.origin),
        (Origin::Signalled, Origin::First { speaker })
    );
    let (session, from) = (bench.session(), "203.0.113.5:61000".parse().unwrap());
    bench.input(Input::Media(MediaEvent::Learned {
        session,
        leg: Leg::B,
        line: 0,
        from,
    }));
    let learned = Mark::Learned {
        leg: Leg::B,
        line: 0,
        from,
    };
    let is_kept =
        |command: &RecordingCommand| matches!(command, RecordingCommand::Mark { mark, .. } if *mark == learned);
    assert!(bench.recording.iter().any(is_kept));
}
