//! RTP and RTCP as bytes: headers, sequence numbers, jitter, telephone events, the codecs of telephony; and what shares their
//! ports: SRTP, the handshake of its keys (DTLS), the checks of ways (STUN).
//!
//! Architecture Invariant: nothing on the way of a packet (`packet`, `rtcp`, `sequence`, `recent`, `jitter`, `cadence`) allocates or panics,
//! whatever the bytes.

mod cadence;
pub mod codecs;
mod dtls;
pub mod e_model;
mod jitter;
pub mod packet;
mod recent;
mod red;
pub mod rtcp;
mod sequence;
mod srtp;
mod stun;
pub mod telephone_event;

pub use cadence::Cadence;
#[cfg(test)]
pub use dtls::tests as dtls_tests;
pub use dtls::{
    Association, DATAGRAM_BYTES_MAX, DATAGRAMS_A_SECOND_MAX, HANDSHAKE_MAX, Sender, Shaken, fingerprint_of, identity_of,
};
pub use jitter::Jitter;
pub use packet::{RtpError, RtpHeader, WireKind, agrees_on_keys, classify, is_handshake};
pub use recent::Recent;
pub use red::{Red, Repeated, block_of_red};
pub use sequence::{Arrival, ExtendedSequence};
pub use srtp::{Opener, SRTP_GROWTH_MAX, STREAMS_MAX, Sealer, SrtpError};
#[cfg(test)]
pub use stun::tests as stun_tests;
pub use stun::{BindingRequest, is_stun};
pub use telephone_event::TelephoneEvent;
