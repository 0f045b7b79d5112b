//! The engine: signalling, media and recorder as one pure machine, for any driver.

mod binding;
mod census;
mod consultation;
mod detour;
mod edge;
#[expect(clippy::module_inception, reason = "the engine of the engine room")]
mod engine;
mod input;
mod invite;
mod kinship;
pub mod ladder;
mod orphan;
mod overload;
mod page;
mod passage;
mod probe;
mod recording;
mod referral;
mod registration;
mod restart;
mod screen;
mod secure;
mod signaling;
mod trunks;
mod urgent;

pub use crate::b2bua::STATE_BYTES_MAX;
pub use crate::b2bua::{CallState, CallView, Output, RecordingState, Step, StepKind};
pub use engine::{Engine, EngineOutput, Relayed};
pub use input::Input;
pub use overload::{Line, Newcomer, Opening};
pub use probe::Pulse;
pub use registration::{RegistrationState, RegistrationView};
pub use signaling::{Signaling, SignalingConfig};
pub use trunks::{DestinationView, TrunkView};
