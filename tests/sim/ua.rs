//! A scripted phone: one call, as caller or callee, with RFC 3261's timers and an own mind.
//!
//! Sans-IO like the product, but sharing none of its code: see `wire`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use onrecord::model::{Timestamp, earliest};

use super::net::Datagram;
use super::packets::{media_packet, packet_number};
use super::requesting::Requesting;
use super::rng::Rng;
use super::wire::{Heard, finish, response, sdp};

pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
/// 64 × T1: timers B, F, H, and how long a 2xx is repeated.
pub const GIVE_UP: Duration = Duration::from_secs(32);
const PACKET_TIME: Duration = Duration::from_millis(20);

/// What the phone's owner is going to do.
#[derive(Clone, Debug)]
pub struct Script {
    /// Callee: until 180, and from there until the final answer.
    pub ring_after: Duration,
    pub answer_after: Duration,
    /// Callee: answers with this status instead of 200.
    pub refuses: Option<u16>,
    /// Callee: speaks before it answers (183).
    pub early_media: bool,
    /// Caller: gives up so long after the INVITE, if not answered.
    pub patience: Duration,
    /// Hangs up so long after the answer; later than the other if it should not.
    pub talks: Duration,
    /// Puts the other on hold, and takes it off as long after.
    pub holds_after: Option<Duration>,
    /// Says nothing.
    pub mute: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    Idle,
    /// Caller: INVITE sent. Callee: INVITE heard.
    Ringing,
    Talking,
    /// BYE sent and not yet answered.
    HangingUp,
    Ended,
}

#[derive(Debug)]
struct Repeated {
    datagram: Bytes,
    branch: String,
    cseq: u32,
    at: Timestamp,
    interval: Duration,
    give_up: Timestamp,
    is_success: bool,
}

pub struct Phone {
    pub number: u64,
    pub is_caller: bool,
    pub state: State,
    pub address: SocketAddr,
    pub media: SocketAddr,
    pub(super) proxy: SocketAddr,
    pub script: Script,
    pub(super) rng: Rng,
    pub call_id: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) tag: String,
    pub(super) remote_target: String,
    pub(super) cseq: u32,
    pub(super) requesting: Vec<Requesting>,
    pub(super) sdp_version: u32,
    /// Final response to an INVITE, until its ACK.
    answering: Option<Repeated>,
    invite: Option<Heard>,
    /// By branch and method: what was answered, for retransmissions.
    answered: BTreeMap<(String, String), Bytes>,
    due_ring: Option<Timestamp>,
    due_answer: Option<Timestamp>,
    pub(super) due_cancel: Option<Timestamp>,
    pub(super) due_hang_up: Option<Timestamp>,
    pub(super) due_hold: Option<Timestamp>,
    pub(super) holding: bool,
    pub(super) far_media: Option<SocketAddr>,
    pub(super) far_listens: bool,
    due_packet: Option<Timestamp>,
    pub packets: u64,
    /// The final status that the caller heard.
    pub status: Option<u16>,
    /// Reason headers of the BYE, CANCEL or refusal that it heard.
    pub reasons: Vec<String>,
    /// When a BYE was heard.
    pub bye_heard: Option<Timestamp>,
    /// Numbers of the packets that came through.
    pub heard: BTreeSet<u64>,
    pub(super) outbox: VecDeque<Datagram>,
}

impl Phone {
    pub fn new(number: u64, is_caller: bool, addresses: [SocketAddr; 3], script: Script, mut rng: Rng) -> Self {
        let [address, media, proxy] = addresses;
        let tag = format!("t{:x}", rng.next());
        Self {
            number,
            is_caller,
            state: State::Idle,
            address,
            media,
            proxy,
            script,
            call_id: format!("{:x}@sim", rng.next()),
            rng,
            from: String::new(),
            to: String::new(),
            tag,
            remote_target: String::new(),
            cseq: 0,
            requesting: Vec::new(),
            sdp_version: 0,
            answering: None,
            invite: None,
            answered: BTreeMap::new(),
            due_ring: None,
            due_answer: None,
            due_cancel: None,
            due_hang_up: None,
            due_hold: None,
            holding: false,
            far_media: None,
            far_listens: false,
            due_packet: None,
            packets: 0,
            status: None,
            reasons: Vec::new(),
            bye_heard: None,
            heard: BTreeSet::new(),
            outbox: VecDeque::new(),
        }
    }

    pub fn poll_output(&mut self) -> Option<Datagram> {
        self.outbox.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let requests = self.requesting.iter().map(|request| request.due());
        let owner = [
            self.due_ring,
            self.due_answer,
            self.due_cancel,
            self.due_hang_up,
            self.due_hold,
            self.due_packet,
        ];
        let all = requests
            .chain(owner)
            .chain([self.answering.as_ref().map(|repeated| repeated.at)]);
        all.fold(None, earliest)
    }

