//! Dialogs that captured requests name: Replaces, Join and Target-Dialog name what the phones had with each other, and are
//! said over as the phones of the replay know it, which have theirs with the proxy.

use std::collections::VecDeque;

use super::calls::Calls;
use crate::b2bua::{DialogName, dialog_named, dialog_of_refer_to};
use crate::model::Leg;
use crate::sip::{Message, Method, NameAddr, Request, Uri};

/// References that the proxy wrote anew, in REFERs that it passed on, and that are remembered. Full: the oldest is forgotten.
const REFERRALS_MAX: usize = 256;

/// What phones were told of other dialogs by REFER: as the referrer named it, and the Refer-To that came of it.
#[derive(Debug, Default)]
pub(super) struct Referrals(VecDeque<(DialogName, Uri)>);

impl Referrals {
    /// `said`, `passed`: the Refer-To of a REFER as a phone gave it to the proxy and as the proxy passed it on.
    pub(super) fn learn(&mut self, said: &str, passed: &str) {
        let name = NameAddr::parse(said).ok().and_then(|said| dialog_of_refer_to(&said));
        let (Some((_, name)), Ok(passed)) = (name, NameAddr::parse(passed)) else {
            return;
        };
        if self.0.len() == REFERRALS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((name, passed.uri));
    }

    fn find(&self, said: &DialogName) -> Option<&Uri> {
        self.0.iter().rev().find(|(name, _)| name == said).map(|(_, uri)| uri)
    }
}

impl Calls {
    /// The message with what it names of other dialogs said over.
    pub(super) fn with_names(&self, message: Message) -> Message {
        match message {
            Message::Request(mut request) => {
                match request.method {
                    Method::Refer => self.rename_refer_to(&mut request),
                    _ => self.rename(&mut request),
                }
                request.into()
            }
            response => response,
        }
    }

    fn rename_refer_to(&self, request: &mut Request) {
        let refer_to = request
            .headers
            .get("Refer-To")
            .and_then(|value| NameAddr::parse(value).ok());
        let Some(mut refer_to) = refer_to else { return };
        let named = dialog_of_refer_to(&refer_to);
        let Some((header, (name, target))) = named.and_then(|(header, name)| Some((header, self.known(&name)?))) else {
            return;
        };
        refer_to.uri = by_address(&refer_to.uri, target).with_header(header, &name.to_string());
        request.headers.set("Refer-To", refer_to.to_string());
    }

    fn rename(&self, request: &mut Request) {
        let Ok(Some((header, name))) = dialog_named(request) else {
            return;
        };
        let Some((name, target)) = self.known(&name) else {
            return;
        };
        let passed = self.referrals.find(&name);
        let named = passed.and_then(|uri| Some((uri, uri.header(header)?)));
        let (uri, value) = match named {
            Some((uri, value)) => (uri.without_headers(), value),
            None => (by_address(&request.uri, target), name.to_string()),
        };
        request.uri = uri;
        request.headers.set(header, value);
    }

    /// A captured dialog as the phone knows its own with the proxy whose peer the name means, and the proxy's Contact
    /// there: whoever speaks of a dialog has it from that phone.
    fn known(&self, name: &DialogName) -> Option<(DialogName, &Uri)> {
        let [told, teller] = name.tags();
        let index = self.dialogs.find_by(name.call_id(), [Some(told), Some(teller)])?;
        let script = self.call(index)?.script.as_deref()?;
        let dialog = Leg::BOTH
            .into_iter()
            .filter_map(|leg| script.dialog(leg))
            .find(|dialog| dialog.phone.tag() == Some(teller))?;
        let proxy = dialog.proxy.tag().unwrap_or_default();
        Some((name.naming(&dialog.call_id, proxy, teller), dialog.target.as_ref()?))
    }
}

/// A URI by address is the Contact of a captured phone: the proxy's stands for it. Any other is a name, which stays.
fn by_address(uri: &Uri, target: &Uri) -> Uri {
    if uri.ip().is_some() {
        target.clone()
    } else {
        uri.clone()
    }
}
