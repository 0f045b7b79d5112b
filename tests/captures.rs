//! Every folder of `captures/` is a test: its capture, played under its policy, gives the transcript beside it, and
//! what was recorded can be verified to the last packet.
//!
//! `expect.ladder` begins with the command whose output it holds; the faults of the test are those of the command.
//! `ONRECORD_ACCEPT=1 cargo test --test captures` writes what came out in the place of what was expected.

#![cfg(feature = "shell")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use onrecord::config::{self, Config};
use onrecord::disk::{Disk, Layout, StoredFile};
use onrecord::model::{Generation, Outcome};
use onrecord::policy::{PolicySet, Severity};
use onrecord::recorder::{SealedCall, survey};
use onrecord::replay::{FaultSpec, ReplayOptions, Report, Shown, replay, replay_to};
use onrecord::sip::Method;

#[path = "captures/exported.rs"]
mod exported;
#[path = "captures/sound.rs"]
mod sound;

const ACCEPT: &str = "ONRECORD_ACCEPT";
const FILES: [&str; 3] = ["README.md", "call.pcap", "policy.toml"];
const EXPECTED: &str = "expect.ladder";
const CHAT: &str = "expect.chat";
/// Of one capture. A repository is no place for hours of speech.
const CAPTURE_BYTES_MAX: u64 = 300_000;
const CAPTURES_BYTES_MAX: u64 = 4_000_000;

#[test]
fn every_capture_gives_the_ladder_beside_it_and_seals_what_it_recorded() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 22, "only {} scenarios", scenarios.len());
    let failures: Vec<String> = scenarios
        .iter()
        .filter_map(|scenario| {
            let why = scenario.check().err()?;
            Some(format!("== {}\n{why}", scenario.name))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} scenarios failed\n\n{}",
        failures.len(),
        scenarios.len(),
        failures.join("\n")
    );
}

#[test]
fn every_scenario_is_in_the_table_of_flows_and_nothing_else_is() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFORMANCE.md")).unwrap();
    let (_, table) = page.split_once("\n## Flows as captures\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let mut listed: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    listed.sort_unstable();
    listed.dedup();
    let scenarios = scenarios();
    assert_eq!(
        listed,
        scenarios
            .iter()
            .map(|scenario| scenario.name.as_str())
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_captures_are_small() {
    let sizes = scenarios().into_iter().map(|scenario| {
        let bytes = fs::metadata(scenario.folder.join("call.pcap")).map_or(0, |file| file.len());
        assert!(bytes < CAPTURE_BYTES_MAX, "{}: {bytes} bytes", scenario.name);
        bytes
    });
    assert!(sizes.sum::<u64>() < CAPTURES_BYTES_MAX);
}

#[test]
fn the_command_of_a_ladder_prints_it_in_a_shell() {
    if is_accepting() {
        return;
    }
    let all = scenarios();
    for name in ["privacy", "strict-stall-while-talking", "transfer-attended"] {
        let scenario = all.iter().find(|scenario| scenario.name == name).unwrap();
        let expected = fs::read_to_string(scenario.folder.join(EXPECTED)).unwrap();
        let command = scenario.command().unwrap();
        let shown = onrecord(command.split_whitespace().skip(1));
        let (text, exit) = (String::from_utf8(shown.stdout).unwrap(), shown.status.code().unwrap());
        assert_eq!(format!("$ {command}\n{text}exit {exit}\n"), expected, "{name}");
    }
}

#[test]
fn a_trunk_that_the_config_has_not_is_named() {
    let command = "replay captures/privacy/call.pcap --policies captures/privacy --config \
                   captures/privacy/proxy/onrecord.toml --to-trunk carrier";
    let shown = onrecord(command.split_whitespace());
    let said = String::from_utf8(shown.stderr).unwrap();
    assert_eq!(shown.status.code(), Some(2), "{said}");
    assert!(said.contains("the config has no trunk `carrier`"), "{said}");
}

fn onrecord<'a>(args: impl Iterator<Item = &'a str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onrecord"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
    command.output().unwrap()
}

/// Of captures in which the proxy acts on its own behalf, or phones name dialogs of each other.
const CUT: [&str; 9] = [
    "challenge-answered",
    "failover-to-ipv6",
    "forked-answers",
    "join",
    "message-waiting",
    "pickup",
    "redirect-followed",
    "register-with-path",
    "transfer-attended",
];

#[test]
fn a_capture_that_ends_anywhere_is_played_to_there_and_every_call_of_it_ends() {
    let mut cut: Vec<Scenario> = scenarios();
    cut.retain(|scenario| CUT.contains(&scenario.name.as_str()));
    assert_eq!(cut.len(), CUT.len());
    for scenario in cut {
        let options = scenario.options(&scenario.command().unwrap()).unwrap();
        let file = fs::read(scenario.folder.join("call.pcap")).unwrap();
        for end in ends_of_messages(&file) {
            let report = replay(&file[..end], &options).unwrap();
            for call in &report.calls {
                let at = format!("{} until byte {end}: {}", scenario.name, call.call_id);
                assert!(
                    call.trail.iter().any(|line| line.starts_with("ended: ")),
                    "{at}: {:?}",
                    call.trail
                );
                assert_eq!((call.accepted, call.gaps), (call.stored, 0), "{at}");
            }
        }
    }
}

/// Where records end that hold SIP; of a file in little-endian microseconds.
fn ends_of_messages(file: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (24, Vec::new());
    while let Some(head) = file.get(at..at + 16) {
        let end = at + 16 + u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        if file[at..end].windows(7).any(|word| word == b"SIP/2.0") {
            ends.push(end);
        }
        at = end;
    }
    ends
}

struct Scenario {
    name: String,
    folder: PathBuf,
}

/// In the order of their names. `__pycache__` is no scenario.
fn scenarios() -> Vec<Scenario> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut scenarios: Vec<Scenario> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|folder| Scenario {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            folder,
        })
        .filter(|scenario| !scenario.name.starts_with("__"))
        .collect();
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    scenarios
}

