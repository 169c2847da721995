//! Signs and stores checkpoints, beside the writers: soon after a commit, and at once where a caller asks for one.

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::error::Error;
use crate::log::Log;
use crate::sequencer::{EndOnPanic, Shared, writing};
use crate::storage::{Access, write_whole};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A log's part in signing.
#[derive(Default)]
pub(crate) struct Signing {
    /// Whether the signer knows that the checkpoint lags.
    due: AtomicBool,
    /// Held while a checkpoint is signed and stored: those who wait meanwhile share the next one.
    storing: Mutex<()>,
}

impl Signing {
    pub(crate) fn swap_due(&self, due: bool) -> bool {
        self.due.swap(due, Ordering::AcqRel)
    }
}

/// Body of the signer's thread: stores each log's checkpoint once, `delay` after it began to lag.
pub(crate) fn run_signer(shared: Arc<Shared>, lagging: Receiver<Arc<Log>>, delay: Duration) {
    let _guard = EndOnPanic { shared: shared.clone(), log: None };
    let mut waiting: VecDeque<(Instant, Arc<Log>)> = VecDeque::new();
    loop {
        let due = waiting.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let log = match due {
            None => lagging.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => lagging.recv_timeout(wait),
        };
        match log {
            Ok(log) => waiting.push_back((Instant::now() + delay, log)),
            Err(RecvTimeoutError::Timeout) => waiting.drain(..1).for_each(|(_, log)| store_lagging(&log)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // The ledger is being closed. What a failed writer left is for the next opening to judge.
    if shared.refusal().is_none() {
        waiting.iter().for_each(|(_, log)| store_lagging(log));
    }
}

fn store_lagging(log: &Log) {
    writing(log).signing.swap_due(false);
    if let Err(e) = store_checkpoint(log) {
        tracing::warn!(log = %log.id, error = %e, "a checkpoint could not be written; the next commit tries again");
    }
}

/// Signs and stores the checkpoint of what is durable now, unless the stored one covers it.
pub(crate) fn store_checkpoint(log: &Log) -> Result<SignedCheckpoint, Error> {
    let writing = writing(log);
    let _storing = writing.signing.storing.lock();
    let (size, root, current) = {
        let view = log.view.read();
        (view.tree.size(), view.tree.root(), view.checkpoint.clone())
    };
    if current.checkpoint.size == size {
        return Ok(current);
    }
    let origin = log.verifier.origin().to_owned();
    let signed = Checkpoint { origin, size, root }.sign(&writing.signer);
    let signed = match &writing.second {
        Some((second, clock)) => signed.sign_second(second, clock.now()),
        None => signed,
    };
    write_whole(&*log.files.disk, &log.files.layout.checkpoint(), Access::Default, signed.note.as_bytes())?;
    log.view.write().checkpoint = signed.clone();
    Ok(signed)
}
