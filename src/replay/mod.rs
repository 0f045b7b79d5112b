//! Captures through the engine: what was on the wire, played to the proxy in virtual time.

mod binding;
mod blocks;
mod call;
mod calls;
mod capture;
mod clock;
mod copied;
mod demux;
mod dialogs;
mod dissection;
mod doubles;
mod encapsulation;
mod far_leg;
mod fault;
mod flaw;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod forge;
mod fragments;
mod link;
mod naming;
mod opening;
mod options;
mod order;
mod passages;
mod pcap;
mod proxy;
mod pseudo_header;
mod reenact;
mod report;
mod script;
mod sip_report;
mod sources;
mod spool;
mod story;
mod streams;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod talk;
mod tcp;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod unkeyed;

pub use capture::{Capture, Captured, Event, Payload};
pub use encapsulation::Encapsulation;
pub use fault::{FaultKind, FaultSpec, NotAFault};
pub use flaw::{Flaw, FlawKind, NotACapture};
pub use options::{ReplayOptions, Shown};
pub use passages::PassageReport;
pub use report::{CallReport, CaptureReport, ErrorReport, PayloadTypeReport, Report, StreamReport};
pub use sip_report::SipReport;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};

use crate::disk::Layout;
use reenact::Reenactment;
use spool::{Disk, MemoryDisk};

/// Flaws that are listed; all are counted.
const FLAWS_MAX: usize = 1_000;

/// Replays a capture; recordings go to memory and are forgotten.
pub fn replay(file: impl Read, options: &ReplayOptions) -> Result<Report, NotACapture> {
    play(file, options, MemoryDisk::default(), None)
}

/// Replays a capture; recordings go to `disk`, whose spool has to be empty.
pub fn replay_to(file: impl Read, options: &ReplayOptions, disk: crate::disk::Disk) -> Result<Report, NotACapture> {
    let layout = disk.layout().clone();
    play(file, options, disk, Some(&layout))
}

/// Flaws of what came before the capture started.
#[derive(Default)]
struct Early {
    flaws: Vec<Flaw>,
    in_all: u64,
}

impl Early {
    fn note(&mut self, flaw: Flaw) {
        self.in_all += 1;
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        }
    }
}

fn play(
    file: impl Read,
    options: &ReplayOptions,
    disk: impl Disk,
    layout: Option<&Layout>,
) -> Result<Report, NotACapture> {
    let mut capture = Capture::open(file)?;
    let provenance = capture.provenance();
    let mut waiting = Some(disk);
    let mut reenactment: Option<Reenactment<_>> = None;
    // Of packets before the first that could be read.
    let mut early = Early::default();
    let mut started = None;
    let mut visit = |event: Event<'_>| {
        let first = match &event {
            Event::Started(at) => {
                started = Some(*at);
                return;
            }
            Event::Captured(first) => first.dst.ip(),
            Event::Flaw(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        if let (Some(started), Some(disk)) = (started, waiting.take_if(|_| started.is_some())) {
            reenactment = Some(Reenactment::new(options, disk, (started, first), provenance));
        }
        match (event, &mut reenactment) {
            (event, Some(reenactment)) => reenactment.handle(event),
            (Event::Flaw(flaw), None) => early.note(flaw),
            (Event::Captured(_) | Event::Started(_), None) => {}
        }
    };
    while capture.read_packet(&mut visit) {}
    if let Some(reenactment) = &mut reenactment {
        reenactment.finish();
    }
    Ok(Report::of(
        reenactment.as_ref(),
        &early,
        (capture.packets(), capture.doubles()),
        layout,
    ))
}
