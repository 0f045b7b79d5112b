//! What signalling is told.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{MediaEvent, RecordingEvent};
use crate::policy::PolicySet;
use crate::sip::Flow;

/// From a driver to signalling.
#[derive(Clone, Debug)]
pub enum Input {
    /// One datagram, or one message that was framed off a stream.
    Sip {
        flow: Flow,
        bytes: Bytes,
    },
    /// What was sent there cannot arrive: the connection broke or was refused.
    Unreachable {
        flow: Flow,
    },
    /// A datagram of ours came back, for nobody listens there (ICMP port unreachable). `fragment`: how it began.
    Bounced {
        flow: Flow,
        fragment: Bytes,
    },
    Recording(RecordingEvent),
    Media(MediaEvent),
    /// A new generation of policies: for calls from now on.
    Policies(Arc<PolicySet>),
    /// Take no new calls.
    Drain,
    /// End the calls that are up.
    ShutDown,
}