impl Scenario {
    fn check(&self) -> Result<(), String> {
        self.is_complete()?;
        let command = self.command()?;
        let options = self.options(&command)?;
        let report = replay(self.capture(), &options).map_err(|why| why.to_string())?;
        self.compare(&transcript(&command, &report))?;
        self.seals(&options, &report)
    }

    fn options(&self, command: &str) -> Result<ReplayOptions, String> {
        let trunk = |option, default: &str| values(command, option).next().unwrap_or(default).into();
        Ok(ReplayOptions {
            policies: Arc::new(self.policies()?),
            faults: faults(command)?,
            trunks: [trunk("--trunk", "caller"), trunk("--to-trunk", "callee")],
            config: config_of(command)?,
            shown: Shown {
                whole: values(command, "--sip").filter_map(Method::parse).collect(),
                headers: values(command, "--header").map(str::to_owned).collect(),
            },
        })
    }

    fn is_complete(&self) -> Result<(), String> {
        let missing = FILES.iter().find(|file| !self.folder.join(file).is_file());
        missing.map_or(Ok(()), |file| Err(format!("no {file}")))
    }

    fn capture(&self) -> File {
        File::open(self.folder.join("call.pcap")).unwrap()
    }

    /// The first line of the transcript, without its prompt. A new folder has none yet.
    fn command(&self) -> Result<String, String> {
        let name = &self.name;
        let plain = format!("onrecord replay captures/{name}/call.pcap --policies captures/{name}");
        let Ok(expected) = fs::read_to_string(self.folder.join(EXPECTED)) else {
            return if is_accepting() {
                Ok(plain)
            } else {
                Err(format!("no {EXPECTED}"))
            };
        };
        let command = expected.lines().next().unwrap_or_default();
        match command.strip_prefix("$ ").filter(|command| command.starts_with(&plain)) {
            Some(command) => Ok(command.to_owned()),
            None => Err(format!("{EXPECTED} begins with `{command}`, not with `$ {plain}`")),
        }
    }

    fn policies(&self) -> Result<PolicySet, String> {
        let policies =
            config::load_policies(&self.folder, Generation(1)).map_err(|findings| format!("{findings:#?}"))?;
        let finding = policies.findings().iter().find(|f| f.severity != Severity::Note);
        finding.map_or(Ok(()), |finding| Err(format!("{finding:#?}")))?;
        Ok(policies)
    }

