//! What a `[[trunk]]` says of our own conduct there: credentials, registration, redirects, transfers, failover.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::{Conduct, Config};
use crate::policy::reader::{Table, Words};
use crate::policy::{Code, Finding};
use crate::sip::digest::{Credentials, Password};
use crate::sip::{Scheme, Uri};
use crate::trunk::{Failover, Redirect, Refer, Register};

const REDIRECTS: &Words<Redirect> = &[("pass", Redirect::Pass), ("follow", Redirect::Follow)];
const REFERS: &Words<Refer> = &[("pass", Refer::Pass), ("execute", Refer::Execute)];
/// Realm, user and password each.
const TEXT_BYTES_MAX: usize = 256;
const EXPIRES_DEFAULT: Duration = Duration::from_secs(3_600);
const EXPIRES_RANGE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3_600);
/// More statuses than the class has are not read.
const STATUSES_MAX: usize = 100;

/// A password that is in a file is missing here until [`read_passwords`].
pub(super) fn conduct(table: &Table<'_>) -> Conduct {
    let (credentials, password_file) = credentials(table).unzip();
    Conduct {
        credentials,
        password_file: password_file.flatten(),
        register: register(table),
        redirect: table
            .choice("redirect", REDIRECTS)
            .map(Spanned::into_inner)
            .unwrap_or_default(),
        refer: table
            .choice("refer", REFERS)
            .map(Spanned::into_inner)
            .unwrap_or_default(),
        failover: failover(table).unwrap_or_default(),
    }
}

