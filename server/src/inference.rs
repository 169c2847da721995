//! `POST /v1/inference/chat`: messages to a deployment, its answer whole or as it is written. Prompts and answers are
//! never logged.

use crate::events::body;
use crate::problem::{Kind, Problem};
use crate::state::{App, spawned};
use async_stream::stream;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cairn_gpu::Sampling;
use cairn_processors::chat::Message;
use cairn_processors::serving::Answer;
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Bytes of one request.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Tokens of one answer: when the request does not say, and at most.
const ANSWER_TOKENS_DEFAULT: usize = 256;
const ANSWER_TOKENS_MAX: u64 = 32_768;
/// Pieces of an answer that wait for a slow reader.
const PIECES_MAX: usize = 64;
/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const REQUEST_KEYS: [&str; 3] = ["deployment_id", "messages", "generation"];
const GENERATION_KEYS: [&str; 6] = ["temperature", "top_p", "top_k", "max_tokens", "seed", "stream"];
/// Keys of the interface that are not built yet.
const NOT_YET: [&str; 6] = ["tools", "tool_choice", "retrieval", "adapters", "response_format", "guardrails"];

const NDJSON: &str = "application/x-ndjson";

#[derive(Debug)]
struct Chat {
    deployment: String,
    messages: Vec<Message>,
    sampling: Sampling,
    streamed: bool,
}

pub(crate) async fn chat(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let room = app.begin_inference()?;
    let headers = request.headers().clone();
    let chat = match check_media(&headers) {
        Ok(()) => parse(&body(request, REQUEST_BYTES_MAX).await?)?,
        Err(problem) => return Err(problem),
    };
    if !chat.streamed {
        let answer = answer(app.clone(), chat, None).await?;
        return Ok(Json(whole(&answer)).into_response());
    }
    let sse = headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    let mut pieces = Box::pin(pieces(app, chat, room));
    // The first piece decides the status: a refusal is a problem of its own, not a line of a stream.
    let first = match pieces.next().await {
        Some(Piece::Failed(problem)) => return Err(problem),
        other => other,
    };
    let rest = stream! {
        if let Some(first) = first {
            yield first;
        }
        while let Some(piece) = pieces.next().await {
            yield piece;
        }
    };
    Ok(if sse { as_sse(rest) } else { as_lines(rest) })
}

fn check_media(headers: &HeaderMap) -> Result<(), Problem> {
    let media = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("a body without a content-type");
    match media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            let shown: String = media.chars().take(100).collect();
            Err(Problem::new(Kind::UnsupportedMedia, format!("{shown} is not supported; send application/json")))
        }
    }
}

/// What a reader of a stream gets.
enum Piece {
    Delta(String),
    Done(Box<Answer>),
    Failed(Problem),
}

impl Piece {
    fn to_json(&self) -> Value {
        match self {
            Piece::Delta(text) => json!({ "delta": text }),
            Piece::Done(answer) => {
                let mut last = whole(answer);
                last["delta"] = "".into();
                last["done"] = true.into();
                last
            }
            Piece::Failed(problem) => json!({ "error": problem.to_json() }),
        }
    }
}

/// The whole answer, and what computed it.
fn whole(answer: &Answer) -> Value {
    json!({
        "id": answer.response,
        "model": answer.model.to_string(),
        "weights_digest": answer.weights_digest.to_string(),
        "message": { "role": "assistant", "content": answer.text },
        "finish": answer.finish,
        "usage": { "prompt_tokens": answer.prompt_tokens, "answer_tokens": answer.answer_tokens },
        "latency_ms": answer.latency_ms,
    })
}

fn pieces(app: App, chat: Chat, room: OwnedSemaphorePermit) -> impl Stream<Item = Piece> + Send + 'static {
    stream! {
        let (send, mut receive) = mpsc::channel(PIECES_MAX);
        let answering = tokio::spawn(async move {
            let _room = room;
            answer(app, chat, Some(send)).await
        });
        while let Some(text) = receive.recv().await {
            yield Piece::Delta(text);
        }
        yield match answering.await {
            Ok(Ok(answer)) => Piece::Done(Box::new(answer)),
            Ok(Err(problem)) => Piece::Failed(problem),
            Err(error) => Piece::Failed(Problem::internal(format!("the answer ended early: {error}"))),
        };
    }
}

