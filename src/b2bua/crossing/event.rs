//! Event (RFC 6665 §8.2.1) on its way to the other leg: what it says of a REFER's number and of dialogs is said over, as the
//! other leg counts and knows them.

use super::replaces::DialogName;
use crate::b2bua::call::Call;
use crate::model::Leg;
use crate::sip::{Method, Params, Request, unquoted};

/// REFERs of one call whose numbers are remembered; of more, the oldest is forgotten.
const REFERS_MAX: usize = 8;

/// The CSeq number of a REFER on both legs: `Event: refer;id=` quotes it (RFC 3515 §2.4.6).
#[derive(Clone, Copy, Debug)]
pub(in crate::b2bua) struct ReferNumber {
    from: Leg,
    received: u32,
    sent: u32,
}

/// An event of one dialog: key presses in it (RFC 4730), its state (RFC 4235 §3.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DialogEvent {
    package: String,
    params: Params,
    pub name: DialogName,
}

impl DialogEvent {
    /// None: it names no dialog.
    pub fn parse(value: &str) -> Option<Self> {
        let (package, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let package = package.trim();
        let [local, remote] = if package.eq_ignore_ascii_case("dialog") {
            ["to-tag", "from-tag"]
        } else if package.eq_ignore_ascii_case("kpml") {
            ["local-tag", "remote-tag"]
        } else {
            return None;
        };
        let params = Params::parse(params).ok()?;
        let plain = |name: &str| params.get(name).map(unquoted);
        let mut tags = Params::default();
        for tag in [local, remote] {
            tags.set(tag, &plain(tag)?);
        }
        let name = DialogName::parse_with(&plain("call-id")?, [local, remote], tags).ok()?;
        let package = package.to_owned();
        Some(Self { package, params, name })
    }

    /// Whose side its tags are told from is told by no two alike: in key presses only the far end of who asks can be meant.
    pub fn is_of_far_end(&self) -> bool {
        self.package.eq_ignore_ascii_case("kpml")
    }

    /// The same of another dialog.
    pub fn naming(&self, name: &DialogName) -> String {
        let mut params = self.params.clone();
        let values = std::iter::once(("call-id", name.call_id())).chain(name.labelled());
        for (param, value) in values {
            let was_quoted = params.get(param).is_some_and(|old| old.starts_with('"'));
            if was_quoted {
                params.set_quoted(param, value);
            } else {
                params.set(param, value);
            }
        }
        format!("{}{params}", self.package)
    }
}

impl Call {
    pub(super) fn cross_event(&mut self, side: Leg, request: &Request, onward: &mut Request) {
        if request.method == Method::Refer {
            if self.refers.len() >= REFERS_MAX {
                self.refers.remove(0);
            }
            self.refers.push(ReferNumber {
                from: side,
                received: request.headers.cseq().number,
                sent: onward.headers.cseq().number,
            });
            return;
        }
        let Some(value) = request.headers.get("Event") else {
            return;
        };
        let crossed = self.renumbered(side, value).or_else(|| {
            let event = DialogEvent::parse(value)?;
            Some(event.naming(&self.name_beyond(side, &event.name)?))
        });
        if let Some(crossed) = crossed {
            onward.headers.set("Event", crossed);
        }
    }

    /// `refer;id=N` as the other leg counts: N is the CSeq number of the REFER there.
    fn renumbered(&self, side: Leg, value: &str) -> Option<String> {
        let (package, params) = value.split_at(value.find(';')?);
        let mut params = Params::parse(params).ok()?;
        let id = params.get("id")?.parse::<u32>().ok()?;
        if !package.trim().eq_ignore_ascii_case("refer") {
            return None;
        }
        let number = self.refers.iter().rev().find_map(|refer| {
            if refer.from == side {
                (refer.received == id).then_some(refer.sent)
            } else {
                (refer.sent == id).then_some(refer.received)
            }
        })?;
        params.set("id", &number.to_string());
        Some(format!("{}{params}", package.trim_end()))
    }

    /// A REFER went out to this side once more, under another number.
    pub(in crate::b2bua) fn on_refer_renumbered(&mut self, to: Leg, before: u32, again: &Request) {
        let mut refers = self.refers.iter_mut().rev();
        let known = refers.find(|refer| refer.from != to && refer.sent == before);
        if let Some(refer) = known.filter(|_| again.method == Method::Refer) {
            refer.sent = again.headers.cseq().number;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_event_of_a_dialog_is_read_and_written_as_it_was_quoted() {
        for value in [
            "kpml;call-id=\"1@h\";remote-tag=\"r\";local-tag=l",
            "dialog;call-id=\"1@h\";to-tag=t;from-tag=f;include-session-description",
        ] {
            let event = DialogEvent::parse(value).unwrap();
            assert_eq!(event.name.call_id(), "1@h");
            assert_eq!(event.naming(&event.name), value);
        }
        for value in [
            "dialog",
            "dialog;call-id=1;to-tag=2",
            "presence;call-id=1;to-tag=2;from-tag=3",
        ] {
            assert_eq!(DialogEvent::parse(value), None, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(value in "(kpml|dialog)\\PC{0,300}") {
            let _ = DialogEvent::parse(&value);
        }
    }
}
