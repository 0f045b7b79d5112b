//! The subscription that a REFER makes with us (RFC 3515 §2.4.4): its sender is told how the transfer fares, by NOTIFYs with
//! a fragment of SIP: that we try, then how it ended. One at a time, so that none overtakes another.

use bytes::Bytes;

use crate::b2bua::call::Call;
use crate::b2bua::dialog::LegState;
use crate::b2bua::ending::Farewell;
use crate::b2bua::reject::Refusal;
use crate::b2bua::turn::Turn;
use crate::model::Leg;
use crate::sip::transaction::{ClientId, ServerId};
use crate::sip::{Headers, Method, Params, Request, Response, reason_phrase};

/// Seconds that the subscription lasts: as long as whoever is called may take to come through, and more.
const EXPIRES: u32 = 300;

/// Why there is no more to tell (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reason {
    /// The transfer has ended.
    NoResource,
    /// The sender of the REFER does not want to hear more.
    Timeout,
}

/// One fragment: a status, and whether it is the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Fragment {
    status: u16,
    last: Option<Reason>,
}

#[derive(Debug)]
pub(in crate::b2bua) struct Notices {
    /// Who is told.
    side: Leg,
    /// The CSeq number of the REFER: `id` of all but the first REFER in a dialog (RFC 3515 §2.4.6).
    id: Option<u32>,
    /// The NOTIFY that is not answered yet.
    client: Option<ClientId>,
    /// What is to be told next.
    next: Option<Fragment>,
    /// The last was told, or is `next`.
    is_over: bool,
    /// Who is told is let go after that.
    parts: bool,
}

impl Notices {
    /// A NOTIFY is on its way, or waits for the one before.
    pub(in crate::b2bua) const fn is_telling(&self) -> bool {
        self.client.is_some() || self.next.is_some()
    }

    pub const fn new(side: Leg, id: Option<u32>) -> Self {
        Self {
            side,
            id,
            client: None,
            next: None,
            is_over: false,
            parts: false,
        }
    }

    /// Whether a SUBSCRIBE of this leg means this subscription.
    fn is_meant(&self, side: Leg, headers: &Headers) -> bool {
        let event = headers.get("Event").unwrap_or_default();
        let (package, params) = event.split_at(event.find(';').unwrap_or(event.len()));
        let id = Params::parse(params)
            .ok()
            .and_then(|params| params.get("id")?.parse::<u32>().ok());
        let is_id = id.is_none() || id == self.id;
        self.side == side && is_id && package.trim().eq_ignore_ascii_case("refer")
    }
}

impl Call {
    /// Tells the sender of the REFER a status; a final one is the last.
    pub(in crate::b2bua) fn notify(&mut self, turn: &mut Turn<'_>, status: u16) {
        let last = (status >= 200).then_some(Reason::NoResource);
        self.tell(turn, Fragment { status, last });
    }

    fn tell(&mut self, turn: &mut Turn<'_>, fragment: Fragment) {
        let Some(notices) = &mut self.transfers.notices else {
            return;
        };
        if notices.is_over {
            return;
        }
        notices.is_over = fragment.last.is_some();
        notices.next = Some(fragment);
        self.send_notice(turn);
    }

    fn send_notice(&mut self, turn: &mut Turn<'_>) {
        let Some(notices) = self
            .transfers
            .notices
            .as_mut()
            .filter(|notices| notices.client.is_none())
        else {
            return;
        };
        let (side, id) = (notices.side, notices.id);
        let Some(fragment) = notices.next.take() else {
            if notices.is_over && notices.parts {
                self.let_go(turn, side);
            }
            return;
        };
        let Some(mut notify) = self.leg_mut(side).dialog_request(Method::Notify) else {
            return;
        };
        let event = id.map_or_else(|| "refer".to_owned(), |id| format!("refer;id={id}"));
        let state = match fragment.last {
            None => format!("active;expires={EXPIRES}"),
            Some(Reason::NoResource) => "terminated;reason=noresource".to_owned(),
            Some(Reason::Timeout) => "terminated;reason=timeout".to_owned(),
        };
        notify.headers.push("Event", event);
        notify.headers.push("Subscription-State", state);
        let line = format!("SIP/2.0 {} {}\r\n", fragment.status, reason_phrase(fragment.status));
        notify.set_body("message/sipfrag;version=2.0", Bytes::from(line));
        let client = turn.request(self.id, self.line(side), notify);
        if let Some(notices) = &mut self.transfers.notices {
            notices.client = Some(client);
        }
    }

