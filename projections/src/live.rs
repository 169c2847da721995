//! A projection in use: its store, shared between one writer and many readers, and what it keeps in memory of its rows.
//! A reader sees whole batches only, and a view that is in step with the rows beside it.

use crate::Error;
use crate::projection::{Batch, Filled, Projection, Watermark};
use crate::store::{Changes, Counted, Store};
use cairn_schemas::Recorded;
use parking_lot::{RwLock, RwLockUpgradableReadGuard, RwLockWriteGuard};
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a projection keeps in memory of its rows, so that questions over all of them run at memory speed. It is a pure
/// function of the rows: loaded by a scan, then kept in step by every commit.
pub(crate) trait View: Any + Send + Sync {
    /// Takes the changes of one commit. After an error the view is dropped, and loaded again when it is asked for.
    fn take(&mut self, changes: &Changes) -> Result<(), Error>;
}

/// A projection with its store.
pub(crate) struct Live {
    pub(crate) projection: &'static Projection,
    held: RwLock<Held>,
    /// Questions asked, and rows that they read.
    questions: AtomicU64,
    rows_read: AtomicU64,
}

struct Held {
    filled: Filled,
    /// `None` until it is asked for.
    view: Option<Box<dyn View>>,
}

impl Held {
    fn commit(&mut self, projection: &Projection, batch: &Batch) -> Result<(), Error> {
        let Some(watermark) = batch.watermark else { return Ok(()) };
        self.filled.store.commit(&batch.changes)?;
        self.filled.watermark = Some(watermark);
        let Some(view) = &mut self.view else { return Ok(()) };
        if let Err(error) = view.take(&batch.changes) {
            tracing::error!(projection = projection.name, %error, "the view will be loaded again");
            self.view = None;
        }
        Ok(())
    }
}

impl Live {
    pub(crate) fn new(projection: &'static Projection, filled: Filled) -> Self {
        let (questions, rows_read) = Default::default();
        Self { projection, held: RwLock::new(Held { filled, view: None }), questions, rows_read }
    }

    pub(crate) fn watermark(&self) -> Option<Watermark> {
        self.held.read().filled.watermark
    }

