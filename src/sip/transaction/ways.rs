//! Which transactions go by which flow.

use std::collections::{BTreeMap, BTreeSet};

use crate::sip::flow::Flow;

/// Flows are few where they are not connections, and their transactions many.
#[derive(Debug)]
pub(super) struct Ways<T>(BTreeMap<Flow, BTreeSet<T>>);

impl<T: Copy + Ord> Ways<T> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn insert(&mut self, flow: Flow, id: T) {
        self.0.entry(flow).or_default().insert(id);
    }

    pub(super) fn remove(&mut self, flow: Flow, id: T) {
        if let Some(ids) = self.0.get_mut(&flow) {
            ids.remove(&id);
            if ids.is_empty() {
                self.0.remove(&flow);
            }
        }
    }

    pub(super) fn contains(&self, flow: Flow, id: T) -> bool {
        self.0.get(&flow).is_some_and(|ids| ids.contains(&id))
    }

    /// In the order in which they began.
    pub(super) fn of(&self, flow: Flow) -> Vec<T> {
        self.0.get(&flow).into_iter().flatten().copied().collect()
    }
}
