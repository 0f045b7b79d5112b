//! The sounds by which parties are told that they are recorded, as of one load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::set::{PolicySet, hexadecimal};
use crate::model::Clip;

/// Prompts that may be played: one of a package, and one of each of its languages.
pub const PROMPTS_MAX: usize = 32;

/// What can be played. Without any, whoever is to be told is not, and recordings say so.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Clips {
    pub tone: Option<Arc<Clip>>,
    /// By package, and by [`Clips::key`].
    pub prompts: BTreeMap<String, Arc<Clip>>,
}

impl Clips {
    /// The name of a prompt, as recordings tell it: of its package, and of its file's bytes for certain.
    pub fn name_of(package: &str, file: &[u8]) -> String {
        format!("{package} (sha256 {})", hexadecimal(&Sha256::digest(file)))
    }

    /// The prompt of a package in a language: its folder, too.
    pub fn key(package: &str, language: &str) -> String {
        format!("{package}/{language}")
    }

    /// None: there are no prompts.
    pub(super) fn hash(&self) -> Option<Vec<u8>> {
        let names = self.prompts.values().map(|clip| clip.name.as_str());
        let names: Vec<&str> = names.collect();
        (!names.is_empty()).then(|| Sha256::digest(names.join("\n")).to_vec())
    }
}

impl PolicySet {
    /// Prompts that are played, as [`Clips::prompts`] has them.
    pub fn prompt_keys(&self) -> BTreeSet<String> {
        let telling = self.policies().iter().filter(|policy| policy.notify.mode.has_prompt());
        let keys = telling.filter_map(|policy| {
            let package = policy.custom_prompts.as_deref()?;
            let languages = policy.prompt_languages.iter();
            let keys = languages.map(move |language| Clips::key(package, language));
            Some(keys.chain(std::iter::once(package.to_owned())))
        });
        keys.flatten().collect()
    }

    /// Whether any policy tells by a tone.
    pub fn has_tone(&self) -> bool {
        self.policies().iter().any(|policy| policy.notify.mode.has_tone())
    }
}
