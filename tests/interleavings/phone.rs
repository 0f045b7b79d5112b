//! A phone: one call as RFC 3261 wants it, at the worst moments that it allows.
//!
//! Sans-IO like the product, but sharing none of its code. `asking` holds its client transactions, `answering` its server
//! transactions, `caller`, `progress` and `callee` the two ways into a call, `talking` what is done within one, `timers`,
//! `referring` and `watching` what goes beside.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use onrecord::model::{Timestamp, earliest};

use super::answering::{Answering, Repeat};
use super::asking::{Asked, Why};
use super::callee::Invited;
use super::caller::Placing;
use super::doubting::Doubting;
use super::rng::Rng;
use super::script::{Fork, Nature, Rel100};
use super::seat::Seat;
use super::session::Session;
use super::text::{Heard, Sdp, finish};

pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
/// 64 × T1.
pub const GIVE_UP: Duration = Duration::from_secs(32);
pub const PROXY: &str = "192.0.2.100:5060";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    Early,
    /// Our 2xx waits for its ACK.
    Accepted,
    Confirmed,
    /// Our BYE waits for its answer.
    Leaving,
    /// A subscription; no call.
    Watching,
    Over,
}

#[derive(Clone, Debug)]
pub struct Dialog {
    pub call_id: String,
    /// From and To of our requests.
    pub ours: String,
    pub theirs: String,
    pub local_tag: String,
    pub remote_tag: String,
    pub target: String,
    pub local_seq: u32,
    pub remote_seq: u32,
    pub stage: Stage,
    pub session: Session,
    /// We sent the INVITE.
    pub is_caller: bool,
    /// Methods that the other side allows.
    pub allowed: BTreeSet<String>,
    pub acts_left: u32,
    pub retries: u32,
    /// RSeq of the newest reliable provisional that was taken (RFC 3262 §4).
    pub rseq: u32,
    /// Session interval; whether we refresh; which refresh is the newest.
    pub interval: Option<Duration>,
    pub refreshes: bool,
    pub refreshed: u32,
}

#[derive(Clone, Debug)]
pub enum Alarm {
    /// Of a call that it places.
    Place(usize),
    Cancel(usize),
    ByeEarly(usize),
    UpdateEarly(usize),
    Outside,
    Subscribe,
    Die,
    /// Joins the parties of its first two calls.
    Join(u32),
    /// The next thing that the owner does in a call.
    Act(usize),
    HangUp(usize),
    /// A request that was glare is tried again.
    Again(usize, Why),
    /// The final answer to a re-INVITE.
    AnswerAgain(usize),
    /// The next step of a fork of an INVITE.
    ForkStep(usize, usize, usize),
    /// A CANCEL arrives at a fork.
    ForkStops(usize, usize),
    /// How a transfer goes on that came in this dialog; its last word is a status.
    Notify(usize, Option<u16>),
    /// How a subscription goes on; whether it ends.
    Tell(usize, bool),
    Refresh(usize, u32),
    Expire(usize, u32),
}

pub struct Phone {
    pub seat: Seat,
    /// Talks by TCP.
    pub by_stream: bool,
    pub rng: Rng,
    pub nature: Nature,
    /// The phones behind its address.
    pub forks: Vec<Fork>,
    pub doubting: Option<Doubting>,
    pub trying: bool,
    /// There is a third party to refer others to.
    pub knows_third: bool,
    /// Its far end may be exchanged by the proxy.
    pub exchangeable: bool,
    pub placings: Vec<Placing>,
    pub dialogs: Vec<Dialog>,
    pub asked: Vec<Asked>,
    pub answering: Vec<Answering>,
    pub repeats: Vec<Repeat>,
    pub invited: Vec<Invited>,
    pub alarms: Vec<(Timestamp, Alarm)>,
    pub out: Vec<String>,
    /// What the proxy did to it that no RFC allows.
    pub wrongs: Vec<String>,
    pub seen: BTreeSet<&'static str>,
    pub dead: bool,
    pub due: Option<Timestamp>,
    serials: u32,
    branches: u32,
}

