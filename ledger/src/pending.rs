//! A batch on its way to the disk, and the ways to wait for what became of it.

use crate::error::Error;
use crate::placement::Appended;
use crate::queue::Outcome;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// The answer to a submitted batch: it comes once the batch is durable, or refused. Wait for it on a thread, or
/// `.await` it. Dropping it withdraws nothing: the batch is recorded all the same.
#[must_use = "a batch may be refused, and is durable only once this answers"]
pub struct Pending(oneshot::Receiver<Outcome>);

/// [`Pending`] being awaited.
pub struct PendingFuture(oneshot::AsyncReceiver<Outcome>);

impl Pending {
    pub(crate) fn new(answer: oneshot::Receiver<Outcome>) -> Self {
        Self(answer)
    }

    /// Waits for the answer, however long it takes.
    pub fn wait(self) -> Result<Vec<Appended>, Error> {
        self.0.recv().unwrap_or_else(|_| Err(unanswered()))
    }

    /// Waits for the answer until `deadline`. [`Error::Deadline`] then: the batch may have been recorded, or yet be.
    pub fn wait_by(self, deadline: Instant) -> Result<Vec<Appended>, Error> {
        match self.0.recv_deadline(deadline) {
            Ok(outcome) => outcome,
            Err(oneshot::RecvTimeoutError::Timeout) => Err(Error::Deadline),
            Err(oneshot::RecvTimeoutError::Disconnected) => Err(unanswered()),
        }
    }
}

impl IntoFuture for Pending {
    type Output = Result<Vec<Appended>, Error>;
    type IntoFuture = PendingFuture;
    fn into_future(self) -> PendingFuture {
        PendingFuture(self.0.into_future())
    }
}

impl Future for PendingFuture {
    type Output = Result<Vec<Appended>, Error>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(unanswered())))
    }
}

/// The writer's thread failed while it held the batch.
fn unanswered() -> Error {
    Error::OutcomeUnknown { why: "the writer ended before it answered".into() }
}
