//! Reliable provisional responses, end to end (RFC 3262): RSeq and Require cross with the response, RAck with the PRACK. We
//! keep no copy and resend nothing: whoever made the response does.

use std::fmt;

use bytes::Bytes;

use crate::b2bua::call::Call;
use crate::b2bua::crossing::PASSINGS_MAX;
use crate::b2bua::reject::Refusal;
use crate::b2bua::session::{Content, leave_out_descriptions};
use crate::b2bua::state::Phase;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::transaction::ServerId;
use crate::sip::{Headers, Method, Request, Response};

/// Provisional responses of one early dialog that may wait for their PRACK at a time; more are dropped, and come again.
pub const UNACKNOWLEDGED_MAX: u32 = 16;

const OPTION: &str = "100rel";

/// What one early dialog, or one re-INVITE, knows of its reliable provisional responses.
#[derive(Debug, Default)]
pub struct Reliable {
    /// The CSeq number of the INVITE as it came and as it went on: RAck names it.
    near: u32,
    far: u32,
    /// The first and the newest RSeq that were passed on, and the newest that was acknowledged.
    first: u32,
    newest: Option<u32>,
    acknowledged: Option<u32>,
}

/// What a provisional response is to the dialog.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It promises nothing, or to somebody who did not ask for it.
    Unreliable,
    /// The next in order.
    Next(u32),
    /// One that was seen before: it changes nothing.
    Copy(u32),
    /// One before its turn, or too many wait for their PRACK: not passed on; it comes again.
    OutOfTurn,
}

impl Standing {
    /// As the response has to say it. What its receiver does not support must not reach it (RFC 3262 §3).
    pub fn write(self, response: &mut Response) {
        match self {
            Self::Next(number) | Self::Copy(number) => response.headers.push("RSeq", number.to_string()),
            Self::Unreliable | Self::OutOfTurn => drop_option(&mut response.headers, "Require", OPTION),
        }
    }
}

impl Reliable {
    /// The INVITE went on under this CSeq number.
    pub const fn number(&mut self, far: u32) {
        self.far = far;
    }

    /// A provisional response to `invite`, which is the request as it came to us.
    pub fn take(&mut self, invite: &Request, response: &Response) -> Standing {
        self.near = invite.headers.cseq().number;
        self.far = response.headers.cseq().number;
        let asked = names(&invite.headers, "Supported", OPTION) || names(&invite.headers, "Require", OPTION);
        let number = response
            .headers
            .get("RSeq")
            .and_then(|number| number.trim().parse().ok());
        let Some(number) = number.filter(|_| asked && names(&response.headers, "Require", OPTION)) else {
            return Standing::Unreliable;
        };
        match self.newest {
            Some(newest) if number <= newest => Standing::Copy(number),
            Some(newest) if number - newest > 1 => Standing::OutOfTurn,
            Some(newest) if newest - self.acknowledged.unwrap_or(newest) >= UNACKNOWLEDGED_MAX => Standing::OutOfTurn,
            // A second one has to wait for the PRACK of the first (RFC 3262 §3).
            Some(_) if self.acknowledged.is_none() => Standing::OutOfTurn,
            before => {
                if before.is_none() {
                    self.first = number;
                }
                self.newest = Some(number);
                Standing::Next(number)
            }
        }
    }

    /// The RAck of a PRACK, as it has to go on. None when it is for no response that was passed on.
    fn acknowledge(&mut self, rack: RAck) -> Option<RAck> {
        let newest = self.newest?;
        if rack.cseq != self.near || !(self.first..=newest).contains(&rack.response) {
            return None;
        }
        let before = self.acknowledged.unwrap_or(rack.response);
        self.acknowledged = Some(before.max(rack.response));
        Some(RAck { cseq: self.far, ..rack })
    }
}

/// Which response a PRACK acknowledges (RFC 3262 §7.2); its method is INVITE always.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RAck {
    response: u32,
    cseq: u32,
}

impl RAck {
    /// Whether it is for the response of this number, to the INVITE of that.
    pub fn names(self, rseq: u32, invite: Option<u32>) -> bool {
        self.response == rseq && Some(self.cseq) == invite
    }

    /// None when it is absent, or not for an INVITE.
    pub fn of(headers: &Headers) -> Option<Self> {
        let mut words = headers.get("RAck")?.split_ascii_whitespace();
        let mut number = || words.next()?.parse().ok();
        let (response, cseq) = (number()?, number()?);
        (words.next() == Some("INVITE") && words.next().is_none()).then_some(Self { response, cseq })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} INVITE", self.response, self.cseq)
    }
}

