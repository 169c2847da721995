//! What a projection is: a name, a schema version, and a pure function from an event, and the rows so far, to changes
//! of rows. The changes and the watermark go into the store in one batch, so a crash leaves them of one age.

use crate::Error;
use crate::error::panicked;
pub(crate) use crate::live::{Live, View};
pub(crate) use crate::rows::{Rows, decode, encode};
use crate::store::{Changes, Order, Store, scan_prefix};
use cairn_schemas::{Blake3, Position, Recorded};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;

/// Rows that a batch holds before it is committed, and bytes of them: bounds on memory while catching up.
const ROWS_MAX: usize = 50_000;
const BYTES_MAX: usize = 64 << 20;

/// Rows under this byte are the store's own; tables of projections begin after it.
const META: u8 = 0;
const WATERMARK: &[u8] = &[META, b'w'];

/// Touches neither disk, clock nor randomness: what it reads comes from the event and the rows.
pub(crate) type Apply = fn(&Recorded, &mut Rows<'_>) -> Result<(), Error>;
/// Makes a view by a scan of the rows.
pub(crate) type LoadView = fn(&dyn Store) -> Result<Box<dyn View>, Error>;
/// Takes the content into a digest.
pub(crate) type TakeDigest = fn(&dyn Store, &mut blake3::Hasher) -> Result<(), Error>;

/// One projection.
pub(crate) struct Projection {
    pub(crate) name: &'static str,
    /// Raised with every change of rows or keys: a store of another version is made anew.
    pub(crate) version: u32,
    pub(crate) apply: Apply,
    /// What it keeps in memory of its rows, if anything.
    pub(crate) view: Option<LoadView>,
    /// Where the layout of the rows depends on the batches that they came in, so that equal histories make equal
    /// digests all the same. `None`: the digest is of the rows.
    pub(crate) digest: Option<TakeDigest>,
}

impl Projection {
    pub(crate) const fn new(name: &'static str, version: u32, apply: Apply) -> Self {
        Self { name, version, apply, view: None, digest: None }
    }
    /// Has `load` make what is kept in memory, at the first question that needs it.
    pub(crate) const fn viewed(self, load: LoadView) -> Self {
        Self { view: Some(load), ..self }
    }
    /// Has `digest` say what the content is, whatever its layout.
    pub(crate) const fn digested(self, digest: TakeDigest) -> Self {
        Self { digest: Some(digest), ..self }
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
        let mut filled = Self { store, watermark: None };
        filled.read_watermark()?;
        Ok(filled)
    }
    pub(crate) fn read_watermark(&mut self) -> Result<(), Error> {
        self.watermark = self.store.get(WATERMARK)?.map(|row| Watermark::from_row(&row)).transpose()?;
        Ok(())
    }
    pub(crate) fn next(&self) -> Option<Position> {
        match self.watermark {
            None => Some(Position::FIRST),
            Some(watermark) => watermark.position.next(),
        }
    }
    /// BLAKE3 over all rows in the order of their keys, lengths first, without the store's own rows; or over what the
    /// projection says its content is.
    pub(crate) fn digest(&self, projection: &Projection) -> Result<String, Error> {
        let mut digest = blake3::Hasher::new();
        match projection.digest {
            Some(take) => take(&*self.store, &mut digest)?,
            None => {
                let mut visit = |key: &[u8], value: &[u8]| {
                    for part in [key, value] {
                        digest.update(&(part.len() as u64).to_le_bytes()).update(part);
                    }
                    Ok(ControlFlow::Continue(()))
                };
                self.store.scan(&[META + 1], None, Order::Ascending, &mut visit)?;
            }
        }
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

/// What some events change.
pub(crate) struct Batch {
    /// With the watermark's row among them.
    pub(crate) changes: Changes,
    pub(crate) watermark: Option<Watermark>,
    /// How many events were looked at.
    pub(crate) taken: usize,
    /// Why the event after them could not be applied.
    pub(crate) stop: Option<Error>,
}

impl Batch {
    /// Takes as many events as fit.
    pub(crate) fn of(projection: &Projection, filled: &Filled, events: &[Recorded]) -> Batch {
        let mut rows = Rows::over(&*filled.store);
        let mut last = None;
        let mut next = filled.next();
        for (taken, event) in events.iter().enumerate() {
            if rows.len() >= ROWS_MAX || rows.bytes() >= BYTES_MAX {
                return Self::sealed(rows, last, taken);
            }
            if next != Some(event.position) {
                continue;
            }
            if let Err(stop) = apply(projection, event, &mut rows) {
                // An event is applied whole or not at all, so the ones before it are computed again without it.
                let before = if taken > 0 { Self::of(projection, filled, &events[..taken]) } else { Self::none() };
                return Batch { stop: Some(stop), ..before };
            }
            last = Some(event);
            next = event.position.next();
        }
        Self::sealed(rows, last, events.len())
    }
    fn sealed(mut rows: Rows<'_>, last: Option<&Recorded>, taken: usize) -> Batch {
        let watermark = last.map(Watermark::of);
        if let Some(watermark) = watermark {
            rows.put(WATERMARK.to_vec(), watermark.to_row());
        }
        Batch { changes: rows.into_changes(), watermark, taken, stop: None }
    }
    fn none() -> Batch {
        Batch { changes: Changes::default(), watermark: None, taken: 0, stop: None }
    }
}

/// Applies one event. A panic is an error of that event like any other.
fn apply(projection: &Projection, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    let applied = std::panic::catch_unwind(AssertUnwindSafe(|| (projection.apply)(event, rows)));
    let why = match applied {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) if error.is_transient() => return Err(error),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panicked(&*panic),
    };
    Err(Error::Stopped { projection: projection.name, position: event.position, why })
}

/// Applies `events` to a store that nobody else sees.
#[cfg(test)]
pub(crate) fn fill(projection: &Projection, filled: &mut Filled, events: &[Recorded]) -> Result<(), Error> {
    let mut rest = events;
    while !rest.is_empty() {
        let batch = Batch::of(projection, filled, rest);
        rest = &rest[batch.taken..];
        if let Some(watermark) = batch.watermark {
            filled.store.commit(&batch.changes)?;
            filled.watermark = Some(watermark);
        }
        batch.stop.map_or(Ok(()), Err)?;
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
