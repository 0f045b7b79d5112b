//! What of a leg is encrypted between its peer and us: by keys in its SDP (SDES, RFC 4568), with keys of ours in place of the other
//! leg's, or by those of a handshake (`shaking`). So what crosses can be recorded, and one leg may be in clear.

use std::sync::Arc;

use super::manner::Manner;
use super::shaking::{bundle_one, share_with_refused};
use super::{Negotiation, NegotiationError};
use crate::model::{Identity, Leg, LegKeys, LineKeys, MediaKind, SRTP_MASTER_BYTES_MAX, SrtpKey, SrtpSuite};
use crate::sdp::{Bundling, Crypto, MediaLine, Secured, SessionDescription, Setup, without_lines};
use crate::sip::Mint;
use crate::trunk::{Dtls, Srtp};

/// What we offer, as we prefer it: first what every phone has.
const SUITES: [SrtpSuite; 3] = [
    SrtpSuite::AesCm128HmacSha1_80,
    SrtpSuite::AeadAes256Gcm,
    SrtpSuite::AeadAes128Gcm,
];
/// Keys that one line of ours has.
const KEYS_MAX: usize = 6;

/// What is told of the lines of a description; None: what its author said stays.
pub(super) type Said = Vec<Option<Secured>>;

/// Where the keys of a call come from.
#[derive(Debug, Default)]
pub(super) struct Keying {
    /// None: no key can be made, and nothing is encrypted by us.
    pub(super) mint: Option<Mint>,
    /// None: no handshake is with us.
    pub(super) identities: Option<[Arc<Identity>; 2]>,
    /// Who is told the second of them.
    pub(super) has_second: [bool; 2],
    /// See [`crate::model::Handshake::round`].
    pub(super) rounds: [u32; 2],
    /// Who has not answered yet since it came back.
    pub(super) is_back: [bool; 2],
    /// Who may be another phone by now: what it is offered next has new keys.
    pub(super) renews: [bool; 2],
}

/// An offer as it is carried, and what is told of its encryption.
pub(super) struct Keyed {
    sdp: SessionDescription,
    said: Said,
    before: Said,
}

/// What a leg's line says of its encryption, as far as it concerns us.
struct Wish<'a> {
    /// It has no other way.
    insists: bool,
    /// Its keys that can be used; none where its trunk has none.
    cryptos: &'a [Crypto],
    /// Its keys come from a handshake with us.
    shakes: bool,
}

impl<'a> Wish<'a> {
    /// None: there is nothing to encrypt or to open, or it is sealed by keys of the ends.
    fn of(line: &'a MediaLine, manner: Manner, can_shake: bool) -> Option<Self> {
        if can_shake && manner.shakes(line) {
            return Some(Self {
                insists: true,
                cryptos: &[],
                shakes: true,
            });
        }
        let insists = line.is_secure_profile()?;
        if !line.is_live() || line.insists_on_seal() {
            return None;
        }
        let cryptos = if manner.reads_keys() { &line.cryptos[..] } else { &[] };
        Some(Self {
            insists,
            cryptos,
            shakes: false,
        })
    }
}

impl Keying {
    /// Keys for one line: of the suites of `theirs` in their order and by their tags, and then of our own.
    fn keys(&mut self, theirs: &[Crypto]) -> Result<Vec<Crypto>, NegotiationError> {
        let mut keys: Vec<Crypto> = Vec::new();
        let own = (1..).zip(SUITES);
        let mirrored = theirs.iter().map(|crypto| (crypto.tag, crypto.key.suite()));
        for (tag, suite) in mirrored.chain(own).take(KEYS_MAX) {
            if keys.iter().any(|key| key.key.suite() == suite) {
                continue;
            }
            let is_taken = |tag| keys.iter().any(|key: &Crypto| key.tag == tag);
            let free = (1..=u32::try_from(KEYS_MAX).unwrap_or(1) + 1).find(|tag| !is_taken(*tag));
            let tag = if is_taken(tag) { free.unwrap_or(tag) } else { tag };
            keys.push(Crypto {
                tag,
                key: self.key(suite)?,
            });
        }
        Ok(keys)
    }

    pub(super) fn key(&mut self, suite: SrtpSuite) -> Result<SrtpKey, NegotiationError> {
        let mint = self.mint.as_mut().ok_or(NegotiationError::Keys)?;
        let mut master = [0; SRTP_MASTER_BYTES_MAX];
        for chunk in master.chunks_mut(16) {
            let entropy = mint.entropy().to_be_bytes();
            chunk.copy_from_slice(entropy.get(..chunk.len()).unwrap_or_default());
        }
        let key = SrtpKey::new(suite, &master[..suite.master_bytes()], None);
        zeroize::Zeroize::zeroize(&mut master);
        key.ok_or(NegotiationError::Keys)
    }

