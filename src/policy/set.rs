//! All policy files of one load, compiled for deciding.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::clips::Clips;
use super::dial_plan::DialPlan;
use super::document::Policy;
use super::finding::{Code, Finding, Findings};
use super::grants::{Grant, Grants, Origin};
use super::identity::Identity;
use super::link;
use super::reader::{self, Reading, Table, shown};
use super::roster::Roster;
use super::source::{Source, SourceFile};
use crate::model::{Generation, TrunkName};

/// Larger files are refused.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// More files are refused.
pub const FILES_MAX: usize = 1_000;
/// More text in all is refused.
pub const TOTAL_BYTES_MAX: usize = 64 << 20;
/// More targets of grants, and more members of groups, are refused.
pub const GRANTS_MAX: usize = 100_000;

/// The policies, grants and dial plans of one folder, as of one load. Immutable; a reload makes a new one.
#[derive(Debug)]
pub struct PolicySet {
    pub(crate) policies: Vec<Policy>,
    pub(crate) grants: Grants,
    /// Without a trunk: for all the others.
    pub(crate) dial_plans: BTreeMap<Option<TrunkName>, DialPlan>,
    pub(crate) fallback_plan: DialPlan,
    /// File names, for the trail.
    pub(crate) files: Vec<String>,
    pub(crate) generation: Generation,
    pub(crate) hash: Arc<str>,
    findings: Vec<Finding>,
    /// Trunks that grants and dial plans name, with the finding to show if the config has no such trunk.
    trunks: BTreeMap<TrunkName, Finding>,
    clips: Clips,
}

impl PolicySet {
    /// Compiles the text of policy files. Errors: all of them are told at once, and nothing is compiled. Warnings and
    /// notes are kept in the set.
    pub fn compile(files: &[SourceFile], generation: Generation) -> Result<Self, Vec<Finding>> {
        let findings = RefCell::new(Findings::default());
        check_sizes(files, &findings);
        if findings.borrow().has_errors() {
            return Err(findings.into_inner().into_sorted());
        }
        let sources: Vec<Source<'_>> = files.iter().map(Source::new).collect();
        let mut draft = Draft::default();
        for (index, source) in sources.iter().enumerate() {
            if let Some(document) = reader::parse(source, &findings) {
                let reading = Reading {
                    source,
                    findings: &findings,
                };
                draft.read(&reading.root(&document), index);
            } else {
                draft.is_partial = true;
            }
        }
        let (grants, dial_plans, trunks) = link::link(
            draft.roster,
            link::Texts {
                policies: &draft.policies,
                sources: &sources,
                is_partial: draft.is_partial,
            },
            &findings,
        );
        let findings = findings.into_inner();
        if findings.has_errors() {
            return Err(findings.into_sorted());
        }
        Ok(Self {
            policies: draft.policies,
            grants,
            dial_plans,
            fallback_plan: DialPlan::default(),
            files: files.iter().map(|file| file.name().to_owned()).collect(),
            generation,
            hash: hash(files),
            findings: findings.into_sorted(),
            trunks,
            clips: Clips::default(),
        })
    }

    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// SHA-256 over the sorted file names and texts, and of the prompts if there are any, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The same policies, with the sounds that they tell people by. The prompts are part of the hash.
    #[must_use]
    pub fn with_clips(mut self, clips: Clips) -> Self {
        if let Some(more) = clips.hash() {
            let mut sha = Sha256::new();
            sha.update(self.hash.as_bytes());
            sha.update(more);
            self.hash = hexadecimal(&sha.finalize());
        }
        self.clips = clips;
        self
    }

    pub const fn clips(&self) -> &Clips {
        &self.clips
    }

    /// Warnings and notes, by file and line.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Findings about grants and dial plans that name a trunk which the config does not have.
    pub fn unknown_trunks(&self, known: &[TrunkName]) -> Vec<Finding> {
        let unknown = self.trunks.iter().filter(|(name, _)| !known.contains(*name));
        unknown
            .map(|(name, finding)| {
                let meant = super::suggest::nearest(name.as_str(), known.iter().map(TrunkName::as_str));
                finding
                    .clone()
                    .maybe_hint(meant.map(|meant| format!("did you mean `{meant}`?")))
            })
            .collect()
    }

