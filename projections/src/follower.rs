//! Moves the projections along the log: catching up in batches, following in the background, waiting for a position,
//! rebuilding beside the store in use.

use crate::Error;
use crate::events::Events;
use crate::home::Home;
use crate::projection::{Filled, Live, Projection, Watermark, fill};
use crate::store::Memory;
use cairn_schemas::Position;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events read at a time.
const EVENTS_MAX: usize = 1_000;
/// Events applied without an explicit sync; fewer are left to the stores' own background sync. What a crash takes is
/// applied again.
const UNSYNCED_MAX: u64 = 1_000;
/// How long a following thread waits before it looks whether it should stop.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How far the following thread stands back where processors are short: producers wait for the ledger, and whoever waits
/// for a projection applies what is missing.
const FOLLOW_NICENESS: i32 = 10;
/// How long a following thread rests after an error.
const REST: Duration = Duration::from_secs(1);

/// The projections of one log, and the only writer of their stores.
pub(crate) struct Follower {
    events: Box<dyn Events>,
    lives: Vec<Arc<Live>>,
    /// `None`: the stores go away with the process.
    home: Option<Home>,
    /// Held by whoever applies.
    turn: Mutex<()>,
    unsynced: AtomicU64,
}

impl Follower {
    pub(crate) fn open(
        events: Box<dyn Events>,
        home: Option<Home>,
        projections: &'static [&'static Projection],
    ) -> Result<Self, Error> {
        let mut lives = Vec::with_capacity(projections.len());
        let mut replaced = false;
        for &projection in projections {
            let (filled, is_new) = match &home {
                None => (Filled::over(Box::new(Memory::default()))?, false),
                Some(home) => store_of(projection, home, &*events)?,
            };
            replaced |= is_new;
            lives.push(Arc::new(Live::new(projection, filled)));
        }
        let follower = Self { events, lives, home, turn: Mutex::new(()), unsynced: AtomicU64::new(0) };
        if replaced {
            follower.catch_up()?;
        }
        Ok(follower)
    }

    pub(crate) fn lives(&self) -> &[Arc<Live>] {
        &self.lives
    }

    /// The position that all projections have reached.
    pub(crate) fn reached(&self) -> Option<Position> {
        self.lives.iter().map(|live| live.watermark().map(|w| w.position)).min().flatten()
    }

    pub(crate) fn catch_up(&self) -> Result<(), Error> {
        let Some(head) = self.events.head() else { return Ok(()) };
        let _turn = self.turn.lock();
        self.apply_up_to(head)
    }

    /// A projection that cannot go on does not hold up the others; its error is returned after they are done.
    fn apply_up_to(&self, head: Position) -> Result<(), Error> {
        let mut failed = None;
        let mut going: Vec<&Arc<Live>> = self.lives.iter().collect();
        let behind = |live: &&Arc<Live>| live.with(Filled::next).filter(|next| *next <= head);
        while let Some(from) = going.iter().filter_map(behind).min() {
            let events = self.events.read(from, EVENTS_MAX)?;
            if events.is_empty() {
                break;
            }
            going.retain(|live| match live.apply(&events) {
                Ok(()) => true,
                Err(error) => {
                    failed.get_or_insert(error);
                    false
                }
            });
            self.unsynced.fetch_add(events.len() as u64, Ordering::Relaxed);
        }
        if self.unsynced.load(Ordering::Relaxed) >= UNSYNCED_MAX {
            self.unsynced.store(0, Ordering::Relaxed);
            for live in &self.lives {
                live.read(|store| store.sync())?;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Returns once all projections hold `position`, applying what is missing if nobody else does.
    pub(crate) fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            let reached = self.reached();
            if reached >= Some(position) {
                return Ok(());
            }
            let left = timeout.saturating_sub(started.elapsed());
            let head = self.events.head();
            if head < Some(position) {
                if left.is_zero() {
                    return Err(Error::Beyond { position, head: shown(head), waited: timeout });
                }
                self.events.wait_past(head, left);
                continue;
            }
            let Some(_turn) = self.turn.try_lock_for(left) else {
                return Err(Error::Late { position, reached: shown(reached), waited: timeout });
            };
            self.apply_up_to(position)?;
        }
    }

    /// Rebuilds one projection: fills a new store while the old one answers and goes on, then swaps them.
    pub(crate) fn rebuild(&self, live: &Live, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<(), Error> {
        let projection = live.projection;
        let (mut filled, name) = match &self.home {
            None => (Filled::over(Box::new(Memory::default()))?, None),
            Some(home) => {
                let room = home.next(projection)?;
                (room.filled, Some(room.name))
            }
        };
        let total = self.events.head().map_or(0, Position::get);
        progress(projection.name, 0, total);
        while let Some(done) = self.fill_some(projection, &mut filled)? {
            progress(projection.name, done, total.max(done));
        }
        let _turn = self.turn.lock();
        while self.fill_some(projection, &mut filled)?.is_some() {}
        filled.store.sync()?;
        if let (Some(home), Some(name)) = (&self.home, &name) {
            home.adopt(projection, name)?;
        }
        drop(live.swap(filled)?);
        if let (Some(home), Some(name)) = (&self.home, &name) {
            home.sweep(projection, name)?;
        }
        Ok(())
    }

    /// Applies one more batch; the position reached, `None` at the head.
    fn fill_some(&self, projection: &Projection, filled: &mut Filled) -> Result<Option<u64>, Error> {
        let Some(from) = filled.next().filter(|next| Some(*next) <= self.events.head()) else { return Ok(None) };
        let events = self.events.read(from, EVENTS_MAX)?;
        fill(projection, filled, &events)?;
        Ok(events.last().map(|event| event.position.get()))
    }

    /// Catches up whenever the log grows, until told to stop.
    fn follow(&self, stop: &AtomicBool) {
        // On Linux this is the thread's own niceness. Where it cannot be set, the thread follows all the same.
        let _ = rustix::process::setpriority_process(None, FOLLOW_NICENESS);
        while !stop.load(Ordering::Relaxed) {
            let reached = self.reached();
            if self.events.wait_past(reached, WAIT_MAX) <= reached {
                continue;
            }
            if !self.events.has_room() {
                tracing::warn!("the disk is nearly full: projections wait for room, events are still recorded");
            } else if let Err(error) = self.catch_up() {
                tracing::error!(%error, "a projection does not follow");
            } else {
                continue;
            }
            let rest = Instant::now();
            while rest.elapsed() < REST && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(WAIT_MAX);
            }
        }
    }
}

