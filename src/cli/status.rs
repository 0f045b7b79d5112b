//! `onrecord status`: what a running `serve` says of itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::engine::{RegistrationState, RegistrationView};
use crate::live::control::{self, Reply, Request};
use crate::live::status::{Status, TrunkStatus};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data directory of the running `serve`.
    #[arg(long, value_name = "DIR", default_value = super::DATA_DEFAULT)]
    data: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Exit code 1 when the recorder is down: a strict call would be refused now.
pub(crate) fn run(args: &Args) -> ExitCode {
    let status = match control::ask(&args.data, &Request::Status) {
        Ok(Reply::Status(status)) => status,
        Ok(Reply::Refused { why }) => return super::fail(why, "ask again in a moment"),
        Ok(_) => return super::fail("an answer to another question", "is it the same version?"),
        Err(error) => return super::fail(error, super::NOT_RUNNING_HINT),
    };
    if args.json {
        super::print_json(&status);
    } else {
        super::print(&table(&status));
    }
    if status.recorder.up {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(super::FINDINGS)
    }
}

fn table(status: &Status) -> String {
    let uptime = span(status.now.since(status.started));
    let calls = match status
        .calls
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect::<Vec<_>>()
    {
        none if none.is_empty() => "none".to_owned(),
        some => some.join(", "),
    };
    let recorder = &status.recorder;
    let since = span(status.now.since(recorder.since));
    let recorder = match (recorder.up, recorder.fault) {
        (true, _) => {
            format!(
                "up for {since}, {} ms behind ({} ms at worst)",
                recorder.lag_ms, recorder.lag_peak_ms
            )
        }
        (false, Some(fault)) => format!("DOWN for {since}: {fault}"),
        (false, None) => format!("not up yet, {since}"),
    };
    let policies = &status.policies;
    let hash = policies.hash.get(..12).unwrap_or(&policies.hash);
    let mut lines = vec![
        (
            "node",
            format!(
                "{}, version {}, pid {}, up {uptime}",
                status.node, status.version, status.pid
            ),
        ),
        ("listens", status.listeners.join(" ")),
        ("calls", format!("{calls} (room for {})", status.calls_max)),
        ("recorder", recorder),
        (
            "policies",
            format!(
                "generation {} (sha256 {hash}…), {} reloads",
                policies.generation, policies.reloads
            ),
        ),
        ("sip", sip_line(status)),
        ("media", media_line(status)),
    ];
    if !status.ailing.is_empty() {
        let ailing = status.ailing.iter();
        let ailing: Vec<String> = ailing.map(|(what, calls)| format!("{calls} {what}")).collect();
        lines.push(("ailing", ailing.join(", ")));
    }
    for view in &status.registrations {
        lines.push(("registers", registration_line(status, view)));
    }
    for trunk in &status.trunks {
        lines.push(("trunk", trunk_line(trunk)));
    }
    if !policies.refused.is_empty() {
        lines.push((
            "REFUSED",
            format!("the newest policy files: {}", policies.refused.join("; ")),
        ));
    }
    if status.draining {
        lines.push(("DRAINING", "no new calls".to_owned()));
    }
    lines
        .into_iter()
        .map(|(name, text)| format!("{name:<9} {}\n", super::logging::visible(&text)))
        .collect()
}

fn trunk_line(trunk: &TrunkStatus) -> String {
    let destinations = trunk.destinations.iter();
    let told: Vec<String> = destinations.map(|to| format!("{} {}", to.address, to.state)).collect();
    let told = if told.is_empty() {
        "no destination located".to_owned()
    } else {
        told.join(", ")
    };
    format!("{}, {} calls: {told}", trunk.name, trunk.calls)
}

fn sip_line(status: &Status) -> String {
    let sip = &status.sip;
    format!(
        "{} in, {} out, {} from strangers, {} shed, {} unsent, {} connections",
        sip.received, sip.sent, sip.strangers, sip.shed, sip.unsent, sip.connections
    )
}

fn registration_line(status: &Status, view: &RegistrationView) -> String {
    let stands = match (view.state, view.until) {
        (RegistrationState::Registered, Some(until)) => format!("for {}", span(until.since(status.now))),
        (RegistrationState::Registered, None) => "for now".to_owned(),
        (RegistrationState::Registering, _) => "no answer yet".to_owned(),
        (RegistrationState::Failed, _) => match view.status {
            Some(status) => format!("FAILED with {status}"),
            None => "FAILED: no answer".to_owned(),
        },
        (RegistrationState::Ended, _) => "taken back".to_owned(),
    };
    let next = view.next.filter(|_| view.state == RegistrationState::Failed);
    let next = next.map_or_else(String::new, |next| {
        format!(", again in {}", span(next.since(status.now)))
    });
    format!("{} at {}: {stands}{next}", view.aor, view.trunk)
}

fn media_line(status: &Status) -> String {
    let media = &status.media;
    format!(
        "{} sessions; {} packets forwarded, {} gated, {} foreign, {} refused, {} unsent",
        media.sessions, media.forwarded, media.gated, media.foreign, media.refused, media.unsent
    )
}

/// The two greatest units that are not zero, like `3 h 20 min`.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (61, "1 min 1 s"),
            (7_260, "2 h 1 min"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
