//! How a trunk writes numbers, and which of them are emergency numbers.

use super::identity::{Identity, Number};

/// Emergency numbers where a dial plan names none: 112 and 911 of GSM, and the most used others of three digits. A trunk
/// whose extensions collide with one of them names its own list.
pub(crate) const EMERGENCY_NUMBERS: [&str; 8] = ["112", "911", "999", "000", "110", "111", "118", "119"];

/// One trunk's way of writing numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DialPlan {
    /// Digits, like `44`. Without it only numbers with `+` or the international prefix are E.164.
    pub(crate) country_code: Option<String>,
    /// What precedes a national number, like `0`; empty where nothing does.
    pub(crate) national_prefix: String,
    /// What precedes a country code, like `00` or `011`.
    pub(crate) international_prefix: String,
    /// A number of so many digits and without any prefix is national (North America: 10).
    pub(crate) national_length: Option<usize>,
    pub(crate) emergency: Vec<String>,
    /// Domains that users at our own addresses belong to.
    pub(crate) domains: Vec<String>,
    /// Domains whose users are ours, for filters.
    pub(crate) internal_domains: Vec<String>,
    /// E.164 prefixes, digits only, of numbers that are ours.
    pub(crate) internal_numbers: Vec<String>,
}

impl Default for DialPlan {
    fn default() -> Self {
        Self {
            country_code: None,
            national_prefix: "0".to_owned(),
            international_prefix: "00".to_owned(),
            national_length: None,
            emergency: EMERGENCY_NUMBERS.map(str::to_owned).to_vec(),
            domains: Vec::new(),
            internal_domains: Vec::new(),
            internal_numbers: Vec::new(),
        }
    }
}

impl DialPlan {
    /// The E.164 number of what was dialled; none for an extension, a service code or an emergency number.
    pub(crate) fn e164(&self, dialled: &str) -> Option<Number> {
        if let Some(digits) = dialled.strip_prefix('+') {
            return Number::new(digits);
        }
        if self.is_emergency(dialled) {
            return None;
        }
        let country = self.country_code.as_deref();
        if let Some(digits) = stripped(dialled, &self.international_prefix) {
            return Number::new(digits);
        }
        let national = |digits: &str| Number::new(&format!("{}{digits}", country?));
        if self.national_length == Some(dialled.len()) {
            return national(dialled);
        }
        stripped(dialled, &self.national_prefix).and_then(national)
    }

    /// Whether these digits are an emergency number here. `+112` counts: phones send it abroad.
    pub(crate) fn is_emergency(&self, dialled: &str) -> bool {
        let digits = dialled.strip_prefix('+').unwrap_or(dialled);
        !digits.is_empty() && self.emergency.iter().any(|n| n == digits)
    }

    pub(crate) fn is_internal(&self, party: &Identity) -> bool {
        let number = party.number.as_ref().map(Number::as_str);
        self.internal_domains.contains(&party.domain)
            || number.is_some_and(|n| self.internal_numbers.iter().any(|prefix| n.starts_with(prefix)))
    }
}

/// What follows a prefix, if both are there.
fn stripped<'a>(dialled: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = dialled.strip_prefix(prefix)?;
    (!prefix.is_empty() && !rest.is_empty()).then_some(rest)
}
