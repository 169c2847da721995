//! How long, deep and costly a query may be, and the words in which it is told so.

use super::persisted::Persisted;
use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest, NextRequest, NextSubscribe, NextValidation,
};
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Name, Request, Response, ServerError, ServerResult, ValidationResult};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::collections::HashMap;
use std::sync::Arc;

/// Levels of nesting. The introspection query of common tools takes 15.
pub(crate) const DEPTH_MAX: usize = 20;
/// Levels of nesting with those of fragments, past which nothing else is looked at.
pub(crate) const NESTING_MAX: usize = 64;
/// Cost of one query: one for each field, times the items of each page around it.
pub(crate) const COMPLEXITY_MAX: usize = 50_000;
/// Most that one field is said to cost: sums of it stay far from overflowing.
pub(crate) const COST_MAX: usize = 1 << 40;
/// Selections of a query once its fragments are spread.
const SELECTIONS_MAX: usize = 10_000;
/// Bytes of one request's body: events are appended in variables.
pub(crate) const REQUEST_BYTES_MAX: usize = 9 << 20;
/// Bytes of a query's text.
const QUERY_BYTES_MAX: usize = 256 << 10;

/// Resolves persisted queries, holds each to the limits, and says which one it broke and what to do.
#[derive(Clone, Default)]
pub(crate) struct NamedLimits(Arc<Persisted>);

impl ExtensionFactory for NamedLimits {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(self.clone())
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

    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let mut request = self.0.resolve(request)?;
        let bytes = request.query.len();
        if bytes > QUERY_BYTES_MAX {
            let why = format!(
                "the query's text has {bytes} bytes, at most {QUERY_BYTES_MAX} are taken; pass values as variables"
            );
            return Err(refusal("too-large", why));
        }
        let document = parse_query(&request.query)?;
        check_selections(&document)?;
        request.set_parsed_query(document);
        next.run(ctx, request).await
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let invalid = |mut error: ServerError| {
            error.extensions.get_or_insert_default().set("code", "invalid-query");
            error
        };
        let result = next.run(ctx).await.map_err(|errors| errors.into_iter().map(invalid).collect::<Vec<_>>())?;
        match over(&result) {
            Some(error) => Err(vec![error]),
            None => Ok(result),
        }
    }
}

/// The limit that a valid query is over.
fn over(result: &ValidationResult) -> Option<ServerError> {
    let &ValidationResult { depth, complexity, .. } = result;
    if depth > DEPTH_MAX {
        let why = format!(
            "the query is nested {depth} levels deep, more than {DEPTH_MAX}; ask for the refs and then for what they name"
        );
        return Some(refusal("too-deep", why));
    }
    (complexity > COMPLEXITY_MAX).then(|| {
        let why = format!(
            "the query costs {complexity}, more than {COMPLEXITY_MAX} (each field, times the items of each page around \
             it); ask for fewer items or fields"
        );
        refusal("too-costly", why)
    })
}

fn refusal(code: &str, message: String) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.extensions.get_or_insert_default().set("code", code);
    error
}

/// Fragments that spread fragments make a short text a long query, so that is counted before anything walks it.
fn check_selections(document: &ExecutableDocument) -> ServerResult<()> {
    let mut counted = HashMap::new();
    let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
    let mut total = 0usize;
    for selections in operations {
        total = total.saturating_add(count(document, selections, &mut counted)?);
    }
    match total <= SELECTIONS_MAX {
        true => Ok(()),
        false => {
            let shown = if total == usize::MAX { "too many".to_owned() } else { total.to_string() };
            let why = format!(
                "the query selects {shown} fields once its fragments are spread, more than {SELECTIONS_MAX}; ask for \
                 them in several queries"
            );
            Err(refusal("too-costly", why))
        }
    }
}

/// Each fragment is counted once; `None` stands for one that is being counted.
fn count<'d>(
    document: &'d ExecutableDocument,
    selections: &'d SelectionSet,
    counted: &mut HashMap<&'d Name, Option<usize>>,
) -> ServerResult<usize> {
    let mut total = 0usize;
    for selection in &selections.items {
        let inside = match &selection.node {
            Selection::Field(field) => count(document, &field.node.selection_set.node, counted)?,
            Selection::InlineFragment(inline) => count(document, &inline.node.selection_set.node, counted)?,
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                match (counted.get(name), document.fragments.get(name)) {
                    (Some(Some(known)), _) => *known,
                    (Some(None), _) => {
                        let why = format!("the fragment `{name}` spreads itself; name its fields instead");
                        return Err(refusal("invalid-query", why));
                    }
                    // Validation says that there is no such fragment.
                    (None, None) => 0,
                    (None, Some(fragment)) => {
                        counted.insert(name, None);
                        let inside = count(document, &fragment.node.selection_set.node, counted)?;
                        counted.insert(name, Some(inside));
                        inside
                    }
                }
            }
        };
        total = total.saturating_add(inside.saturating_add(1));
    }
    Ok(total)
}

/// Errors that the library itself words (arguments that do not parse) get a code as ours have.
fn coded(mut response: Response) -> Response {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_some() {
            continue;
        }
        if error.message.starts_with("The recursion depth of the query") {
            extensions.set("code", "too-deep");
            error.message = format!(
                "the query is nested more than {NESTING_MAX} levels deep with its fragments, at most {DEPTH_MAX} are allowed"
            );
        } else {
            extensions.set("code", "malformed-request");
        }
    }
    response
}
