//! The driver with sockets.

pub mod clock;
mod kernel;
mod media_io;
pub mod media_pulse;
mod media_sockets;
pub mod media_thread;
