//! What can be asked.
#![allow(clippy::too_many_arguments, reason = "the arguments of a field are those of its function")]

use crate::state::App;
use async_graphql::{Context, MergedObject, Object, Result};

use super::as_of::{self, AsOf};
use super::catalog::CatalogQuery;
use super::connection::{Connection, page_cost};
use super::curves::CurvesQuery;
use super::evaluations::Evaluations;
use super::events::{Event, PageQuery, page};
use super::lineage::LineageQuery;
use super::log::{Coverage, Log, Projection, projections};
use super::pipelines::PipelineRun;
use super::scalars::Position;
use crate::filter::Filter;
use std::sync::Arc;

/// Pipelines that `pipelineRuns` shows at most.
const PIPELINES_MAX: i32 = 256;

/// What can be asked. Every answer's `extensions.coverage` names the position it covers: where something is asked as of the
/// past, no later one than that. An `atLeast` argument waits until the answer covers that position, so that a writer reads
/// its own writes; the header cairn-at-least does so for a whole request. `asOf` asks for the past, by recorded time: such
/// an answer never changes, and everything in it is as of then.
#[derive(MergedObject)]
pub(crate) struct Query(Base, CatalogQuery, CurvesQuery, Evaluations, LineageQuery);

impl Query {
    pub(crate) fn new() -> Self {
        Self(Base, CatalogQuery, CurvesQuery, Evaluations, LineageQuery)
    }
}

/// The log and pipelines.
struct Base;

#[Object]
impl Base {
    /// What the answers of this query cover; or which position a past state is.
    async fn coverage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The position that this means, in place of the one covered now.")] as_of: Option<AsOf>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Coverage> {
        let app = wait(ctx, at_least).await?;
        let position = as_of::resolve(ctx, as_of).await?.or_else(|| app.covered());
        Ok(Coverage { position })
    }

    /// The log itself.
    async fn log(&self) -> Log {
        Log
    }

    /// The views that follow the log, and how far each has come.
    async fn projections(&self, ctx: &Context<'_>) -> Result<Vec<Projection>> {
        Ok(projections(ctx.data::<App>()?))
    }

    /// The event at a position; null beyond the last.
    async fn event(&self, ctx: &Context<'_>, #[graphql(desc = "From 1.")] position: Position) -> Result<Option<Event>> {
        let app = ctx.data::<App>()?;
        if app.head_position() < Some(position.0) {
            return Ok(None);
        }
        let found = app.events_from(position.0, 1).await?;
        Ok(found.into_iter().next().map(|event| Event(Arc::new(event))))
    }

    /// Events in order: the first ones after a cursor, or the last ones before one. A filter looks at 100,000 positions a
    /// page at most; pageInfo says where to go on.
    #[graphql(complexity = "page_cost(first.or(last), child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end; at most 500.")] last: Option<i32>,
        #[graphql(desc = "Ends before this cursor.")] before: Option<String>,
        #[graphql(desc = "Types such as cairn.training.step_logged.v2, or beginnings such as cairn.training.*")]
        types: Option<Vec<String>>,
        #[graphql(desc = "Only events about this.")] stream: Option<String>,
        #[graphql(desc = "Only events of this project.")] project: Option<String>,
    ) -> Result<Connection<Event>> {
        let filter = Filter::new(&types.unwrap_or_default(), stream, project)?;
        let query = PageQuery { first, after, last, before, filter };
        Ok(ctx.data::<App>()?.read(move |ctx| page(ctx, &query)).await?)
    }

    /// A pipeline that was sent to this server; null where it is not among the recent ones.
    async fn pipeline_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What runPipeline gave.")] id: String,
    ) -> Result<Option<PipelineRun>> {
        Ok(ctx.data::<App>()?.pipelines.get(&id).map(PipelineRun))
    }

    /// Pipelines that were sent to this server, the newest first.
    async fn pipeline_runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many at most.", default = 20)] first: i32,
    ) -> Result<Vec<PipelineRun>> {
        let count = first.clamp(0, PIPELINES_MAX) as usize;
        Ok(ctx.data::<App>()?.pipelines.recent(count).into_iter().map(PipelineRun).collect())
    }
}

/// Waits until the projections cover a position.
pub(crate) async fn wait<'c>(ctx: &Context<'c>, at_least: Option<Position>) -> Result<&'c App> {
    let app = ctx.data::<App>()?;
    if let Some(position) = at_least {
        app.wait_for(position.0).await?;
    }
    Ok(app)
}
