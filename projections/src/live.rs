//! A projection in use: its store, shared between one writer and many readers, and what it keeps in memory of its rows.
//! A reader sees whole batches only, and a view that is in step with the rows beside it.

use crate::Error;
use crate::projection::{Batch, Filled, Projection, Watermark};
use crate::status::{Noted, ProjectionStatus};
use crate::store::{Changes, Counted, Store};
use cairn_schemas::{Position, Recorded};
use parking_lot::{Mutex, RwLock, RwLockUpgradableReadGuard, RwLockWriteGuard};
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
    noted: Mutex<Noted>,
    /// Questions asked, and rows that they read.
    questions: AtomicU64,
    rows_read: AtomicU64,
}

struct Held {
    filled: Filled,
    /// `None` until it is asked for.
    view: Option<Box<dyn View>>,
    /// The store's name in its home; `None`: it lies in memory.
    name: Option<String>,
    /// It is filled for the first time: nothing is answered from it yet.
    is_unfinished: bool,
    /// A commit failed, and may be in the store all the same: what is there must be read before more is applied.
    is_uncertain: bool,
}

impl Held {
    fn commit(&mut self, projection: &Projection, batch: &Batch) -> Result<(), Error> {
        let Some(watermark) = batch.watermark else { return Ok(()) };
        if let Err(error) = self.filled.store.commit(&batch.changes) {
            (self.is_uncertain, self.view) = (true, None);
            return Err(error);
        }
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
    /// Over a store in memory.
    pub(crate) fn new(projection: &'static Projection, filled: Filled) -> Self {
        Self::over(projection, Held { filled, view: None, name: None, is_unfinished: false, is_uncertain: false })
    }

    /// Over a store that its home calls `name`.
    pub(crate) fn named(projection: &'static Projection, filled: Filled, name: String) -> Self {
        Self::over(projection, Held { filled, view: None, name: Some(name), is_unfinished: false, is_uncertain: false })
    }

    /// A projection whose store is still to be filled: it answers once it is [finished](Self::finish).
    pub(crate) fn unfinished(projection: &'static Projection, filled: Filled, name: String, total: u64) -> Self {
        let done = filled.watermark.map_or(0, |w| w.position.get());
        let live = Self::over(
            projection,
            Held { filled, view: None, name: Some(name), is_unfinished: true, is_uncertain: false },
        );
        live.note_rebuilding(Some((done, total)));
        live
    }

    fn over(projection: &'static Projection, held: Held) -> Self {
        let (noted, questions, rows_read) = Default::default();
        Self { projection, held: RwLock::new(held), noted, questions, rows_read }
    }

    /// Whether the store is still being filled for the first time.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.held.read().is_unfinished
    }

    /// The store's name in its home; `None`: it lies in memory.
    pub(crate) fn store_name(&self) -> Option<String> {
        self.held.read().name.clone()
    }

    /// Answers from now on.
    pub(crate) fn finish(&self) {
        self.held.write().is_unfinished = false;
        self.note_rebuilding(None);
    }

    pub(crate) fn note_rebuilding(&self, progress: Option<(u64, u64)>) {
        self.noted.lock().rebuilding = progress;
    }

    /// The error of the event that it stands before, if it met one that it cannot apply.
    pub(crate) fn stopped(&self) -> Option<Error> {
        let (position, why) = self.noted.lock().stopped.clone()?;
        Some(Error::Stopped { projection: self.projection.name, position, why })
    }

    pub(crate) fn status(&self, head: Option<Position>) -> ProjectionStatus {
        let (engine, answers, watermark) = {
            let held = self.held.read();
            (held.filled.store.engine(), !held.is_unfinished, held.filled.watermark.map(|w| w.position))
        };
        let noted = self.noted.lock().clone();
        noted.status((self.projection.name, self.projection.version), engine, answers, watermark, head)
    }

    pub(crate) fn watermark(&self) -> Option<Watermark> {
        self.held.read().filled.watermark
    }

    /// Applies those of `events` that come next. Callers take turns: there is one writer.
    pub(crate) fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        if self.held.read().is_uncertain {
            let mut held = self.held.write();
            held.filled.read_watermark()?;
            held.is_uncertain = false;
        }
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
                if let Error::Stopped { position, why, .. } = &error {
                    tracing::error!(%error, "the projection stops; the others go on");
                    self.noted.lock().stopped = Some((*position, why.clone()));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Puts a rebuilt store in the place of the old one, which is given back. A view that was in use is loaded from the
    /// new rows before, so that nobody waits for it.
    pub(crate) fn swap(&self, rebuilt: Live) -> Result<Filled, Error> {
        let is_viewed = self.held.read().view.is_some();
        let Held { filled, name, .. } = rebuilt.held.into_inner();
        let view = match self.projection.view {
            Some(load) if is_viewed => Some(load(&*filled.store)?),
            _ => None,
        };
        let held = Held { filled, view, name, is_unfinished: false, is_uncertain: false };
        let old = std::mem::replace(&mut *self.held.write(), held);
        *self.noted.lock() = Noted::default();
        Ok(old.filled)
    }

    pub(crate) fn read<T>(&self, query: impl FnOnce(&dyn Store) -> Result<T, Error>) -> Result<T, Error> {
        let held = self.held.read();
        self.check(&held)?;
        self.asked(&held.filled, query)
    }

    /// Asks the view, and the rows that it is of. It is loaded where nobody asked before; other readers go on meanwhile.
    pub(crate) fn read_view<V: View, T>(
        &self,
        query: impl FnOnce(&V, &dyn Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut held = self.held.read();
        self.check(&held)?;
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

    /// Has the view loaded before the first question comes, where there is one.
    pub(crate) fn load_view(&self) -> Result<(), Error> {
        let loading = self.held.upgradable_read();
        if let (Some(load), None, false) = (self.projection.view, &loading.view, loading.is_unfinished) {
            let view = load(&*loading.filled.store)?;
            RwLockUpgradableReadGuard::upgrade(loading).view = Some(view);
        }
        Ok(())
    }

    /// A store that is not filled yet answers nothing: its answers would be about a past that never was.
    fn check(&self, held: &Held) -> Result<(), Error> {
        if !held.is_unfinished {
            return Ok(());
        }
        let (done, total) = self.noted.lock().rebuilding.unwrap_or_default();
        Err(Error::Rebuilding { projection: self.projection.name, done, total })
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

        let other = Live::new(&SUMMED, Filled::over(Box::new(Memory::default())).unwrap());
        other.apply(&events[..10]).unwrap();
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
