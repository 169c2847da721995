//! What operators and their machines ask: is it alive, is it ready, what are its figures.

use crate::problem::{Kind, Problem};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use cairn_projections::{ProjectionState, ProjectionStatus};
use cairn_schemas::Position;
use serde_json::{Map, Value, json};

/// A projection this far behind the log does not answer for it.
const LAG_EVENTS_MAX: u64 = 100_000;

/// The process answers.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }))
}

/// The ledger can be read, every projection answers, and none has fallen far behind.
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    if *app.stopping.borrow() {
        return Err(Problem::new(Kind::Unavailable, "the server is stopping").retry_after(5));
    }
    let head = app.head_position().map_or(0, Position::get);
    readiness(head, &app.ctx.projections().status()).map(Json)
}

fn readiness(head: u64, projections: &[ProjectionStatus]) -> Result<Value, Problem> {
    if let Some(detail) = projections.iter().find_map(|status| unready(head, status)) {
        return Err(Problem::new(Kind::NotCaughtUp, detail).retry_after(5));
    }
    let covered = |status: &ProjectionStatus| (status.name.to_owned(), json!(position(status)));
    let covered: Map<String, Value> = projections.iter().map(covered).collect();
    let stopped = |status: &ProjectionStatus| match &status.state {
        ProjectionState::Stopped { error, .. } => Some((status.name.to_owned(), error.clone().into())),
        _ => None,
    };
    let stopped: Map<String, Value> = projections.iter().filter_map(stopped).collect();
    let mut body = json!({ "status": "ready", "head": head, "projections": covered });
    if !stopped.is_empty() {
        body["stopped"] = stopped.into();
    }
    Ok(body)
}

/// Why questions to a projection are refused, or answered too late.
fn unready(head: u64, status: &ProjectionStatus) -> Option<String> {
    let (name, covered) = (status.name, position(status));
    match &status.state {
        // Whatever its lag: it answers nothing until it is whole.
        ProjectionState::Rebuilding { done, total } if !status.answers => Some(format!(
            "projection {name} is being rebuilt, {done} of {total} events so far, and answers nothing until it is done"
        )),
        _ if !status.answers => {
            Some(format!("projection {name} is being rebuilt and answers nothing until it is done"))
        }
        // One that stopped keeps nobody from asking the others; the answer says so, and the metrics.
        ProjectionState::Stopped { .. } => None,
        _ if status.lag <= LAG_EVENTS_MAX => None,
        // The store in use answers meanwhile, and is late.
        ProjectionState::Rebuilding { done, total } => {
            Some(format!("projection {name} is being rebuilt, {done} of {total} events so far"))
        }
        _ => Some(format!("projection {name} covers {covered} of {head} events; it is catching up")),
    }
}

fn position(status: &ProjectionStatus) -> u64 {
    status.watermark.map_or(0, Position::get)
}

/// Prometheus' text format.
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let head = app.head_position().map_or(0, Position::get);
    app.telemetry.read(&app.ctx.projections().reads());
    let page = app.telemetry.page(head, &app.ctx.projections().status());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(watermark: u64, answers: bool, state: ProjectionState) -> ProjectionStatus {
        ProjectionStatus {
            name: "catalog",
            version: 1,
            engine: "sled",
            watermark: Position::new(watermark),
            lag: 500_000 - watermark,
            answers,
            state,
        }
    }

    #[test]
    fn it_is_ready_once_every_projection_answers() {
        let rebuilding = |done| ProjectionState::Rebuilding { done, total: 500_000 };
        // Also at its very end a first store answers nothing.
        for done in [3, 499_999] {
            let problem = readiness(500_000, &[status(done, false, rebuilding(done))]).unwrap_err();
            assert_eq!((problem.kind, problem.kind.status().as_u16()), (Kind::NotCaughtUp, 503));
            let wanted = format!("projection catalog is being rebuilt, {done} of 500000 events so far, and answers");
            assert!(problem.detail.contains(&wanted), "{}", problem.detail);
        }
        // Beside a store in use it is the lag of that one that counts.
        let ready = readiness(500_000, &[status(499_000, true, rebuilding(3))]).unwrap();
        assert_eq!(ready["projections"]["catalog"], 499_000);
        for late in [rebuilding(3), ProjectionState::CatchingUp] {
            assert!(readiness(500_000, &[status(100, true, late)]).is_err());
        }
        let stopped = ProjectionState::Stopped { position: Position::new(8).unwrap(), error: "why".into() };
        assert_eq!(readiness(500_000, &[status(7, true, stopped)]).unwrap()["stopped"]["catalog"], "why");
    }
}
