//! `POST /v1/completions`: prompts continued.

use super::chat::usage;
use super::error::Refusal;
use super::generation::{Generation, KNOWN, finish_reason};
use super::request::{Fields, Input, inputs};
use super::run::{self, Piece};
use super::{logprobs, now_s};
use crate::state::{App, spawned};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use cairn_gpu::{Output, TokenLogprob};
use cairn_processors::serving::{Answered, Generating};
use futures_util::Stream;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

const PROMPTS_MAX: usize = 128;
const LOGPROBS_MAX: u64 = 20;
/// Tokens of an answer where the request does not say, as there.
const ANSWER_TOKENS_DEFAULT: usize = 16;
const OWN: [&str; 4] = ["prompt", "echo", "suffix", "best_of"];

struct Completion {
    model: String,
    prompts: Vec<Input>,
    generation: Generation,
    logprobs: Option<usize>,
    echo: bool,
}

/// What every piece of an answer says of it.
struct Frame {
    id: String,
    model: String,
    created: u64,
    generating: Arc<Generating>,
    /// Texts of the prompts, where they are to be given back.
    echoes: Vec<String>,
    n: usize,
}

pub(super) async fn complete(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let Completion { model, prompts, generation, logprobs, echo } = parse(Fields::of(request).await?)?;
    let room = app.begin_inference()?;
    let generating = run::generating(&app, model.clone()).await?;
    let reading = generating.clone();
    let read = spawned(move || {
        let read = |prompt: Input| match prompt {
            Input::Text(text) => reading.reader.prompt_of_text(&text).map(|tokens| (tokens, text)),
            Input::Tokens(tokens) => {
                let text = reading.reader.detokenizer().decode(&tokens);
                Ok((tokens, text))
            }
        };
        Ok(prompts.into_iter().map(read).collect::<Result<Vec<_>, _>>())
    });
    let read = read.await?.map_err(|error| Refusal::from(error).about("prompt"))?;
    let echoes = if echo { read.iter().map(|(_, text)| text.clone()).collect() } else { Vec::new() };
    let asks = read.into_iter().map(|(prompt, text)| {
        let mut ask = generation.ask(&generating.reader, prompt, ANSWER_TOKENS_DEFAULT, text);
        ask.logprobs = logprobs;
        ask
    });
    let (ids, pieces) = run::begin(&app, generating.clone(), (asks.collect(), "prompt"), room).await?;
    let id = ids.into_iter().next().unwrap_or_default();
    let frame = Frame { id, model, created: now_s(), generating, echoes, n: generation.n };
    if generation.stream {
        return Ok(run::as_events(events(frame, pieces, generation.include_usage)));
    }
    let answers = run::whole(pieces).await?;
    Ok(Json(whole(&frame, &answers)).into_response())
}

impl Frame {
    fn with(&self, choices: Value) -> Value {
        let digest = self.generating.named.weights_digest.to_string();
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": digest,
            "weights_digest": digest,
            "choices": choices,
        })
    }

    fn echo(&self, prompt: usize) -> &str {
        self.echoes.get(prompt).map_or("", String::as_str)
    }

    fn chunk(&self, index: usize, text: &str, logprobs: Value, finish: Option<&str>) -> Value {
        self.with(json!([{ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish }]))
    }
}

fn whole(frame: &Frame, answers: &[Answered]) -> Value {
    let mut choices = Vec::new();
    for (prompt, answered) in answers.iter().enumerate() {
        for choice in &answered.choices {
            let echo = frame.echo(prompt);
            let logprobs = match choice.logprobs.is_empty() {
                true => Value::Null,
                false => {
                    let tokens: Vec<(u32, TokenLogprob)> =
                        choice.ids.iter().copied().zip(choice.logprobs.iter().cloned()).collect();
                    logprobs::of_text(&frame.generating.reader, &tokens, echo.chars().count())
                }
            };
            choices.push(json!({
                "index": choices.len(),
                "text": format!("{echo}{}", choice.text),
                "logprobs": logprobs,
                "finish_reason": finish_reason(choice.finish),
            }));
        }
    }
    let mut body = frame.with(choices.into());
    body["usage"] = total(answers);
    body
}

