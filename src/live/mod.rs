//! The driver with sockets.

pub mod clock;
