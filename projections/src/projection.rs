//! What a projection is: a name, a schema version, and a pure function from an event, and the rows so far, to changes
//! of rows. The changes and the watermark go into the store in one batch, so a crash leaves them of one age.

use crate::Error;
use crate::store::{Changes, Order, Store, scan_prefix};
use cairn_schemas::{Blake3, Position, Recorded};
use parking_lot::{RwLock, RwLockUpgradableReadGuard};
use std::ops::ControlFlow;

/// Changes held before they are committed; a bound on memory while catching up.
const CHANGES_MAX: usize = 50_000;

/// Rows under this byte are the store's own; tables of projections begin after it.
const META: u8 = 0;
const WATERMARK: &[u8] = &[META, b'w'];

/// One projection.
pub(crate) struct Projection {
    pub(crate) name: &'static str,
    /// Raised with every change of rows or keys: a store of another version is made anew.
    pub(crate) version: u32,
    /// Touches neither disk, clock nor randomness: what it reads comes from the event and the rows.
    pub(crate) apply: fn(&Recorded, &mut Rows<'_>) -> Result<(), Error>,
}

/// A store's rows with the changes that are not committed yet on top.
pub(crate) struct Rows<'a> {
    store: &'a dyn Store,
    changes: Changes,
}

impl<'a> Rows<'a> {
    pub(crate) fn over(store: &'a dyn Store) -> Self {
        Self { store, changes: Changes::new() }
    }
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, Error> {
        match self.changes.get(key) {
            Some(change) => Ok(change.is_some()),
            None => Ok(self.store.get(key)?.is_some()),
        }
    }
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
    }
    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }
    pub(crate) fn read<T: bincode::Decode<()>>(&self, table: &'static str, key: &[u8]) -> Result<Option<T>, Error> {
        match self.changes.get(key) {
            Some(None) => Ok(None),
            Some(Some(bytes)) => decode(table, bytes).map(Some),
            None => self.store.get(key)?.map(|bytes| decode(table, &bytes)).transpose(),
        }
    }
    pub(crate) fn write<T: bincode::Encode>(&mut self, key: Vec<u8>, row: &T) {
        self.put(key, encode(row));
    }
}

pub(crate) fn encode<T: bincode::Encode>(row: &T) -> Vec<u8> {
    bincode::encode_to_vec(row, bincode::config::standard()).expect("encoding to memory cannot fail")
}

pub(crate) fn decode<T: bincode::Decode<()>>(table: &'static str, bytes: &[u8]) -> Result<T, Error> {
    match bincode::decode_from_slice(bytes, bincode::config::standard()) {
        Ok((row, used)) if used == bytes.len() => Ok(row),
        Ok((_, used)) => Err(Error::row(table, format!("{} bytes follow it", bytes.len() - used))),
        Err(e) => Err(Error::row(table, e)),
    }
}

/// How far a store has come, and which event stood there: another ledger's event there shows that the store is not
/// this ledger's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    pub(crate) position: Position,
    pub(crate) event: Blake3,
}

impl Watermark {
    pub(crate) fn of(event: &Recorded) -> Self {
        let mut digest = blake3::Hasher::new();
        digest.update(&event.recorded_at.as_micros().to_le_bytes());
        for text in [&event.source, &event.id] {
            digest.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        Self { position: event.position, event: Blake3::from_bytes(*digest.finalize().as_bytes()) }
    }
    fn to_row(self) -> Vec<u8> {
        encode(&(self.position.get(), *self.event.as_bytes()))
    }
    fn from_row(bytes: &[u8]) -> Result<Self, Error> {
        let (position, event): (u64, [u8; 32]) = decode("watermark", bytes)?;
        let position = Position::new(position).ok_or_else(|| Error::row("watermark", "it says position 0"))?;
        Ok(Self { position, event: Blake3::from_bytes(event) })
    }
}

/// A store and its watermark.
pub(crate) struct Filled {
    pub(crate) store: Box<dyn Store>,
    pub(crate) watermark: Option<Watermark>,
}

impl Filled {
    pub(crate) fn over(store: Box<dyn Store>) -> Result<Self, Error> {
        let watermark = store.get(WATERMARK)?.map(|row| Watermark::from_row(&row)).transpose()?;
        Ok(Self { store, watermark })
    }
    pub(crate) fn next(&self) -> Option<Position> {
        match self.watermark {
            None => Some(Position::FIRST),
            Some(watermark) => watermark.position.next(),
        }
    }
    /// BLAKE3 over all rows in the order of their keys, lengths first; the store's own rows are left out.
    pub(crate) fn digest(&self) -> Result<String, Error> {
        let mut digest = blake3::Hasher::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            for part in [key, value] {
                digest.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            Ok(ControlFlow::Continue(()))
        };
        self.store.scan(&[META + 1], None, Order::Ascending, &mut visit)?;
        Ok(digest.finalize().to_hex().to_string())
    }
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let mut count = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        };
        self.store.scan(&[META + 1], None, Order::Ascending, &mut visit).unwrap();
        count
    }
}

