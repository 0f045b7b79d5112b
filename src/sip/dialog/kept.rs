//! A dialog as text, for the process after this one.

use serde::{Deserialize, Serialize};

use super::dialog::Dialog;
use super::route_set::RouteSet;
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;

/// How far our CSeq numbers jump: beyond what was sent since the dialog was written down. They may (RFC 3261 §12.2.1.1
/// asks the sender for steps of one; §12.2.2 lets the receiver take any higher number).
const CSEQ_JUMP: u32 = 1_000;

/// A dialog, written down.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeptDialog {
    call_id: String,
    local: String,
    remote: String,
    local_seq: u32,
    remote_seq: Option<u32>,
    routes: Vec<String>,
    target: String,
}

impl Dialog {
    pub fn keep(&self) -> KeptDialog {
        KeptDialog {
            call_id: self.call_id.clone(),
            local: self.local.to_string(),
            remote: self.remote.to_string(),
            local_seq: self.local_seq,
            remote_seq: self.remote_seq,
            routes: self.route_set.iter().map(ToString::to_string).collect(),
            target: self.remote_target.to_string(),
        }
    }

    /// The dialog again; none if the text is not one of ours.
    pub fn revive(kept: &KeptDialog) -> Option<Self> {
        let routes: Result<Vec<NameAddr>, _> = kept.routes.iter().map(|route| NameAddr::parse(route)).collect();
        Some(Self {
            call_id: kept.call_id.clone(),
            local: NameAddr::parse(&kept.local).ok()?,
            remote: NameAddr::parse(&kept.remote).ok()?,
            local_seq: kept.local_seq.saturating_add(CSEQ_JUMP),
            remote_seq: kept.remote_seq,
            route_set: RouteSet::new(routes.ok()?),
            remote_target: Uri::parse(&kept.target).ok()?,
        })
    }
}
