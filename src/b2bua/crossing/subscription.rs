//! Subscriptions through us: SUBSCRIBE makes a dialog on either side, NOTIFY and refreshes go between them (RFC 6665).
//! No call depends on one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::carry::{self, Crossing};
use crate::b2bua::dialog::CallLeg;
use crate::b2bua::reject::Refusal;
use crate::model::{Leg, Timestamp};
use crate::sip::dialog::{Dialog, DialogError};
use crate::sip::{CSEQ_MAX, CSeq, Flow, Headers, Message, Method, Request, Response};
use crate::trunk::Trunk;

/// Subscriptions at a time; more are refused with 503.
const SUBSCRIPTIONS_MAX: usize = 4_096;
/// A subscription that says nothing for so long is forgotten, whatever its Expires says.
const EXPIRES_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long the NOTIFY that ends a subscription may take to come: Timer N, 64·T1 (RFC 6665 §4.1.2).
const GRACE: Duration = Duration::from_secs(32);
/// Where a 2xx does not say how long the subscription lasts, though it must (RFC 6665 §4.2.1.1).
const EXPIRES_DEFAULT: Duration = Duration::from_secs(3_600);

/// The name of one subscription.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SubscriptionId(u64);

/// A subscriber, leg A, and a notifier, leg B.
#[derive(Debug)]
struct Subscription {
    a: CallLeg,
    b: CallLeg,
    until: Timestamp,
}

/// A request inside a subscription on its way: from one trunk to the other.
#[derive(Debug)]
pub struct Onward {
    pub request: Request,
    pub flow: Flow,
    pub trunks: [Arc<Trunk>; 2],
}

/// All subscriptions of a node.
#[derive(Debug, Default)]
pub struct Subscriptions {
    table: BTreeMap<SubscriptionId, Subscription>,
    /// By the tags that we gave to either side.
    tags: BTreeMap<String, (SubscriptionId, Leg)>,
    due: BTreeSet<(Timestamp, SubscriptionId)>,
    last: u64,
}

impl Subscriptions {
    pub fn may_begin(&self) -> Result<(), Refusal> {
        if self.table.len() < SUBSCRIPTIONS_MAX {
            Ok(())
        } else {
            Err(Refusal::TooManyCalls)
        }
    }

    /// A SUBSCRIBE outside any dialog goes on: `sent` on leg B. NOTIFYs may come before its answer (RFC 6665 §4.1.2.4).
    pub fn begin(
        &mut self,
        now: Timestamp,
        subscribe: &Request,
        mut a: CallLeg,
        mut b: CallLeg,
        sent: &Request,
    ) -> Result<SubscriptionId, Refusal> {
        self.may_begin()?;
        let promised = Response::to(subscribe, 200, None, Some(&a.local_tag));
        a.dialog = Some(Dialog::uas(subscribe, &promised).map_err(|_| Refusal::NoContact)?);
        b.invite = Some(Box::new(sent.clone()));
        self.last += 1;
        let id = SubscriptionId(self.last);
        self.tags.insert(a.local_tag.clone(), (id, Leg::A));
        self.tags.insert(b.local_tag.clone(), (id, Leg::B));
        let until = now + GRACE;
        self.due.insert((until, id));
        self.table.insert(id, Subscription { a, b, until });
        Ok(id)
    }

    /// Whether somebody has answered, or sent a NOTIFY: its dialog is with them. Or it is over.
    pub fn is_begun(&self, id: SubscriptionId) -> bool {
        self.table
            .get(&id)
            .is_none_or(|subscription| subscription.b.dialog.is_some())
    }

    /// Another address is asked for the notifier: its SUBSCRIBE goes there as `sent`.
    pub fn turn_to(&mut self, now: Timestamp, id: SubscriptionId, flow: Flow, sent: &Request) {
        if let Some(subscription) = self.table.get_mut(&id) {
            subscription.b.flow = flow;
            subscription.b.invite = Some(Box::new(sent.clone()));
        }
        self.last_until(id, now + GRACE);
    }

