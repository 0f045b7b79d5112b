//! Where the media of a party comes from: where it said that it receives (symmetric RTP, RFC 4961), and who else is heard in its
//! place.
//!
//! What it says in an offer holds once that is answered (RFC 3264 §8); till then its media may come from both places. A source that
//! no description names is heard as the relay would behind NAT: the first that speaks, until one that is known better does.

use std::net::{IpAddr, SocketAddr};

use crate::media::{Admission, Evidence, Latch, Medium};
use crate::model::{Origin, Remote};
use crate::sdp::{MediaLine, SessionDescription};
use crate::sip::{Message, Method};

/// Of one party of a call.
#[derive(Default)]
pub(crate) struct Sources {
    lines: Vec<Line>,
    offered: Option<Offered>,
}

#[derive(Default)]
struct Line {
    agreed: Option<Remote>,
    /// Its party tries ways (RFC 8445): it may come from any of them.
    tries_ways: bool,
    is_rtp: bool,
    medium: Medium,
    /// Of its RTP, of its RTCP.
    latches: [Latch; 2],
}

struct Offered {
    /// Of the request that it was offered in. None: the proxy was not told of it, and goes by what is agreed.
    by: Option<Method>,
    lines: Vec<Told>,
    speaker: IpAddr,
}

/// What a description says of a line.
#[derive(Clone, Copy)]
struct Told {
    remote: Option<Remote>,
    /// It is held by the null address: its media comes from where it came from before.
    is_null: bool,
    tries_ways: bool,
    is_rtp: bool,
    medium: Medium,
}

impl Told {
    fn of(line: &MediaLine) -> Self {
        Self {
            remote: line.remote(),
            is_null: line.has_null_address(),
            tries_ways: line.ice.is_some(),
            is_rtp: !line.formats.is_empty(),
            medium: Medium::of(line.kind, !line.formats.is_empty()),
        }
    }

    fn all(sdp: &SessionDescription) -> Vec<Self> {
        sdp.lines().iter().map(Self::of).collect()
    }
}

/// What is to be made of a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// The party, which the proxy knows by this address.
    Party(SocketAddr),
    Foreign,
}

impl Sources {
    /// What the party described in a message of the hop that is played. `speaker`: who sent that.
    pub(crate) fn describe(&mut self, message: &Message, sdp: &SessionDescription, speaker: IpAddr) {
        let by = match message {
            Message::Request(request) if request.method != Method::Ack && request.headers.to().tag().is_some() => {
                Some(request.method.clone())
            }
            _ => None,
        };
        if by.is_some() && !self.lines.is_empty() {
            let lines = Told::all(sdp);
            self.offered = Some(Offered { by, lines, speaker });
        } else {
            self.agree(&Told::all(sdp), speaker);
        }
    }

    /// What the party described, but the proxy was not told.
    pub(crate) fn describe_beside(&mut self, sdp: &SessionDescription, speaker: IpAddr) {
        self.offered = Some(Offered {
            by: None,
            lines: Told::all(sdp),
            speaker,
        });
    }

    /// What the proxy tells the party: its offer is answered, or refused and forgotten.
    pub(crate) fn on_told(&mut self, message: &Message, is_description: bool) {
        let Message::Response(response) = message else { return };
        let is_its = |offered: &mut Offered| offered.by.as_ref() == Some(&response.headers.cseq().method);
        if response.status >= 300 {
            self.offered.take_if(is_its);
        } else if is_description && let Some(offered) = self.offered.take_if(is_its) {
            self.agree(&offered.lines, offered.speaker);
        }
    }

    fn agree(&mut self, told: &[Told], speaker: IpAddr) {
        self.lines.truncate(told.len());
        self.lines.resize_with(told.len(), Line::default);
        for (line, told) in self.lines.iter_mut().zip(told) {
            line.agreed = if told.is_null { line.agreed } else { told.remote };
            (line.tries_ways, line.is_rtp, line.medium) = (told.tries_ways, told.is_rtp, told.medium);
            if let Some(remote) = line.agreed {
                for (latch, at) in line.latches.iter_mut().zip([remote.rtp, remote.rtcp]) {
                    latch.signal(Some(at), Origin::First { speaker }, false);
                }
            }
        }
    }

