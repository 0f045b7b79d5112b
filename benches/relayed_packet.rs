//! What a recorded packet costs: in the plane alone (latch, keys, fork with its one copy, meter), and through a media thread with
//! sockets of each port's own or with shared ones. In clear, and as SRTP that is opened and sealed.
//!
//!     cargo bench --bench relayed_packet [-- CALLS]
//!
//! Prints nanoseconds and allocations a packet; ratios of two builds in one run are what counts, and those of the threads have the
//! load in them. Ends with 1 if a packet allocates.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod calls;
mod counting;
mod thread;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use calls::{Kind, Phone, plan};
use onrecord::media::{Plane, PlaneOutput, Port, Verdict};
use onrecord::model::{MediaCommand, Timestamp};
use onrecord::recorder::{Intake, IntakeConfig};

/// Two and a half seconds, so that each call's sound was judged.
const WARM_ROUNDS: u32 = 125;
const ROUNDS: u32 = 500;
const FRAME: Duration = Duration::from_millis(20);

/// What was measured, after the warming up.
struct Figures {
    packets: u32,
    took: Duration,
    allocations: u64,
}

fn main() -> ExitCode {
    let calls = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(500);
    let before = counting::allocations();
    drop(std::hint::black_box(Box::new(calls)));
    assert!(counting::allocations() > before, "what is allocated is counted");
    let mut has_allocated = false;
    for kind in [Kind::Clear, Kind::Sealed] {
        let (figures, bytes) = in_the_plane(calls, kind);
        has_allocated |= figures.tell(&format!("plane, {kind:?}, {calls} calls"));
        println!("        {bytes} bytes a call");
    }
    for way in [thread::Way::Own, thread::Way::Shared] {
        for kind in [Kind::Clear, Kind::Sealed] {
            let name = format!("{way:?} sockets, {kind:?}, {} calls", thread::CALLS);
            match thread::measure(way, kind) {
                Ok(figures) => has_allocated |= figures.tell(&name),
                Err(why) => println!("SKIPPED {name}: {why}"),
            }
        }
    }
    if has_allocated {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

impl Figures {
    /// Whether any of its packets has allocated.
    fn tell(&self, name: &str) -> bool {
        println!(
            "{} {name}: {} packets, {:.0} ns and {:.5} allocations a packet",
            if self.allocations == 0 { "  ok  " } else { "MISSED" },
            self.packets,
            self.took.as_secs_f64() * 1e9 / f64::from(self.packets),
            self.allocations as f64 / f64::from(self.packets),
        );
        self.allocations > 0
    }
}

/// The figures, and what a call holds.
fn in_the_plane(calls: u16, kind: Kind) -> (Figures, i64) {
    let mut bench = Bench::new(calls, kind);
    bench.run(WARM_ROUNDS);
    let held = counting::held();
    let allocations = counting::allocations();
    let (packets, took) = bench.run(ROUNDS);
    let allocations = counting::allocations() - allocations;
    let figures = Figures {
        packets,
        took,
        allocations,
    };
    (figures, held / i64::from(calls.max(1)))
}

struct Bench {
    plane: Plane,
    intake: Intake,
    now: Timestamp,
    /// Our ports, who speaks there, and from where.
    legs: Vec<(Port, SocketAddr, Phone)>,
}

impl Bench {
    fn new(calls: u16, kind: Kind) -> Self {
        let mut bench = Self {
            plane: Plane::new(),
            intake: Intake::new(IntakeConfig::default()),
            now: Timestamp::from_millis(1_000_000),
            legs: Vec::new(),
        };
        for call in 0..calls {
            bench.open(call, kind);
        }
        bench
    }

    fn open(&mut self, call: u16, kind: Kind) {
        let local = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 10_000 + 2 * call)));
        let remote = [1, 2].map(|host| SocketAddr::from(([10, 0, 1, host], 10_000 + 2 * call)));
        let command = MediaCommand::Open(plan(call, local, remote, kind));
        self.plane.handle_command(self.now, command, &mut self.intake);
        while let Some(output) = self.plane.poll_output() {
            if let PlaneOutput::Bind(port, at) = output {
                if at.port() % 2 == 0 {
                    let leg = port.leg().index();
                    self.legs.push((port, remote[leg], Phone::new(call, leg as u8, kind)));
                }
                self.plane.handle_bound(self.now, port, &mut self.intake);
            }
        }
    }

    /// Every leg says a packet in each round; extents are durable at once. Packets that crossed, and how long they took.
    fn run(&mut self, rounds: u32) -> (u32, Duration) {
        let (mut packets, mut took) = (0, Duration::ZERO);
        for _ in 0..rounds {
            self.legs.iter_mut().for_each(|(_, _, phone)| phone.speak());
            let begun = Instant::now();
            for (port, from, phone) in &self.legs {
                let bytes = phone.packet();
                let verdict = self
                    .plane
                    .handle_packet(self.now, *port, *from, self.now, bytes, &mut self.intake);
                let is_relayed = matches!(verdict, Verdict::Forward { .. } | Verdict::Change { .. });
                assert!(is_relayed, "{verdict:?}");
                packets += 1;
            }
            self.now = self.now + FRAME;
            self.plane.handle_timeout(self.now);
            self.intake.flush(self.now);
            while let Some(extent) = self.intake.poll_full() {
                self.intake.recycle(extent);
            }
            took += begun.elapsed();
            while let Some(output) = self.plane.poll_output() {
                drop(output);
            }
        }
        (packets, took)
    }
}
