//! What stands beside every answer: the position and the checkpoint that it covers; and what it took, as metrics and
//! spans by the fields that were asked. Neither arguments nor values are in them.

use crate::state::App;
use crate::traces::TARGET;
use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextExecute, NextRequest, NextResolve, ResolveInfo,
};
use async_graphql::{Response, ServerResult, Value};
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// Adds `extensions.coverage` and measures.
pub(crate) struct Observed(pub(crate) App);

impl ExtensionFactory for Observed {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Observed(self.0.clone()))
    }
}

#[async_trait]
impl Extension for Observed {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        // Taken before the query runs, so what the answer covers is at least this.
        let position = self.0.covered();
        let response = next.run(ctx).await;
        let covered = self.0.covered_json(position).await;
        response.extension("coverage", Value::from_json(covered).unwrap_or_default())
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
        self.0.telemetry.queried(&field, resolved.is_ok(), begun.elapsed());
        resolved
    }
}