    /// The side whose dialog a request names, and its trunk.
    pub fn side_of(&self, request: &Request) -> Option<(SubscriptionId, Leg, &Trunk)> {
        let (id, side) = *self.tags.get(request.headers.to().tag()?)?;
        let leg = self.table.get(&id)?.leg(side);
        (leg.call_id == request.headers.call_id()).then_some((id, side, &*leg.trunk))
    }

    /// A request inside a subscription, as the other side gets it.
    pub fn onward(
        &mut self,
        (id, side): (SubscriptionId, Leg),
        flow: Flow,
        request: &Request,
    ) -> Result<Onward, Refusal> {
        let subscription = self.table.get_mut(&id).ok_or(Refusal::NoSuchDialog)?;
        let leg = subscription.leg_mut(side);
        // The peer may have come back on a new connection.
        if flow.transport.is_reliable() {
            leg.flow = flow;
        }
        if leg.dialog.is_none() && request.method == Method::Notify {
            leg.dialog = leg.invite.as_ref().and_then(|sent| made_by_notify(sent, request));
        }
        let dialog = leg.dialog.as_mut().ok_or(Refusal::NoSuchDialog)?;
        dialog.accepts(request).map_err(|error| match error {
            DialogError::OutOfOrder => Refusal::OutOfOrder,
            _ => Refusal::NoSuchDialog,
        })?;
        if !matches!(request.method, Method::Subscribe | Method::Notify) {
            let allow = leg.trunk.allow(super::carry::ALLOW);
            return Err(crate::b2bua::reject::of_method(&request.method, allow));
        }
        dialog.target_refresh(&Message::Request(request.clone()));
        let from = Arc::clone(&subscription.leg(side).trunk);
        let other = subscription.leg_mut(side.other());
        let crossing = Crossing::between(&from, &other.trunk);
        let mut onward = other
            .dialog_request(request.method.clone())
            .ok_or(Refusal::NoSuchDialog)?;
        carry::carry(&crossing, &request.headers, &mut onward.headers);
        onward.body = request.body.clone();
        Ok(Onward {
            request: onward,
            flow: other.flow,
            trunks: [from, Arc::clone(&other.trunk)],
        })
    }

    /// A request that went to `side` goes again, challenged: it gets the next number of its dialog (RFC 3261 §22.2).
    pub fn renumber(&mut self, (id, side): (SubscriptionId, Leg), request: &mut Request) -> Option<()> {
        let leg = self.table.get_mut(&id)?.leg_mut(side);
        let number = match &mut leg.dialog {
            Some(dialog) => dialog.next_number(),
            None => request.headers.cseq().number.saturating_add(1),
        };
        set_number(request, number)?;
        if request.headers.to().tag().is_none() {
            leg.invite = Some(Box::new(request.clone()));
        }
        Some(())
    }

    /// The final answer to a request that came from `side`; what that side gets is completed.
    pub fn on_answered(
        &mut self,
        now: Timestamp,
        (id, side): (SubscriptionId, Leg),
        request: &Request,
        response: &Response,
        answer: &mut Response,
    ) {
        let Some(subscription) = self.table.get_mut(&id) else {
            return;
        };
        let is_first = request.headers.to().tag().is_none();
        if is_first {
            let tag = &subscription.leg(side).local_tag;
            answer.headers.set_to(answer.headers.to().clone().with_tag(tag));
        }
        if !(200..300).contains(&response.status) {
            if is_first || response.status == 481 {
                self.end(id);
            }
            return;
        }
        if is_first && response.headers.to().tag().is_none() {
            // No dialog comes of it (RFC 6665 §4.1.2, RFC 3261 §12.1).
            self.end(id);
            return;
        }
        let other = subscription.leg_mut(side.other());
        match &mut other.dialog {
            Some(dialog) => dialog.target_refresh(&Message::Response(response.clone())),
            None => {
                let sent = other.invite.as_ref();
                other.dialog = sent.and_then(|sent| Dialog::uac(sent, response).ok());
            }
        }
        subscription.leg(side).push_contact(&mut answer.headers);
        let lasts = match request.method {
            Method::Subscribe => Some(expires(response.headers.get("Expires"))),
            _ => lasts(&request.headers),
        };
        // A terminated one stays for the answer to its SUBSCRIBE, which the last NOTIFY may overtake.
        let lasts = lasts.unwrap_or_default().min(EXPIRES_MAX);
        self.last_until(id, now + lasts + GRACE);
    }

