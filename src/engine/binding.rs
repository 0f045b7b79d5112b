//! Bindings: the Contact that we register, and which of those that a registrar tells of is it (RFC 3261 §10.2.4).

use std::time::Duration;

use crate::b2bua::Wire;
use crate::sip::{Flow, NameAddr, Response, Uri, instance_id};
use crate::trunk::Paths;

/// The longest time that is asked for or believed.
pub(super) const EXPIRES_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Our own at a registrar.
#[derive(Debug)]
pub(super) struct Binding {
    /// Where calls for the address of record shall come: our listener. As we know it; it leaves as it is advertised.
    contact: Uri,
    /// As it left.
    outside: Uri,
    /// Tells it from those of other devices where a registrar writes what it sees in place of our Contact. No coarser than the
    /// Contact: two nodes never share one that would not share a binding as well.
    instance: String,
}

impl Binding {
    pub(super) fn of(aor: &Uri, flow: Flow, paths: &Paths) -> Self {
        let contact = Wire::contact(flow);
        let user = aor.user().unwrap_or_default();
        let text = contact.as_str().replacen(':', &format!(":{user}@"), 1);
        let contact = Uri::parse(&text).unwrap_or(contact);
        let outside = paths.outside(&contact);
        let instance = instance_id(&format!("{} {}", aor.as_str(), outside.as_str()));
        Self {
            contact,
            outside,
            instance,
        }
    }

    /// As a REGISTER has it.
    pub(super) fn header(&self) -> String {
        format!("<{}>;+sip.instance=\"<{}>\"", self.contact, self.instance)
    }

    /// How long it was granted: its `expires`, or the Expires header (RFC 3261 §10.3 item 8). None: neither is there.
    pub(super) fn granted(&self, response: &Response) -> Option<Duration> {
        let bindings = response.headers.addresses("Contact");
        let of_all = || seconds(response.headers.get("Expires")?);
        match self.among(&bindings) {
            Some(ours) => expires(ours).or_else(of_all),
            // The least of them cannot be too long.
            None => of_all().or_else(|| self.of_user(&bindings).filter_map(expires).min()),
        }
    }

    /// By its URI; by its instance; or there is no other that it could be.
    fn among<'a>(&self, bindings: &'a [NameAddr]) -> Option<&'a NameAddr> {
        let by_uri = bindings.iter().find(|told| told.uri().is_equivalent(&self.outside));
        let by_instance = || bindings.iter().find(|told| self.is_instance(told));
        by_uri
            .or_else(by_instance)
            .or_else(|| only(bindings.iter()))
            .or_else(|| only(self.of_user(bindings)))
    }

    fn is_instance(&self, told: &NameAddr) -> bool {
        let told = told.param("+sip.instance").unwrap_or_default();
        let bare = told.trim_matches(['"', '<', '>']);
        bare.eq_ignore_ascii_case(&self.instance)
    }

    /// A binding of another instance is none of ours, whoever's user it has.
    fn of_user<'a>(&self, bindings: &'a [NameAddr]) -> impl Iterator<Item = &'a NameAddr> {
        let (user, instance) = (self.outside.user().map(str::to_owned), "+sip.instance");
        bindings
            .iter()
            .filter(move |told| told.uri().user() == user.as_deref() && told.param(instance).is_none())
    }
}

/// How long the longest of a user agent's own bindings was granted, `asked` being the Contacts of its REGISTER; where none of
/// them is told again, of all. None: the response does not say.
pub(super) fn longest(response: &Response, asked: &[NameAddr]) -> Option<Duration> {
    let bindings = response.headers.addresses("Contact");
    let is_own = |told: &&NameAddr| asked.iter().any(|asked| told.uri().is_equivalent(asked.uri()));
    let own = bindings.iter().filter(is_own).filter_map(expires).max();
    own.or_else(|| bindings.iter().filter_map(expires).max())
        .or_else(|| seconds(response.headers.get("Expires")?))
}

fn expires(binding: &NameAddr) -> Option<Duration> {
    seconds(binding.param("expires")?)
}

fn only<'a>(mut bindings: impl Iterator<Item = &'a NameAddr>) -> Option<&'a NameAddr> {
    let first = bindings.next();
    first.filter(|_| bindings.next().is_none())
}

/// Delta-seconds at the front of a value (RFC 3261 §20.19).
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let digits = text.split([';', '(', ' ', '\t']).next()?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    // More than fits is as good as for ever; what it is used for has a bound of its own.
    all_digits.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::from(u32::MAX))))
}
