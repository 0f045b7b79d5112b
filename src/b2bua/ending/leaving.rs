//! The BYE of a fork that answered too late (RFC 3261 §13.2.2.4): sent once more, another way, where its first way leads to
//! somebody else or to nobody. Only while its call is up; nothing waits for it.

use crate::b2bua::call::Call;
use crate::b2bua::turn::Turn;
use crate::sip::dialog::Dialog;
use crate::sip::transaction::ClientId;
use crate::sip::{Flow, Method, Request, Response};

/// A fork whose answer to our BYE is awaited.
#[derive(Debug)]
pub struct Leaving {
    client: ClientId,
    dialog: Dialog,
    flow: Flow,
    /// This is the second way.
    again: bool,
}

impl Call {
    /// Ends a fork by this path.
    pub(in crate::b2bua) fn end_fork(&mut self, turn: &mut Turn<'_>, dialog: Dialog, flow: Flow) {
        self.send_farewell(turn, dialog, flow, false);
    }

    fn send_farewell(&mut self, turn: &mut Turn<'_>, mut dialog: Dialog, flow: Flow, again: bool) {
        let bye = dialog.request(Method::Bye);
        let client = turn.request(self.id, self.b.line_by(flow, &self.chronicle), bye);
        self.forks.leaving.push(Leaving {
            client,
            dialog,
            flow,
            again,
        });
    }

    /// Whether the response is a fork's to its BYE. What another host said in its place ends nothing.
    pub(in crate::b2bua) fn on_fork_answered(
        &mut self,
        turn: &mut Turn<'_>,
        client: ClientId,
        response: &Response,
    ) -> bool {
        let Some(leaving) = self.take_leaving(client, response.is_final()) else {
            return !response.is_final() && self.is_fork_leaving_by(client);
        };
        turn.wire.disown_client(client);
        if matches!(response.status, 404 | 408 | 480 | 500..600) {
            self.try_another_way(turn, leaving);
        }
        true
    }

    /// Whether a fork's answer to this BYE is awaited.
    pub(in crate::b2bua) fn is_fork_leaving_by(&self, client: ClientId) -> bool {
        self.forks.leaving.iter().any(|leaving| leaving.client == client)
    }

    /// A fork that has hung up itself needs no more of our BYE.
    pub(in crate::b2bua) fn forget_fork(&mut self, turn: &mut Turn<'_>, request: &Request) {
        let tag = request.headers.from().tag().filter(|_| request.method == Method::Bye);
        let mut leaving = self.forks.leaving.iter();
        if let Some(at) = leaving.position(|leaving| Some(leaving.dialog.remote_tag()) == tag) {
            let leaving = self.forks.leaving.swap_remove(at);
            turn.wire.disown_client(leaving.client);
        }
    }

    /// Whether it was the BYE of a fork that came to nothing.
    pub(in crate::b2bua) fn on_fork_silent(&mut self, turn: &mut Turn<'_>, client: ClientId) -> bool {
        let leaving = self.take_leaving(client, true);
        let found = leaving.is_some();
        if let Some(leaving) = leaving {
            self.try_another_way(turn, leaving);
        }
        found
    }

    /// The next number in the dialog of a fork that leaves, by the fork's tag.
    pub(in crate::b2bua) fn next_number_of_leaving(&mut self, tag: &str) -> Option<u32> {
        let mut leaving = self.forks.leaving.iter_mut();
        let found = leaving.find(|leaving| leaving.dialog.remote_tag() == tag)?;
        Some(found.dialog.next_number())
    }

    /// The call is over: nothing is tried again.
    pub(in crate::b2bua) fn release_forks(&mut self, turn: &mut Turn<'_>) {
        for leaving in self.forks.leaving.drain(..) {
            turn.wire.disown_client(leaving.client);
        }
    }

    fn take_leaving(&mut self, client: ClientId, is_over: bool) -> Option<Leaving> {
        let at = self.forks.leaving.iter().position(|leaving| leaving.client == client)?;
        is_over.then(|| self.forks.leaving.swap_remove(at))
    }

    fn try_another_way(&mut self, turn: &mut Turn<'_>, leaving: Leaving) {
        if leaving.again {
            return;
        }
        if let Some(flow) = self.other_way(&leaving) {
            self.send_farewell(turn, leaving.dialog, flow, true);
        }
    }

    /// The path of the INVITE; where that was it, and a connection, to where the trunk listens.
    fn other_way(&self, leaving: &Leaving) -> Option<Flow> {
        if leaving.flow != self.invited_by {
            return Some(self.invited_by);
        }
        let (trunk, by) = (&self.b.trunk, leaving.flow);
        let target = leaving.dialog.next_hop().socket_addr();
        let target = target.filter(|target| by.transport.is_stream() && trunk.admits(*target, by.transport));
        let first = trunk.first_address(by.transport).filter(|_| by.transport.is_stream());
        let remote = target.or(first).filter(|remote| *remote != by.remote)?;
        Some(Flow { remote, ..by })
    }
}
