//! Two phones on UDP sockets of loopback: carries what they say, at its real pace, and writes down what passes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use bytes::Bytes;

use super::phone::{Phone, Place};
use crate::engine::{Step, StepKind};
use crate::live::clock::Clock;
use crate::model::{Direction, Leg, SessionId, Ssrc, Timestamp, earliest};
use crate::rtp::packet::RtpPacket;
use crate::rtp::{RtpHeader, WireKind, classify};
use crate::sip::{Message, Uri};

/// G.711: 160 samples, a byte each, in 20 ms.
pub(super) const PACKET_BYTES: usize = 160;
pub(super) const PACKET_EVERY: Duration = Duration::from_millis(20);
const PCMU: u8 = 0;

/// What Alice says, and what Bob says to it; as long as each other, silent while the other speaks.
pub(super) const SPEECH: [&[u8]; 2] = [include_bytes!("alice.ulaw"), include_bytes!("bob.ulaw")];

/// How long Bob's phone rings.
const RINGING: Duration = Duration::from_millis(300);

/// Datagrams that wait to be looked at. Full: they wait in the kernel.
const ARRIVALS_MAX: usize = 1024;

/// How soon a thread that receives notices that nobody listens any more.
const RECEIVE_MAX: Duration = Duration::from_millis(100);

const DATAGRAM_BYTES_MAX: usize = 65_535;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Channel {
    Sip,
    Media,
}

struct Arrival {
    leg: Leg,
    channel: Channel,
    at: Timestamp,
    bytes: Vec<u8>,
}

struct Sockets {
    sip: UdpSocket,
    media: UdpSocket,
}

/// Both phones talk: the next packet of each is due at the same time.
struct Talk {
    due: Timestamp,
    packets: usize,
    packets_max: usize,
}

impl Talk {
    fn due(&self) -> Option<Timestamp> {
        (self.packets < self.packets_max).then_some(self.due)
    }
}

/// What passed in one call, as the phones saw it.
#[derive(Default)]
pub(super) struct Trace {
    /// Directions are the proxy's, as in every ladder.
    pub steps: Vec<Step>,
    /// When the phones sent their packets, by number; both at the same time.
    sent: Vec<Timestamp>,
    /// The numbers of the packets that each phone heard.
    heard: [Vec<usize>; 2],
}

impl Trace {
    /// When the proxy first said so to a leg, by the beginning of the start line.
    pub(super) fn told(&self, to: Leg, start: &str) -> Option<Timestamp> {
        let is_it = |step: &&Step| {
            matches!(&step.what, StepKind::Sip { leg, direction: Direction::Sent, start_line }
                if *leg == to && start_line.starts_with(start))
        };
        self.steps.iter().find(is_it).map(|step| step.at)
    }

    /// Packets of both.
    pub(super) const fn sent(&self) -> usize {
        2 * self.sent.len()
    }

    /// Packets of both.
    pub(super) const fn heard(&self) -> usize {
        self.heard[0].len() + self.heard[1].len()
    }

    /// How many packets of those that the phones sent after `since` were heard, and how many they sent.
    pub(super) fn heard_of_sent_after(&self, since: Timestamp) -> (usize, usize) {
        let first = self.sent.partition_point(|at| *at <= since);
        let heard = self.heard.iter().flatten().filter(|number| **number >= first).count();
        (heard, 2 * (self.sent.len() - first))
    }

    /// When the newest packet of those that were heard was sent.
    pub(super) fn newest_heard_sent(&self) -> Option<Timestamp> {
        let newest = self.heard.iter().flatten().max()?;
        self.sent.get(*newest).copied()
    }
}

pub(super) struct Wire {
    clock: Clock,
    phones: [Phone; 2],
    sockets: [Sockets; 2],
    arrivals: Receiver<Arrival>,
    is_over: Arc<AtomicBool>,
    pick_up: Option<Timestamp>,
    talk: Option<Talk>,
    trace: Trace,
}

