//! Tables that are looked into and never iterated.

use std::borrow::Borrow;
#[expect(
    clippy::disallowed_types,
    reason = "an index shows no order, so none can differ from run to run"
)]
use std::collections::HashMap;
use std::hash::Hash;

/// What a name stands for. Its hash is keyed by chance, so that no stranger can choose names that collide.
#[derive(Clone, Debug)]
#[expect(clippy::disallowed_types, reason = "see above")]
pub struct Index<K, V>(HashMap<K, V>);

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<K: Eq + Hash, V> Index<K, V> {
    pub fn get<Q: Eq + Hash + ?Sized>(&self, name: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(name)
    }

    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, name: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(name)
    }

    /// What it stood for before.
    pub fn insert(&mut self, name: K, value: V) -> Option<V> {
        self.0.insert(name, value)
    }

    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(name)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
