//! The media plane: RTP, RTCP and whatever else crosses a call's ports, copied to the recorder and then relayed.
//!
//! Architecture Invariant: pure. The plane binds no socket and reads no clock; it says which ports it wants and is told
//! each packet that arrives. Per packet it neither allocates nor locks. What the recorder refused of a strict session
//! never becomes [`Verdict::Forward`]: `fork` is asked first, and only its answer opens the way.

mod branches;
mod circle;
mod fork;
mod gate;
mod health;
mod hearing;
mod keys;
mod latch;
mod meter;
mod notice;
mod pause;
mod plane;
mod port;
mod ports;
mod probation;
mod relay;
mod rota;
mod rounds;
mod secrecy;
mod shaking;
mod side;
mod ways;

#[cfg(feature = "shell")]
pub(crate) use latch::{Admission, Latch};
pub use plane::{Dropped, Plane, PlaneOutput, Verdict};
pub use port::{Channel, LINES_MAX, Port, SESSIONS_MAX};
pub use ports::{COOL_DOWN, PortPair, PortPool};
#[cfg(feature = "shell")]
pub(crate) use probation::{Evidence, Medium};

#[cfg(test)]
mod stories;
