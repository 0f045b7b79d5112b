//! The ways to a side whose peer tries them (ICE, RFC 8445): we are lite, answer its checks, and go where it nominates.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::IceLite;
use crate::rtp::BindingRequest;

/// Ways that were proved and are held; the oldest makes room.
const WAYS_MAX: usize = 8;

/// What becomes of a check.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Checked {
    /// Not signed by our password, or none: no answer.
    Strange,
    Answer(Vec<u8>),
}

/// One side's. Who signs by our password knows the signalling, and is heard from where it did so: no other source is.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    pub(super) lite: Arc<IceLite>,
    /// Newest last.
    proved: Vec<SocketAddr>,
    nominated: Option<SocketAddr>,
    /// Where it was proved by the credentials of now: nominated, else last.
    here: Option<SocketAddr>,
}

impl Ways {
    pub(super) const fn new(lite: Arc<IceLite>) -> Self {
        Self {
            lite,
            proved: Vec::new(),
            nominated: None,
            here: None,
        }
    }

    /// By the credentials of now. New ones begin anew; what was proved is heard until then (RFC 8445 §9).
    pub(super) fn renew(current: Option<Box<Self>>, wanted: Option<&Arc<IceLite>>) -> Option<Box<Self>> {
        let wanted = wanted?;
        let mut ways = current.unwrap_or_else(|| Box::new(Self::new(Arc::clone(wanted))));
        if ways.lite != *wanted {
            ways.lite = Arc::clone(wanted);
            ways.here = None;
        }
        Some(ways)
    }

    /// Whether a check names both of us, whoever signed it.
    pub(super) fn is_named_by(&self, request: &BindingRequest<'_>) -> bool {
        request.is_between(&self.lite.ours.ufrag, &self.lite.theirs)
    }

    pub(super) fn check(&mut self, from: SocketAddr, bytes: &[u8]) -> Checked {
        let lite = Arc::clone(&self.lite);
        let is_ours = |request: &BindingRequest<'_>| {
            request.is_between(&lite.ours.ufrag, &lite.theirs) && request.is_signed_by(&lite.ours.password)
        };
        let Some(request) = BindingRequest::parse(bytes).filter(is_ours) else {
            return Checked::Strange;
        };
        if request.is_controlled {
            return Checked::Answer(request.refuse_role(&lite.ours.password));
        }
        if !self.proved.contains(&from) {
            if self.proved.len() == WAYS_MAX {
                let oldest = self.proved.iter().position(|way| Some(*way) != self.nominated);
                self.proved.remove(oldest.unwrap_or_default());
            }
            self.proved.push(from);
        }
        if request.nominates {
            self.nominated = Some(from);
        }
        if request.nominates || self.here.is_none() || self.here != self.nominated {
            self.here = Some(from);
        }
        Checked::Answer(request.answer(from, &lite.ours.password))
    }

    /// Whether the peer proved to be there.
    pub(super) fn is_proved(&self, from: SocketAddr) -> bool {
        self.proved.contains(&from)
    }

    /// Where a handshake begins. Who has new credentials may be another one, whom the ways of before do not lead to.
    pub(super) const fn here(&self) -> Option<SocketAddr> {
        self.here
    }

    /// Where the peer wants it by the credentials of now.
    pub(super) fn wanted(&self) -> Option<SocketAddr> {
        self.here.filter(|here| self.nominated == Some(*here))
    }

    /// Where the peer wants it; before it has said so, where it was proved last (RFC 8445 §12.1).
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        self.nominated.or(self.proved.last().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IceCredentials;
    use crate::rtp::stun_tests::{CONTROLLED, NOMINATED, check};

    const PASSWORD: &str = "ours, which is long enough";

    fn ways() -> Ways {
        Ways::new(Arc::new(IceLite {
            ours: IceCredentials {
                ufrag: "ours".to_owned(),
                password: PASSWORD.to_owned(),
            },
            theirs: "theirs".to_owned(),
        }))
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::new([192, 0, 2, 1].into(), port)
    }

    #[test]
    fn who_does_not_know_the_password_gets_no_answer_and_no_way() {
        let mut ways = ways();
        for bytes in [
            check("ours:theirs", "another password, as long", &[NOMINATED]),
            check("ours:others", PASSWORD, &[NOMINATED]),
            check("theirs:ours", PASSWORD, &[NOMINATED]),
            b"\x00\x01".to_vec(),
        ] {
            assert_eq!(ways.check(at(9), &bytes), Checked::Strange);
        }
        assert_eq!((ways.is_proved(at(9)), ways.destination()), (false, None));
    }

    #[test]
    fn the_nominated_way_is_taken_and_a_later_nomination_moves_it() {
        let mut ways = ways();
        for (port, more, taken) in [(1, &[][..], 1), (2, &[NOMINATED], 2), (3, &[], 2), (3, &[NOMINATED], 3)] {
            let answer = ways.check(at(port), &check("ours:theirs", PASSWORD, more));
            assert!(matches!(answer, Checked::Answer(bytes) if bytes[..2] == [1, 1]));
            assert_eq!(ways.destination(), Some(at(taken)));
        }
        for port in 10..40 {
            ways.check(at(port), &check("ours:theirs", PASSWORD, &[]));
        }
        assert!(ways.is_proved(at(3)) && ways.is_proved(at(39)) && !ways.is_proved(at(10)));
        assert_eq!(ways.proved.len(), WAYS_MAX);
    }

    #[test]
    fn we_never_decide() {
        let mut ways = ways();
        let answer = ways.check(at(1), &check("ours:theirs", PASSWORD, &[CONTROLLED]));
        assert!(matches!(answer, Checked::Answer(bytes) if bytes[..2] == [1, 0x11]));
        assert!(!ways.is_proved(at(1)));
    }
}
