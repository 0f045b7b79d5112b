//! The recorder: frames into extents, extents into segments, group commit, recovery, sealed calls, catalog.

mod frame;

pub use frame::{Frame, FrameSink, Offer, Packet, PacketKind, Slot};