    pub(super) fn contact(&self) -> String {
        format!("sip:p{}@{}", self.number, self.address)
    }

    pub(super) fn send(&mut self, text: String) {
        let datagram = Datagram {
            from: self.address,
            to: self.proxy,
            bytes: Bytes::from(text),
        };
        self.outbox.push_back(datagram);
    }

    /// A packet of media; its number if it is one of ours.
    pub fn handle_media(&mut self, bytes: &[u8]) -> Option<u64> {
        let number = packet_number(bytes)?;
        self.heard.insert(number);
        Some(number)
    }

    pub fn handle_sip(&mut self, now: Timestamp, heard: &Heard) {
        if heard.status != 0 {
            return self.on_response(now, heard);
        }
        let key = (heard.branch().to_owned(), heard.method.clone());
        if let Some(answer) = self.answered.get(&key) {
            let datagram = Datagram {
                from: self.address,
                to: self.proxy,
                bytes: answer.clone(),
            };
            self.outbox.push_back(datagram);
            return;
        }
        match heard.method.as_str() {
            "INVITE" => self.on_invite(now, heard),
            "ACK" => self.on_ack(now, heard),
            "BYE" => self.on_bye(now, heard),
            "CANCEL" => self.on_cancel(now, heard),
            _ => {
                self.answer(heard, 200, "");
            }
        }
    }

    /// For its owner the call is over, whatever the other side still has to acknowledge.
    pub fn has_let_go(&self) -> bool {
        let refused = self.answering.as_ref().is_some_and(|repeated| !repeated.is_success);
        matches!(self.state, State::Idle | State::HangingUp | State::Ended) || (refused && self.state == State::Ringing)
    }

    /// Is the message for this phone's call?
    pub fn owns(&self, heard: &Heard) -> bool {
        heard.call_id() == self.call_id
    }

    /// Answers once; a retransmission of the request gets the same again.
    fn answer(&mut self, request: &Heard, status: u16, body: &str) -> Bytes {
        let text = Bytes::from(response(request, status, &self.tag, &self.contact(), body));
        if status >= 101 {
            let key = (request.branch().to_owned(), request.method.clone());
            self.answered.insert(key, text.clone());
        }
        let datagram = Datagram {
            from: self.address,
            to: self.proxy,
            bytes: text.clone(),
        };
        self.outbox.push_back(datagram);
        text
    }

    /// A final answer to an INVITE is repeated until its ACK (timer G; §13.3.1.4 for 2xx).
    fn answer_invite(&mut self, now: Timestamp, request: &Heard, status: u16, body: &str) {
        let datagram = self.answer(request, status, body);
        self.answering = Some(Repeated {
            datagram,
            branch: request.branch().to_owned(),
            cseq: request.cseq().0,
            at: now + T1,
            interval: T1,
            give_up: now + GIVE_UP,
            is_success: status < 300,
        });
    }

    fn on_invite(&mut self, now: Timestamp, heard: &Heard) {
        match (self.state, heard.tag("to")) {
            (State::Idle, None) if !self.is_caller => {
                self.state = State::Ringing;
                self.call_id = heard.call_id().to_owned();
                self.remote_target = heard.contact().unwrap_or_default();
                self.from = format!("{};tag={}", heard.header("to").unwrap_or_default(), self.tag);
                self.to = heard.header("from").unwrap_or_default().to_owned();
                self.learn_media(heard);
                self.answer(heard, 100, "");
                self.due_ring = Some(now + self.script.ring_after);
                self.due_answer = Some(now + self.script.ring_after + self.script.answer_after);
                self.invite = Some(heard.clone());
            }
            (State::Talking, Some(_)) => {
                let crosses = self.requesting.iter().any(|request| request.method == "INVITE");
                if crosses || self.answering.is_some() {
                    return self.answer_invite(now, heard, 491, "");
                }
                self.remote_target = heard.contact().unwrap_or_else(|| self.remote_target.clone());
                self.learn_media(heard);
                let direction = if self.far_listens { "sendrecv" } else { "recvonly" };
                let body = self.description(direction);
                self.answer_invite(now, heard, 200, &body);
            }
            _ => self.answer_invite(now, heard, 481, ""),
        }
    }

    pub(super) fn description(&mut self, direction: &str) -> String {
        self.sdp_version += 1;
        sdp(self.media, self.sdp_version, direction)
    }

    pub(super) fn learn_media(&mut self, heard: &Heard) {
        if let Some((address, listens)) = heard.media() {
            self.far_media = Some(address);
            self.far_listens = listens;
        }
    }

    fn on_ack(&mut self, now: Timestamp, heard: &Heard) {
        let Some(repeated) = self.answering.take_if(|repeated| repeated.cseq == heard.cseq().0) else {
            return;
        };
        if repeated.is_success && self.state == State::Ringing {
            self.on_connected(now);
        }
        if !repeated.is_success && self.state == State::Ringing {
            self.end();
        }
    }

