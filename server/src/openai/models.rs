//! `GET /v1/models`: deployments that answer, and folders that are served.

use super::error::Refusal;
use crate::state::{App, spawned};
use axum::Json;
use axum::extract::{Path, State};
use cairn_processors::serving::{Answerer, Card, Folder};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Refusal> {
    let cards = cards(&app).await?;
    Ok(Json(json!({ "object": "list", "data": cards.iter().map(shown).collect::<Vec<_>>() })))
}

pub(super) async fn one(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let cards = cards(&app).await?;
    match cards.iter().find(|card| card.name == name) {
        Some(card) => Ok(Json(shown(card))),
        None => Err(Refusal::no_model(&name, &cards.into_iter().map(|card| card.name).collect::<Vec<_>>())),
    }
}

async fn cards(app: &App) -> Result<Vec<Card>, Refusal> {
    let answerer = app.answerer.clone();
    Ok(spawned(move || Ok(answerer.cards()?)).await?)
}

/// A folder of this name, for embedding and scoring.
pub(super) fn folder_of(answerer: &Answerer, name: &str) -> Result<Arc<Folder>, Refusal> {
    if let Some(folder) = answerer.folder(name) {
        return Ok(folder);
    }
    let cards = answerer.cards()?;
    match cards.iter().find(|card| card.name == name) {
        Some(_) => Err(Refusal::value("model", format!("`{name}` is a decoder; it neither embeds nor scores texts"))),
        None => Err(Refusal::no_model(name, &cards.into_iter().map(|card| card.name).collect::<Vec<_>>())),
    }
}

fn shown(card: &Card) -> Value {
    json!({
        "id": card.name,
        "object": "model",
        "created": card.since_s,
        "owned_by": "cairn",
        "kind": card.kind,
        "model": card.model.to_string(),
        "weights_digest": card.weights_digest.to_string(),
    })
}
