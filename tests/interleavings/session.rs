//! Offer and answer as one dialog of a phone sees them (RFC 3264, RFC 3261 §13.2.1, RFC 3262 §5, RFC 3311 §5).

use super::text::Sdp;

#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The serial of our offer that waits for its answer.
    pub offered: Option<String>,
    /// Its m-lines.
    pub offered_lines: usize,
    /// The CSeq of the INVITE whose 2xx carried that offer: its ACK brings the answer.
    pub asked_by: Option<u32>,
    /// Theirs that we have not answered yet.
    pub owed: Option<Sdp>,
    /// Our answer that a 2xx has to repeat, because it went out unreliably.
    pub preview: Option<Sdp>,
    /// The serial that answered our offer in an unreliable 18x.
    pub previewed: Option<String>,
    /// An offer was answered for good.
    pub agreed: bool,
    /// m-lines of the newest description: never fewer (RFC 3264 §8).
    pub lines: usize,
    /// Serials of theirs that were taken, and of our offers that were answered. The proxy refreshes a session by the newest
    /// description of the other side, whatever it answers (RFC 4028 §7.4).
    pub taken: Vec<String>,
    pub offers: Vec<String>,
    /// Something went down with a process or a connection: the other side may know less.
    pub torn: bool,
}

impl Session {
    pub const fn is_idle(&self) -> bool {
        self.offered.is_none() && self.owed.is_none()
    }

    /// Our offer goes out.
    pub fn offers_by(&mut self, offer: &Sdp) {
        self.offered = Some(offer.serial.clone());
        self.offered_lines = offer.ports.len();
    }

    /// Whether an answer leaves the session as it was: the proxy may refuse for the other side what a 2xx of ours offers.
    pub fn is_declined(&self, sdp: &Sdp) -> bool {
        let is_known = self.taken.last() == Some(&sdp.serial) && self.offered.as_ref() != Some(&sdp.answers);
        let adds = sdp.ports.iter().skip(self.lines).any(|port| *port != 0);
        is_known && !adds && sdp.ports.len() == self.offered_lines
    }

    /// An answer arrived: it has to be the one to our offer, with its lines (RFC 3264 §6).
    pub fn take_answer(&mut self, sdp: &Sdp, by: &str) -> Result<(), String> {
        let told = sdp.told();
        let Some(offered) = self.offered.take() else {
            return Err(format!("an answer although nothing was offered: {by} brings {told}"));
        };
        if sdp.answers != offered && !self.torn && !sdp.is_of_proxy() {
            return Err(format!(
                "an answer to another offer: {by} brings {told}, the offer was {offered}"
            ));
        }
        if sdp.ports.len() != self.offered_lines && !self.torn {
            let lines = self.offered_lines;
            return Err(format!(
                "an answer of other lines: {by} brings {told}, the offer had {lines}"
            ));
        }
        self.agreed = true;
        self.offers.push(offered);
        self.taken.push(sdp.serial.clone());
        self.lines = self.lines.max(sdp.ports.len());
        Ok(())
    }

    /// An answer in an unreliable 18x: a promise (RFC 6337 §3.1.1).
    pub fn take_preview(&mut self, sdp: &Sdp, by: &str) -> Result<(), String> {
        match self.offered.as_ref().filter(|_| !self.agreed) {
            Some(_) if sdp.is_of_proxy() => Ok(()),
            Some(offered) if *offered != sdp.answers => Err(format!(
                "an early answer to another offer: {by} brings {}, the offer was {offered}",
                sdp.told()
            )),
            Some(_) => {
                self.previewed.get_or_insert_with(|| sdp.serial.clone());
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub fn take_offer(&mut self, sdp: &Sdp, by: &str) -> Result<(), String> {
        let is_known = self.taken.contains(&sdp.serial) || self.offers.contains(&sdp.answers);
        if !sdp.is_offer() && !is_known {
            return Err(format!(
                "an answer where only an offer may be: {by} brings {}",
                sdp.told()
            ));
        }
        if let Some(offered) = &self.offered {
            return Err(format!(
                "an offer while another waits: {by} brings {} while {offered} waits for its answer",
                sdp.told()
            ));
        }
        if sdp.ports.len() < self.lines && !self.torn {
            return Err(format!(
                "an offer of fewer lines: {by} brings {} and there were {} lines",
                sdp.told(),
                self.lines
            ));
        }
        self.owed = Some(sdp.clone());
        Ok(())
    }

    /// Our answer went out for good.
    pub fn answered(&mut self) {
        if let Some(offer) = self.owed.take() {
            self.lines = self.lines.max(offer.ports.len());
            self.taken.push(offer.serial);
            self.agreed = true;
        }
        self.preview = None;
    }
}
