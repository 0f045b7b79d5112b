//! Calls through signalling alone: two phones written out as text, a recorder and a relay that answer at once or fail on
//! demand, virtual time. The oracle is the order of what crosses the wire.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bench;
mod capped;
mod early;
mod forked;
mod ordinary;
mod renegotiated;
mod restarted;
mod routed;
mod strict;
