//! How messages get from one end of a link to the other, by datagram or connection.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use onrecord::engine::Input;
use onrecord::sip::{Flow, Transport};

use super::network::Way;
use super::seat::Seat;
use super::text::Heard;
use super::world::{Happening, World};

impl World {
    pub fn arrive(&mut self, seat: Seat, way: Way, heard: &Heard) {
        if self.deaf || !self.network.is_up(way) {
            self.tell(|| format!("{seat} → nobody     {}", heard.told()));
            return;
        }
        self.tell(|| format!("{seat} → proxy      {}", heard.told()));
        let flow = self.network.flow(seat, way);
        self.law.on_heard(self.now, seat, flow, heard);
        self.input(Input::Sip {
            flow,
            bytes: Bytes::copy_from_slice(heard.text().as_bytes()),
        });
    }

    pub fn reach(&mut self, seat: Seat, way: Way, heard: &Rc<Heard>) {
        let phone = &mut self.phones[seat.index()];
        if phone.dead {
            if way == Way::Datagram && self.script.bounces {
                let flow = self.network.flow(seat, way);
                let at = self.now + Duration::from_millis(self.script.links[seat.index()].delay_ms);
                self.law.seen.insert("a datagram came back");
                self.push(at, Happening::Bounced(flow, Rc::clone(heard)));
            }
            return;
        }
        if !self.network.is_up(way) {
            return;
        }
        if heard.is_request() && way != Way::Datagram {
            self.asked_by.insert(heard.branch.clone(), way);
        }
        phone.handle_sip(self.now, heard);
        self.tell(|| format!("      {seat} hears    {}", heard.told()));
        self.collect(seat, Some(way));
    }

    pub fn break_streams(&mut self, seat: Seat) {
        let broken = self.network.break_streams(seat);
        if broken.is_empty() {
            return;
        }
        self.tell(|| format!("the connections of {seat} break"));
        self.law.seen.insert("a connection broke");
        self.tear_sessions();
        for flow in broken {
            self.law.on_unreachable(flow);
            if !self.deaf {
                self.input(Input::Unreachable { flow });
            }
        }
    }

    /// What was under way when something went down may have been done on one side only.
    pub fn tear_sessions(&mut self) {
        let dialogs = self.phones.iter_mut().flat_map(|phone| &mut phone.dialogs);
        dialogs.for_each(|dialog| dialog.session.torn = true);
    }

    /// With a dead phone its connections end.
    pub fn bury_phone(&mut self, seat: Seat) {
        if self.phones[seat.index()].dead {
            self.break_streams(seat);
        }
    }

    /// What a phone wants sent.
    pub fn collect(&mut self, seat: Seat, by: Option<Way>) {
        for text in std::mem::take(&mut self.phones[seat.index()].out) {
            let heard = Heard::read(&text).unwrap_or_else(|| panic!("a phone speaks SIP: {text}"));
            let heard = Rc::new(heard);
            let copies = if self.phones[seat.index()].by_stream {
                // Answers go by where the request came; requests rather by what spoke last.
                let asked_by = if heard.is_request() {
                    by
                } else {
                    self.asked_by.get(&heard.branch).copied()
                };
                vec![self.network.write(self.now, seat, asked_by)]
            } else {
                self.network.datagram(self.now, seat)
            };
            if copies.len() != 1 {
                self.tell(|| format!("{seat} → {} copies of {}", copies.len(), heard.told()));
            }
            for (at, way) in copies {
                self.push(at, Happening::Arrives(seat, way, Rc::clone(&heard)));
            }
        }
    }

    pub fn on_send(&mut self, flow: Flow, bytes: &Bytes) {
        let text = String::from_utf8_lossy(bytes);
        let (Some(seat), Some(heard)) = (Seat::at(flow.remote.ip()), Heard::read(&text)) else {
            let remote = flow.remote;
            self.law
                .broken
                .push(format!("no SIP for anybody here: to {remote}: {text}"));
            return;
        };
        let heard = Rc::new(heard);
        self.tell(|| format!("      proxy → {seat}  {}", heard.told()));
        let stream = flow.transport != Transport::Udp;
        self.law.on_sent(self.now, seat, flow, &heard);
        let phone = &self.phones[seat.index()];
        let listens = phone.by_stream && !phone.dead;
        let copies = match stream {
            false => self.network.datagram(self.now, seat),
            true => match self.network.write_to(self.now, flow.remote, listens) {
                Some(arrival) => vec![arrival],
                None => {
                    self.tell(|| format!("      nobody at {}", flow.remote));
                    let at = self.now + Duration::from_millis(self.script.links[seat.index()].delay_ms);
                    return self.push(at, Happening::Unreachable(flow));
                }
            },
        };
        for (at, way) in copies {
            self.push(at, Happening::Reaches(seat, way, Rc::clone(&heard)));
        }
    }
}
