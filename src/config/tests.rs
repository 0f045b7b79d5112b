//! The config file: what is read, what is refused and in which words.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::Generation;
use crate::policy::{Code, Finding, Format, RejectStatus, Severity, render};
use crate::trunk::Topology;

/// The example that other tools rely on.
const EXAMPLE: &str = r#"
node = "lab"
data = "data"
[listen]
sip = ["udp:127.0.0.1:5070", "tcp:127.0.0.1:5070"]
media = { address = "127.0.0.1", ports = "40000-59999" }
[[trunk]]
name = "pbx"
peers = ["127.0.0.1:5080", "127.0.0.2"]
[[trunk]]
name = "carrier"
peers = ["127.0.0.1:5090"]
[[route]]
from = "pbx"
to = "carrier"
[[route]]
from = "carrier"
to = "pbx"
[recorder]
volumes = [{ path = "data/spool", reserve = "1GiB" }]
lag_max = "1s"
[policies]
path = "policies"
"#;

fn read(text: &str) -> Result<(Config, Vec<Finding>), Vec<Finding>> {
    let (path, text) = ("onrecord.toml".to_owned(), text.to_owned());
    super::load::compile(&crate::policy::SourceFile { path, text })
}

/// The findings on the example after one replacement.
fn findings(from: &str, to: &str) -> Vec<Finding> {
    assert!(EXAMPLE.contains(from), "{from}");
    match read(&EXAMPLE.replacen(from, to, 1)) {
        Ok((_, findings)) | Err(findings) => findings,
    }
}

#[test]
fn the_example_is_read_as_it_is_written() {
    let (config, notes) = read(EXAMPLE).unwrap();
    assert_eq!(notes, []);
    assert_eq!(config.node, "lab");
    assert_eq!(config.data, PathBuf::from("data"));
    assert_eq!(config.listen.sip.len(), 2);
    assert_eq!(config.listen.media.ports, 40_000..=59_999);
    assert_eq!(
        config.trunks[0].peers[1],
        Peer {
            ip: "127.0.0.2".parse().unwrap(),
            port: None
        }
    );
    assert_eq!(
        config.trunks[0].peers[1].address(),
        std::net::SocketAddr::from(([127, 0, 0, 2], 5_060))
    );
    assert_eq!(
        config.recorder.volumes,
        [Volume {
            path: "data/spool".into(),
            reserve: 1 << 30
        }]
    );
    assert_eq!(config.recorder.lag_max, Duration::from_secs(1));
    assert_eq!(config.policies, Policies::Folder("policies".into()));
    assert_eq!(config.routes[0].to.as_str(), "carrier");
}

#[test]
fn a_source_is_known_by_its_address_and_its_port_if_one_is_named() {
    let (config, _) = read(EXAMPLE).unwrap();
    let trunk = |source: &str| config.trunk_of(source.parse().unwrap()).map(|t| t.name.as_str());
    assert_eq!(trunk("127.0.0.1:5080"), Some("pbx"));
    assert_eq!(trunk("127.0.0.1:5081"), None);
    assert_eq!(trunk("127.0.0.2:33333"), Some("pbx"));
    assert_eq!(trunk("[::ffff:127.0.0.2]:1"), Some("pbx"));
    assert_eq!(trunk("127.0.0.1:5090"), Some("carrier"));
    assert_eq!(trunk("192.0.2.1:5080"), None);
}

#[test]
fn what_may_be_left_out_has_its_default() {
    let text = "[listen]\nsip = [\"udp:[::1]:5060\"]\nmedia = { address = \"::1\" }\n\
                [[trunk]]\nname = \"a\"\npeers = [\"[2001:db8::1]:5070\", \"2001:db8::2\"]\n[[route]]\nfrom = \"a\"\nto = \"a\"\n";
    let (config, notes) = read(text).unwrap();
    assert_eq!(notes, []);
    assert_eq!(config.node, "onrecord");
    assert_eq!(
        config.recorder.volumes,
        [Volume {
            path: "onrecord-data/spool".into(),
            reserve: 1 << 30
        }]
    );
    assert_eq!(config.recorder.reject_code, RejectCode::Auto);
    assert_eq!(config.trunks[0].peers[0].port, Some(5070));
    assert!(!config.trunks[0].trusted);
}

