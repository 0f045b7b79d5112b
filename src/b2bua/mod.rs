//! The back-to-back user agent: one call is two dialogs, one decision and one recording (RFC 3261 §6, RFC 7092).
//!
//! A call is a value that is handed events and writes outputs, in order: `offer` takes A's INVITE, `progress` and
//! `answer` what B says to it, `fork` how many answer, `reliable` their acknowledged ringing, `refresh` the session timers, `retell` what a transfer changes for who stays, `modify` all later offers and `exchange` their answers, `pass` what is carried through, `teardown` every end. `reject` is the one table from
//! reason to status, `chronicle` the signalling that a recording keeps.
//!
//! Architecture Invariant: pure. What a call wants done is an [`Output`]; what it may touch is a [`Turn`].

mod aftermath;
mod awareness;
mod call;
mod continuation;
mod crossing;
mod deadlines;
mod decision;
mod dialog;
mod emergency;
mod farewell;
mod identity;
mod invite;
mod leaving;
mod modification;
mod output;
mod parting;
mod recording;
mod reject;
mod session;
mod state;
mod teardown;
mod transfer;
mod turn;
mod view;

pub use aftermath::Aftermath;
pub use awareness::Dissent;
pub use call::Call;
pub use continuation::{ResumeError, STATE_BYTES_MAX};
pub use crossing::{
    ALLOW, ALLOW_OUTSIDE, Crossing, DialogEvent, DialogName, Meant, Onward, SubscriptionId, Subscriptions, arrive,
    arriving, back, carry, check_refer_to, cross, cross_identities, dialog_named, dialog_of_refer_to, option_of,
    set_number, unsupported,
};
pub use decision::{Kin, Opening, at_our_address, header, is_focus, led_on, of_invite, rerouters, screened};
pub use dialog::{CallLeg, LegState, Owner, Waiting, Wire};
pub use emergency::Emergencies;
pub use invite::{Arrival, Asked, onward};
pub use output::{Output, Step, StepKind};
pub use recording::{Chronicle, key_in};
pub use reject::{Refusal, Rejection, of_method, of_recorder, of_verdict};
pub use session::Writing;
pub use transfer::{Answered, Consulted, Conversations, Errand, Referral, Referred, Staying, replace_nothing};
pub use turn::{Terms, Turn};
pub use view::{CallState, CallView, RecordingState};
