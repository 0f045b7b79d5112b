//! Dialogs that a request names: Replaces, Join and Target-Dialog. Each peer knows the dialogs that it has with us; what
//! it names of them is said over, as the party that is meant knows it.

use std::fmt;

use crate::b2bua::call::Call;
use crate::model::Leg;
use crate::sip::dialog::Dialog;
use crate::sip::{NameAddr, Params, Request, Uri};

/// Headers that name a dialog of the party that the request is for (RFC 3891 §6.1, RFC 3911 §7.1, RFC 4538 §6).
pub const NAMING: [&str; 3] = ["Replaces", "Join", "Target-Dialog"];

/// A dialog as the recipient of the request knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DialogName {
    call_id: String,
    /// The tag of the recipient: `to-tag`, or `local-tag` in Target-Dialog.
    local: &'static str,
    remote: &'static str,
    params: Params,
}

/// The value names no dialog: 400 (RFC 3891 §3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no dialog is named")]
pub struct DialogNameError;

impl DialogName {
    /// The value of the header `name`.
    pub fn parse(name: &str, value: &str) -> Result<Self, DialogNameError> {
        let (call_id, params) = value.trim().split_at(value.trim().find(';').ok_or(DialogNameError)?);
        let params = Params::parse(params).map_err(|_| DialogNameError)?;
        let is_target = name.eq_ignore_ascii_case("Target-Dialog");
        let (local, remote) = if is_target {
            ("local-tag", "remote-tag")
        } else {
            ("to-tag", "from-tag")
        };
        let call_id = call_id.trim_end();
        let once = |tag: &str| {
            params
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(tag))
                .count()
                == 1
        };
        if call_id.is_empty() || !once(local) || !once(remote) {
            return Err(DialogNameError);
        }
        let call_id = call_id.to_owned();
        Ok(Self {
            call_id,
            local,
            remote,
            params,
        })
    }

    /// As other values name a dialog: a Call-ID, and the names of both tags in their parameters.
    pub fn parse_with(
        call_id: &str,
        [local, remote]: [&'static str; 2],
        params: Params,
    ) -> Result<Self, DialogNameError> {
        if call_id.is_empty() || !params.contains(local) || !params.contains(remote) {
            return Err(DialogNameError);
        }
        Ok(Self {
            call_id: call_id.to_owned(),
            local,
            remote,
            params,
        })
    }

    /// Both tags by the names of their parameters.
    pub fn labelled(&self) -> [(&'static str, &str); 2] {
        [self.local, self.remote].map(|tag| (tag, self.params.get(tag).unwrap_or_default()))
    }

    /// The recipient's own tag, and its peer's.
    pub fn tags(&self) -> [&str; 2] {
        // Where one of them never gave a tag, "0" stands for it (RFC 3891 §3).
        [self.local, self.remote].map(|tag| self.params.get(tag).filter(|tag| *tag != "0").unwrap_or_default())
    }

    /// It means the dialog only before it is answered (RFC 3891 §3).
    pub fn is_early_only(&self) -> bool {
        self.params.get("early-only").is_some()
    }

    fn is(&self, call_id: &str, local: &str, remote: &str) -> bool {
        self.call_id == call_id && self.tags() == [local, remote]
    }

    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The same dialog, told from the same end.
    pub fn is_alike(&self, other: &Self) -> bool {
        let [local, remote] = other.tags();
        self.is(&other.call_id, local, remote)
    }

    /// Another dialog in its place, by the recipient's own tag and its peer's; what else the value says, like `early-only`,
    /// stays.
    #[must_use]
    pub fn naming(&self, call_id: &str, local: &str, remote: &str) -> Self {
        let mut renamed = self.clone();
        call_id.clone_into(&mut renamed.call_id);
        renamed.params.set(self.local, or_zero(local));
        renamed.params.set(self.remote, or_zero(remote));
        renamed
    }

    /// Our dialog as its peer knows it.
    fn renamed(&self, dialog: &Dialog) -> Self {
        self.naming(dialog.call_id(), dialog.remote_tag(), dialog.local_tag())
    }
}

fn or_zero(tag: &str) -> &str {
    if tag.is_empty() { "0" } else { tag }
}

impl fmt::Display for DialogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.call_id, self.params)
    }
}

/// A dialog of a call, named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meant {
    /// Whose peer is meant.
    pub leg: Leg,
    /// The dialog as that peer knows it.
    pub name: DialogName,
    /// The Contact of that peer.
    pub target: Uri,
}

impl Call {
    /// A name that takes us for the recipient means the party beyond the other leg; one that takes the peer for it means
    /// that peer.
    pub fn meant(&self, name: &DialogName) -> Option<Meant> {
        self.dialogs().find_map(|pair| {
            let leg = Leg::BOTH.into_iter().find_map(|side| {
                let dialog = pair[side.index()]?;
                let (ours, theirs) = (dialog.local_tag(), dialog.remote_tag());
                if name.is(dialog.call_id(), ours, theirs) {
                    Some(side.other())
                } else {
                    name.is(dialog.call_id(), theirs, ours).then_some(side)
                }
            })?;
            let dialog = pair[leg.index()]?;
            Some(Meant {
                leg,
                name: name.renamed(dialog),
                target: dialog.remote_target().clone(),
            })
        })
    }
}