    fn on_bye(&mut self, now: Timestamp, heard: &Heard) {
        self.answer(heard, 200, "");
        self.reasons.extend(heard.all("reason").map(str::to_owned));
        self.bye_heard.get_or_insert(now);
        if self.state != State::HangingUp {
            self.end();
        }
    }

    fn on_cancel(&mut self, now: Timestamp, heard: &Heard) {
        self.answer(heard, 200, "");
        self.reasons.extend(heard.all("reason").map(str::to_owned));
        if self.state == State::Ringing
            && self.answering.is_none()
            && let Some(invite) = self.invite.take_if(|invite| invite.branch() == heard.branch())
        {
            (self.due_ring, self.due_answer, self.due_packet) = (None, None, None);
            self.answer_invite(now, &invite, 487, "");
        }
    }

    pub(super) fn on_connected(&mut self, now: Timestamp) {
        self.state = State::Talking;
        self.due_cancel = None;
        self.due_hang_up = Some(now + self.script.talks);
        self.due_hold = self.script.holds_after.map(|after| now + after);
        if !self.script.mute {
            self.due_packet.get_or_insert(now);
        }
    }

    pub(super) fn end(&mut self) {
        self.state = State::Ended;
        self.due_packet = None;
        (self.due_ring, self.due_answer, self.due_cancel) = (None, None, None);
        (self.due_hang_up, self.due_hold) = (None, None);
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        let is_due = |due: &mut Option<Timestamp>| due.take_if(|at| *at <= now).is_some();
        if is_due(&mut self.due_ring) {
            self.on_ring(now);
        }
        if is_due(&mut self.due_answer) {
            self.on_pick_up(now);
        }
        if is_due(&mut self.due_packet) {
            self.speak(now);
        }
        if is_due(&mut self.due_cancel) {
            self.cancel(now);
        }
        if is_due(&mut self.due_hold) && self.state == State::Talking {
            self.hold(now);
        }
        if is_due(&mut self.due_hang_up) && self.state == State::Talking {
            self.hang_up(now);
        }
        self.repeat_answer(now);
        self.repeat_requests(now);
    }

    fn on_ring(&mut self, now: Timestamp) {
        let Some(invite) = self.invite.clone() else { return };
        if self.script.early_media {
            let body = self.description("sendrecv");
            self.answer(&invite, 183, &body);
            self.due_packet = (!self.script.mute).then_some(now);
        } else {
            self.answer(&invite, 180, "");
        }
    }

    fn on_pick_up(&mut self, now: Timestamp) {
        let Some(invite) = self.invite.take() else { return };
        match self.script.refuses {
            Some(status) => self.answer_invite(now, &invite, status, ""),
            None => {
                let body = self.description("sendrecv");
                self.answer_invite(now, &invite, 200, &body);
            }
        }
    }

    fn repeat_answer(&mut self, now: Timestamp) {
        let Some(repeated) = self.answering.as_mut().filter(|repeated| repeated.at <= now) else {
            return;
        };
        if repeated.give_up <= now {
            let is_success = repeated.is_success;
            self.answering = None;
            if is_success && matches!(self.state, State::Ringing | State::Talking) {
                self.state = State::Talking;
                return self.hang_up(now);
            }
            return if self.state == State::Ringing {
                self.end()
            };
        }
        repeated.interval = (repeated.interval * 2).min(T2);
        repeated.at = (now + repeated.interval).min(repeated.give_up);
        let datagram = Datagram {
            from: self.address,
            to: self.proxy,
            bytes: repeated.datagram.clone(),
        };
        let key = (repeated.branch.clone(), "INVITE".to_owned());
        self.answered.insert(key, repeated.datagram.clone());
        self.outbox.push_back(datagram);
    }

    fn speak(&mut self, now: Timestamp) {
        self.due_packet = Some(now + PACKET_TIME);
        let Some(far) = self.far_media.filter(|_| self.far_listens && !self.holding) else {
            return;
        };
        self.packets += 1;
        let packet = media_packet(self.number << 32 | self.packets, self.packets, self.number as u32);
        self.outbox.push_back(Datagram {
            from: self.media,
            to: far,
            bytes: packet.into(),
        });
    }

    /// The fixed part of a request of ours inside the dialog or before it.
    pub(super) fn request(&mut self, method: &str, branch: &str, cseq: u32, body: &str) -> String {
        let mut text = format!("{method} {} SIP/2.0\r\n", self.remote_target);
        text += &format!(
            "Via: SIP/2.0/UDP {};branch={branch}\r\nMax-Forwards: 70\r\n",
            self.address
        );
        text += &format!(
            "From: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
            self.from, self.to, self.call_id
        );
        text += &format!("CSeq: {cseq} {method}\r\nContact: <{}>\r\n", self.contact());
        finish(text, body)
    }
}
