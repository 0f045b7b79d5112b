//! The links of the phones. Datagrams are lost, delayed, reordered and doubled by seed; connections keep the order of what
//! they carry, and break with all that is under way in them.

use std::net::SocketAddr;
use std::time::Duration;

use onrecord::model::Timestamp;
use onrecord::sip::{Flow, Transport};

use super::phone::PROXY;
use super::rng::Rng;
use super::script::Quality;
use super::seat::Seat;

/// Ports of the phones' own connections begin here.
const EPHEMERAL: u16 = 40_000;

/// How a message travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    Datagram,
    /// By the connection of this number.
    Stream(u32),
}

/// A connection that is up.
#[derive(Debug)]
struct Stream {
    seat: Seat,
    number: u32,
    /// The phone's end, as the proxy sees it.
    remote: SocketAddr,
    /// When the newest message arrives, by direction: at the proxy, at the phone.
    newest: [Timestamp; 2],
}

pub struct Network {
    rng: Rng,
    links: [Quality; 3],
    streams: Vec<Stream>,
    numbers: u32,
}

pub fn proxy() -> SocketAddr {
    PROXY.parse().expect("an address")
}

fn flow(transport: Transport, remote: SocketAddr) -> Flow {
    Flow {
        transport,
        local: proxy(),
        remote,
    }
}

impl Network {
    pub fn new(rng: Rng, links: [Quality; 3]) -> Self {
        Self {
            rng,
            links,
            streams: Vec::new(),
            numbers: 0,
        }
    }

    /// The path that a message came by, as the proxy sees it.
    pub fn flow(&self, seat: Seat, way: Way) -> Flow {
        match way {
            Way::Datagram => flow(Transport::Udp, seat.address()),
            Way::Stream(number) => {
                let stream = self.streams.iter().find(|stream| stream.number == number);
                flow(Transport::Tcp, stream.map_or(seat.address(), |stream| stream.remote))
            }
        }
    }

    /// When copies of a phone's datagram reach the proxy: none, one, or two.
    pub fn datagram(&mut self, now: Timestamp, seat: Seat) -> Vec<(Timestamp, Way)> {
        let link = self.links[seat.index()];
        let first = self.delay(link);
        let doubled = self.rng.happens(link.doubled);
        let second = if doubled { self.delay(link) } else { None };
        let delays = first.into_iter().chain(second);
        delays.map(|delay| (now + delay, Way::Datagram)).collect()
    }

    /// A phone writes: on the connection that it was asked by, else on its newest, else on one that it opens.
    pub fn write(&mut self, now: Timestamp, seat: Seat, asked_by: Option<Way>) -> (Timestamp, Way) {
        let asked_by = self
            .streams
            .iter()
            .position(|stream| asked_by == Some(Way::Stream(stream.number)));
        let newest = || self.streams.iter().rposition(|stream| stream.seat == seat);
        let at = asked_by.or_else(newest);
        let at = at.unwrap_or_else(|| {
            let port = EPHEMERAL + (self.numbers % 1_000) as u16;
            self.open(now, seat, SocketAddr::new(seat.host(), port))
        });
        self.travel(now, at, 0)
    }

    /// The proxy writes; a connection that is not there is opened where a phone listens. None: nobody takes it.
    pub fn write_to(&mut self, now: Timestamp, remote: SocketAddr, listens: bool) -> Option<(Timestamp, Way)> {
        let seat = Seat::at(remote.ip())?;
        let known = self.streams.iter().position(|stream| stream.remote == remote);
        let at = match known {
            Some(at) => at,
            None if listens && remote == seat.address() => self.open(now, seat, remote),
            None => return None,
        };
        Some(self.travel(now, at, 1))
    }

    pub fn is_up(&self, way: Way) -> bool {
        match way {
            Way::Datagram => true,
            Way::Stream(number) => self.streams.iter().any(|stream| stream.number == number),
        }
    }

    /// All connections of a phone break; their paths, as the proxy knows them.
    pub fn break_streams(&mut self, seat: Seat) -> Vec<Flow> {
        let broken = self.streams.extract_if(.., |stream| stream.seat == seat);
        broken.map(|stream| flow(Transport::Tcp, stream.remote)).collect()
    }

    fn open(&mut self, now: Timestamp, seat: Seat, remote: SocketAddr) -> usize {
        self.numbers += 1;
        self.streams.push(Stream {
            seat,
            number: self.numbers,
            remote,
            newest: [now; 2],
        });
        self.streams.len() - 1
    }

    /// What is lost below is sent again below: it is late, and everything behind it.
    fn travel(&mut self, now: Timestamp, at: usize, direction: usize) -> (Timestamp, Way) {
        let link = self.links[self.streams[at].seat.index()];
        let mut late = Duration::ZERO;
        let delay = loop {
            match self.delay(link) {
                Some(delay) => break delay,
                None => late += Duration::from_millis(200),
            }
        };
        let stream = &mut self.streams[at];
        let arrives = stream.newest[direction].max(now + delay + late);
        stream.newest[direction] = arrives;
        (arrives, Way::Stream(stream.number))
    }

    fn delay(&mut self, quality: Quality) -> Option<Duration> {
        if self.rng.happens(quality.lost) {
            return None;
        }
        let late = if self.rng.happens(quality.reordered) {
            quality.jitter_ms
        } else {
            0
        };
        Some(Duration::from_millis(quality.delay_ms) + self.rng.millis(0..=late))
    }
}
