//! The seam to the storage engine: ordered rows, read by key or by range, written in batches that are whole or absent
//! after a crash.

use crate::{Error, key};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};
use std::path::Path;

/// Most memory that one store's cache takes.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// How long a store's own background thread waits between syncs; tests sync when they mean to.
const SYNC_EVERY_MS: Option<u64> = if cfg!(test) { None } else { Some(500) };

/// Rows to put (`Some`) and to delete (`None`).
pub(crate) type Changes = HashMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

/// Takes a row (key, value) and says whether to go on.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error> + 'a;

/// Ordered rows.
pub(crate) trait Store: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
    /// Visits the rows with `from <= key < to` (`None`: to the end) until the visitor breaks off.
    fn scan(&self, from: &[u8], to: Option<&[u8]>, order: Order, visit: &mut Visit<'_>) -> Result<(), Error>;
    /// Applies all changes at once: after a crash either all of them are there or none.
    fn commit(&self, changes: Changes) -> Result<(), Error>;
    /// Returns once everything committed would survive the loss of power.
    fn sync(&self) -> Result<(), Error>;
}

/// Visits all rows whose key begins with `prefix`.
pub(crate) fn scan_prefix(store: &dyn Store, prefix: &[u8], order: Order, visit: &mut Visit<'_>) -> Result<(), Error> {
    store.scan(prefix, key::after(prefix).as_deref(), order, visit)
}

/// A row: key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// At most `limit` rows under `prefix` after the cursor, and the cursor of the next page. A cursor is the key of the
/// last row, so a page costs the same however deep it is.
pub(crate) fn page(
    store: &dyn Store,
    prefix: &[u8],
    after: Option<&str>,
    limit: usize,
    order: Order,
) -> Result<(Vec<Row>, Option<String>), Error> {
    let (mut from, mut to) = (prefix.to_vec(), key::after(prefix));
    if let Some(cursor) = after {
        let last = hex::decode(cursor).ok().filter(|key| key.starts_with(prefix));
        let mut last = last.ok_or_else(|| Error::Cursor { given: cursor.to_owned() })?;
        match order {
            Order::Ascending => {
                last.push(0);
                from = last;
            }
            Order::Descending => to = Some(last),
        }
    }
    let mut found: Vec<Row> = Vec::new();
    let mut more = false;
    store.scan(&from, to.as_deref(), order, &mut |key, value| {
        if found.len() == limit {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        found.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    })?;
    let next = found.last().filter(|_| more).map(|(key, _)| hex::encode(key));
    Ok((found, next))
}

/// A store in one sled database.
pub(crate) struct Sled(sled::Db);

impl Sled {
    /// Opens or creates the database in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES_MAX).flush_every_ms(SYNC_EVERY_MS);
        config.open().map(Self).map_err(failed("opening a projection's store"))
    }
}

fn failed(doing: &'static str) -> impl Fn(sled::Error) -> Error {
    move |source| Error::Store { doing, source }
}

impl Store for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let row = self.0.get(key).map_err(failed("reading a row"))?;
        Ok(row.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, order: Order, visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut rows = match to {
            Some(to) if to <= from => return Ok(()),
            Some(to) => self.0.range(from..to),
            None => self.0.range(from..),
        };
        let mut next = || match order {
            Order::Ascending => rows.next(),
            Order::Descending => rows.next_back(),
        };
        while let Some(row) = next() {
            let (key, value) = row.map_err(failed("reading rows"))?;
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: Changes) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.0.apply_batch(batch).map_err(failed("writing rows"))
    }

    fn sync(&self) -> Result<(), Error> {
        self.0.flush().map(drop).map_err(failed("syncing a projection's store"))
    }
}

/// A store in memory, which grows with the log.
#[derive(Default)]
pub(crate) struct Memory(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Store for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.read().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, order: Order, visit: &mut Visit<'_>) -> Result<(), Error> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let rows = self.0.read();
        let mut found = rows.range::<[u8], _>((Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded)));
        let mut next = || match order {
            Order::Ascending => found.next(),
            Order::Descending => found.next_back(),
        };
        while let Some((key, value)) = next() {
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: Changes) -> Result<(), Error> {
        let mut rows = self.0.write();
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn rows(store: &dyn Store, from: &[u8], to: Option<&[u8]>, order: Order) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        };
        store.scan(from, to, order, &mut visit).unwrap();
        found
    }

    /// What every store must do, against a sorted map.
    fn conforms(store: &dyn Store, seed: u64) {
        let mut random = Random::new(seed);
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for _ in 0..60 {
            let mut changes = Changes::new();
            for _ in 0..random.below(40) {
                let key: Vec<u8> =
                    (0..1 + random.below(3)).map(|_| [0, 1, 7, 0xfe, 0xff][random.below(5) as usize]).collect();
                let value = (random.below(4) > 0).then(|| vec![random.below(256) as u8; random.below(2_000) as usize]);
                changes.insert(key, value);
            }
            for (key, value) in &changes {
                match value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            store.commit(changes).unwrap();
        }
        store.sync().unwrap();
        for (key, value) in &model {
            assert_eq!(store.get(key).unwrap().as_ref(), Some(value), "seed {seed}");
        }
        assert_eq!(store.get(b"absent").unwrap(), None);
        for (from, to) in [(vec![], None), (vec![1], Some(vec![7])), (vec![7, 0xff], None), (vec![9], Some(vec![2]))] {
            let mut expected: Vec<_> = model
                .iter()
                .filter(|(key, _)| **key >= from && to.as_ref().is_none_or(|to| *key < to))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(rows(store, &from, to.as_deref(), Order::Ascending), expected, "seed {seed}");
            expected.reverse();
            assert_eq!(rows(store, &from, to.as_deref(), Order::Descending), expected, "seed {seed}");
        }
        let mut seen = 0;
        let mut first_only = |_: &[u8], _: &[u8]| {
            seen += 1;
            Ok(ControlFlow::Break(()))
        };
        scan_prefix(store, &[0xff], Order::Ascending, &mut first_only).unwrap();
        assert!(seen <= 1);
    }

    #[test]
    fn stores_conform() {
        conforms(&Memory::default(), 1);
        let dir = tempfile::tempdir().unwrap();
        conforms(&Sled::open(dir.path()).unwrap(), 2);
    }
}
