//! What operators and their machines ask: is it alive, is it ready, what are its figures.

use crate::problem::{Kind, Problem};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use cairn_projections::ProjectionState;
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
    let projections = app.ctx.projections().status();
    for status in &projections {
        let (name, covered) = (status.name, status.watermark.map_or(0, Position::get));
        match &status.state {
            // One that stopped keeps nobody from asking the others; it says so below, and in the metrics.
            ProjectionState::Stopped { .. } => {}
            // Where it answers meanwhile, it is not late.
            ProjectionState::Rebuilding { .. } if status.lag <= LAG_EVENTS_MAX => {}
            ProjectionState::Rebuilding { done, total } => {
                let detail = format!("projection {name} is being rebuilt, {done} of {total} events so far");
                return Err(Problem::new(Kind::NotCaughtUp, detail).retry_after(5));
            }
            _ if status.lag <= LAG_EVENTS_MAX => {}
            _ => {
                let detail = format!("projection {name} covers {covered} of {head} events; it is catching up");
                return Err(Problem::new(Kind::NotCaughtUp, detail).retry_after(5));
            }
        }
    }
    let covered: serde_json::Map<String, Value> = projections
        .iter()
        .map(|status| (status.name.to_owned(), json!(status.watermark.map_or(0, Position::get))))
        .collect();
    let stopped: serde_json::Map<String, Value> = projections
        .iter()
        .filter_map(|status| match &status.state {
            ProjectionState::Stopped { error, .. } => Some((status.name.to_owned(), error.clone().into())),
            _ => None,
        })
        .collect();
    let mut body = json!({ "status": "ready", "head": head, "projections": covered });
    if !stopped.is_empty() {
        body["stopped"] = stopped.into();
    }
    Ok(Json(body))
}

/// Prometheus' text format.
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let head = app.head_position().map_or(0, Position::get);
    app.telemetry.read(&app.ctx.projections().reads());
    let page = app.telemetry.page(head, &app.ctx.projections().status());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}
