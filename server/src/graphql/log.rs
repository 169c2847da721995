//! The log itself, the projections over it, and what an answer covers.

use crate::problem::Problem;
use crate::state::App;
use async_graphql::{Context, Object, Result, SimpleObject};
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

/// A view that follows the log.
#[derive(SimpleObject)]
pub(crate) struct Projection {
    /// curves, evals, catalog or lineage.
    name: String,
    /// The last position it covers; null where it covers none.
    watermark: Option<Position>,
    /// Events of the log that it does not cover yet.
    lag: Long,
}

pub(crate) fn projections(app: &App) -> Vec<Projection> {
    let head = app.head_position().map_or(0, schemas::Position::get);
    let one = |(name, watermark): (String, Option<schemas::Position>)| {
        let lag = Long(head.saturating_sub(watermark.map_or(0, schemas::Position::get)));
        Projection { name, watermark: watermark.map(Position), lag }
    };
    app.ctx.projections().watermarks().into_iter().map(one).collect()
}
