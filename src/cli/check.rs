//! `onrecord check`: what is wrong with config and policies, all of it at once. Opens nothing for writing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{COULD_NOT, FINDINGS};
use crate::config::{self, Policies};
use crate::model::Generation;
use crate::policy::{Code, Finding, Format, Severity, render};

/// Checks a config file with its policies, a folder of policies, or one policy file within its folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Config file, folder of policies, or a policy file [default: onrecord.toml, else policies]
    pub path: Option<PathBuf>,
    /// How findings are shown
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Output::Full)]
    pub output: Output,
    /// The same as `-o json`
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Output {
    Full,
    Concise,
    Json,
    Github,
    Sarif,
}

impl From<Output> for Format {
    fn from(output: Output) -> Self {
        match output {
            Output::Full => Self::Full,
            Output::Concise => Self::Concise,
            Output::Json => Self::Json,
            Output::Github => Self::Github,
            Output::Sarif => Self::Sarif,
        }
    }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let path = args.path.clone().unwrap_or_else(default_path);
    let findings = check(&path);
    let format = if args.json { Format::Json } else { args.output.into() };
    let mut stdout = std::io::stdout().lock();
    // A reader that has gone away does not change what was found.
    let _ = stdout.write_all(render(&findings, format).as_bytes());
    let _ = stdout.flush();
    let shown = path.display().to_string();
    let is_unreadable = |f: &Finding| f.code == Code::Unreadable && f.place.file == shown;
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    if errors + warnings + notes == 0 {
        eprintln!("{}: fine", crate::policy::escaped(&shown));
    } else {
        eprintln!(
            "{}: {errors} errors, {warnings} warnings, {notes} notes",
            crate::policy::escaped(&shown)
        );
    }
    match errors + warnings {
        _ if findings.iter().any(is_unreadable) => ExitCode::from(COULD_NOT),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(FINDINGS),
    }
}

fn default_path() -> PathBuf {
    let config = PathBuf::from("onrecord.toml");
    if config.exists() {
        config
    } else {
        PathBuf::from("policies")
    }
}

/// Everything there is to say about a config file with its policies, a policy folder, or one policy file.
fn check(path: &Path) -> Vec<Finding> {
    if path.is_dir() {
        return policies(path, None);
    }
    if config::is_policy_file(path) {
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut findings = policies(folder, None);
        findings.retain(|f| f.place.file.rsplit('/').next() == Some(&name));
        return findings;
    }
    match config::load_with_notes(path) {
        Err(findings) => findings,
        Ok((config, mut findings)) => {
            if let Policies::Folder(folder) = &config.policies {
                findings.extend(policies(folder, Some(&config)));
            }
            findings
        }
    }
}

fn policies(folder: &Path, config: Option<&config::Config>) -> Vec<Finding> {
    match config::load_policies(folder, Generation(1)) {
        Err(findings) => findings,
        Ok(set) => {
            let mut findings = set.findings().to_vec();
            if let Some(config) = config {
                findings.extend(set.unknown_trunks(&config.trunk_names()));
            }
            findings
        }
    }
}
