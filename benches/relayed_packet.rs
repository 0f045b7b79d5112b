//! What a recorded packet costs the plane: latch, fork (one copy into the call's extent) and meter. No socket, no thread, no disk.
//!
//!     cargo bench --bench relayed_packet [-- CALLS]
//!
//! Prints nanoseconds and allocations a packet; ratios of two builds in one run are what counts. Ends with 1 if a packet allocates.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod counting;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use onrecord::media::{Plane, PlaneOutput, Port, Verdict};
use onrecord::model::{
    LegPlan, LinePlan, MediaCommand, MediaKind, MediaPlan, Origin, Recorded, Remote, SessionId, Timestamp,
};
use onrecord::recorder::{Intake, IntakeConfig};

/// 20 ms of G.711.
const PACKET_BYTES: usize = 172;
const WARM_ROUNDS: u32 = 50;
const ROUNDS: u32 = 500;
const FRAME: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let calls = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(500);
    let mut bench = Bench::new(calls);
    bench.run(WARM_ROUNDS);
    let held = counting::held();
    let allocations = counting::allocations();
    let begun = Instant::now();
    let packets = bench.run(ROUNDS);
    let took = begun.elapsed();
    let allocations = counting::allocations() - allocations;
    println!(
        "{calls} calls, {packets} packets: {:.0} ns and {:.3} allocations a packet, {} bytes a call",
        took.as_secs_f64() * 1e9 / f64::from(packets),
        allocations as f64 / f64::from(packets),
        held / i64::from(calls.max(1)),
    );
    if allocations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Bench {
    plane: Plane,
    intake: Intake,
    now: Timestamp,
    /// Our ports, and who speaks there.
    legs: Vec<(Port, SocketAddr)>,
    sequence: u16,
}

impl Bench {
    fn new(calls: u16) -> Self {
        let mut bench = Self {
            plane: Plane::new(),
            intake: Intake::new(IntakeConfig::default()),
            now: Timestamp::from_millis(1_000_000),
            legs: Vec::new(),
            sequence: 0,
        };
        for call in 0..calls {
            bench.open(call);
        }
        bench
    }

    fn open(&mut self, call: u16) {
        let leg = |host: u8, far: u8| LegPlan {
            local: SocketAddr::from(([10, 0, 0, host], 10_000 + 2 * call)),
            remote: Some(Remote {
                rtp: SocketAddr::from(([10, 0, 1, far], 10_000 + 2 * call)),
                rtcp: SocketAddr::from(([10, 0, 1, far], 10_001 + 2 * call)),
            }),
            deaf: false,
            mute: false,
            holds: false,
            origin: Origin::Signalled,
            formats: Vec::new(),
        };
        let line = LinePlan {
            index: 0,
            kind: MediaKind::Audio,
            a: leg(1, 1),
            b: leg(2, 2),
        };
        let plan = MediaPlan {
            session: SessionId::from_u128(u128::from(call)),
            recorded: Recorded::Strict,
            answered: true,
            lines: vec![line],
            keys: Vec::new(),
        };
        self.plane
            .handle_command(self.now, MediaCommand::Open(Box::new(plan)), &mut self.intake);
        while let Some(output) = self.plane.poll_output() {
            if let PlaneOutput::Bind(port, at) = output {
                let remote = SocketAddr::from(([10, 0, 1, port.leg().index() as u8 + 1], at.port()));
                if at.port() % 2 == 0 {
                    self.legs.push((port, remote));
                }
                self.plane.handle_bound(self.now, port, &mut self.intake);
            }
        }
    }

    /// Every leg says a packet in each round; extents are durable at once. Packets that crossed.
    fn run(&mut self, rounds: u32) -> u32 {
        let mut packets = 0;
        let mut bytes = [0xd5_u8; PACKET_BYTES];
        bytes[..2].copy_from_slice(&[0x80, 0]);
        for _ in 0..rounds {
            self.sequence = self.sequence.wrapping_add(1);
            bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            for (port, from) in &self.legs {
                let verdict = self
                    .plane
                    .handle_packet(self.now, *port, *from, self.now, &bytes, &mut self.intake);
                assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
                packets += 1;
            }
            self.now = self.now + FRAME;
            self.intake.flush(self.now);
            while let Some(extent) = self.intake.poll_full() {
                self.intake.recycle(extent);
            }
        }
        packets
    }
}
