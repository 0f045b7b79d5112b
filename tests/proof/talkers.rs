//! Both ends' media of many calls, for `tests/proof/capacity` and `stalled-disk`: 20 ms of G.711 each way, on one thread.
//!
//! `talkers --a IP --b IP [--waits FILE]`
//!
//! Binds a port at each address and prints `A_ADDRESS B_ADDRESS`. Reads from stdin a line a call, `TO_FROM_A TO_FROM_B`: where the
//! relay hears A, and where it hears B; then `talk WARM SECONDS` (`cut` forgets the calls). Prints a line of JSON: what was sent and
//! heard in those seconds, and what a packet waited from just before the kernel was given its batch to the kernel's time of arrival
//! at the far end. `FILE` gets both of each packet: u64 and u32, nanoseconds, little-endian.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own, which plays phones by the clock"
)]
#![allow(
    unsafe_code,
    reason = "many datagrams in a call to the kernel, and their times of arrival"
)]

use std::io::{BufRead, BufWriter, Error, ErrorKind, Write};
use std::mem::{size_of, zeroed};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

use socket2::SockRef;

const PACKET: usize = 172;
const INTERVAL_US: u64 = 20_000;
/// What is due within it is sent together.
const TICK_US: u64 = 250;
const TICKS: usize = (INTERVAL_US / TICK_US) as usize;
const BATCH: usize = 32;
const QUEUE_BYTES: usize = 64 << 20;
/// What is still under way after the last packet.
const SETTLE: Duration = Duration::from_millis(500);
const CONTROL: usize = 64;

/// What one end of a call says.
#[derive(Debug)]
struct Voice {
    from_b: bool,
    to: SocketAddrV4,
    ssrc: u32,
    sent: u32,
}

#[derive(Debug, Default)]
struct Heard {
    since: u64,
    sent: u64,
    /// When sent, and how long after that it arrived, in nanoseconds.
    waits: Vec<(u64, u32)>,
    latest: Duration,
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| words.iter().skip_while(|word| *word != name).nth(1);
    let wrong = || Error::new(ErrorKind::InvalidInput, "see the head of tests/proof/talkers.rs");
    let sockets = [
        bind(value("--a").ok_or_else(wrong)?)?,
        bind(value("--b").ok_or_else(wrong)?)?,
    ];
    println!("{} {}", sockets[0].local_addr()?, sockets[1].local_addr()?);
    let mut voices = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["cut"] => voices.clear(),
            ["talk", warm, seconds] => {
                let spans = [warm, seconds].map(|text| text.parse().map(Duration::from_secs_f64));
                let [Ok(warm), Ok(span)] = spans else {
                    return Err(wrong());
                };
                let mut heard = talk(&sockets, &mut voices, warm, span)?;
                if let Some(path) = value("--waits") {
                    keep(path, &heard.waits)?;
                }
                println!("{}", told(&mut heard));
            }
            [from_a, from_b] => {
                for (from_b, to) in [(false, from_a), (true, from_b)] {
                    let to = to.parse().map_err(|_| wrong())?;
                    let ssrc = voices.len() as u32 + 1;
                    voices.push(Voice {
                        from_b,
                        to,
                        ssrc,
                        sent: 0,
                    });
                }
            }
            _ => return Err(wrong()),
        }
    }
    Ok(())
}