/// The page is what an operator copies.
#[test]
fn the_routes_of_the_page_send_one_number_to_the_desk_and_the_rest_as_they_came() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATING.md")).unwrap();
    let (_, section) = page.split_once("## Routes\n```toml\n").unwrap();
    let (routes, _) = section.split_once("```").unwrap();
    let (before, after) = EXAMPLE.split_once("[[route]]").unwrap();
    let (_, after) = after.split_once("[recorder]").unwrap();
    let (config, findings) = read(&format!("{before}{routes}[recorder]{after}")).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    let topology = Topology::new(config.trunks.clone(), config.routes, Vec::new());
    let way = |from: &str, user| {
        let (route, trunk) = topology.route(&from.into(), user).unwrap();
        (trunk.name.as_str().to_owned(), route.to_user.clone())
    };
    let to = |trunk: &str, user: Option<&str>| (trunk.to_owned(), user.map(str::to_owned));
    assert_eq!(way("carrier", "+442079460000"), to("pbx", Some("1000")));
    assert_eq!(way("carrier", "+442079460001"), to("pbx", None));
    assert_eq!(way("pbx", "+442079460000"), to("carrier", None));
}

#[test]
fn routes_are_tried_by_priority_and_then_as_written() {
    let more = "[[route]]\nfrom = \"pbx\"\nto = \"pbx\"\nprefix = \"1\"\nto_user = \"1001\"\npriority = -1\n[recorder]";
    let (config, _) = read(&EXAMPLE.replacen("[recorder]", more, 1)).unwrap();
    let order: Vec<&str> = config.routes.iter().map(|r| r.to.as_str()).collect();
    assert_eq!(order, ["pbx", "carrier", "pbx"]);
    assert_eq!(config.routes[0].to_user.as_deref(), Some("1001"));
    let (config, _) = read(&EXAMPLE.replacen("lag_max", "reject_code = 480\nlag_max", 1)).unwrap();
    assert_eq!(
        config.recorder.reject_code,
        RejectCode::Fixed(RejectStatus::TemporarilyUnavailable)
    );
}

const VOLUME: &str = "volumes = [{ path = \"data/spool\", reserve = \"1GiB\" }]";

