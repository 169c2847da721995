//! What the benches measure: the storage engines, behind the seam that the projections use, and one projection without
//! a ledger and the others.

use crate::catalog::{self, Catalog};
use crate::curves::{self, Curves};
use crate::projection::{Filled, Live};
use crate::store::{Changes, Memory, Order, Store};
use crate::{Engine, Error};
use cairn_schemas::Recorded;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// A store of rows.
pub struct Rows(Box<dyn Store>);

/// A key and what is put there; `None` deletes.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

impl Rows {
    pub fn open(engine: Engine, dir: &Path) -> Result<Self, Error> {
        engine.open(dir).map(Self)
    }
    /// Applies all of them at once. A key may come once only.
    pub fn commit(&self, changes: Vec<Change>) -> Result<(), Error> {
        self.0.commit(&Changes::of(changes))
    }
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(key)
    }
    /// Rows from `from` on, at most `limit`, and the bytes of their keys and values.
    pub fn scan(&self, from: &[u8], limit: usize) -> Result<(usize, usize), Error> {
        let (mut rows, mut bytes) = (0, 0);
        self.0.scan(from, None, Order::Ascending, &mut |key, value| {
            rows += 1;
            bytes += key.len() + value.len();
            Ok(if rows == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok((rows, bytes))
    }
    pub fn sync(&self) -> Result<(), Error> {
        self.0.sync()
    }
}

/// The catalog alone, fed by hand.
pub struct CatalogAlone(Arc<Live>);

impl CatalogAlone {
    pub fn open(engine: Engine, dir: &Path) -> Result<Self, Error> {
        Ok(Self(Arc::new(Live::new(&catalog::PROJECTION, Filled::over(engine.open(dir)?)?))))
    }
    /// Applies events, which come next.
    pub fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        self.0.apply(events)
    }
    pub fn catalog(&self) -> Catalog {
        let none = Filled::over(Box::new(Memory::default())).expect("memory is readable");
        Catalog::over(self.0.clone(), Curves::over(Arc::new(Live::new(&curves::PROJECTION, none))))
    }
}

/// The curves alone, fed with events by hand.
pub struct CurvesAlone(Arc<Live>);

impl CurvesAlone {
    /// On an engine, or opened again there.
    pub fn open(engine: Engine, dir: &Path) -> Result<Self, Error> {
        Ok(Self(Arc::new(Live::new(&curves::PROJECTION, Filled::over(engine.open(dir)?)?))))
    }
    /// Applies those of the events that come next.
    pub fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        self.0.apply(events)
    }
    pub fn curves(&self) -> Curves {
        Curves::over(self.0.clone())
    }
    pub fn sync(&self) -> Result<(), Error> {
        self.0.read(|store| store.sync())
    }
    /// Rows, and the bytes of their keys and values.
    pub fn size(&self) -> Result<(usize, usize), Error> {
        self.0.read(|store| {
            let (mut rows, mut bytes) = (0, 0);
            store.scan(&[1], None, Order::Ascending, &mut |key, value| {
                rows += 1;
                bytes += key.len() + value.len();
                Ok(ControlFlow::Continue(()))
            })?;
            Ok((rows, bytes))
        })
    }
}
