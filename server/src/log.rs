//! What an outsider needs to check the log without us: signed checkpoint, tiles, entry bundles (C2SP tlog-tiles), proofs.

use crate::problem::Problem;
use crate::state::App;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_ledger::{InclusionProof, SignedCheckpoint, TilePath};
use cairn_schemas::{Position, Sha256, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};

const TEXT: &str = "text/plain; charset=utf-8";
/// A tile never changes once it is there.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The signed checkpoint (C2SP tlog-checkpoint), with the cosignatures of witnesses.
pub(crate) async fn checkpoint(State(app): State<App>, Path(tenant): Path<String>) -> Result<Response, Problem> {
    let tenant = parse_tenant(&tenant)?;
    let signed = app.read(move |ctx| Ok(ctx.ledger().published_checkpoint(&tenant)?)).await?;
    Ok(text(signed.note))
}

/// A hash tile or an entry bundle of the tree that the latest checkpoint signs.
pub(crate) async fn tile(
    State(app): State<App>,
    Path((tenant, path)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = parse_tenant(&tenant)?;
    let path = TilePath::parse(&path).ok_or_else(|| {
        let shown: String = path.chars().take(100).collect();
        Problem::not_found(format!("`tile/{shown}` names no tile; one is tile/0/x001/234 or tile/entries/000.p/17"))
    })?;
    let bytes = app.read(move |ctx| Ok(ctx.ledger().tile(&tenant, &path)?)).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, IMMUTABLE)], bytes)
        .into_response())
}

/// The proof of one event (C2SP tlog-proof), to the published checkpoint, or to a new one if that lacks the event.
pub(crate) async fn proof(
    State(app): State<App>,
    Path((tenant, position)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = parse_tenant(&tenant)?;
    let position: Position =
        position.parse().map_err(|e: cairn_schemas::Error| Problem::malformed(format!("a position: {e}")))?;
    let proof = app.read(move |ctx| {
        let ledger = ctx.ledger();
        let published = ledger.published_checkpoint(&tenant)?;
        let covers = published.checkpoint.size >= position.get();
        Ok(ledger.prove(&tenant, position, covers.then_some(&published))?)
    });
    Ok(text(proof.await?.encode()))
}

/// Sizes of the two trees; the newer is that of the published checkpoint where it is left out.
#[derive(Deserialize)]
pub(crate) struct Sizes {
    old: u64,
    new: Option<u64>,
}

/// That the tree of `old` entries is the beginning of the one of `new`.
pub(crate) async fn consistency(
    State(app): State<App>,
    Path(tenant): Path<String>,
    sizes: Result<Query<Sizes>, axum::extract::rejection::QueryRejection>,
) -> Result<axum::Json<Value>, Problem> {
    let tenant = parse_tenant(&tenant)?;
    let Query(Sizes { old, new }) = sizes.map_err(|e| {
        Problem::malformed(format!("{}; ask ?old=N&new=M, sizes of the log, or ?old=N alone", e.body_text()))
    })?;
    let found = app.read(move |ctx| {
        let ledger = ctx.ledger();
        let signed = ledger.published_checkpoint(&tenant)?;
        let new = new.unwrap_or(signed.checkpoint.size);
        let proof = ledger.consistency(&tenant, old, new, &signed)?;
        Ok(json!({
            "old_size": old, "old_root": base64(&proof.old_root), "new_size": new, "new_root": base64(&proof.new_root),
            "hashes": proof.path.iter().map(base64).collect::<Vec<_>>(), "checkpoint": signed.note,
        }))
    });
    found.await.map(axum::Json)
}

/// What an acknowledgement carries of one event's proof; the checkpoint stands beside it, once for all.
pub(crate) fn proof_json(proof: &InclusionProof) -> Value {
    json!({
        "index": proof.index,
        "hashes": proof.path.iter().map(base64).collect::<Vec<_>>(),
        "entry": proof.entry.as_ref().map(|entry| BASE64.encode(entry)),
    })
}

/// The proofs of these events to one checkpoint that covers them all, which is signed now if need be.
pub(crate) async fn proofs(
    app: &App,
    positions: Vec<Position>,
) -> Result<(Vec<InclusionProof>, SignedCheckpoint), Problem> {
    app.read(move |ctx| {
        let (ledger, tenant) = (ctx.ledger(), ctx.tenant());
        let signed = ledger.checkpoint(tenant)?;
        let proofs = positions.iter().map(|position| ledger.prove(tenant, *position, Some(&signed)));
        Ok((proofs.collect::<Result<_, _>>()?, signed))
    })
    .await
}

fn base64(hash: &Sha256) -> String {
    BASE64.encode(hash.as_bytes())
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

fn parse_tenant(tenant: &str) -> Result<TenantId, Problem> {
    tenant.parse().map_err(|e: cairn_schemas::Error| Problem::malformed(e.to_string()))
}