impl Call {
    /// A PRACK: it crosses; what it brings is an answer to the offer of a reliable response, or an offer of its own
    /// (RFC 3262 §5).
    pub(in crate::b2bua) fn on_prack(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        server: ServerId,
        mut request: Request,
    ) {
        if let Err(refusal) = self.take_prack(side, &mut request) {
            self.refuse_request(turn, side, server, &request, &refusal);
            return;
        }
        let brings_sdp = self
            .content_of(&request.headers, &request.body)
            .sdp(&request.body)
            .is_some();
        if brings_sdp && self.negotiation.pending_by() != Some(side.other()) {
            self.on_offer_again(turn, side, server, request);
            return;
        }
        if brings_sdp {
            match self.carry_late_answer(turn, side, &request) {
                Ok(body) => request.body = body,
                Err(refusal) => {
                    self.refuse_request(turn, side, server, &request, &refusal);
                    return;
                }
            }
        }
        self.on_passing(turn, side, server, &request);
    }

    /// Checks a PRACK and makes its RAck name the far end's INVITE.
    fn take_prack(&mut self, side: Leg, request: &mut Request) -> Result<(), Refusal> {
        let rack = RAck::of(&request.headers).ok_or(Refusal::NoSuchDialog)?;
        if self.phase == Phase::Ending {
            return Err(Refusal::NoSuchDialog);
        }
        if self.passings.len() >= PASSINGS_MAX {
            return Err(Refusal::Busy);
        }
        if self.content_of(&request.headers, &request.body) == Content::Unreadable {
            return Err(Refusal::UnsupportedBody);
        }
        let of_exchange = self.exchange.as_mut().filter(|exchange| exchange.from == side);
        let mapped = of_exchange
            .and_then(|exchange| exchange.reliable.acknowledge(rack))
            .or_else(|| self.reliable.acknowledge(rack).filter(|_| side == Leg::A))
            .ok_or(Refusal::NoSuchDialog)?;
        request.headers.set("RAck", mapped.to_string());
        Ok(())
    }

    /// The answer that a PRACK brings, as the other leg shall see it.
    fn carry_late_answer(&mut self, turn: &mut Turn<'_>, side: Leg, prack: &Request) -> Result<Bytes, Refusal> {
        self.admit_late_answer(turn, &prack.headers, &prack.body)?;
        let content = self.content_of(&prack.headers, &prack.body);
        let sdp = content.sdp(&prack.body).unwrap_or_default();
        let anchored = self.negotiation.answer(side, sdp)?;
        self.renew_media(turn);
        Ok(content.with_sdp(&prack.body, anchored))
    }
}

/// A PRACK goes on with the RAck that it was given by `take_prack`.
pub fn carry_rack(prack: &Request, onward: &mut Request) {
    if let Some(rack) = prack.headers.get("RAck").filter(|_| prack.method == Method::Prack) {
        onward.headers.push("RAck", rack);
    }
}

/// What the 2xx to a PRACK offers or answers without being asked does not cross.
pub fn leave_out_sdp(response: &mut Response) {
    let content = Content::of(&response.headers, &response.body);
    if response.headers.cseq().method == Method::Prack && !matches!(content, Content::Empty | Content::Other) {
        response.body = Bytes::new();
        leave_out_descriptions(&mut response.headers);
    }
}

