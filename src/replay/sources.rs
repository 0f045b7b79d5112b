//! Where the media of a party comes from: where it said that it receives (symmetric RTP, RFC 4961), and who else is heard in its
//! place.
//!
//! What it says in an offer holds once that is answered (RFC 3264 §8); till then its media may come from both places. A source that
//! no description names is heard as the relay would behind NAT: the first that speaks, until one that is known better does.

use std::net::{IpAddr, SocketAddr};

use crate::media::{Admission, Latch, Place};
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
}

impl Told {
    fn of(line: &MediaLine) -> Self {
        Self {
            remote: line.remote(),
            is_null: line.has_null_address(),
            tries_ways: line.ice.is_some(),
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
            line.tries_ways = told.tries_ways;
            if let Some(remote) = line.agreed {
                for (latch, at) in line.latches.iter_mut().zip([remote.rtp, remote.rtcp]) {
                    latch.signal(Some(at), Origin::First { speaker }, false);
                }
            }
        }
    }

    /// Whose a packet of a line is that came to the other party. `place`: where RTP has one.
    pub(crate) fn admit(&mut self, (line, is_rtcp): (u16, bool), from: SocketAddr, place: Option<Place>) -> Source {
        let (offered, line) = (self.is_offered(line, from), self.lines.get_mut(usize::from(line)));
        let Some((line, agreed)) = line.and_then(|line| line.agreed.map(|agreed| (line, agreed))) else {
            return Source::Party(from);
        };
        let [latch, of_rtcp] = &mut line.latches;
        let (latch, at) = if is_rtcp {
            (of_rtcp, agreed.rtcp)
        } else {
            (latch, agreed.rtp)
        };
        if !offered && !line.tries_ways && latch.admits(from, false, place) == Admission::Foreign {
            return Source::Foreign;
        }
        Source::Party(at)
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
