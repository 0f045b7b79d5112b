//! What a call begins with: the INVITE or the REFER that asks for it, and what is known of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::b2bua::decision::Kin;
use crate::b2bua::dialog::CallLeg;
use crate::model::{Header, SessionId};
use crate::policy::Decision;
use crate::sip::Uri;
use crate::sip::transaction::ServerId;
use crate::trunk::Destination;

/// What is known of the INVITE that opens a call.
pub struct Arrival {
    pub session: SessionId,
    pub asked: Asked,
    /// As it came.
    pub bytes: Bytes,
    pub a: CallLeg,
    pub b: CallLeg,
    pub target: Uri,
    /// Where B may be reached, best first, the one of `b` and `target` among them.
    pub destinations: Vec<Destination>,
    pub kin: Kin,
    pub decision: Arc<Decision>,
    pub meeting: bool,
    pub header: Arc<Header>,
}

/// Who asks for a call.
pub enum Asked {
    ByInvite(ServerId),
    /// A REFER that we execute. What its parties were told last, A and B, in calls that they come over from; and how many
    /// transfers led here.
    ByRefer {
        told: [Option<Bytes>; 2],
        transfers: u8,
    },
}

/// What every call has from its first moment.
pub(in crate::b2bua) struct Setting {
    pub session: SessionId,
    pub a: CallLeg,
    pub b: CallLeg,
    pub target: Uri,
    pub destinations: Vec<Destination>,
    pub decision: Arc<Decision>,
    pub meeting: bool,
    pub header: Arc<Header>,
}
