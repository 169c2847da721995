//! The threads that write: each takes a log that batches wait for, commits them as one group, and answers.
//!
//! Logs are independent, so several are written at the same time; one log is run by at most one thread at a time.

use crate::error::Error;
use crate::event::PreparedBatch;
use crate::log::{Log, Writing};
use crate::placement::Appended;
use crate::queue::{Outcome, Room, Waiting};
use crate::writer::{Committed, GroupFailure};
use cairn_schemas::Clock;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Logs that are written at the same time. They wait for the disk, not for a core.
pub(crate) const WRITERS: usize = 16;
/// Bytes committed by one write and one sync.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// What the writers share with the callers.
pub(crate) struct Shared {
    pub(crate) room: Room,
    ready: Mutex<Ready>,
    some_ready: Condvar,
    /// Why the writers ended for good, once they have.
    ended: OnceLock<String>,
    advanced: Advanced,
}

/// Logs that batches wait for and no writer runs.
#[derive(Default)]
struct Ready {
    logs: VecDeque<Arc<Log>>,
    closed: bool,
}

/// Tells followers that some head moved.
#[derive(Default)]
pub(crate) struct Advanced {
    lock: Mutex<()>,
    moved: Condvar,
}

impl Advanced {
    fn tell(&self) {
        let _held = self.lock.lock();
        self.moved.notify_all();
    }

    /// Waits until `ready` gives something or the time is over.
    pub(crate) fn wait<T>(&self, timeout: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = Instant::now().checked_add(timeout);
        let mut held = self.lock.lock();
        loop {
            if let Some(found) = ready() {
                return Some(found);
            }
            match deadline {
                None => self.moved.wait(&mut held),
                Some(deadline) if self.moved.wait_until(&mut held, deadline).timed_out() => return ready(),
                Some(_) => {}
            }
        }
    }
}

impl Shared {
    pub(crate) fn new(queue_bytes_max: usize) -> Self {
        Self {
            room: Room::new(queue_bytes_max),
            ready: Mutex::default(),
            some_ready: Condvar::new(),
            ended: OnceLock::new(),
            advanced: Advanced::default(),
        }
    }

    pub(crate) fn advanced(&self) -> &Advanced {
        &self.advanced
    }

    /// What a caller is told once the writers have ended for good.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.ended.get().map(|why| Error::WriterEnded { why: why.clone() })
    }

    /// Hands a batch, for which room was taken, to its log's writer.
    pub(crate) fn submit(&self, log: &Arc<Log>, waiting: Waiting) -> Result<(), Error> {
        let bytes = waiting.bytes;
        match writing(log).inbox.push(waiting, || self.refusal()) {
            Ok(true) => self.schedule(log),
            Ok(false) => {}
            Err(refused) => {
                self.room.give_back(bytes, 1);
                return Err(refused);
            }
        }
        Ok(())
    }

    fn schedule(&self, log: &Arc<Log>) {
        let mut ready = self.ready.lock();
        if self.ended.get().is_some() {
            drop(ready);
            return self.refuse_waiting(log);
        }
        ready.logs.push_back(log.clone());
        drop(ready);
        self.some_ready.notify_one();
    }

    /// The next log to run, waiting for one; `None` once there will be no more. `run` is the log that the caller ran.
    fn next(&self, run: Option<Arc<Log>>) -> Option<Arc<Log>> {
        let more = run.filter(|log| writing(log).inbox.has_more());
        let mut ready = self.ready.lock();
        ready.logs.extend(more);
        loop {
            if let Some(log) = ready.logs.pop_front() {
                return Some(log);
            }
            if ready.closed {
                return None;
            }
            self.some_ready.wait(&mut ready);
        }
    }

    /// Ends all writing for good: what waits is refused, and so is what comes.
    pub(crate) fn end(&self, why: &str) {
        self.ended.get_or_init(|| why.to_owned());
        let ready = std::mem::take(&mut self.ready.lock().logs);
        ready.iter().for_each(|log| self.refuse_waiting(log));
        self.advanced.tell();
    }

    fn refuse_waiting(&self, log: &Log) {
        for Waiting { bytes, reply, .. } in writing(log).inbox.clear() {
            // A caller that has gone needs no answer.
            let _ = reply.send(Err(self.refusal().expect("the writers have ended")));
            self.room.give_back(bytes, 1);
        }
    }

    /// Lets the writers end once nothing waits any more.
    pub(crate) fn close(&self) {
        self.ready.lock().closed = true;
        self.some_ready.notify_all();
    }
}

