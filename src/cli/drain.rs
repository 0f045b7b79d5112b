//! `onrecord drain`: let a running `serve` end without ending calls.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::live::control::{self, Reply, Request};
use crate::live::drain::DrainOrder;
use crate::policy::scalar;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data directory of the running `serve`.
    #[arg(long, value_name = "DIR", default_value = super::DATA_DEFAULT)]
    data: PathBuf,
    /// End the calls that still run after this time, like 30m; without it the last call is waited for.
    #[arg(long, value_name = "TIME", value_parser = time)]
    within: Option<Duration>,
    /// End at once and leave the running calls to the next start, which takes them over: for an upgrade.
    #[arg(long, conflicts_with_all = ["within", "cancel"])]
    hand_over: bool,
    /// Take calls again.
    #[arg(long, conflicts_with = "within")]
    cancel: bool,
    /// Print the reply as JSON.
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Duration, &'static str> {
    scalar::duration(text).ok_or("a time, like 90s, 30m or 2h")
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let order = match (args.hand_over, args.cancel) {
        (true, _) => DrainOrder::HandOver,
        (_, true) => DrainOrder::Cancel,
        _ => DrainOrder::UntilEmpty {
            within_ms: args
                .within
                .map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX)),
        },
    };
    let reply = match control::ask(&args.data, &Request::Drain { order }) {
        Ok(reply) => reply,
        Err(error) => return super::fail(error, super::NOT_RUNNING_HINT),
    };
    if args.json {
        super::print_json(&reply);
    }
    match reply {
        Reply::Draining { calls, lost } => {
            if !args.json {
                super::print(&told(order, calls, lost));
            }
            ExitCode::SUCCESS
        }
        Reply::Refused { why } => super::fail(why, "see `onrecord status`"),
        _ => super::fail("an answer to another question", "is it the same version?"),
    }
}

const NOT_KEPT: &str = "not answered yet, encrypted by us, or not kept by the dialog store";

fn told(order: DrainOrder, calls: u64, lost: u64) -> String {
    match order {
        DrainOrder::UntilEmpty { .. } => format!("no new calls; ends when the {calls} that run have ended\n"),
        DrainOrder::HandOver => {
            let kept = match calls.saturating_sub(lost) {
                1 => "1 call goes".to_owned(),
                kept => format!("{kept} calls go"),
            };
            let ended = match lost {
                0 => "\n".to_owned(),
                1 => format!("; 1 is ended: {NOT_KEPT}\n"),
                _ => format!("; {lost} are ended: {NOT_KEPT}\n"),
            };
            format!("ends now; {kept} on at the next start{ended}")
        }
        DrainOrder::Cancel => format!("takes calls again; {calls} run\n"),
    }
}
