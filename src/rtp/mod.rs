//! RTP and RTCP as bytes: headers, sequence numbers, jitter, telephone events, the codecs of telephony.
//!
//! Architecture Invariant: nothing on the way of a packet (`packet`, `rtcp`, `sequence`, `recent`, `jitter`, `cadence`) allocates or panics,
//! whatever the bytes.

mod cadence;
pub mod codecs;
pub mod e_model;
mod jitter;
pub mod packet;
mod recent;
pub mod rtcp;
mod sequence;
mod srtp;
pub mod telephone_event;
mod text;

pub use cadence::Cadence;
pub use jitter::Jitter;
pub use packet::{RtpError, RtpHeader, WireKind, agrees_on_keys, classify, is_handshake};
pub use recent::Recent;
pub use sequence::{Arrival, ExtendedSequence};
pub use srtp::{Opener, SRTP_GROWTH_MAX, STREAMS_MAX, Sealer, SrtpError};
pub use telephone_event::TelephoneEvent;
pub use text::block_of_red;
