//! DTLS-SRTP (RFC 5763) and ICE-lite (RFC 8445 §2.5) of a leg: what its party is told, and what was agreed. As with keys in the SDP,
//! each leg is encrypted between its peer and us alone.

use std::sync::Arc;

use super::keying::Keying;
use super::manner::Manner;
use super::{Negotiation, NegotiationError};
use crate::model::{Handshake, IceCredentials, IceLite, Identity, Leg, LegKeys};
use crate::sdp::{Bundling, MediaLine, Secured, SessionDescription, Setup, refused_as_known};
use crate::trunk::{Dtls, Ice};

/// Characters of ours (RFC 8445 §5.3 asks for 24 bits and 128).
const UFRAG_CHARS: usize = 8;
const PASSWORD_CHARS: usize = 32;
/// How a line is called in a group that its author gave no name.
const MID: &str = "0";

impl Manner {
    /// Whether a line is encrypted by a handshake with us.
    pub(super) fn shakes(self, line: &MediaLine) -> bool {
        self.dtls != Dtls::Refuse && line.is_live() && line.is_shaken()
    }
}

impl Keying {
    pub(super) const fn can_shake(&self) -> bool {
        self.identities.is_some()
    }

    fn identity(&self, to: Manner) -> Result<&Arc<Identity>, NegotiationError> {
        let [first, second] = self.identities.as_ref().ok_or(NegotiationError::Keys)?;
        Ok(if to.has_second { second } else { first })
    }

    /// What a party is offered whose trunk wants it so. `line`: what the other party offers.
    pub(super) fn shaken_offer(&mut self, line: &MediaLine, to: Manner) -> Result<Secured, NegotiationError> {
        let ice = self.offered_ice(to)?;
        let feedback = if line.protocol.ends_with(['F', 'f']) { "F" } else { "" };
        let ours = *self.identity(to)?.fingerprint();
        Ok(Secured {
            is_secure: true,
            profile: Some(format!("UDP/TLS/RTP/SAVP{feedback}")),
            shake: Some((ours, Setup::ActPass)),
            // Who tries ways is a browser, and there are pages that want a group.
            bundled: ice
                .is_some()
                .then(|| line.mid.clone().unwrap_or_else(|| MID.to_owned())),
            ice,
            muxed: Some(true),
            ..Secured::default()
        })
    }

    /// Our answer to an offer of a handshake. `was_client`: our part in the association that there is.
    fn shaken_answer(
        &self,
        offered: &MediaLine,
        was_client: Option<bool>,
        (to, ice): (Manner, Option<IceCredentials>),
    ) -> Result<Secured, NegotiationError> {
        // Who is behind NAT cannot be reached before it has spoken; else RFC 5763 §5 would have us begin.
        let begins = was_client.unwrap_or(!to.nat || ice.is_some());
        let setup = match offered.shake.setup {
            Some(Setup::Passive) => Setup::Active,
            Some(Setup::ActPass) if begins => Setup::Active,
            // Without a word it is active (RFC 4145 §4).
            Some(Setup::Active | Setup::ActPass) | None => Setup::Passive,
        };
        Ok(Secured {
            is_secure: true,
            profile: Some(offered.protocol.clone()),
            shake: Some((*self.identity(to)?.fingerprint(), setup)),
            ice,
            muxed: Some(offered.muxed),
            bundled: offered
                .mid
                .clone()
                .filter(|_| offered.bundling == Bundling::Tag && offered.muxed),
            ..Secured::default()
        })
    }

    /// For a line of ours whose peer is to try the ways, if its trunk says so.
    pub(super) fn offered_ice(&mut self, to: Manner) -> Result<Option<IceCredentials>, NegotiationError> {
        (to.ice == Ice::Offer).then(|| self.credentials()).transpose()
    }

    fn credentials(&mut self) -> Result<IceCredentials, NegotiationError> {
        Ok(IceCredentials {
            ufrag: self.word(UFRAG_CHARS)?,
            password: self.word(PASSWORD_CHARS)?,
        })
    }

