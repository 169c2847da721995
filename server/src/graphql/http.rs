//! GraphQL over HTTP and WebSocket, and the GraphiQL page with all it needs, so that it works without a network.

use crate::events::body;
use crate::problem::{Kind, Problem};
use crate::state::App;
use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use cairn_schemas::Position;
use serde_json::json;

use super::CairnSchema;
use super::limits::REQUEST_BYTES_MAX;

/// The answer shall cover at least this position: read your own writes.
const AT_LEAST_HEADER: &str = "cairn-at-least";
/// Nothing is loaded from elsewhere; the editor sets styles of its own.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                              font-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("../../assets/graphiql.html");
/// The queries that the page opens on, a tab each.
pub(crate) const PREPARED: [&str; 5] = [
    include_str!("../../assets/queries/1-overview.graphql"),
    include_str!("../../assets/queries/2-provenance.graphql"),
    include_str!("../../assets/queries/3-curves.graphql"),
    include_str!("../../assets/queries/4-results.graphql"),
    include_str!("../../assets/queries/5-events.graphql"),
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

macro_rules! assets {
    ($($name:literal $media:expr,)*) => {
        /// Name, media type and bytes of every file of the page.
        const ASSETS: &[(&str, &str, &[u8])] = &[$(($name, $media, include_bytes!(concat!("../../assets/", $name))),)*];
    };
}
assets! {
    "graphiql.min.css" CSS,
    "graphiql.min.js" JAVASCRIPT,
    "graphql-ws.min.js" JAVASCRIPT,
    "page.css" CSS,
    "page.js" JAVASCRIPT,
    "react-dom.production.min.js" JAVASCRIPT,
    "react.production.min.js" JAVASCRIPT,
}

/// Runs one query or mutation. Its answer names what it covers under `extensions.coverage`.
pub(crate) async fn execute(
    State(app): State<App>,
    State(schema): State<CairnSchema>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    check_media(&headers)?;
    let body = body(request, REQUEST_BYTES_MAX).await?;
    if body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Problem::malformed("batches of queries are not supported; ask several fields in one query"));
    }
    let request: async_graphql::Request = serde_json::from_slice(&body).map_err(|e| {
        Problem::malformed(format!(
            "the body is not a GraphQL request: {e}; send {{\"query\": \"{{ log {{ size }} }}\"}}"
        ))
    })?;
    if let Some(position) = at_least(&headers)? {
        app.wait_for(position).await?;
    }
    Ok(Json(schema.execute(request).await).into_response())
}

/// A browser sends other media types across sites without asking, so only JSON is taken.
fn check_media(headers: &HeaderMap) -> Result<(), Problem> {
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("a body without a content-type");
    let bare = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if bare == "application/json" || bare == "application/graphql+json" {
        return Ok(());
    }
    let shown: String = media.chars().take(100).collect();
    Err(Problem::new(Kind::UnsupportedMedia, format!("{shown} is not supported; send application/json")))
}

fn at_least(headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let Some(value) = headers.get(AT_LEAST_HEADER) else { return Ok(None) };
    let text = value.to_str().unwrap_or("?");
    let position = text.parse().map_err(|e| Problem::malformed(format!("header {AT_LEAST_HEADER}: {e}")))?;
    Ok(Some(position))
}

/// Subscriptions, by the graphql-transport-ws protocol and its predecessor.
pub(crate) async fn socket(State(schema): State<CairnSchema>, request: Request) -> Response {
    use axum::extract::FromRequestParts;
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            return Problem::malformed(format!(
                "this route takes WebSocket connections only: {}",
                rejection.body_text()
            ))
            .into_response();
        }
    };
    let Ok(protocol) = GraphQLProtocol::from_request_parts(&mut parts, &()).await else {
        return Problem::malformed(
            "the header sec-websocket-protocol names no protocol known here; send graphql-transport-ws",
        )
        .into_response();
    };
    upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .max_message_size(1 << 20)
        .on_upgrade(move |socket| GraphQLWebSocket::new(socket, schema, protocol).serve())
}

/// GraphiQL, opening on the prepared queries.
pub(crate) async fn page() -> impl IntoResponse {
    // In a script element only `</` could end the text early.
    let prepared = json!(PREPARED).to_string().replace("</", "<\\/");
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY)];
    (headers, PAGE.replace("PREPARED_QUERIES", &prepared))
}

/// A file of the page.
pub(crate) async fn asset(Path(file): Path<String>) -> Result<impl IntoResponse, Problem> {
    let found = ASSETS.iter().find(|(name, ..)| *name == file);
    let (_, media, bytes) = found.ok_or_else(|| Problem::not_found("the page has no such file"))?;
    Ok(([(header::CONTENT_TYPE, *media), (header::CACHE_CONTROL, "public, max-age=3600")], *bytes))
}

/// The schema in GraphQL's own language, as committed.
pub(crate) async fn schema_text() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], super::sdl())
}
