//! The driver with sockets: the same cores as `replay` and the simulator drive, here with a real clock, wire and disk.
//!
//! | thread | owns | is fed by |
//! |---|---|---|
//! | `sip` | SIP sockets and `engine::Signaling` (a tokio runtime of its own) | the wire, `events` |
//! | `media-N` | the media sockets of its calls, a `media::Plane`, a `recorder::Intake` | the wire, a queue of `MediaCommand` |
//! | `recorder` | `recorder::Writer` | rings of extents, a queue of `RecordingCommand`, `IoDone` |
//! | `disk-N` | one volume | a queue of `IoRequest` |
//! | `files` | – | jobs that read config, policies and certificates |
//! | main | signals, the policy watch, the control socket, the watch over the others | |
//!
//! Architecture Invariant: signalling never waits for another thread, so whoever waits for signalling is served, and
//! what sends a BYE shares no lock, thread or disk with what failed.

pub mod alarm;
mod assembly;
pub mod clock;
pub mod control;
mod dialog_store;
mod disk_threads;
pub mod drain;
mod farewell;
mod fault_switch;
mod file_reader;
mod homes;
mod identity;
mod keep_alive;
mod kernel;
mod media_inbox;
mod media_io;
mod media_links;
mod media_outbox;
pub mod media_pulse;
mod media_shared;
mod media_sockets;
pub mod media_thread;
mod neighbours;
mod pause;
mod peers;
mod policies;
mod policy_watch;
mod process;
mod recorder;
mod recovery;
mod resolver;
mod signaling;
mod sip_connection;
mod sip_dial;
mod sip_sockets;
mod sip_streams;
mod sip_udp;
pub mod status;
mod steering;
mod supervisor;
mod switchboard;
mod threads;
mod tls;
mod tls_watch;
mod token_key;
mod topology;
mod vitals;
mod waker;
mod websocket;

pub use assembly::{ServeOptions, StartError, serve};
pub use fault_switch::InjectedFault;
pub(crate) use policies::log_findings;
pub use process::DataError;
pub use recovery::RecoveryError;
pub use sip_sockets::{BindError, SipCounts};
pub use tls::TlsError;
