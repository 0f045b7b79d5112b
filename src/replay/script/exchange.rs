//! What is remembered of a captured call: its dialogs with the proxy and its transactions.

use std::net::SocketAddr;

use crate::model::Leg;
use crate::sip::{Method, NameAddr, Request, Response, Uri};

/// The dialog that the proxy keeps with one phone.
#[derive(Clone, Debug)]
pub(in crate::replay) struct Dialog {
    pub call_id: String,
    pub proxy: NameAddr,
    pub phone: NameAddr,
    /// The proxy's Contact.
    pub target: Option<Uri>,
    /// Highest CSeq that the phone used.
    pub number: u32,
    pub is_confirmed: bool,
    pub is_over: bool,
}

/// One captured transaction and what became of it here.
#[derive(Debug)]
pub(super) struct Exchange {
    pub by: Leg,
    pub number: u32,
    /// By which the phone said it, where the proxy tried again by itself what was captured as another INVITE.
    pub said_as: Option<u32>,
    /// An INVITE of the proxy's own, which the capture has not shown yet.
    pub is_unclaimed: bool,
    pub method: Method,
    pub is_initial: bool,
    /// Not from the capture: nor will its answer be.
    pub is_made_up: bool,
    /// Where it was captured.
    pub hop: (SocketAddr, SocketAddr),
    /// Of a REFER, as the phone said it.
    pub refer_to: Option<String>,
    /// As the proxy passed it on to the other leg.
    pub forwarded: Option<Request>,
    pub held: Vec<Response>,
    pub answers: Vec<(u16, u64)>,
    /// The far phone gave its final answer.
    pub is_answered: bool,
    /// That was a 2xx.
    pub is_taken: bool,
    /// What the proxy answered finally.
    pub status: Option<u16>,
    pub is_acked: bool,
    pub repeats: u8,
}

impl Dialog {
    /// Puts a captured request of `by` into the dialog that the proxy keeps. `became`: as another party (RFC 4916).
    pub(super) fn address(&self, request: &mut Request, by: Leg, became: bool) {
        let tag = request.headers.from().tag().map(str::to_owned);
        let phone = match self.phone.tag() {
            Some(tag) if became => request.headers.from().clone().without_tag().with_tag(tag),
            _ => self.phone.clone(),
        };
        // Forks of B have tags of their own; A has the one that it called with.
        request.headers.set_from(match tag {
            Some(tag) if by == Leg::B => phone.without_tag().with_tag(&tag),
            _ => phone,
        });
        request.headers.set_to(self.proxy.clone());
        if by == Leg::B {
            request.headers.set("Call-ID", self.call_id.clone());
        }
        if let Some(target) = &self.target {
            request.uri = target.clone();
        }
    }
}

impl Exchange {
    pub(super) fn new(by: Leg, number: u32, method: Method, is_initial: bool, hop: (SocketAddr, SocketAddr)) -> Self {
        Self {
            by,
            number,
            said_as: None,
            is_unclaimed: false,
            method,
            is_initial,
            is_made_up: false,
            hop,
            refer_to: None,
            forwarded: None,
            held: Vec::new(),
            answers: Vec::new(),
            is_answered: false,
            is_taken: false,
            status: None,
            is_acked: false,
            repeats: 0,
        }
    }

    pub(super) fn made_up(by: Leg, number: u32, method: Method, hop: (SocketAddr, SocketAddr)) -> Self {
        Self {
            is_made_up: true,
            ..Self::new(by, number, method, false, hop)
        }
    }

    pub(super) fn is(&self, by: Leg, number: u32, method: &Method) -> bool {
        self.by == by && self.number == number && self.method == *method && !self.is_unclaimed
    }

    /// The final answer that was captured on its hop.
    pub(super) fn captured_final(&self) -> Option<u16> {
        let statuses = self.answers.iter().map(|(status, _)| *status);
        statuses.rev().find(|status| *status >= 200)
    }

    pub(super) fn said_as(&self) -> u32 {
        self.said_as.unwrap_or(self.number)
    }

    /// Whether the proxy's request to `leg` is this transaction passed on. A BYE and a CANCEL may have been answered
    /// to the one leg before the other is told.
    pub(super) fn is_awaited_as(&self, leg: Leg, request: &Request) -> bool {
        let is_open = self.status.is_none() || matches!(self.method, Method::Bye | Method::Cancel);
        let is_kind = request.method != Method::Invite || self.is_initial == request.headers.to().tag().is_none();
        self.by != leg
            && self.method == request.method
            && self.forwarded.is_none()
            && !self.is_made_up
            && is_open
            && is_kind
    }

    pub(super) fn is_forwarded_as(&self, leg: Leg, request: &Request) -> bool {
        self.by != leg
            && self.method == request.method
            && self.forwarded.as_ref().is_some_and(|f| {
                f.headers.cseq().number == request.headers.cseq().number
                    && f.headers.call_id() == request.headers.call_id()
            })
    }
}

/// Tells answers of one status apart: by To tag, RSeq and body. FNV-1a.
pub(super) fn fingerprint(response: &Response) -> u64 {
    let tag = response.headers.to().tag().unwrap_or_default().as_bytes();
    let rseq = response.headers.get("RSeq").unwrap_or_default().as_bytes();
    [tag, b" ", rseq, b" ", &response.body]
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
