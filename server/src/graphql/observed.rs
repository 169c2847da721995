//! What stands beside every answer: the position and the checkpoint that it covers; and what it took, as metrics and
//! spans by the fields that were asked. Neither arguments nor values are in them.

use super::as_of::Earliest;
use crate::state::App;
use crate::traces::TARGET;
use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextExecute, NextPrepareRequest, NextRequest, NextResolve,
    ResolveInfo,
};
use async_graphql::{Request, Response, ServerResult, Value};
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// Adds `extensions.coverage` and measures. There is one for each request.
pub(crate) struct Observed {
    app: App,
    earliest: Earliest,
}

impl Observed {
    pub(crate) fn new(app: App) -> Self {
        Self { app, earliest: Earliest::default() }
    }
}

impl ExtensionFactory for Observed {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Observed::new(self.app.clone()))
    }
}

#[async_trait]
impl Extension for Observed {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        // Taken before the query runs, so what the answer covers is at least this.
        let position = self.app.covered();
        let response = next.run(ctx).await;
        // What was asked as of a past state covers that, and nothing later.
        let position = position.map(|position| self.earliest.get().map_or(position, |then| then.min(position)));
        let covered = self.app.covered_json(position).await;
        response.extension("coverage", Value::from_json(covered).unwrap_or_default())
    }

    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        next.run(ctx, request.data(self.earliest.clone())).await
    }

    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let span = tracing::info_span!(target: TARGET, "graphql", graphql.operation.name = operation_name);
        next.run(ctx, operation_name).instrument(span).await
    }

    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        if info.path_node.parent.is_some() {
            return next.run(ctx, info).await;
        }
        let (begun, field) = (Instant::now(), info.name.to_owned());
        let span = tracing::info_span!(target: TARGET, "field", graphql.field.name = field);
        let resolved = next.run(ctx, info).instrument(span).await;
        self.app.telemetry.queried(&field, resolved.is_ok(), begun.elapsed());
        resolved
    }
}