/// Whether a list of option tags (Supported, Require) or methods (Allow) names one.
pub fn names(headers: &Headers, list: &str, wanted: &str) -> bool {
    let mut values = headers.get_all(list).flat_map(|value| value.split(','));
    values.any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

fn drop_option(headers: &mut Headers, list: &str, unwanted: &str) {
    if !names(headers, list, unwanted) {
        return;
    }
    let values: Vec<String> = headers
        .get_all(list)
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|value| !value.eq_ignore_ascii_case(unwanted))
        .map(str::to_owned)
        .collect();
    headers.remove(list);
    if !values.is_empty() {
        headers.push(list, values.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{NameAddr, Uri};

    fn invite(options: &str) -> Request {
        let uri = Uri::parse("sip:bob@example.com").expect("a URI");
        let party = NameAddr::new(uri.clone());
        let mut invite = Request::new(Method::Invite, uri, party.clone(), party, "c1", 7);
        invite.headers.push("Supported", options);
        invite
    }

    fn progress(number: u32) -> Response {
        let mut onward = invite("");
        onward.headers.set("CSeq", "8 INVITE");
        let mut response = Response::to(&onward, 183, None, Some("b"));
        response.headers.push("Require", "100rel, histinfo");
        response.headers.push("RSeq", number.to_string());
        response
    }

    fn rack(text: &str) -> Option<RAck> {
        let mut prack = invite("");
        prack.headers.push("RAck", text);
        RAck::of(&prack.headers)
    }

    #[test]
    fn what_comes_again_is_a_copy_and_what_comes_too_early_waits() {
        let mut reliable = Reliable::default();
        let invite = invite("timer, 100REL");
        assert_eq!(reliable.take(&invite, &progress(5)), Standing::Next(5));
        assert_eq!(reliable.take(&invite, &progress(5)), Standing::Copy(5));
        assert_eq!(
            reliable.take(&invite, &progress(6)),
            Standing::OutOfTurn,
            "before the first PRACK"
        );
        let mapped = reliable.acknowledge(rack("5 7 INVITE").expect("a RAck"));
        assert_eq!(mapped.map(|rack| rack.to_string()), Some("5 8 INVITE".to_owned()));
        assert_eq!(reliable.take(&invite, &progress(8)), Standing::OutOfTurn);
        for number in 6..6 + UNACKNOWLEDGED_MAX {
            assert_eq!(reliable.take(&invite, &progress(number)), Standing::Next(number));
        }
        assert_eq!(
            reliable.take(&invite, &progress(6 + UNACKNOWLEDGED_MAX)),
            Standing::OutOfTurn
        );
        let last = reliable.take(&invite, &progress(u32::MAX));
        assert_eq!(last, Standing::OutOfTurn);
    }

    #[test]
    fn a_prack_for_nothing_that_was_passed_on_is_no_prack() {
        let mut reliable = Reliable::default();
        assert_eq!(reliable.acknowledge(rack("5 7 INVITE").expect("a RAck")), None);
        reliable.take(&invite("100rel"), &progress(5));
        let never = reliable.acknowledge(rack("4 7 INVITE").expect("a RAck"));
        assert_eq!(never, None, "never sent");
        assert_eq!(
            reliable.acknowledge(rack("6 7 INVITE").expect("a RAck")),
            None,
            "not sent yet"
        );
        assert_eq!(
            reliable.acknowledge(rack("5 8 INVITE").expect("a RAck")),
            None,
            "another INVITE"
        );
        for text in [
            "",
            "5",
            "5 7",
            "5 7 BYE",
            "5 7 INVITE x",
            "-5 7 INVITE",
            "5 99999999999 INVITE",
        ] {
            assert_eq!(rack(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_rack_panics_and_one_that_is_read_is_written_as_it_was(text in "[0-9A-Z \\t-]{0,30}") {
            if let Some(rack) = rack(&text) {
                let words: Vec<&str> = text.split_ascii_whitespace().collect();
                let numbers = words[..2].iter().map(|word| word.parse::<u32>().map(|number| number.to_string()));
                let wanted: Vec<String> = numbers.flatten().chain(["INVITE".to_owned()]).collect();
                proptest::prop_assert_eq!(rack.to_string(), wanted.join(" "));
            }
        }

        #[test]
        fn any_order_of_numbers_and_acknowledgements_is_survived(steps in proptest::collection::vec((0..3_u8, proptest::num::u32::ANY), 0..60)) {
            let mut reliable = Reliable::default();
            let invite = invite("100rel");
            for (step, number) in steps {
                let number = if step == 0 { number % 20 } else { number };
                if step == 2 {
                    reliable.acknowledge(RAck { response: number, cseq: 7 });
                } else {
                    reliable.take(&invite, &progress(number));
                }
                let waiting = reliable.newest.unwrap_or_default() - reliable.acknowledged.unwrap_or(reliable.newest.unwrap_or_default());
                proptest::prop_assert!(waiting <= UNACKNOWLEDGED_MAX);
            }
        }
    }

    #[test]
    fn who_did_not_ask_for_it_gets_no_promise() {
        let mut reliable = Reliable::default();
        let standing = reliable.take(&invite("timer"), &progress(5));
        assert_eq!(standing, Standing::Unreliable);
        let mut answer = progress(5);
        answer.headers.remove("RSeq");
        standing.write(&mut answer);
        assert_eq!(answer.headers.get("Require"), Some("histinfo"));
        assert_eq!(answer.headers.get("RSeq"), None);
    }
}
