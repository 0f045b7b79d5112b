//! Which languages a party would like to be spoken to in (RFC 3261 §20.3, RFC 4647).

use crate::sip::Headers;

/// Of one party; more are not read.
const RANGES_MAX: usize = 8;
/// RFC 5646 §4.4.1 has implementations support 35 characters.
const RANGE_BYTES_MAX: usize = 35;

/// Language ranges, in lower case, the one that is liked best first. Empty: it does not say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Languages(Vec<String>);

impl Languages {
    /// As Accept-Language says; None: there is none.
    pub(super) fn of(headers: &Headers) -> Option<Self> {
        Self::of_values(headers.get_all("Accept-Language"))
    }

    fn of_values<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut ranges: Vec<(u16, String)> = Vec::new();
        let mut is_said = false;
        for value in values.take(RANGES_MAX) {
            is_said = true;
            ranges.extend(value.split(',').take(RANGES_MAX).filter_map(range));
        }
        // Stable: of two that are liked alike, the one that is named first.
        ranges.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
        ranges.truncate(RANGES_MAX);
        is_said.then(|| Self(ranges.into_iter().map(|(_, range)| range).collect()))
    }

    /// The tag that fits best of those that there are (RFC 4647 §3.4: a range without its last parts will do). None: none fits.
    pub(super) fn pick(&self, is_there: impl Fn(&str) -> bool) -> Option<&str> {
        self.0.iter().find_map(|range| {
            let cuts = range.match_indices('-').map(|(at, _)| at).rev();
            let tags = std::iter::once(range.len()).chain(cuts);
            tags.filter_map(|end| range.get(..end)).find(|tag| is_there(tag))
        })
    }
}

/// A range and its quality in thousandths; none of what is not wanted, or cannot be read.
fn range(text: &str) -> Option<(u16, String)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next()?;
    let is_range = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    if range.is_empty() || range.len() > RANGE_BYTES_MAX || !range.bytes().all(is_range) {
        return None;
    }
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = quality.map_or(Some(1_000), thousandths)?;
    (quality > 0).then(|| (quality, range.to_ascii_lowercase()))
}

/// `0.8`, of at most three digits (RFC 3261 §25.1 `qvalue`).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    match whole {
        "0" => Some(rest),
        "1" if rest == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(value: &str) -> Languages {
        Languages::of_values(std::iter::once(value)).unwrap_or_default()
    }

    #[test]
    fn the_language_that_is_liked_best_and_is_there_is_picked() {
        let pick = |value: &str, there: &[&str]| of(value).pick(|tag| there.contains(&tag)).map(str::to_owned);
        let there = ["de", "en-gb", "fr"];
        assert_eq!(pick("da, en-gb;q=0.8, en;q=0.7", &there).as_deref(), Some("en-gb"));
        assert_eq!(pick("fr;q=0.2, DE-at-1996 ; Q=0.9", &there).as_deref(), Some("de"));
        assert_eq!(pick("en", &there), None, "what is asked for is more than what there is");
        assert_eq!(pick("fr;q=0, *", &there), None);
        assert_eq!(pick("fr;q=1.5, de;q=x, it;q=0.1234", &there), None, "no qualities");
        assert_eq!(Languages::of_values(std::iter::empty()), None);
    }

    proptest! {
        #[test]
        fn whatever_is_said_few_ranges_are_kept_and_each_is_one(value in "[ -~]{0,300}") {
            let Languages(ranges) = of(&value);
            prop_assert!(ranges.len() <= RANGES_MAX);
            for range in ranges {
                prop_assert!(!range.is_empty() && range.len() <= RANGE_BYTES_MAX);
                prop_assert!(range.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'));
            }
        }
    }
}
