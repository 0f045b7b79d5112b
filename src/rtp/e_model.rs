//! The E-model, simplified to what a relay can know: a codec, loss and delay become a score (ITU-T G.107, G.113).
//!
//! Everything else is at its default, so that a perfect narrow-band call has R = 93.2 and a score of 4.41.

use std::time::Duration;

use crate::model::Mos;

/// ITU-T G.107 §7.7, table 3: R with all parameters at their defaults.
const RATING_DEFAULT: f64 = 93.2;

/// What a codec takes from the score, and how it bears loss (ITU-T G.113 appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    /// Ie: without any loss.
    impairment: f64,
    /// Bpl: the greater, the less a lost packet is heard.
    robustness: f64,
}

/// What was lost on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    pub expected: u64,
    pub missing: u64,
    /// Runs of missing packets.
    pub holes: u64,
}

impl Coding {
    /// With the concealment that telephones have (G.113 table I.4), which G.722 and Opus bring themselves: both are rated on the
    /// narrow-band scale as G.711 is, for it has no figures of theirs.
    const G711: Self = Self::new(0.0, 25.1);

    const fn new(impairment: f64, robustness: f64) -> Self {
        Self { impairment, robustness }
    }

    /// By a payload format's encoding name. None: not sound, or without figures in G.113.
    pub fn of_format(name: &str) -> Option<Self> {
        let known = [
            ("PCMU", Self::G711),
            ("PCMA", Self::G711),
            ("L16", Self::G711),
            ("G722", Self::G711),
            ("opus", Self::G711),
            ("G729", Self::new(11.0, 19.0)),
            ("G723", Self::new(15.0, 16.1)),
            ("GSM-EFR", Self::new(5.0, 10.0)),
        ];
        let found = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, coding)| *coding)
    }

    /// By a static payload type (RFC 3551 table 4).
    pub fn of_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 | 8 | 9 | 10 | 11 => Some(Self::G711),
            4 => Self::of_format("G723"),
            18 => Self::of_format("G729"),
            _ => None,
        }
    }

    /// The score of what was lost like this and came `delay` after it was said.
    pub fn rate(self, loss: Loss, delay: Duration) -> Mos {
        let rating = RATING_DEFAULT - delay_impairment(delay) - self.loss_impairment(loss);
        Mos::from(score(rating))
    }

    /// Ie-eff (ITU-T G.107 §7.5).
    fn loss_impairment(self, loss: Loss) -> f64 {
        let share = loss.missing as f64 / loss.expected.max(loss.missing).max(1) as f64;
        let run = loss.missing as f64 / loss.holes.clamp(1, loss.missing.max(1)) as f64;
        // BurstR: how much longer runs are than those of random loss, which are 1 / (1 - share) long.
        let burst = (run * (1.0 - share)).max(1.0);
        let percent = share * 100.0;
        self.impairment + (95.0 - self.impairment) * percent / (percent / burst + self.robustness)
    }
}

/// Id, as it is commonly simplified: little below 177 ms one way, and then much.
fn delay_impairment(delay: Duration) -> f64 {
    let ms = delay.as_secs_f64() * 1_000.0;
    0.024 * ms + 0.11 * (ms - 177.3).max(0.0)
}

/// ITU-T G.107 annex B.
fn score(rating: f64) -> f64 {
    match rating {
        ..=0.0 => 1.0,
        100.0.. => 4.5,
        r => 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rated(name: &str, missing: u64, holes: u64, ms: u64) -> String {
        let loss = Loss {
            expected: 1_000,
            missing,
            holes,
        };
        let coding = Coding::of_format(name).expect("known");
        coding.rate(loss, Duration::from_millis(ms)).to_string()
    }

    #[test]
    fn a_perfect_call_has_the_score_of_the_default_rating() {
        assert_eq!(rated("PCMU", 0, 0, 0), "4.41");
        assert_eq!(rated("g729", 0, 0, 0), "4.10");
    }

    #[test]
    fn loss_hurts_runs_of_it_hurt_more_and_so_does_delay() {
        let all = [
            rated("PCMA", 0, 0, 0),
            rated("PCMA", 10, 10, 0),
            rated("PCMA", 50, 50, 0),
            rated("PCMA", 50, 5, 0),
            rated("PCMA", 50, 5, 400),
            rated("PCMA", 1_000, 1, 400),
        ];
        assert!(all.is_sorted_by(|better, worse| better > worse), "{all:?}");
        assert_eq!(all.last().map(String::as_str), Some("1.00"));
    }

    #[test]
    fn what_has_no_figures_is_not_rated() {
        assert_eq!(Coding::of_format("telephone-event"), None);
        assert_eq!(Coding::of_format("H264"), None);
        assert_eq!(Coding::of_payload_type(13), None);
        assert_eq!(Coding::of_payload_type(18), Coding::of_format("G729"));
    }

    proptest! {
        #[test]
        fn any_counts_make_a_score(expected: u64, missing: u64, holes: u64, delay: u64) {
            let loss = Loss { expected, missing, holes };
            let mos = f64::from(Coding::G711.rate(loss, Duration::from_nanos(delay)));
            prop_assert!((1.0..=4.5).contains(&mos));
        }
    }
}
