//! How deep and how costly a query may be, and the words in which it is told so.

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextRequest, NextSubscribe, NextValidation,
};
use async_graphql::{Response, ServerError, ValidationResult};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::sync::Arc;

/// Levels of nesting. The introspection query of common tools takes 15.
pub(crate) const DEPTH_MAX: usize = 20;
/// Cost of one query: one for each field, times the items of each page around it.
pub(crate) const COMPLEXITY_MAX: usize = 50_000;
/// Bytes of one request's body.
pub(crate) const REQUEST_BYTES_MAX: usize = 9 << 20;

/// Says which limit a query broke, and what to do.
pub(crate) struct NamedLimits;

impl ExtensionFactory for NamedLimits {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(NamedLimits)
    }
}

#[async_trait]
impl Extension for NamedLimits {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        coded(next.run(ctx).await)
    }

    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        next.run(ctx, stream).map(coded).boxed()
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        next.run(ctx).await.map_err(|errors| errors.into_iter().map(named).collect())
    }
}

/// Errors that the library itself words (arguments that do not parse) get a code as ours have.
fn coded(mut response: Response) -> Response {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", "malformed-request");
        }
    }
    response
}

fn named(mut error: ServerError) -> ServerError {
    let (code, message) = match error.message.as_str() {
        "Query is nested too deep." => (
            "too-deep",
            format!(
                "the query is nested more than {DEPTH_MAX} levels deep; ask for the refs and then for what they name"
            ),
        ),
        "Query is too complex." => (
            "too-costly",
            format!(
                "the query costs more than {COMPLEXITY_MAX} (each field, times the items of each page around it); ask for fewer items or fields"
            ),
        ),
        _ => ("invalid-query", error.message.clone()),
    };
    error.message = message;
    error.extensions.get_or_insert_default().set("code", code);
    error
}