    /// Our answer to an offer: of the keys of `theirs` that of the first suite that we have a key of already, else the first.
    fn answered(&mut self, ours: &[Crypto], theirs: &[Crypto]) -> Result<Option<Crypto>, NegotiationError> {
        let of_suite = |suite| theirs.iter().find(|crypto| crypto.key.suite() == suite);
        let known = ours.iter().find_map(|key| Some((of_suite(key.key.suite())?, key)));
        if let Some((chosen, key)) = known {
            return Ok(Some(Crypto {
                tag: chosen.tag,
                key: key.key.clone(),
            }));
        }
        let Some(chosen) = theirs.first() else { return Ok(None) };
        Ok(Some(Crypto {
            tag: chosen.tag,
            key: self.key(chosen.key.suite())?,
        }))
    }
}

impl Negotiation {
    /// Where keys of ours come from.
    pub fn mint_keys_by(&mut self, mint: Mint) {
        self.keying.mint = Some(mint);
    }

    pub(super) fn manner(&self, leg: Leg) -> Manner {
        Manner {
            has_second: self.keying.has_second[leg.index()],
            ..self.faces[leg.index()].map_or_else(Manner::default, |face| face.manner())
        }
    }

    /// `by` offers this: what the other leg is to be told of its encryption. A line that could only be encrypted otherwise than may be is
    /// refused (RFC 3264 §6), if another is left.
    pub(super) fn key_offer(&mut self, by: Leg, sdp: &SessionDescription) -> Result<Keyed, NegotiationError> {
        let to = by.other().index();
        let before = self.agreement.before[to].clone();
        let before = before.unwrap_or_else(|| self.agreement.said[to].clone());
        let is_renewed = self.keying.renews[to];
        let mut said = Vec::with_capacity(sdp.lines().len());
        let (mut unusable, mut wants_voice) = (Vec::new(), false);
        for (index, line) in sdp.lines().iter().enumerate() {
            let known = before.get(index).and_then(Option::as_ref);
            said.push(match self.offered_line(by, (index, line), known, is_renewed) {
                Ok(said) => said,
                Err(NegotiationError::Keys) => {
                    // Sound that has no port but that of another line: without any there is no call.
                    wants_voice |= line.bundling == Bundling::Shared && line.kind == MediaKind::Audio;
                    unusable.push(index);
                    Some(Secured {
                        is_secure: line.is_secure_profile() == Some(true),
                        ..Secured::default()
                    })
                }
                Err(error) => return Err(error),
            });
        }
        bundle_one(&mut said, sdp.lines());
        if unusable.is_empty() {
            let sdp = sdp.clone();
            return Ok(Keyed { sdp, said, before });
        }
        let is_wanted = |line: &MediaLine| line.is_live() && (!wants_voice || line.kind == MediaKind::Audio);
        let mut lines = sdp.lines().iter().enumerate();
        if !lines.any(|(index, line)| is_wanted(line) && !unusable.contains(&index)) {
            return Err(NegotiationError::Keys);
        }
        let sdp = SessionDescription::parse(&without_lines(sdp, |index| unusable.contains(&index)))?;
        Ok(Keyed { sdp, said, before })
    }

    /// The offer crosses.
    pub(super) fn tell_keys(&mut self, to: Leg, keyed: Keyed) -> SessionDescription {
        self.agreement.before[to.index()] = Some(keyed.before);
        self.agreement.said[to.index()] = keyed.said;
        self.keying.renews[to.index()] = false;
        keyed.sdp
    }

