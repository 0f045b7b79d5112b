//! A running call is paused by hand.

use std::fs;

use serde_json::Value;

use super::bench::{Bench, LOOKS_MAX};

#[test]
fn a_call_is_paused_by_hand_and_what_is_said_then_is_on_no_disk() {
    let mut bench = Bench::new(163);
    bench.write_policy("", "pause = { allowed = true, resume_after = \"1m\" }");
    bench.start();
    let [invite, ok] = bench.connect("one");
    bench.talk([&ok, &invite], 5);
    let listed = || {
        let listed = bench.verb(&["calls", "list", "--data", "data", "--json"]);
        let calls: Value = serde_json::from_slice(&listed.stdout).unwrap();
        calls[0]["id"].as_str().map(str::to_owned)
    };
    let id = (0..LOOKS_MAX).find_map(|_| listed()).unwrap();

    let paused = bench.verb(&["pause", &id, "--why", "card number", "--data", "data"]);
    assert_eq!(
        paused.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&paused.stderr)
    );
    let again = bench.verb(&["pause", &id, "--data", "data"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("paused already"));
    bench.talk([&ok, &invite], 20);
    let resumed = bench.verb(&["resume", &id, "--data", "data"]);
    assert_eq!(
        resumed.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&resumed.stderr)
    );
    bench.talk([&ok, &invite], 5);
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);
    bench.ends_well();

    let facts = bench.facts();
    assert_eq!(
        (&facts["outcome"], &facts["counts"]["rtp"]),
        (&"recorded".into(), &20.into()),
        "{facts}"
    );
    let tally = &facts["closing"]["tally"];
    assert_eq!(
        (&tally["accepted"], &tally["withheld"]),
        (&20.into(), &40.into()),
        "{tally}"
    );
    let marks = facts["marks"].as_array().unwrap().iter();
    let told: Vec<&Value> = marks
        .map(|noted| &noted["mark"])
        .filter(|mark| mark.is_object())
        .collect();
    assert!(
        told.contains(&&serde_json::json!({"recording_paused": {"by": "operator", "why": "card number"}})),
        "{facts}"
    );
    assert_eq!(facts["reconciliation"]["pauses"].as_array().map(Vec::len), Some(1));
    let pcapng = bench.verb(&["export", &id, "--pcapng", "call.pcapng", "--data", "data"]);
    assert_eq!(pcapng.status.code(), Some(0));
    let capture = fs::read(bench.folder.path().join("call.pcapng")).unwrap();
    assert!(String::from_utf8_lossy(&capture).contains("PAUSED by the operator"));
    assert_eq!(bench.verb(&["verify", "--data", "data"]).status.code(), Some(0));
}
