//! What was agreed, beyond the end of the process.

use serde::{Deserialize, Serialize};

use super::exchanged::Exchanged;
use super::{Agreement, LINES_MAX, Negotiation, Offer, Ports};
use crate::media::PortPool;
use crate::model::{Leg, Timestamp};
use crate::sdp::{SessionDescription, Thread, keyless};

/// What two legs have agreed on, written down.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeptMedia {
    /// The even ports of each m-line: towards A, towards B.
    ports: Vec<[u16; 2]>,
    agreed: [Option<String>; 2],
    #[serde(default)]
    threads: [Option<Thread>; 2],
    #[serde(default)]
    passes_by: bool,
    #[serde(default)]
    is_opaque: bool,
    /// A leg was encrypted by keys that are written nowhere.
    #[serde(default)]
    keyed: bool,
    /// Lines whose ends have agreed on keys of their own.
    #[serde(default)]
    sealed: Vec<usize>,
    /// An offer that crossed in a 2xx, whose answer its ACK brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offer: Option<KeptOffer>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct KeptOffer {
    by: Leg,
    sdp: String,
}

/// What is under way, and kept as well.
#[derive(Debug, Default)]
pub struct UnderWay<'a> {
    /// What holds, where that is not what was agreed last.
    pub before: Option<&'a Agreement>,
    /// What A, what B was told beyond what holds, and may have accepted: its session goes on from there.
    pub told: [Option<&'a [u8]>; 2],
    /// The offer that is open is of a 2xx.
    pub owes_answer: bool,
}

impl KeptMedia {
    pub const fn is_keyed(&self) -> bool {
        self.keyed
    }
}

impl Negotiation {
    /// What holds. None for a description that is no text. Keys are not kept: who reads them later can hear what was sent before. So a call that is
    /// encrypted by them is kept without its media, and what an emergency's parties agreed on beside us is not kept.
    pub fn keep(&self, under_way: &UnderWay<'_>) -> Option<KeptMedia> {
        let described = &under_way.before.unwrap_or(&self.agreement).agreed;
        let texts = described.each_ref().map(|sdp| Some(sdp.as_ref()?.text().clone()));
        let bare = described.each_ref().map(|sdp| keyless(sdp.as_ref()?));
        let is_told = bare.iter().any(Option::is_some) && (self.passes_by || self.encryption().is_some());
        let keyed = self.has_keys() || is_told && !self.passes_by;
        let is_kept = !keyed && !is_told;
        let mut agreed = [None, None];
        for ((agreed, text), bare) in agreed.iter_mut().zip(texts).zip(bare) {
            if let Some(text) = bare.or(text).filter(|_| is_kept) {
                *agreed = Some(String::from_utf8(text.to_vec()).ok()?);
            }
        }
        let offer = self
            .agreement
            .offer
            .as_ref()
            .filter(|_| under_way.owes_answer && is_kept);
        let offer = match offer {
            Some(Offer { by, sdp, .. }) => {
                let sdp = String::from_utf8(sdp.text().to_vec())
                    .ok()
                    .filter(|_| keyless(sdp).is_none())?;
                Some(KeptOffer { by: *by, sdp })
            }
            None => None,
        };
        let port = |ports: &Ports| [ports.a.rtp().port(), ports.b.rtp().port()];
        Some(KeptMedia {
            ports: self.ports.iter().map(port).collect(),
            agreed,
            threads: Leg::BOTH.map(|leg| {
                let theirs = described[leg.other().index()].as_ref();
                let beyond = under_way.told[leg.index()].zip(theirs);
                let beyond = beyond.and_then(|(told, theirs)| Thread::continuing(told, theirs.text()));
                beyond.or_else(|| self.thread(leg).cloned()).filter(|_| !keyed)
            }),
            passes_by: self.passes_by,
            is_opaque: self.is_opaque,
            keyed,
            sealed: self.sealed_by_ends().collect(),
            offer,
        })
    }

    /// Takes up what was agreed before a restart. False when a port is not to be had, or a key: then there is no media.
    pub fn revive(&mut self, kept: &KeptMedia, pool: &mut PortPool) -> bool {
        if kept.keyed {
            return false;
        }
        for [a, b] in kept.ports.iter().take(LINES_MAX) {
            let Some(a) = pool.lease_again(*a) else { return false };
            let Some(b) = pool.lease_again(*b) else {
                pool.give_back(Timestamp::ZERO, a);
                return false;
            };
            self.ports.push(Ports { a, b });
        }
        (self.passes_by, self.is_opaque) = (kept.passes_by, kept.is_opaque);
        let parsed = |text: &Option<String>| match text {
            Some(text) => SessionDescription::parse(text.as_bytes()).ok(),
            None => None,
        };
        for (leg, text) in Leg::BOTH.into_iter().zip(&kept.agreed) {
            if let Some(sdp) = parsed(text) {
                self.agreement.bind(leg, sdp);
            }
        }
        self.agreement.offer = kept.offer.as_ref().and_then(|offer| {
            let sdp = SessionDescription::parse(offer.sdp.as_bytes()).ok()?;
            let (by, told) = (offer.by, None);
            Some(Offer { by, sdp, told })
        });
        kept.sealed.iter().for_each(|index| self.note_sealed(*index));
        self.exchanged = kept.threads.clone().map(|thread| {
            let thread = Some(thread?);
            Some(Box::new(Exchanged {
                thread,
                ..Exchanged::default()
            }))
        });
        true
    }
}
