//! A file of the disk: what it holds now, and what a crash leaves of it.

use bytes::Bytes;
use onrecord::recorder::Span;

use super::super::rng::Rng;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// As read now: the page cache.
    pub(super) cached: Vec<u8>,
    /// As read after a crash.
    pub(super) durable: Vec<u8>,
    /// Written and neither flushed nor dropped.
    pub(super) dirty: Vec<(usize, Bytes)>,
    /// Preallocated length; reads between what was written and this are zeros.
    pub(super) size: usize,
    pub(super) name_is_durable: bool,
}

impl Content {
    pub(super) fn write(&mut self, offset: usize, bytes: &Bytes) {
        put(&mut self.cached, offset, bytes);
        self.dirty.push((offset, bytes.clone()));
        self.size = self.size.max(self.cached.len());
    }

    pub(super) fn flush(&mut self) {
        for (offset, bytes) in self.dirty.drain(..) {
            put(&mut self.durable, offset, &bytes);
        }
    }

    /// What the medium holds after a crash: of each unflushed write all, nothing, or a torn part.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        for (offset, bytes) in std::mem::take(&mut self.dirty) {
            match rng.below(3) {
                0 => {}
                1 => put(&mut self.durable, offset, &bytes),
                _ if bytes.is_empty() => {}
                _ => {
                    let cut = rng.below(bytes.len() as u64) as usize;
                    let kept = if rng.one_in(2) {
                        bytes.slice(..cut)
                    } else {
                        bytes.slice(cut..)
                    };
                    let at = if kept.len() == cut { offset } else { offset + cut };
                    put(&mut self.durable, at, &kept);
                }
            }
        }
        self.cached = self.durable.clone();
        self.name_is_durable = true;
    }

    pub(super) fn read(&self, span: &Span) -> Bytes {
        let from = span.offset as usize;
        let to = from.saturating_add(span.bytes as usize).min(self.size);
        let mut bytes = self
            .cached
            .get(from..to.min(self.cached.len()))
            .unwrap_or_default()
            .to_vec();
        bytes.resize(to.saturating_sub(from), 0);
        bytes.into()
    }
}

pub(super) fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(bytes);
}
