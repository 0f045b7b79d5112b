//! What a peer that can throttle itself is told of our load (RFC 7339 §4, §5.2).

use std::time::Duration;

use super::congestion::Congestion;
use crate::sip::Via;

/// How long a peer holds to what it was told (§4.3).
const VALIDITY: Duration = Duration::from_millis(500);
/// The one class of algorithms that every peer knows (§4.2).
const ALGORITHM: &str = "loss";

/// Writes our load into the Via of a request whose sender asked for it by `oc`, from where each response copies it. Whether it
/// asked. The value is that of the request's arrival; `oc-seq` says of when, so that a late answer tells nothing old (§4.4).
pub fn answer_via(via: &mut Via, congestion: &Congestion) -> bool {
    let offered = via.params.get("oc-algo").unwrap_or(ALGORITHM).trim_matches('"');
    let knows_loss = offered
        .split(',')
        .any(|name| name.trim().eq_ignore_ascii_case(ALGORITHM));
    // Without the magic cookie the whole Via names the transaction (RFC 3261 §17.2.3): it has to stay the same.
    if !via.params.contains("oc") || !knows_loss || !via.has_magic_cookie() {
        return false;
    }
    // Percent, rounded up: a share that is asked for at all is at least 1.
    let percent = congestion.calls_unwelcome().div_ceil(10);
    let validity = if percent == 0 { 0 } else { VALIDITY.as_millis() };
    let thought = congestion.thought();
    via.params.set("oc", &percent.to_string());
    via.params.set("oc-algo", &format!("\"{ALGORITHM}\""));
    via.params.set("oc-validity", &validity.to_string());
    let millis = thought.as_millis() % 1_000;
    via.params.set("oc-seq", &format!("{}.{millis:03}", thought.as_secs()));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn told(congestion: &Congestion, params: &str) -> (bool, String) {
        let mut via = Via::parse(&format!("SIP/2.0/UDP 192.0.2.1{params}")).expect("a Via");
        let asked = answer_via(&mut via, congestion);
        (asked, via.params.to_string())
    }

    fn congested() -> Congestion {
        let mut congestion = Congestion::default();
        congestion.note_refused(Timestamp::from_millis(5_014_900), 437);
        congestion
    }

    #[test]
    fn who_asks_is_told_the_share_to_hold_back_and_for_how_long() {
        let congestion = congested();
        let (asked, params) = told(&congestion, ";branch=z9hG4bK1;oc;oc-algo=\"loss,rate\"");
        assert!(asked);
        assert_eq!(
            params,
            ";branch=z9hG4bK1;oc=44;oc-algo=\"loss\";oc-validity=500;oc-seq=5014.900"
        );
    }

    #[test]
    fn without_overload_it_is_told_that_we_could_say_so() {
        let (asked, params) = told(&Congestion::default(), ";branch=z9hG4bK1;oc;oc-algo=\"loss\"");
        assert!(asked);
        assert_eq!(
            params,
            ";branch=z9hG4bK1;oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=0.000"
        );
    }

    #[test]
    fn who_does_not_ask_or_knows_no_loss_is_told_nothing() {
        for params in [
            ";branch=z9hG4bK1",
            ";branch=z9hG4bK1;oc;oc-algo=\"rate\"",
            ";branch=old;oc;oc-algo=\"loss\"",
        ] {
            assert_eq!(told(&congested(), params), (false, params.to_owned()));
        }
    }
}