fn total(answers: &[Answered]) -> Value {
    let each: Vec<Value> = answers.iter().map(usage).collect();
    let sum = |key: &str| each.iter().filter_map(|one| one[key].as_u64()).sum::<u64>();
    json!({
        "prompt_tokens": sum("prompt_tokens"),
        "completion_tokens": sum("completion_tokens"),
        "total_tokens": sum("total_tokens"),
    })
}

fn events(
    frame: Frame,
    mut pieces: mpsc::Receiver<Piece>,
    include_usage: bool,
) -> impl Stream<Item = Value> + Send + 'static {
    async_stream::stream! {
        let mut answers = Vec::new();
        // Characters of each choice so far: where a token's text begins.
        let mut told: Vec<usize> = Vec::new();
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Output(prompt, Output::Token(chunk)) => {
                    let index = prompt * frame.n + chunk.choice;
                    if told.len() <= index {
                        told.resize(index + 1, usize::MAX);
                    }
                    let mut text = chunk.text;
                    if told[index] == usize::MAX {
                        told[index] = frame.echo(prompt).chars().count();
                        text.insert_str(0, frame.echo(prompt));
                    }
                    let logprobs = match chunk.logprob {
                        Some(given) => {
                            let token = [(chunk.token, given)];
                            let shown = logprobs::of_text(&frame.generating.reader, &token, told[index]);
                            let bytes = frame.generating.reader.token_bytes(chunk.token);
                            told[index] += String::from_utf8_lossy(&bytes).chars().count();
                            shown
                        }
                        None => Value::Null,
                    };
                    if !text.is_empty() || !logprobs.is_null() {
                        yield frame.chunk(index, &text, logprobs, None);
                    }
                }
                Piece::Output(prompt, Output::End { choice, finish, text }) => {
                    let index = prompt * frame.n + choice;
                    yield frame.chunk(index, &text, Value::Null, Some(finish_reason(finish)));
                }
                Piece::Output(_, Output::Done(_)) => {}
                Piece::Answered(answered) => answers.push(*answered),
                Piece::Failed(refusal) => {
                    yield refusal.to_json();
                    return;
                }
            }
        }
        if include_usage {
            let mut last = frame.with(json!([]));
            last["usage"] = total(&answers);
            yield last;
        }
    }
}

fn parse(mut fields: Fields) -> Result<Completion, Refusal> {
    let model = fields.model()?;
    let prompt = fields.take("prompt").ok_or_else(|| Refusal::missing("prompt", "send a text to continue"))?;
    let prompts = inputs("prompt", prompt, PROMPTS_MAX)?;
    let echo = fields.flag("echo")?.unwrap_or(false);
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(Refusal::unsupported("suffix", "`suffix` is not supported; leave it out"));
    }
    // Some clients send it as a flag, as in chat.
    let logprobs = match fields.take("logprobs") {
        None | Some(Value::Bool(false)) => None,
        Some(value) => Some(value.as_u64().filter(|count| *count <= LOGPROBS_MAX).ok_or_else(|| {
            let message = format!("`logprobs` is {value}, expected a whole number from 0 to {LOGPROBS_MAX}");
            Refusal::value("logprobs", message)
        })? as usize),
    };
    if echo && logprobs.is_some() {
        return Err(Refusal::unsupported("echo", "`echo` with `logprobs` is not supported; send one of them"));
    }
    let best_of = fields.whole("best_of", u64::MAX)?;
    let generation = Generation::take(&mut fields)?;
    if best_of.is_some_and(|best_of| best_of != generation.n as u64) {
        return Err(Refusal::unsupported("best_of", "`best_of` other than `n` is not supported; leave it out"));
    }
    fields.end(&[&KNOWN[..], &OWN[..]].concat())?;
    Ok(Completion { model, prompts, generation, logprobs, echo })
}