    fn compare(&self, actual: &str) -> Result<(), String> {
        let path = self.folder.join(EXPECTED);
        if is_accepting() {
            fs::write(&path, actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        if expected == actual {
            return Ok(());
        }
        let line = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count() + 1;
        Err(format!(
            "-- expected, captures/{}/{EXPECTED}\n{expected}\n-- but was, from line {line} on\n{actual}\n\
             if that is right: {ACCEPT}=1 cargo test --test captures, and read the difference\n",
            self.name
        ))
    }

    /// Once more with a real disk: the same comes out, every call without a fault is sealed exactly, all can be verified.
    fn seals(&self, options: &ReplayOptions, expected: &Report) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout {
            data: folder.path().to_owned(),
            volumes: vec![folder.path().join("spool")],
        };
        let disk = Disk::open(layout.clone()).unwrap();
        let report = replay_to(self.capture(), options, disk).map_err(|why| why.to_string())?;
        for (call, in_memory) in report.calls.iter().zip(&expected.calls) {
            let id = &call.call_id;
            let is_sealed = call.recording.is_some();
            if (call.accepted, call.stored, call.gaps) != (in_memory.accepted, in_memory.stored, in_memory.gaps) {
                return Err(format!(
                    "{id}: a disk stores {}, memory {}",
                    call.stored, in_memory.stored
                ));
            }
            let is_whole = call.accepted == call.stored && call.gaps == 0;
            if matches!(call.outcome, Outcome::Recorded | Outcome::NoMedia) && !(is_sealed && is_whole) {
                let (accepted, stored, gaps) = (call.accepted, call.stored, call.gaps);
                return Err(format!(
                    "{id}: sealed: {is_sealed}, {stored} of {accepted} packets, {gaps} gaps"
                ));
            }
        }
        verify(&layout)?;
        sounds(&layout)?;
        self.keeps_chat(&layout)
    }

    /// Where the folder says what was written: `onrecord export --chat` makes it of the one recording.
    fn keeps_chat(&self, layout: &Layout) -> Result<(), String> {
        let path = self.folder.join(CHAT);
        let Ok(expected) = fs::read_to_string(&path) else {
            return Ok(());
        };
        let calls = layout.sealed().unwrap().calls;
        let (id, chat) = (calls.keys().next().unwrap(), layout.data.join(CHAT));
        let export = Command::new(env!("CARGO_BIN_EXE_onrecord"))
            .args(["export", &id.to_string(), "--data"])
            .arg(&layout.data)
            .arg("--chat")
            .arg(&chat)
            .output()
            .unwrap();
        let actual = fs::read_to_string(&chat).map_err(|_| String::from_utf8_lossy(&export.stderr).into_owned())?;
        if is_accepting() {
            fs::write(&path, &actual).unwrap();
        } else if expected != actual {
            return Err(format!("-- expected, {CHAT}\n{expected}\n-- but was\n{actual}"));
        }
        Ok(())
    }
}

/// Every call is as long as it was, and what was said is heard when it was said.
fn sounds(layout: &Layout) -> Result<(), String> {
    for path in layout.sealed().unwrap().calls.into_values() {
        let mut call = SealedCall::open(StoredFile::open(&path).unwrap()).map_err(|why| why.to_string())?;
        sound::listen(&mut call)?;
    }
    Ok(())
}

/// As `onrecord verify` does it.
fn verify(layout: &Layout) -> Result<(), String> {
    for path in layout.sealed().unwrap().calls.into_values() {
        let call = SealedCall::open(StoredFile::open(&path).unwrap());
        call.and_then(|mut call| call.verify())
            .map_err(|why| format!("{}: {why}", path.display()))?;
    }
    for path in layout.segments().unwrap() {
        let found = survey(StoredFile::open(&path).unwrap()).map_err(|why| format!("{}: {why}", path.display()))?;
        if let Some(byte) = found.damaged {
            return Err(format!("{}: damaged at byte {byte}", path.display()));
        }
    }
    Ok(())
}

fn is_accepting() -> bool {
    std::env::var_os(ACCEPT).is_some_and(|value| value == "1")
}

/// The `--config` of the command, which has both of its trunks.
fn config_of(command: &str) -> Result<Option<Arc<Config>>, String> {
    let Some(path) = values(command, "--config").next() else {
        return Ok(None);
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let (config, notes) = config::load_with_notes(&path).map_err(|findings| format!("{findings:#?}"))?;
    let notes: Vec<_> = notes.iter().filter(|f| f.severity != Severity::Note).collect();
    if !notes.is_empty() {
        return Err(format!("{notes:#?}"));
    }
    Ok(Some(Arc::new(config)))
}

/// The values of an option.
fn values<'a>(command: &'a str, option: &'a str) -> impl Iterator<Item = &'a str> {
    let mut words = command.split_whitespace();
    std::iter::from_fn(move || {
        words.find(|word| *word == option)?;
        words.next()
    })
}

fn faults(command: &str) -> Result<Vec<FaultSpec>, String> {
    values(command, "--fault")
        .map(|value| value.parse().map_err(|why| format!("{value}: {why}")))
        .collect()
}

/// What a terminal shows.
fn transcript(command: &str, report: &Report) -> String {
    let exit = u8::from(!report.is_fine());
    let text = report.to_text();
    format!("$ {command}\n{text}exit {exit}\n")
}
