//! The program itself, on loopback: `serve` between two phones, told what to do by signals and verbs.

#![cfg(feature = "shell")]
#![allow(clippy::panic, clippy::unwrap_used)]

mod ailing;
mod bench;
mod certificates;
mod consenting;
mod line;
mod moved;
mod networks;
mod noticed;
mod parting;
mod paused;
mod phone;
mod registered;
mod reloaded;
mod shaken;
mod shared;
mod transports;
mod urgent;

use std::fs;
use std::process::Output;

use bench::Bench;
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_call_is_recorded_and_exported_and_the_end_is_in_good_order() {
    let mut bench = Bench::new(71);
    bench.start();
    let ok = bench.call("one");
    assert_eq!(bench.status()["calls"]["talking"], 1);
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);

    bench.ends_well();
    assert_eq!(bench.outcomes(), [("recorded".to_owned(), true)]);
    let export = bench.verb(&[
        "export",
        &bench.only(),
        "--wav",
        "call.wav",
        "--pcapng",
        "call.pcapng",
        "--data",
        "data",
        "--json",
    ]);
    assert_eq!(
        export.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&export.stderr)
    );
    let report: Value = serde_json::from_slice(&export.stdout).unwrap();
    assert!(report["pcapng"]["packets"].as_u64() > Some(10), "{report}");
    assert!(bench.folder.path().join("call.wav").exists());
    assert_eq!(
        bench.verb(&["status", "--data", "data"]).status.code(),
        Some(2),
        "nobody answers any more"
    );
}

#[test]
fn told_to_end_it_says_bye_to_both_and_seals() {
    let mut bench = Bench::new(72);
    bench.start();
    bench.call("one");
    bench.signal(Signal::TERM);
    for phone in [&bench.a, &bench.b] {
        let bye = phone.hear("BYE");
        phone.accept(&bye);
    }
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
    assert_eq!(bench.outcomes(), [("recorded".to_owned(), true)]);
}

#[test]
fn told_to_end_it_keeps_the_record_of_every_call_that_it_refused() {
    const CALLS: usize = 30;
    let mut bench = Bench::new(77);
    bench.write_policy("nobody", "action = \"block\"");
    bench.start();
    for call in 0..CALLS {
        bench.a.invite(bench.proxy, "bob", &format!("blocked-{call}"));
    }
    for _ in 0..CALLS {
        let refusal = bench.a.hear("SIP/2.0 403");
        bench.a.ack(bench.proxy, &refusal);
    }
    bench.ends_well();
    assert_eq!(bench.outcomes(), vec![("blocked".to_owned(), true); CALLS]);
}

#[test]
fn a_volume_that_fails_ends_a_strict_call_and_the_next_is_refused_until_it_is_mended() {
    let mut bench = Bench::new(73);
    bench.start();
    let ok = bench.call("one");
    bench.turn_fault("eio");
    bench.a.speak(ok.media());
    for phone in [&bench.a, &bench.b] {
        let bye = phone.hear("BYE");
        assert!(bye.text.contains("Reason: SIP;cause=503"), "{}", bye.text);
        phone.accept(&bye);
    }
    assert_eq!(bench.verb(&["status", "--data", "data"]).status.code(), Some(1), "down");
    bench.a.invite(bench.proxy, "bob", "two");
    let refusal = bench.a.hear("SIP/2.0 6");
    assert!(refusal.text.starts_with("SIP/2.0 603"), "{}", refusal.text);
    bench.a.ack(bench.proxy, &refusal);

    bench.turn_fault("none");
    bench.until(|status| status["recorder"]["up"] == true);
    let ok = bench.call("three");
    bench.a.within(bench.proxy, &ok, "BYE", 2);
    let bye = bench.b.hear("BYE");
    assert!(
        bye.text.contains("CSeq"),
        "the next BYE is the third call's: the second never reached B"
    );
    bench.b.accept(&bye);
    bench.ends_well();
    let mut outcomes: Vec<String> = bench.outcomes().into_iter().map(|(outcome, _)| outcome).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["blocked", "faulted", "recorded"]);
}

#[test]
fn what_a_kill_leaves_is_sealed_at_the_next_start_and_its_call_goes_on() {
    let mut bench = Bench::new(74);
    bench.start();
    let ok = bench.call("one");
    let dialogs = bench.folder.path().join("data/dialogs");
    bench.until(|status| status["calls"]["talking"] == 1 && fs::metadata(&dialogs).unwrap().len() > 0);
    bench.signal(Signal::KILL);
    assert_eq!(bench.ended().code(), None, "killed");

    bench.start();
    assert_eq!(bench.sealed().len(), 1);
    bench.until(|status| status["calls"]["talking"] == 1);
    bench.a.within(bench.proxy, &ok, "BYE", 2);
    let bye = bench.b.hear("BYE");
    bench.b.accept(&bye);
    bench.until(|status| status["calls"] == serde_json::json!({}));
    assert_eq!(
        bench.sealed().len(),
        2,
        "what was before the kill, and what came after it"
    );
    bench.ends_well();
}

