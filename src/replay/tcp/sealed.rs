//! TLS connections: what is said in them cannot be read, so that at least they are counted.

use std::collections::BTreeSet;

use super::Key;

/// Connections that are told apart. Full: no further one is counted.
const CONNECTIONS_MAX: usize = 10_000;
/// RFC 8446 §5.2: a record, with what encryption adds.
const RECORD_BYTES_MAX: u16 = (1 << 14) + 2_048;

/// See [the module](self).
#[derive(Default)]
pub(super) struct Sealed {
    connections: BTreeSet<Key>,
}

impl Sealed {
    /// A segment of a connection that is not known to be SIP.
    pub(super) fn look_at(&mut self, (src, dst): Key, payload: &[u8]) {
        if is_record(payload) && self.connections.len() < CONNECTIONS_MAX {
            self.connections.insert((src.min(dst), src.max(dst)));
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.connections.len() as u64
    }
}

/// Whether it begins with a record of TLS 1.0 to 1.3 (RFC 8446 §5.1).
fn is_record(payload: &[u8]) -> bool {
    match payload {
        [20..=23, 3, 0..=4, l0, l1, ..] => (1..=RECORD_BYTES_MAX).contains(&u16::from_be_bytes([*l0, *l1])),
        _ => false,
    }
}
