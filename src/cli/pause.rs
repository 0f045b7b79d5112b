//! `onrecord pause` and `onrecord resume`: nothing of a running call is kept for a while.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::live::control::{self, Reply, Request};
use crate::model::SessionId;

#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    call: Call,
    /// Why, for the recording (its first 200 characters).
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    call: Call,
}

#[derive(Debug, clap::Args)]
struct Call {
    /// The call's id, as `calls list` prints it.
    #[arg(value_name = "ID")]
    id: SessionId,
    /// The data directory of the running `serve`.
    #[arg(long, value_name = "DIR", default_value = super::DATA_DEFAULT)]
    data: PathBuf,
    /// Print the reply as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn pause(args: &PauseArgs) -> ExitCode {
    let session = args.call.id;
    let why = args.why.clone();
    let told = format!("{session}: nothing is kept until `onrecord resume`, or the policy's time is over\n");
    ask(&args.call.data, &Request::Pause { session, why }, args.call.json, &told)
}

pub(crate) fn resume(args: &ResumeArgs) -> ExitCode {
    let session = args.call.id;
    let told = format!("{session}: it is kept again\n");
    ask(&args.call.data, &Request::Resume { session }, args.call.json, &told)
}

fn ask(data: &Path, request: &Request, json: bool, told: &str) -> ExitCode {
    let reply = match control::ask(data, request) {
        Ok(reply) => reply,
        Err(error) => return super::fail(error, super::NOT_RUNNING_HINT),
    };
    if json {
        super::print_json(&reply);
    }
    match reply {
        Reply::Done => {
            if !json {
                super::print(told);
            }
            ExitCode::SUCCESS
        }
        Reply::Refused { why } => super::fail(
            why,
            "`onrecord calls list` names the calls; docs/POLICY.md says who may pause",
        ),
        _ => super::fail("an answer to another question", "is it the same version?"),
    }
}
