//! `onrecord explain`: what would happen to a call, and why, by the very function that live calls are decided by.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::COULD_NOT;
use super::explain_route::Way;
use crate::config::{self, Config, Policies};
use crate::live::clock::Clock;
use crate::model::{Fault, Generation, MediaKind, SessionId, Timestamp};
use crate::policy::{CallFacts, Explanation, Finding, Format, PolicySet, RecorderState, render};

/// Explains the decision on a call, offline: by the policies of now, or as a recorded call keeps it.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "onrecord explain --from <URI> --to <URI> [OPTIONS]\n       onrecord explain <CALL> [--data <DIR>] [--json]"
)]
pub struct Args {
    /// A call that took place, by its id as `calls list` prints it: why it was decided so then
    #[arg(value_name = "CALL", required_unless_present_any = ["from", "to"])]
    pub call: Option<SessionId>,
    /// Who calls: a SIP or tel URI, or `alice@example.com`
    #[arg(long, value_name = "URI", conflicts_with = "call", requires = "to")]
    pub from: Option<String>,
    /// Who is called
    #[arg(long, value_name = "URI", conflicts_with = "call", requires = "from")]
    pub to: Option<String>,
    /// The data directory that has CALL
    #[arg(long, value_name = "DIR", default_value = super::DATA_DEFAULT)]
    pub data: PathBuf,
    /// The trunk that the call comes from
    #[arg(long, value_name = "NAME")]
    pub trunk: Option<String>,
    /// The trunk that the call goes to
    #[arg(long, value_name = "NAME")]
    pub to_trunk: Option<String>,
    /// Who the call was forwarded or transferred by; may be given more than once
    #[arg(long, value_name = "URI")]
    pub rerouted_by: Vec<String>,
    /// When, in UTC, like 2026-11-22T09:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
    /// With the recorder in this state
    #[arg(long, value_enum, default_value_t = Recorder::Up)]
    pub recorder: Recorder,
    /// The far end is a conference
    #[arg(long)]
    pub meeting: bool,
    /// The offer has video too
    #[arg(long)]
    pub video: bool,
    /// Folder of policies [default: the config's]
    #[arg(long, value_name = "DIR")]
    pub policies: Option<PathBuf>,
    /// Config file [default: onrecord.toml, else what is built in]
    #[arg(long, value_name = "FILE", conflicts_with = "policies")]
    pub config: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Recorder {
    Up,
    Down,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    if let Some(call) = args.call {
        return super::recorded_decision::explain(call, &args.data, args.json);
    }
    let (set, config) = match load(args) {
        Ok(loaded) => loaded,
        Err(findings) => {
            eprint!("{}", render(&findings, Format::Full));
            eprintln!("\nhint: run `onrecord check` for all findings");
            return ExitCode::from(COULD_NOT);
        }
    };
    let at = args.at.unwrap_or_else(|| Clock::start().now());
    let (from, to) = (args.from.as_deref(), args.to.as_deref());
    let way = args.trunk.as_deref().and_then(|trunk| {
        super::explain_route::way(&config, &set, trunk, from.unwrap_or_default(), to.unwrap_or_default())
    });
    let decision = set.decide(&facts(args, at, way.as_ref()));
    let explanation = Explanation {
        decision: &decision,
        recorder: match args.recorder {
            Recorder::Up => RecorderState::Up,
            Recorder::Down => RecorderState::Down(Fault::OpenFailed),
        },
        meeting: args.meeting,
        at,
        reject_code: config.recorder.reject_code,
    };
    let text = match (args.json, &way) {
        (true, None) => format!("{:#}\n", explanation.json()),
        (true, Some(way)) => {
            let mut json = explanation.json();
            json["way"] = way.json();
            format!("{json:#}\n")
        }
        (false, way) => way.as_ref().map(Way::text).unwrap_or_default() + &explanation.text(),
    };
    // A reader that has gone away is no failure of ours.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// As a live call's: with the numbers as the trunk's rules and dial plan make them.
fn facts(args: &Args, at: Timestamp, way: Option<&Way>) -> CallFacts {
    let written = |text: &Option<String>| text.clone().unwrap_or_default();
    let (from, request_uri, to) = match way {
        None => (written(&args.from), written(&args.to), written(&args.to)),
        Some(way) => {
            let headers = &way.seen.headers;
            let (from, to) = (headers.from().uri.to_string(), headers.to().uri.to_string());
            (from, way.seen.uri.to_string(), to)
        }
    };
    let to_trunk = args.to_trunk.as_deref().or_else(|| way?.to_trunk());
    let mut media = vec![MediaKind::Audio];
    media.extend(args.video.then_some(MediaKind::Video));
    let facts = CallFacts {
        trunk: args.trunk.as_deref().map(Into::into),
        to_trunk: to_trunk.map(Into::into),
        from,
        request_uri,
        writes_e164: way.is_some_and(|way| way.writes_e164),
        dialled: way.map(|way| way.dialled.clone()),
        to,
        rerouted_by: args.rerouted_by.clone(),
        media,
        conference: args.meeting,
        at,
        ..CallFacts::default()
    };
    match way {
        Some(way) => way.at_our_address(facts),
        None => facts,
    }
}

fn load(args: &Args) -> Result<(PolicySet, Config), Vec<Finding>> {
    let generation = Generation(1);
    if let Some(folder) = &args.policies {
        return Ok((config::load_policies(folder, generation)?, Config::embedded()));
    }
    let default = Path::new("onrecord.toml");
    let config = match &args.config {
        Some(path) => config::load(path)?,
        None if default.exists() => config::load(default)?,
        None => Config::embedded(),
    };
    let set = match &config.policies {
        Policies::Folder(folder) => config::load_policies(folder, generation)?,
        Policies::Embedded => {
            eprintln!("no onrecord.toml here: these are the built-in policies");
            config::embedded_policies(generation)
        }
    };
    Ok((set, config))
}
