//! Moves the projections along the log: catching up in batches, following in the background, waiting for a position.

use crate::Error;
use crate::events::Events;
use crate::home::Home;
use crate::live::Live;
use crate::projection::{Filled, Projection};
use crate::pump::{Watch, pump};
use crate::rebuild;
use crate::store::Memory;
use cairn_schemas::Position;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events applied without an explicit sync; fewer are left to the stores' own background sync. What a crash takes is
/// applied again.
const UNSYNCED_MAX: u64 = 100_000;
/// How long a following thread waits before it looks whether it should stop.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How far the following thread stands back where processors are short: producers wait for the ledger, and whoever waits
/// for a projection applies what is missing.
const FOLLOW_NICENESS: i32 = 10;
/// How long a following thread rests after an error.
const REST: Duration = Duration::from_secs(1);

/// The projections of one log, and the only writer of their stores.
pub(crate) struct Follower {
    pub(crate) events: Box<dyn Events>,
    pub(crate) lives: Vec<Arc<Live>>,
    /// `None`: the stores go away with the process.
    pub(crate) home: Option<Home>,
    /// Held by whoever applies to the stores in use.
    pub(crate) turn: Mutex<()>,
    /// Held by whoever fills stores that are not in use yet; taken before `turn`.
    pub(crate) building: Mutex<()>,
    unsynced: AtomicU64,
}

