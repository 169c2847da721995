//! The one thread that writes: drains what waits, commits it log by log, answers, and signs checkpoints soon after.

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::error::Error;
use crate::event::Prepared;
use crate::log::Log;
use crate::placement::Appended;
use crate::queue::{Drained, Queue};
use crate::seal::seal_full;
use crate::storage::{Access, write_whole};
use crate::writer::{Committed, GroupFailure};
use cairn_schemas::Clock;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};

/// Payload bytes committed by one write and one sync.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// What callers ask of the sequencer.
pub(crate) enum Request {
    Append { log: Arc<Log>, batch: Vec<Prepared>, reply: Reply },
    Checkpoint { log: Arc<Log>, reply: SyncSender<Result<SignedCheckpoint, Error>> },
}

/// Where a batch's outcome goes.
type Reply = SyncSender<Result<Vec<Appended>, Error>>;

/// Batches of one log that are committed together.
struct Group {
    log: Arc<Log>,
    batches: Vec<Vec<Prepared>>,
    replies: Vec<Reply>,
}

/// What the sequencer shares with the callers.
pub(crate) struct Shared {
    pub(crate) queue: Queue<Request>,
    /// Why the writer ended for good, once it has.
    ended: Mutex<Option<String>>,
    advanced: Advanced,
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
        Self { queue: Queue::new(queue_bytes_max), ended: Mutex::new(None), advanced: Advanced::default() }
    }
    pub(crate) fn advanced(&self) -> &Advanced {
        &self.advanced
    }
    /// What a caller is told whose request the sequencer did not take.
    pub(crate) fn refusal(&self) -> Error {
        let why = self.ended.lock().clone().unwrap_or_else(|| "the ledger was closed".into());
        Error::WriterEnded { why }
    }
    fn end(&self, why: &str) {
        self.ended.lock().get_or_insert_with(|| why.to_owned());
        self.queue.close();
        self.advanced.tell();
    }
}

pub(crate) struct Sequencer {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    checkpoint_delay: Duration,
    /// Logs whose checkpoint lags, and when it is due.
    lagging: Vec<Arc<Log>>,
    due: Option<Instant>,
    to_seal: Sender<Arc<Log>>,
}

/// Ends the writer if its thread dies, so that callers do not wait for ever.
struct EndOnPanic(Arc<Shared>);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end("the writer's thread failed");
        }
    }
}

/// Body of the sealer's thread.
pub(crate) fn run_sealer(logs: Receiver<Arc<Log>>) {
    for log in logs {
        if let Err(e) = seal_full(&log) {
            tracing::warn!(log = %log.id, error = %e, "a full segment could not be sealed; the next seal tries again");
        }
    }
}

impl Sequencer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        checkpoint_delay: Duration,
        to_seal: Sender<Arc<Log>>,
    ) -> Self {
        Self { shared, clock, checkpoint_delay, lagging: Vec::new(), due: None, to_seal }
    }

    /// Body of the sequencer's thread: runs until the queue is closed and drained.
    pub(crate) fn run(mut self) {
        let _guard = EndOnPanic(self.shared.clone());
        loop {
            match self.shared.queue.drain(GROUP_BYTES_MAX, self.due) {
                Drained::Some(requests) => self.serve(requests),
                Drained::Late => {}
                Drained::Closed => break,
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.write_lagging();
            }
        }
        if self.shared.ended.lock().is_none() {
            self.write_lagging();
        }
    }

    fn serve(&mut self, requests: Vec<Request>) {
        let mut groups: Vec<Group> = Vec::new();
        let mut checkpoints = Vec::new();
        for request in requests {
            match request {
                Request::Checkpoint { log, reply } => checkpoints.push((log, reply)),
                Request::Append { log, batch, reply } => {
                    let index = groups.iter().position(|group| Arc::ptr_eq(&group.log, &log)).unwrap_or_else(|| {
                        groups.push(Group { log, batches: Vec::new(), replies: Vec::new() });
                        groups.len() - 1
                    });
                    groups[index].batches.push(batch);
                    groups[index].replies.push(reply);
                }
            }
        }
        for group in groups {
            self.commit(group);
        }
        for (log, reply) in checkpoints {
            let outcome =
                if self.shared.ended.lock().is_some() { Err(self.shared.refusal()) } else { write_checkpoint(&log) };
            // A caller that has gone needs no answer.
            let _ = reply.send(outcome);
        }
    }

    fn commit(&mut self, Group { log, batches, replies }: Group) {
        if self.shared.ended.lock().is_some() {
            replies.into_iter().for_each(|reply| drop(reply.send(Err(self.shared.refusal()))));
            return;
        }
        let writing = log.writing.as_ref().expect("only logs open for writing are sent here");
        let committed = writing.writer.lock().commit(&log, &writing.mac_keys, &batches, self.clock.now());
        match committed {
            Ok(Committed { outcomes, rotated }) => {
                self.shared.advanced.tell();
                self.lag(&log);
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // A caller that has gone needs no answer.
                    let _ = reply.send(outcome);
                }
                if rotated {
                    // The sealer lives as long as this sender.
                    let _ = self.to_seal.send(log);
                }
            }
            Err(failure) => self.fail(&failure, replies),
        }
    }

    fn fail(&self, failure: &GroupFailure, replies: Vec<Reply>) {
        if let GroupFailure::Unknown { why } = failure {
            tracing::error!(why, "the writer ends: what is on the disk is not known");
            self.shared.end(why);
        }
        for reply in replies {
            let _ = reply.send(Err(match failure {
                GroupFailure::DiskFull { bytes, path } => Error::DiskFull { bytes: *bytes, path: path.clone() },
                GroupFailure::Unknown { why } => Error::OutcomeUnknown { why: why.clone() },
            }));
        }
    }

    fn lag(&mut self, log: &Arc<Log>) {
        if !self.lagging.iter().any(|known| Arc::ptr_eq(known, log)) {
            self.lagging.push(log.clone());
        }
        self.due.get_or_insert_with(|| Instant::now() + self.checkpoint_delay);
    }

    fn write_lagging(&mut self) {
        for log in std::mem::take(&mut self.lagging) {
            if let Err(e) = write_checkpoint(&log) {
                tracing::warn!(log = %log.id, error = %e, "a checkpoint could not be written; the next commit tries again");
            }
        }
        self.due = None;
    }
}

/// Signs and stores the checkpoint of what is durable, if the stored one lags behind it.
fn write_checkpoint(log: &Log) -> Result<SignedCheckpoint, Error> {
    let writing = log.writing.as_ref().expect("only logs open for writing are sent here");
    let (size, root) = writing.writer.lock().size_and_root();
    let current = log.view.read().checkpoint.clone();
    if current.checkpoint.size == size {
        return Ok(current);
    }
    let origin = log.verifier.origin().to_owned();
    let signed = Checkpoint { origin, size, root }.sign(&writing.signer);
    let path = log.files.layout.checkpoint();
    write_whole(&*log.files.disk, &path, Access::Default, signed.note.as_bytes())?;
    log.view.write().checkpoint = signed.clone();
    Ok(signed)
}
