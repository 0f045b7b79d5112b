//! The back-to-back user agent: one call is two dialogs, one decision and one recording (RFC 3261 §6, RFC 7092).
//!
//! A call is a value that is handed events and writes outputs, in order: `call` tells each event where it belongs. An
//! `invite` makes it: a `dialog` with each peer, and a `session` that both describe. `modification` is what they offer later,
//! `crossing` what is carried through, `transfer` how a party goes over to another call, `ending` every end. The policies are
//! asked in `decision`, of parties as `identity` knows them; `recording` is what is kept, `awareness` that the parties know of it,
//! `emergency` what precedes all that. `reject` is the one table from reason to status, `deadlines` all that a call waits for,
//! `continuation` a call beyond the end of the process.
//!
//! Architecture Invariant: pure. What a call wants done is an [`Output`]; what it may touch is a [`Turn`].

mod awareness;
mod call;
mod continuation;
mod crossing;
mod deadlines;
mod decision;
mod dialog;
mod emergency;
mod ending;
mod identity;
mod invite;
mod modification;
mod output;
mod recording;
mod reject;
mod session;
mod state;
mod transfer;
mod turn;
mod view;

pub use awareness::Dissent;
pub use call::Call;
pub use continuation::{ResumeError, STATE_BYTES_MAX, invite_of};
pub use crossing::{
    ALLOW, ALLOW_OUTSIDE, Crossing, DialogEvent, DialogName, Meant, Onward, SubscriptionId, Subscriptions, arrive,
    arriving, back, carry, check_refer_to, cross, cross_identities, dialog_named, dialog_of_refer_to, option_of,
    set_number, unsupported,
};
pub use decision::{Kin, Opening, at_our_address, header, is_focus, led_on, of_invite, rerouters, screened};
pub use dialog::{CallLeg, LegState, Owner, Waiting, Wire};
pub use emergency::Emergencies;
pub use ending::Aftermath;
pub use invite::{Arrival, Asked, onward};
pub use output::{Output, Step, StepKind};
pub use recording::{Chronicle, key_in};
pub use reject::{Refusal, Rejection, of_method, of_recorder, of_verdict};
pub use session::Writing;
pub use transfer::{Answered, Consulted, Conversations, Errand, Referral, Referred, Staying, replace_nothing};
pub use turn::{Terms, Turn};
pub use view::{CallState, CallView, RecordingState};
