//! Moves events into projections. Many at once are read and decoded once, and handed in batches to one thread a
//! projection; few are applied where they are read, so that a new event is seen soon.

use crate::Error;
use crate::events::Events;
use crate::live::Live;
use crate::projection::Filled;
use cairn_schemas::{Position, Recorded};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Events read at a time; the ledger gives fewer where they are large.
const EVENTS_MAX: usize = 16_384;
/// Events up to which threads are not worth their start.
const FEW: u64 = 2_000;
/// Batches that may wait for one projection while others are behind it: a bound on memory.
const WAITING_MAX: usize = 1;

/// Told after each batch that was read; answers whether to go on.
pub(crate) type Watch<'a> = &'a mut dyn FnMut() -> bool;

/// Applies what `lives` lack up to `until`. One that cannot go on does not hold up the others: its error is returned
/// after they are done.
pub(crate) fn pump(events: &dyn Events, lives: &[&Live], until: Position, watch: Watch<'_>) -> Result<(), Error> {
    let behind: Vec<&Live> = lives.iter().copied().filter(|live| next(live, until).is_some()).collect();
    let Some(from) = behind.iter().filter_map(|live| next(live, until)).min() else { return Ok(()) };
    match until.get() - from.get() < FEW {
        true => here(events, behind, until, watch),
        false => beside(events, &behind, from, until, watch),
    }
}

/// The position that a projection needs next, unless it is past `until`.
fn next(live: &Live, until: Position) -> Option<Position> {
    live.with(Filled::next).filter(|next| *next <= until)
}

fn here(events: &dyn Events, mut lives: Vec<&Live>, until: Position, watch: Watch<'_>) -> Result<(), Error> {
    let mut failed = None;
    while let Some(from) = lives.iter().filter_map(|live| next(live, until)).min() {
        let batch = events.read(from, count(from, until))?;
        if batch.is_empty() {
            break;
        }
        lives.retain(|live| match live.apply(&batch) {
            Ok(()) => true,
            Err(error) => {
                failed.get_or_insert(error);
                false
            }
        });
        if !watch() {
            break;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// How a projection is reached while its thread applies.
struct Lane<'scope> {
    /// `None` once it has ended, by an error.
    sender: Option<SyncSender<Arc<Vec<Recorded>>>>,
    thread: ScopedJoinHandle<'scope, Result<(), Error>>,
}

impl<'scope> Lane<'scope> {
    fn start<'env>(scope: &'scope Scope<'scope, 'env>, live: &'env Live) -> Self {
        let (sender, batches) = sync_channel::<Arc<Vec<Recorded>>>(WAITING_MAX);
        let apply = move || batches.iter().try_for_each(|batch| live.apply(&batch));
        let thread = Builder::new().name(live.projection.name.to_owned()).spawn_scoped(scope, apply);
        Self { sender: Some(sender), thread: thread.expect("the system gives a thread") }
    }
    /// Says whether the projection still takes batches.
    fn send(&mut self, batch: &Arc<Vec<Recorded>>) -> bool {
        if self.sender.as_ref().is_some_and(|sender| sender.send(batch.clone()).is_err()) {
            self.sender = None;
        }
        self.sender.is_some()
    }
}

fn beside(
    events: &dyn Events,
    lives: &[&Live],
    from: Position,
    until: Position,
    watch: Watch<'_>,
) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let mut lanes: Vec<Lane<'_>> = lives.iter().map(|live| Lane::start(scope, live)).collect();
        let mut from = Some(from);
        let mut read = || -> Result<(), Error> {
            while let Some(at) = from.filter(|at| *at <= until) {
                let batch = Arc::new(events.read(at, count(at, until))?);
                let Some(last) = batch.last() else { break };
                from = last.position.next();
                let mut going = false;
                for lane in &mut lanes {
                    going |= lane.send(&batch);
                }
                if !going || !watch() {
                    break;
                }
            }
            Ok(())
        };
        let read = read();
        let mut failed = None;
        for lane in lanes {
            drop(lane.sender);
            let applied = lane.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            failed = failed.or(applied.err());
        }
        read.and(failed.map_or(Ok(()), Err))
    })
}

fn count(from: Position, until: Position) -> usize {
    usize::try_from(until.get() - from.get() + 1).unwrap_or(usize::MAX).min(EVENTS_MAX)
}
