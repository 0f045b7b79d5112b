//! Headers that a message may have once.

use super::error::Wrong;

/// Headers of one value that steer what a message does: who reads the first of two and who reads the last would do
/// different things (RFC 3261 §7.3.1: they MUST NOT be repeated).
const SINGLES: [&str; 12] = [
    "Content-Type",
    "Content-Disposition",
    "Content-Transfer-Encoding",
    "Event",
    "Join",
    "Min-SE",
    "RAck",
    "Refer-To",
    "Replaces",
    "RSeq",
    "Session-Expires",
    "Target-Dialog",
];

/// Which of [`SINGLES`] were seen: a bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Singles(u16);

impl Singles {
    /// Refuses the second of one name.
    pub(super) fn note(&mut self, name: &str) -> Result<(), Wrong> {
        let Some(at) = SINGLES.iter().position(|single| single.eq_ignore_ascii_case(name)) else {
            return Ok(());
        };
        let seen = self.0 & (1 << at) != 0;
        self.0 |= 1 << at;
        if seen {
            Err(Wrong::Repeated(SINGLES[at]))
        } else {
            Ok(())
        }
    }
}
