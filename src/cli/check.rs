//! `onrecord check`: what is wrong with config and policies, all of it at once. Opens nothing for writing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{COULD_NOT, FINDINGS};
use crate::config::{self, Policies};
use crate::model::Generation;
use crate::policy::{Code, Finding, Format, Severity, render};

/// Checks a config with its policies, a folder of policies, or one policy file within its folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Config file or the folder that it is in, folder of policies, or a policy file [default: onrecord.toml, else policies]
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
        let configs = config::configs_in(path);
        if configs.is_empty() {
            return policies(path, None);
        }
        return configs.iter().flat_map(|path| check_config(path)).collect();
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
    check_config(path)
}

fn check_config(path: &Path) -> Vec<Finding> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder as `init` writes it, and what `check` exits with on a path in it.
    fn checked(path: &str, change: impl FnOnce(&Path)) -> (ExitCode, Vec<Finding>) {
        let folder = tempfile::tempdir().expect("a folder");
        let init = super::super::init::Args {
            pbx: None,
            dir: folder.path().to_owned(),
        };
        super::super::init::run(&init);
        change(folder.path());
        let path = folder.path().join(path);
        let args = Args {
            path: Some(path.clone()),
            output: Output::Concise,
            json: false,
        };
        (run(&args), check(&path))
    }

    fn append(path: &Path, text: &str) {
        let before = fs::read_to_string(path).expect("the file");
        fs::write(path, before + text).expect("written");
    }

    #[test]
    fn notes_do_not_count() {
        for path in ["", "onrecord.toml", "policies", "policies/grants.toml"] {
            let (code, findings) = checked(path, |_| ());
            assert_eq!(code, ExitCode::SUCCESS, "{findings:#?}");
        }
    }

    #[test]
    fn the_folder_of_a_config_is_checked_as_the_config_whatever_its_name() {
        for name in ["onrecord.toml", "node-a.toml"] {
            let (code, findings) = checked("", |folder| {
                fs::rename(folder.join("onrecord.toml"), folder.join(name)).expect("renamed");
                append(
                    &folder.join(name),
                    "[[trunk]]\nname = \"third\"\npeers = [\"192.0.2.9\"]\n",
                );
                append(&folder.join("policies/trading-desk.toml"), "colour = 1\n");
            });
            assert_eq!(code, ExitCode::from(FINDINGS));
            let errors = findings.iter().filter(|f| f.severity != Severity::Note);
            let codes: Vec<Code> = errors.map(|f| f.code).collect();
            assert_eq!(codes, [Code::NoRoute, Code::UnknownField], "{name}: {findings:#?}");
        }
    }

    #[test]
    fn a_config_is_checked_with_its_policies_and_their_trunks() {
        let grant = "[[grant]]\npolicy = \"trading-desk\"\nto = [\"trunk:pbxx\"]\n";
        let (code, findings) = checked("onrecord.toml", |folder| {
            append(&folder.join("policies/grants.toml"), grant)
        });
        assert_eq!(code, ExitCode::from(FINDINGS));
        assert!(findings.iter().any(|f| f.code == Code::UnknownTrunk), "{findings:#?}");
    }

    #[test]
    fn one_policy_file_is_checked_within_its_folder() {
        let (code, findings) = checked("policies/qa-sample.toml", |folder| {
            append(&folder.join("policies/trading-desk.toml"), "colour = 1\n");
        });
        assert_eq!(code, ExitCode::SUCCESS, "{findings:#?}");
        let (code, _) = checked("policies/qa-sample.toml", |folder| {
            append(&folder.join("policies/qa-sample.toml"), "colour = 1\n");
        });
        assert_eq!(code, ExitCode::from(FINDINGS));
    }

    #[test]
    fn what_is_not_there_could_not_be_checked() {
        let (code, _) = checked("none.toml", |_| ());
        assert_eq!(code, ExitCode::from(COULD_NOT));
        let (code, _) = checked("none", |_| ());
        assert_eq!(code, ExitCode::from(COULD_NOT));
    }
}
