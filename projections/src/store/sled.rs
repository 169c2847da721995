//! A store in one sled database: the default of small ones.

use super::{Changes, Engine, Order, Store, Visit, held_elsewhere};
use crate::Error;
use std::path::Path;

/// Most memory that one store's cache takes.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// How long a store's own background thread waits between syncs; tests sync when they mean to.
const SYNC_EVERY_MS: Option<u64> = if cfg!(test) { None } else { Some(500) };

/// A store in one sled database.
pub(crate) struct Sled(::sled::Db);

impl Sled {
    /// Opens or creates the database in `dir`. Our own lock around the stores says that no other process is here, so a
    /// lock inside is one that this process is about to let go.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let config = ::sled::Config::new().path(dir).cache_capacity(CACHE_BYTES_MAX).flush_every_ms(SYNC_EVERY_MS);
        let is_held = |error: &::sled::Error| matches!(error, ::sled::Error::Io(why) if why.to_string().contains("could not acquire lock"));
        held_elsewhere(|| config.open(), is_held).map(Self).map_err(failed("opening a projection's store"))
    }
}

fn failed(doing: &'static str) -> impl Fn(::sled::Error) -> Error {
    move |source| {
        let io = match &source {
            ::sled::Error::Io(error) => Some(error.kind()),
            _ => None,
        };
        Error::Store { engine: Engine::Sled.name(), doing, io, source: Box::new(source) }
    }
}

impl Store for Sled {
    fn engine(&self) -> Engine {
        Engine::Sled
    }

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

    fn commit(&self, changes: &Changes) -> Result<(), Error> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes.iter() {
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
