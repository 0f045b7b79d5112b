//! `onrecord reload`: load the policy files, and trunks and routes of the config again, as SIGHUP does.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::live::control::{self, Reply, Request};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data directory of the running `serve`.
    #[arg(long, value_name = "DIR", default_value = super::DATA_DEFAULT)]
    data: PathBuf,
    /// Print the reply as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let reply = match control::ask(&args.data, &Request::Reload) {
        Ok(reply) => reply,
        Err(error) => return super::fail(error, super::NOT_RUNNING_HINT),
    };
    if args.json {
        super::print_json(&reply);
    }
    match reply {
        Reply::Reloaded {
            generation,
            restart,
            warnings,
        } => {
            if !args.json {
                super::print(&format!("policies: generation {generation}\n"));
            }
            for warning in warnings {
                eprintln!("{}", super::logging::visible(&warning));
            }
            if !restart.is_empty() {
                eprintln!(
                    "\nhint: these changed in the config and need a restart: {}",
                    restart.join(", ")
                );
            }
            ExitCode::SUCCESS
        }
        Reply::Refused { why } => {
            eprintln!("{why}\n\nhint: what was refused stays as it was; see all findings with `onrecord check`");
            ExitCode::from(super::FINDINGS)
        }
        Reply::Status(_) | Reply::Draining { .. } | Reply::Done => {
            super::fail("an answer to another question", "is it the same version?")
        }
    }
}
