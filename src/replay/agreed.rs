//! SRTP whose keys were told in the capture: what a party encrypted by, and by what the proxy takes it to.
//!
//! Of several keys that a party offers (RFC 4568 §5.1.2) its far end chose one in the capture, and the proxy, which answers by itself,
//! perhaps another. The phone of the replay then encrypts as the proxy answered: what was captured is opened by the one key and sealed by
//! the other.

use crate::model::{Leg, SrtpKey};
use crate::rtp::{Opener, SRTP_GROWTH_MAX, Sealer, WireKind};
use crate::sdp::{Crypto, SessionDescription};

/// Keys of one line that are tried: the newest, and the ones before, by which packets may be under way.
const TURNS_MAX: usize = 2;

/// Of one call.
#[derive(Default)]
pub(crate) struct AgreedKeys {
    legs: [Told; 2],
    /// A line's that is not there needs nothing done.
    turns: Vec<Turns>,
}

/// What the descriptions say to and of one party, line by line; the newest count.
#[derive(Default)]
struct Told {
    by_party: Vec<Vec<Crypto>>,
    by_proxy: Vec<Vec<Crypto>>,
}

struct Turns {
    leg: Leg,
    line: usize,
    /// Newest first.
    turns: Vec<Turn>,
}

/// Packets by one key become packets by another.
struct Turn {
    keys: [SrtpKey; 2],
    opener: Opener,
    sealer: Sealer,
}

impl AgreedKeys {
    /// A captured description of a party.
    pub(crate) fn on_captured(&mut self, leg: Leg, sdp: &SessionDescription) {
        self.legs[leg.index()].by_party = cryptos(sdp);
        self.agree();
    }

    /// What the proxy describes to a party.
    pub(crate) fn on_sent(&mut self, leg: Leg, sdp: &SessionDescription) {
        self.legs[leg.index()].by_proxy = cryptos(sdp);
        self.agree();
    }

    /// The packet as the proxy expects it, if that is not how it was captured.
    pub(crate) fn reseal(&mut self, sender: Leg, line: u16, kind: WireKind, packet: &[u8]) -> Option<Vec<u8>> {
        let is_its = |of: &&mut Turns| of.leg == sender && of.line == usize::from(line);
        let of_line = self.turns.iter_mut().find(is_its)?;
        of_line.turns.iter_mut().find_map(|turn| turn.reseal(kind, packet))
    }

    fn agree(&mut self) {
        for leg in [Leg::A, Leg::B] {
            for line in 0..self.legs[leg.index()].by_party.len() {
                let Some(turn) = self.differing(leg, line).and_then(Turn::new) else {
                    continue;
                };
                let is_its = |of: &Turns| (of.leg, of.line) == (leg, line);
                let at = self.turns.iter().position(is_its).unwrap_or_else(|| {
                    let turns = Vec::new();
                    self.turns.push(Turns { leg, line, turns });
                    self.turns.len() - 1
                });
                if let Some(of_line) = self.turns.get_mut(at) {
                    of_line.take(turn);
                }
            }
        }
    }

    /// What the party encrypts by in the capture, and to the proxy, where these are two keys.
    fn differing(&self, leg: Leg, line: usize) -> Option<[&SrtpKey; 2]> {
        let offered = self.legs[leg.index()].by_party.get(line)?;
        let chosen = |by: &[Vec<Crypto>]| {
            let told = by.get(line)?;
            let is_told = |own: &&Crypto| {
                let is_same = |other: &Crypto| other.tag == own.tag && other.key.suite() == own.key.suite();
                told.iter().any(is_same)
            };
            offered.iter().position(|own| is_told(&own))
        };
        let in_capture = chosen(&self.legs[leg.other().index()].by_party)?;
        let to_proxy = chosen(&self.legs[leg.index()].by_proxy)?;
        let key = |at: usize| offered.get(at).map(|crypto| &crypto.key);
        Some([key(in_capture)?, key(to_proxy)?]).filter(|_| in_capture != to_proxy)
    }
}

impl Turns {
    fn take(&mut self, turn: Turn) {
        if self.turns.first().is_none_or(|newest| newest.keys != turn.keys) {
            self.turns.truncate(TURNS_MAX - 1);
            self.turns.insert(0, turn);
        }
    }
}

impl Turn {
    fn new([from, to]: [&SrtpKey; 2]) -> Option<Self> {
        Some(Self {
            keys: [from.clone(), to.clone()],
            opener: Opener::new(from)?,
            sealer: Sealer::new(to)?,
        })
    }

