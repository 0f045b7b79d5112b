//! Calls through signalling alone: two phones written out as text, a recorder and a relay that answer at once or fail on
//! demand, virtual time. The oracle is the order of what crosses the wire.
#![allow(clippy::unwrap_used, clippy::panic)]

mod advertised;
mod allowed;
#[allow(dead_code, reason = "other tests use the same bench")]
mod bench;
mod broken_streams;
mod capped;
mod carried;
mod challenged;
mod connected;
mod consulted;
mod crossed;
mod early;
mod edge;
mod executed;
mod failover;
mod families;
mod fax;
mod forked;
mod mended_dialogs;
mod mended_strict;
mod newcomer;
mod ordinary;
mod outside;
mod party;
mod redirected;
mod referred_capped;
mod referred_privately;
mod registered;
mod renegotiated;
mod replaced;
mod restarted;
mod retold;
mod routed;
mod secured;
mod strangers;
mod strict;
mod subscribed;
mod timers;
mod transferred;
mod urgent;
