//! `onrecord serve`: runs the proxy, in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use super::logging;
use crate::config::{self, Config};
use crate::live::{self, DataError, ServeOptions, StartError};
use crate::policy::{Finding, Format, render};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration; without it: loopback, the sample policies, data in `./onrecord-data`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let the control socket break volumes on purpose: for tests and drills, never for production.
    #[arg(long)]
    allow_faults: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let _logs = match logging::start_queued() {
        Ok(logs) => logs,
        Err(error) => return super::fail(error, "the system has no room for another thread"),
    };
    let config = match &args.config {
        None => Config::embedded(),
        Some(file) => match config::load_with_notes(file) {
            Ok((config, doubts)) => {
                live::log_findings(&doubts);
                config
            }
            Err(findings) => return refuse(args, &findings),
        },
    };
    let options = ServeOptions {
        config_file: args.config.clone(),
        allow_faults: args.allow_faults,
    };
    match live::serve(&config, options) {
        Ok(code) => code,
        Err(StartError::Policies(findings)) => refuse(args, &findings),
        Err(error) => super::fail(&error, hint(&error)),
    }
}

/// With errors in its files a node does not start: it would not be known what it records.
fn refuse(args: &Args, findings: &[Finding]) -> ExitCode {
    eprint!("{}", render(findings, Format::Full));
    let config = args.config.as_deref().map(|file| format!(" {}", file.display()));
    super::fail(
        "not started: the files above have errors",
        &format!(
            "mend them, and see with `onrecord check{}` if all is well",
            config.unwrap_or_default()
        ),
    )
}

const fn hint(error: &StartError) -> &'static str {
    match error {
        StartError::Data(DataError::InUse { .. }) => {
            "ask the one that runs by `onrecord status`, or name another `data`"
        }
        StartError::Data(DataError::Twice { .. } | DataError::AmongCalls { .. }) => {
            "name one directory of its own for each of `[recorder] volumes`"
        }
        StartError::Data(DataError::Unusable { .. }) => "it must be a directory that this user may write to",
        StartError::Recovery(_) => "nothing was changed; see that every volume can be read, then start again",
        StartError::Volumes(_) => "see `data` and `[recorder] volumes`",
        StartError::Bind(_) => "see who listens there with `ss -lunp` or `ss -ltnp`, or change `[listen] sip`",
        StartError::Tls(_) => "see `[listen.tls]` and the `[trunk.tls]` tables",
        StartError::Sharing(_) => "see docs/OPERATING.md, Sockets of media, or leave `sockets` out",
        StartError::System(_) | StartError::Policies(_) => "see the log above",
    }
}