    /// A request of it got no answer: there never was a notifier, or the subscriber is gone. A refresh may be tried
    /// again (RFC 6665 §4.1.2.2).
    pub fn on_failed(&mut self, id: SubscriptionId, request: &Request) {
        if request.method == Method::Notify || request.headers.to().tag().is_none() {
            self.end(id);
        }
    }

    fn end(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.table.remove(&id) else {
            return;
        };
        self.due.remove(&(subscription.until, id));
        self.tags.remove(&subscription.a.local_tag);
        self.tags.remove(&subscription.b.local_tag);
    }

    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Forgets what has run out.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.end(id);
        }
    }

    /// The trunks that they are on.
    pub fn trunks(&self) -> impl Iterator<Item = &Arc<Trunk>> {
        self.table
            .values()
            .flat_map(|subscription| [&subscription.a.trunk, &subscription.b.trunk])
    }

    pub fn leftovers(&self) -> usize {
        self.table.len() + self.tags.len()
    }

    fn last_until(&mut self, id: SubscriptionId, until: Timestamp) {
        if let Some(subscription) = self.table.get_mut(&id) {
            self.due.remove(&(subscription.until, id));
            subscription.until = until;
            self.due.insert((until, id));
        }
    }
}

impl Subscription {
    const fn leg(&self, side: Leg) -> &CallLeg {
        match side {
            Leg::A => &self.a,
            Leg::B => &self.b,
        }
    }

    const fn leg_mut(&mut self, side: Leg) -> &mut CallLeg {
        match side {
            Leg::A => &mut self.a,
            Leg::B => &mut self.b,
        }
    }
}

/// None: there is no such number.
pub fn set_number(request: &mut Request, number: u32) -> Option<()> {
    let method = request.method.clone();
    let cseq = (number <= CSEQ_MAX).then_some(CSeq { number, method })?;
    request.headers.set("CSeq", cseq.to_string());
    Some(())
}

/// The dialog of a subscription whose NOTIFY came before the answer to its SUBSCRIBE (RFC 6665 §4.4.1).
fn made_by_notify(sent: &Request, notify: &Request) -> Option<Dialog> {
    let mut answer = Response::to(sent, 200, None, notify.headers.from().tag());
    for contact in notify.headers.get_all("Contact") {
        answer.headers.push("Contact", contact);
    }
    let routes: Vec<&str> = notify.headers.get_all("Record-Route").collect();
    for route in routes.into_iter().rev() {
        answer.headers.push("Record-Route", route);
    }
    Dialog::uac(sent, &answer).ok()
}

fn expires(value: Option<&str>) -> Duration {
    let seconds = value.and_then(|value| value.trim().parse::<u32>().ok());
    seconds.map_or(EXPIRES_DEFAULT, |seconds| Duration::from_secs(seconds.into()))
}

/// How long the subscription goes on after this NOTIFY; none: it has ended (RFC 6665 §8.2.3).
fn lasts(notify: &Headers) -> Option<Duration> {
    let state = notify.get("Subscription-State").unwrap_or_default();
    let (state, params) = state.split_once(';').unwrap_or((state, ""));
    if state.trim().eq_ignore_ascii_case("terminated") {
        return None;
    }
    let value = params
        .split(';')
        .find_map(|param| param.trim().strip_prefix("expires="));
    Some(expires(value))
}