    /// Applies those of `events` that come next. Callers take turns: there is one writer.
    pub(crate) fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        let mut rest = events;
        while !rest.is_empty() {
            let held = self.held.upgradable_read();
            let mut batch = Batch::of(self.projection, &held.filled, rest);
            rest = &rest[batch.taken..];
            let stop = batch.stop.take();
            if batch.watermark.is_some() {
                RwLockUpgradableReadGuard::upgrade(held).commit(self.projection, &batch)?;
            }
            if let Some(error) = stop {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Puts a rebuilt store in the place of the old one, which is given back. A view that was in use is loaded from the
    /// new rows before, so that nobody waits for it.
    pub(crate) fn swap(&self, filled: Filled) -> Result<Filled, Error> {
        let is_viewed = self.held.read().view.is_some();
        let view = match self.projection.view {
            Some(load) if is_viewed => Some(load(&*filled.store)?),
            _ => None,
        };
        Ok(std::mem::replace(&mut *self.held.write(), Held { filled, view }).filled)
    }

    pub(crate) fn read<T>(&self, query: impl FnOnce(&dyn Store) -> Result<T, Error>) -> Result<T, Error> {
        self.asked(&self.held.read().filled, query)
    }

    /// Asks the view, and the rows that it is of. It is loaded where nobody asked before; other readers go on meanwhile.
    pub(crate) fn read_view<V: View, T>(
        &self,
        query: impl FnOnce(&V, &dyn Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut held = self.held.read();
        if held.view.is_none() {
            drop(held);
            let loading = self.held.upgradable_read();
            // Another may have loaded it while this one waited.
            held = match loading.view.is_some() {
                true => RwLockUpgradableReadGuard::downgrade(loading),
                false => {
                    let load = self.projection.view.expect("a projection whose view is asked for has one");
                    let view = load(&*loading.filled.store)?;
                    let mut writing = RwLockUpgradableReadGuard::upgrade(loading);
                    writing.view = Some(view);
                    RwLockWriteGuard::downgrade(writing)
                }
            };
        }
        let view = held.view.as_deref().and_then(|view| (view as &dyn Any).downcast_ref::<V>());
        let view = view.expect("the view is of the projection's own type");
        self.asked(&held.filled, |store| query(view, store))
    }

    fn asked<T>(&self, filled: &Filled, query: impl FnOnce(&dyn Store) -> Result<T, Error>) -> Result<T, Error> {
        let counted = Counted::over(&*filled.store);
        let answer = query(&counted);
        self.questions.fetch_add(1, Ordering::Relaxed);
        self.rows_read.fetch_add(counted.rows(), Ordering::Relaxed);
        answer
    }

    /// Questions that were asked, and rows that were read for them.
    pub(crate) fn reads(&self) -> (u64, u64) {
        (self.questions.load(Ordering::Relaxed), self.rows_read.load(Ordering::Relaxed))
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&Filled) -> T) -> T {
        look(&self.held.read().filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{Rows, decode};
    use crate::store::{Memory, Order, scan_prefix};
    use crate::testing::{List, ingested};
    use std::ops::ControlFlow;

    static SUMMED: Projection = Projection::new("summed", 1, sum).viewed(load);

    fn sum(event: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
        *rows.edit::<u64>("test", &[1, (event.position.get() % 5) as u8])? += event.position.get();
        Ok(())
    }

    /// The rows as they are, kept in memory.
    #[derive(Default)]
    struct Sums([u64; 5]);

    impl View for Sums {
        fn take(&mut self, changes: &Changes) -> Result<(), Error> {
            for (key, value) in changes.under(&[1]) {
                self.0[key[1] as usize] = decode("test", value.unwrap())?;
                if self.0[key[1] as usize] == 21 + 16 + 11 + 6 + 1 {
                    return Err(Error::row("test", "a view that cannot go on"));
                }
            }
            Ok(())
        }
    }

    fn load(store: &dyn Store) -> Result<Box<dyn View>, Error> {
        let mut sums = Sums::default();
        scan_prefix(store, &[1], Order::Ascending, &mut |key, value| {
            sums.0[key[1] as usize] = decode("test", value)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Box::new(sums))
    }

    fn viewed(live: &Live) -> u64 {
        live.read_view(|sums: &Sums, store| {
            let mut from_rows = 0;
            scan_prefix(store, &[1], Order::Ascending, &mut |_, value| {
                from_rows += decode::<u64>("test", value)?;
                Ok(ControlFlow::Continue(()))
            })?;
            assert_eq!(from_rows, sums.0.iter().sum::<u64>(), "view and rows are of one age");
            Ok(from_rows)
        })
        .unwrap()
    }

    #[test]
    fn a_view_is_loaded_when_asked_for_and_stays_in_step() {
        let live = Live::new(&SUMMED, Filled::over(Box::new(Memory::default())).unwrap());
        let events = List::of((0..200).map(ingested)).all();
        live.apply(&events[..7]).unwrap();
        assert!(live.held.read().view.is_none());
        assert_eq!(viewed(&live), 28);
        for (index, event) in events.iter().enumerate().skip(7) {
            live.apply(std::slice::from_ref(event)).unwrap();
            // At one of the events the view gives up, and is there again for the next question.
            assert_eq!(viewed(&live), ((index + 1) * (index + 2) / 2) as u64);
        }
        let (questions, rows) = live.reads();
        assert_eq!((questions, rows), (194, 194 * 5));

        let mut other = Filled::over(Box::new(Memory::default())).unwrap();
        crate::projection::fill(&SUMMED, &mut other, &events[..10]).unwrap();
        live.swap(other).unwrap();
        assert!(live.held.read().view.is_some(), "what was in use before the swap is there after it");
        assert_eq!(viewed(&live), 55);
    }

    #[test]
    fn readers_see_whole_batches_while_one_writes() {
        let live = Live::new(&SUMMED, Filled::over(Box::new(Memory::default())).unwrap());
        let events = List::of((0..2_000).map(ingested)).all();
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut last = 0;
                        while last < 2_000 * 2_001 / 2 {
                            let now = viewed(&live);
                            assert!(now >= last);
                            last = now;
                        }
                    })
                })
                .collect();
            events.chunks(7).for_each(|batch| live.apply(batch).unwrap());
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }

    #[test]
    fn content_may_be_digested_whatever_its_layout() {
        static BY_CONTENT: Projection = Projection::new("summed", 1, sum).digested(digest);
        fn digest(store: &dyn Store, digest: &mut blake3::Hasher) -> Result<(), Error> {
            let mut total = 0;
            scan_prefix(store, &[1], Order::Ascending, &mut |_, value| {
                total += decode::<u64>("test", value)?;
                Ok(ControlFlow::Continue(()))
            })?;
            digest.update(&total.to_le_bytes());
            Ok(())
        }
        let one = Filled::over(Box::new(Memory::default())).unwrap();
        let other = Filled::over(Box::new(Memory::default())).unwrap();
        let put = |key: u8, value: u64| (vec![1, key], Some(crate::projection::encode(&value)));
        one.store.commit(&Changes::of([put(1, 5), put(2, 6)])).unwrap();
        other.store.commit(&Changes::of([put(1, 11)])).unwrap();
        assert_eq!(one.digest(&BY_CONTENT).unwrap(), other.digest(&BY_CONTENT).unwrap());
        assert_ne!(one.digest(&SUMMED).unwrap(), other.digest(&SUMMED).unwrap());
    }
}