impl Phone {
    pub fn new(seat: Seat, rng: Rng, nature: Nature, forks: Vec<Fork>) -> Self {
        Self {
            seat,
            by_stream: false,
            rng,
            nature,
            forks,
            doubting: None,
            trying: true,
            knows_third: false,
            exchangeable: false,
            placings: Vec::new(),
            dialogs: Vec::new(),
            asked: Vec::new(),
            answering: Vec::new(),
            repeats: Vec::new(),
            invited: Vec::new(),
            alarms: Vec::new(),
            out: Vec::new(),
            wrongs: Vec::new(),
            seen: BTreeSet::new(),
            dead: false,
            due: None,
            serials: 0,
            branches: 0,
        }
    }

    pub fn alarm(&mut self, at: Timestamp, alarm: Alarm) {
        self.alarms.push((at, alarm));
    }

    pub fn handle_sip(&mut self, now: Timestamp, heard: &Rc<Heard>) {
        if !self.dead {
            if heard.tells_of_recording() {
                self.seen.insert(if heard.method == "INVITE" {
                    "a change of the recording told"
                } else {
                    "told of the recording"
                });
                if !self.nature.aware {
                    self.wrong(format!("tells of a recording who does not read that: {}", heard.told()));
                }
            }
            if heard.is_request() {
                self.on_request(now, heard);
            } else {
                self.on_response(now, heard);
            }
            self.find_due();
        }
    }

    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(at) = self.alarms.iter().position(|(at, _)| *at <= now) {
            let (_, alarm) = self.alarms.swap_remove(at);
            self.on_alarm(now, alarm);
            if self.dead {
                break;
            }
        }
        if !self.dead {
            self.ask_again(now);
            self.repeat_answers(now);
        }
        self.find_due();
    }

    pub fn find_due(&mut self) {
        self.due = None;
        if !self.dead {
            let asked = self.asked.iter().filter_map(Asked::due);
            let repeats = self.repeats.iter().map(Repeat::due);
            let alarms = self.alarms.iter().map(|(at, _)| *at);
            self.due = asked
                .chain(repeats)
                .chain(alarms)
                .fold(None, |due, at| earliest(due, Some(at)));
        }
    }

    fn on_alarm(&mut self, now: Timestamp, alarm: Alarm) {
        match alarm {
            Alarm::Place(call) => self.place(now, call),
            Alarm::Cancel(call) => self.cancel(now, call),
            Alarm::ByeEarly(call) => self.bye_early(now, call),
            Alarm::UpdateEarly(call) => self.update_early(now, call),
            Alarm::Outside => self.ask_outside(now),
            Alarm::Subscribe => self.subscribe(now),
            Alarm::Join(tries) => self.join_parties(now, tries),
            Alarm::Die => {
                self.seen.insert(match self.seat {
                    Seat::A => "the caller died",
                    Seat::B => "the callee died",
                    Seat::C => "the third died",
                });
                self.dead = true;
                self.alarms.clear();
            }
            Alarm::Act(dialog) => self.act(now, dialog),
            Alarm::HangUp(dialog) => self.hang_up(now, dialog),
            Alarm::Again(dialog, why) => self.try_again(now, dialog, why),
            Alarm::AnswerAgain(at) => self.answer_again(now, at),
            Alarm::ForkStep(invited, fork, step) => self.fork_step(now, invited, fork, step),
            Alarm::ForkStops(invited, fork) => self.fork_stops(now, invited, fork),
            Alarm::Notify(dialog, last) => self.notify(now, dialog, last),
            Alarm::Tell(dialog, last) => self.tell_watcher(now, dialog, last),
            Alarm::Refresh(dialog, newest) => self.refresh(now, dialog, newest),
            Alarm::Expire(dialog, newest) => {
                let dialogs = &self.dialogs[dialog];
                if dialogs.refreshed == newest && dialogs.stage == Stage::Confirmed {
                    self.seen.insert("a session timer ran out");
                    self.hang_up(now, dialog);
                }
            }
        }
    }

    /// Everything is over: no dialog that is up, no request that waits.
    pub fn is_at_rest(&self) -> bool {
        let rests = |dialog: &Dialog| matches!(dialog.stage, Stage::Over | Stage::Watching);
        self.dead || self.dialogs.iter().all(rests)
    }

    pub fn contact(&self) -> String {
        let by = if self.by_stream { ";transport=tcp" } else { "" };
        format!("<sip:{}@{}{by}>", self.seat.user(), self.seat.address())
    }

    pub fn mint_branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK{}{}", self.seat, self.branches)
    }

    pub fn via(&self, branch: &str) -> String {
        let by = if self.by_stream { "TCP" } else { "UDP" };
        format!("Via: SIP/2.0/{by} {};branch={branch};rport\r\n", self.seat.address())
    }

    fn serial(&mut self) -> String {
        self.serials += 1;
        format!("{}{}", self.seat, self.serials)
    }

    /// An offer with at least `lines` lines.
    pub fn offer(&mut self, lines: usize, direction: &'static str) -> Sdp {
        self.describe(String::new(), lines.max(1), direction)
    }

    /// The answer to an offer.
    pub fn answer_to(&mut self, offer: &Sdp) -> Sdp {
        let direction = match offer.direction {
            "sendonly" => "recvonly",
            "recvonly" => "sendonly",
            other => other,
        };
        let mut answer = self.describe(offer.serial.clone(), offer.ports.len(), direction);
        for (port, offered) in answer.ports.iter_mut().zip(&offer.ports) {
            if *offered == 0 {
                *port = 0;
            }
        }
        answer
    }

    fn describe(&mut self, answers: String, lines: usize, direction: &'static str) -> Sdp {
        let serial = self.serial();
        let first = 4_000 + (self.serials % 500) as u16 * 20;
        let ports = (0..lines).map(|line| first + 2 * line as u16).collect();
        Sdp {
            serial,
            answers,
            host: self.seat.host(),
            ports,
            direction,
        }
    }

    /// What our requests and 2xx say of us.
    pub fn abilities(&self) -> String {
        let update = if self.nature.updates { ", UPDATE" } else { "" };
        let rel = if self.nature.rel100 == Rel100::Unknown {
            ""
        } else {
            ", PRACK"
        };
        let mut more = format!("Contact: {}\r\n", self.contact());
        more += &format!(
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, REFER, NOTIFY, SUBSCRIBE{update}{rel}\r\n"
        );
        let mut supported = Vec::new();
        if self.nature.rel100 != Rel100::Unknown {
            supported.push("100rel");
        }
        if self.nature.timer.is_some() {
            supported.push("timer");
        }
        if self.nature.aware {
            supported.push("record-aware");
        }
        if !supported.is_empty() {
            more += &format!("Supported: {}\r\n", supported.join(", "));
        }
        more
    }

    pub fn write_request(
        &self,
        method: &str,
        dialog: &Dialog,
        cseq: u32,
        branch: &str,
        more: &str,
        body: &str,
    ) -> String {
        let Dialog {
            call_id,
            ours,
            theirs,
            target,
            ..
        } = dialog;
        let text = format!(
            "{method} {target} SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: {ours}\r\nTo: {theirs}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n{more}",
            self.via(branch)
        );
        finish(text, body)
    }

    /// The dialog that a request of the other side names.
    pub fn dialog_of(&self, request: &Heard) -> Option<usize> {
        self.dialogs.iter().position(|dialog| {
            dialog.call_id == request.call_id
                && dialog.local_tag == request.to_tag
                && dialog.remote_tag == request.from_tag
        })
    }

    pub fn wrong(&mut self, what: String) {
        self.wrongs.push(format!("{what}; wronged: {}", self.seat));
    }

    pub fn judge(&mut self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.wrong(what);
        }
    }

    /// Ends a dialog here; requests that wait in it are answered.
    pub fn bury(&mut self, now: Timestamp, dialog: usize) {
        self.dialogs[dialog].stage = Stage::Over;
        self.refuse_pending(now, dialog, 487);
    }
}
