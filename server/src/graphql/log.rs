//! The log itself, the projections over it, and what an answer covers.

use crate::problem::Problem;
use crate::state::App;
use async_graphql::{Context, Object, Result, SimpleObject};
use cairn_projections::{ProjectionState as State, ProjectionStatus};
use cairn_schemas as schemas;

use super::scalars::{Long, Position};

pub(crate) struct Log;

/// The log: how long it is, and what an outsider needs to check it.
#[Object]
impl Log {
    /// Number of events.
    async fn size(&self, ctx: &Context<'_>) -> Long {
        Long(head(ctx).map_or(0, schemas::Position::get))
    }
    /// Position of the last event; null while there is none.
    async fn head(&self, ctx: &Context<'_>) -> Option<Position> {
        head(ctx).map(Position)
    }
    /// The signed checkpoint (C2SP tlog-checkpoint) of everything that is durable now; null while there is no event.
    async fn checkpoint(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        Ok(checkpoint(ctx).await?)
    }
    /// The public key that signs checkpoints, as a C2SP verifier key: name+id+key. Get it by another way than this
    /// server before you trust it.
    async fn verifier_key(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        let app = ctx.data::<App>()?;
        Ok(app.ctx.ledger().verifier_key(app.ctx.tenant()))
    }
    /// The BLAKE3 chain over all frames up to the head, in hexadecimal; null while there is no event.
    async fn chain_head(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        let app = ctx.data::<App>()?;
        let chain = app.read(|ctx| {
            let any = ctx.ledger().head(ctx.tenant()).is_some();
            Ok(any.then(|| ctx.ledger().chain_head(ctx.tenant()).to_string()))
        });
        Ok(chain.await?)
    }
}

fn head(ctx: &Context<'_>) -> Option<schemas::Position> {
    ctx.data_unchecked::<App>().head_position()
}

async fn checkpoint(ctx: &Context<'_>) -> Result<Option<String>, Problem> {
    let app = ctx.data_unchecked::<App>();
    app.read(|ctx| match ctx.ledger().checkpoint(ctx.tenant()) {
        Ok(signed) => Ok(Some(signed.note)),
        Err(cairn_ledger::Error::NoLog { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    })
    .await
}

pub(crate) struct Coverage {
    pub(crate) position: Option<schemas::Position>,
}

/// What the answers of a query cover: every event up to `position` is in them, later ones may be.
#[Object]
impl Coverage {
    /// Every event up to this one is in the answers; null where no event is.
    async fn position(&self) -> Option<Position> {
        self.position.map(Position)
    }
    /// Position of the last event of the log.
    async fn head(&self, ctx: &Context<'_>) -> Option<Position> {
        head(ctx).map(Position)
    }
    /// The signed checkpoint of the log (C2SP tlog-checkpoint), which covers at least this position.
    async fn checkpoint(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        let Some(position) = self.position else { return Ok(None) };
        Ok(Some(ctx.data::<App>()?.checkpoint_over(position).await?.note))
    }
}

/// What a projection does.
#[derive(Clone, Copy, PartialEq, Eq, async_graphql::Enum)]
pub(crate) enum ProjectionState {
    /// At the head of the log or near it.
    Following,
    /// Far behind the head, on its way.
    CatchingUp,
    /// A new store is being filled; where there was one before, that one answers until then.
    Rebuilding,
    /// It met an event that it cannot apply, and covers what is before. The others go on.
    Stopped,
}

/// A view that follows the log.
#[derive(SimpleObject)]
pub(crate) struct Projection {
    /// curves, evals, catalog or lineage.
    name: String,
    /// Version of its rows: a store of another version is rebuilt.
    version: u32,
    /// What its rows lie in: sled, fjall or memory.
    engine: String,
    /// The last position it covers; null where it covers none.
    watermark: Option<Position>,
    /// Events of the log that it does not cover yet.
    lag: Long,
    /// What it does now.
    state: ProjectionState,
    /// Whether questions to it are answered: not while its first store is still being filled.
    answers: bool,
    /// Events that the store being filled holds; null where none is.
    rebuild_done: Option<Long>,
    /// Events that the store being filled will hold; null where none is.
    rebuild_total: Option<Long>,
    /// Position of the event that it cannot apply; null where it goes on.
    stopped_position: Option<Position>,
    /// Why it cannot apply that event; null where it goes on.
    error: Option<String>,
}

impl From<ProjectionStatus> for Projection {
    fn from(status: ProjectionStatus) -> Self {
        let (mut rebuild, mut stopped) = (None, None);
        let state = match status.state {
            State::Following => ProjectionState::Following,
            State::CatchingUp => ProjectionState::CatchingUp,
            State::Rebuilding { done, total } => {
                rebuild = Some((Long(done), Long(total)));
                ProjectionState::Rebuilding
            }
            State::Stopped { position, error } => {
                stopped = Some((Position(position), error));
                ProjectionState::Stopped
            }
        };
        let (rebuild_done, rebuild_total) = rebuild.unzip();
        let (stopped_position, error) = stopped.unzip();
        Self {
            name: status.name.to_owned(),
            version: status.version,
            engine: status.engine.to_owned(),
            watermark: status.watermark.map(Position),
            lag: Long(status.lag),
            state,
            answers: status.answers,
            rebuild_done,
            rebuild_total,
            stopped_position,
            error,
        }
    }
}

pub(crate) fn projections(app: &App) -> Vec<Projection> {
    app.ctx.projections().status().into_iter().map(Projection::from).collect()
}
