//! A sealed recording of the demo, read back.

use super::Broken;
use super::wire::SPEECH;
use crate::disk::{Layout, StoredFile};
use crate::engine::{Step, StepKind};
use crate::model::Timestamp;
use crate::recorder::{Counts, Frame, PacketKind, SealError, SealedCall};
use crate::rtp::RtpHeader;

pub(super) struct Recording {
    pub call: SealedCall<StoredFile>,
}

impl Recording {
    /// The sealed call that has this Call-ID.
    pub(super) fn find(layout: &Layout, call_id: &str) -> Option<Self> {
        let calls = layout.sealed().ok()?.calls.into_values().filter_map(|path| {
            let call = SealedCall::open(StoredFile::open(&path).ok()?).ok()?;
            Some(Self { call })
        });
        calls.into_iter().find(|recording| {
            let call_ids = &recording.call.header().call_ids;
            call_ids.iter().any(|known| known == call_id)
        })
    }

    pub(super) fn verify(&mut self) -> Result<Counts, Broken> {
        self.call.verify().map_err(damaged)
    }

    /// The ladder as the recording tells it.
    pub(super) fn steps(&mut self) -> Result<Vec<Step>, Broken> {
        let session = self.call.session();
        let step = |at, what| Step { at, session, what };
        let mut steps = Vec::new();
        for frame in self.call.frames() {
            if let Frame::Signal { at, path, bytes } = frame.map_err(damaged)? {
                let end = memchr::memchr(b'\r', &bytes).unwrap_or(bytes.len());
                let start_line = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
                let (leg, direction) = (path.leg, path.direction);
                steps.push(step(
                    at,
                    StepKind::Sip {
                        leg,
                        direction,
                        start_line,
                    },
                ));
            }
        }
        steps.sort_by_key(|step| step.at);
        let manifest = self.call.manifest();
        let (accepted, stored) = (manifest.reconciliation.accepted, manifest.reconciliation.stored);
        steps.push(step(manifest.sealed, StepKind::Sealed { accepted, stored }));
        Ok(steps)
    }

    /// Whether it holds, byte for byte and for every packet that was sent, what each phone said.
    pub(super) fn holds_the_speech(&mut self) -> Result<bool, Broken> {
        let mut said: [Vec<(u16, Vec<u8>)>; 2] = Default::default();
        for frame in self.call.frames() {
            if let Frame::Packet {
                leg,
                kind: PacketKind::Rtp,
                bytes,
                ..
            } = frame.map_err(damaged)?
                && let Ok(header) = RtpHeader::parse(&bytes)
            {
                said[leg.index()].push((header.sequence, header.payload.to_vec()));
            }
        }
        let is_whole = |(mut packets, speech): (Vec<(u16, Vec<u8>)>, &[u8])| {
            packets.sort();
            let payloads = packets.into_iter().flat_map(|(_, payload)| payload);
            payloads.eq(speech.iter().copied())
        };
        Ok(said.into_iter().zip(SPEECH).all(is_whole))
    }

    pub(super) fn started(&self) -> Timestamp {
        self.call.header().started
    }

    /// Who is recorded and why, a line each.
    pub(super) fn decision(&self) -> Vec<String> {
        let header = self.call.header();
        let strict = match (header.strict_before, header.strict_during) {
            (true, true) => "strict before and during the call",
            (true, false) => "strict before the call",
            (false, true) => "strict during the call",
            (false, false) => "not strict",
        };
        let policies: Vec<&str> = header.policies.iter().map(|policy| policy.as_str()).collect();
        let verdict = format!("RECORDED by {} ({strict})", policies.join(", "));
        [verdict].into_iter().chain(header.trace.iter().cloned()).collect()
    }
}

fn damaged(error: SealError) -> Broken {
    Broken::new(format!("the recording does not verify: {error}"))
}
