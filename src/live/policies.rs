//! The policies in force, and how they are replaced: all of them or none.

use std::path::Path;
use std::sync::Arc;

use super::clock::Clock;
use super::status::PoliciesStatus;
use crate::config::{self, embedded_policies, load_policies};
use crate::model::Generation;
use crate::policy::{Finding, Format, PolicySet, render};

/// Findings that `status` tells; the log has them all.
const FINDINGS_TOLD_MAX: usize = 20;

#[derive(Debug)]
pub(super) struct Policies {
    clock: Clock,
    place: config::Policies,
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
    pub(super) fn load(clock: Clock, place: &config::Policies) -> Result<Self, Vec<Finding>> {
        let generation = Generation(1);
        let set = Arc::new(read(place, generation)?);
        let status = PoliciesStatus {
            generation,
            hash: set.hash().to_owned(),
            loaded: clock.now(),
            ..PoliciesStatus::default()
        };
        Ok(Self {
            clock,
            place: place.clone(),
            set,
            status,
        })
    }

    /// Loads the files again, by the same function as `check` does.
    pub(super) fn reload(&mut self) -> Reload {
        let generation = Generation(self.status.generation.0 + 1);
        match read(&self.place, generation) {
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
                Reload::New(Arc::clone(&self.set))
            }
        }
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

fn concise(finding: &Finding) -> String {
    render(std::slice::from_ref(finding), Format::Concise)
        .trim_end()
        .to_owned()
}
