//! Session timers (RFC 4028): what one end of a dialog asks for, what it grants, when it has to refresh, and when the
//! session counts as forgotten. Pure: times come from the caller.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::sip::message::Headers;

/// No interval is shorter, and none of ours may be asked to be (RFC 4028 §4), in seconds.
pub const INTERVAL_MIN: u32 = 90;
/// Longer ones are granted and asked for as this, in seconds: a day.
pub const INTERVAL_MAX: u32 = 86_400;
/// How long before its end a session that nobody refreshed is ended, at most (RFC 4028 §10).
const MARGIN_MAX: Duration = Duration::from_secs(32);
/// We refresh a little after the half of the interval: where the far peer refreshes too, its refresh comes first and
/// serves this leg as well.
const COURTESY_MAX: Duration = Duration::from_secs(10);

/// Who refreshes, by its part in the transaction that said so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresher {
    Uac,
    Uas,
}

/// The value of a Session-Expires header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionExpires {
    /// Seconds.
    pub interval: u32,
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// None when it is no `delta-seconds` with parameters; a refresher that is neither `uac` nor `uas` counts as none.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let interval = delta(parts.next()?)?;
        let refresher = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("refresher") {
                return None;
            }
            match value.trim() {
                value if value.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                value if value.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                _ => None,
            }
        });
        Some(Self { interval, refresher })
    }

    pub fn of(headers: &Headers) -> Option<Self> {
        Self::parse(headers.get("Session-Expires")?)
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.interval)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// The interval that a request asks for is below what is granted: 422 with this Min-SE, in seconds. The peer's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("session interval below {min} s")]
pub struct TooSmall {
    pub min: u32,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Running {
    interval: u32,
    /// We refresh; else the peer does.
    ours: bool,
    since: Timestamp,
}

/// One end of one dialog.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionTimer {
    /// The interval that we ask for, in seconds; None: we ask for none, and keep what the peer asks for.
    wanted: Option<u32>,
    /// The largest Min-SE that the peer's side has told (RFC 4028 §7.4).
    min: u32,
    running: Option<Running>,
}

impl SessionTimer {
    /// `wanted`: below [`INTERVAL_MIN`] it is that.
    pub fn wanting(wanted: Option<Duration>) -> Self {
        let seconds = |wanted: Duration| u32::try_from(wanted.as_secs()).unwrap_or(INTERVAL_MAX);
        Self {
            wanted: wanted.map(|wanted| seconds(wanted).clamp(INTERVAL_MIN, INTERVAL_MAX)),
            min: 0,
            running: None,
        }
    }

    /// As UAC: what an INVITE, re-INVITE or UPDATE of ours says (§7.1, §7.4), in place of what it said before.
    pub fn ask(&self, headers: &mut Headers) {
        let Some(interval) = self.asked() else { return };
        if !knows_timers(headers) {
            headers.push("Supported", "timer");
        }
        let refresher = self.running.map(|running| match running.ours {
            true => Refresher::Uac,
            false => Refresher::Uas,
        });
        let asked = SessionExpires { interval, refresher };
        headers.set("Session-Expires", asked.to_string());
        if self.min > INTERVAL_MIN {
            headers.set("Min-SE", self.min.to_string());
        }
    }

    /// As UAC: the 2xx to what `ask` wrote (§7.2). Without Session-Expires in it the peer knows no timers: we refresh for
    /// our own sake.
    pub fn on_accepted(&mut self, now: Timestamp, response: &Headers) {
        let Some(asked) = self.asked() else { return };
        let granted = SessionExpires::of(response);
        self.running = Some(Running {
            interval: granted.map_or(asked, |granted| granted.interval.clamp(INTERVAL_MIN, asked)),
            ours: granted.is_none_or(|granted| granted.refresher != Some(Refresher::Uas)),
            since: now,
        });
    }

