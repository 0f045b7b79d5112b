//! A phone on loopback: a SIP socket, a media socket, and text.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::line::Line;

pub const PATIENCE: Duration = Duration::from_secs(15);
const PAYLOAD: [u8; 160] = [0x55; 160];

pub struct Phone {
    name: &'static str,
    sip: Line,
    local: SocketAddr,
    media: UdpSocket,
    packets: u16,
}

/// A SIP message as text.
pub struct Heard {
    pub text: String,
    pub from: SocketAddr,
}

impl Heard {
    pub fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let line = self.text.lines().find(|line| line.starts_with(&prefix));
        line.map_or("", |line| &line[prefix.len()..])
    }

    pub fn start_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// Where the sender wants its audio.
    pub fn media(&self) -> SocketAddr {
        let line = |prefix: &str| {
            self.text
                .lines()
                .find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
        };
        let port = line("m=audio ")
            .expect("audio")
            .split(' ')
            .next()
            .expect("a port")
            .to_owned();
        let ip = line("c=IN IP4 ").or_else(|| line("c=IN IP6 ")).expect("an address");
        let ip: IpAddr = ip.parse().expect("an address");
        SocketAddr::new(ip, port.parse().expect("a port"))
    }
}

fn socket(local: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(local).expect("binds");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

impl Phone {
    pub fn new(name: &'static str, ip: &str) -> Self {
        Self::at(name, format!("{ip}:5060").parse().expect("an address"))
    }

    /// One that speaks UDP at `local`.
    pub fn at(name: &'static str, local: SocketAddr) -> Self {
        let sip = socket(local);
        let local = sip.local_addr().expect("bound");
        Self::over(name, Line::Datagrams(sip), local)
    }

    /// One that speaks over `sip`, whose end is at `local`.
    pub fn over(name: &'static str, sip: Line, local: SocketAddr) -> Self {
        Self {
            name,
            sip,
            local,
            media: socket(SocketAddr::new(local.ip(), 0)),
            packets: 0,
        }
    }

    fn sdp(&self) -> String {
        let media = self.media.local_addr().expect("bound");
        let (ip, port) = (media.ip(), media.port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        format!(
            "v=0\r\no={} 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n\
             a=rtpmap:8 PCMA/8000\r\n",
            self.name
        )
    }

    pub fn via(&self) -> String {
        match self.sip.transport() {
            "WSS" => "SIP/2.0/WSS browser.invalid".to_owned(),
            transport => format!("SIP/2.0/{transport} {}", self.local),
        }
    }

    fn contact(&self) -> String {
        match self.sip.transport() {
            "UDP" => format!("<sip:{}@{}>", self.name, self.local),
            "WSS" => format!("<sip:{}@browser.invalid;transport=ws>", self.name),
            stream => format!("<sip:{}@{};transport={}>", self.name, self.local, stream.to_lowercase()),
        }
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn try_send(&self, to: SocketAddr, text: &str) -> std::io::Result<()> {
        self.sip.send(to, text)
    }

    pub fn send(&self, to: SocketAddr, text: &str) {
        self.sip.send(to, text).expect("sends");
    }

    /// The next message whose start line begins so; others are passed over.
    pub fn hear(&self, start: &str) -> Heard {
        loop {
            let (text, from) = match self.sip.receive() {
                Ok(received) => received,
                Err(error) => panic!("{} waits for `{start}`: {error}", self.name),
            };
            if text.starts_with(start) {
                let from = from.unwrap_or(self.local);
                return Heard { text, from };
            }
        }
    }

    /// Nothing comes any more: the connection is gone.
    pub fn is_cut_off(&self) -> bool {
        let gone = |error: std::io::Error| error.kind() != std::io::ErrorKind::WouldBlock;
        self.sip.receive().is_err_and(gone)
    }

    /// An INVITE with an offer to `callee` at `proxy`.
    pub fn invite(&self, proxy: SocketAddr, callee: &str, call_id: &str) {
        self.invite_with(proxy, callee, call_id, "");
    }

    /// The same with more header lines.
    pub fn invite_with(&self, proxy: SocketAddr, callee: &str, call_id: &str, more: &str) {
        self.invite_at(proxy, &format!("sip:{callee}@{proxy}"), call_id, more);
    }

    /// The same to any URI.
    pub fn invite_at(&self, proxy: SocketAddr, uri: &str, call_id: &str, more: &str) {
        let (sdp, name, via) = (self.sdp(), self.name, self.via());
        let local = self.local;
        self.send(
            proxy,
            &format!(
                "INVITE {uri} SIP/2.0\r\nVia: {via};branch=z9hG4bK-{call_id}\r\n\
                 From: <sip:{name}@{local}>;tag=a1\r\nTo: <{uri}>\r\nCall-ID: {call_id}\r\n\
                 CSeq: 1 INVITE\r\nContact: {}\r\nMax-Forwards: 70\r\n{more}Content-Type: application/sdp\r\n\
                 Content-Length: {}\r\n\r\n{sdp}",
                self.contact(),
                sdp.len()
            ),
        );
    }

    /// ACK to a 200 of our INVITE.
    pub fn ack(&self, proxy: SocketAddr, ok: &Heard) {
        self.within(proxy, ok, "ACK", 1);
    }

    /// A request within the dialog that `ok` made.
    pub fn within(&self, proxy: SocketAddr, ok: &Heard, method: &str, cseq: u32) {
        let target = ok.header("Contact").trim_matches(['<', '>']).to_owned();
        let via = self.via();
        let (from, to, call_id) = (ok.header("From"), ok.header("To"), ok.header("Call-ID"));
        self.send(
            proxy,
            &format!(
                "{method} {target} SIP/2.0\r\nVia: {via};branch=z9hG4bK-{method}-{cseq}-{call_id}\r\n\
                 From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
                 Content-Length: 0\r\n\r\n"
            ),
        );
    }

    /// Ends the call, and the other agrees.
    pub fn hangs_up(&self, proxy: SocketAddr, ok: &Heard, other: &Self) {
        self.within(proxy, ok, "BYE", 2);
        let bye = other.hear("BYE");
        other.accept(&bye);
        self.hear("SIP/2.0 200");
    }

    /// 200 to a request; with an answer if it is an INVITE.
    pub fn accept(&self, request: &Heard) {
        self.send(request.from, &self.answer_to(request));
    }

    /// That 200.
    pub fn answer_to(&self, request: &Heard) -> String {
        let via: String = request
            .text
            .lines()
            .filter(|l| l.starts_with("Via:"))
            .map(|l| format!("{l}\r\n"))
            .collect();
        let is_invite = request.start_line().starts_with("INVITE");
        let tag = if request.header("To").contains("tag=") {
            ""
        } else {
            ";tag=b1"
        };
        let sdp = if is_invite { self.sdp() } else { String::new() };
        let kind = if is_invite {
            "Content-Type: application/sdp\r\n"
        } else {
            ""
        };
        format!(
            "SIP/2.0 200 OK\r\n{via}From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: {}\r\n{kind}\
                 Content-Length: {}\r\n\r\n{sdp}",
            request.header("From"),
            request.header("To"),
            request.header("Call-ID"),
            request.header("CSeq"),
            self.contact(),
            sdp.len()
        )
    }

    /// One RTP packet of 20 ms to `to`.
    pub fn speak(&mut self, to: SocketAddr) {
        self.packets += 1;
        let mut packet = vec![0x80, 8];
        packet.extend(self.packets.to_be_bytes());
        packet.extend((u32::from(self.packets) * 160).to_be_bytes());
        packet.extend(0xA11CE_u32.to_be_bytes());
        packet.extend(PAYLOAD);
        self.media.send_to(&packet, to).expect("sends");
    }

    /// One RTP packet arrives: which, and from where?
    pub fn packet(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2048];
        let (length, from) = self.media.recv_from(&mut buffer).expect("hears");
        (buffer[..length].to_vec(), from)
    }

    /// One RTP packet arrives: from where?
    pub fn listen(&self) -> SocketAddr {
        let mut buffer = [0; 2048];
        self.media.recv_from(&mut buffer).expect("hears").1
    }
}
