//! A store in one fjall database, a log-structured merge tree: for logs that outgrow sled.

use super::{Changes, Engine, Order, Store, Visit, held_elsewhere};
use crate::Error;
use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

/// Most memory that one store's cache of blocks takes.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// Rows in memory before they are written out as a table.
const MEMTABLE_BYTES_MAX: u64 = 32 << 20;
/// Most bytes of journals, which hold what is not in tables yet.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
const ROWS: &str = "rows";

pub(crate) struct Fjall {
    // Before the database: it must be let go first.
    rows: Keyspace,
    database: Database,
}

impl Fjall {
    /// Opens or creates the database in `dir`. Our own lock around the stores says that no other process is here, so a
    /// lock inside is one that this process is about to let go.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let open = || {
            Database::builder(dir)
                .cache_size(CACHE_BYTES_MAX)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(1)
                .open()
        };
        let database = held_elsewhere(open, |error| matches!(error, ::fjall::Error::Locked));
        let database = database.map_err(failed("opening a projection's store"))?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let rows = database.keyspace(ROWS, options).map_err(failed("opening a projection's store"))?;
        Ok(Self { rows, database })
    }
}

fn failed(doing: &'static str) -> impl Fn(::fjall::Error) -> Error {
    move |source| {
        let io = match &source {
            ::fjall::Error::Io(error) | ::fjall::Error::Storage(::fjall::LsmError::Io(error)) => Some(error.kind()),
            _ => None,
        };
        Error::Store { engine: Engine::Fjall.name(), doing, io, source: Box::new(source) }
    }
}

impl Store for Fjall {
    fn engine(&self) -> Engine {
        Engine::Fjall
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let row = self.rows.get(key).map_err(failed("reading a row"))?;
        Ok(row.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, order: Order, visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut rows = match to {
            Some(to) if to <= from => return Ok(()),
            Some(to) => self.rows.range(from..to),
            None => self.rows.range(from..),
        };
        let mut next = || match order {
            Order::Ascending => rows.next(),
            Order::Descending => rows.next_back(),
        };
        while let Some(row) = next() {
            let (key, value) = row.into_inner().map_err(failed("reading rows"))?;
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: &Changes) -> Result<(), Error> {
        let mut batch = self.database.batch();
        for (key, value) in changes.iter() {
            match value {
                Some(value) => batch.insert(&self.rows, key, value),
                None => batch.remove(&self.rows, key),
            }
        }
        batch.commit().map_err(failed("writing rows"))
    }

    fn sync(&self) -> Result<(), Error> {
        self.database.persist(PersistMode::SyncAll).map_err(failed("syncing a projection's store"))
    }
}