    /// In hexadecimal: at most 32 characters.
    fn word(&mut self, chars: usize) -> Result<String, NegotiationError> {
        let entropy = self.mint.as_mut().ok_or(NegotiationError::Keys)?.entropy();
        let mut word = format!("{entropy:032x}");
        word.truncate(chars);
        Ok(word)
    }
}

impl Negotiation {
    /// Our certificates in handshakes. None: there are none with us, and DTLS is between the ends.
    pub fn shake_hands_as(&mut self, identities: Option<[Arc<Identity>; 2]>) {
        self.keying.identities = identities;
    }

    /// `leg` comes over from a call where it was told this last. It shakes hands anew with another certificate alone (RFC 8842 §4),
    /// and has no keys of the call where it is now otherwise.
    pub(super) fn introduce(&mut self, leg: Leg, told: Option<&[u8]>) {
        let told = told.and_then(|told| SessionDescription::parse(told).ok());
        let first = self.keying.identities.as_ref().map(|[first, _]| *first.fingerprint());
        let mut known = told
            .iter()
            .flat_map(|told| told.lines())
            .flat_map(|line| &line.shake.fingerprints);
        self.keying.has_second[leg.index()] = known.any(|known| Some(*known) == first);
    }

    /// `leg` was told another certificate by another call, and is led back: its next answer begins an association anew, whose
    /// descriptions are those of the one that it had.
    pub fn shake_anew(&mut self, leg: Leg) {
        let was_shaken = self.said_to(leg).iter().flatten().any(|said| said.shake.is_some());
        self.keying.is_back[leg.index()] = was_shaken;
        self.keying.rounds[leg.index()] += u32::from(was_shaken);
    }

    /// Whether a line that `by` offers is encrypted by a handshake with us.
    pub(super) fn is_shaken_with_us(&self, by: Leg, line: &MediaLine) -> bool {
        !self.passes_by && self.keying.can_shake() && self.manner(by).shakes(line)
    }

    /// Whether `leg` was offered a handshake with us in this line.
    pub(super) fn is_offered_shake(&self, leg: Leg, index: usize) -> bool {
        let said = self.said_to(leg).get(index).and_then(Option::as_ref);
        said.is_some_and(|said| said.shake.is_some())
    }

    /// Our answer to the offer of `to` in this line.
    pub(super) fn answered_shake(
        &mut self,
        to: Leg,
        index: usize,
        offered: &MediaLine,
    ) -> Result<Secured, NegotiationError> {
        let handshake = self.keys_of(to, index).and_then(|keys| keys.handshake);
        let was_client = handshake.map(|handshake| handshake.is_client);
        let ice = self.answered_ice(to, index, offered)?;
        self.keying.shaken_answer(offered, was_client, (self.manner(to), ice))
    }

    /// What we answer to who asks for ways in an encrypted line; by rtcp-mux alone, for we have one port then.
    pub(super) fn answered_ice(
        &mut self,
        to: Leg,
        index: usize,
        offered: &MediaLine,
    ) -> Result<Option<IceCredentials>, NegotiationError> {
        if self.manner(to).ice == Ice::Refuse || offered.ice.is_none() || !offered.muxed {
            return Ok(None);
        }
        // A peer with other credentials asks for the ways anew, and so do we then (RFC 8445 §9).
        let is_same = self.agreed_line(to, index).is_some_and(|line| line.ice == offered.ice);
        let known = self.said_to(to).get(index).and_then(Option::as_ref);
        match known.and_then(|known| known.ice.clone()).filter(|_| is_same) {
            Some(known) => Ok(Some(known)),
            None => self.keying.credentials().map(Some),
        }
    }

