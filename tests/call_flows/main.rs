//! Calls through signalling alone: two phones written out as text, a recorder and a relay that answer at once or fail on
//! demand, virtual time. The oracle is the order of what crosses the wire.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, reason = "other tests use the same bench")]
mod bench;
mod broken_streams;
mod capped;
mod challenged;
mod connected;
mod consulted;
mod crossed;
mod early;
mod executed;
mod failover;
mod families;
mod fax;
mod forked;
mod mended_dialogs;
mod mended_strict;
mod newcomer;
mod ordinary;
mod party;
mod redirected;
mod registered;
mod renegotiated;
mod replaced;
mod restarted;
mod routed;
mod secured;
mod strict;
mod subscribed;
mod timers;
mod transferred;