    /// Whose a packet of a line is that came to the other party.
    pub(crate) fn admit(&mut self, (line, is_rtcp): (u16, bool), from: SocketAddr, evidence: Evidence) -> Source {
        let (offered, line) = (self.is_offered(line, from), self.lines.get_mut(usize::from(line)));
        let Some((line, agreed)) = line.and_then(|line| line.agreed.map(|agreed| (line, agreed))) else {
            return Source::Party(from);
        };
        let at = if is_rtcp { agreed.rtcp } else { agreed.rtp };
        if offered || line.tries_ways {
            return Source::Party(at);
        }
        let [of_rtp, of_rtcp] = &mut line.latches;
        let latch = if is_rtcp { &mut *of_rtcp } else { of_rtp };
        let was_on = latch.is_on(from);
        if latch.admits(from, false, evidence) == Admission::Foreign {
            return Source::Foreign;
        }
        if !is_rtcp && !was_on {
            of_rtcp.go_beside(from.ip());
        }
        Source::Party(at)
    }

    /// Whether what looks like DTLS or ZRTP may be that: any bytes begin a fax' datagram.
    pub(crate) fn is_rtp(&self, line: u16) -> bool {
        self.lines.get(usize::from(line)).is_some_and(|line| line.is_rtp)
    }

    pub(crate) fn medium(&self, line: u16) -> Medium {
        self.lines
            .get(usize::from(line))
            .map_or_else(Medium::default, |line| line.medium)
    }

    /// Where the proxy takes what the party sends on a line, and whatever it is, from.
    pub(crate) fn agreed(&self, (line, is_rtcp): (u16, bool)) -> Option<SocketAddr> {
        let agreed = self.lines.get(usize::from(line))?.agreed?;
        Some(if is_rtcp { agreed.rtcp } else { agreed.rtp })
    }

