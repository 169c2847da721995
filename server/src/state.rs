//! What all handlers share, and the ways they reach the ledger and the projections: off the async threads, and bounded.

use crate::ServerOptions;
use crate::bulk::{self, Spools};
use crate::pipelines::Pipelines;
use crate::problem::{Kind, Problem};
use crate::telemetry::Telemetry;
use crate::traces::TARGET;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_ledger::{Appended, Batch, Error as LedgerError, Pending, SignedCheckpoint};
use cairn_processors::Context;
use cairn_processors::serving::Answerer;
use cairn_projections::{Choice, Error as ProjectionsError, ProjectionState};
use cairn_schemas::{Position, Recorded};
use serde_json::{Value, json};
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tracing::Instrument;

/// Bytes of bodies in flight, in units of [`ROOM_UNIT_BYTES`]; further appends wait their turn, till their deadline.
const APPEND_ROOM: usize = (64 << 20) / ROOM_UNIT_BYTES;
/// What an append takes of the room at least: what a small one costs beside its body.
const ROOM_UNIT_BYTES: usize = 4 << 10;
/// Events that a thread of the server's own prepares for the ledger; longer batches go to one that may be busy longer.
const EVENTS_INLINE_MAX: usize = 32;
/// Reads in flight; further ones wait their turn.
const READS_MAX: usize = 32;
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
    inferences_max: usize,
    bulk_reads: Arc<Semaphore>,
    /// Answers that are read in parts.
    pub(crate) spools: Arc<Spools>,
    rebuilds: Arc<Semaphore>,
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
            answerer: Arc::new(Answerer::with_options(ctx.clone(), options.engine.clone())),
            pipelines,
            head,
            stopping,
            ctx,
            appends: Semaphore::new(APPEND_ROOM),
            reads: Semaphore::new(READS_MAX),
            inferences: Arc::new(Semaphore::new(options.inferences_max)),
            inferences_max: options.inferences_max,
            bulk_reads: Arc::new(Semaphore::new(bulk::READS_MAX)),
            spools: Arc::default(),
            rebuilds: Arc::new(Semaphore::new(1)),
        }
    }

    pub(crate) fn head_position(&self) -> Option<Position> {
        self.ctx.ledger().head(self.ctx.tenant())
    }

    /// Room for a body of so many bytes, held while it is read and recorded.
    pub(crate) async fn begin_append(&self, bytes: usize, deadline: Instant) -> Result<SemaphorePermit<'_>, Problem> {
        let units = bytes.div_ceil(ROOM_UNIT_BYTES).clamp(1, APPEND_ROOM) as u32;
        match tokio::time::timeout_at(deadline.into(), self.appends.acquire_many(units)).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(Problem::internal("the server is stopping")),
            Err(_) => {
                let busy = format!(
                    "{} MiB of appends are in flight; nothing of this one was recorded, send it again in a second",
                    (APPEND_ROOM * ROOM_UNIT_BYTES) >> 20
                );
                Err(Problem::new(Kind::Busy, busy).retry_after(1))
            }
        }
    }

    /// Room for one more prompt, held until its answer is whole.
    pub(crate) fn begin_inference(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.inferences.clone().try_acquire_owned().map_err(|_| {
            let busy = format!("{} prompts are being answered; send this one again later", self.inferences_max);
            Problem::new(Kind::Busy, busy).retry_after(2)
        })
    }

    /// Room for one more bulk read, held until its answer is whole.
    pub(crate) fn begin_bulk(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.bulk_reads.clone().try_acquire_owned().map_err(|_| {
            let busy = format!("{} bulk reads are being answered; ask again later", bulk::READS_MAX);
            Problem::new(Kind::Busy, busy).retry_after(5)
        })
    }

    /// Rebuilds projections (none named: all) and returns when that is done; it goes on if whoever waits leaves. The
    /// stores in use answer meanwhile.
    pub(crate) async fn rebuild(&self, names: Vec<String>, engine: Option<Choice>) -> Result<(), Problem> {
        let Ok(turn) = self.rebuilds.clone().try_acquire_owned() else {
            let busy = "a rebuild is under way; `projections` says how far it is, ask again when it is done";
            return Err(Problem::new(Kind::Busy, busy).retry_after(30));
        };
        let is_meant = |name: &str| names.is_empty() || names.iter().any(|given| given == name);
        let unfinished =
            self.ctx.projections().status().into_iter().find(|status| !status.answers && is_meant(status.name));
        if let Some(status) = unfinished {
            let (done, total) = match status.state {
                ProjectionState::Rebuilding { done, total } => (done, total),
                _ => Default::default(),
            };
            return Err(ProjectionsError::Rebuilding { projection: status.name, done, total }.into());
        }
        let engine = match engine {
            Some(Choice::Always(engine)) => Some(engine),
            Some(Choice::BySize) | None => None,
        };
        let (ctx, stopping) = (self.ctx.clone(), self.stopping.clone());
        spawned(move || {
            let _turn = turn;
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            match ctx.projections().rebuild_while(engine, &names, &mut |_, _, _| !*stopping.borrow())? {
                true => Ok(()),
                false => Err(Problem::new(Kind::Unavailable, "the server is stopping; all is as before the rebuild")),
            }
        })
        .await
    }

    /// Records a batch, whole or not at all; returns after it is durable.
    pub(crate) async fn append(&self, batch: Batch, deadline: Instant) -> Result<Vec<Appended>, Problem> {
        let begun = Instant::now();
        let outcome = match self.submit(batch).await {
            Ok(pending) => match tokio::time::timeout_at(deadline.into(), pending.into_future()).await {
                Ok(outcome) => outcome.map_err(Problem::from),
                Err(_) => Err(LedgerError::Deadline.into()),
            },
            Err(problem) => Err(problem),
        };
        match &outcome {
            Ok(appended) => {
                let duplicates = appended.iter().filter(|one| one.duplicate).count() as u64;
                self.telemetry.appended(appended.len() as u64 - duplicates, duplicates, begun.elapsed());
            }
            Err(problem) => self.telemetry.append_refused(problem),
        }
        outcome
    }

    async fn submit(&self, batch: Batch) -> Result<Pending, Problem> {
        // The first event of a tenant creates its log, which takes a while too.
        let is_short = batch.events.len() <= EVENTS_INLINE_MAX && self.head_position().is_some();
        let ctx = self.ctx.clone();
        let submit = move || ctx.ledger().submit(ctx.tenant(), batch).map_err(Problem::from);
        if is_short { submit() } else { spawned(submit).await }
    }

    /// Runs a read on a thread that may block.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Context) -> Result<T, Problem> + Send + 'static,
    {
        let _turn = self.reads.acquire().await.map_err(|_| Problem::internal("the server is stopping"))?;
        let ctx = self.ctx.clone();
        let span = tracing::info_span!(target: TARGET, "read");
        spawned(move || work(&ctx)).instrument(span).await
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

    /// A signed checkpoint of the log that covers `position`: the stored one if that does, else a new one.
    pub(crate) async fn checkpoint_over(&self, position: Position) -> Result<SignedCheckpoint, Problem> {
        let stored = self.ctx.ledger().stored_checkpoint(self.ctx.tenant());
        match stored.filter(|stored| stored.checkpoint.size >= position.get()) {
            Some(stored) => Ok(stored),
            None => self.read(|ctx| Ok(ctx.ledger().checkpoint(ctx.tenant())?)).await,
        }
    }

    /// What an answer that covers `position` says of that: the position, and the size and root of the tree that a
    /// checkpoint over it signs. An answer is given also where no checkpoint can be signed.
    pub(crate) async fn covered_json(&self, position: Option<Position>) -> Value {
        let Some(position) = position else { return json!({ "position": null, "checkpoint": null }) };
        let checkpoint = match self.checkpoint_over(position).await {
            Ok(signed) => {
                let root = BASE64.encode(signed.checkpoint.root.as_bytes());
                json!({ "size": signed.checkpoint.size, "root": root })
            }
            Err(problem) => {
                tracing::warn!(problem = problem.detail, "no checkpoint covers an answer");
                Value::Null
            }
        };
        json!({ "position": position.get(), "checkpoint": checkpoint })
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
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a request's work ended early");
            Err(Problem::internal("the work for this request ended early; the server's log has more"))
        }
    }
}
