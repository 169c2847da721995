//! The seam to the storage engine: ordered rows, read by key or by range, written in batches that are whole or absent
//! after a crash.

mod changes;
#[cfg(test)]
mod conformance;
mod counted;
mod engine;
mod fjall;
mod memory;
mod sled;

pub(crate) use self::changes::Changes;
pub(crate) use self::counted::Counted;
pub use self::engine::{Choice, Engine};
pub(crate) use self::fjall::Fjall;
pub(crate) use self::memory::Memory;
pub(crate) use self::sled::Sled;
use crate::{Error, key};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How long a store that this process has just closed may hold on to its own lock.
const CLOSING_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

/// Takes a row (key, value) and says whether to go on.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error> + 'a;

/// Ordered rows.
pub(crate) trait Store: Send + Sync {
    fn engine(&self) -> Engine;
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
    /// Visits the rows with `from <= key < to` (`None`: to the end) until the visitor breaks off.
    fn scan(&self, from: &[u8], to: Option<&[u8]>, order: Order, visit: &mut Visit<'_>) -> Result<(), Error>;
    /// Applies all changes at once: after a crash either all of them are there or none.
    fn commit(&self, changes: &Changes) -> Result<(), Error>;
    /// Returns once everything committed would survive the loss of power.
    fn sync(&self) -> Result<(), Error>;
}

/// Tries again while a database says that it is held: this process is letting go of it.
fn held_elsewhere<T, E>(open: impl Fn() -> Result<T, E>, is_held: impl Fn(&E) -> bool) -> Result<T, E> {
    let started = Instant::now();
    loop {
        match open() {
            Err(error) if is_held(&error) && started.elapsed() < CLOSING_MAX => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
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
