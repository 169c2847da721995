//! What operators and their machines ask: is it alive, is it ready, what are its figures.

use crate::problem::{Kind, Problem};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use cairn_schemas::Position;
use serde_json::{Value, json};

/// A projection this far behind the log does not answer for it.
const LAG_EVENTS_MAX: u64 = 100_000;

/// The process answers.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }))
}

/// The ledger can be read and no projection has fallen far behind it.
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    if *app.stopping.borrow() {
        return Err(Problem::new(Kind::Unavailable, "the server is stopping").retry_after(5));
    }
    let head = app.head_position().map_or(0, Position::get);
    let watermarks = watermarks(&app);
    let late = watermarks.iter().find(|(_, watermark)| head.saturating_sub(*watermark) > LAG_EVENTS_MAX);
    if let Some((name, watermark)) = late {
        let detail = format!("projection {name} covers {watermark} of {head} events; it is catching up");
        return Err(Problem::new(Kind::NotCaughtUp, detail).retry_after(5));
    }
    let projections: serde_json::Map<String, Value> =
        watermarks.into_iter().map(|(name, at)| (name, at.into())).collect();
    Ok(Json(json!({ "status": "ready", "head": head, "projections": projections })))
}

/// Prometheus' text format.
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let head = app.head_position().map_or(0, Position::get);
    let page = app.telemetry.page(head, &watermarks(&app));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}

fn watermarks(app: &App) -> Vec<(String, u64)> {
    let one = |(name, watermark): (String, Option<Position>)| (name, watermark.map_or(0, Position::get));
    app.ctx.projections().watermarks().into_iter().map(one).collect()
}