fn bind(ip: &str) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((ip, 0))?;
    socket.set_nonblocking(true)?;
    let on: libc::c_int = 1;
    for (option, value) in [
        (libc::SO_TIMESTAMPNS, on),
        (libc::SO_RCVBUFFORCE, QUEUE_BYTES as libc::c_int),
    ] {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: an open socket, and a pointer to an integer of the size that is told.
        let code = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size,
            )
        };
        if code != 0 && option == libc::SO_RCVBUFFORCE {
            // Not root: as much as there may be.
            SockRef::from(&socket).set_recv_buffer_size(QUEUE_BYTES)?;
        }
    }
    Ok(socket)
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Everybody talks; heard counts from the end of `warm`.
fn talk(sockets: &[UdpSocket; 2], voices: &mut [Voice], warm: Duration, span: Duration) -> std::io::Result<Heard> {
    let mut due: Vec<[Vec<usize>; 2]> = vec![[Vec::new(), Vec::new()]; TICKS];
    for (number, voice) in voices.iter().enumerate() {
        // Neighbours are not at the same time, and the two ends of a call neither.
        due[number * 7 % TICKS][usize::from(voice.from_b)].push(number);
    }
    let mut heard = Heard {
        since: u64::MAX,
        ..Heard::default()
    };
    let rooms = (voices.len() as f64 * span.as_secs_f64() * 50.0) as usize;
    heard.waits.reserve(rooms + voices.len());
    let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
    let begun = Instant::now();
    for tick in 0.. {
        let at = begun + Duration::from_micros(tick * TICK_US);
        if at >= begun + warm + span {
            break;
        }
        if heard.since == u64::MAX && at >= begun + warm {
            heard.since = now_ns();
        }
        let is_counted = heard.since != u64::MAX;
        if let Some(left) = at.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        } else if is_counted {
            heard.latest = heard.latest.max(Instant::now() - at);
        }
        for (socket, numbers) in sockets.iter().zip(&due[tick as usize % TICKS]) {
            for batch in numbers.chunks(BATCH) {
                let sent = sender.send(socket, voices, batch)?;
                heard.sent += if is_counted { sent } else { 0 };
            }
        }
        for socket in sockets {
            receiver.receive(socket, &mut heard);
        }
    }
    let end = Instant::now() + SETTLE;
    while Instant::now() < end {
        for socket in sockets {
            receiver.receive(socket, &mut heard);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(heard)
}

struct Sender {
    packets: [[u8; PACKET]; BATCH],
}

impl Sender {
    fn new() -> Self {
        let mut packet = [0; PACKET];
        for (place, byte) in packet.iter_mut().enumerate().skip(20) {
            *byte = (place as u8).wrapping_mul(37);
        }
        Self {
            packets: [packet; BATCH],
        }
    }

    /// How many the kernel took.
    fn send(&mut self, socket: &UdpSocket, voices: &mut [Voice], batch: &[usize]) -> std::io::Result<u64> {
        // SAFETY: all three are structures of the C library for which zero is a value.
        let (mut names, mut pieces, mut messages): (
            [libc::sockaddr_in; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let at = now_ns();
        for (place, number) in batch.iter().enumerate() {
            let voice = &mut voices[*number];
            let packet = &mut self.packets[place];
            packet[..2].copy_from_slice(&[0x80, 0]);
            packet[2..4].copy_from_slice(&(voice.sent as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&voice.sent.wrapping_mul(160).to_be_bytes());
            packet[8..12].copy_from_slice(&voice.ssrc.to_be_bytes());
            packet[12..20].copy_from_slice(&at.to_be_bytes());
            voice.sent = voice.sent.wrapping_add(1);
            names[place].sin_family = libc::AF_INET as libc::sa_family_t;
            names[place].sin_port = voice.to.port().to_be();
            names[place].sin_addr.s_addr = u32::from_ne_bytes(voice.to.ip().octets());
            pieces[place].iov_base = packet.as_mut_ptr().cast();
            pieces[place].iov_len = PACKET;
            let head = &mut messages[place].msg_hdr;
            head.msg_name = (&raw mut names[place]).cast();
            head.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            head.msg_iov = &raw mut pieces[place];
            head.msg_iovlen = 1;
        }
        // SAFETY: the first `batch.len()` messages point at names and pieces that outlive the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                batch.len() as libc::c_uint,
                0,
            )
        };
        match u64::try_from(sent) {
            Ok(sent) => Ok(sent),
            Err(_) => match Error::last_os_error() {
                error if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => Ok(0),
                error => Err(error),
            },
        }
    }
}

struct Receiver {
    packets: [[u8; 256]; BATCH],
    /// Aligned as a `cmsghdr` wants it.
    controls: [[u64; CONTROL / 8]; BATCH],
}

impl Receiver {
    const fn new() -> Self {
        Self {
            packets: [[0; 256]; BATCH],
            controls: [[0; CONTROL / 8]; BATCH],
        }
    }

    fn receive(&mut self, socket: &UdpSocket, heard: &mut Heard) {
        loop {
            // SAFETY: structures of the C library for which zero is a value.
            let (mut pieces, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
                unsafe { (zeroed(), zeroed()) };
            for place in 0..BATCH {
                pieces[place].iov_base = self.packets[place].as_mut_ptr().cast();
                pieces[place].iov_len = self.packets[place].len();
                let head = &mut messages[place].msg_hdr;
                head.msg_iov = &raw mut pieces[place];
                head.msg_iovlen = 1;
                head.msg_control = self.controls[place].as_mut_ptr().cast();
                head.msg_controllen = CONTROL as _;
            }
            let (fd, room) = (socket.as_raw_fd(), BATCH as libc::c_uint);
            // SAFETY: every message points at room of ours that outlives the call.
            let count = unsafe {
                libc::recvmmsg(
                    fd,
                    messages.as_mut_ptr(),
                    room,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            };
            let Ok(count) = usize::try_from(count) else { return };
            for (message, packet) in messages.iter().zip(&self.packets).take(count) {
                let (Some(at), Some(sent)) = (arrival(&message.msg_hdr), packet[12..].first_chunk()) else {
                    continue;
                };
                let sent = u64::from_be_bytes(*sent);
                if message.msg_len as usize == PACKET && sent >= heard.since {
                    let wait = u32::try_from(at.saturating_sub(sent)).unwrap_or(u32::MAX);
                    heard.waits.push((sent, wait));
                }
            }
            if count < BATCH {
                return;
            }
        }
    }
}

/// The kernel's (`SCM_TIMESTAMPNS`), in nanoseconds since 1970.
fn arrival(head: &libc::msghdr) -> Option<u64> {
    // SAFETY: the header was filled in by the kernel, and its room for control messages is still there and aligned.
    let at = unsafe {
        let control = libc::CMSG_FIRSTHDR(head);
        if control.is_null() || (*control).cmsg_type != libc::SCM_TIMESTAMPNS {
            return None;
        }
        std::ptr::read_unaligned(libc::CMSG_DATA(control).cast::<libc::timespec>())
    };
    Some(at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64)
}

fn keep(path: &str, waits: &[(u64, u32)]) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for (sent, wait) in waits {
        file.write_all(&sent.to_le_bytes())?;
        file.write_all(&wait.to_le_bytes())?;
    }
    file.flush()
}

fn told(heard: &mut Heard) -> String {
    heard.waits.sort_unstable_by_key(|(_, wait)| *wait);
    let rank = |share: f64| {
        let place = (heard.waits.len() as f64 * share).ceil() as usize;
        let (_, wait) = heard.waits.get(place.saturating_sub(1)).copied().unwrap_or_default();
        f64::from(wait) / 1e3
    };
    format!(
        r#"{{"sent":{},"heard":{},"wait_us":{{"p50":{:.0},"p99":{:.0},"p999":{:.0},"max":{:.0}}},"late_ms":{:.1}}}"#,
        heard.sent,
        heard.waits.len(),
        rank(0.5),
        rank(0.99),
        rank(0.999),
        rank(1.0),
        heard.latest.as_secs_f64() * 1e3
    )
}
