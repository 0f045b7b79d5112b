//! Calls through a media thread: its sockets, its queues, and a recorder that gives every extent back at once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use onrecord::live::alarm::Alarm;
use onrecord::live::clock::Clock;
use onrecord::live::media_thread::{MediaThread, Sharing, Wakes};
use onrecord::model::{MediaCommand, MediaEvent};
use onrecord::recorder::{Intake, IntakeConfig};

use super::Figures;
use super::calls::{Kind, PACKET_BYTES, Phone, plan};
use super::counting;

/// So few that a round of packets has room in a socket of the default size.
pub const CALLS: u16 = 100;
const FIRST_PORT: u16 = 21_000;
const ROUNDS: u32 = 300;
const WARM_ROUNDS: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// A socket for each port.
    Own,
    /// One for all.
    Shared,
}

/// An error where this process may not share sockets.
pub fn measure(way: Way, kind: Kind) -> io::Result<Figures> {
    let ip = Ipv4Addr::new(127, 46, 0, 1);
    let sharing = match way {
        Way::Own => None,
        Way::Shared => Some(Sharing {
            at: Some(ip),
            ports: FIRST_PORT..=FIRST_PORT + 4 * CALLS,
        }),
    };
    let mut bench = Bench::new(ip, sharing, kind)?;
    bench.run(WARM_ROUNDS)?;
    let allocations = counting::allocations();
    let begun = Instant::now();
    let packets = bench.run(ROUNDS)?;
    let took = begun.elapsed();
    let allocations = counting::allocations() - allocations;
    drop(bench.media.link);
    bench.media.thread.join().map_err(|_| io::ErrorKind::Other)??;
    Ok(Figures {
        packets,
        took,
        allocations,
    })
}

struct Bench {
    media: MediaThread,
    /// A's and B's socket, of all calls.
    sockets: [UdpSocket; 2],
    /// Which socket speaks, to which port of ours, and what.
    legs: Vec<(usize, SocketAddr, Phone)>,
}

impl Bench {
    fn new(ip: Ipv4Addr, sharing: Option<Sharing>, kind: Kind) -> io::Result<Self> {
        let wakes = Wakes {
            signalling: Box::new(|| ()),
            recorder: Box::new(|| ()),
        };
        let (clock, intake) = (Clock::start(), Intake::new(IntakeConfig::default()));
        let media = MediaThread::spawn("media-0", clock, sharing, intake, Alarm::default(), wakes)?;
        let sockets = [phone(2)?, phone(3)?];
        let mut bench = Self {
            media,
            sockets,
            legs: Vec::new(),
        };
        for call in 0..CALLS {
            bench.open(ip, call, kind)?;
        }
        Ok(bench)
    }

    fn open(&mut self, ip: Ipv4Addr, call: u16, kind: Kind) -> io::Result<()> {
        let local = [0, 2].map(|offset| SocketAddr::from((ip, FIRST_PORT + 4 * call + offset)));
        let remote = [self.sockets[0].local_addr()?, self.sockets[1].local_addr()?];
        let command = MediaCommand::Open(plan(call, local, remote, kind));
        assert!(self.media.link.send(command).is_ok(), "room for {CALLS} commands");
        let begun = Instant::now();
        loop {
            match self.media.link.poll_event() {
                Some(MediaEvent::Opened { .. }) => break,
                Some(MediaEvent::OpenFailed { .. }) => return Err(io::ErrorKind::AddrInUse.into()),
                _ if begun.elapsed() > PATIENCE => return Err(io::ErrorKind::TimedOut.into()),
                _ => std::thread::yield_now(),
            }
        }
        for leg in [0, 1] {
            self.legs.push((leg, local[leg], Phone::new(call, leg as u8, kind)));
        }
        Ok(())
    }

    /// Every leg says a packet in each round, and each is heard at the other end. Packets that crossed.
    fn run(&mut self, rounds: u32) -> io::Result<u32> {
        let (mut packets, mut buffer) = (0, [0; 2 * PACKET_BYTES]);
        for _ in 0..rounds {
            for (socket, to, phone) in &mut self.legs {
                phone.speak();
                self.sockets[*socket].send_to(phone.packet(), *to)?;
            }
            for socket in &self.sockets {
                for _ in 0..CALLS {
                    socket.recv(&mut buffer)?;
                    packets += 1;
                }
            }
            while let Some(event) = self.media.link.poll_event() {
                assert!(!matches!(event, MediaEvent::Refused { .. }), "{event:?}");
            }
            while let Ok(extent) = self.media.extents.full.pop() {
                assert!(self.media.extents.durable.push(extent).is_ok(), "room for as many");
            }
        }
        Ok(packets)
    }
}

fn phone(host: u8) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 46, 0, host), 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}
