//! `onrecord demo`: the whole story on loopback, with real packets, and every claim measured while it runs.

mod acts;
mod fault;
mod page;
mod phone;
mod proxy;
mod recording;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::live::clock::Clock;
use crate::model::Timestamp;
use acts::{Figures, Stage};
use page::{Check, Page};

/// A real call through a real proxy, its recording, and a recorder broken on purpose: about fifteen seconds.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// New folder for configuration, recordings and log [default: a new one in ./onrecord-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print one JSON object at the end, and nothing before
    #[arg(long)]
    json: bool,
}

/// Why the story broke off.
#[derive(Debug)]
struct Broken {
    why: String,
}

impl Broken {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    seconds: f64,
    data: &'a Path,
    log: PathBuf,
    #[serde(flatten)]
    figures: &'a Figures,
    checks: &'a [Check],
}

/// 0: everything that was claimed was seen. 1: something was not. 2: the proxy could not be started.
pub(crate) fn run(args: &Args) -> ExitCode {
    let clock = Clock::start();
    let started = clock.now();
    let data = args.data.clone().unwrap_or_else(|| data_default(started));
    if std::fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some()) {
        return super::fail(
            format_args!("{} is not empty, and the demo starts from nothing", data.display()),
            "name a new folder with --data",
        );
    }
    let mut page = Page::new(args.json);
    page.text("Two phones on loopback, the proxy between them. Whatever is ticked was measured in this run.\n");
    let mut stage = match Stage::set(clock, &data, &mut page) {
        Ok(stage) => stage,
        Err(Broken { why }) => return super::fail(why, &log_hint(&data)),
    };
    if let Err(Broken { why }) = stage.play(&mut page) {
        page.check(false, why);
    }
    let report = Report {
        ok: page.all_held(),
        seconds: clock.now().since(started).as_secs_f64(),
        data: &data,
        log: proxy::log_path(&data),
        figures: stage.figures(),
        checks: page.checks(),
    };
    if args.json {
        super::print_json(&report);
    }
    if report.ok {
        page.text(&farewell(&report));
        return ExitCode::SUCCESS;
    }
    let failed = report.checks.iter().filter(|check| !check.ok).count();
    eprintln!(
        "\nerror: {failed} of {} checks failed\n\nhint: {}",
        report.checks.len(),
        log_hint(&data)
    );
    ExitCode::from(super::FINDINGS)
}

fn log_hint(data: &Path) -> String {
    format!("the proxy's log is {}", proxy::log_path(data).display())
}

/// `onrecord-data/demo-20260102T030405Z`
fn data_default(now: Timestamp) -> PathBuf {
    let time = now.to_string();
    let time = time.get(..19).unwrap_or(&time).replace(['-', ':'], "");
    Path::new(super::DATA_DEFAULT).join(format!("demo-{time}Z"))
}

fn farewell(report: &Report<'_>) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "onrecord".into());
    let (program, data) = (program.to_string_lossy(), report.data.display());
    let wav = report.figures.wav.as_deref().unwrap_or(report.data).display();
    format!(
        "\nAll {} checks held, in {:.1} s. Look next:\n\
         \x20  play       {wav}\n\
         \x20  list       {program} calls list --data {data}\n\
         \x20  prove      {program} verify --data {data}\n\
         \x20  policies   {data}/policies, {data}/onrecord.toml\n\
         \x20  your PBX   README.md, and: {program} init --help\n",
        report.checks.len(),
        report.seconds
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_a_folder_of_its_time() {
        let at = Timestamp::from_millis(1_763_800_000_123);
        assert_eq!(data_default(at), Path::new("onrecord-data/demo-20251122T082640Z"));
    }
}
