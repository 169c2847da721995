//! `POST /v1/embeddings`.

use super::error::Refusal;
use super::models::folder_of;
use super::request::{Fields, Input, inputs};
use crate::state::{App, spawned};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_gpu::Encoded;
use cairn_processors::opened_model::OpenedModel;
use cairn_processors::serving::Loaded;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const INPUTS_MAX: usize = 2048;
const KNOWN: [&str; 6] = ["model", "input", "encoding_format", "dimensions", "truncate", "prompt_name"];

struct Embedding {
    model: String,
    inputs: Vec<Input>,
    as_base64: bool,
    dimensions: Option<u64>,
    /// Whether what is too long is cut instead of refused.
    truncate: bool,
    prompt_name: Option<String>,
}

pub(super) async fn embed(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let asked = parse(Fields::of(request).await?)?;
    let room = app.begin_inference()?;
    let answerer = app.answerer.clone();
    let begun = std::time::Instant::now();
    let outcome = spawned(move || {
        let _room = room;
        Ok(answer(&answerer, asked))
    });
    let outcome = outcome.await?;
    match &outcome {
        Ok((_, tokens)) => app.telemetry.answered(*tokens, 0, begun.elapsed()),
        Err(refusal) => app.telemetry.inference_failed(refusal.problem()),
    }
    Ok(outcome?.0.into_response())
}

fn answer(answerer: &cairn_processors::serving::Answerer, asked: Embedding) -> Result<(Json<Value>, u64), Refusal> {
    let folder = folder_of(answerer, &asked.model)?;
    let Loaded::Embedder { model, .. } = &folder.loaded else {
        let message = format!("`{}` (kind `{}`) embeds no texts; name an embedder", folder.name, folder.kind());
        return Err(Refusal::value("model", message));
    };
    let prompt = model.text_prompt(asked.prompt_name.as_deref());
    let prompt = prompt.map_err(|error| Refusal::from(error).about("prompt_name"))?;
    let rows = asked.inputs.iter().enumerate().map(|(index, input)| row(model, index, input, &prompt, asked.truncate));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let tokens = rows.iter().map(|row| row.tokens.len() as u64).sum::<u64>();
    let (vectors, response) = answerer.embed(&folder, rows).map_err(|error| Refusal::from(error).about("input"))?;
    let width = vectors.first().map_or(0, Vec::len) as u64;
    if asked.dimensions.is_some_and(|dimensions| dimensions != width) {
        let message = format!("this model gives {width} dimensions and no other number; leave `dimensions` out");
        return Err(Refusal::unsupported("dimensions", message));
    }
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| {
            let embedding = match asked.as_base64 {
                true => {
                    BASE64.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()).into()
                }
                false => numbers(vector),
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let body = json!({
        "object": "list",
        "data": data,
        "model": asked.model,
        "id": response,
        "weights_digest": folder.named.weights_digest.to_string(),
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    Ok((Json(body), tokens))
}

/// Numbers with no more digits than an f32 has.
fn numbers(vector: &[f32]) -> Value {
    let text = serde_json::to_string(vector).expect("numbers serialise");
    let raw = RawValue::from_string(text).expect("written a moment ago");
    serde_json::from_str(raw.get()).expect("written a moment ago")
}

fn row(model: &OpenedModel, index: usize, input: &Input, prompt: &str, truncate: bool) -> Result<Encoded, Refusal> {
    let most = model.text_tokens_max();
    let too_long = |tokens: usize| {
        let message = format!(
            "`input[{index}]` has {tokens} tokens; this model reads at most {most} (maximum context length): shorten it, or \
             send `truncate: true`"
        );
        Refusal::context("input", message)
    };
    match input {
        Input::Text(text) => {
            let text = format!("{prompt}{text}");
            let row = model.tokenizer.encode_row(&text, most).map_err(cairn_processors::Error::from)?;
            if row.is_cut && !truncate {
                let whole = model.tokenizer.encode_prompt(&text).map_err(cairn_processors::Error::from)?;
                return Err(too_long(whole.len()));
            }
            Ok(row)
        }
        Input::Tokens(tokens) if tokens.len() > most => Err(too_long(tokens.len())),
        Input::Tokens(tokens) => {
            let types = vec![0; tokens.len()];
            Ok(Encoded { tokens: tokens.clone(), types, is_cut: false })
        }
    }
}

fn parse(mut fields: Fields) -> Result<Embedding, Refusal> {
    let model = fields.model()?;
    let input = fields.take("input").ok_or_else(|| Refusal::missing("input", "send a text or a list of texts"))?;
    let inputs = inputs("input", input, INPUTS_MAX)?;
    let as_base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let message = format!("`encoding_format` is {other}, expected float or base64");
            return Err(Refusal::value("encoding_format", message));
        }
    };
    let dimensions = fields.whole("dimensions", u64::from(u32::MAX))?;
    let truncate = fields.flag("truncate")?.unwrap_or(false);
    let prompt_name = fields.text("prompt_name")?;
    fields.end(&KNOWN)?;
    Ok(Embedding { model, inputs, as_base64, dimensions, truncate, prompt_name })
}
