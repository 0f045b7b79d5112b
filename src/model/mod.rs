//! The values that rooms exchange: ids, time, what each leg sends where, and what is asked of the recorder.
//!
//! Architecture Invariant: plain values only. Nothing here decides, waits, or knows a wire format.

mod awareness;
mod consent;
mod dtls;
mod health;
mod ids;
mod index;
mod notice;
mod pause;
mod plan;
mod quality;
mod recording;
mod srtp;
mod time;

pub use awareness::{Indication, Preference, Told};
pub use consent::{Consent, Consented, Waiver};
pub use dtls::{
    DIGEST_BYTES_MAX, Fingerprint, FingerprintHash, Handshake, IceCredentials, IceLite, Identity, KeyingFault,
};
pub use health::{Ailing, Ailment, Impairment};
pub use ids::{Generation, Leg, PolicyId, SessionId, Ssrc, TrunkName};
pub use index::Index;
pub use notice::{CLIP_FRAME, Clip, LegNotice, Notice, NoticeKind, NoticePlan, Rendition, Voice};
pub use pause::{LeftOut, LeftOutSpan, LineSet, PausedBy, PausedSpan, Pausing, Withholding};
pub use plan::{
    ENCRYPTED, FarEnd, Gate, LegPlan, LinePlan, MediaCommand, MediaEvent, MediaKind, MediaPlan, Origin, Recorded,
    Remote, StreamTally, Tally, is_local, is_private,
};
pub use quality::{Mos, Quality, Reported};
pub use recording::{
    Closing, Decided, Direction, Encryption, Fault, Header, Mark, Outcome, Party, Reconciliation, RecordingCommand,
    RecordingEvent, SignalPath,
};
pub use srtp::{LegKeys, LineKeys, Mki, SRTP_MASTER_BYTES_MAX, SrtpKey, SrtpSuite};
pub use time::{Timestamp, earliest};
