//! What all handlers share, and the ways they reach the ledger and the projections: off the async threads, and bounded.

use crate::ServerOptions;
use crate::pipelines::Pipelines;
use crate::problem::{Kind, Problem};
use crate::telemetry::Telemetry;
use cairn_ledger::Appended;
use cairn_processors::Context;
use cairn_processors::serving::Answerer;
use cairn_schemas::{NewEvent, Position, Recorded};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};

/// Appends in flight: each may hold a body of 8 MiB. Beyond them a producer is told to come back.
pub(crate) const APPENDS_MAX: usize = 64;
/// Reads in flight; further ones wait their turn.
const READS_MAX: usize = 32;
/// Prompts in flight, one of which is computed at a time by each core.
const INFERENCES_MAX: usize = 32;
/// Events of one read of the log.
pub(crate) const READ_EVENTS_MAX: usize = 1000;
/// Longest wait for the projections to reach a position.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

pub(crate) type App = Arc<Shared>;

/// Shared by all handlers.
pub(crate) struct Shared {
    pub(crate) ctx: Context,
    pub(crate) loopback: bool,
    pub(crate) telemetry: Telemetry,
    pub(crate) pipelines: Pipelines,
    pub(crate) answerer: Arc<Answerer>,
    /// Position of the last event, as the thread that follows the log saw it.
    pub(crate) head: watch::Receiver<Option<Position>>,
    /// Becomes true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
    appends: Semaphore,
    reads: Semaphore,
    inferences: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(
        ctx: Context,
        options: &ServerOptions,
        pipelines: Pipelines,
        head: watch::Receiver<Option<Position>>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            loopback: options.listen.ip().is_loopback(),
            telemetry: Telemetry::new(),
            answerer: Arc::new(Answerer::new(ctx.clone())),
            pipelines,
            head,
            stopping,
            ctx,
            appends: Semaphore::new(APPENDS_MAX),
            reads: Semaphore::new(READS_MAX),
            inferences: Arc::new(Semaphore::new(INFERENCES_MAX)),
        }
    }

    pub(crate) fn head_position(&self) -> Option<Position> {
        self.ctx.ledger().head(self.ctx.tenant())
    }

    /// Room for one more append, held while its body is read and recorded.
    pub(crate) fn begin_append(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.appends.try_acquire().map_err(|_| {
            let busy =
                format!("{APPENDS_MAX} appends are in flight; send this one again in a second, or larger batches");
            Problem::new(Kind::Busy, busy).retry_after(1)
        })
    }

    /// Room for one more prompt, held until its answer is whole.
    pub(crate) fn begin_inference(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.inferences.clone().try_acquire_owned().map_err(|_| {
            let busy = format!("{INFERENCES_MAX} prompts are being answered; send this one again later");
            Problem::new(Kind::Busy, busy).retry_after(2)
        })
    }

    /// Records a batch, whole or not at all; returns after it is durable.
    pub(crate) async fn append(&self, batch: Vec<NewEvent>) -> Result<Vec<Appended>, Problem> {
        let ctx = self.ctx.clone();
        let begun = Instant::now();
        let outcome = spawned(move || ctx.ledger().append(ctx.tenant(), batch).map_err(Problem::from)).await;
        match &outcome {
            Ok(appended) => {
                let duplicates = appended.iter().filter(|one| one.duplicate).count() as u64;
                self.telemetry.appended(appended.len() as u64 - duplicates, duplicates, begun.elapsed());
            }
            Err(problem) => self.telemetry.append_refused(problem),
        }
        outcome
    }

    /// Runs a read on a thread that may block.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Context) -> Result<T, Problem> + Send + 'static,
    {
        let _turn = self.reads.acquire().await.map_err(|_| Problem::internal("the server is stopping"))?;
        let ctx = self.ctx.clone();
        spawned(move || work(&ctx)).await
    }

    /// Some events from `from` on; none at the head.
    pub(crate) async fn events_from(&self, from: Position, count_max: usize) -> Result<Vec<Recorded>, Problem> {
        self.read(move |ctx| Ok(ctx.ledger().read(ctx.tenant(), from, count_max)?)).await
    }

    /// Waits until the projections cover `position`, so that a writer reads its own writes.
    pub(crate) async fn wait_for(&self, position: Position) -> Result<(), Problem> {
        if self.covered() >= Some(position) {
            return Ok(());
        }
        let head = self.head_position();
        if head < Some(position) {
            let head = head.map_or(0, Position::get);
            return Err(Problem::malformed(format!("position {position} does not exist yet; the last one is {head}")));
        }
        self.read(move |ctx| {
            ctx.projections().wait_for(position, CATCH_UP_MAX).map_err(|error| {
                let detail = format!(
                    "the projections did not reach position {position} in {CATCH_UP_MAX:?}: {error}; ask again"
                );
                Problem::new(Kind::NotCaughtUp, detail).retry_after(2)
            })
        })
        .await
    }

    /// The last position that all projections cover.
    pub(crate) fn covered(&self) -> Option<Position> {
        self.ctx.projections().reached()
    }
}

/// Runs blocking work; a panic in it is a problem of this request only.
pub(crate) async fn spawned<T, F>(work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Problem> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a request's work ended early");
            Err(Problem::internal("the work for this request ended early; the server's log has more"))
        }
    }
}
