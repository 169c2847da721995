//! A store as one question sees it, which counts the rows that it reads.

use super::{Changes, Engine, Order, Store, Visit};
use crate::Error;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Counted<'a> {
    store: &'a dyn Store,
    rows: AtomicU64,
}

impl<'a> Counted<'a> {
    pub(crate) fn over(store: &'a dyn Store) -> Self {
        Self { store, rows: AtomicU64::new(0) }
    }
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

impl Store for Counted<'_> {
    fn engine(&self) -> Engine {
        self.store.engine()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.rows.fetch_add(1, Ordering::Relaxed);
        self.store.get(key)
    }
    fn scan(&self, from: &[u8], to: Option<&[u8]>, order: Order, visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut rows = 0;
        let scanned = self.store.scan(from, to, order, &mut |key, value| {
            rows += 1;
            visit(key, value)
        });
        self.rows.fetch_add(rows, Ordering::Relaxed);
        scanned
    }
    fn commit(&self, changes: &Changes) -> Result<(), Error> {
        self.store.commit(changes)
    }
    fn sync(&self) -> Result<(), Error> {
        self.store.sync()
    }
}
