//! `[sip]`: what holds for every dialog.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::policy::reader::Table;
use crate::sip::dialog::{INTERVAL_MAX, INTERVAL_MIN};

/// RFC 4028 §4 recommends it.
pub(crate) const SESSION_EXPIRES_DEFAULT: Duration = Duration::from_secs(1_800);
const SESSION_EXPIRES_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(INTERVAL_MIN as u64)..=Duration::from_secs(INTERVAL_MAX as u64);

/// How long a session may go unrefreshed; None: no session timers of ours.
pub(super) fn session_expires(root: &Table<'_>) -> Option<Duration> {
    let Some(sip) = root.table("sip", "a sip field") else {
        return Some(SESSION_EXPIRES_DEFAULT);
    };
    let expires = sip
        .duration("session_expires")
        .map_or(SESSION_EXPIRES_DEFAULT, |expires| {
            let is_off = expires.get_ref().is_zero();
            if !is_off && !SESSION_EXPIRES_RANGE.contains(expires.get_ref()) {
                sip.out_of_range("session_expires", &expires.span(), "from 90s to 24h, or 0s for none");
            }
            expires.into_inner()
        });
    sip.finish();
    (!expires.is_zero()).then_some(expires)
}
