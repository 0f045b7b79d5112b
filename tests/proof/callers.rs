//! Callers and callees for `tests/proof/overload`, that cost little: both ends of calls through a proxy, on one thread.
//!
//! `callers --proxy ADDR --sink ADDR --from ADDR,ADDR… --rate CALLS_A_SECOND --seconds N`
//!
//! Each call is an INVITE that is sent again by timer A until something comes back, then ACK, 200 ms of talk and BYE, or the ACK
//! to a refusal. Prints one line of JSON: what was offered, answered, refused and brought to its end, and how late this program
//! was with its INVITEs, which tells whether the rate was really offered.

#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own, which plays phones by the clock"
)]

mod callees;

use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use callees::Callees;

/// RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
const TALK: Duration = Duration::from_millis(200);
/// How long what is under way may take to end once nothing new is offered.
const SETTLE: Duration = Duration::from_secs(4);
const BATCH: usize = 256;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Calling,
    Proceeding,
    Talking,
    Ending,
    Refused,
    Ended,
    Failed,
}

#[derive(Debug)]
struct Call {
    state: State,
    begun: Instant,
    /// To and Contact of the 2xx, once it is here.
    to: Vec<u8>,
    target: Vec<u8>,
}

#[derive(Debug, Default)]
struct Tally {
    offered: u64,
    again: u64,
    ended: u64,
    refused: u64,
    other: u64,
    /// By second of the run.
    answered: Vec<u64>,
    set_up: Vec<Duration>,
    turned_away: Vec<Duration>,
    latest: Duration,
}

#[derive(Debug)]
struct Arguments {
    proxy: SocketAddr,
    sink: SocketAddr,
    from: Vec<SocketAddr>,
    rate: f64,
    seconds: f64,
}

#[derive(Debug)]
struct Callers {
    proxy: SocketAddr,
    /// Of this run: its Call-IDs, tags and branches differ from those of the run before.
    run: u32,
    sources: Vec<UdpSocket>,
    names: Vec<String>,
    calls: Vec<Call>,
    /// INVITEs by when they are sent again; a queue for each step of timer A, so that each is in order.
    resends: Vec<VecDeque<(Instant, usize)>>,
    byes: VecDeque<(Instant, usize)>,
    bye_resends: VecDeque<(Instant, usize)>,
    begun: Instant,
    tally: Tally,
}

fn main() -> std::io::Result<()> {
    let arguments =
        arguments().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "see the head of tests/proof/callers.rs"))?;
    let mut callees = Callees::new(arguments.sink)?;
    let mut callers = Callers::new(&arguments)?;
    let gap = Duration::from_secs_f64(1.0 / arguments.rate);
    let over = callers.begun + Duration::from_secs_f64(arguments.seconds);
    let mut due = callers.begun;
    let mut buffer = vec![0; 65_535];
    loop {
        let now = Instant::now();
        if now >= over + SETTLE || now >= over && callers.is_at_rest() {
            break;
        }
        let mut busy = 0;
        while due <= now && due < over && busy < BATCH {
            callers.invite(now);
            callers.tally.latest = callers.tally.latest.max(now - due);
            due += gap;
            busy += 1;
        }
        callers.handle_timeouts(now);
        callees.handle_timeouts(now);
        busy += callers.receive(&mut buffer) + callees.receive(&mut buffer);
        if busy == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    println!("{}", callers.told(arguments.seconds));
    Ok(())
}

fn arguments() -> Option<Arguments> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        words
            .chunks(2)
            .find(|pair| pair[0] == name)
            .and_then(|pair| pair.get(1))
    };
    Some(Arguments {
        proxy: value("--proxy")?.parse().ok()?,
        sink: value("--sink")?.parse().ok()?,
        from: value("--from")?
            .split(',')
            .map(|from| from.parse().ok())
            .collect::<Option<_>>()?,
        rate: value("--rate")?.parse().ok()?,
        seconds: value("--seconds")?.parse().ok()?,
    })
}

fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Callers {
    fn new(arguments: &Arguments) -> std::io::Result<Self> {
        Ok(Self {
            proxy: arguments.proxy,
            run: std::process::id(),
            sources: arguments
                .from
                .iter()
                .map(|from| bind(*from))
                .collect::<Result<_, _>>()?,
            names: arguments.from.iter().map(SocketAddr::to_string).collect(),
            calls: Vec::with_capacity((arguments.rate * arguments.seconds) as usize + 1),
            resends: vec![VecDeque::new(); 6],
            byes: VecDeque::new(),
            bye_resends: VecDeque::new(),
            begun: Instant::now(),
            tally: Tally::default(),
        })
    }

    fn is_at_rest(&self) -> bool {
        self.byes.is_empty() && self.bye_resends.is_empty() && self.resends.iter().all(VecDeque::is_empty)
    }

    fn invite(&mut self, now: Instant) {
        let number = self.calls.len();
        self.calls.push(Call {
            state: State::Calling,
            begun: now,
            to: Vec::new(),
            target: Vec::new(),
        });
        self.tally.offered += 1;
        self.send_invite(number);
        self.resends[0].push_back((now + T1, number));
    }

    fn send_invite(&self, number: usize) {
        let name = &self.names[number % self.names.len()];
        let ip = name.split(':').next().unwrap_or_default();
        let sdp =
            format!("v=0\r\no=phone 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n");
        let invite = format!(
            "INVITE sip:bob@{proxy} SIP/2.0\r\nVia: SIP/2.0/UDP {name};branch=z9hG4bK-{run}i{number}\r\nFrom: <sip:load@{name}>;tag={run}L{number}\r\n\
             To: <sip:bob@{proxy}>\r\nCall-ID: {number}-{run}\r\nCSeq: 1 INVITE\r\nContact: <sip:load@{name}>\r\nMax-Forwards: 70\r\n\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}",
            proxy = self.proxy,
            run = self.run,
            length = sdp.len()
        );
        self.send(number, invite.as_bytes());
    }

    /// In a dialog, or the ACK to a refusal, which is of the INVITE's own transaction.
    fn send_request(&self, number: usize, method: &str, cseq: u32, branch: &str, to: &[u8], target: &[u8]) {
        let (run, name) = (self.run, &self.names[number % self.names.len()]);
        let mut request = Vec::with_capacity(512);
        request.extend_from_slice(format!("{method} ").as_bytes());
        request.extend_from_slice(target);
        request.extend_from_slice(
            format!(
                " SIP/2.0\r\nVia: SIP/2.0/UDP {name};branch=z9hG4bK-{run}{branch}{number}\r\nFrom: <sip:load@{name}>;tag={run}L{number}\r\nTo: "
            )
            .as_bytes(),
        );
        request.extend_from_slice(to);
        request.extend_from_slice(
            format!(
                "\r\nCall-ID: {number}-{run}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            .as_bytes(),
        );
        self.send(number, &request);
    }

    /// What does not leave is lost, as it would be in a network.
    fn send(&self, number: usize, message: &[u8]) {
        let _ = self.sources[number % self.sources.len()].send_to(message, self.proxy);
    }

    fn bye(&mut self, now: Instant, number: usize) {
        let call = &self.calls[number];
        self.send_request(number, "BYE", 2, "b", &call.to, &call.target);
        self.bye_resends.push_back((now + T1, number));
    }

    fn handle_timeouts(&mut self, now: Instant) {
        for step in 0..self.resends.len() {
            while let Some((_, number)) = self.resends[step].pop_front_if(|(due, _)| *due <= now) {
                if self.calls[number].state != State::Calling {
                    continue;
                }
                self.tally.again += 1;
                self.send_invite(number);
                if let Some(next) = self.resends.get_mut(step + 1) {
                    next.push_back((now + T1 * (2 << step), number));
                }
            }
        }
        while let Some((_, number)) = self.byes.pop_front_if(|(due, _)| *due <= now) {
            self.calls[number].state = State::Ending;
            self.bye(now, number);
        }
        while let Some((_, number)) = self.bye_resends.pop_front_if(|(due, _)| *due <= now) {
            if self.calls[number].state == State::Ending {
                self.tally.again += 1;
                self.bye(now, number);
            }
        }
    }

    /// How many datagrams.
    fn receive(&mut self, buffer: &mut [u8]) -> usize {
        let mut received = 0;
        for source in 0..self.sources.len() {
            for _ in 0..BATCH {
                let Ok((length, _)) = self.sources[source].recv_from(buffer) else {
                    break;
                };
                received += 1;
                self.on_response(Instant::now(), &buffer[..length]);
            }
        }
        received
    }

    fn on_response(&mut self, now: Instant, message: &[u8]) {
        let Some(status) = message.strip_prefix(b"SIP/2.0 ").and_then(number_at) else {
            return;
        };
        let Some(number) = value(message, "Call-ID")
            .and_then(number_at)
            .filter(|number| *number < self.calls.len())
        else {
            return;
        };
        let to = value(message, "To").unwrap_or_default().to_vec();
        if value(message, "CSeq").is_some_and(|cseq| cseq.ends_with(b"BYE")) {
            let call = &mut self.calls[number];
            if status >= 200 && call.state == State::Ending {
                (call.state, self.tally.ended) = (State::Ended, self.tally.ended + u64::from(status == 200));
            }
            return;
        }
        match (status, self.calls[number].state) {
            (..200, State::Calling) => self.calls[number].state = State::Proceeding,
            (200, State::Calling | State::Proceeding) => {
                let contact = value(message, "Contact").unwrap_or_default();
                let target = contact.split(|byte| *byte == b'>').next().unwrap_or_default();
                let call = &mut self.calls[number];
                (call.state, call.to, call.target) = (State::Talking, to, target[1.min(target.len())..].to_vec());
                self.tally.set_up.push(now - call.begun);
                let second = (now - self.begun).as_secs() as usize;
                self.tally.answered.resize(self.tally.answered.len().max(second + 1), 0);
                self.tally.answered[second] += 1;
                self.byes.push_back((now + TALK, number));
                self.acknowledge(number);
            }
            (200, _) => self.acknowledge(number),
            (300.., State::Calling | State::Proceeding | State::Refused | State::Failed) => {
                let uri = format!("sip:bob@{}", self.proxy);
                self.send_request(number, "ACK", 1, "i", &to, uri.as_bytes());
                let call = &mut self.calls[number];
                if matches!(call.state, State::Refused | State::Failed) {
                    return;
                }
                if status == 503 {
                    call.state = State::Refused;
                    self.tally.refused += 1;
                    self.tally.turned_away.push(now - call.begun);
                } else {
                    call.state = State::Failed;
                    self.tally.other += 1;
                }
            }
            _ => {}
        }
    }

    fn acknowledge(&self, number: usize) {
        let call = &self.calls[number];
        self.send_request(number, "ACK", 1, "a", &call.to, &call.target);
    }

    fn told(&mut self, seconds: f64) -> String {
        let unanswered = self.calls.iter().filter(|call| call.state == State::Calling).count();
        let unended = self
            .calls
            .iter()
            .filter(|call| matches!(call.state, State::Talking | State::Ending | State::Proceeding))
            .count();
        let (set_up, turned_away) = (spread(&mut self.tally.set_up), spread(&mut self.tally.turned_away));
        let Tally {
            offered,
            again,
            ended,
            refused,
            other,
            answered,
            latest,
            ..
        } = &self.tally;
        // What was answered after the last INVITE was offered is no rate.
        let within: u64 = answered.iter().take(seconds as usize).sum();
        format!(
            "{{\"offered\": {offered}, \"answered_within\": {within}, \"ended\": {ended}, \"refused\": {refused}, \"failed\": {other}, \
             \"unanswered\": {unanswered}, \"unended\": {unended}, \"sent_again\": {again}, \"answered\": {answered:?}, \
             \"set_up_ms\": {set_up:?}, \"refused_ms\": {turned_away:?}, \"latest_ms\": {:.1}}}",
            latest.as_secs_f64() * 1e3
        )
    }
}

/// Of the first header of that name, as the proxy and this program write them.
fn value<'a>(message: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let lines = message.split(|byte| *byte == b'\n').take_while(|line| line.len() > 1);
    let mut values = lines.filter_map(|line| {
        line.strip_prefix(name.as_bytes())?
            .strip_prefix(b": ")?
            .strip_suffix(b"\r")
    });
    values.next()
}

fn number_at(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// Median, 99th percentile and maximum, in whole milliseconds.
fn spread(times: &mut [Duration]) -> [u128; 3] {
    times.sort_unstable();
    [50, 99, 100].map(|percent| match (times.len() * percent).div_ceil(100) {
        0 => 0,
        rank => times[rank - 1].as_millis(),
    })
}
