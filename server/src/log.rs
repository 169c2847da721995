//! What an outsider needs to check the log: its signed checkpoint.

use crate::problem::Problem;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use cairn_schemas::TenantId;

/// The signed checkpoint (C2SP tlog-checkpoint) of everything that is durable now.
pub(crate) async fn checkpoint(
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let tenant: TenantId = tenant.parse().map_err(|e: cairn_schemas::Error| Problem::malformed(e.to_string()))?;
    let note = app.read(move |ctx| Ok(ctx.ledger().checkpoint(&tenant)?)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], note.note))
}
