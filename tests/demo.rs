//! The README's first command, as its reader runs it.

#![cfg(feature = "shell")]
#![allow(clippy::panic, clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn onrecord(arguments: &[&str], folder: &Path) -> Output {
    let mut verb = Command::new(env!("CARGO_BIN_EXE_onrecord"));
    verb.args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_demo_holds_what_it_claims_and_leaves_an_archive_that_other_verbs_read() {
    let folder = tempfile::tempdir().unwrap();
    let demo = onrecord(&["demo", "--data", "new/data", "--json"], folder.path());
    let log = std::fs::read_to_string(folder.path().join("new/data/serve.log")).unwrap_or_default();
    let (said, complaint) = (text(&demo.stdout), text(&demo.stderr));
    assert_eq!(demo.status.code(), Some(0), "{said}\n{complaint}\n{log}");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["ok"], true);
    for count in ["heard", "relayed", "stored"] {
        assert_eq!(report[count], report["sent"], "{report}");
    }
    assert_eq!(
        report["outcomes"],
        json!(["recorded", "faulted", "blocked", "recorded"])
    );
    assert!(report["checks"].as_array().unwrap().len() >= 17, "{report}");
    assert!(folder.path().join(report["wav"].as_str().unwrap()).exists());

    let verify = onrecord(&["verify", "--data", "new/data"], folder.path());
    assert_eq!(verify.status.code(), Some(0), "{}", text(&verify.stdout));
    let calls = onrecord(&["calls", "list", "--data", "new/data"], folder.path());
    assert_eq!(text(&calls.stdout).lines().count(), 4, "{}", text(&calls.stdout));
    let status = onrecord(&["status", "--data", "new/data"], folder.path());
    assert_eq!(status.status.code(), Some(2), "the proxy has gone");

    let again = onrecord(&["demo", "--data", "new/data"], folder.path());
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stdout));
    assert!(
        text(&again.stderr).contains("starts from nothing"),
        "{}",
        text(&again.stderr)
    );
}