fn shown(position: Option<Position>) -> String {
    position.map_or_else(|| "no position".to_owned(), |position| format!("position {position}"))
}

/// The store in use, or a new one where there is none, its version is another, or it followed another log. Says
/// whether an old one was given up, so that it is rebuilt at once.
fn store_of(projection: &'static Projection, home: &Home, events: &dyn Events) -> Result<(Filled, bool), Error> {
    if let Some(room) = home.live(projection)? {
        if follows(&room.filled, events)? {
            home.sweep(projection, &room.name)?;
            return Ok((room.filled, false));
        }
        tracing::warn!(projection = projection.name, "the store does not belong to this ledger and will be rebuilt");
    }
    let was_there = home.has_pointer(projection);
    let room = home.next(projection)?;
    home.adopt(projection, &room.name)?;
    home.sweep(projection, &room.name)?;
    Ok((room.filled, was_there))
}

/// Whether the event at the watermark is the one that was applied there.
fn follows(filled: &Filled, events: &dyn Events) -> Result<bool, Error> {
    let Some(watermark) = filled.watermark else { return Ok(true) };
    if events.head() < Some(watermark.position) {
        return Ok(false);
    }
    let found = events.read(watermark.position, 1)?;
    Ok(found.first().is_some_and(|event| Watermark::of(event) == watermark))
}

/// A thread that keeps the projections at the head; it ends when this is dropped.
pub struct FollowHandle {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FollowHandle {
    pub(crate) fn start(follower: &Arc<Follower>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (follower, told) = (follower.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("projections".into())
            .spawn(move || follower.follow(&told))
            .expect("the system gives a thread");
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for FollowHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the following thread had panicked");
        }
    }
}
