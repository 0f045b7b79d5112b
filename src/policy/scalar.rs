//! Durations, sizes and times of day as files write them.

use std::time::Duration;

const KIB: u64 = 1 << 10;
const DAY: u64 = 86_400;

/// `250ms`, `1s`, `15m`, `24h`, `30d`, `2w`, `6mo`, `7y`. A month is 31 days and a year 366: what is kept is never kept for
/// less than meant. Ends at about 584 years.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = |of: u64| number.checked_mul(of).map(Duration::from_secs);
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" | "min" => seconds(60)?,
        "h" => seconds(3_600)?,
        "d" => seconds(DAY)?,
        "w" => seconds(7 * DAY)?,
        "mo" => seconds(31 * DAY)?,
        "y" => seconds(366 * DAY)?,
        _ => return None,
    };
    (duration.as_nanos() <= u128::from(u64::MAX)).then_some(duration)
}

/// `512`, `64KiB`, `100MiB`, `1GiB`, `2TiB`, and the decimal `kB`, `MB`, `GB`, `TB`, in bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => KIB.pow(2),
        "GiB" => KIB.pow(3),
        "TiB" => KIB.pow(4),
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `HH:MM` as minutes since midnight; `24:00` is the end of the day.
pub(crate) fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 24 * 60)
        .then(|| u16::try_from(total).ok())
        .flatten()
}

/// `+01:00`, `-05:30` or `Z` as minutes east of UTC.
pub(crate) fn utc_offset(text: &str) -> Option<i16> {
    if text == "Z" {
        return Some(0);
    }
    let minutes = i16::try_from(minute_of_day(text.get(1..)?)?).ok()?;
    match text.as_bytes().first()? {
        b'+' if minutes <= 14 * 60 => Some(minutes),
        b'-' if minutes <= 14 * 60 => Some(-minutes),
        _ => None,
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((digits(text.get(..end)?)?, text.get(end..)?.trim_start()))
}

fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        None
    } else {
        text.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, seconds) in [
            ("1s", 1),
            ("15m", 900),
            ("24h", 86_400),
            ("30d", 2_592_000),
            ("7y", 7 * 366 * DAY),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for text in [
            "",
            "s",
            "1",
            "-1s",
            "1.5s",
            "1 fortnight",
            "99999999999999999999s",
            "600000000000y",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_overflow_is_refused() {
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("64 KiB"), Some(65_536));
        assert_eq!(size("5"), Some(5));
        for text in ["", "GiB", "1gib", "99999999999TiB", "-1"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn times_of_day_end_at_24() {
        assert_eq!(minute_of_day("09:30"), Some(570));
        assert_eq!(minute_of_day("24:00"), Some(1_440));
        for text in ["9:30", "24:01", "12:60", "aa:bb", "", "+1:00"] {
            assert_eq!(minute_of_day(text), None, "{text}");
        }
        assert_eq!(utc_offset("+01:00"), Some(60));
        assert_eq!(utc_offset("-05:30"), Some(-330));
        assert_eq!(utc_offset("01:00"), None);
        assert_eq!(utc_offset("€1:00"), None);
    }
}
