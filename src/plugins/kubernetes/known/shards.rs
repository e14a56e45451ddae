//! A hash table that one thread writes and any number read without a lock.
//!
//! The table is cut into shards. A change copies the shards that it touches, and only when it is
//! published; readers see each shard as it was before or after, never in between.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// An entry that knows its key.
pub trait Keyed: Clone {
    /// Shards of a table of these: a change copies one of them, and each takes a word also while it
    /// is empty.
    const SHARDS: usize;

    /// What it is found by.
    type Key: std::hash::Hash + Eq + ?Sized;

    /// Its key.
    fn key(&self) -> &Self::Key;
}

//----------- Shards ---------------------------------------------------------

/// The table as readers see it.
pub struct Shards<T> {
    // Seeded at random: names come from outside, and must not be made to collide.
    hasher: RandomState,
    shards: Box<[ArcSwap<HashTable<T>>]>,
}

impl<T: Keyed> Default for Shards<T> {
    fn default() -> Self {
        // Those that are empty are one and the same.
        let empty = Arc::default();
        let shards = (0..T::SHARDS).map(|_| ArcSwap::new(Arc::clone(&empty))).collect();
        Self { hasher: RandomState::default(), shards }
    }
}

impl<T: Keyed> Shards<T> {
    /// Looks at the entry of `key`.
    pub fn with<R>(&self, key: &T::Key, look: impl FnOnce(&T) -> R) -> Option<R> {
        let hash = self.hasher.hash_one(key);
        let shard = self.shards[shard_of::<T>(hash)].load();
        shard.find(hash, |entry| entry.key() == key).map(look)
    }

    /// Every entry, in no order. Each shard is as it was when the iterator came to it.
    pub fn all(&self) -> impl Iterator<Item = T> {
        self.shards.iter().flat_map(|shard| shard.load().iter().cloned().collect::<Vec<_>>())
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    /// Whether the table has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn shard_of<T: Keyed>(hash: u64) -> usize {
    // The table inside uses the low and the topmost bits.
    (hash >> 40) as usize % T::SHARDS
}

//----------- Draft ----------------------------------------------------------

/// Changes that are not published yet.
pub(super) struct Draft<T> {
    changed: HashMap<usize, HashTable<T>, RandomState>,
}

impl<T> Default for Draft<T> {
    fn default() -> Self {
        Self { changed: HashMap::default() }
    }
}

impl<T: Keyed> Draft<T> {
    /// The entry of `key`, changes included.
    pub(super) fn get(&self, table: &Shards<T>, key: &T::Key) -> Option<T> {
        let hash = table.hasher.hash_one(key);
        match self.changed.get(&shard_of::<T>(hash)) {
            Some(shard) => shard.find(hash, |entry| entry.key() == key).cloned(),
            None => table.with(key, T::clone),
        }
    }

    /// Puts an entry in, in place of the one with the same key.
    pub(super) fn put(&mut self, table: &Shards<T>, entry: T) {
        let hash = table.hasher.hash_one(entry.key());
        let shard = self.shard(table, hash);
        match shard.find_mut(hash, |known| known.key() == entry.key()) {
            Some(known) => *known = entry,
            None => {
                shard.insert_unique(hash, entry, |entry| table.hasher.hash_one(entry.key()));
            }
        }
    }

    /// Takes the entry of `key` out.
    pub(super) fn remove(&mut self, table: &Shards<T>, key: &T::Key) {
        let hash = table.hasher.hash_one(key);
        if let Ok(entry) = self.shard(table, hash).find_entry(hash, |known| known.key() == key) {
            entry.remove();
        }
    }

    /// Shows all changes to the readers.
    pub(super) fn publish(&mut self, table: &Shards<T>) {
        for (at, mut shard) in self.changed.drain() {
            shard.shrink_to_fit(|entry| table.hasher.hash_one(entry.key()));
            table.shards[at].store(Arc::new(shard));
        }
    }

    fn shard(&mut self, table: &Shards<T>, hash: u64) -> &mut HashTable<T> {
        let at = shard_of::<T>(hash);
        self.changed.entry(at).or_insert_with(|| HashTable::clone(&table.shards[at].load()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Entry(u32, &'static str);

    impl Keyed for Entry {
        const SHARDS: usize = 256;

        type Key = u32;

        fn key(&self) -> &u32 {
            &self.0
        }
    }

    #[test]
    fn changes_show_when_they_are_published() {
        let (table, mut draft) = (Shards::default(), Draft::default());
        (0..10_000).for_each(|n| draft.put(&table, Entry(n, "first")));
        assert!(table.is_empty());
        assert_eq!(draft.get(&table, &7), Some(Entry(7, "first")));
        draft.publish(&table);
        assert_eq!((table.len(), table.with(&9_999, |e| e.1)), (10_000, Some("first")));
        draft.put(&table, Entry(7, "second"));
        draft.remove(&table, &8);
        assert_eq!((table.with(&7, |e| e.1), table.with(&8, |e| e.1)), (Some("first"), Some("first")));
        draft.publish(&table);
        assert_eq!((table.with(&7, |e| e.1), table.with(&8, |e| e.1), table.len()), (Some("second"), None, 9_999));
    }
}
