//! Connections that something was heard by, and what comes back from the network instead of an answer.

use std::collections::BTreeSet;

use super::Wire;
use crate::model::Timestamp;
use crate::sip::Flow;

/// Full: what is heard by others is not noted, and their end is like that of a connection that was never one.
const STREAMS_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Streams {
    heard: BTreeSet<Flow>,
    /// The newest that broke, if something had been heard by it.
    broke: Option<Flow>,
}

impl Streams {
    pub(super) fn note_heard(&mut self, flow: Flow) {
        if flow.transport.is_stream() && !self.heard.contains(&flow) && self.heard.len() < STREAMS_MAX {
            self.heard.insert(flow);
        }
    }
}

impl Wire {
    pub fn handle_unreachable(&mut self, now: Timestamp, flow: Flow) {
        self.streams.broke = self.streams.heard.take(&flow);
        self.transactions.handle_unreachable(now, flow);
        self.pump();
    }

    /// Whether the connection that broke last is this one and had been of use: where it led, another may be.
    pub fn has_served(&self, broken: Flow) -> bool {
        self.streams.broke == Some(broken)
    }

    /// A datagram of ours came back: `fragment` is how it began.
    pub fn handle_bounced(&mut self, now: Timestamp, flow: Flow, fragment: &[u8]) {
        self.transactions.handle_bounced(now, flow, fragment);
        self.pump();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Transport;

    #[test]
    fn of_a_flood_of_connections_so_many_are_known() {
        let mut streams = Streams::default();
        for port in 0..=u16::MAX {
            streams.note_heard(Flow {
                transport: Transport::Tcp,
                local: ([192, 0, 2, 1], 5060).into(),
                remote: ([192, 0, 2, 2], port).into(),
            });
        }
        assert_eq!(streams.heard.len(), STREAMS_MAX);
    }
}
