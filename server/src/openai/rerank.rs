//! `POST /v1/rerank`: documents by how well they answer a query, in the shape that rerankers' APIs share.

use super::error::Refusal;
use super::models::folder_of;
use super::request::Fields;
use crate::state::{App, spawned};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use cairn_processors::serving::{Answerer, Loaded};
use serde_json::{Value, json};

const DOCUMENTS_MAX: usize = 2048;
const KNOWN: [&str; 5] = ["model", "query", "documents", "top_n", "return_documents"];

struct Question {
    model: String,
    query: String,
    documents: Vec<String>,
    top_n: usize,
    return_documents: bool,
}

pub(super) async fn rerank(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let asked = parse(Fields::of(request).await?)?;
    let room = app.begin_inference()?;
    let answerer = app.answerer.clone();
    let begun = std::time::Instant::now();
    let outcome = spawned(move || {
        let _room = room;
        Ok(answer(&answerer, &asked))
    });
    let outcome = outcome.await?;
    match &outcome {
        Ok((_, tokens)) => app.telemetry.answered(*tokens, 0, begun.elapsed()),
        Err(refusal) => app.telemetry.inference_failed(refusal.problem()),
    }
    Ok(outcome?.0.into_response())
}

fn answer(answerer: &Answerer, asked: &Question) -> Result<(Json<Value>, u64), Refusal> {
    let folder = folder_of(answerer, &asked.model)?;
    if !matches!(folder.loaded, Loaded::Reranker { .. }) {
        let message = format!("`{}` (kind `{}`) scores no documents; name a reranker", folder.name, folder.kind());
        return Err(Refusal::value("model", message));
    }
    let documents: Vec<&str> = asked.documents.iter().map(String::as_str).collect();
    let (scores, tokens, response) = answerer.rerank(&folder, &asked.query, &documents)?;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    order.truncate(asked.top_n);
    let result = |index: &usize| {
        let mut result = json!({ "index": index, "relevance_score": scores[*index] });
        if asked.return_documents {
            result["document"] = json!({ "text": documents[*index] });
        }
        result
    };
    let body = json!({
        "id": response,
        "model": asked.model,
        "results": order.iter().map(result).collect::<Vec<_>>(),
        "weights_digest": folder.named.weights_digest.to_string(),
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    Ok((Json(body), tokens))
}

fn parse(mut fields: Fields) -> Result<Question, Refusal> {
    let model = fields.model()?;
    let query =
        fields.text("query")?.ok_or_else(|| Refusal::missing("query", "send what the documents shall answer"))?;
    let documents = fields.list("documents")?.ok_or_else(|| Refusal::missing("documents", "send a list of texts"))?;
    if documents.is_empty() || documents.len() > DOCUMENTS_MAX {
        let message = format!("`documents` has {} entries, expected 1 to {DOCUMENTS_MAX}", documents.len());
        return Err(Refusal::value("documents", message));
    }
    let text = |(index, document): (usize, &Value)| {
        let text = document.as_str().or_else(|| document.get("text")?.as_str());
        let refusal =
            || Refusal::value("documents", format!("`documents[{index}]` is neither a text nor {{\"text\": …}}"));
        text.map(str::to_owned).ok_or_else(refusal)
    };
    let documents: Vec<String> = documents.iter().enumerate().map(text).collect::<Result<_, _>>()?;
    let top_n = fields.whole("top_n", u64::from(u32::MAX))?.map_or(documents.len(), |top| top as usize);
    if top_n == 0 {
        return Err(Refusal::value("top_n", "`top_n` is 0, expected at least 1"));
    }
    let return_documents = fields.flag("return_documents")?.unwrap_or(false);
    fields.end(&KNOWN)?;
    Ok(Question { model, query, documents, top_n, return_documents })
}