    fn is_offered(&self, line: u16, from: SocketAddr) -> bool {
        let offered = self
            .offered
            .as_ref()
            .and_then(|offered| offered.lines.get(usize::from(line)));
        offered
            .and_then(|told| told.remote)
            .is_some_and(|remote| [remote.rtp, remote.rtcp].contains(&from))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::forge::{millis, rtp};
    use super::super::report::CallReport;
    use super::super::talk::{A, A_MEDIA, B, B_MEDIA, Said, Talk};

    const STRANGER: &str = "203.0.113.9:7000";
    const A_RTCP: &str = "192.168.0.1:4001";
    const B_RTCP: &str = "192.168.0.2:6001";

    fn sends(talk: &mut Talk, src: &str, dst: &str, payload: &[u8]) {
        talk.file.udp(millis(talk.now), src, dst, payload);
        talk.now += 20;
    }

    /// Of the call: what was recorded, and what was left out.
    fn counted(talk: &mut Talk) -> (u64, u64, u64) {
        let CallReport {
            accepted,
            stored,
            foreign,
            ..
        } = talk.hang_up().replay().calls.remove(0);
        (accepted, stored, foreign)
    }

    /// A call whose lines are those of a fax.
    fn fax() -> Talk {
        let mut talk = Talk::new("fax@test");
        let said = [
            ("INVITE sip:b@example.net SIP/2.0", "1 INVITE", true, Some(A_MEDIA)),
            ("SIP/2.0 200 OK", "1 INVITE", false, Some(B_MEDIA)),
            ("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", true, None),
        ];
        for (n, said) in said.into_iter().enumerate() {
            to_fax(&mut talk, "fax@test", said, (n > 0).then_some("from-b"));
        }
        talk
    }

    /// A message whose lines are those of a fax: its start, its CSeq, whether A says it, where its media goes to.
    fn to_fax(talk: &mut Talk, call_id: &str, said: (&str, &str, bool, Option<&str>), b_tag: Option<&str>) {
        let (start, cseq, by_a, media) = said;
        let said = Said {
            start,
            cseq,
            by_a,
            b_tag,
            media,
        };
        let text = String::from_utf8(said.bytes(call_id)).unwrap();
        let text = text.replace("audio", "image").replace("RTP/AVP 0", "udptl t38");
        let (src, dst) = if by_a { (A, B) } else { (B, A) };
        sends(talk, src, dst, text.as_bytes());
    }

    #[test]
    fn a_stranger_s_datagrams_are_no_part_of_a_party_s_fax() {
        // Whatever its number begins with: STUN (0), DTLS (22), RTP (128).
        for first in [0, 20, 22, 128] {
            let mut talk = fax();
            let datagram = |number: u8| [first, number, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0];
            for number in 0..5 {
                sends(&mut talk, A_MEDIA, B_MEDIA, &datagram(number));
                sends(&mut talk, STRANGER, B_MEDIA, &datagram(number));
            }
            assert_eq!(counted(&mut talk), (5, 5, 5), "{first}");
        }
    }

    #[test]
    fn a_fax_from_behind_a_nat_is_the_party_s() {
        let mut talk = fax();
        for number in 0..5 {
            sends(&mut talk, STRANGER, B_MEDIA, &[0, number, 4, 1, 2, 3, 4, 0]);
        }
        assert_eq!(counted(&mut talk), (5, 5, 0));
    }

    #[test]
    fn a_fax_from_another_host_than_the_sound_before_it_is_the_party_s_from_its_fifth_packet_on() {
        for first in [0x0000_u16, 0x80c0] {
            let mut talk = Talk::new("moved@test");
            talk.connected();
            for number in 0..5 {
                sends(&mut talk, "198.51.100.77:9", B_MEDIA, &rtp(0xA, 0, number));
            }
            let said = [
                (
                    "INVITE sip:b@192.168.0.2 SIP/2.0",
                    "2 INVITE",
                    true,
                    Some("192.168.0.1:4002"),
                ),
                ("SIP/2.0 200 OK", "2 INVITE", false, Some(B_MEDIA)),
                ("ACK sip:b@192.168.0.2 SIP/2.0", "2 ACK", true, None),
            ];
            for said in said {
                to_fax(&mut talk, "moved@test", said, Some("from-b"));
            }
            for number in 0..9 {
                let [high, low] = (first + number).to_be_bytes();
                sends(&mut talk, STRANGER, B_MEDIA, &[high, low, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0]);
            }
            assert_eq!(counted(&mut talk), (10, 10, 4), "{first:x}");
        }
    }

    const BYE: [u8; 8] = [0x81, 203, 0, 1, 0, 0, 0, 0xA];

    #[test]
    fn a_stranger_s_rtcp_is_no_party_s_though_that_one_sends_none() {
        let mut talk = Talk::new("rtcp@test");
        talk.connected();
        sends(&mut talk, A_MEDIA, B_MEDIA, &rtp(0xA, 0, 1));
        sends(&mut talk, STRANGER, B_RTCP, &BYE);
        sends(&mut talk, A_MEDIA, B_MEDIA, &rtp(0xA, 0, 2));
        assert_eq!(counted(&mut talk), (2, 2, 1));
    }

    #[test]
    fn rtcp_from_beside_the_rtp_is_the_party_s() {
        for (rtp_from, rtcp_from) in [(A_MEDIA, A_RTCP), (STRANGER, "203.0.113.9:61000"), (STRANGER, A_RTCP)] {
            let mut talk = Talk::new("beside@test");
            talk.connected();
            sends(&mut talk, rtp_from, B_MEDIA, &rtp(0xA, 0, 1));
            sends(&mut talk, rtcp_from, B_RTCP, &BYE);
            assert_eq!(counted(&mut talk), (2, 2, 0), "{rtp_from} {rtcp_from}");
        }
    }

    #[test]
    fn who_asks_for_a_way_does_not_take_the_party_s_place() {
        let mut talk = Talk::new("stun@test");
        talk.connected();
        let mut asks = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        asks.resize(20, 7);
        for _ in 0..5 {
            sends(&mut talk, STRANGER, B_MEDIA, &asks);
        }
        for number in 0..5 {
            sends(&mut talk, "198.51.100.77:9", B_MEDIA, &rtp(0xA, 0, number));
        }
        let (_, _, foreign) = counted(&mut talk);
        assert_eq!(foreign, 0);
    }
}
