//! What else a switch may make of what was dialled. Nothing says that it does, so this can add a policy and take none away.

use super::dial_plan::DialPlan;
use super::identity::{Identity, NAME_BYTES_MAX, Number, addr_spec, dialled, level};

/// Fewer digits without a prefix are an extension or a local number.
const BARE_DIGITS_MIN: usize = 8;

/// What hides or shows the caller's number, before a number that is dialled as ever: GSM (3GPP TS 22.030, Annex B), the switches
/// that want a `#` behind theirs, North America.
const CALLER_ID_CODES: [&str; 7] = ["*31#", "#31#", "*30#", "#30#", "*67#", "*67", "*82"];

impl Identity {
    /// The number or extension behind a service code (`*31#…`, `*67…`), before a pause (`,`, `p`, `w`), without `*` or `#` at its
    /// end, without the national prefix between country code and area (`+44 (0)20 …`), and for a local number that which follows the
    /// digits of its `phone-context` (RFC 3966 §5.1.5: that may be its global number, and need not be). `writes_e164`: digits that
    /// the plan knows no prefix of may be an E.164 number without its plus. None if that is nothing else than what is written.
    pub(crate) fn read_otherwise(text: &str, plan: &DialPlan, writes_e164: bool) -> Option<Self> {
        let (written, rest) = user_part(text)?;
        let digits = dialled(subscriber(&written));
        let mut parameters = rest.split('@').next().unwrap_or_default().split([';', '?']);
        parameters.next();
        let contexts = parameters.filter_map(|part| part.split_once('='));
        let mut contexts = contexts
            .filter(|(name, value)| value.len() <= NAME_BYTES_MAX && name.trim().eq_ignore_ascii_case("phone-context"));
        let context = contexts.next().map(|(_, value)| dialled(&level(value)));
        let prefix = context.as_deref().and_then(|context| context.strip_prefix('+'));
        let in_context = || Number::new(&[prefix?, &digits].concat());
        let number = without_national_prefix(&digits, plan).or_else(|| plan.e164(&digits));
        let number = number.or_else(|| in_context().filter(|_| !digits.is_empty()));
        let number = number.or_else(|| without_plus(&digits).filter(|_| writes_e164));
        match number {
            Some(number) => Some(Self {
                key: format!("+{}", number.as_str()),
                number: Some(number),
                dialled: digits,
                domain: String::new(),
            }),
            None if digits.is_empty() || digits == dialled(&written) => None,
            None => {
                // The extension, at the host that is named.
                let place = rest.split_once('@').map_or("", |(_, place)| place);
                let uri = if place.is_empty() {
                    format!("tel:{digits}")
                } else {
                    format!("sip:{digits}@{place}")
                };
                Some(Self::parse(&uri, plan)).filter(Self::is_readable)
            }
        }
    }

    /// Whether an emergency number, and nothing else, is left of what was dialled without a code that hides or shows the caller's
    /// number, and without what is dialled after the answer. No other code: one that forwards calls to 112 calls nobody.
    pub(crate) fn is_call_for_help(text: &str, plan: &DialPlan) -> bool {
        user_part(text).is_some_and(|(written, _)| {
            let written = behind_code(&written).unwrap_or(&written);
            let number = before_pause(written);
            let is_keys = |key: char| key.is_ascii_digit() || "*#,pw".contains(key);
            let behind = written.get(number.len()..).unwrap_or_default();
            behind.chars().all(is_keys) && plan.is_emergency(&dialled(number.trim_end_matches('#')))
        })
    }

    /// Whether that is all that it can be read as: a code that ends with # begins no number, and nothing follows.
    pub(crate) fn is_plain_call_for_help(text: &str, plan: &DialPlan) -> bool {
        user_part(text).is_some_and(|(written, _)| {
            let number = behind_code(&written)
                .filter(|number| written.strip_suffix(number).is_some_and(|code| code.ends_with('#')));
            number.is_some_and(|number| plan.is_emergency(&dialled(number)))
        })
    }
}

fn behind_code(written: &str) -> Option<&str> {
    CALLER_ID_CODES.iter().find_map(|code| written.strip_prefix(code))
}

/// The user part of a SIP or tel URI, without parameters and password, levelled; and all that follows the scheme. None if there
/// is none, or it is too long to name anybody.
fn user_part(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = addr_spec(text).split_once(':')?;
    let user = match rest.split_once('@') {
        Some((user, _)) => user,
        None if scheme.eq_ignore_ascii_case("tel") => rest,
        None => return None,
    };
    let written = user.split([';', '?', ':']).next()?;
    (written.len() <= NAME_BYTES_MAX).then(|| (level(written), rest))
}

/// No country code begins with 0 (ITU-T E.164 §6.2.1).
fn without_plus(digits: &str) -> Option<Number> {
    let is_global = digits.len() >= BARE_DIGITS_MIN && !digits.starts_with('0');
    is_global.then(|| Number::new(digits)).flatten()
}

fn without_national_prefix(digits: &str, plan: &DialPlan) -> Option<Number> {
    let country = plan
        .country_code
        .as_deref()
        .filter(|_| !plan.national_prefix.is_empty())?;
    let area = digits.strip_prefix('+')?.strip_prefix(country)?;
    Number::new(&[country, area.strip_prefix(&plan.national_prefix)?].concat())
}

fn before_pause(written: &str) -> &str {
    written.split([',', 'p', 'w']).next().unwrap_or_default()
}

/// Whose number stands between a service code and what is dialled after the answer.
fn subscriber(written: &str) -> &str {
    let number = before_pause(written);
    let number = match number.strip_prefix(['*', '#']) {
        None => number,
        Some(code) => match code.split_once('#') {
            Some((_, number)) => number,
            // Of two digits (North America).
            None => code.get(2..).unwrap_or_default(),
        },
    };
    number.trim_end_matches(['*', '#'])
}
