//! OpenAI's dialect: chat and text completions, embeddings, models, and reranking beside them. What is not computed here is
//! refused by name; errors have OpenAI's form, so that its clients raise what their users expect.

mod chat;
mod completions;
mod embeddings;
mod error;
mod generation;
mod logprobs;
mod models;
mod request;
mod rerank;
mod run;

use crate::app::Routes;
use axum::Router;
use axum::routing::{get, post};

/// Bytes of one request: a few thousand texts, or a long conversation.
const REQUEST_BYTES_MAX: usize = 16 << 20;

pub(crate) fn routes() -> Router<Routes> {
    Router::new()
        .route("/v1/chat/completions", post(chat::chat))
        .route("/v1/completions", post(completions::complete))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::one))
}

/// Seconds since 1970, as `created` has them.
fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
