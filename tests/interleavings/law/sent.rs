    /// The proxy sent a message.
    pub fn on_sent(&mut self, now: Timestamp, seat: Seat, heard: &Heard) {
        if heard.is_request() {
            self.on_request(now, leg, heard);
        } else {
            self.on_response(now, leg, heard);
        }
    }

    fn on_response(&mut self, now: Timestamp, seat: Seat, heard: &Heard) {
        let served = self
            .served
            .iter_mut()
            .find(|served| served.branch == heard.branch && served.method == heard.cseq_method);
        let Some(served) = served else {
            self.break_by("answers nothing that was asked", heard);
            return;
        };
        if heard.status < 200 {
            served.trying = true;
            if !matches!(served.status, 0 | LOST) && !served.lost {
                self.break_by("a provisional answer after the final one", heard);
                return;
            }
        } else if matches!(served.status, 0 | LOST) {
            (served.status, served.tag) = (heard.status, heard.to_tag.clone());
            served.owed_by = None;
        } else if !served.lost && (served.status != heard.status || served.tag != heard.to_tag) {
            self.break_by("two final answers to one request", heard);
            return;
        }
        let opens = served.opens;
        if heard.status == 491 {
            self.seen.insert("glare at the proxy");
        }
        if heard.cseq_method != "INVITE" || !(101..300).contains(&heard.status) || !opens {
            return;
        }
        let bond = self.make_bond(leg, heard, &heard.to_tag, &heard.from_tag, 0);
        if heard.status >= 200 {
            self.connected = true;
            self.bonds[bond].confirmed.get_or_insert(now);
        }
    }

    fn on_request(&mut self, now: Timestamp, seat: Seat, heard: &Heard) {
        let known = self
            .sent
            .iter()
            .find(|sent| sent.branch == heard.branch && sent.method == heard.method);
        if let Some(sent) = known {
            if sent.text != heard.text() {
                self.break_by("a request that changed on being sent again", heard);
            } else if heard.method == "INVITE" && sent.rung {
                self.break_by("an INVITE sent again after a provisional answer", heard);
            }
            return;
        }
        match heard.method.as_str() {
            "ACK" => self.on_ack(leg, heard),
            "CANCEL" => self.on_cancel(now, heard),
            _ if heard.to_tag.is_empty() => self.on_opening(heard),
            _ => self.on_request_within(now, leg, heard),
        }
        self.sent.push(Sent {
            branch: heard.branch.clone(),
            method: heard.method.clone(),
            text: heard.text().to_owned(),
            at: now,
            rung: false,
            cancelled: None,
            answered: None,
            lost: false,
        });
    }

    fn on_ack(&mut self, seat: Seat, heard: &Heard) {
        let invite = self
            .sent
            .iter()
            .find(|sent| sent.method == "INVITE" && sent.branch == heard.branch);
        if let Some(invite) = invite {
            if invite.answered.is_none_or(|(_, status)| status < 300) {
                self.break_by("an ACK without a refusal", heard);
            }
            return;
        }
        let is = |success: &&mut Success| {
            success.seat == leg
                && success.call_id == heard.call_id
                && success.tag == heard.to_tag
                && success.cseq == heard.cseq
        };
        let Some(success) = self.successes.iter_mut().find(is) else {
            self.break_by("an ACK without a 2xx", heard);
            return;
        };
        success.acknowledged = true;
        if let Some(bond) = self.bond(seat, &heard.call_id, &heard.from_tag, &heard.to_tag) {
            bond.acknowledged |= heard.cseq == bond.invite;
        }
    }

    fn on_cancel(&mut self, now: Timestamp, heard: &Heard) {
        let invite = self
            .sent
            .iter_mut()
            .find(|sent| sent.method == "INVITE" && sent.branch == heard.branch);
        match invite {
            None => self.break_by("a CANCEL without an INVITE", heard),
            Some(sent) if !sent.rung => self.break_by("a CANCEL before a provisional answer", heard),
            Some(sent) if sent.answered.is_some() => self.break_by("a CANCEL after the final answer", heard),
            Some(sent) => sent.cancelled = Some(now),
        }
    }

    /// Strict: B hears nothing before the opening record is durable.
    fn on_opening(&mut self, heard: &Heard) {
        if heard.method == "INVITE" && self.grade == Grade::Strict {
            let ready = self
                .tapes
                .iter()
                .any(|tape| tape.ready && (tape.b_call_id == heard.call_id || tape.attempts.contains(&heard.call_id)));
            if !ready {
                self.break_by("B rings before the recorder is ready", heard);
            }
        }
    }

    fn on_request_within(&mut self, now: Timestamp, seat: Seat, heard: &Heard) {
        let is_bye = heard.method == "BYE";
        let lost = is_bye && heard.all("Reason").any(|reason| reason.contains("Recording lost"));
        if lost
            && self
                .tapes
                .iter()
                .any(|tape| tape.relays && !tape.shut && tape.closed + tape.kept == 0)
        {
            self.break_by("BYE before the media is gated", heard);
        }
        let ends_early = self.ends_early;
        let Some(bond) = self.bond(seat, &heard.call_id, &heard.from_tag, &heard.to_tag) else {
            self.break_by("a request in a dialog that nobody made", heard);
            return;
        };
        let verdict = if bond.is_ended() && is_bye {
            Some(if bond.byes > 0 {
                "a second BYE"
            } else {
                "a BYE to one who said BYE"
            })
        } else if bond.is_ended() {
            Some("a request after BYE")
        } else if heard.cseq <= bond.cseq {
            Some("CSeq does not grow")
        } else if is_bye && bond.confirmed.is_none() && !(ends_early && leg == Leg::B) {
            Some("BYE in an early dialog")
        } else if is_bye && !bond.acknowledged && bond.confirmed.is_some_and(|at| now < at + GIVE_UP) {
            Some("BYE before the ACK")
        } else {
            None
        };
        bond.cseq = bond.cseq.max(heard.cseq);
        bond.byes += u32::from(is_bye);
        if let Some(law) = verdict {
            self.break_by(law, heard);
        }
    }