    /// What the other leg is told of a line that `by` offers.
    fn offered_line(
        &mut self,
        by: Leg,
        (index, line): (usize, &MediaLine),
        known: Option<&Secured>,
        is_renewed: bool,
    ) -> Result<Option<Secured>, NegotiationError> {
        let (ours, theirs) = (self.manner(by), self.manner(by.other()));
        let can_shake = self.keying.can_shake();
        let is_shaken = can_shake && line.is_live() && line.is_shaken();
        // In no group of ours is a second line.
        if is_shaken && (ours.dtls == Dtls::Refuse || line.bundling == Bundling::Shared) {
            return Err(NegotiationError::Keys);
        }
        let Some(wish) = Wish::of(line, ours, can_shake) else {
            return Ok(known.filter(|_| !line.is_live()).map(|known| Secured {
                is_secure: known.is_secure,
                profile: known.profile.clone(),
                // A refused line says these, too: see `refusals_told`.
                shake: known.shake.map(|(ours, _)| (ours, Setup::ActPass)),
                ice: known.ice.clone(),
                muxed: known.muxed,
                ..Secured::default()
            }));
        };
        // A line that was refused begins anew: its key must not seal from the first index again (RFC 3711 §9.1).
        let known = known.filter(|_| !self.is_refused(index));
        match known.filter(|known| is_renewed && !known.keys.is_empty()) {
            Some(known) => {
                let keys = self.keying.keys(&known.keys)?;
                let renewed = Secured { keys, ..known.clone() };
                self.said_of(&wish, line, (ours, theirs), Some(&renewed))
            }
            None => self.said_of(&wish, line, (ours, theirs), known),
        }
    }

    fn said_of(
        &mut self,
        wish: &Wish<'_>,
        line: &MediaLine,
        (by, to): (Manner, Manner),
        known: Option<&Secured>,
    ) -> Result<Option<Secured>, NegotiationError> {
        let has_keys = wish.shakes || !wish.cryptos.is_empty();
        if !has_keys && (wish.insists || by.srtp == Srtp::Require) || by.dtls == Dtls::Require && !wish.shakes {
            return Err(NegotiationError::Keys);
        }
        if let Some(known) = known.filter(|known| known.shake.is_some()) {
            // Which part each has in the handshake is the other side's to say anew (RFC 8842 §5.2).
            let shake = known.shake.map(|(ours, _)| (ours, Setup::ActPass));
            return Ok(Some(Secured { shake, ..known.clone() }));
        }
        if let Some(known) = known.filter(|known| !known.keys.is_empty()) {
            // What it has does not depend on what the other leg has.
            return Ok(Some(known.clone()));
        }
        if to.dtls == Dtls::Require {
            return self.keying.shaken_offer(line, to).map(Some);
        }
        let (is_secure, tells) = match to.srtp {
            Srtp::Require if !to.tells_keys => return Err(NegotiationError::Keys),
            Srtp::Require => (true, true),
            Srtp::Refuse => (false, false),
            // Encrypted on one leg is offered so on the other, with the same insistence (RFC 8643).
            Srtp::Allow => (has_keys && wish.insists && to.tells_keys, has_keys && to.tells_keys),
        };
        if !tells && !line.keyed && !wish.shakes {
            return Ok(None);
        }
        let keys = if tells {
            self.keying.keys(wish.cryptos)?
        } else {
            Vec::new()
        };
        // Few phones take the feedback profile, of which who shakes hands seldom goes without.
        let profile = wish.shakes.then_some(if is_secure { "RTP/SAVP" } else { "RTP/AVP" });
        let ice = if tells { self.keying.offered_ice(to)? } else { None };
        Ok(Some(Secured {
            is_secure,
            profile: profile.map(str::to_owned),
            keys,
            muxed: ice.is_some().then_some(true),
            ice,
            ..Secured::default()
        }))
    }

    /// `by` answers `offer`: what the other leg, whose offer it was, is told of its encryption.
    pub(super) fn key_answer(&mut self, by: Leg, sdp: &SessionDescription) -> Result<(), NegotiationError> {
        if self.passes_by {
            return Ok(());
        }
        self.is_answer_keyed(by, sdp)?;
        let to = by.other();
        let Some(offer) = self.agreement.offer.as_ref().filter(|offer| offer.by == to) else {
            return Ok(());
        };
        let offer = offer.sdp.clone();
        let manner = self.manner(to);
        let mut said = Vec::with_capacity(offer.lines().len());
        for (index, offered) in offer.lines().iter().enumerate() {
            let can_shake = self.keying.can_shake();
            let is_terminated = self.agreement.said[by.index()].get(index).is_some_and(Option::is_some);
            if is_terminated && can_shake && manner.shakes(offered) {
                said.push(Some(self.answered_shake(to, index, offered)?));
                continue;
            }
            let is_shaken = self.is_offered_shake(by, index);
            let ours = self.known_keys(to, index, offered);
            let cryptos = Wish::of(offered, manner, can_shake).map_or(&[][..], |wish| wish.cryptos);
            let profile = offered.is_secure_profile().filter(|_| is_terminated);
            let Some(is_secure) = profile else {
                said.push(None);
                continue;
            };
            let keys: Vec<_> = self.keying.answered(&ours, cryptos)?.into_iter().collect();
            let ice = if keys.is_empty() {
                None
            } else {
                self.answered_ice(to, index, offered)?
            };
            said.push(Some(Secured {
                is_secure,
                profile: is_shaken.then(|| offered.protocol.clone()),
                keys,
                muxed: (is_shaken || ice.is_some()).then_some(offered.muxed),
                ice,
                ..Secured::default()
            }));
        }
        share_with_refused(&mut said, offer.lines());
        self.agreement.said[to.index()] = said;
        self.agreement.before[by.index()] = None;
        Ok(())
    }

