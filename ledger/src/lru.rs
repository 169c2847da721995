//! Bounded caches of what can be read again: footers, open files, decoded frames and blocks.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of an [`Owner`], and which of its things.
pub(crate) type Key = (u64, u64);

/// Keeps the values used last, as many as there is room for. Few and large ones: finding one looks at all keys.
pub(crate) struct Lru<V> {
    room: usize,
    held: Mutex<Held<V>>,
}

struct Held<V> {
    used: usize,
    /// Used longest ago first.
    items: VecDeque<(Key, usize, V)>,
}

impl<V: Clone> Lru<V> {
    pub(crate) fn new(room: usize) -> Self {
        Self { room, held: Mutex::new(Held { used: 0, items: VecDeque::new() }) }
    }

    pub(crate) fn get(&self, key: Key) -> Option<V> {
        let mut held = self.held.lock();
        let at = held.items.iter().rposition(|item| item.0 == key)?;
        let item = held.items.remove(at).expect("just found");
        let value = item.2.clone();
        held.items.push_back(item);
        Some(value)
    }

    /// Keeps a value that takes `weight` of the room; one that takes all of it is not kept.
    pub(crate) fn put(&self, key: Key, weight: usize, value: V) {
        self.remove(key);
        if weight > self.room {
            return;
        }
        let mut held = self.held.lock();
        held.used += weight;
        held.items.push_back((key, weight, value));
        while held.used > self.room {
            let (_, weight, _) = held.items.pop_front().expect("what is used is held");
            held.used -= weight;
        }
    }

    pub(crate) fn remove(&self, key: Key) {
        self.remove_if(|found| found == key);
    }

    pub(crate) fn remove_if(&self, gone: impl Fn(Key) -> bool) {
        let mut held = self.held.lock();
        held.items.retain(|item| !gone(item.0));
        held.used = held.items.iter().map(|item| item.1).sum();
    }
}

/// The caches of one open ledger, whatever the number of its logs and segments.
pub(crate) struct Caches {
    /// Footers and open files of sealed segments.
    pub(crate) sealed: Lru<Arc<crate::segment::Sealed>>,
    /// Frames and payload blocks that a reader left in the middle, weighed in bytes.
    pub(crate) frames: Lru<Arc<crate::reader::DecodedFrame>>,
    pub(crate) blocks: Lru<Arc<crate::segment::payloads::Block>>,
    /// Open files of the index.
    pub(crate) runs: Lru<Arc<dyn crate::storage::StoredFile>>,
    next_owner: AtomicU64,
}

/// Sealed segments held open: two files and some 20 KiB of footers each.
const SEALED_MAX: usize = 64;
const FRAME_BYTES_MAX: usize = 32 << 20;
const BLOCK_BYTES_MAX: usize = 32 << 20;
const RUN_FILES_MAX: usize = 64;

impl Default for Caches {
    fn default() -> Self {
        Self {
            sealed: Lru::new(SEALED_MAX),
            frames: Lru::new(FRAME_BYTES_MAX),
            blocks: Lru::new(BLOCK_BYTES_MAX),
            runs: Lru::new(RUN_FILES_MAX),
            next_owner: AtomicU64::new(0),
        }
    }
}

/// Whom cached things belong to. With it go they: nothing of a replaced or removed file stays in memory or open.
pub(crate) struct Owner {
    number: u64,
    pub(crate) caches: Arc<Caches>,
}

impl Owner {
    /// One that no other owner is or will be.
    pub(crate) fn new(caches: &Arc<Caches>) -> Self {
        Self { number: caches.next_owner.fetch_add(1, Ordering::Relaxed), caches: caches.clone() }
    }

    pub(crate) fn key(&self, of_thing: u64) -> Key {
        (self.number, of_thing)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let is_own = |key: Key| key.0 == self.number;
        self.caches.sealed.remove_if(is_own);
        self.caches.frames.remove_if(is_own);
        self.caches.blocks.remove_if(is_own);
        self.caches.runs.remove_if(is_own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let cache = Lru::new(10);
        (0..5).for_each(|n| cache.put((n, 0), 2, n));
        assert_eq!(cache.get((0, 0)), Some(0));
        cache.put((5, 0), 3, 5);
        let held = |n| cache.get((n, 0)).is_some();
        assert_eq!([0, 1, 2, 3, 4, 5].map(held), [true, false, false, true, true, true]);
        cache.put((6, 0), 11, 6);
        assert!(!held(6) && held(5), "what has no room pushes nothing out");
        cache.remove((5, 0));
        assert!(!held(5));
    }
}