impl Call {
    /// The dialog with the party at `side`, whichever end its tags are told from, as the party beyond knows it.
    pub fn name_beyond(&self, side: Leg, name: &DialogName) -> Option<DialogName> {
        self.dialogs().find_map(|pair| {
            let (dialog, beyond) = (pair[side.index()]?, pair[side.other().index()]?);
            let (ours, theirs) = (dialog.local_tag(), dialog.remote_tag());
            if name.is(dialog.call_id(), ours, theirs) {
                Some(name.renamed(beyond))
            } else {
                let is_theirs = name.is(dialog.call_id(), theirs, ours);
                is_theirs.then(|| name.naming(beyond.call_id(), beyond.local_tag(), beyond.remote_tag()))
            }
        })
    }

    /// The party that began it, by a name of its own telling.
    pub fn begun_as(&self, name: DialogName) -> Option<Meant> {
        let target = self.leg(Leg::A).dialog.as_ref()?.remote_target().clone();
        let leg = Leg::A;
        Some(Meant { leg, name, target })
    }

    /// The same with where that party is.
    pub fn meant_beyond(&self, side: Leg, name: &DialogName) -> Option<Meant> {
        let leg = side.other();
        Some(Meant {
            leg,
            name: self.name_beyond(side, name)?,
            target: self.leg(leg).dialog.as_ref()?.remote_target().clone(),
        })
    }
}

/// The option tag of a request that is worth nothing to who does not know this header (RFC 3891 §6.2, RFC 3911 §7.2).
pub fn option_of(header: &str) -> Option<&'static str> {
    match header {
        "Replaces" => Some("replaces"),
        "Join" => Some("join"),
        _ => None,
    }
}

/// The dialog that a request names, with the header that does. None: it names none.
pub fn dialog_named(request: &Request) -> Result<Option<(&'static str, DialogName)>, DialogNameError> {
    let mut named = None;
    for header in NAMING {
        for value in request.headers.get_all(header) {
            // Two would contradict each other (RFC 3891 §3, RFC 3911 §4).
            if named.is_some() {
                return Err(DialogNameError);
            }
            named = Some((header, DialogName::parse(header, value)?));
        }
    }
    Ok(named)
}

/// The dialog that the party who is referred shall name in its INVITE: Replaces, or Join, of the Refer-To URI.
pub fn dialog_of_refer_to(refer_to: &NameAddr) -> Option<(&'static str, DialogName)> {
    NAMING.into_iter().find_map(|header| {
        let value = refer_to.uri().header(header)?;
        Some((header, DialogName::parse(header, &value).ok()?))
    })
}

/// Of a Refer-To URI that names a dialog, it has to be one (RFC 3891 §3): the INVITE would be refused.
pub fn check_refer_to(refer_to: &NameAddr) -> Result<(), DialogNameError> {
    let named = NAMING
        .into_iter()
        .filter_map(|header| Some((header, refer_to.uri().header(header)?)));
    named
        .map(|(header, value)| DialogName::parse(header, &value))
        .try_for_each(|name| name.map(drop))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_refer_to_that_names_half_a_dialog_names_none() {
        let check = |value: &str| check_refer_to(&NameAddr::parse(&format!("<sip:c@h?{value}>")).unwrap());
        for whole in [
            "X=y",
            "Replaces=1%40h%3Bto-tag%3Da%3Bfrom-tag%3Db",
            "replaces=1%3Bfrom-tag%3Da%3Bto-tag%3Db",
        ] {
            assert_eq!(check(whole), Ok(()), "{whole}");
        }
        for half in [
            "Replaces=1%3Bto-tag%3Da",
            "Join=1",
            "replaces=%3Bto-tag%3Da%3Bfrom-tag%3Db",
            "Replaces=",
        ] {
            assert_eq!(check(half), Err(DialogNameError), "{half}");
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read_and_written_as_they_are() {
        for value in [
            "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff",
            "12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only",
            "87134@171.161.34.23;to-tag=24796;from-tag=0",
        ] {
            assert_eq!(DialogName::parse("Replaces", value).unwrap().to_string(), value);
        }
        let name = DialogName::parse("Replaces", "87134@h;to-tag=24796;from-tag=0").unwrap();
        assert_eq!(name.tags(), ["24796", ""], "an RFC 2543 peer gave no tag");
        let name = DialogName::parse("Target-Dialog", "fa77@h;local-tag=kkaz-;remote-tag=6544").unwrap();
        assert_eq!(name.tags(), ["kkaz-", "6544"]);
    }

    #[test]
    fn without_a_call_id_or_with_a_tag_missing_or_twice_no_dialog_is_named() {
        for value in [
            "",
            "1@h",
            ";to-tag=1;from-tag=2",
            "1@h;to-tag=1",
            "1@h;to-tag=1;from-tag=2;to-tag=3",
            "1@h;local-tag=1;remote-tag=2",
        ] {
            assert_eq!(DialogName::parse("Replaces", value), Err(DialogNameError), "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(value in "\\PC{0,300}") {
            let _ = DialogName::parse("Replaces", &value);
        }
    }
}