/// Something did not happen in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Late;

impl Wire {
    /// Binds a SIP and a media socket for each phone, wherever there is room.
    pub(super) fn open(clock: Clock, proxy: SocketAddr) -> io::Result<Self> {
        let (inbox, arrivals) = sync_channel(ARRIVALS_MAX);
        let is_over = Arc::new(AtomicBool::new(false));
        let sockets = [Sockets::bind()?, Sockets::bind()?];
        for (leg, sockets) in Leg::BOTH.into_iter().zip(&sockets) {
            for (channel, socket) in [(Channel::Sip, &sockets.sip), (Channel::Media, &sockets.media)] {
                let socket = socket.try_clone()?;
                let (inbox, is_over) = (inbox.clone(), Arc::clone(&is_over));
                let receive = move || receive(clock, leg, channel, &socket, &inbox, &is_over);
                Builder::new().name(format!("phone-{leg}")).spawn(receive)?;
            }
        }
        let phones = [
            Phone::new(
                sockets[0].place("sip:alice@example.com", proxy)?,
                clock.now().as_nanos(),
            ),
            Phone::new(sockets[1].place("sip:bob@example.com", proxy)?, !clock.now().as_nanos()),
        ];
        Ok(Self {
            clock,
            phones,
            sockets,
            arrivals,
            is_over,
            pick_up: None,
            talk: None,
            trace: Trace::default(),
        })
    }

    pub(super) const fn phone(&self, leg: Leg) -> &Phone {
        &self.phones[leg.index()]
    }

    pub(super) const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Alice calls Bob; the trace begins anew.
    pub(super) fn call(&mut self) {
        self.trace = Trace::default();
        self.talk = None;
        let bob = self.phone(Leg::B).place().identity.clone();
        let invite = self.phones[0].call(&bob);
        self.send(Leg::A, &invite.into());
    }

    pub(super) fn hang_up(&mut self) {
        if let Some(bye) = self.phones[0].hang_up() {
            self.send(Leg::A, &bye.into());
        }
    }

    /// Alice's side asks the proxy whether it takes calls.
    pub(super) fn ask(&mut self) {
        let options = self.phones[0].ask();
        self.send(Leg::A, &options.into());
    }

    /// Both speak from now on, from the beginning, so many packets each: once in a call.
    pub(super) fn talk(&mut self, packets_max: usize) {
        self.talk = Some(Talk {
            due: self.clock.now(),
            packets: 0,
            packets_max,
        });
    }

    pub(super) fn fall_silent(&mut self) {
        self.talk = None;
    }

    /// Packets that each phone has sent since it began to talk.
    pub(super) fn spoken(&self) -> usize {
        self.talk.as_ref().map_or(0, |talk| talk.packets)
    }

