//! What legs are told of the recording in the descriptions that they get (RFC 7866 §7.1.2).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Negotiation;
use crate::model::{Indication, Leg, LineSet, Preference, Told};
use crate::sdp::{SessionDescription, Thread, indicate};

/// One leg, as far as recordings are told to it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Aware {
    /// Its peer says that it reads them: `record-aware`.
    pub knows: bool,
    /// What the newest description said that it got.
    pub told: Option<Indication>,
    /// Of these lines, with `told`, that they are paused.
    #[serde(default, skip_serializing_if = "LineSet::is_empty")]
    pub paused: LineSet,
}

impl Aware {
    pub fn told(self) -> Option<Told> {
        let paused = self.paused;
        self.told.map(|recording| Told { recording, paused })
    }

    #[must_use]
    pub const fn with(self, told: Option<Told>) -> Self {
        match told {
            Some(Told { recording, paused }) => Self {
                told: Some(recording),
                paused,
                ..self
            },
            None => Self {
                told: None,
                paused: LineSet::NONE,
                ..self
            },
        }
    }
}

/// Both legs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Awareness {
    /// What A, what B is to be told.
    now: [Told; 2],
    /// Told whether it reads that or not: A, B.
    insists: [bool; 2],
    /// The parties talk: what is told otherwise from here on is another version of the session that they know.
    is_settled: bool,
    /// Who reads it: A, B.
    knows: [bool; 2],
}

impl Awareness {
    fn is_told(&self, leg: Leg) -> bool {
        self.knows[leg.index()] || self.insists[leg.index()]
    }
}

impl Negotiation {
    /// How the recording stands, and whose descriptions say so in any case.
    pub const fn note_recording(&mut self, now: [Told; 2], insists: [bool; 2], is_settled: bool) {
        let awareness = &mut self.awareness;
        (awareness.now, awareness.insists, awareness.is_settled) = (now, insists, is_settled);
    }

    pub fn aware(&self, leg: Leg) -> Aware {
        let told = self.agreement.told[leg.index()];
        let knows = self.awareness.knows[leg.index()];
        Aware {
            knows,
            ..Aware::default()
        }
        .with(told)
    }

    pub fn set_aware(&mut self, leg: Leg, aware: Aware) {
        self.awareness.knows[leg.index()] = aware.knows;
        self.agreement.told[leg.index()] = aware.told();
    }

    /// Whether a leg reads what it is told, and knows otherwise. Who was told nothing knows of no recording.
    pub fn is_behind(&self, leg: Leg) -> bool {
        let aware = self.aware(leg);
        let told = aware.told().unwrap_or_default();
        aware.knows && !self.passes_by && told != self.awareness.now[leg.index()]
    }

    /// `leg` is about to get the other leg's description: where it says another thing of the recording than before, it is another version
    /// (RFC 3264 §8).
    pub(super) fn tell_recording(&mut self, leg: Leg) {
        let (now, told) = (self.awareness.now[leg.index()], self.aware(leg).told());
        if !self.awareness.is_told(leg) || told == Some(now) {
            return;
        }
        if let Some(theirs) = self.agreement.agreed[leg.other().index()].clone()
            && self.awareness.is_settled
        {
            let known = self.tell_as(leg, &theirs, told);
            if let Some(thread) = Thread::continuing(&known, theirs.text()) {
                self.exchanged[leg.index()].get_or_insert_default().thread = Some(thread);
            }
        }
        self.agreement.told[leg.index()] = Some(now);
    }

    /// What `leg` is to be told anew, as [`Self::last_to`].
    pub fn anew_to(&mut self, leg: Leg) -> Option<Bytes> {
        self.tell_recording(leg);
        self.last_to(leg)
    }

    /// A description of the other leg as `to` gets it.
    pub(super) fn tell(&self, to: Leg, sdp: &SessionDescription) -> Bytes {
        let says = self.awareness.is_told(to).then_some(self.awareness.now[to.index()]);
        self.tell_as(to, sdp, says)
    }

    fn tell_as(&self, to: Leg, sdp: &SessionDescription, says: Option<Told>) -> Bytes {
        let anchored = self.anchored(to, sdp);
        match says.filter(|_| !self.passes_by) {
            Some(recording) => indicate(&anchored, recording),
            None => anchored,
        }
    }

    /// What a leg would like of the recording of each line; None: of a line that is off.
    pub fn preferences(&self, leg: Leg) -> Vec<Option<Preference>> {
        let agreed = self.agreement.agreed[leg.index()].as_ref();
        let lines = agreed.map(SessionDescription::lines).unwrap_or_default().iter();
        lines.map(|line| line.is_live().then_some(line.preference)).collect()
    }
}
