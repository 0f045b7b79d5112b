//! Whether an answer fits its offer, and a new offer its predecessor (RFC 3264 §6, §8).

use super::{MediaLine, SessionDescription};

/// Why an answer cannot be carried: its author's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// RFC 3264 §6: as many m-lines as the offer.
    #[error("the answer has {answer} m-lines, the offer {offer}")]
    LineCount { offer: usize, answer: usize },
    /// RFC 3264 §6: the same media, in the same order.
    #[error("m-line {line} of the answer is of another kind than the offer's")]
    Kind { line: usize },
    /// RFC 3264 §6: the same transport.
    #[error("m-line {line} of the answer names another transport than the offer's")]
    Transport { line: usize },
    /// RFC 3264 §6: what was offered with port 0 is answered with port 0.
    #[error("m-line {line} was not offered, but the answer has a port for it")]
    Revived { line: usize },
    /// RFC 3264 §6.1: at least one of the offer's formats.
    #[error("m-line {line} of the answer has no format of the offer's")]
    NoCommonFormat { line: usize },
}

/// Why a new offer cannot follow the session's last description (RFC 3264 §8).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OfferError {
    /// m-lines are never taken away, only switched off.
    #[error("the new offer has {offer} m-lines, the session {session}")]
    LinesLost { session: usize, offer: usize },
}

/// What an offer and its answer agree on, a line each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Negotiation {
    pub lines: Vec<NegotiatedLine>,
}

/// One m-line of a negotiation. A flow exists when one side sends and the other receives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NegotiatedLine {
    /// Neither side has port 0.
    pub is_live: bool,
    pub offerer_sends: bool,
    pub answerer_sends: bool,
}

impl Negotiation {
    /// Nothing flows in either direction of any line.
    pub fn is_silent(&self) -> bool {
        self.lines
            .iter()
            .all(|line| !line.offerer_sends && !line.answerer_sends)
    }
}

/// Checks the answer against its offer. Directions are combined, not judged: phones answer `sendonly` with `sendrecv`
/// and mean `recvonly` (RFC 3264 §6.1), and the relay takes no harm from it.
pub fn negotiate(offer: &SessionDescription, answer: &SessionDescription) -> Result<Negotiation, AnswerError> {
    let (offered, answered) = (offer.lines(), answer.lines());
    if offered.len() != answered.len() {
        return Err(AnswerError::LineCount {
            offer: offered.len(),
            answer: answered.len(),
        });
    }
    let pairs = offered.iter().zip(answered).enumerate();
    let lines = pairs.map(|(line, (offered, answered))| negotiate_line(line, offered, answered));
    Ok(Negotiation {
        lines: lines.collect::<Result<_, _>>()?,
    })
}

fn negotiate_line(line: usize, offered: &MediaLine, answered: &MediaLine) -> Result<NegotiatedLine, AnswerError> {
    if !offered.media.eq_ignore_ascii_case(&answered.media) {
        return Err(AnswerError::Kind { line });
    }
    if !answered.is_live() {
        return Ok(NegotiatedLine {
            is_live: false,
            offerer_sends: false,
            answerer_sends: false,
        });
    }
    if !offered.is_live() {
        return Err(AnswerError::Revived { line });
    }
    if !is_same_transport(&offered.protocol, &answered.protocol) {
        return Err(AnswerError::Transport { line });
    }
    let is_common = |format| offered.formats.iter().any(|other| other.is_same_encoding(format));
    if !offered.formats.is_empty() && !answered.formats.iter().any(is_common) {
        return Err(AnswerError::NoCommonFormat { line });
    }
    let (offerer, answerer) = (offered.direction, answered.direction);
    Ok(NegotiatedLine {
        is_live: true,
        offerer_sends: offerer.sends() && answerer.receives() && !is_unspecified(answered),
        answerer_sends: answerer.sends() && offerer.receives() && !is_unspecified(offered),
    })
}

fn is_unspecified(line: &MediaLine) -> bool {
    line.connection.is_some_and(|address| address.is_unspecified())
}

/// Phones answer `RTP/AVPF` with `RTP/AVP` and the other way round; only the feedback profile differs (RFC 4585 §5).
fn is_same_transport(offered: &str, answered: &str) -> bool {
    let plain = |protocol: &str| {
        let upper = protocol.to_ascii_uppercase();
        upper.strip_suffix('F').map(str::to_owned).unwrap_or(upper)
    };
    plain(offered) == plain(answered)
}

/// Checks a new offer of either side against the description that the same session last agreed on.
pub fn check_reoffer(session: &SessionDescription, offer: &SessionDescription) -> Result<(), OfferError> {
    let (session, offer) = (session.lines().len(), offer.lines().len());
    if offer < session {
        return Err(OfferError::LinesLost { session, offer });
    }
    Ok(())
}