    /// What `leg` is told of its lines' encryption.
    pub(super) fn said_to(&self, leg: Leg) -> &[Option<Secured>] {
        &self.agreement.said[leg.index()]
    }

    /// Whether what a leg's line carries is clear by the time it is recorded, or was so from the start.
    pub(super) fn is_opened(&self, leg: Leg, index: usize) -> bool {
        let is_said = |leg: Leg| self.agreement.said[leg.index()].get(index).is_some_and(Option::is_some);
        let offers = self.agreement.offer.as_ref().is_some_and(|offer| offer.by == leg);
        is_said(leg) || offers && is_said(leg.other())
    }

    /// How a leg's line is encrypted between its peer and us; None: it is not.
    pub(super) fn keys_of(&self, leg: Leg, index: usize) -> Option<LegKeys> {
        let (said, line) = self.secured(leg, index)?;
        if said.shake.is_some() {
            return self.shake_of(leg, said, line);
        }
        match chosen(said, line) {
            Some((theirs, ours)) => Some(LegKeys {
                theirs: Some(Arc::new(theirs.key.clone())),
                is_carried: self.came_over(leg) && self.agreement.first_keys[leg.index()].contains(&theirs.key),
                ours: Some(Arc::new(ours.key.clone())),
                handshake: None,
            }),
            // It is not to be in clear: nothing passes.
            None => (said.is_secure && line.is_live()).then(LegKeys::default),
        }
    }

    /// What a leg was told of its line that holds, and what it said itself.
    pub(super) fn secured(&self, leg: Leg, index: usize) -> Option<(&Secured, &MediaLine)> {
        let agreement = &self.agreement;
        let said = agreement.before[leg.index()].as_ref();
        let said = said.unwrap_or(&agreement.said[leg.index()]);
        Some((said.get(index)?.as_ref()?, self.agreed_line(leg, index)?))
    }

    pub(super) fn agreed_line(&self, leg: Leg, index: usize) -> Option<&MediaLine> {
        self.agreement.agreed[leg.index()].as_ref()?.lines().get(index)
    }

    /// Of all lines that are encrypted on a leg.
    pub(super) fn line_keys(&self) -> Vec<LineKeys> {
        let line = |index: usize| LineKeys {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            legs: Leg::BOTH.map(|leg| self.keys_of(leg, index)),
            ice: Leg::BOTH.map(|leg| self.ice_of(leg, index)),
            muxed: self.muxed(index),
        };
        let lines = (0..self.lines()).map(line);
        lines.filter(|line| line.legs.iter().any(Option::is_some)).collect()
    }

    /// Whether a leg is encrypted between its peer and us.
    pub(super) fn has_keys(&self) -> bool {
        !self.line_keys().is_empty()
    }

    /// By which suites the first line that is encrypted is so on each leg, for a recording to tell.
    pub fn suites(&self) -> String {
        let Some(line) = self.line_keys().into_iter().next() else {
            return String::new();
        };
        let suite = |leg: Leg| {
            let keys = line.legs[leg.index()].as_ref();
            let theirs = keys.and_then(|keys| keys.theirs.as_ref());
            let is_shaken = keys.is_some_and(|keys| keys.handshake.is_some());
            theirs.map_or(if is_shaken { "DTLS-SRTP" } else { "in clear" }, |key| {
                key.suite().as_str()
            })
        };
        format!(" (A {}, B {})", suite(Leg::A), suite(Leg::B))
    }
}

/// The keys that peer and we agreed on: of one tag and suite (RFC 4568 §5.1.3).
pub(super) fn chosen<'a>(said: &'a Secured, line: &'a MediaLine) -> Option<(&'a Crypto, &'a Crypto)> {
    let is_pair = |theirs: &Crypto, ours: &Crypto| theirs.tag == ours.tag && theirs.key.suite() == ours.key.suite();
    let ours = |theirs: &'a Crypto| Some((theirs, said.keys.iter().find(|ours| is_pair(theirs, ours))?));
    line.cryptos.iter().filter(|_| line.is_live()).find_map(ours)
}
