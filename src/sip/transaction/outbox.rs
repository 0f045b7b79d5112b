//! What transactions say, as values (and who said it, so that they need not know their own names).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::sip::flow::Flow;
use crate::sip::message::{Request, Response};

/// The largest UDP payload over IPv4 (RFC 768, RFC 791); IPv6 has room for 20 bytes more, which nobody needs.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_507;

/// A request that we sent. Never given twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientId(pub(super) u64);

/// A request that we received. Never given twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerId(pub(super) u64);

#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(clippy::large_enum_variant)] // made and taken in one turn: a box would be an allocation for each message
pub enum Output {
    Send { flow: Flow, bytes: Bytes },
    Event(Event),
}

/// What the layer above has to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A new request: not ACK, not CANCEL. It is answered by `respond`; to an INVITE that is left waiting for 200 ms a
    /// 100 goes out by itself.
    Request { id: ServerId, request: Request, flow: Flow },
    /// The CANCEL was answered 200; the INVITE, which has no final answer yet, now wants its 487.
    Cancelled { invite: ServerId, cancel: Request },
    /// The ACK to a 2xx, once. `invite` is None when no live INVITE was answered with that 2xx.
    Ack {
        request: Request,
        flow: Flow,
        invite: Option<ServerId>,
    },
    /// Provisional or final. To an INVITE every 2xx, sent again or from another branch of a fork, for 64 × T1.
    Response { id: ClientId, response: Response },
    /// A 2xx to an INVITE that no live transaction has sent: of one that ended long ago, or of the process before.
    Orphan { response: Response, flow: Flow },
    /// No final answer came in time: Timer B or F, or 64 × T1 after a CANCEL. Nothing more comes for `id`.
    TimedOut { id: ClientId },
    /// The transport could not deliver, or the request is longer than a datagram. Nothing more comes for `id`.
    Unreachable { id: ClientId },
    /// No ACK came within 64 × T1 after the final answer to the INVITE.
    NoAck { id: ServerId },
}

/// Outputs of one client transaction.
pub(super) struct ClientOutbox<'a> {
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) id: ClientId,
    pub(super) flow: Flow,
}

impl ClientOutbox<'_> {
    /// Sends a request for the first time. False, and told as unreachable, if it is too long to leave by its flow.
    pub(super) fn offer(&mut self, bytes: Bytes) -> bool {
        let fits = self.flow.transport.is_reliable() || bytes.len() <= DATAGRAM_BYTES_MAX;
        if fits {
            self.send(bytes);
        } else {
            self.unreachable();
        }
        fits
    }

    pub(super) fn send(&mut self, bytes: Bytes) {
        self.outputs.push_back(Output::Send { flow: self.flow, bytes });
    }

    pub(super) fn pass_up(&mut self, response: Response) {
        self.outputs
            .push_back(Output::Event(Event::Response { id: self.id, response }));
    }

    pub(super) fn time_out(&mut self) {
        self.outputs.push_back(Output::Event(Event::TimedOut { id: self.id }));
    }

    pub(super) fn unreachable(&mut self) {
        self.outputs
            .push_back(Output::Event(Event::Unreachable { id: self.id }));
    }
}

/// Outputs of one server transaction.
pub(super) struct ServerOutbox<'a> {
    pub(super) outputs: &'a mut VecDeque<Output>,
    pub(super) id: ServerId,
    /// The way of the responses.
    pub(super) flow: Flow,
}

impl ServerOutbox<'_> {
    pub(super) fn send(&mut self, bytes: Bytes) {
        self.outputs.push_back(Output::Send { flow: self.flow, bytes });
    }

    pub(super) fn no_ack(&mut self) {
        self.outputs.push_back(Output::Event(Event::NoAck { id: self.id }));
    }
}
