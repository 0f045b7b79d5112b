//! The recorder: frames into extents, extents into segments, group commit, recovery, sealed calls, catalog.
//!
//! What is on disk, and why it can be believed, is told in docs/JOURNAL.md.
//!
//! Architecture Invariant: no file, clock or thread. [`Writer`] and [`Recovery`] emit [`IoRequest`]s and take
//! [`IoDone`]s; [`Intake`] only copies.

mod catalog;
mod chain;
mod commit;
mod config;
mod extent;
mod frame;
mod intake;
mod io;
mod journal;
mod manifest;
mod output;
mod recovery;
mod remains;
mod seal;
mod seal_job;
mod sealed;
mod sealing;
mod segment;
mod spool;
mod spooled;
mod store;
mod stored;
mod writer;

pub use catalog::{Entry, Joins, Query, parse as parse_catalog};
pub use config::{VolumeConfig, WriterConfig};
pub use extent::{Extent, ExtentError};
pub use frame::{Frame, FrameSink, Offer, Packet, PacketKind, Slot};
pub use intake::{Intake, IntakeConfig};
pub use io::{File, Folder, IoDone, IoError, IoId, IoOp, IoOutcome, IoRequest, Lane, SegmentId, Span, VolumeId};
pub use manifest::{ChainBreak, Counts, Manifest, Recovered, StoredStream};
pub use output::Output;
pub use recovery::{RecoveredCall, Recovery, RecoveryReport, Torn};
pub use seal::SealKind;
pub use sealed::{Frames, SealError, SealedCall};
pub use spool::{SpoolError, SpooledCall, Survey, partial_opening, survey, survey_partial};
pub use store::{Store, StoreError};
pub use writer::{Writer, WriterStatus};