/// Computes and records the answer on a thread that may block. A reader who went away does not stop it: it is recorded.
async fn answer(app: App, chat: Chat, deltas: Option<mpsc::Sender<String>>) -> Result<Answer, Problem> {
    let begun = Instant::now();
    let answerer = app.answerer.clone();
    let outcome = spawned(move || {
        let Chat { deployment, messages, sampling, .. } = &chat;
        let answer = match deltas {
            None => answerer.answer(deployment, messages, sampling, None),
            Some(deltas) => {
                let mut send = |text: &str| drop(deltas.blocking_send(text.to_owned()));
                answerer.answer(deployment, messages, sampling, Some(&mut send))
            }
        };
        answer.map_err(Problem::from)
    })
    .await;
    match &outcome {
        Ok(answer) => app.telemetry.answered(answer.prompt_tokens, answer.answer_tokens, begun.elapsed()),
        Err(problem) => app.telemetry.inference_failed(problem),
    }
    outcome
}

fn as_sse(pieces: impl Stream<Item = Piece> + Send + 'static) -> Response {
    let event = |piece: Piece| Ok::<_, Infallible>(Event::default().data(piece.to_json().to_string()));
    Sse::new(pieces.map(event)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn as_lines(pieces: impl Stream<Item = Piece> + Send + 'static) -> Response {
    let line = |piece: Piece| Ok::<_, Infallible>(Bytes::from(format!("{}\n", piece.to_json())));
    ([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(pieces.map(line))).into_response()
}

fn parse(body: &[u8]) -> Result<Chat, Problem> {
    let request: Map<String, Value> = serde_json::from_slice(body).map_err(|e| {
        Problem::malformed(format!(
            "the body is not a JSON object: {e}; send {{\"deployment_id\": …, \"messages\": […]}}"
        ))
    })?;
    check_keys("", &request, &REQUEST_KEYS)?;
    let deployment = match request.get("deployment_id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(_) => return Err(Problem::malformed("deployment_id must be a string that names a deployment")),
        None => return Err(Problem::malformed("deployment_id is missing; name the deployment that shall answer")),
    };
    let messages = match request.get("messages") {
        Some(messages @ Value::Array(_)) => serde_json::from_value::<Vec<Message>>(messages.clone()).map_err(|e| {
            Problem::malformed(format!("messages: {e}; each is {{\"role\": \"user\", \"content\": \"…\"}}"))
        })?,
        Some(_) => return Err(Problem::malformed("messages must be an array of {\"role\": …, \"content\": …}")),
        None => return Err(Problem::malformed("messages is missing; send at least one from the user")),
    };
    let empty = Map::new();
    let generation = match request.get("generation") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(generation)) => generation,
        Some(_) => return Err(Problem::malformed("generation must be an object such as {\"temperature\": 0}")),
    };
    check_keys("generation.", generation, &GENERATION_KEYS)?;
    let (sampling, streamed) = generation_of(generation)?;
    Ok(Chat { deployment, messages, sampling, streamed })
}

fn check_keys(prefix: &str, given: &Map<String, Value>, known: &[&str]) -> Result<(), Problem> {
    for key in given.keys() {
        let shown: String = key.chars().take(60).collect();
        if NOT_YET.contains(&key.as_str()) {
            let detail = format!("{prefix}{shown} is not supported yet; leave it out");
            return Err(Problem::new(Kind::Unsupported, detail).with("parameter", shown));
        }
        if !known.contains(&key.as_str()) {
            let elsewhere = if prefix.is_empty() && GENERATION_KEYS.contains(&key.as_str()) {
                format!("; it belongs into generation: {{\"generation\": {{\"{key}\": …}}}}")
            } else {
                String::new()
            };
            let detail = format!("{prefix}{shown} is not known; there are {}{elsewhere}", known.join(", "));
            return Err(Problem::new(Kind::Unsupported, detail).with("parameter", shown));
        }
    }
    Ok(())
}

fn generation_of(given: &Map<String, Value>) -> Result<(Sampling, bool), Problem> {
    let wrong =
        |key: &str, value: &Value, right: &str| Problem::malformed(format!("generation.{key}: {value} is not {right}"));
    let real = |key: &str| match given.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong(key, value, "a number")),
    };
    let whole = |key: &str, max: u64| match given.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_u64().filter(|n| *n <= max);
            number.map(Some).ok_or_else(|| wrong(key, value, &format!("a whole number from 0 to {max}")))
        }
    };
    let streamed = match given.get("stream") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(streamed)) => *streamed,
        Some(other) => return Err(wrong("stream", other, "true or false")),
    };
    let mut sampling = Sampling::greedy(ANSWER_TOKENS_DEFAULT, Vec::new());
    if let Some(temperature) = real("temperature")? {
        sampling.temperature = temperature as f32;
    }
    sampling.top_p = real("top_p")?.map(|p| p as f32);
    sampling.top_k = whole("top_k", u64::from(u32::MAX))?.map(|k| k as u32);
    sampling.seed = whole("seed", u64::MAX)?.unwrap_or(0);
    if let Some(tokens) = whole("max_tokens", ANSWER_TOKENS_MAX)? {
        sampling.max_new_tokens = tokens as usize;
    }
    sampling.validate().map_err(|e| Problem::malformed(format!("generation: {e}")))?;
    Ok((sampling, streamed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> Problem {
        parse(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_request_of_the_interface_is_read() {
        let body = r#"{"deployment_id": "d", "messages": [{"role": "user", "content": "hi"}],
            "generation": {"temperature": 0.2, "top_p": 0.9, "top_k": 40, "max_tokens": 12, "seed": 7, "stream": true}}"#;
        let chat = parse(body.as_bytes()).unwrap();
        assert_eq!((chat.deployment.as_str(), chat.messages.len(), chat.streamed), ("d", 1, true));
        let Sampling { temperature, top_k, top_p, seed, max_new_tokens, .. } = chat.sampling;
        assert_eq!((temperature, top_k, top_p, seed, max_new_tokens), (0.2, Some(40), Some(0.9), 7, 12));
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for (key, kind) in
            [("tools", Kind::Unsupported), ("retrieval", Kind::Unsupported), ("toolz", Kind::Unsupported)]
        {
            let problem = refusal(&format!(r#"{{"deployment_id": "d", "messages": [], "{key}": []}}"#));
            assert!(problem.kind == kind && problem.detail.contains(key), "{}", problem.detail);
        }
        let misplaced = refusal(r#"{"deployment_id": "d", "messages": [], "stream": true}"#);
        assert!(misplaced.detail.contains("belongs into generation"), "{}", misplaced.detail);
    }

    #[test]
    fn each_wrong_value_is_named() {
        let generation = |text: &str| format!(r#"{{"deployment_id": "d", "messages": [], "generation": {text}}}"#);
        for (body, said) in [
            ("[]".to_owned(), "not a JSON object"),
            ("{}".to_owned(), "deployment_id is missing"),
            (r#"{"deployment_id": 3}"#.to_owned(), "deployment_id must be"),
            (r#"{"deployment_id": "d"}"#.to_owned(), "messages is missing"),
            (r#"{"deployment_id": "d", "messages": [{"role": "user"}]}"#.to_owned(), "content"),
            (generation("7"), "generation must be an object"),
            (generation(r#"{"temperature": "hot"}"#), "generation.temperature"),
            (generation(r#"{"temperature": -1}"#), "temperature"),
            (generation(r#"{"top_p": 1.5}"#), "top_p"),
            (generation(r#"{"top_k": 0}"#), "top_k"),
            (generation(r#"{"max_tokens": 0}"#), "max_new_tokens"),
            (generation(r#"{"max_tokens": 99999999}"#), "generation.max_tokens"),
            (generation(r#"{"stream": "yes"}"#), "generation.stream"),
        ] {
            let problem = refusal(&body);
            assert!(problem.detail.contains(said), "{body}: {}", problem.detail);
        }
    }
}
