//! SIP without I/O: messages and their wire form, transactions, dialogs (RFC 3261).

mod flow;

pub use flow::{Flow, Transport};
