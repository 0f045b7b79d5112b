//! Calls for help: what they are given all the same (`urgent`), and who may be called back (`emergencies`, RFC 7090).

mod emergencies;
mod urgent;

pub use emergencies::Emergencies;

pub(super) use emergencies::HelpCall;
