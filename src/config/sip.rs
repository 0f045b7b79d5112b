//! `[sip]`: what holds for every dialog.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::policy::reader::Table;
use crate::sip::dialog::{INTERVAL_MAX, INTERVAL_MIN};

/// RFC 4028 §4 recommends it.
pub(crate) const SESSION_EXPIRES_DEFAULT: Duration = Duration::from_secs(1_800);
const SESSION_EXPIRES_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(INTERVAL_MIN as u64)..=Duration::from_secs(INTERVAL_MAX as u64);
/// Beyond the announcements and queues that say 183 once and answer minutes later.
pub const RING_MAX_DEFAULT: Duration = Duration::from_secs(600);
/// A phone rings for half a minute before somebody comes.
const RING_MAX_RANGE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3_600);

pub(super) struct Sip {
    /// How long a session may go unrefreshed; None: no session timers of ours.
    pub(super) session_expires: Option<Duration>,
    /// How long a callee may ring without a word.
    pub(super) ring_max: Duration,
}

pub(super) fn sip(root: &Table<'_>) -> Sip {
    let Some(sip) = root.table("sip", "a sip field") else {
        return Sip {
            session_expires: Some(SESSION_EXPIRES_DEFAULT),
            ring_max: RING_MAX_DEFAULT,
        };
    };
    let found = Sip {
        session_expires: session_expires(&sip),
        ring_max: ring_max(&sip),
    };
    sip.finish();
    found
}

fn session_expires(sip: &Table<'_>) -> Option<Duration> {
    let expires = sip
        .duration("session_expires")
        .map_or(SESSION_EXPIRES_DEFAULT, |expires| {
            let is_off = expires.get_ref().is_zero();
            if !is_off && !SESSION_EXPIRES_RANGE.contains(expires.get_ref()) {
                sip.out_of_range("session_expires", &expires.span(), "from 90s to 24h, or 0s for none");
            }
            expires.into_inner()
        });
    (!expires.is_zero()).then_some(expires)
}

fn ring_max(sip: &Table<'_>) -> Duration {
    sip.duration("ring_max").map_or(RING_MAX_DEFAULT, |ring_max| {
        if !RING_MAX_RANGE.contains(ring_max.get_ref()) {
            sip.out_of_range("ring_max", &ring_max.span(), "from 60s to 24h");
        }
        ring_max.into_inner()
    })
}
