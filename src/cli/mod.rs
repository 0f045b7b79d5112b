//! One file per verb: each has its `Args` and a `run` that returns the exit code.
//!
//! Data goes to stdout, logs to stderr. Exit codes: 0 fine, 1 findings or a difference, 2 could not do it.

mod archive;
mod calls;
mod chat;
mod check;
mod consents;
mod demo;
mod drain;
mod explain;
mod explain_route;
mod export;
mod init;
mod log_queue;
mod logging;
mod output_file;
mod pause;
mod quality;
mod recorded_decision;
mod reload;
mod replay;
mod rows;
mod serve;
mod status;
mod typed;
mod verify;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A SIP back-to-back proxy that records calls by policy and fails closed.
#[derive(Debug, Parser)]
#[command(name = "onrecord", version, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// See it work: a call on loopback, its recording, and a recorder broken on purpose
    Demo(demo::Args),
    /// Run the proxy, in the foreground
    Serve(serve::Args),
    /// Write a commented config, sample policies and the trunk for your PBX
    Init(init::Args),
    /// Check config and policies: everything that is wrong, at once
    Check(check::Args),
    /// What would happen to a call, or happened to a recorded one, and why
    Explain(Box<explain::Args>),
    /// A sealed call as sound or as a capture
    Export(export::Args),
    /// The archive: list calls, or show one
    Calls(calls::Args),
    /// Check that every recording is whole and unaltered
    Verify(verify::Args),
    /// Play a capture through the proxy: what would have happened
    Replay(replay::Args),
    /// What a running `serve` says of itself
    Status(status::Args),
    /// Make a running `serve` load its policy files again
    Reload(reload::Args),
    /// Keep nothing of a running call for a while, as its policies allow
    Pause(pause::PauseArgs),
    /// Keep it again
    Resume(pause::ResumeArgs),
    /// Let a running `serve` end without ending calls, or hand them over to the next
    Drain(drain::Args),
}

/// Findings, or a difference: it was done, and the answer is not good.
pub(crate) const FINDINGS: u8 = 1;

/// It could not be done: what was asked for was not even tried, or broke off.
pub(crate) const COULD_NOT: u8 = 2;

/// Where `serve` without a configuration keeps its data.
pub(crate) const DATA_DEFAULT: &str = "onrecord-data";

const NOT_RUNNING_HINT: &str = "start it with `onrecord serve`, or name its data directory with --data";

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    let command = Command::parse();
    if !matches!(command.verb, Verb::Serve(_)) {
        logging::start();
    }
    match &command.verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Serve(args) => serve::run(args),
        Verb::Init(args) => init::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Export(args) => export::run(args),
        Verb::Calls(args) => calls::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Replay(args) => replay::run(args),
        Verb::Status(args) => status::run(args),
        Verb::Reload(args) => reload::run(args),
        Verb::Pause(args) => pause::pause(args),
        Verb::Resume(args) => pause::resume(args),
        Verb::Drain(args) => drain::run(args),
    }
}

/// Says on stderr why a verb failed and what to do next.
pub(crate) fn fail(why: impl std::fmt::Display, hint: &str) -> ExitCode {
    eprintln!("error: {}\n\nhint: {hint}", logging::visible(&why.to_string()));
    ExitCode::from(COULD_NOT)
}

/// Prints one JSON object and a line feed on stdout.
pub(crate) fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => eprintln!("error: {error}"),
    }
}

/// Prints on stdout. A reader that has gone (`| head`) is no error, and no panic as with `println!`.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::debug!(%error, "stdout");
    }
}
