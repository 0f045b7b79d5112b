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

/// Checks the answer against its offer. Directions are not judged: phones answer `sendonly` with `sendrecv` and mean
/// `recvonly` (RFC 3264 §6.1), and the relay takes no harm from it.
pub fn negotiate(offer: &SessionDescription, answer: &SessionDescription) -> Result<(), AnswerError> {
    let (offered, answered) = (offer.lines(), answer.lines());
    if offered.len() != answered.len() {
        return Err(AnswerError::LineCount {
            offer: offered.len(),
            answer: answered.len(),
        });
    }
    let mut pairs = offered.iter().zip(answered).enumerate();
    pairs.try_for_each(|(line, (offered, answered))| check_line(line, offered, answered))
}

fn check_line(line: usize, offered: &MediaLine, answered: &MediaLine) -> Result<(), AnswerError> {
    if !offered.media.eq_ignore_ascii_case(&answered.media) {
        return Err(AnswerError::Kind { line });
    }
    if !answered.is_live() {
        return Ok(());
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
    Ok(())
}

/// Phones answer `RTP/AVPF` with `RTP/AVP` and the other way round; only the feedback profile differs (RFC 4585 §5).
fn is_same_transport(offered: &str, answered: &str) -> bool {
    let [offered, answered] = [offered, answered].map(|protocol| protocol.strip_suffix(['F', 'f']).unwrap_or(protocol));
    offered.eq_ignore_ascii_case(answered)
}

/// Checks a new offer of either side against the description that the same session last agreed on.
pub fn check_reoffer(session: &SessionDescription, offer: &SessionDescription) -> Result<(), OfferError> {
    let (session, offer) = (session.lines().len(), offer.lines().len());
    if offer < session {
        return Err(OfferError::LinesLost { session, offer });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sdp(media: &str) -> SessionDescription {
        SessionDescription::parse(format!("v=0\nc=IN IP4 192.0.2.1\n{media}").as_bytes()).unwrap()
    }

    #[test]
    fn an_answer_that_fits_may_refuse_lines_and_point_its_directions_anywhere() {
        let offer = sdp("m=audio 1000 RTP/AVP 0 8\na=sendonly\nm=video 2000 RTP/AVP 99\na=rtpmap:99 H264/90000\n");
        for direction in ["recvonly", "sendrecv", "inactive"] {
            let answer = sdp(&format!(
                "m=audio 3000 RTP/AVP 8\na={direction}\nm=video 0 RTP/AVP 99\n"
            ));
            assert_eq!(negotiate(&offer, &answer), Ok(()));
        }
    }

    #[test]
    fn formats_are_compared_by_what_they_mean() {
        let offer = sdp("m=audio 1000 RTP/AVP 96 101\na=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000\n");
        let renumbered = sdp("m=audio 3000 RTP/AVPF 107\na=rtpmap:107 OPUS/48000/2\n");
        assert!(negotiate(&offer, &renumbered).is_ok());
        let other = sdp("m=audio 3000 RTP/AVP 0\n");
        assert_eq!(negotiate(&offer, &other), Err(AnswerError::NoCommonFormat { line: 0 }));
        let (offer, answer) = (sdp("m=image 1000 udptl t38\n"), sdp("m=image 3000 udptl t38\n"));
        assert!(
            negotiate(&offer, &answer).is_ok(),
            "what is not RTP has no payload types to compare"
        );
    }

    #[test]
    fn an_answer_that_does_not_fit_says_why() {
        let offer = sdp("m=audio 1000 RTP/AVP 0\nm=video 0 RTP/AVP 31\n");
        for (answer, error) in [
            ("m=audio 1 RTP/AVP 0\n", AnswerError::LineCount { offer: 2, answer: 1 }),
            (
                "m=video 1 RTP/AVP 31\nm=audio 1 RTP/AVP 0\n",
                AnswerError::Kind { line: 0 },
            ),
            (
                "m=audio 1 RTP/SAVP 0\nm=video 0 RTP/AVP 31\n",
                AnswerError::Transport { line: 0 },
            ),
            (
                "m=audio 1 RTP/AVP 0\nm=video 1 RTP/AVP 31\n",
                AnswerError::Revived { line: 1 },
            ),
            (
                "m=audio 1 RTP/AVP 8\nm=video 0 RTP/AVP 31\n",
                AnswerError::NoCommonFormat { line: 0 },
            ),
        ] {
            assert_eq!(negotiate(&offer, &sdp(answer)), Err(error));
        }
    }

    #[test]
    fn a_new_offer_keeps_every_line() {
        let (one, two) = (
            sdp("m=audio 1 RTP/AVP 0\n"),
            sdp("m=audio 1 RTP/AVP 0\nm=video 2 RTP/AVP 31\n"),
        );
        assert_eq!(check_reoffer(&one, &two), Ok(()));
        assert_eq!(
            check_reoffer(&two, &one),
            Err(OfferError::LinesLost { session: 2, offer: 1 })
        );
    }
}
