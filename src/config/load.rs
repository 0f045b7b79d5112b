//! Reads config and policy files from the disk. Opens nothing for writing.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::{Config, read};
use crate::model::Generation;
use crate::policy::reader::{self, Reading};
use crate::policy::source::{Source, escaped};
use crate::policy::{Code, FILE_BYTES_MAX, FILES_MAX, Finding, Findings, PolicySet, SourceFile, TOTAL_BYTES_MAX};

/// The sample policies that are built in, as (file name, text).
const EMBEDDED: [(&str, &str); 4] = [
    (
        "record-everything.toml",
        include_str!("../../policies/record-everything.toml"),
    ),
    ("trading-desk.toml", include_str!("../../policies/trading-desk.toml")),
    ("qa-sample.toml", include_str!("../../policies/qa-sample.toml")),
    ("grants.toml", include_str!("../../policies/grants.toml")),
];

/// Reads a config file. All errors are told at once; warnings are left to `check`.
pub fn load(path: &Path) -> Result<Config, Vec<Finding>> {
    load_with_notes(path).map(|(config, _)| config)
}

/// Reads a config file; with what is worth knowing about it.
pub fn load_with_notes(path: &Path) -> Result<(Config, Vec<Finding>), Vec<Finding>> {
    let file = source_file(path).map_err(|finding| vec![*finding])?;
    let (mut config, findings) = compile(&file)?;
    config.resolve(path.parent().unwrap_or(Path::new("")));
    super::credentials::read_passwords(&mut config)?;
    Ok((config, findings))
}

/// The pure part: text in, config or findings out.
pub fn compile(file: &SourceFile) -> Result<(Config, Vec<Finding>), Vec<Finding>> {
    let findings = RefCell::new(Findings::default());
    let source = Source::new(file);
    let config = reader::parse(&source, &findings).map(|document| {
        let reading = Reading {
            source: &source,
            findings: &findings,
        };
        read::config(&reading.root(&document))
    });
    let findings = findings.into_inner();
    match config {
        Some(config) if !findings.has_errors() => Ok((config, findings.into_sorted())),
        _ => Err(findings.into_sorted()),
    }
}

/// Whether a file is one of a policy folder rather than a config: by the tables that it has.
#[cfg(feature = "shell")]
pub(crate) fn is_policy_file(path: &Path) -> bool {
    has_any(path, &["policy", "grant", "group", "dial_plan"])
}

/// The configs of a folder: `onrecord.toml` alone, or else every file with a table that only configs have.
#[cfg(feature = "shell")]
pub(crate) fn configs_in(folder: &Path) -> Vec<PathBuf> {
    let usual = folder.join("onrecord.toml");
    if usual.exists() {
        return vec![usual];
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| is_config(path))
        .collect();
    found.sort();
    found
}

#[cfg(feature = "shell")]
fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
        && has_any(path, &["listen", "trunk", "route", "recorder"])
        && !is_policy_file(path)
}

#[cfg(feature = "shell")]
fn has_any(path: &Path, tables: &[&str]) -> bool {
    let Ok(file) = source_file(path) else { return false };
    let (document, _) = toml::de::DeTable::parse_recoverable(&file.text);
    tables.iter().any(|table| document.get_ref().contains_key(*table))
}

/// Reads and compiles every `*.toml` of a folder; not of its folders, so not its `tests/`. With the prompts that they name.
pub fn load_policies(dir: &Path, generation: Generation) -> Result<PolicySet, Vec<Finding>> {
    let files = policy_files(dir)?;
    let set = PolicySet::compile(&files, generation)?;
    let clips = super::prompts::read(dir, &set)?;
    Ok(set.with_clips(clips))
}

/// The policies that are built in: everything is recorded, strictly.
pub fn embedded_policies(generation: Generation) -> PolicySet {
    let file = |(name, text): (&str, &str)| SourceFile {
        path: format!("policies/{name}"),
        text: text.to_owned(),
    };
    let files: Vec<SourceFile> = EMBEDDED.into_iter().map(file).collect();
    PolicySet::compile(&files, generation).expect("invariant: a test compiles the embedded policies")
}

/// The built-in samples, for `init` to write.
#[cfg(feature = "shell")]
pub(crate) const fn samples() -> &'static [(&'static str, &'static str)] {
    &EMBEDDED
}

fn policy_files(dir: &Path) -> Result<Vec<SourceFile>, Vec<Finding>> {
    let unreadable = |error: std::io::Error| vec![unreadable(dir, &error)];
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || path.extension().is_none_or(|extension| extension != "toml") || path.is_dir() {
            continue;
        }
        if paths.len() == FILES_MAX {
            let message = format!("more than {FILES_MAX} policy files");
            return Err(vec![Finding::whole(Code::TooLarge, &dir.to_string_lossy(), message)]);
        }
        paths.push(path);
    }
    paths.sort();
    let (mut files, mut findings, mut total) = (Vec::new(), Vec::new(), 0);
    for path in paths {
        match source_file(&path) {
            Ok(file) => {
                total += file.text.len();
                files.push(file);
            }
            Err(finding) => findings.push(*finding),
        }
        if total > TOTAL_BYTES_MAX {
            let message = format!("more than {TOTAL_BYTES_MAX} bytes of policy files");
            findings.push(Finding::whole(Code::TooLarge, &dir.to_string_lossy(), message));
            break;
        }
    }
    if files.is_empty() && findings.is_empty() {
        let message = "no policy file here".to_owned();
        let finding = Finding::whole(Code::Unreadable, &dir.to_string_lossy(), message);
        findings.push(
            finding
                .effect("nothing would be recorded")
                .hint("run `onrecord init` for samples to start from"),
        );
    }
    if findings.is_empty() { Ok(files) } else { Err(findings) }
}

pub(super) fn source_file(path: &Path) -> Result<SourceFile, Box<Finding>> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    // Only plain files: a FIFO or a device would block or never end.
    let is_file = fs::metadata(path)
        .map_err(|error| Box::new(unreadable(path, &error)))?
        .is_file();
    if !is_file {
        let message = "this is not a plain file".to_owned();
        return Err(Box::new(Finding::whole(
            Code::Unreadable,
            &path.to_string_lossy(),
            message,
        )));
    }
    let file = File::open(path).map_err(|error| Box::new(unreadable(path, &error)))?;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| Box::new(unreadable(path, &error)))?;
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("more than {FILE_BYTES_MAX} bytes");
        let finding = Finding::whole(Code::TooLarge, &path.to_string_lossy(), message);
        return Err(Box::new(finding.hint("grants may be spread over several files")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let message = format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to());
        Box::new(Finding::whole(Code::Unreadable, &path.to_string_lossy(), message))
    })?;
    Ok(SourceFile {
        path: path.to_string_lossy().into_owned(),
        text,
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Finding {
    let message = match error.kind() {
        ErrorKind::NotFound => "cannot be read: No such file or directory".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let finding = Finding::whole(Code::Unreadable, &path.to_string_lossy(), message);
    // Where the program was started decides what a relative path means.
    let tried = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let finding = finding.label(format!("tried {}", escaped(&tried.to_string_lossy())));
    match error.kind() {
        ErrorKind::NotFound => finding.hint("name another path, or run `onrecord init` for files to start from"),
        _ => finding,
    }
}