    /// A NOTIFY is not answered yet.
    pub(in crate::b2bua) fn is_telling(&self) -> bool {
        let notices = self.transfers.notices.as_ref();
        notices.is_some_and(|notices| notices.client.is_some())
    }

    /// A BYE of ours is next: the last NOTIFY goes before it, though the one before that is not answered.
    pub(in crate::b2bua) fn hurry_notice(&mut self, turn: &mut Turn<'_>) {
        let is_up = Leg::BOTH.map(|side| self.leg(side).state == LegState::Up);
        let waits = |notices: &&mut Notices| notices.next.is_some() && is_up[notices.side.index()];
        if let Some(notices) = self.transfers.notices.as_mut().filter(waits) {
            if let Some(client) = notices.client.take() {
                turn.wire.disown_client(client);
            }
            self.send_notice(turn);
        }
    }

    pub(in crate::b2bua) fn is_notice(&self, client: ClientId) -> bool {
        self.transfers
            .notices
            .as_ref()
            .is_some_and(|notices| notices.client == Some(client))
    }

    /// A NOTIFY was answered, or never will be (None). Who does not want to hear it is told no more (RFC 6665 §4.2.2).
    pub(in crate::b2bua) fn on_notice_answered(&mut self, turn: &mut Turn<'_>, response: Option<&Response>) {
        if response.is_some_and(|response| response.status < 200) {
            return;
        }
        let Some(notices) = &mut self.transfers.notices else {
            return;
        };
        if let Some(client) = notices.client.take() {
            turn.wire.disown_client(client);
        }
        if !response.is_some_and(Response::is_success) {
            notices.is_over = true;
            notices.next = None;
        }
        self.send_notice(turn);
    }

    /// Who sent the REFER is let go, once it has heard the last.
    pub(super) fn part_after_notice(&mut self, turn: &mut Turn<'_>, side: Leg) {
        match &mut self.transfers.notices {
            Some(notices) if notices.side == side => {
                notices.parts = true;
                self.send_notice(turn);
            }
            _ => self.let_go(turn, side),
        }
    }

    /// The recorder is lost: of a strict call nobody is kept for the sake of a NOTIFY that is not answered.
    pub(in crate::b2bua) fn part_without_recorder(&mut self, turn: &mut Turn<'_>) {
        if self.armed && self.decision.is_strict_during(self.meeting) {
            self.hurry_notice(turn);
            Leg::BOTH.into_iter().for_each(|side| self.let_go(turn, side));
        }
    }

    fn let_go(&mut self, turn: &mut Turn<'_>, side: Leg) {
        if self.leg(side).state == LegState::Up {
            self.hang_up(turn, side, &Farewell::default(), &Refusal::Cancelled);
        }
    }

    /// A SUBSCRIBE within the REFER's subscription: it is refreshed, or ended (RFC 3515 §2.4.4). False: it is another's.
    pub(in crate::b2bua) fn on_refer_subscribe(
        &mut self,
        turn: &mut Turn<'_>,
        side: Leg,
        server: ServerId,
        request: &Request,
    ) -> bool {
        let meant = |notices: &&Notices| !notices.is_over && notices.is_meant(side, &request.headers);
        if !self.transfers.notices.as_ref().is_some_and(|notices| meant(&notices)) {
            return false;
        }
        let asked = request
            .headers
            .get("Expires")
            .and_then(|value| value.trim().parse().ok());
        let expires = asked.unwrap_or(EXPIRES).min(EXPIRES);
        let mut response = self.leg(side).dialog_response(request, 200, None);
        response.headers.push("Expires", expires.to_string());
        turn.respond(self.line(side), server, response);
        let last = (expires == 0).then_some(Reason::Timeout);
        self.tell(turn, Fragment { status: 100, last });
        true
    }

    pub(in crate::b2bua) fn release_notices(&self, turn: &mut Turn<'_>) {
        if let Some(client) = self.transfers.notices.as_ref().and_then(|notices| notices.client) {
            turn.wire.disown_client(client);
        }
    }
}
