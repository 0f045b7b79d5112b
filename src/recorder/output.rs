//! The one queue in which the recorder's answers leave: order is meaning.

use std::collections::VecDeque;

use crate::model::RecordingEvent;

use super::extent::Extent;
use super::io::{IoId, IoIds, IoOp, IoRequest, Lane};

#[derive(Debug)]
pub enum Output {
    Io(IoRequest),
    Event(RecordingEvent),
    /// Durable, or of a call that is not open: back to its intake ([`Extent::intake`]).
    Recycle(Box<Extent>),
}

/// Filled by the recorder's parts during one input, emptied by the driver after it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    ids: IoIds,
    queue: VecDeque<Output>,
}

impl Outbox {
    pub(super) fn io(&mut self, lane: Lane, op: IoOp) -> IoId {
        let id = self.ids.mint();
        self.queue.push_back(Output::Io(IoRequest { id, lane, op }));
        id
    }

    pub(super) fn event(&mut self, event: RecordingEvent) {
        self.queue.push_back(Output::Event(event));
    }

    pub(super) fn recycle(&mut self, extent: Box<Extent>) {
        self.queue.push_back(Output::Recycle(extent));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }
}