    /// As UAC: a 422 (§7.3). Whether it is worth asking again, with a longer interval.
    pub fn on_too_small(&mut self, response: &Headers) -> bool {
        let Some(min) = response.get("Min-SE").and_then(first_delta) else {
            return false;
        };
        let grows = self.asked().is_some_and(|asked| min > asked) && min <= INTERVAL_MAX;
        if grows {
            self.min = min;
        }
        grows
    }

    /// As UAS: whether a session refresh request may be granted (§9).
    pub fn check(request: &Headers) -> Result<(), TooSmall> {
        let asked = SessionExpires::of(request).filter(|_| knows_timers(request));
        match asked {
            Some(asked) if asked.interval < INTERVAL_MIN => Err(TooSmall { min: INTERVAL_MIN }),
            _ => Ok(()),
        }
    }

    /// As UAS: writes into a 2xx what is granted to the request, and starts anew (§9, Table 2).
    pub fn grant(&mut self, now: Timestamp, request: &Headers, response: &mut Headers) {
        let knows = knows_timers(request);
        let least = request.get("Min-SE").and_then(first_delta).unwrap_or(INTERVAL_MIN);
        let least = least.clamp(INTERVAL_MIN, INTERVAL_MAX);
        self.min = self.min.max(least);
        let asked = SessionExpires::of(request).filter(|_| knows);
        let ours = self.wanted.map(|wanted| wanted.max(least));
        let interval = match (asked, ours) {
            (Some(asked), ours) => asked.interval.min(ours.unwrap_or(INTERVAL_MAX)).max(INTERVAL_MIN),
            (None, Some(ours)) => ours,
            (None, None) => {
                self.running = None;
                return;
            }
        };
        let refresher = match asked.and_then(|asked| asked.refresher) {
            Some(chosen) => chosen,
            None if knows => Refresher::Uac,
            None => Refresher::Uas,
        };
        self.running = Some(Running {
            interval,
            ours: refresher == Refresher::Uas,
            since: now,
        });
        if knows {
            let refresher = Some(refresher);
            let granted = SessionExpires { interval, refresher };
            headers_of_grant(response, granted);
        }
    }

    /// The peer answered, if only by an error: it still knows the session.
    pub const fn renew(&mut self, now: Timestamp) {
        if let Some(running) = &mut self.running {
            running.since = now;
        }
    }

    /// When we have to refresh; None when the peer does.
    pub fn refresh_due(&self) -> Option<Timestamp> {
        let running = self.running.filter(|running| running.ours)?;
        let interval = Duration::from_secs(running.interval.into());
        Some(running.since + interval / 2 + (interval / 10).min(COURTESY_MAX))
    }

    /// When the peer's session is over if nothing refreshed it.
    pub fn lapse(&self) -> Option<Timestamp> {
        let running = self.running?;
        Some(running.since + Duration::from_secs(running.interval.into()))
    }

    /// When the session is ended if nothing refreshed it: a little before its interval is over (§10).
    pub fn expiry(&self) -> Option<Timestamp> {
        let running = self.running?;
        let interval = Duration::from_secs(running.interval.into());
        Some(running.since + (interval - (interval / 3).min(MARGIN_MAX)))
    }

    fn asked(&self) -> Option<u32> {
        let interval = self.running.map(|running| running.interval).or(self.wanted)?;
        Some(interval.max(self.min))
    }
}

fn headers_of_grant(response: &mut Headers, granted: SessionExpires) {
    response.push("Session-Expires", granted.to_string());
    response.push("Supported", "timer");
    response.push("Require", "timer");
}

fn knows_timers(request: &Headers) -> bool {
    let mut options = request.get_all("Supported").chain(request.get_all("Require"));
    options.any(|options| {
        options
            .split(',')
            .any(|option| option.trim().eq_ignore_ascii_case("timer"))
    })
}

/// Digits; more seconds than fit are as many as fit.
fn delta(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

fn first_delta(value: &str) -> Option<u32> {
    delta(value.split(';').next()?.trim())
}

#[cfg(test)]
mod tests;
