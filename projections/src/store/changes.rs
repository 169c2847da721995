//! What a commit changes: each key once, in the order of keys, so that stores write in order and views find a table's
//! changes without looking at the others.

use crate::key;

/// Rows to put (`Some`) and to delete (`None`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Changes {
    /// The changes of a batch. A key may come once only.
    pub(crate) fn of(changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Self {
        let mut changes: Vec<_> = changes.into_iter().collect();
        changes.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        assert!(changes.windows(2).all(|pair| pair[0].0 != pair[1].0), "a key comes once in a batch");
        Self(changes)
    }
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        slices(&self.0)
    }
    /// The changes of keys that begin with `prefix`: one table's, where it is the table's byte.
    pub(crate) fn under(&self, prefix: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let from = self.0.partition_point(|(key, _)| key.as_slice() < prefix);
        let to = match key::after(prefix) {
            Some(end) => self.0.partition_point(|(key, _)| *key < end),
            None => self.0.len(),
        };
        slices(&self.0[from..to])
    }
    /// What the batch does to one row; `None` where nothing.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let index = self.0.binary_search_by(|(at, _)| at.as_slice().cmp(key)).ok()?;
        Some(self.0[index].1.as_deref())
    }
}

fn slices(changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
}

impl IntoIterator for Changes {
    type Item = (Vec<u8>, Option<Vec<u8>>);
    type IntoIter = std::vec::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_in_order_and_found_by_table_and_key() {
        let put = |key: &[u8]| (key.to_vec(), Some(vec![1]));
        let changes = Changes::of([put(&[2, 5]), (vec![1, 9], None), put(&[2]), put(&[0xff, 1]), put(&[1])]);
        let keys = |found: Vec<(&[u8], Option<&[u8]>)>| found.into_iter().map(|(k, _)| k.to_vec()).collect::<Vec<_>>();
        assert_eq!(keys(changes.iter().collect()), [vec![1], vec![1, 9], vec![2], vec![2, 5], vec![0xff, 1]]);
        assert_eq!(keys(changes.under(&[2]).collect()), [vec![2], vec![2, 5]]);
        assert_eq!(keys(changes.under(&[0xff]).collect()), [vec![0xff, 1]]);
        assert_eq!(changes.under(&[3]).count(), 0);
        assert_eq!(changes.get(&[1, 9]), Some(None));
        assert_eq!(changes.get(&[2]), Some(Some(&[1][..])));
        assert_eq!((changes.get(&[7]), changes.len(), changes.is_empty()), (None, 5, false));
    }

    #[test]
    #[should_panic(expected = "a key comes once")]
    fn a_key_that_comes_twice_is_a_fault() {
        Changes::of([(vec![1], None), (vec![1], Some(vec![]))]);
    }
}