impl Follower {
    /// Opens the stores. Those that cannot be used, or are not there, are filled by [`catch_up`](Self::catch_up), by
    /// whoever waits for a position, or in the background while following.
    pub(crate) fn open(
        events: Box<dyn Events>,
        home: Option<Home>,
        projections: &'static [&'static Projection],
    ) -> Result<Self, Error> {
        let mut lives = Vec::with_capacity(projections.len());
        for &projection in projections {
            lives.push(Arc::new(match &home {
                None => Live::new(projection, Filled::over(Box::new(Memory::default()))?),
                Some(home) => rebuild::open(projection, home, &*events)?,
            }));
        }
        let (turn, building, unsynced) = Default::default();
        Ok(Self { events, lives, home, turn, building, unsynced })
    }

    pub(crate) fn head(&self) -> Option<Position> {
        self.events.head()
    }

    pub(crate) fn lives(&self) -> &[Arc<Live>] {
        &self.lives
    }

    /// The position that all projections have reached.
    pub(crate) fn reached(&self) -> Option<Position> {
        self.lives.iter().map(|live| live.watermark().map(|w| w.position)).min().flatten()
    }

    /// Applies everything up to the head as it is now, and fills stores that are still to be filled.
    pub(crate) fn catch_up(&self) -> Result<(), Error> {
        let followed = self.follow_once(&mut || true);
        self.fill(&mut || true).and(followed)
    }

    /// Brings the stores in use to the head as it is now.
    fn follow_once(&self, watch: Watch<'_>) -> Result<(), Error> {
        let Some(head) = self.events.head() else { return Ok(()) };
        let _turn = self.turn.lock();
        self.apply_up_to(head, watch)
    }

    /// A projection that cannot go on does not hold up the others; its error is returned after they are done.
    fn apply_up_to(&self, head: Position, watch: Watch<'_>) -> Result<(), Error> {
        let in_use = || self.lives.iter().map(|live| &**live).filter(|live| !live.is_unfinished());
        let stopped = in_use().find_map(Live::stopped);
        let going: Vec<&Live> = in_use().filter(|live| live.stopped().is_none()).collect();
        let reached = |live: &Live| live.watermark().map_or(0, |w| w.position.get());
        let before = going.iter().map(|live| reached(live)).min().unwrap_or(head.get());
        let pumped = pump(&*self.events, &going, head, watch);
        let applied = self.unsynced.fetch_add(head.get().saturating_sub(before), Ordering::Relaxed);
        if applied >= UNSYNCED_MAX {
            self.unsynced.store(0, Ordering::Relaxed);
            for live in going {
                live.with(|filled| filled.store.sync())?;
            }
        }
        pumped.and(stopped.map_or(Ok(()), Err))
    }

    /// Returns once all projections hold `position`, applying what is missing if nobody else does.
    pub(crate) fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            let reached = self.reached();
            if reached >= Some(position) && !self.lives.iter().any(|live| live.is_unfinished()) {
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
            let late = || Error::Late { position, reached: shown(reached), waited: timeout };
            let turn = self.turn.try_lock_for(left).ok_or_else(late)?;
            self.apply_up_to(position, &mut || true)?;
            drop(turn);
            if self.lives.iter().any(|live| live.is_unfinished()) {
                // Whoever fills has it until all is filled. Those that are in use wait for no other's rebuild.
                let left = timeout.saturating_sub(started.elapsed());
                let _building = self.building.try_lock_for(left).ok_or_else(late)?;
                self.fill_alone(&mut || true)?;
            }
        }
    }

    /// Catches up whenever the log grows, until told to stop.
    fn follow(&self, stop: &AtomicBool) {
        stand_back();
        while !stop.load(Ordering::Relaxed) {
            let reached = self.reached_in_use();
            if self.events.wait_past(reached, WAIT_MAX) <= reached {
                continue;
            }
            if !self.events.has_room() {
                tracing::warn!("the disk is nearly full: projections wait for room, events are still recorded");
            } else {
                match self.follow_once(&mut || !stop.load(Ordering::Relaxed)) {
                    Err(error) if error.is_transient() => tracing::error!(%error, "a projection does not follow"),
                    // One that stopped has said so, and the others go on.
                    _ => continue,
                }
            }
            rest(stop);
        }
    }

    /// The position that all have reached that are in use and can go on; the head where none is.
    fn reached_in_use(&self) -> Option<Position> {
        let going = self.lives.iter().filter(|live| !live.is_unfinished() && live.stopped().is_none());
        going.map(|live| live.watermark().map(|w| w.position)).min().unwrap_or_else(|| self.events.head())
    }

    /// Fills what is to be filled, moves stores to the engine that they should be on, and has views loaded.
    fn build(&self, stop: &AtomicBool) {
        stand_back();
        let going = || !stop.load(Ordering::Relaxed);
        while going() {
            match self.build_once(&|| going() && self.events.has_room()) {
                Ok(()) if self.events.has_room() => return,
                Ok(()) => tracing::warn!("the disk is nearly full: new stores wait for room"),
                Err(error) => tracing::error!(%error, "a projection's store cannot be built yet"),
            }
            rest(stop);
        }
    }

    /// A projection that stops at an event has said so and is not tried again.
    fn build_once(&self, going: &dyn Fn() -> bool) -> Result<(), Error> {
        let unless_stopped = |done: Result<(), Error>| match done {
            Err(error) if !error.is_transient() => Ok(()),
            other => other,
        };
        unless_stopped(self.fill(&mut || going()))?;
        for live in &self.lives {
            let engine = live.with(|filled| filled.store.engine());
            let wanted = self.home.as_ref().map_or(engine, |home| home.engine(self.events.head()));
            if wanted != engine && going() {
                tracing::info!(projection = live.projection.name, to = wanted.name(), "the store changes its engine");
                unless_stopped(self.rebuild(std::slice::from_ref(live), None, &mut |_, _, _| going()).map(drop))?;
            }
            if going() {
                live.load_view()?;
            }
        }
        Ok(())
    }
}

/// On Linux this is the thread's own niceness. Where it cannot be set, the thread goes on all the same.
fn stand_back() {
    let _ = rustix::process::setpriority_process(None, FOLLOW_NICENESS);
}

fn rest(stop: &AtomicBool) {
    let began = Instant::now();
    while began.elapsed() < REST && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(WAIT_MAX);
    }
}

fn shown(position: Option<Position>) -> String {
    position.map_or_else(|| "no position".to_owned(), |position| format!("position {position}"))
}

/// Threads that keep the projections at the head and fill new stores; they end when this is dropped.
pub struct FollowHandle {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl FollowHandle {
    pub(crate) fn start(follower: &Arc<Follower>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |name: &str, run: fn(&Follower, &AtomicBool)| {
            let (follower, stop) = (follower.clone(), stop.clone());
            let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&follower, &stop));
            thread.expect("the system gives a thread")
        };
        let threads = vec![start("projections", Follower::follow), start("stores", Follower::build)];
        Self { stop, threads }
    }
}

impl Drop for FollowHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the projections had panicked");
            }
        }
    }
}
