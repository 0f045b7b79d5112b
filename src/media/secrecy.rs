//! A side that is encrypted between its peer and us: its packets are opened before anything else looks at them, and what goes
//! there is sealed after everything else has.

use std::sync::Arc;

use crate::model::{LegKeys, SrtpKey, Timestamp};
use crate::recorder::PacketKind;
use crate::rtp::{Opener, SRTP_GROWTH_MAX, Sealer, SrtpError};

use super::shaking::Shaking;

/// The largest datagram, sealed.
pub(super) const SCRATCH_BYTES: usize = (1 << 16) + SRTP_GROWTH_MAX;

/// Keys of before that are kept, of each direction: more than one line is told of.
const KEPT_MAX: usize = 8;

/// Rollover counters that one packet is tried by at most, beside the one that it ought to have.
const GUESSES_MAX: usize = 8;

/// One side's keys, and what they were used for.
#[derive(Debug)]
pub(super) struct Secrecy {
    keys: LegKeys,
    opener: Option<Opener>,
    /// Of the peer's keys before, the last last: its packets may be under way (RFC 4568 §7.1.4) until the first by the new one. Each may
    /// come back, with its rollover counters.
    former: Vec<(Arc<SrtpKey>, Opener)>,
    /// The first by the new one has come.
    is_over: bool,
    sealer: Option<Sealer>,
    /// Its keys come from a handshake.
    is_shaken: bool,
    /// Where its keys come from, if they are not told.
    pub(super) shaking: Option<Box<Shaking>>,
    /// By keys of ours before: if one comes back, so do its rollover counters, and no index is used twice (RFC 3711 §9.1).
    rested: Vec<(Arc<SrtpKey>, Sealer)>,
}

impl Secrecy {
    /// By these keys from here on. A key that stays keeps its rollover counters, one that is new begins anew.
    pub(super) fn renew(now: Timestamp, current: Option<Box<Self>>, wanted: &LegKeys) -> Box<Self> {
        if let Some(handshake) = &wanted.handshake {
            let mut current = current.unwrap_or_else(Self::bare);
            // Until it is done those of before hold: packets by them are under way (RFC 8842 §7).
            if current
                .shaking
                .as_ref()
                .is_none_or(|known| known.handshake != *handshake)
            {
                current.shaking = Some(Box::new(Shaking::new(now, Arc::clone(handshake))));
            }
            return current;
        }
        let Some(mut current) = current else {
            return Box::new(Self {
                opener: opener(wanted.theirs.as_deref(), wanted.is_carried),
                sealer: wanted.ours.as_deref().and_then(Sealer::new),
                keys: wanted.clone(),
                ..*Self::bare()
            });
        };
        current.shaking = None;
        current.is_shaken = false;
        if current.keys.theirs != wanted.theirs {
            current.open_by(wanted.theirs.clone(), wanted.is_carried);
        }
        if current.keys.ours != wanted.ours {
            current.seal_by(wanted.ours.clone());
        }
        current
    }

    fn bare() -> Box<Self> {
        Box::new(Self {
            keys: LegKeys::default(),
            opener: None,
            former: Vec::new(),
            is_over: false,
            sealer: None,
            is_shaken: false,
            shaking: None,
            rested: Vec::new(),
        })
    }

    /// A handshake is done.
    pub(super) fn key_by(&mut self, theirs: SrtpKey, ours: SrtpKey) {
        self.seal_by(Some(Arc::new(ours)));
        self.open_by(Some(Arc::new(theirs)), false);
        self.is_shaken = true;
    }

    /// Another far end is to be heard, by no key of this one's. What is left of its handshake, unless that came to nothing; keys that
    /// descriptions tell are of all far ends, and rest here.
    pub(super) fn part(&mut self) -> Option<Apart> {
        let shaking = self.shaking.take().filter(|shaking| !shaking.has_failed());
        let is_shaken = std::mem::take(&mut self.is_shaken);
        let (mut theirs, mut ours) = (None, None);
        if is_shaken {
            theirs = self.keys.theirs.take().zip(self.opener.take());
            ours = self.keys.ours.take().zip(self.sealer.take());
        }
        self.open_by(None, false);
        self.seal_by(None);
        shaking.map(|shaking| Apart { shaking, theirs, ours })
    }

    /// The far end of that handshake is heard again.
    pub(super) fn rejoin(current: Option<Box<Self>>, apart: Apart) -> Box<Self> {
        let mut current = current.unwrap_or_else(Self::bare);
        current.part();
        current.is_shaken = apart.ours.is_some();
        current.shaking = Some(apart.shaking);
        (current.keys.theirs, current.opener) = apart.theirs.unzip();
        (current.keys.ours, current.sealer) = apart.ours.unzip();
        current
    }

    fn seal_by(&mut self, ours: Option<Arc<SrtpKey>>) {
        let before = self.keys.ours.take().zip(self.sealer.take());
        let back = take_back(&mut self.rested, ours.as_ref());
        self.sealer = back.or_else(|| ours.as_deref().and_then(Sealer::new));
        keep(&mut self.rested, before);
        self.keys.ours = ours;
    }

    fn open_by(&mut self, theirs: Option<Arc<SrtpKey>>, is_carried: bool) {
        let before = self.keys.theirs.take().zip(self.opener.take());
        let back = take_back(&mut self.former, theirs.as_ref());
        self.opener = back.or_else(|| opener(theirs.as_deref(), is_carried));
        self.is_over = before.is_none();
        keep(&mut self.former, before);
        self.keys.theirs = theirs;
    }