    /// None: it was not encrypted by this key.
    fn reseal(&mut self, kind: WireKind, packet: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = packet.to_vec();
        let is_rtcp = kind == WireKind::Rtcp;
        let opened = if is_rtcp {
            self.opener.open_rtcp(&mut buffer)
        } else {
            self.opener.open_rtp(&mut buffer)
        };
        let length = opened.ok()?;
        buffer.resize(length + SRTP_GROWTH_MAX, 0);
        let sealed = if is_rtcp {
            self.sealer.seal_rtcp(&mut buffer, length)
        } else {
            self.sealer.seal_rtp(&mut buffer, length)
        };
        buffer.truncate(sealed.ok()?);
        Some(buffer)
    }
}

fn cryptos(sdp: &SessionDescription) -> Vec<Vec<Crypto>> {
    sdp.lines().iter().map(|line| line.cryptos.clone()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::model::SrtpSuite;

    const RTCP: [u8; 8] = [0x81, 203, 0, 1, 0, 0, 0, 0xA];

    fn crypto(tag: u32) -> Crypto {
        let suite = SrtpSuite::AesCm128HmacSha1_80;
        let key = SrtpKey::new(suite, &vec![tag as u8; suite.master_bytes()], None).unwrap();
        Crypto { tag, key }
    }

    fn sdp(tags: &[u32]) -> SessionDescription {
        let mut text = String::from("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n");
        text.push_str("m=audio 4000 RTP/SAVP 0\r\n");
        for tag in tags {
            crypto(*tag).write(&mut text);
            text.push_str("\r\n");
        }
        SessionDescription::parse(text.as_bytes()).unwrap()
    }

    /// A offered 1, 2 and 3, and took by B `in_capture`, and by the proxy `to_proxy`.
    fn agreed(in_capture: u32, to_proxy: u32) -> AgreedKeys {
        let mut keys = AgreedKeys::default();
        keys.on_captured(Leg::A, &sdp(&[1, 2, 3]));
        keys.on_captured(Leg::B, &sdp(&[in_capture]));
        keys.on_sent(Leg::A, &sdp(&[to_proxy]));
        keys
    }

    fn sealed_rtcp(by: u32) -> Vec<u8> {
        let mut buffer = [RTCP.to_vec(), vec![0; SRTP_GROWTH_MAX]].concat();
        let length = Sealer::new(&crypto(by).key).unwrap().seal_rtcp(&mut buffer, RTCP.len());
        buffer.truncate(length.unwrap());
        buffer
    }

    fn opened_rtcp(by: u32, mut packet: Vec<u8>) -> Vec<u8> {
        let length = Opener::new(&crypto(by).key).unwrap().open_rtcp(&mut packet).unwrap();
        packet.truncate(length);
        packet
    }

    #[test]
    fn rtcp_goes_over_to_the_key_that_the_proxy_took() {
        let resealed = agreed(2, 1).reseal(Leg::A, 0, WireKind::Rtcp, &sealed_rtcp(2)).unwrap();
        assert_eq!(opened_rtcp(1, resealed), RTCP);
    }

    #[test]
    fn what_needs_no_other_key_or_is_by_none_that_was_told_stays_as_it_is() {
        assert_eq!(agreed(2, 2).reseal(Leg::A, 0, WireKind::Rtcp, &sealed_rtcp(2)), None);
        let mut keys = agreed(2, 1);
        assert_eq!(keys.reseal(Leg::A, 0, WireKind::Rtcp, &sealed_rtcp(3)), None);
        assert_eq!(keys.reseal(Leg::A, 1, WireKind::Rtcp, &sealed_rtcp(2)), None);
        assert_eq!(keys.reseal(Leg::B, 0, WireKind::Rtcp, &sealed_rtcp(2)), None);
        assert_eq!(keys.reseal(Leg::A, 0, WireKind::Rtp, &[0x80; 11]), None);
    }

    #[test]
    fn packets_by_the_key_before_are_still_opened() {
        let mut keys = agreed(2, 1);
        keys.on_captured(Leg::B, &sdp(&[3]));
        for by in [3, 2] {
            let resealed = keys.reseal(Leg::A, 0, WireKind::Rtcp, &sealed_rtcp(by)).unwrap();
            assert_eq!(opened_rtcp(1, resealed), RTCP);
        }
    }
}