    /// The number in E.164, with its `+`, that a user part or a `tel:` number is on a trunk; none for what is no number
    /// there: extensions, service codes, emergency numbers.
    pub fn e164(&self, trunk: &TrunkName, user: &str) -> Option<String> {
        if user.contains([';', '?', ':']) {
            return None;
        }
        let identity = self.identify(trunk, &format!("tel:{user}"));
        identity.number.map(|number| format!("+{}", number.as_str()))
    }

    /// Whom a URI names on a trunk.
    pub fn identify(&self, trunk: &TrunkName, uri: &str) -> Identity {
        Identity::parse(uri, self.dial_plan(Some(trunk)))
    }

    pub(crate) fn dial_plan(&self, trunk: Option<&TrunkName>) -> &DialPlan {
        let own = trunk.and_then(|trunk| self.dial_plans.get(&Some(trunk.clone())));
        own.or_else(|| self.dial_plans.get(&None))
            .unwrap_or(&self.fallback_plan)
    }

    pub(crate) fn policy(&self, grant: &Grant) -> Option<&Policy> {
        grant.policy.and_then(|index| self.policies.get(index))
    }

    /// `grants.toml:2`
    pub(crate) fn place(&self, origin: Origin) -> String {
        let file = self.files.get(origin.file).map_or("", String::as_str);
        format!("{}:{}", shown(file), origin.line)
    }
}

/// What the files say, before it is linked.
#[derive(Default)]
struct Draft {
    policies: Vec<Policy>,
    /// Some policy could not be read: a grant that names it is not at fault.
    is_partial: bool,
    roster: Roster,
}

impl Draft {
    fn read(&mut self, root: &Table<'_>, file: usize) {
        if let Some(table) = root.table("policy", "a policy field") {
            match Policy::read(&table, file) {
                Some(policy) => self.keep(policy, &table),
                None => self.is_partial = true,
            }
        }
        self.roster.read(root, file);
        root.finish();
    }
}

impl Draft {
    fn keep(&mut self, policy: Policy, table: &Table<'_>) {
        if self.policies.iter().any(|other| other.id == policy.id) {
            let message = format!("policy `{}` is defined twice", policy.id);
            let finding = table.at(Code::DuplicatePolicy, table.span(), message);
            table.note(finding.hint("ids are unique over all files of the folder"));
        }
        self.policies.push(policy);
    }
}

fn check_sizes(files: &[SourceFile], findings: &RefCell<Findings>) {
    let mut findings = findings.borrow_mut();
    if files.len() > FILES_MAX {
        let message = format!("{} policy files; at most {FILES_MAX} are read", files.len());
        findings.push(Finding::whole(Code::TooLarge, "", message));
    }
    let total: usize = files.iter().map(|file| file.text.len()).sum();
    if total > TOTAL_BYTES_MAX {
        let message = format!("{total} bytes of policy files; at most {TOTAL_BYTES_MAX} are read");
        findings.push(Finding::whole(Code::TooLarge, "", message));
    }
    for file in files.iter().filter(|file| file.text.len() > FILE_BYTES_MAX) {
        let message = format!("{} bytes; at most {FILE_BYTES_MAX} are read of a file", file.text.len());
        let finding = Finding::whole(Code::TooLarge, &file.path, message);
        findings.push(finding.hint("grants may be spread over several files"));
    }
}

/// Names and texts, each with its length, so that no two folders look alike.
fn hash(files: &[SourceFile]) -> Arc<str> {
    let mut sorted: Vec<(&str, &str)> = files.iter().map(|file| (file.name(), file.text.as_str())).collect();
    sorted.sort_unstable();
    let mut sha = Sha256::new();
    for part in sorted.iter().flat_map(|(name, text)| [name, text]) {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    hexadecimal(&sha.finalize())
}

pub(super) fn hexadecimal(digest: &[u8]) -> Arc<str> {
    digest
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}
