//! Filters: which of a party's calls a policy's action is for. In order, the first that matches decides.

use std::time::Duration;

use super::reader::{Table, Words};
use super::scalar;
use super::terms::Action;
use crate::model::{MediaKind, Timestamp};

const MINUTES_PER_DAY: u16 = 24 * 60;
pub(crate) const ACTIONS: &Words<Action> = &[
    ("record", Action::Record),
    ("skip", Action::Skip),
    ("never", Action::Never),
    ("block", Action::Block),
];
const DIRECTIONS: &Words<Direction> = &[("inbound", Direction::Inbound), ("outbound", Direction::Outbound)];
const FAR_ENDS: &Words<FarEnd> = &[("internal", FarEnd::Internal), ("external", FarEnd::External)];
const DAYS: &Words<u8> = &[
    ("mon", 0),
    ("tue", 1),
    ("wed", 2),
    ("thu", 3),
    ("fri", 4),
    ("sat", 5),
    ("sun", 6),
];
pub(crate) const MEDIA: &Words<MediaKind> = &[("audio", MediaKind::Audio), ("video", MediaKind::Video)];

/// Seen from the party that has the policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Inbound,
    Outbound,
}

/// Whose the other party is, by the dial plan's internal domains and numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FarEnd {
    Internal,
    External,
}

/// One `[[policy.filter]]`: all of what it names must hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    pub direction: Option<Direction>,
    pub far_end: Option<FarEnd>,
    /// Beginnings of the other party's E.164 number, digits only.
    pub prefix: Vec<String>,
    /// At least one of these must be offered.
    pub media: Vec<MediaKind>,
    /// From Monday.
    pub days: Option<[bool; 7]>,
    /// From, inclusive, and to, exclusive, in minutes of the day; to before from goes past midnight.
    pub hours: Option<(u16, u16)>,
    /// Minutes east of UTC for days, hours and dates.
    pub utc_offset: i16,
    /// (year, month, day)
    pub dates: Vec<(i64, u8, u8)>,
    pub action: Action,
    /// The line it begins at.
    pub(crate) line: usize,
}

/// A call as one party's policy sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewpoint<'a> {
    pub(crate) direction: Direction,
    pub(crate) far_end: FarEnd,
    pub(crate) far_number: &'a str,
    /// Empty while unknown: then it counts as audio.
    pub(crate) media: &'a [MediaKind],
    pub(crate) at: Timestamp,
}

impl Filter {
    pub(crate) fn read(table: &Table<'_>) -> Self {
        let hours = table.parsed("hours", "like \"09:00-17:30\"", |text| {
            let (from, to) = text.split_once('-')?;
            let (from, to) = (scalar::minute_of_day(from.trim())?, scalar::minute_of_day(to.trim())?);
            (from != to && from < MINUTES_PER_DAY).then_some((from, to))
        });
        let days = table.choices("days", DAYS).map(|days| {
            let mut week = [false; 7];
            days.iter()
                .filter_map(|day| week.get_mut(usize::from(*day)).map(|d| *d = true))
                .for_each(drop);
            week
        });
        let filter = Self {
            direction: table.choice("direction", DIRECTIONS).map(toml::Spanned::into_inner),
            far_end: table.choice("far_end", FAR_ENDS).map(toml::Spanned::into_inner),
            prefix: prefixes(table, "prefix"),
            media: table.choices("media", MEDIA).unwrap_or_default(),
            days,
            hours: hours.map(toml::Spanned::into_inner),
            utc_offset: table
                .parsed("utc_offset", "like \"+01:00\" or \"Z\"", scalar::utc_offset)
                .map_or(0, toml::Spanned::into_inner),
            dates: dates(table),
            action: table
                .choice("action", ACTIONS)
                .map(toml::Spanned::into_inner)
                .unwrap_or_default(),
            line: table.line_of(table.span()),
        };
        table.finish();
        filter
    }

    pub(crate) fn matches(&self, call: &Viewpoint<'_>) -> bool {
        self.direction.is_none_or(|wanted| wanted == call.direction)
            && self.far_end.is_none_or(|wanted| wanted == call.far_end)
            && (self.prefix.is_empty() || self.prefix.iter().any(|p| call.far_number.starts_with(p)))
            && self.matches_media(call.media)
            && self.matches_time(call.at)
    }

    /// Whether it holds for every call.
    pub(crate) fn is_catch_all(&self) -> bool {
        self.direction.is_none()
            && self.far_end.is_none()
            && self.prefix.is_empty()
            && self.media.is_empty()
            && self.days.is_none_or(|days| days == [true; 7])
            && self.hours.is_none()
            && self.dates.is_empty()
    }

    fn matches_media(&self, offered: &[MediaKind]) -> bool {
        let offered = if offered.is_empty() {
            &[MediaKind::Audio]
        } else {
            offered
        };
        self.media.is_empty() || self.media.iter().any(|kind| offered.contains(kind))
    }

    fn matches_time(&self, at: Timestamp) -> bool {
        let shift = Duration::from_secs(u64::from(self.utc_offset.unsigned_abs()) * 60);
        let local = if self.utc_offset < 0 { at - shift } else { at + shift };
        let minute = u16::try_from(local.as_secs() / 60 % u64::from(MINUTES_PER_DAY)).unwrap_or(0);
        // 1970-01-01 was a Thursday.
        let weekday = usize::try_from((local.as_secs() / 86_400 + 3) % 7).unwrap_or(0);
        let in_hours = self.hours.is_none_or(|(from, to)| {
            if from < to {
                (from..to).contains(&minute)
            } else {
                minute >= from || minute < to
            }
        });
        in_hours
            && self.days.is_none_or(|days| days.get(weekday).copied().unwrap_or(false))
            && (self.dates.is_empty() || self.dates.contains(&local.date()))
    }
}

/// Beginnings of E.164 numbers, like `+44`, as digits.
pub(crate) fn prefixes(table: &Table<'_>, key: &'static str) -> Vec<String> {
    let mut prefixes = Vec::new();
    for text in table.texts(key).unwrap_or_default() {
        let digits = text.get_ref().strip_prefix('+').unwrap_or_default();
        if digits.is_empty()
            || digits.len() > super::identity::E164_DIGITS_MAX
            || !digits.bytes().all(|c| c.is_ascii_digit())
        {
            table.malformed(
                key,
                &text.span(),
                text.get_ref(),
                "the beginning of an E.164 number, like \"+4420\"",
            );
        } else {
            prefixes.push(digits.to_owned());
        }
    }
    prefixes
}

fn dates(table: &Table<'_>) -> Vec<(i64, u8, u8)> {
    let mut dates = Vec::new();
    for text in table.texts("dates").unwrap_or_default() {
        match date(text.get_ref()) {
            Some(date) => dates.push(date),
            None => table.malformed("dates", &text.span(), text.get_ref(), "a date, like \"2026-12-25\""),
        }
    }
    dates
}

/// `YYYY-MM-DD`.
pub(crate) fn date(text: &str) -> Option<(i64, u8, u8)> {
    (text.len() == 10)
        .then(|| format!("{text}T00:00:00Z").parse::<Timestamp>().ok())
        .flatten()
        .map(Timestamp::date)
}