    /// Lets things happen until `is_so`, for so long at most.
    pub(super) fn run_until(&mut self, patience: Duration, is_so: impl Fn(&Self) -> bool) -> Result<(), Late> {
        let latest = self.clock.now() + patience;
        loop {
            if is_so(self) {
                return Ok(());
            }
            let now = self.clock.now();
            if now >= latest {
                return Err(Late);
            }
            self.on_time(now);
            let due = earliest(self.pick_up, self.talk.as_ref().and_then(Talk::due));
            let wait = self.clock.until(earliest(due, Some(latest)).unwrap_or(latest));
            match self.arrivals.recv_timeout(wait) {
                Ok(arrival) => self.on_arrival(&arrival),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Late),
            }
        }
    }

    fn on_time(&mut self, now: Timestamp) {
        if self.pick_up.is_some_and(|due| due <= now) {
            self.pick_up = None;
            if let Some(ok) = self.phones[1].answer() {
                self.send(Leg::B, &ok.into());
            }
        }
        while let Some(talk) = &mut self.talk
            && talk.due().is_some_and(|due| due <= now)
        {
            let packet = talk.packets;
            talk.packets += 1;
            talk.due = talk.due + PACKET_EVERY;
            self.trace.sent.push(self.clock.now());
            for leg in Leg::BOTH {
                self.speak(leg, packet);
            }
        }
    }

    fn speak(&mut self, leg: Leg, packet: usize) {
        let Some(to) = self.phone(leg).remote() else { return };
        let speech = SPEECH[leg.index()];
        let payload = speech.chunks_exact(PACKET_BYTES).cycle().nth(packet);
        let payload = Bytes::from_static(payload.unwrap_or_default());
        let (sequence, timestamp) = (packet as u16, (packet * PACKET_BYTES) as u32);
        let ssrc = Ssrc(0x0C0F_FEE0 + leg.index() as u32);
        let packet = RtpPacket::new(ssrc, PCMU, sequence, timestamp, packet == 0, payload);
        let Ok(bytes) = packet.encode() else { return };
        if let Err(error) = self.sockets[leg.index()].media.send_to(&bytes, to) {
            tracing::debug!(%error, %leg, "phone");
        }
    }

    fn send(&mut self, leg: Leg, message: &Message) {
        let bytes = message.encode();
        self.note(leg, Direction::Received, self.clock.now(), &bytes);
        let proxy = self.phone(leg).place().proxy;
        if let Err(error) = self.sockets[leg.index()].sip.send_to(&bytes, proxy) {
            tracing::debug!(%error, %leg, "phone");
        }
    }

    fn on_arrival(&mut self, arrival: &Arrival) {
        let leg = arrival.leg;
        if arrival.channel == Channel::Media {
            if let (WireKind::Rtp, Ok(header)) = (classify(&arrival.bytes), RtpHeader::parse(&arrival.bytes)) {
                self.trace.heard[leg.index()].push(usize::from(header.sequence));
            }
            return;
        }
        let Ok(message) = Message::parse(&arrival.bytes) else {
            tracing::debug!(%leg, "no SIP message");
            return;
        };
        self.note(leg, Direction::Sent, arrival.at, &arrival.bytes);
        let was_ringing = self.phone(Leg::B).is_ringing();
        for answer in self.phones[leg.index()].handle_message(message) {
            self.send(leg, &answer);
        }
        if self.phone(Leg::B).is_ringing() && !was_ringing {
            self.pick_up = Some(arrival.at + RINGING);
        }
    }

    fn note(&mut self, leg: Leg, direction: Direction, at: Timestamp, message: &[u8]) {
        let end = memchr::memchr(b'\r', message).unwrap_or(message.len());
        let start_line = String::from_utf8_lossy(message.get(..end).unwrap_or_default()).into_owned();
        self.trace.steps.push(Step {
            at,
            session: SessionId::from_u128(0),
            what: StepKind::Sip {
                leg,
                direction,
                start_line,
            },
        });
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Sockets {
    fn bind() -> io::Result<Self> {
        let bind = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_read_timeout(Some(RECEIVE_MAX))?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Self {
            sip: bind()?,
            media: bind()?,
        })
    }

    fn place(&self, identity: &str, proxy: SocketAddr) -> io::Result<Place> {
        Ok(Place {
            identity: Uri::parse(identity).map_err(io::Error::other)?,
            sip: self.sip.local_addr()?,
            media: self.media.local_addr()?,
            proxy,
        })
    }
}

fn receive(
    clock: Clock,
    leg: Leg,
    channel: Channel,
    socket: &UdpSocket,
    inbox: &SyncSender<Arrival>,
    is_over: &AtomicBool,
) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while !is_over.load(Ordering::Relaxed) {
        let Ok((length, _)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let arrival = Arrival {
            leg,
            channel,
            at: clock.now(),
            bytes: buffer.get(..length).unwrap_or_default().to_vec(),
        };
        if inbox.send(arrival).is_err() {
            return;
        }
    }
}
