//! A decision read back: the calls of the process before go on under what was decided for them then.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::dial_plan::DialPlan;
use super::identity::Identity;
use super::terms::{RejectCode, RejectStatus};

impl<'de> Deserialize<'de> for Identity {
    /// From its text, which is normalised already: no trunk's dial plan has a say in it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::parse(&text, &DialPlan::default()))
    }
}

impl<'de> Deserialize<'de> for RejectCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Word {
            Status(u16),
            Auto(String),
        }
        let status = match Word::deserialize(deserializer)? {
            Word::Auto(word) if word == "auto" => return Ok(Self::Auto),
            Word::Auto(_) => return Err(D::Error::custom("neither a status nor `auto`")),
            Word::Status(status) => status,
        };
        let known = RejectStatus::ALL.into_iter().find(|known| known.code() == status);
        known
            .map(Self::Fixed)
            .ok_or_else(|| D::Error::custom("no status that may be chosen"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decision;
    use super::super::tests::{call, compile, grants, policy};

    #[test]
    fn a_decision_is_read_back_as_it_was() {
        let granted = grants("[[grant]]\npolicy = \"desk\"\nto = [\"global\"]\n");
        let set = compile(&[policy("desk", ""), granted]);
        let decision = set.decide(&call("sip:alice@example.com", "tel:+442079460001"));
        let text = serde_json::to_string(&decision).expect("JSON");
        assert_eq!(serde_json::from_str::<Decision>(&text).expect("a decision"), decision);
    }
}
