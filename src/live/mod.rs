//! The driver with sockets.

pub mod clock;
mod kernel;
mod media_io;
mod media_sockets;
pub mod media_thread;
