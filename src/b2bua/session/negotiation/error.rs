//! Why a description is not carried.

use crate::sdp::{NothingLeft, OfferError, SdpError};

/// Why an offer or an answer of a leg cannot be carried. [`crate::b2bua::reject`] maps each to a status.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NegotiationError {
    /// The peer sent text that is not SDP.
    #[error("malformed SDP at byte {offset}")]
    Malformed { offset: usize },
    /// More m-lines than are relayed, or fewer than before (RFC 3264 §8).
    #[error("the number of m-lines is not acceptable")]
    Lines,
    #[error("no media port is free")]
    NoPorts,
    /// The trunks allow no codec of the offer, or of the answer.
    #[error("no codec of it may cross between these trunks")]
    Codecs,
    /// Keys that only the ends know, where the media must be heard.
    #[error("its media is encrypted with keys that only its ends know")]
    Sealed,
    /// It has no key that we may use, or has to have one, or its answer none that it was offered (RFC 4568 §5.1).
    #[error("its encryption is not acceptable")]
    Keys,
}

impl From<SdpError> for NegotiationError {
    fn from(error: SdpError) -> Self {
        match error {
            SdpError::Malformed { offset } => Self::Malformed { offset },
            SdpError::TooLong { .. } | SdpError::TooManyLines | SdpError::NoConnection { .. } => Self::Lines,
        }
    }
}

impl From<OfferError> for NegotiationError {
    fn from(OfferError::LinesLost { .. }: OfferError) -> Self {
        Self::Lines
    }
}

impl From<NothingLeft> for NegotiationError {
    fn from(NothingLeft: NothingLeft) -> Self {
        Self::Codecs
    }
}