/// What is replaced in the example, by what, and what is found.
const MISTAKES: &[(&str, &str, Code, &str)] = &[
    (
        "node = \"lab\"",
        "nod = \"lab\"",
        Code::UnknownField,
        "unknown field `nod`",
    ),
    (
        "node = \"lab\"",
        "node = \"a b\"",
        Code::Malformed,
        "`node` cannot be `a b`",
    ),
    (
        "\"udp:127.0.0.1:5070\"",
        "\"udp:127.0.0.1\"",
        Code::Malformed,
        "`sip` cannot be `udp:127.0.0.1`",
    ),
    (
        "\"udp:127.0.0.1:5070\"",
        "\"sctp:127.0.0.1:5070\"",
        Code::Malformed,
        "`sip` cannot be `sctp:127.0.0.1:5070`",
    ),
    (
        "\"udp:127.0.0.1:5070\"",
        "\"udp:0.0.0.0:5070\"",
        Code::UnusableAddress,
        "`udp:0.0.0.0:5070` cannot be told to peers",
    ),
    (
        "\"udp:127",
        "\"tcp:127",
        Code::DuplicateListener,
        "`tcp:127.0.0.1:5070` is listed twice",
    ),
    (
        "volumes = [",
        "volumes = [{ path = \"data//./spool\" }, ",
        Code::DuplicateVolume,
        "volume `data/spool` is listed twice",
    ),
    (
        "40000-59999",
        "59999-40000",
        Code::Malformed,
        "`ports` cannot be `59999-40000`",
    ),
    (
        "40000-59999",
        "40000-40009",
        Code::FewPorts,
        "10 ports; a call with audio and video takes 8",
    ),
    (
        "40000-59999",
        "5000-59999",
        Code::FewPorts,
        "SIP listens on port 5070 of this range",
    ),
    (
        "name = \"carrier\"",
        "name = \"pbx\"",
        Code::DuplicateTrunk,
        "trunk `pbx` is defined twice",
    ),
    (
        "[\"127.0.0.1:5090\"]",
        "[\"127.0.0.2:9\"]",
        Code::DuplicatePeer,
        "`127.0.0.2:9` is a peer of trunk `pbx` too",
    ),
    (
        "[\"127.0.0.1:5090\"]",
        "[\"sip.example.com\"]",
        Code::Malformed,
        "`peers` cannot be `sip.example.com`",
    ),
    ("[\"127.0.0.1:5090\"]", "[]", Code::Malformed, "`peers` cannot be `[]`"),
    (
        "to = \"carrier\"",
        "to = \"carier\"",
        Code::UnknownTrunk,
        "there is no trunk `carier`",
    ),
    (
        "from = \"carrier\"",
        "from = \"pbx\"",
        Code::UnreachableRoute,
        "no call reaches this route",
    ),
    (
        "from = \"carrier\"",
        "from = \"pbx\"",
        Code::NoRoute,
        "no route leads from trunk `carrier`",
    ),
    ("\"1GiB\"", "\"1 gig\"", Code::Malformed, "`reserve` cannot be `1 gig`"),
    ("\"1s\"", "\"50ms\"", Code::Malformed, "`lag_max` cannot be `50ms`"),
    ("\"1s\"", "\"0s\"", Code::Malformed, "`lag_max` cannot be `0s`"),
    ("\"1s\"", "\"2m\"", Code::Malformed, "`lag_max` cannot be `2m`"),
    ("\"1s\"", "1", Code::WrongType, "`lag_max` must be text in quotes"),
    (
        VOLUME,
        "volumes = [\"data/spool\"]",
        Code::WrongType,
        "`volumes` must be an array of tables",
    ),
];

#[test]
fn every_mistake_is_found_and_said() {
    for (from, to, code, message) in MISTAKES {
        let found = findings(from, to);
        let is_said = found.iter().any(|f| f.code == *code && f.message == *message);
        assert!(is_said, "{to}: {}", render(&found, Format::Full));
    }
}

#[test]
fn a_finding_shows_the_line_and_what_was_meant() {
    let found = findings("to = \"carrier\"", "to = \"carier\"");
    let unknown: Vec<Finding> = found.into_iter().filter(|f| f.code == Code::UnknownTrunk).collect();
    let shown = render(&unknown, Format::Full);
    let (_, rest) = shown.split_once("onrecord.toml").unwrap();
    assert_eq!(
        rest,
        ":15:6\n   |\n15 | to = \"carier\"\n   |      ^^^^^^^^ the config has no trunk of this name\n\nhint: did you mean `carrier`?\n"
    );
}

#[test]
fn what_cannot_be_read_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("none.toml")).unwrap_err();
    assert_eq!(
        (missing[0].code, missing[0].message.as_str()),
        (Code::Unreadable, "cannot be read: No such file or directory")
    );
    let told = render(&load(Path::new("none.toml")).unwrap_err(), Format::Full);
    let tried = std::env::current_dir().unwrap().join("none.toml");
    assert!(told.contains(&format!("tried {}", tried.display())), "{told}");
    assert!(told.contains("`onrecord init`"), "{told}");
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, b"node = \"\xff\"").unwrap();
    assert_eq!(load(&binary).unwrap_err()[0].message, "not UTF-8 at byte 8");
    assert_eq!(load(folder.path()).unwrap_err()[0].message, "this is not a plain file");
    let big = folder.path().join("big.toml");
    fs::write(&big, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(load(&big).unwrap_err()[0].code, Code::TooLarge);
}

