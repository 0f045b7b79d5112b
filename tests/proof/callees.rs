//! The far end of the calls: rings and answers at once, and says so again until the ACK is there.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use super::{BATCH, T1, bind, value};

#[derive(Debug)]
pub struct Callees {
    socket: UdpSocket,
    name: String,
    /// 200s without an ACK yet, by Call-ID.
    unacknowledged: BTreeMap<Vec<u8>, (SocketAddr, Vec<u8>)>,
    resends: VecDeque<(Instant, Vec<u8>)>,
}

impl Callees {
    pub fn new(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self {
            socket: bind(address)?,
            name: address.to_string(),
            unacknowledged: BTreeMap::new(),
            resends: VecDeque::new(),
        })
    }

    /// How many datagrams.
    pub fn receive(&mut self, buffer: &mut [u8]) -> usize {
        for received in 0..BATCH {
            let Ok((length, from)) = self.socket.recv_from(buffer) else {
                return received;
            };
            self.on_request(Instant::now(), from, &buffer[..length]);
        }
        BATCH
    }

    fn on_request(&mut self, now: Instant, from: SocketAddr, message: &[u8]) {
        let Some(call_id) = value(message, "Call-ID") else {
            return;
        };
        if message.starts_with(b"INVITE ") {
            let ip = self.name.split(':').next().unwrap_or_default();
            let sdp = format!(
                "v=0\r\no=phone 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 6002 RTP/AVP 0\r\n"
            );
            let (ringing, ok) = (
                self.response(message, "180 Ringing", ""),
                self.response(message, "200 OK", &sdp),
            );
            let _ = self.socket.send_to(&ringing, from);
            let _ = self.socket.send_to(&ok, from);
            self.unacknowledged.insert(call_id.to_vec(), (from, ok));
            self.resends.push_back((now + T1, call_id.to_vec()));
        } else if message.starts_with(b"ACK ") {
            self.unacknowledged.remove(call_id);
        } else if message.starts_with(b"BYE ") {
            let _ = self.socket.send_to(&self.response(message, "200 OK", ""), from);
        }
    }

    pub fn handle_timeouts(&mut self, now: Instant) {
        while let Some((_, call_id)) = self.resends.pop_front_if(|(due, _)| *due <= now) {
            if let Some((from, ok)) = self.unacknowledged.get(&call_id) {
                let _ = self.socket.send_to(ok, from);
                self.resends.push_back((now + T1, call_id));
            }
        }
    }

    fn response(&self, request: &[u8], status: &str, sdp: &str) -> Vec<u8> {
        let mut response = format!("SIP/2.0 {status}\r\n").into_bytes();
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let value = value(request, name).unwrap_or_default();
            response.extend_from_slice(name.as_bytes());
            response.extend_from_slice(b": ");
            response.extend_from_slice(value);
            if name == "To" && !value.windows(5).any(|part| part == b";tag=") {
                response.extend_from_slice(b";tag=callee");
            }
            response.extend_from_slice(b"\r\n");
        }
        let kind = if sdp.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let (name, length) = (&self.name, sdp.len());
        let rest = format!("Contact: <sip:bob@{name}>\r\n{kind}Content-Length: {length}\r\n\r\n{sdp}");
        response.extend_from_slice(rest.as_bytes());
        response
    }
}