pub(crate) fn writing(log: &Log) -> &Writing {
    log.writing.as_ref().expect("only logs open for writing are written to")
}

/// One of the writers.
#[derive(Clone)]
pub(crate) struct Sequencer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) to_sign: Sender<Arc<Log>>,
    pub(crate) to_seal: Sender<Arc<Log>>,
}

/// Ends the writers if a thread of theirs dies, so that callers do not wait for ever.
pub(crate) struct EndOnPanic {
    pub(crate) shared: Arc<Shared>,
    /// The log that the thread runs.
    pub(crate) log: Option<Arc<Log>>,
}

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.end("a thread of the writer failed");
            self.log.iter().for_each(|log| self.shared.refuse_waiting(log));
        }
    }
}

impl Sequencer {
    /// Body of a writer's thread: runs until the ledger is closed and nothing waits.
    pub(crate) fn run(self) {
        let mut guard = EndOnPanic { shared: self.shared.clone(), log: None };
        loop {
            guard.log = self.shared.next(guard.log.take());
            let Some(log) = &guard.log else { return };
            self.serve(log);
        }
    }

    fn serve(&self, log: &Arc<Log>) {
        if self.shared.ended.get().is_some() {
            return self.shared.refuse_waiting(log);
        }
        let taken = writing(log).inbox.take(GROUP_BYTES_MAX);
        let bytes = taken.iter().map(|waiting| waiting.bytes).sum();
        let (batches, replies): (Vec<_>, Vec<_>) =
            taken.into_iter().map(|Waiting { batch, reply, .. }| (batch, reply)).unzip();
        let count = replies.len();
        self.commit(log, &batches, replies);
        drop(batches);
        self.shared.room.give_back(bytes, count);
    }

    fn commit(&self, log: &Arc<Log>, batches: &[PreparedBatch], replies: Vec<oneshot::Sender<Outcome>>) {
        let writing = writing(log);
        let committed = writing.writer.lock().commit(log, &writing.mac_keys, batches, self.clock.now());
        match committed {
            Ok(Committed { outcomes, rotated }) => {
                self.shared.advanced.tell();
                answer(replies, outcomes);
                if !writing.signing.swap_due(true) {
                    // The signer and the sealer live as long as these senders.
                    let _ = self.to_sign.send(log.clone());
                }
                if rotated {
                    let _ = self.to_seal.send(log.clone());
                }
            }
            Err(failure) => self.fail(&failure, replies),
        }
    }

    fn fail(&self, failure: &GroupFailure, replies: Vec<oneshot::Sender<Outcome>>) {
        if let GroupFailure::Unknown { why } = failure {
            tracing::error!(why, "the writers end: what is on the disk is not known");
            self.shared.end(why);
        }
        let error = || match failure {
            GroupFailure::DiskFull { bytes, path } => Error::DiskFull { bytes: *bytes, path: path.clone() },
            GroupFailure::Unknown { why } => Error::OutcomeUnknown { why: why.clone() },
        };
        let failed = replies.iter().map(|_| Err(error())).collect();
        answer(replies, failed);
    }
}

fn answer(replies: Vec<oneshot::Sender<Outcome>>, outcomes: Vec<Result<Vec<Appended>, Error>>) {
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        // A caller that has gone needs no answer.
        let _ = reply.send(outcome);
    }
}