/// Reads what `password_file` names.
pub(super) fn read_passwords(config: &mut Config) -> Result<(), Vec<Finding>> {
    let mut findings = Vec::new();
    for conduct in config.trunks.iter_mut().map(|trunk| &mut trunk.conduct) {
        let (Some(file), Some(credentials)) = (&conduct.password_file, &mut conduct.credentials) else {
            continue;
        };
        match password_of(file) {
            Ok(password) => credentials.password = password,
            Err(finding) => findings.push(*finding),
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

fn password_of(file: &Path) -> Result<Password, Box<Finding>> {
    let text = super::load::source_file(file)?.text;
    // An editor ends the line; a password that ends in spaces is meant so.
    let line = text.trim_end_matches(['\r', '\n']);
    if is_fit(line) {
        return Ok(Password::new(line.to_owned()));
    }
    let finding = Finding::whole(
        Code::Malformed,
        &file.to_string_lossy(),
        "this is no password".to_owned(),
    );
    Err(Box::new(
        finding.label(format!("one line of 1 to {TEXT_BYTES_MAX} bytes")),
    ))
}

fn credentials(trunk: &Table<'_>) -> Option<(Credentials, Option<PathBuf>)> {
    let table = trunk.table("credentials", "a credentials field")?;
    let required = |key| {
        let text = table.required_text(key, "as the trunk's owner gave it")?;
        fit(&table, key, text)
    };
    let (realm, user) = (required("realm"), required("user"));
    let password = table.text("password").and_then(|text| fit(&table, "password", text));
    let file = super::read::path(&table, "password_file");
    if table.has("password") && table.has("password_file") {
        let finding = table.at(
            Code::NotAllowed,
            &table.key_span("password_file"),
            "`password` and `password_file` at once",
        );
        table.note(finding.hint("keep the file, and let nobody but `onrecord` read it"));
    } else if !table.has("password") && !table.has("password_file") {
        let finding = table.at(Code::Missing, table.span(), "`password_file` is missing");
        table.note(finding.label("needs `password_file`, a file of one line, or `password`"));
    }
    table.finish();
    let password = Password::new(password.unwrap_or_default());
    let (realm, user) = (realm?, user?);
    Some((Credentials { realm, user, password }, file))
}

fn fit(table: &Table<'_>, key: &'static str, text: Spanned<&str>) -> Option<String> {
    if is_fit(text.get_ref()) {
        return Some(text.into_inner().to_owned());
    }
    let wanted = format!("1 to {TEXT_BYTES_MAX} bytes without control characters");
    table.malformed(key, &text.span(), text.get_ref(), &wanted);
    None
}

fn is_fit(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn register(trunk: &Table<'_>) -> Option<Register> {
    let table = trunk.table("register", "a register field")?;
    let aor = |text: &str| {
        let uri = Uri::parse(text).ok()?;
        let is_whole = uri.scheme() == Scheme::Sip && uri.user().is_some() && uri.headers().is_none();
        is_whole.then_some(uri)
    };
    let wanted = "the address of record, like \"sip:1001@example.com\"";
    if !table.has("aor") {
        table.required_text("aor", wanted);
    }
    let aor = table.parsed("aor", wanted, aor).map(Spanned::into_inner);
    let expires = table.duration("expires").map_or(EXPIRES_DEFAULT, |expires| {
        if !EXPIRES_RANGE.contains(expires.get_ref()) {
            table.out_of_range("expires", &expires.span(), "from 60s to 7d");
        }
        expires.into_inner()
    });
    table.finish();
    Some(Register { aor: aor?, expires })
}

fn failover(trunk: &Table<'_>) -> Option<Failover> {
    let texts = trunk.texts("failover")?;
    let mut statuses = Vec::new();
    for text in texts.into_iter().take(STATUSES_MAX) {
        match (text.get_ref(), text.get_ref().parse::<u16>()) {
            (&"5xx", _) => statuses.extend(500..600),
            (_, Ok(status)) if (500..600).contains(&status) => statuses.push(status),
            _ => trunk.malformed(
                "failover",
                &text.span(),
                text.get_ref(),
                "\"5xx\", or statuses like \"503\"",
            ),
        }
    }
    Some(Failover::after(statuses))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::load_with_notes;
    use crate::sip::digest::Use;

    const REST: &str = "[listen]\nsip = [\"udp:127.0.0.1:5070\"]\nmedia = { address = \"127.0.0.1\", ports = \"40000-59999\" }\n[[trunk]]\nname = \"carrier\"\npeers = [\"127.0.0.1:5090\"]\n";

    fn loaded(trunk: &str, password: Option<&str>) -> Result<Conduct, Vec<Finding>> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(password) = password {
            std::fs::write(folder.path().join("secret"), password).unwrap();
        }
        let file = folder.path().join("onrecord.toml");
        std::fs::write(&file, format!("{REST}{trunk}")).unwrap();
        load_with_notes(&file).map(|(config, _)| config.trunks[0].conduct.clone())
    }

    fn response(conduct: &Conduct) -> String {
        let challenge = crate::sip::digest::challenges("Digest realm=\"r\", nonce=\"n\"");
        let challenge = challenge.flatten().next().unwrap();
        let used = Use {
            method: &crate::sip::Method::Invite,
            uri: "sip:b@c",
            body: b"",
            cnonce: "",
            count: 1,
        };
        conduct.credentials.as_ref().unwrap().answer(&challenge, &used)
    }

    #[test]
    fn a_trunk_without_a_word_of_it_does_nothing_on_our_behalf() {
        let conduct = loaded("", None).unwrap();
        assert_eq!(conduct, Conduct::default());
        assert!(conduct.failover.is_after(503) && !conduct.failover.is_after(500));
    }

    #[test]
    fn a_password_in_a_file_is_that_of_the_config() {
        let written = "credentials = { realm = \"r\", user = \"u\", password = \"p w\" }\nregister = { aor = \"sip:u@r\", expires = \"10m\" }\nredirect = \"follow\"\nrefer = \"execute\"\nfailover = [\"500\", \"503\"]\n";
        let here = loaded(written, None).unwrap();
        let there = loaded(
            "credentials = { realm = \"r\", user = \"u\", password_file = \"secret\" }\n",
            Some("p w\n"),
        );
        assert_eq!(response(&here), response(&there.unwrap()));
        assert_eq!((here.redirect, here.refer), (Redirect::Follow, Refer::Execute));
        let register = here.register.unwrap();
        assert_eq!(
            (register.aor.as_str(), register.expires),
            ("sip:u@r", Duration::from_secs(600))
        );
        assert!(here.failover.is_after(500) && !here.failover.is_after(502));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_is_shown() {
        let who = |more: &str| format!("credentials = {{ realm = \"r\", user = \"u\"{more} }}");
        for (trunk, password, code) in [
            (who(""), None, Code::Missing),
            (
                who(", password = \"p\", password_file = \"secret\""),
                Some("p"),
                Code::NotAllowed,
            ),
            (who(", password_file = \"secret\""), None, Code::Unreadable),
            (
                who(", password_file = \"secret\""),
                Some("hunter2\nhunter2"),
                Code::Malformed,
            ),
            (who(", password = \"hunter2\\n\""), None, Code::Malformed),
            (
                who(", realm2 = \"hunter2\", password = \"hunter2\""),
                None,
                Code::UnknownField,
            ),
            (
                "register = { aor = \"sip:example.com\" }".to_owned(),
                None,
                Code::Malformed,
            ),
            ("register = { expires = \"1h\" }".to_owned(), None, Code::Missing),
            (
                "register = { aor = \"sip:u@r\", expires = \"5s\" }".to_owned(),
                None,
                Code::Malformed,
            ),
            ("redirect = \"maybe\"".to_owned(), None, Code::NotAllowed),
            ("refer = \"refuse\"".to_owned(), None, Code::NotAllowed),
            ("failover = [\"404\"]".to_owned(), None, Code::Malformed),
        ] {
            let findings = loaded(&trunk, password).unwrap_err();
            assert!(
                findings.iter().any(|finding| finding.code == code),
                "{trunk}: {findings:?}"
            );
            let shown = crate::policy::render(&findings, crate::policy::Format::Full);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
