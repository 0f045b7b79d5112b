//! One file per verb: each has its `Args` and a `run` that returns the exit code.
//!
//! Data goes to stdout, logs to stderr. Exit codes: 0 fine, 1 findings or a difference, 2 could not do it.

mod logging;

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
enum Verb {}

/// It could not be done: what was asked for was not even tried, or broke off.
pub(crate) const COULD_NOT: u8 = 2;

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    let command = Command::parse();
    logging::start();
    match command.verb {}
}

/// Says on stderr why a verb failed and what to do next.
pub(crate) fn fail(why: impl std::fmt::Display, hint: &str) -> ExitCode {
    eprintln!("error: {}\n\nhint: {hint}", logging::visible(&why.to_string()));
    ExitCode::from(COULD_NOT)
}
