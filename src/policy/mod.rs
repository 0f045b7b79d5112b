//! Who is recorded, how strictly, and why: policy files in, a decision per call out (docs/POLICY.md).
//!
//! Architecture Invariant: pure. Text and facts come in as values; nothing here reads a file or a clock. The decision of a
//! live call, of a replayed one and of `explain` is the same function: [`PolicySet::decide`].

mod clips;
mod consenting;
mod decide;
mod decision;
mod dial_plan;
mod document;
mod emergency;
mod explain;
mod facts;
mod finding;
mod grants;
mod identity;
mod kept;
mod link;
mod lint;
mod matcher;
mod parties;
mod pausing;
pub(crate) mod reader;
mod reading;
mod report;
mod roster;
pub(crate) mod scalar;
mod set;
pub(crate) mod source;
mod suggest;
mod target;
mod terms;

#[cfg(test)]
mod tests;

pub use clips::{Clips, PROMPTS_MAX};
pub use consenting::{ConsentMode, ConsentTerms, OnRefusal, Silence};
pub use decision::{Admission, BlockReason, Decision, RecorderState, Requirements, Verdict};
pub use document::{AfterRetention, EMBEDDED, Policy, RecorderRule};
pub(crate) use document::{is_name, reject_code};
pub use explain::Explanation;
pub use facts::CallFacts;
pub(crate) use finding::Findings;
pub use finding::{Code, Finding, Place, Severity};
pub use identity::Identity;
pub use matcher::{Direction, FarEnd, Filter};
pub use pausing::{Pause, PauseParty, PauseTerms};
pub use report::{Format, render};
pub use set::{FILE_BYTES_MAX, FILES_MAX, GRANTS_MAX, PolicySet, TOTAL_BYTES_MAX};
pub use source::SourceFile;
#[cfg(feature = "shell")]
pub(crate) use source::escaped;
pub(crate) use suggest::nearest;
pub use terms::{
    Action, DuringArms, MediaSet, Notify, NotifyMode, NotifyWhen, NotifyWhom, OnConflict, RejectCode, RejectStatus,
    Retention, Untold,
};
