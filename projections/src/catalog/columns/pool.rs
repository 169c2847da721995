//! Things that many rows share, each kept once under a number, as long as a row has it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

#[derive(Debug)]
pub(super) struct Pool<K> {
    numbers: BTreeMap<K, u32>,
    keys: Vec<Option<K>>,
    /// How many rows have each.
    counts: Vec<u32>,
    free: Vec<u32>,
}

impl<K: Ord + Clone> Pool<K> {
    pub(super) fn new() -> Self {
        Self { numbers: BTreeMap::new(), keys: Vec::new(), counts: Vec::new(), free: Vec::new() }
    }

    /// Numbers are below this.
    pub(super) fn end(&self) -> usize {
        self.keys.len()
    }
    pub(super) fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.numbers.get(key).copied()
    }
    pub(super) fn key(&self, number: u32) -> Option<&K> {
        self.keys.get(number as usize)?.as_ref()
    }
    /// In the order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, u32)> {
        self.numbers.iter().map(|(key, number)| (key, *number))
    }

    /// Those from a key on, in order.
    pub(super) fn from<'p, Q: Ord + ?Sized>(&'p self, key: &Q) -> impl Iterator<Item = (&'p K, u32)>
    where
        K: Borrow<Q>,
    {
        let range = (Bound::Included(key), Bound::Unbounded);
        self.numbers.range::<Q, _>(range).map(|(key, number)| (key, *number))
    }

    /// The number of a key for one more row, and whether the key is new.
    pub(super) fn take<Q: Ord + ?Sized>(&mut self, key: &Q) -> (u32, bool)
    where
        K: Borrow<Q> + for<'a> From<&'a Q>,
    {
        if let Some(number) = self.find(key) {
            self.counts[number as usize] += 1;
            return (number, false);
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            self.counts.push(0);
            self.keys.len() as u32 - 1
        });
        let key = K::from(key);
        self.keys[number as usize] = Some(key.clone());
        self.counts[number as usize] = 1;
        self.numbers.insert(key, number);
        (number, true)
    }

    /// One row fewer has it; says whether it is gone.
    pub(super) fn release(&mut self, number: u32) -> bool {
        let count = &mut self.counts[number as usize];
        *count -= 1;
        if *count > 0 {
            return false;
        }
        if let Some(key) = self.keys[number as usize].take() {
            self.numbers.remove(&key);
        }
        self.free.push(number);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_no_row_has_any_more_is_forgotten_and_its_number_used_again() {
        let mut pool: Pool<Arc<str>> = Pool::new();
        let [b, a] = ["b", "a"].map(|key| pool.take(key).0);
        assert_eq!(pool.take("a"), (a, false));
        assert!(!pool.release(a));
        assert!(pool.release(a));
        assert_eq!((pool.find("a"), pool.key(a)), (None, None));
        assert_eq!(pool.take("c"), (a, true));
        assert_eq!(pool.iter().map(|(key, number)| (&**key, number)).collect::<Vec<_>>(), [("b", b), ("c", a)]);
        assert_eq!(pool.end(), 2);
    }
}
