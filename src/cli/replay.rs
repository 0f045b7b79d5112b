//! `onrecord replay`: a capture through the same engine as live calls, in virtual time.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{COULD_NOT, FINDINGS, fail, print_json};
use crate::config::{self, Policies, embedded_policies, load_policies};
use crate::disk::{Disk, Layout};
use crate::model::{Generation, TrunkName};
use crate::policy::{Finding, Format, PolicySet, render};
use crate::replay::{self, FaultSpec, NotACapture, ReplayOptions, Report, Shown};
use crate::sip::Method;

const UNREADABLE_HINT: &str = "pcap and pcapng are read; `editcap -F pcapng IN OUT` converts others, `gunzip -c FILE | onrecord replay -` unpacks";

/// Plays a capture through the proxy and shows what it would have done.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Capture to play: pcap or pcapng; `-` for stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Folder of policies [default: that of --config, else what is built in]
    #[arg(long, value_name = "DIR")]
    pub policies: Option<PathBuf>,
    /// New folder for the recordings, as `calls`, `export` and `verify` read it [default: none are kept]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Break the recorder at a time of the capture, like recorder:eio@12.5s or @12.5s..14s; also enospc, edquot, erofs, short, stall
    #[arg(long, value_name = "SPEC@TIME")]
    pub fault: Vec<FaultSpec>,
    /// Config whose trunks the two sides are: their conduct, trust and rules count, their addresses do not
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show messages of a method and their answers whole, as they came and as the proxy sent them
    #[arg(long, value_name = "METHOD", value_parser = method)]
    pub sip: Vec<Method>,
    /// Show these header lines of every message that has them
    #[arg(long, value_name = "NAME")]
    pub header: Vec<String>,
    /// Name of the trunk that the callers are on
    #[arg(long, value_name = "NAME", default_value = "caller")]
    pub trunk: String,
    /// Name of the trunk that the called are on
    #[arg(long, value_name = "NAME", default_value = "callee")]
    pub to_trunk: String,
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let options = match options(args) {
        Ok(options) => options,
        Err(findings) => {
            eprint!("{}", render(&findings, Format::Full));
            eprintln!("\nhint: run `onrecord check` for all findings");
            return ExitCode::from(COULD_NOT);
        }
    };
    if let Some(missing) = missing(&options) {
        return fail(
            format!("the config has no trunk `{missing}`"),
            "name two of its trunks with --trunk and --to-trunk",
        );
    }
    let file: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        match File::open(&args.file) {
            Ok(file) => Box::new(file),
            Err(error) => {
                return fail(
                    format!("{}: {error}", args.file.display()),
                    "name a capture that can be read",
                );
            }
        }
    };
    match replay(file, &options, args.out.as_deref()) {
        Ok(report) => print(&report, args.json),
        Err(Failure::Capture(why)) => fail(format!("{}: {why}", args.file.display()), UNREADABLE_HINT),
        Err(Failure::Out(why)) => fail(why, "name a folder that does not exist yet with --out"),
    }
}

fn options(args: &Args) -> Result<ReplayOptions, Vec<Finding>> {
    let config = args.config.as_deref().map(config::load).transpose()?;
    let of_config = config.as_ref().and_then(|config| match &config.policies {
        Policies::Folder(folder) => Some(folder.as_path()),
        Policies::Embedded => None,
    });
    Ok(ReplayOptions {
        policies: Arc::new(policies(args.policies.as_deref().or(of_config))?),
        faults: args.fault.clone(),
        trunks: [&args.trunk, &args.to_trunk].map(|name| TrunkName::from(name.as_str())),
        config: config.map(Arc::new),
        shown: Shown {
            whole: args.sip.clone(),
            headers: args.header.clone(),
        },
    })
}

fn missing(options: &ReplayOptions) -> Option<&TrunkName> {
    let names = options.config.as_deref()?.trunk_names();
    options.trunks.iter().find(|trunk| !names.contains(trunk))
}

fn method(text: &str) -> Result<Method, String> {
    Method::parse(&text.to_ascii_uppercase()).ok_or_else(|| "no method of SIP".to_owned())
}

enum Failure {
    Capture(NotACapture),
    Out(String),
}

fn policies(dir: Option<&Path>) -> Result<PolicySet, Vec<Finding>> {
    dir.map_or_else(
        || Ok(embedded_policies(Generation(1))),
        |dir| load_policies(dir, Generation(1)),
    )
}

fn replay(file: impl Read, options: &ReplayOptions, out: Option<&Path>) -> Result<Report, Failure> {
    let Some(out) = out else {
        return replay::replay(file, options).map_err(Failure::Capture);
    };
    let spool = out.join("spool");
    let is_used = std::fs::read_dir(&spool).is_ok_and(|mut entries| entries.next().is_some());
    if is_used {
        return Err(Failure::Out(format!(
            "{} holds recordings in the making",
            spool.display()
        )));
    }
    let layout = Layout {
        data: out.to_owned(),
        volumes: vec![spool],
    };
    let disk = Disk::open(layout).map_err(|error| Failure::Out(format!("{}: {error}", out.display())))?;
    replay::replay_to(file, options, disk).map_err(Failure::Capture)
}

fn print(report: &Report, json: bool) -> ExitCode {
    if json {
        print_json(report);
    } else if let Err(error) = std::io::stdout().write_all(report.to_text().as_bytes()) {
        // A reader that has seen enough, like `head`, is no failure.
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            return fail(format!("stdout: {error}"), "redirect to a file that can be written");
        }
    }
    if report.is_fine() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FINDINGS)
    }
}
