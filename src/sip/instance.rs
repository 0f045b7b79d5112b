//! Instance IDs (RFC 5626 §4.1): by which a registrar's list of bindings shows whose each is, whatever became of its URI.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// `urn:uuid:…` of whatever `text` names, the same for the same text at every start (RFC 9562 §5.8: version 8).
pub fn instance_id(text: &str) -> String {
    let mut id = "urn:uuid:".to_owned();
    for (at, byte) in Sha256::digest(text.as_bytes()).into_iter().take(16).enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        // Writing to a String cannot fail.
        let _infallible = write!(id, "{dash}{byte:02x}");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_is_a_uuid_that_stays_and_is_nobody_elses() {
        let id = instance_id("sip:1001@192.0.2.9:5060");
        assert_eq!(id, instance_id("sip:1001@192.0.2.9:5060"));
        assert_ne!(id, instance_id("sip:1001@192.0.2.9:5061"));
        let uuid = id.strip_prefix("urn:uuid:").expect("a URN");
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.chars().nth(14), Some('8'), "its version");
        assert!(uuid.chars().nth(19).is_some_and(|c| "89ab".contains(c)), "its variant");
    }
}
