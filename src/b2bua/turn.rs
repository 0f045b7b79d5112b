//! One turn of the engine: the time, and what a call may touch besides itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::dialog::{Owner, Waiting, Wire};
use super::emergency::Emergencies;
use super::output::Output;
use super::recording::Chronicle;
use super::transfer::Conversations;
use crate::media::PortPool;
use crate::model::{Direction, Identity, Leg, MediaCommand, RecordingCommand, SessionId, Timestamp};
use crate::policy::{CallFacts, Decision, PolicySet, RecorderState, RejectCode};
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Flow, Request, Response};
use crate::trunk::{Loads, Topology, Trunk};

/// What holds for all calls of a node.
#[derive(Clone, Debug)]
pub struct Terms {
    /// This node, in Warning and in recordings.
    pub node: String,
    /// Another node could take a call that this one must refuse.
    pub peer_node: bool,
    /// What a strict call gets that cannot be recorded, where its policy does not say.
    pub reject_code: RejectCode,
    /// How long a session may go unrefreshed on each leg (RFC 4028); None: we ask for no session timers.
    pub session_interval: Option<Duration>,
    /// How long B may ring on without a word. A UAC has no Timer C (RFC 3261 §16.6 item 11 is for proxies), and a queue may
    /// say 183 once; but a far end that forgot its call holds none for ever.
    pub ring_max: Duration,
    /// Write the rungs of the ladder.
    pub steps: bool,
    /// Our certificates in handshakes with parties; None: DTLS is between the ends. Who is brought into another call is told the one that it
    /// was not told last: by that it knows of another association (RFC 8842 §4).
    pub identities: Option<[Arc<Identity>; 2]>,
}

pub struct Turn<'a> {
    pub now: Timestamp,
    pub terms: &'a Terms,
    pub topology: &'a Topology,
    /// The newest generation.
    pub policies: &'a PolicySet,
    pub emergencies: &'a mut Emergencies,
    pub conversations: &'a Conversations,
    pub loads: &'a mut Loads,
    /// Whether a recording can be opened. What is open may go on though none can be.
    pub recorder: RecorderState,
    pub wire: &'a mut Wire,
    pub ports: &'a mut PortPool,
    pub out: &'a mut VecDeque<Output>,
}

impl Turn<'_> {
    /// What the policies say of a call that these facts are known of. To ask changes nothing.
    pub fn decide_by(&self, mut facts: CallFacts) -> Decision {
        let decision = self.policies.decide(&facts);
        let is_expected = || {
            self.emergencies
                .expects(self.now, self.policies, &facts, &decision.callee)
        };
        if decision.emergency || !is_expected() {
            return decision;
        }
        facts.emergency_callback = true;
        self.policies.decide(&facts)
    }

    /// Whether the caps of a trunk let a call that is up come to it.
    pub fn has_room(&mut self, call: SessionId, trunk: &Trunk) -> bool {
        let loads = &mut *self.loads;
        loads.is_on(call, &trunk.name) || loads.check(self.now, [(&trunk.name, trunk.caps)]).is_ok()
    }

    pub fn record(&mut self, command: RecordingCommand) {
        self.out.push_back(Output::Recording(command));
    }

    pub fn media(&mut self, command: MediaCommand) {
        self.out.push_back(Output::Media(command));
    }

    pub fn request(&mut self, session: SessionId, line: Line<'_>, request: Request) -> ClientId {
        let owner = Owner::Call(session, line.leg);
        let id = if line.proves {
            self.wire.request_with_proof(self.now, owner, request, line.flow)
        } else {
            self.wire.request(self.now, owner, request, line.flow)
        };
        self.depart(line);
        id
    }

    /// Sends a request again, changed, in the name of the transaction `id`, which is over.
    pub fn renew(&mut self, line: Line<'_>, id: ClientId, waiting: Waiting) {
        self.wire.renew(self.now, id, waiting, line.flow);
        self.depart(line);
    }

    pub fn send(&mut self, line: Line<'_>, mut request: Request) -> Request {
        if line.proves {
            let owner = Owner::Call(line.chronicle.session(), line.leg);
            self.wire.repeat_proof(owner, &mut request);
        }
        let sent = self.wire.send(request, line.flow);
        self.depart(line);
        sent
    }

    pub fn resend(&mut self, line: Line<'_>, request: Request) {
        self.wire.resend(request, line.flow);
        self.depart(line);
    }

    pub fn respond(&mut self, line: Line<'_>, id: ServerId, response: Response) {
        self.wire.respond(self.now, id, response);
        self.depart(line);
    }

    pub fn say_trying(&mut self, line: Line<'_>, id: ServerId) {
        self.wire.say_trying(id);
        self.depart(line);
    }

    pub fn cancel(&mut self, line: Line<'_>, invite: ClientId, reasons: &[String]) {
        self.wire.cancel(self.now, invite, reasons);
        self.depart(line);
    }

    /// Hands on what the transactions sent, written down for this call.
    pub fn depart(&mut self, line: Line<'_>) {
        while let Some(departure) = self.wire.poll_departure() {
            let (flow, bytes) = (departure.flow, departure.bytes);
            line.chronicle
                .message(self.now, line.leg, Direction::Sent, flow, &bytes, self.out);
            self.out.push_back(Output::Send { flow, bytes });
        }
    }
}

/// Which leg of which call speaks, by which path.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub leg: Leg,
    pub flow: Flow,
    /// The next hop is of a trunk that we have credentials for: it may ask for them.
    pub proves: bool,
    pub chronicle: &'a Chronicle,
}
