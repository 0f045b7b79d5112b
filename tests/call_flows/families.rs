//! One call, one address by IPv4 and one by IPv6: whoever is asked is told an address of ours of its own family, and the
//! relay moves there before.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use onrecord::engine::Input;
use onrecord::media::{Plane, PlaneOutput, Port, Verdict};
use onrecord::model::{Mark, MediaCommand, MediaEvent, RecordingCommand, SessionId, Timestamp};
use onrecord::recorder::{FrameSink, Offer, Packet, Slot};
use onrecord::sdp::SessionDescription;
use onrecord::sip::{Message, Request};

use super::bench::{B, Bench, C6, PROXY, PROXY6, SDP, answer};

const SDP6: &str =
    "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nc=IN IP6 2001:db8::9\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\na=sendrecv\r\n";

fn ip(listener: &str) -> IpAddr {
    listener.parse::<SocketAddr>().unwrap().ip()
}

/// Where an INVITE asks for the media of its first line.
fn asked_at(invite: &Request) -> SocketAddr {
    let sdp = SessionDescription::parse(&invite.body).unwrap();
    sdp.lines()[0].remote().unwrap().rtp
}

/// Whoever is at `phone` answers the newest INVITE that it was sent.
fn answers(bench: &mut Bench, phone: &str, status: u16, sdp: &str) {
    let invite = if phone == B {
        bench.request_to_b("INVITE")
    } else {
        bench.request_to_c("INVITE")
    };
    bench.from(phone, answer(&invite, status, "tag", phone, sdp));
}

/// A relay that did what the bench's was told, and a recorder that takes everything.
struct Relay {
    plane: Plane,
    tape: Tape,
    bound: BTreeMap<SocketAddr, Port>,
}

#[derive(Default)]
struct Tape(usize);

impl FrameSink for Tape {
    fn open(&mut self, _: SessionId) -> Option<Slot> {
        Some(Slot(1))
    }

    fn close(&mut self, _: Timestamp, _: Slot) {}

    fn offer(&mut self, _: Timestamp, _: Slot, _: Packet<'_>) -> Offer {
        self.0 += 1;
        Offer::Accepted
    }
}

impl Relay {
    fn of(bench: &Bench) -> Self {
        let mut relay = Self {
            plane: Plane::new(),
            tape: Tape::default(),
            bound: BTreeMap::new(),
        };
        for command in bench.media.iter().cloned() {
            relay.plane.handle_command(bench.now, command, &mut relay.tape);
            while let Some(output) = relay.plane.poll_output() {
                match output {
                    PlaneOutput::Bind(port, at) => {
                        assert_eq!(relay.bound.insert(at, port), None, "bound twice");
                        relay.plane.handle_bound(bench.now, port, &mut relay.tape);
                    }
                    PlaneOutput::Unbind(port) => relay.bound.retain(|_, bound| *bound != port),
                    PlaneOutput::Send { .. } => panic!("nobody shakes hands"),
                    PlaneOutput::Event(event) => assert!(matches!(event, MediaEvent::Opened { .. }), "{event:?}"),
                }
            }
        }
        relay
    }

    /// From where a packet to `local` leaves, and where it goes.
    fn carries(&mut self, from: &str, local: SocketAddr) -> (SocketAddr, SocketAddr) {
        let packet = [0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0xd5];
        let (now, port) = (Timestamp::ZERO, self.bound[&local]);
        let from = from.parse().unwrap();
        match self.plane.handle_packet(now, port, from, now, &packet, &mut self.tape) {
            Verdict::Forward { via, to } | Verdict::Change { via, to } => {
                let (at, _) = self.bound.iter().find(|(_, bound)| **bound == via).unwrap();
                (*at, to)
            }
            Verdict::Drop(why) => panic!("{why:?}"),
        }
    }
}

