//! What was agreed, beyond the end of the process.

use serde::{Deserialize, Serialize};

use super::exchanged::Exchanged;
use super::{LINES_MAX, Negotiation, Ports};
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
}

impl Negotiation {
    /// None for a description that is no text. Keys are not kept: who reads them later can hear what was sent before. So a call that is
    /// encrypted by them is kept without its media, and what an emergency's parties agreed on beside us is not kept.
    pub fn keep(&self) -> Option<KeptMedia> {
        let texts = self
            .agreement
            .agreed
            .each_ref()
            .map(|sdp| Some(sdp.as_ref()?.text().clone()));
        let bare = self.agreement.agreed.each_ref().map(|sdp| keyless(sdp.as_ref()?));
        let is_told = bare.iter().any(Option::is_some) && (self.passes_by || self.encryption().is_some());
        let keyed = self.has_keys() || is_told && !self.passes_by;
        let is_kept = !keyed && !is_told;
        let mut agreed = [None, None];
        for ((agreed, text), bare) in agreed.iter_mut().zip(texts).zip(bare) {
            if let Some(text) = bare.or(text).filter(|_| is_kept) {
                *agreed = Some(String::from_utf8(text.to_vec()).ok()?);
            }
        }
        let port = |ports: &Ports| [ports.a.rtp().port(), ports.b.rtp().port()];
        Some(KeptMedia {
            ports: self.ports.iter().map(port).collect(),
            agreed,
            threads: Leg::BOTH.map(|leg| self.thread(leg).filter(|_| !keyed).cloned()),
            passes_by: self.passes_by,
            is_opaque: self.is_opaque,
            keyed,
            sealed: self.sealed_by_ends().collect(),
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
