//! Who agreed to be recorded, and what was left out of who did not, as people read it.

use crate::model::Consent;
use crate::recorder::{Entry, Manifest};

/// What a list says of a call beside the rest; empty where nothing is unusual.
pub(super) fn beside(entry: &Entry) -> String {
    let mut told = String::new();
    let against = [Consent::Refused, Consent::Unanswered];
    let lacking = entry.consents.iter().filter(|known| against.contains(&known.consent));
    for known in lacking {
        told += &format!("  (consent of {}: {})", known.leg, known.consent.as_str());
    }
    if entry.left_out {
        told += "  (a party left out)";
    }
    told
}

pub(super) fn facts(manifest: &Manifest) -> impl Iterator<Item = String> {
    let consents = manifest.closing.consents.iter();
    consents.map(|known| format!("consent   {}  {known}", known.at))
}

pub(super) fn left_out(manifest: &Manifest) -> impl Iterator<Item = String> {
    manifest.reconciliation.left_out.iter().map(|span| {
        let seconds = span.length.as_secs_f64();
        format!(
            "left out  {}  {seconds:.3} s  {} of what {} sends, by {}",
            span.from,
            span.what,
            span.leg,
            span.why.as_str()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Consented, Leg, SessionId, Timestamp, Waiver};

    #[test]
    fn a_list_tells_who_did_not_agree_and_nothing_of_who_did() {
        let known = |leg, consent| Consented {
            leg,
            consent,
            at: Timestamp::ZERO,
            waiver: None,
        };
        let mut entry = super::super::rows::bare_entry(SessionId::from_u128(1), None);
        entry.consents = vec![known(Leg::A, Consent::Given), known(Leg::B, Consent::Implied)];
        assert_eq!(beside(&entry), "");
        entry.consents.push(known(Leg::A, Consent::Refused));
        entry.left_out = true;
        assert_eq!(beside(&entry), "  (consent of A: refused)  (a party left out)");
    }

    #[test]
    fn who_signed_that_consent_is_waived_is_told_with_it() {
        let waiver = Waiver {
            signed_by: "Legal".to_owned(),
            date: "2026-01-31".to_owned(),
        };
        let known = Consented {
            leg: Leg::B,
            consent: Consent::Waived,
            at: Timestamp::ZERO,
            waiver: Some(waiver),
        };
        assert_eq!(known.to_string(), "consent of B: waived, signed by Legal, 2026-01-31");
    }
}
