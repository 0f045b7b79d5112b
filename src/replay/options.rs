//! What is asked of a replay: by whose policies, on whose trunks, what breaks, and what is told of it.

use std::sync::Arc;

use bytes::Bytes;

use super::fault::FaultSpec;
use crate::config::Config;
use crate::model::TrunkName;
use crate::policy::PolicySet;
use crate::sip::{Message, Method};

/// What is asked of a replay.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    pub policies: Arc<PolicySet>,
    pub faults: Vec<FaultSpec>,
    /// As policies name the side that calls and the side that is called.
    pub trunks: [TrunkName; 2],
    /// What it says of these trunks counts, but not their addresses: conduct, trust, rules. None: they pass everything.
    pub config: Option<Arc<Config>>,
    pub shown: Shown,
}

/// What of messages is reported beside their start lines.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Messages of these methods, and the answers to them, whole.
    pub whole: Vec<Method>,
    /// These headers, of every message that has them.
    pub headers: Vec<String>,
}

impl Shown {
    /// The message whole, if it is to be, and its header lines that are to be shown.
    pub(super) fn of(&self, bytes: &Bytes) -> (Option<Bytes>, Vec<String>) {
        if self.whole.is_empty() && self.headers.is_empty() {
            return (None, Vec::new());
        }
        let Ok(message) = Message::parse(bytes) else {
            return (None, Vec::new());
        };
        let headers = message.headers();
        let is_whole = self.whole.contains(&headers.cseq().method);
        let is_asked = |name: &str| self.headers.iter().any(|asked| asked.eq_ignore_ascii_case(name));
        let lines = headers.iter().filter(|(name, _)| is_asked(name));
        let lines = lines.map(|(name, value)| format!("{name}: {value}")).collect();
        (is_whole.then(|| bytes.clone()), lines)
    }
}
