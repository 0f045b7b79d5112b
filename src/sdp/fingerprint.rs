//! `a=fingerprint`, `a=setup`, `a=tls-id`: how a handshake is told in the description (RFC 8122 §5, RFC 4145 §4, RFC 8842 §4).

use std::fmt::Write;

use crate::model::{DIGEST_BYTES_MAX, Fingerprint, FingerprintHash};

/// Fingerprints of one m-line that are kept; a peer has one certificate for each kind of key.
pub const FINGERPRINTS_MAX: usize = 8;
/// RFC 8842 §4: 20 to 255 characters.
const TLS_ID_BYTES_MAX: usize = 255;

/// Who begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setup {
    /// The author does.
    Active,
    /// The other side does.
    Passive,
    /// The other side chooses.
    ActPass,
}

impl Setup {
    /// None for `holdconn`, and for what is none.
    pub fn parse(value: &str) -> Option<Self> {
        let all = [Self::Active, Self::Passive, Self::ActPass];
        all.into_iter()
            .find(|setup| setup.as_str().eq_ignore_ascii_case(value.trim()))
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        }
    }
}

/// What an m-line, or its session, says of its handshake.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shake {
    /// Those that can be verified; at most [`FINGERPRINTS_MAX`].
    pub fingerprints: Vec<Fingerprint>,
    pub setup: Option<Setup>,
    pub tls_id: Option<String>,
}

impl Shake {
    /// One attribute, if it belongs here.
    pub(super) fn on_attribute(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("fingerprint") {
            if self.fingerprints.len() < FINGERPRINTS_MAX {
                self.fingerprints.extend(read_fingerprint(value));
            }
        } else if name.eq_ignore_ascii_case("setup") {
            self.setup = Setup::parse(value).or(self.setup);
        } else if name.eq_ignore_ascii_case("tls-id") && value.len() <= TLS_ID_BYTES_MAX {
            self.tls_id = Some(value.to_owned());
        }
    }

    /// What the line leaves out is taken from the session's.
    pub(super) fn inherit(&mut self, session: &Self) {
        if self.fingerprints.is_empty() {
            self.fingerprints.clone_from(&session.fingerprints);
        }
        self.setup = self.setup.or(session.setup);
        if self.tls_id.is_none() {
            self.tls_id.clone_from(&session.tls_id);
        }
    }
}

/// The value of `a=fingerprint`. None for a function that proves nothing, and for what is no digest of it.
pub fn read_fingerprint(value: &str) -> Option<Fingerprint> {
    let mut words = value.split_ascii_whitespace();
    let (name, digits) = (words.next()?, words.next()?);
    let is_named = |hash: &FingerprintHash| hash.as_str().eq_ignore_ascii_case(name);
    let hash = FingerprintHash::ALL.into_iter().find(is_named)?;
    let (mut digest, mut length) = ([0; DIGEST_BYTES_MAX], 0);
    for byte in digits.split(':') {
        let [high, low] = *byte.as_bytes() else { return None };
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *digest.get_mut(length)? = digit(high)? << 4 | digit(low)?;
        length += 1;
    }
    Fingerprint::new(hash, digest.get(..length)?)
}

/// As it stands in a description, without line ending.
pub(super) fn write_fingerprint(out: &mut String, fingerprint: &Fingerprint) {
    let _ = write!(out, "a=fingerprint:{}", fingerprint.hash().as_str()); // a String takes everything
    for (place, byte) in fingerprint.digest().iter().enumerate() {
        let _ = write!(out, "{}{byte:02X}", if place == 0 { ' ' } else { ':' });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 8122 §5.
    const EXAMPLE: &str =
        "SHA-256 12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD";

    #[test]
    fn the_example_of_the_rfc_is_read_and_written_as_it_was() {
        let fingerprint = read_fingerprint(EXAMPLE).expect("a fingerprint");
        assert_eq!(&fingerprint.digest()[..3], [0x12, 0xdf, 0x3e]);
        let mut out = String::new();
        write_fingerprint(&mut out, &fingerprint);
        assert_eq!(out, format!("a=fingerprint:{}", EXAMPLE.replace("SHA", "sha")));
        assert_eq!(read_fingerprint(&EXAMPLE.to_ascii_lowercase()), Some(fingerprint));
    }

    #[test]
    fn what_proves_nothing_is_none() {
        for value in [
            String::new(),
            "sha-256".to_owned(),
            EXAMPLE.replace("SHA-256", "sha-1"),
            EXAMPLE.replace("SHA-256", "sha-512"),
            EXAMPLE.replace(":AD", ""),
            EXAMPLE.replace("12:", "1:"),
            EXAMPLE.replace("12:", "+2:"),
            format!("{EXAMPLE}:00"),
        ] {
            assert_eq!(read_fingerprint(&value), None, "{value}");
        }
    }

    #[test]
    fn a_line_says_what_the_session_leaves_out_and_the_other_way_round() {
        let mut session = Shake::default();
        session.on_attribute("Fingerprint", EXAMPLE);
        session.on_attribute("setup", "actpass");
        session.on_attribute("tls-id", &"x".repeat(256));
        let mut line = Shake::default();
        line.on_attribute("setup", "holdconn");
        line.on_attribute("setup", "ACTIVE");
        line.inherit(&session);
        assert_eq!(
            (line.setup, line.fingerprints.len(), line.tls_id),
            (Some(Setup::Active), 1, None)
        );
        for _ in 0..2 * FINGERPRINTS_MAX {
            session.on_attribute("fingerprint", EXAMPLE);
        }
        assert_eq!(session.fingerprints.len(), FINGERPRINTS_MAX);
    }

    proptest! {
        #[test]
        fn every_fingerprint_is_read_as_it_was_written(hash in 0..3_usize, seed in any::<[u8; 32]>()) {
            let hash = FingerprintHash::ALL[hash];
            let digest = [seed, seed].concat();
            let fingerprint = Fingerprint::new(hash, &digest[..hash.bytes()]).expect("a fingerprint");
            let mut out = String::new();
            write_fingerprint(&mut out, &fingerprint);
            prop_assert_eq!(read_fingerprint(out.strip_prefix("a=fingerprint:").expect("the attribute")), Some(fingerprint));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}", tail in "[ -~]{0,120}") {
            read_fingerprint(&text);
            read_fingerprint(&format!("sha-256 {tail}"));
            Setup::parse(&text);
        }
    }
}
