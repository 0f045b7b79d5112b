//! Calls through signalling alone: two phones written out as text, a recorder and a relay that answer at once or fail on
//! demand, virtual time. The oracle is the order of what crosses the wire.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bench;
mod challenged;
mod early;
mod failover;
mod forked;
mod ordinary;
mod redirected;
mod registered;
mod renegotiated;
mod restarted;
mod strict;