    /// The clear packet of what the peer sent, in `scratch`: its length. After an error all is as it was.
    pub(super) fn open(&mut self, kind: PacketKind, bytes: &[u8], scratch: &mut [u8]) -> Result<usize, SrtpError> {
        let opener = self.opener.as_mut().ok_or(SrtpError::Forged)?;
        match open(opener, kind, bytes, scratch) {
            Ok(length) => {
                self.is_over = true;
                Ok(length)
            }
            Err(error) => {
                let former = self.former.last_mut().filter(|_| !self.is_over);
                let (_, former) = former.ok_or(error)?;
                open(former, kind, bytes, scratch)
            }
        }
    }

    /// Ours are known: by a handshake, once it is done.
    pub(super) const fn can_seal(&self) -> bool {
        self.sealer.is_some()
    }

    /// Encrypts the first `length` bytes of `scratch`, and gives the length that they have then.
    fn seal(&mut self, kind: PacketKind, scratch: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let sealer = self.sealer.as_mut().ok_or(SrtpError::Exhausted)?;
        match kind {
            PacketKind::Rtp => sealer.seal_rtp(scratch, length),
            PacketKind::Rtcp => sealer.seal_rtcp(scratch, length),
            _ => Err(SrtpError::Malformed),
        }
    }
}

/// The handshake of a far end that is not heard now. Its keys are nobody else's, and keep their rollover counters: no index is used
/// twice (RFC 3711 §9.1).
#[derive(Debug)]
pub(super) struct Apart {
    pub(super) shaking: Box<Shaking>,
    theirs: Option<(Arc<SrtpKey>, Opener)>,
    ours: Option<(Arc<SrtpKey>, Sealer)>,
}

impl Apart {
    /// It is done.
    pub(super) fn key_by(&mut self, [theirs, ours]: [SrtpKey; 2]) {
        self.theirs = Opener::new(&theirs).map(|opener| (Arc::new(theirs), opener));
        self.ours = Sealer::new(&ours).map(|sealer| (Arc::new(ours), sealer));
    }
}

/// What one of `kept` was used for, if it is this key's.
fn take_back<T>(kept: &mut Vec<(Arc<SrtpKey>, T)>, key: Option<&Arc<SrtpKey>>) -> Option<T> {
    let place = kept.iter().position(|(known, _)| key == Some(known))?;
    Some(kept.remove(place).1)
}

/// The oldest makes room.
fn keep<T>(kept: &mut Vec<(Arc<SrtpKey>, T)>, before: Option<(Arc<SrtpKey>, T)>) {
    if before.is_some() && kept.len() == KEPT_MAX {
        kept.remove(0);
    }
    kept.extend(before);
}

fn opener(theirs: Option<&SrtpKey>, is_carried: bool) -> Option<Opener> {
    let mut opener = theirs.and_then(Opener::new)?;
    if is_carried {
        opener.seek();
    }
    Some(opener)
}

/// What came before its key was told here may have gone round: a few of the counters that it may have by now are tried with each
/// packet, so that a flood of forged ones costs little.
fn open(opener: &mut Opener, kind: PacketKind, bytes: &[u8], scratch: &mut [u8]) -> Result<usize, SrtpError> {
    let mut opened = open_once(opener, kind, bytes, scratch);
    for _ in 0..GUESSES_MAX {
        if opened != Err(SrtpError::Forged) || kind != PacketKind::Rtp || !opener.seek_further() {
            break;
        }
        opened = open_once(opener, kind, bytes, scratch);
    }
    opened
}

fn open_once(opener: &mut Opener, kind: PacketKind, bytes: &[u8], scratch: &mut [u8]) -> Result<usize, SrtpError> {
    let packet = copy(bytes, scratch).ok_or(SrtpError::Malformed)?;
    match kind {
        PacketKind::Rtp => opener.open_rtp(packet),
        PacketKind::Rtcp => opener.open_rtcp(packet),
        _ => Err(SrtpError::Malformed),
    }
}

fn copy<'a>(bytes: &[u8], scratch: &'a mut [u8]) -> Option<&'a mut [u8]> {
    let packet = scratch.get_mut(..bytes.len())?;
    packet.copy_from_slice(bytes);
    Some(packet)
}

/// Where packets are opened and sealed.
pub(super) struct Bench<'a> {
    pub(super) scratch: &'a mut [u8],
    /// The length of what is sent in a packet's place.
    pub(super) changed: &'a mut usize,
}

impl Bench<'_> {
    /// The clear packet: so many bytes of `scratch`, or what arrived.
    pub(super) fn clear<'b>(&'b self, bytes: &'b [u8], opened: Option<usize>) -> &'b [u8] {
        match opened {
            Some(length) => self.scratch.get(..length).unwrap_or_default(),
            None => bytes,
        }
    }

    /// As the far side gets it. Whether that is something else than what arrived.
    pub(super) fn finish(
        &mut self,
        far: Option<&mut Secrecy>,
        kind: PacketKind,
        bytes: &[u8],
        opened: Option<usize>,
    ) -> Result<bool, SrtpError> {
        *self.changed = match (far, opened) {
            (None, None) => return Ok(false),
            (None, Some(length)) => length,
            (Some(far), Some(length)) => far.seal(kind, self.scratch, length)?,
            (Some(far), None) => {
                copy(bytes, self.scratch).ok_or(SrtpError::Malformed)?;
                far.seal(kind, self.scratch, bytes.len())?
            }
        };
        Ok(true)
    }
}
