//! `a=ice-ufrag`, `a=ice-pwd`: who asks for ways to an m-line (RFC 8839 §5). Candidates are not read: who is lite tries none, and learns
//! its peer's way from the check that is nominated (RFC 8445 §7.3).

use std::fmt::Write;
use std::net::SocketAddr;

use crate::model::IceCredentials;

/// RFC 8839 §5.4.
const UFRAG_BYTES: std::ops::RangeInclusive<usize> = 4..=256;
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 22..=256;
/// A host candidate of one who has one address (RFC 8445 §5.1.2.1): type 126, local preference 65,535, component 1.
const PRIORITY: u32 = 126 << 24 | 65_535 << 8 | (256 - 1);

/// What an m-line, or its session, says of ICE.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct IceDraft {
    ufrag: Option<String>,
    password: Option<String>,
    pub(super) is_lite: bool,
}

impl IceDraft {
    /// One attribute, if it belongs here.
    pub(super) fn on_attribute(&mut self, name: &str, value: Option<&str>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match value {
            Some(value) if is("ice-ufrag") && is_ice(value, &UFRAG_BYTES) => self.ufrag = Some(value.to_owned()),
            Some(value) if is("ice-pwd") && is_ice(value, &PASSWORD_BYTES) => self.password = Some(value.to_owned()),
            None => self.is_lite |= is("ice-lite"),
            Some(_) => {}
        }
    }

    /// What the line leaves out is taken from the session's; None without both parts.
    pub(super) fn credentials(self, session: &Self) -> Option<IceCredentials> {
        Some(IceCredentials {
            ufrag: self.ufrag.or_else(|| session.ufrag.clone())?,
            password: self.password.or_else(|| session.password.clone())?,
        })
    }
}

fn is_ice(value: &str, length: &std::ops::RangeInclusive<usize>) -> bool {
    let is_char = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    length.contains(&value.len()) && value.bytes().all(is_char)
}

/// What a line of ours says: credentials, the one candidate, and that there is no other (RFC 8840 §8.2). Without a port: the
/// credentials alone.
pub(super) fn write_ice(out: &mut String, ours: &IceCredentials, local: Option<SocketAddr>) {
    let _ = write!(out, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ours.ufrag, ours.password); // a String takes everything
    if let Some(local) = local {
        let (ip, port) = (local.ip(), local.port());
        let _ = write!(
            out,
            "a=candidate:1 1 UDP {PRIORITY} {ip} {port} typ host\r\na=end-of-candidates\r\n"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_has_credentials_if_both_parts_are_there() {
        let mut session = IceDraft::default();
        session.on_attribute("ice-lite", None);
        session.on_attribute("ICE-pwd", Some("asd88fgpdd777uzjYhagZg"));
        assert_eq!(IceDraft::default().credentials(&session), None);
        let mut line = IceDraft::default();
        line.on_attribute("ice-ufrag", Some("8hhY"));
        let credentials = line.credentials(&session).expect("credentials");
        assert_eq!(
            (credentials.ufrag.as_str(), credentials.password.len(), session.is_lite),
            ("8hhY", 22, true)
        );
    }

    #[test]
    fn what_the_rfc_does_not_allow_is_none() {
        for (ufrag, password) in [
            ("8hh", "asd88fgpdd777uzjYhagZg"),
            ("8hhY", "asd88fgpdd777uzjYhagZ"),
            ("8h:Y", "asd88fgpdd777uzjYhagZg"),
            (&"x".repeat(257), "asd88fgpdd777uzjYhagZg"),
        ] {
            let mut line = IceDraft::default();
            line.on_attribute("ice-ufrag", Some(ufrag));
            line.on_attribute("ice-pwd", Some(password));
            assert_eq!(line.credentials(&IceDraft::default()), None);
        }
    }

    #[test]
    fn our_candidate_is_the_port_of_the_leg() {
        let ours = IceCredentials {
            ufrag: "abcd".to_owned(),
            password: "p".repeat(22),
        };
        let mut out = String::new();
        write_ice(&mut out, &ours, Some("198.51.100.7:40000".parse().expect("an address")));
        assert!(
            out.contains("a=candidate:1 1 UDP 2130706431 198.51.100.7 40000 typ host\r\n"),
            "{out}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(name in "(ice-ufrag|ice-pwd|ice-lite)", value in proptest::option::of("\\PC{0,300}")) {
            let mut line = IceDraft::default();
            line.on_attribute(&name, value.as_deref());
            let _ = line.credentials(&IceDraft::default());
        }
    }
}