#[test]
fn relative_paths_are_below_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("onrecord.toml");
    fs::write(&file, EXAMPLE).unwrap();
    let (there, here) = (load(&file).unwrap(), read(EXAMPLE).unwrap().0);
    assert_eq!(there.data, folder.path().join(&here.data));
    let path = |config: &Config| config.recorder.volumes[0].path.clone();
    assert_eq!(path(&there), folder.path().join(path(&here)));
    let Policies::Folder(policies) = there.policies else {
        unreachable!("a file names a folder");
    };
    assert_eq!(policies, folder.path().join("policies"));
}

#[test]
fn policies_are_the_toml_files_of_the_folder_and_not_its_tests() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    assert_eq!(
        load_policies(folder.path(), Generation(1)).unwrap_err()[0].message,
        "no policy file here"
    );
    write("grants.toml", "[[grant]]\npolicy = \"$null\"\nto = [\"global\"]\n");
    write("tests/a.toml", "this is no policy");
    write(".hidden.toml", "nor this");
    write("README.md", "nor this");
    let set = load_policies(folder.path(), Generation(3)).unwrap();
    assert_eq!(set.generation(), Generation(3));
    assert!(
        set.findings().iter().all(|f| f.severity == Severity::Note),
        "{:#?}",
        set.findings()
    );
    assert!(load_policies(Path::new("/nonexistent"), Generation(1)).is_err());
}

#[test]
fn the_built_in_config_is_the_one_that_init_writes() {
    let (written, notes) = read(include_str!("../cli/snippets/onrecord.toml")).unwrap();
    assert_eq!(notes, []);
    assert_eq!(
        Config {
            policies: Policies::Embedded,
            ..written
        },
        Config::embedded()
    );
}

proptest! {
    #[test]
    fn mutated_configs_are_read_or_refused(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[\\[\\]{}=\"'#.,\n a-z0-9é:-]{0,6}"), 1..6),
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, drop, insert) in &edits {
            let at = at.index(text.len() + 1);
            let end = (at + drop).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        let file = crate::policy::SourceFile { path: "onrecord.toml".to_owned(), text };
        match super::load::compile(&file) {
            Ok((config, _)) => prop_assert!(!config.recorder.volumes.is_empty()),
            Err(findings) => prop_assert!(findings.iter().any(|f| f.severity == Severity::Error)),
        }
    }
}

#[test]
fn session_timers_are_half_an_hour_unless_the_config_says_otherwise() {
    let said = |text: &str| {
        let more = format!("[sip]\nsession_expires = \"{text}\"\n[recorder]");
        read(&EXAMPLE.replacen("[recorder]", &more, 1))
            .unwrap()
            .0
            .session_expires
    };
    assert_eq!(
        read(EXAMPLE).unwrap().0.session_expires,
        Some(Duration::from_secs(1_800))
    );
    assert_eq!(said("90s"), Some(Duration::from_secs(90)));
    assert_eq!(said("0s"), None);
    for text in ["89s", "25h"] {
        let more = format!("[sip]\nsession_expires = \"{text}\"\n[recorder]");
        let found = findings("[recorder]", &more);
        assert!(found.iter().any(|f| f.message.contains("session_expires")), "{found:?}");
    }
}

#[test]
fn a_callee_may_ring_for_ten_minutes_without_a_word_unless_the_config_says_otherwise() {
    let with = |text: &str| EXAMPLE.replacen("[recorder]", &format!("[sip]\nring_max = \"{text}\"\n[recorder]"), 1);
    assert_eq!(read(EXAMPLE).unwrap().0.ring_max, Duration::from_secs(600));
    assert_eq!(read(&with("1h")).unwrap().0.ring_max, Duration::from_secs(3_600));
    assert_eq!(
        read(&with("1h")).unwrap().0.session_expires,
        Some(Duration::from_secs(1_800))
    );
    for text in ["0s", "59s", "25h"] {
        let found = findings("[recorder]", &format!("[sip]\nring_max = \"{text}\"\n[recorder]"));
        assert!(found.iter().any(|f| f.message.contains("ring_max")), "{found:?}");
    }
}
