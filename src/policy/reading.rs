//! What else a switch may make of what was dialled. Nothing says that it does, so this can add a policy and take none away.

use super::dial_plan::DialPlan;
use super::identity::{Identity, NAME_BYTES_MAX, Number, addr_spec, dialled, level};

/// Fewer digits without a prefix are an extension or a local number.
const BARE_DIGITS_MIN: usize = 8;

impl Identity {
    /// The number behind a service code (`*31#…`, `*67…`), before a pause (`,`, `p`, `w`), without `*` or `#` at its end, without
    /// the national prefix between country code and area (`+44 (0)20 …`), and for a local number that which follows the digits
    /// of its `phone-context` (RFC 3966 §5.1.5: that may be its global number, and need not be). `writes_e164`: digits that the
    /// plan knows no prefix of may be an E.164 number without its plus. None if that is no number.
    pub(crate) fn read_otherwise(text: &str, plan: &DialPlan, writes_e164: bool) -> Option<Self> {
        let (scheme, rest) = addr_spec(text).split_once(':')?;
        let user = match rest.split_once('@') {
            Some((user, _)) => user,
            None if scheme.eq_ignore_ascii_case("tel") => rest,
            None => return None,
        };
        let mut parts = user.split([';', '?']);
        let written = parts.next()?.split(':').next()?;
        if written.len() > NAME_BYTES_MAX {
            return None;
        }
        let written = level(written);
        let digits = dialled(subscriber(&written));
        let contexts = parts.filter_map(|part| part.split_once('='));
        let mut contexts = contexts
            .filter(|(name, value)| value.len() <= NAME_BYTES_MAX && name.trim().eq_ignore_ascii_case("phone-context"));
        let context = contexts.next().map(|(_, value)| dialled(&level(value)));
        let prefix = context.as_deref().and_then(|context| context.strip_prefix('+'));
        let in_context = || Number::new(&[prefix?, &digits].concat());
        let number = without_national_prefix(&digits, plan).or_else(|| plan.e164(&digits));
        let number = number.or_else(|| in_context().filter(|_| !digits.is_empty()));
        let number = number.or_else(|| without_plus(&digits).filter(|_| writes_e164))?;
        Some(Self {
            key: format!("+{}", number.as_str()),
            number: Some(number),
            dialled: digits,
            domain: String::new(),
        })
    }
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

/// Whose number stands between a service code and what is dialled after the answer.
fn subscriber(written: &str) -> &str {
    let number = written.split([',', 'p', 'w']).next().unwrap_or_default();
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
