//! What signalling is told.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{MediaEvent, RecordingEvent, SessionId};
use crate::policy::PolicySet;
use crate::sip::Flow;
use crate::trunk::{Aim, Located, Route, Trunk};

/// From a driver to signalling.
#[derive(Clone, Debug)]
pub enum Input {
    /// One datagram, or one message that was framed off a stream.
    Sip {
        flow: Flow,
        bytes: Bytes,
    },
    /// An INVITE of a stream, as far as it has come: its Content-Length says more, and that does not come.
    Cut {
        flow: Flow,
        bytes: Bytes,
    },
    /// What was sent there cannot arrive: the connection broke or was refused.
    Unreachable {
        flow: Flow,
    },
    /// A connection has ended, in whatever way: what comes from there from now on comes by another. What it brought and was
    /// not handed on yet is not any more.
    Closed {
        flow: Flow,
    },
    /// A datagram of ours came back, for nobody listens there (ICMP port unreachable). `fragment`: how it began.
    Bounced {
        flow: Flow,
        fragment: Bytes,
    },
    /// The same of a request that opens something, for which the [`Line`](super::Line) had no room.
    Excess {
        flow: Flow,
        bytes: Bytes,
    },
    /// Of new calls the line refuses so many thousandths now.
    Refusing(u32),
    Recording(RecordingEvent),
    Media(MediaEvent),
    /// A new generation of policies: for calls from now on.
    Policies(Arc<PolicySet>),
    /// Another configuration of trunks and routes: for calls from now on; those that are up keep theirs.
    Trunks {
        trunks: Vec<Trunk>,
        routes: Vec<Route>,
    },
    /// What DNS says of a trunk's name now.
    Located {
        aim: Aim,
        located: Located,
    },
    /// Take no new calls.
    Drain,
    /// Take calls again.
    Admit,
    /// Let go of the calls that are up without a word to their peers: the next start takes them over.
    HandOver,
    /// The newest state of a call is not kept, against [`Output::Remember`]: it cannot be handed over.
    ///
    /// [`Output::Remember`]: super::Output::Remember
    NotKept {
        session: SessionId,
    },
    /// A call that talked when the process before ended: its session then, and what [`Output::Remember`] said of it; or
    /// who had called for help.
    ///
    /// [`Output::Remember`]: super::Output::Remember
    Resume {
        session: SessionId,
        state: Bytes,
    },
    /// Keep nothing of this call for a while, if its policies let the operator say so. `why`: for its recording.
    PauseRecording {
        session: SessionId,
        why: Option<String>,
    },
    /// Keep it again.
    ResumeRecording {
        session: SessionId,
    },
    /// End the calls that are up.
    ShutDown,
}