/// A projection with its store, shared between one writer and many readers. A reader sees whole batches only.
pub(crate) struct Live {
    pub(crate) projection: &'static Projection,
    filled: RwLock<Filled>,
}

impl Live {
    pub(crate) fn new(projection: &'static Projection, filled: Filled) -> Self {
        Self { projection, filled: RwLock::new(filled) }
    }

    pub(crate) fn watermark(&self) -> Option<Watermark> {
        self.filled.read().watermark
    }

    /// Applies those of `events` that come next. Callers take turns: there is one writer.
    pub(crate) fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        let mut rest = events;
        while !rest.is_empty() {
            let filled = self.filled.upgradable_read();
            let batch = Batch::of(self.projection, &filled, rest);
            rest = &rest[batch.taken..];
            if let Some(watermark) = batch.watermark {
                let mut filled = RwLockUpgradableReadGuard::upgrade(filled);
                filled.store.commit(batch.changes)?;
                filled.watermark = Some(watermark);
            }
            if let Some(error) = batch.stop {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Puts a rebuilt store in the place of the old one, which is given back.
    pub(crate) fn swap(&self, filled: Filled) -> Filled {
        std::mem::replace(&mut *self.filled.write(), filled)
    }

    pub(crate) fn read<T>(&self, query: impl FnOnce(&dyn Store) -> Result<T, Error>) -> Result<T, Error> {
        query(&*self.filled.read().store)
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&Filled) -> T) -> T {
        look(&self.filled.read())
    }
}

/// What some events change.
struct Batch {
    /// With the watermark's row among them.
    changes: Changes,
    watermark: Option<Watermark>,
    /// How many events were looked at.
    taken: usize,
    /// Why the event after them could not be applied.
    stop: Option<Error>,
}

impl Batch {
    /// Takes as many events as fit.
    fn of(projection: &Projection, filled: &Filled, events: &[Recorded]) -> Batch {
        let mut rows = Rows::over(&*filled.store);
        let mut watermark = None;
        let mut next = filled.next();
        for (taken, event) in events.iter().enumerate() {
            if rows.changes.len() >= CHANGES_MAX {
                return Self::sealed(rows, watermark, taken);
            }
            if next != Some(event.position) {
                continue;
            }
            if let Err(source) = (projection.apply)(event, &mut rows) {
                let position = event.position;
                let stop = Error::Apply { projection: projection.name, position, source: Box::new(source) };
                // An event is applied whole or not at all, so the ones before it are computed again without it.
                let before = if taken > 0 { Self::of(projection, filled, &events[..taken]) } else { Self::none() };
                return Batch { stop: Some(stop), ..before };
            }
            watermark = Some(Watermark::of(event));
            next = event.position.next();
        }
        Self::sealed(rows, watermark, events.len())
    }
    fn sealed(mut rows: Rows<'_>, watermark: Option<Watermark>, taken: usize) -> Batch {
        if let Some(watermark) = watermark {
            rows.put(WATERMARK.to_vec(), watermark.to_row());
        }
        Batch { changes: rows.changes, watermark, taken, stop: None }
    }
    fn none() -> Batch {
        Batch { changes: Changes::new(), watermark: None, taken: 0, stop: None }
    }
}

/// Applies `events` to a store that nobody else sees yet.
pub(crate) fn fill(projection: &Projection, filled: &mut Filled, events: &[Recorded]) -> Result<(), Error> {
    let mut rest = events;
    while !rest.is_empty() {
        let batch = Batch::of(projection, filled, rest);
        rest = &rest[batch.taken..];
        if let Some(watermark) = batch.watermark {
            filled.store.commit(batch.changes)?;
            filled.watermark = Some(watermark);
        }
        if let Some(error) = batch.stop {
            return Err(error);
        }
    }
    Ok(())
}

/// All rows under `prefix`, decoded by `row` until it says stop.
pub(crate) fn collect<T>(
    store: &dyn Store,
    prefix: &[u8],
    order: Order,
    mut row: impl FnMut(&[u8], &[u8]) -> Result<Option<T>, Error>,
) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    scan_prefix(store, prefix, order, &mut |key, value| {
        if let Some(item) = row(key, value)? {
            found.push(item);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}