    /// The handshake that was agreed on; no keys before it is done.
    pub(super) fn shake_of(&self, leg: Leg, said: &Secured, line: &MediaLine) -> Option<LegKeys> {
        let (told, setup) = said.shake?;
        if !line.is_live() {
            return None;
        }
        let is_client = begins(setup, line.shake.setup).filter(|_| line.is_shaken());
        let mut identities = self.keying.identities.iter().flatten();
        let ours = identities.find(|ours| *ours.fingerprint() == told);
        let handshake = is_client.zip(ours).map(|(is_client, ours)| {
            Arc::new(Handshake {
                ours: Arc::clone(ours),
                theirs: line.shake.fingerprints.clone(),
                tls_id: line.shake.tls_id.clone(),
                is_client,
                round: self.keying.rounds[leg.index()],
            })
        });
        Some(LegKeys {
            handshake,
            ..LegKeys::default()
        })
    }

    /// How a leg's line is reached, if its peer tries the ways to us.
    pub(super) fn ice_of(&self, leg: Leg, index: usize) -> Option<Arc<IceLite>> {
        let (said, line) = self.secured(leg, index)?;
        let theirs = line.ice.as_ref().filter(|_| line.is_live() && !line.is_ice_lite)?;
        Some(Arc::new(IceLite {
            ours: said.ice.clone()?,
            theirs: theirs.ufrag.clone(),
        }))
    }

    /// The description with the lines that it refuses in the words of `to`, which asked for ways to them. None: there are none.
    pub(super) fn refusals_told(&self, to: Leg, sdp: &SessionDescription) -> Option<SessionDescription> {
        let said = self.said_to(to);
        let is_refused = |index: usize| {
            let said = said.get(index).and_then(Option::as_ref);
            said.is_some_and(|said| said.ice.is_some()) && sdp.lines().get(index).is_some_and(|line| !line.is_live())
        };
        let theirs = self.description_by(to)?;
        let is_any = (0..sdp.lines().len()).any(is_refused);
        let told = is_any.then(|| refused_as_known(sdp, theirs, is_refused))?;
        SessionDescription::parse(&told).ok()
    }

    /// Whose RTCP goes by its RTP port; None: where no handshake is with us that is settled between the ends.
    pub(super) fn muxed(&self, index: usize) -> Option<[bool; 2]> {
        let said = Leg::BOTH.map(|leg| self.secured(leg, index).and_then(|(said, _)| said.muxed));
        let lines = Leg::BOTH.map(|leg| self.agreed_line(leg, index).is_some_and(|line| line.muxed));
        said.iter()
            .any(Option::is_some)
            .then(|| Leg::BOTH.map(|leg| lines[leg.index()] && said[leg.index()].unwrap_or(lines[leg.other().index()])))
    }
}

/// Of the lines of a description that are to be in a group, the first live one is: each has a port of its own.
pub(super) fn bundle_one(said: &mut [Option<Secured>], lines: &[MediaLine]) {
    let mut is_taken = false;
    for (said, line) in said.iter_mut().zip(lines) {
        let Some(said) = said.as_mut().filter(|said| said.bundled.is_some()) else {
            continue;
        };
        if is_taken {
            said.bundled = None;
        }
        is_taken |= line.is_live();
    }
}

/// Of a refused line that has no port but that of its group's tag the same is said as of that one.
pub(super) fn share_with_refused(said: &mut [Option<Secured>], offered: &[MediaLine]) {
    let of_group = |(said, line): (&Option<Secured>, &MediaLine)| {
        let said = said
            .as_ref()
            .filter(|said| said.bundled.is_some() && said.ice.is_some());
        said.filter(|_| line.is_live()).cloned()
    };
    let Some(tag) = said.iter().zip(offered).find_map(of_group) else {
        return;
    };
    for (said, line) in said.iter_mut().zip(offered) {
        if line.bundling == Bundling::Shared && !line.is_live() {
            let bundled = None;
            *said = Some(Secured { bundled, ..tag.clone() });
        }
    }
}

/// Whether it is we who begin, by what we said and what the answer or offer said; None: nobody would.
const fn begins(ours: Setup, theirs: Option<Setup>) -> Option<bool> {
    match (ours, theirs) {
        (Setup::Active, _) | (Setup::ActPass, Some(Setup::Passive)) => Some(true),
        (Setup::Passive, _) | (Setup::ActPass, Some(Setup::Active) | None) => Some(false),
        (Setup::ActPass, Some(Setup::ActPass)) => None,
    }
}
