//! The recorder's one owner: commands and extents in, requests and events out.

use crate::model::{RecordingCommand, Timestamp};

use super::config::WriterConfig;
use super::extent::Extent;
use super::io::IoDone;
use super::output::{Outbox, Output};

/// Writes the calls' extents to the journal by group commit, and seals each call at its end.
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    outbox: Outbox,
}

impl Writer {
    /// A recorder whose next segment is numbered `first_segment` on every volume: [`Recovery`](super::Recovery) knows it.
    pub fn new(config: WriterConfig, first_segment: u64, now: Timestamp) -> Self {
        let _ = (first_segment, now);
        Self {
            config,
            outbox: Outbox::default(),
        }
    }

    pub fn handle_command(&mut self, now: Timestamp, command: RecordingCommand) {
        let _ = (now, command, &self.config);
    }

    pub fn handle_extent(&mut self, now: Timestamp, extent: Box<Extent>) {
        let _ = now;
        self.outbox.recycle(extent);
    }

    pub fn handle_io(&mut self, now: Timestamp, done: IoDone) {
        let _ = (now, done);
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        let _ = now;
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }
}