/// `first` cannot take the call, `second` does: what each was offered, and what the relay carries.
fn moves(first: &str, second: &str, sdp: &str, media: &str, [ours_first, ours]: [&str; 2]) {
    let mut bench = Bench::strict_with_addresses(&[first, second]);
    bench.invite(SDP, "");
    let invite_to = |bench: &Bench, phone: &str| {
        if phone == B {
            bench.request_to_b("INVITE")
        } else {
            bench.request_to_c("INVITE")
        }
    };
    let asked_first = asked_at(&invite_to(&bench, first));
    assert_eq!(asked_first.ip(), ip(ours_first));
    answers(&mut bench, first, 503, "");
    let asked = asked_at(&invite_to(&bench, second));
    assert_eq!(asked, SocketAddr::new(ip(ours), asked_first.port()));
    answers(&mut bench, second, 180, "");
    answers(&mut bench, second, 200, sdp);
    let Some(Message::Response(ok)) = bench.to_a.last() else {
        panic!("A is not answered")
    };
    let told = SessionDescription::parse(&ok.body).unwrap().lines()[0]
        .remote()
        .unwrap()
        .rtp;
    assert_eq!(told.ip(), ip(PROXY), "A's family");
    bench.a_requests(1, "ACK", "ack1", "");

    let mut relay = Relay::of(&bench);
    assert_eq!(relay.bound.len(), 4, "nothing is bound at the other family's address");
    assert_eq!(relay.carries("192.0.2.1:4000", told), (asked, media.parse().unwrap()));
    assert_eq!(relay.carries(media, asked), (told, "192.0.2.1:4000".parse().unwrap()));
    assert_eq!(relay.tape.0, 2);

    bench.a_requests(2, "BYE", "bye1", "");
    let bye = newest_bye(&bench, second);
    bench.from(second, answer(&bye, 200, "tag", second, ""));
    let opened = |command: &&RecordingCommand| matches!(command, RecordingCommand::Open(_));
    assert_eq!(bench.recording.iter().filter(opened).count(), 1);
    assert_eq!(marked(&bench).last(), Some(&(told, asked)));
    assert_eq!(bench.story.last().unwrap(), "sealed 10/10");
    bench.assert_nothing_left();
}

fn newest_bye(bench: &Bench, phone: &str) -> Request {
    if phone == B {
        bench.request_to_b("BYE")
    } else {
        bench.request_to_c("BYE")
    }
}

/// Our addresses towards A and B, each time that they are written on the recording's timeline.
fn marked(bench: &Bench) -> Vec<(SocketAddr, SocketAddr)> {
    let marks = bench.recording.iter().filter_map(|command| match command {
        RecordingCommand::Mark {
            mark: Mark::Media(lines),
            ..
        } => Some((lines[0].a.local, lines[0].b.local)),
        _ => None,
    });
    marks.collect()
}

#[test]
fn after_an_ipv4_address_fails_the_ipv6_one_is_told_our_ipv6_address_and_the_media_flows() {
    moves(B, C6, SDP6, "[2001:db8::9]:6000", [PROXY, PROXY6]);
}

#[test]
fn after_an_ipv6_address_fails_the_ipv4_one_is_told_our_ipv4_address_and_the_media_flows() {
    let sdp = SDP.replace("192.0.2.1", "198.51.100.1");
    moves(C6, B, &sdp, "198.51.100.1:4000", [PROXY6, PROXY]);
}

#[test]
fn the_second_address_is_asked_once_our_ports_face_it() {
    let mut bench = Bench::strict_with_addresses(&[B, C6]);
    bench.invite(SDP, "");
    bench.media_answers = false;
    answers(&mut bench, B, 503, "");
    assert!(bench.to_c.is_empty());
    let session = bench.session();
    bench.media_answers = true;
    bench.input(Input::Media(MediaEvent::Opened { session }));
    assert_eq!(asked_at(&bench.request_to_c("INVITE")).ip(), ip(PROXY6));
}

#[test]
fn a_call_whose_ports_cannot_move_is_refused_and_nothing_is_left_of_it() {
    let mut bench = Bench::strict_with_addresses(&[B, C6]);
    bench.invite(SDP, "");
    bench.ports_bind = false;
    answers(&mut bench, B, 503, "");
    assert!(bench.to_c.is_empty());
    assert_eq!(bench.response_to_a().status, 503);
    assert!(matches!(bench.media.last(), Some(MediaCommand::Close { .. })));
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn a_late_offer_is_answered_from_the_new_family_too() {
    let mut bench = Bench::strict_with_addresses(&[B, C6]);
    bench.invite("", "");
    answers(&mut bench, B, 183, SDP);
    answers(&mut bench, B, 503, "");
    assert!(bench.request_to_c("INVITE").body.is_empty());
    answers(&mut bench, C6, 200, SDP6);
    bench.a_requests(1, "ACK", "ack1", SDP);
    let answered = asked_at(&bench.request_to_c("ACK"));
    assert_eq!(answered.ip(), ip(PROXY6));
    let mut relay = Relay::of(&bench);
    assert_eq!(
        relay.carries("[2001:db8::9]:6000", answered).1,
        std::net::SocketAddr::from(([192, 0, 2, 1], 4_000))
    );
    bench.a_requests(2, "BYE", "bye1", "");
    let bye = newest_bye(&bench, C6);
    bench.from(C6, answer(&bye, 200, "tag", C6, ""));
    bench.assert_nothing_left();
}