#[test]
fn changed_policies_are_loaded_and_broken_ones_are_not() {
    let mut bench = Bench::new(75);
    bench.start();
    bench.write_policy("everyone, in other words", "");
    bench.until(|status| status["policies"]["generation"] == 2);
    bench.write_policy("broken", "recrod = true");
    bench.until(|status| status["policies"]["refused"] != serde_json::json!([]));
    assert_eq!(bench.status()["policies"]["generation"], 2);
    let reload = bench.verb(&["reload", "--data", "data"]);
    assert_eq!(reload.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&reload.stderr).contains("recrod"));

    bench.write_policy("mended", "");
    bench.until(|status| status["policies"]["generation"] == 3);
    bench.ends_well();
}

/// The config is read anew as a whole: a broken one changes nothing, and a call that is up keeps its trunk.
#[test]
fn a_reload_takes_trunks_and_routes_from_the_config_and_running_calls_keep_theirs() {
    let mut bench = Bench::new(84);
    bench.start();
    let names = |status: &Value| -> Vec<String> {
        let trunks = status["trunks"].as_array().unwrap().iter();
        trunks.map(|trunk| trunk["name"].as_str().unwrap().to_owned()).collect()
    };
    bench.until(|status| names(status) == ["pbx", "carrier"]);
    let ok = bench.call("before");
    let config = bench.folder.path().join("onrecord.toml");
    let text = fs::read_to_string(&config).unwrap();

    fs::write(&config, text.replace("to = \"carrier\"", "to = \"carier\"")).unwrap();
    let refused = bench.verb(&["reload", "--data", "data"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("did you mean `carrier`?"));
    assert_eq!(names(&bench.status()), ["pbx", "carrier"]);

    let renamed = text
        .replace("\"carrier\"", "\"provider\"")
        .replace("node = \"bench\"", "node = \"other\"");
    fs::write(&config, renamed).unwrap();
    let reload = bench.verb(&["reload", "--data", "data", "--json"]);
    assert_eq!(reload.status.code(), Some(0), "{}", bench.log());
    let reply: Value = serde_json::from_slice(&reload.stdout).unwrap();
    assert_eq!(reply["restart"], serde_json::json!(["node"]));
    bench.until(|status| names(status) == ["pbx", "provider"]);

    bench.a.hangs_up(bench.proxy, &ok, &bench.b);
    bench.call("after");
    bench.until(|status| status["trunks"][1]["calls"] == 1);
    bench.signal(Signal::TERM);
    for phone in [&mut bench.a, &mut bench.b] {
        let bye = phone.hear("BYE");
        phone.accept(&bye);
    }
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
}

/// What the program prints is what a newcomer types next, from any directory.
#[test]
fn the_first_steps_work_as_they_are_hinted() {
    let mut bench = Bench::new(79);
    fs::remove_file(bench.folder.path().join("onrecord.toml")).unwrap();
    let fine = |output: Output| {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{output:?}");
        text
    };
    let missing = bench.verb(&["check", "new"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&missing.stdout).contains("`onrecord init`"),
        "{missing:?}"
    );
    let hint = fine(bench.verb(&["init", "--dir", "new"]));
    assert!(
        hint.contains("onrecord check new/onrecord.toml && onrecord serve --config new/onrecord.toml"),
        "{hint}"
    );
    let config = bench.folder.path().join("new/onrecord.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("127.0.0.1", "127.79.0.1")).unwrap();
    fine(bench.verb(&["check", "new"]));
    fine(bench.verb(&["check", "new/onrecord.toml"]));
    let call = ["--from", "alice@example.com", "--to", "+15551234"];
    fine(bench.verb(&[&["explain", "--config", "new/onrecord.toml"], &call[..]].concat()));
    bench.start_with("new/onrecord.toml", "new/onrecord-data");
    fine(bench.verb(&["calls", "list", "--data", "new/onrecord-data"]));
    fine(bench.verb(&["verify", "--data", "new/onrecord-data"]));
    bench.ends_well();
    assert!(!bench.folder.path().join("onrecord-data").exists());
}

#[test]
fn what_is_doubtful_in_files_that_are_in_force_is_logged() {
    let mut bench = Bench::new(78);
    bench.start();
    bench.write_policy("routed around", "reject_code = 503");
    bench.until(|status| status["policies"]["generation"] == 2);
    let grants = "[[grant]]\npolicy = \"everyone\"\nto = [\"global\", \"trunk:pbxx\"]\n";
    fs::write(bench.folder.path().join("policies/grants.toml"), grants).unwrap();
    bench.until(|status| status["policies"]["generation"] == 3);
    bench.ends_well();
    let log = bench.log();
    // The bench's carrier has no route: that is so from the start.
    for code in ["P103", "P031", "P050"] {
        assert!(
            log.lines().any(|line| line.contains("WARN") && line.contains(code)),
            "{code}: {log}"
        );
    }
}

#[test]
fn it_does_not_start_with_broken_policies_or_where_another_runs() {
    let mut bench = Bench::new(76);
    bench.write_policy("broken", "recrod = true");
    let refused = bench.verb(&["serve", "--config", "onrecord.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("everyone.toml:6:1"),
        "{refused:?}"
    );

    bench.write_policy("whole", "");
    bench.start();
    let second = bench.verb(&["serve", "--config", "onrecord.toml"]);
    assert_eq!(second.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("another `onrecord` uses"),
        "{second:?}"
    );
}
