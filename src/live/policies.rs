//! The policies in force, and how they are replaced: all of them or none.

use std::path::Path;
use std::sync::Arc;

use super::clock::Clock;
use super::status::PoliciesStatus;
use crate::config::{self, Config, embedded_policies, load_policies};
use crate::model::{Generation, TrunkName};
use crate::policy::{Finding, Format, PolicySet, Severity, render};

/// Findings that `status` tells; the log has them all.
const FINDINGS_TOLD_MAX: usize = 20;

#[derive(Debug)]
pub(super) struct Policies {
    clock: Clock,
    place: config::Policies,
    /// Those of the config: a grant may name others.
    trunks: Vec<TrunkName>,
    set: Arc<PolicySet>,
    status: PoliciesStatus,
}

/// What a reload came to.
#[derive(Debug)]
pub(super) enum Reload {
    /// A new generation, for signalling.
    New(Arc<PolicySet>),
    /// The files are as they were.
    Same,
    /// They have findings: the generation before stays in force.
    Refused(Vec<Finding>),
}

impl Policies {
    /// The first generation. With findings there is none: `serve` does not start.
    pub(super) fn load(clock: Clock, config: &Config) -> Result<Self, Vec<Finding>> {
        let generation = Generation(1);
        let set = Arc::new(read(&config.policies, generation)?);
        let status = PoliciesStatus {
            generation,
            hash: set.hash().to_owned(),
            loaded: clock.now(),
            ..PoliciesStatus::default()
        };
        let policies = Self {
            clock,
            place: config.policies.clone(),
            trunks: config.trunk_names(),
            set,
            status,
        };
        policies.log_doubts();
        Ok(policies)
    }

    /// These trunks are configured now; grants may name them.
    pub(super) fn follow(&mut self, config: &Config) {
        self.trunks = config.trunk_names();
    }

    /// What reads the files again, by the same function as `check` does, for [`Self::adopt`].
    pub(super) fn look(&self) -> impl FnOnce() -> Result<PolicySet, Vec<Finding>> + Send + 'static {
        let (place, generation) = (self.place.clone(), self.next_generation());
        move || read(&place, generation)
    }

    const fn next_generation(&self) -> Generation {
        Generation(self.status.generation.0 + 1)
    }

    /// The files were read.
    pub(super) fn adopt(&mut self, read: Result<PolicySet, Vec<Finding>>) -> Reload {
        let generation = self.next_generation();
        match read {
            Err(findings) => {
                for finding in &findings {
                    tracing::error!("policy files refused: {}", concise(finding));
                }
                let generation = self.status.generation;
                tracing::error!(%generation, findings = findings.len(), "the policies in force stay");
                self.status.reloads_refused += 1;
                self.status.refused = findings.iter().take(FINDINGS_TOLD_MAX).map(concise).collect();
                Reload::Refused(findings)
            }
            Ok(set) => {
                self.status.refused.clear();
                if set.hash() == self.status.hash {
                    tracing::info!(generation = %self.status.generation, "policy files are as they were");
                    return Reload::Same;
                }
                self.set = Arc::new(set);
                self.status.generation = generation;
                self.status.hash = self.set.hash().to_owned();
                self.status.loaded = self.clock.now();
                self.status.reloads += 1;
                tracing::info!(%generation, hash = self.set.hash(), "policies loaded");
                self.log_doubts();
                Reload::New(Arc::clone(&self.set))
            }
        }
    }

    /// What `check` would say of the files that are in force.
    fn log_doubts(&self) {
        log_findings(self.set.findings());
        log_findings(&self.set.unknown_trunks(&self.trunks));
    }

    pub(super) fn set(&self) -> Arc<PolicySet> {
        Arc::clone(&self.set)
    }

    /// The folder to watch; the embedded policies have none.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &self.place {
            config::Policies::Folder(folder) => Some(folder),
            config::Policies::Embedded => None,
        }
    }

    pub(super) const fn status(&self) -> &PoliciesStatus {
        &self.status
    }
}

fn read(place: &config::Policies, generation: Generation) -> Result<PolicySet, Vec<Finding>> {
    match place {
        config::Policies::Folder(folder) => load_policies(folder, generation),
        config::Policies::Embedded => Ok(embedded_policies(generation)),
    }
}

/// Logs what was found in files that are in force all the same: a warning is one here too, a note is for who asks.
pub(crate) fn log_findings(findings: &[Finding]) {
    for finding in findings {
        let effect = finding.effect.as_deref().unwrap_or_default();
        match finding.severity {
            Severity::Error | Severity::Warning => tracing::warn!(effect, "{}", concise(finding)),
            Severity::Note => tracing::debug!("{}", concise(finding)),
        }
    }
}

pub(super) fn concise(finding: &Finding) -> String {
    render(std::slice::from_ref(finding), Format::Concise)
        .trim_end()
        .to_owned()
}
