//! What the recorder can be told, with the defaults that the documents promise.

use std::time::Duration;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WriterConfig {
    /// Kept in every manifest.
    pub software: String,
    /// In order of preference; at least one.
    pub volumes: Vec<VolumeConfig>,
    /// Preallocated size of a segment, held between 16 KiB and 2 GiB.
    pub segment_bytes: u64,
    /// How long a commit gathers before it is written.
    pub commit_every: Duration,
    /// How soon a commit follows another when a call waits for its opening record: the first of a burst is written at once,
    /// the others share.
    pub opening_every: Duration,
    /// How long a call that has ended waits for others to be sealed with: what is synced together costs the disk one flush.
    /// `serve` gives it a quarter of a second.
    pub seal_every: Duration,
    /// How old frames may be when they reach the writer: the intake's `extent_age`.
    pub extent_age: Duration,
    /// How far the durable watermark may trail the newest accepted frame. A commit that is not durable by then is a
    /// fault ([`Fault::Stalled`](crate::model::Fault::Stalled)); so it bounds the audio that a power cut can cost.
    pub lag_max: Duration,
    /// Segments that may be in the spool before long calls are moved out of the oldest.
    pub spool_segments: usize,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VolumeConfig {
    /// When less than this is free on every volume, no call is opened ([`Fault::Reserve`](crate::model::Fault::Reserve)).
    pub reserve: u64,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            software: concat!("onrecord ", env!("CARGO_PKG_VERSION")).to_owned(),
            volumes: vec![VolumeConfig::default()],
            segment_bytes: 64 << 20,
            commit_every: Duration::from_millis(100),
            opening_every: Duration::from_millis(20),
            seal_every: Duration::ZERO,
            extent_age: Duration::from_millis(100),
            lag_max: Duration::from_secs(1),
            spool_segments: 64,
        }
    }
}
