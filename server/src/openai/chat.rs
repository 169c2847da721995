//! `POST /v1/chat/completions`.

use super::error::Refusal;
use super::generation::{Generation, KNOWN, finish_reason};
use super::request::{Fields, wrong};
use super::run::{self, Piece};
use super::{logprobs, now_s};
use crate::state::{App, spawned};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use cairn_gpu::Output;
use cairn_processors::opened_model::Turns;
use cairn_processors::serving::{Answered, Generating};
use futures_util::Stream;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

const MESSAGES_MAX: usize = 4096;
const TOP_LOGPROBS_MAX: u64 = 20;
/// Tokens of an answer where the request does not say.
const ANSWER_TOKENS_DEFAULT: usize = 2048;
const OWN: [&str; 9] = [
    "messages",
    "tools",
    "tool_choice",
    "response_format",
    "top_logprobs",
    "max_completion_tokens",
    "chat_template_kwargs",
    "modalities",
    "reasoning_effort",
];

/// A request that was read.
struct Chat {
    model: String,
    turns: Turns,
    generation: Generation,
    logprobs: Option<usize>,
}

/// What every piece of an answer says of it.
struct Frame {
    id: String,
    model: String,
    created: u64,
    generating: Arc<Generating>,
}

pub(super) async fn chat(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let chat = parse(Fields::of(request).await?)?;
    let room = app.begin_inference()?;
    let generating = run::generating(&app, chat.model.clone()).await?;
    let reading = generating.clone();
    let turns = chat.turns;
    let (prompt, recorded) = spawned(move || {
        let prompt = reading.reader.prompt_of_turns(&turns);
        Ok((prompt, serde_json::to_string(&turns.messages).expect("messages serialise")))
    })
    .await?;
    let prompt = prompt.map_err(|error| Refusal::from(error).about("messages"))?;
    let mut ask = chat.generation.ask(&generating.reader, prompt, ANSWER_TOKENS_DEFAULT, recorded);
    ask.logprobs = chat.logprobs;
    let (mut ids, pieces) = run::begin(&app, generating.clone(), (vec![ask], "messages"), room).await?;
    let frame = Frame { id: ids.swap_remove(0), model: chat.model, created: now_s(), generating };
    if chat.generation.stream {
        let answers = chat.generation.n;
        return Ok(run::as_events(events(
            frame,
            pieces,
            answers,
            chat.logprobs.is_some(),
            chat.generation.include_usage,
        )));
    }
    let answered = run::whole(pieces).await?.swap_remove(0);
    Ok(Json(whole(&frame, &answered)).into_response())
}

fn whole(frame: &Frame, answered: &Answered) -> Value {
    let reader = &frame.generating.reader;
    let choices: Vec<Value> = answered
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let content: Vec<Value> = choice
                .ids
                .iter()
                .zip(&choice.logprobs)
                .map(|(token, given)| logprobs::of_chat(reader, *token, given))
                .collect();
            let logprobs = match choice.logprobs.is_empty() {
                true => Value::Null,
                false => json!({ "content": content, "refusal": null }),
            };
            json!({
                "index": index,
                "message": { "role": "assistant", "content": choice.text, "refusal": null },
                "logprobs": logprobs,
                "finish_reason": finish_reason(choice.finish),
            })
        })
        .collect();
    let mut body = frame.with("chat.completion", choices.into());
    body["usage"] = usage(answered);
    body
}

pub(super) fn usage(answered: &Answered) -> Value {
    let (prompt, answer) = (answered.prompt_tokens, answered.answer_tokens);
    json!({ "prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer })
}

impl Frame {
    fn with(&self, object: &str, choices: Value) -> Value {
        let digest = self.generating.named.weights_digest.to_string();
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": digest,
            "weights_digest": digest,
            "choices": choices,
        })
    }

    fn chunk(&self, index: usize, delta: Value, logprobs: Value, finish: Option<&str>) -> Value {
        let choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish });
        self.with("chat.completion.chunk", json!([choice]))
    }
}

/// The chunks of an answer, as they come.
fn events(
    frame: Frame,
    mut pieces: mpsc::Receiver<Piece>,
    answers: usize,
    shows_logprobs: bool,
    include_usage: bool,
) -> impl Stream<Item = Value> + Send + 'static {
    async_stream::stream! {
        for index in 0..answers {
            yield frame.chunk(index, json!({ "role": "assistant", "content": "" }), Value::Null, None);
        }
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Output(_, Output::Token(chunk)) => {
                    let logprobs = match &chunk.logprob {
                        Some(given) if shows_logprobs => {
                            json!({ "content": [logprobs::of_chat(&frame.generating.reader, chunk.token, given)], "refusal": null })
                        }
                        _ => Value::Null,
                    };
                    if !chunk.text.is_empty() || !logprobs.is_null() {
                        yield frame.chunk(chunk.choice, json!({ "content": chunk.text }), logprobs, None);
                    }
                }
                Piece::Output(_, Output::End { choice, finish, text }) => {
                    if !text.is_empty() {
                        yield frame.chunk(choice, json!({ "content": text }), Value::Null, None);
                    }
                    yield frame.chunk(choice, json!({}), Value::Null, Some(finish_reason(finish)));
                }
                Piece::Output(_, Output::Done(_)) => {}
                Piece::Answered(answered) => {
                    if include_usage {
                        let mut last = frame.with("chat.completion.chunk", json!([]));
                        last["usage"] = usage(&answered);
                        yield last;
                    }
                }
                Piece::Failed(refusal) => yield refusal.to_json(),
            }
        }
    }
}

fn parse(mut fields: Fields) -> Result<Chat, Refusal> {
    let model = fields.model()?;
    let messages = fields.list("messages")?.ok_or_else(|| Refusal::missing("messages", "send at least one"))?;
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        let message = format!("`messages` has {} entries, expected 1 to {MESSAGES_MAX}", messages.len());
        return Err(Refusal::value("messages", message));
    }
    let messages = messages.into_iter().enumerate().map(|(index, message)| read_message(index, message));
    let messages = messages.collect::<Result<Vec<_>, _>>()?;
    let tools = fields.list("tools")?.filter(|tools| !tools.is_empty());
    if let Some(tools) = &tools {
        check_tools(tools)?;
    }
    let tools = match fields.take("tool_choice") {
        None => tools,
        Some(Value::String(choice)) if choice == "auto" => tools,
        Some(Value::String(choice)) if choice == "none" => None,
        Some(other) => {
            let message = format!("`tool_choice` is {other}; only \"auto\" and \"none\" are supported");
            return Err(Refusal::unsupported("tool_choice", message));
        }
    };
    if let Some(format) = fields.object("response_format")?
        && format.get("type").and_then(Value::as_str) != Some("text")
    {
        let message = "only {\"type\": \"text\"} is supported as `response_format`";
        return Err(Refusal::unsupported("response_format", message));
    }
    if let Some(modalities) = fields.list("modalities")?
        && modalities != [json!("text")]
    {
        return Err(Refusal::unsupported("modalities", "only [\"text\"] is supported as `modalities`"));
    }
    let mut more = fields.object("chat_template_kwargs")?.unwrap_or_default();
    if let Some(effort) = fields.text("reasoning_effort")? {
        more.entry("reasoning_effort").or_insert(effort.into());
    }
    let shows_logprobs = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.whole("top_logprobs", TOP_LOGPROBS_MAX)?;
    if top.is_some() && !shows_logprobs {
        return Err(Refusal::value("top_logprobs", "`top_logprobs` needs `logprobs: true`"));
    }
    let generation = Generation::take(&mut fields)?;
    fields.end(&[&KNOWN[..], &OWN[..]].concat())?;
    let logprobs = shows_logprobs.then_some(top.unwrap_or(0) as usize);
    Ok(Chat { model, turns: Turns { messages, tools, more }, generation, logprobs })
}

fn check_tools(tools: &[Value]) -> Result<(), Refusal> {
    let is_function = |tool: &Value| {
        tool.get("type").and_then(Value::as_str) == Some("function")
            && tool.pointer("/function/name").is_some_and(Value::is_string)
    };
    match tools.iter().position(|tool| !is_function(tool)) {
        Some(index) => {
            let right = "{\"type\": \"function\", \"function\": {\"name\": …, \"parameters\": …}}";
            Err(Refusal::value("tools", format!("`tools[{index}]` is not {right}")))
        }
        None => Ok(()),
    }
}

/// A message as templates read it: content as one text, arguments of calls as objects.
fn read_message(index: usize, message: Value) -> Result<Value, Refusal> {
    let at = format!("messages[{index}]");
    let Value::Object(mut message) = message else {
        return Err(wrong(&at, &message, "an object with `role` and `content`"));
    };
    let role = message.get("role").and_then(Value::as_str).map(str::to_owned);
    let Some(role) = role.filter(|role| !role.is_empty()) else {
        return Err(Refusal::value(&at, format!("`{at}` has no `role`; there are system, user, assistant and tool")));
    };
    if role == "developer" {
        // OpenAI's newer word for the same; templates know the older.
        message.insert("role".to_owned(), "system".into());
    }
    let content = match message.remove("content") {
        None | Some(Value::Null) if role == "assistant" => String::new(),
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => joined(&at, parts)?,
        None | Some(_) => {
            return Err(Refusal::value(&at, format!("`{at}.content` must be a text, or a list of parts of type text")));
        }
    };
    message.insert("content".to_owned(), content.into());
    match message.get_mut("tool_calls") {
        None => {}
        Some(Value::Null) => drop(message.remove("tool_calls")),
        Some(Value::Array(calls)) => {
            for call in calls {
                let arguments = call.get_mut("function").and_then(|function| function.get_mut("arguments"));
                if let Some(arguments) = arguments
                    && let Value::String(text) = arguments
                {
                    let parsed: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
                        Refusal::value(&at, format!("the arguments of a call in `{at}` are no JSON object: {error}"))
                    })?;
                    *arguments = Value::Object(parsed);
                }
            }
        }
        Some(other) => return Err(wrong(&format!("{at}.tool_calls"), other, "a list")),
    }
    Ok(Value::Object(message))
}

fn joined(at: &str, parts: Vec<Value>) -> Result<String, Refusal> {
    let mut texts = Vec::new();
    for part in parts {
        match (part.get("type").and_then(Value::as_str), part.get("text").and_then(Value::as_str)) {
            (Some("text"), Some(text)) => texts.push(text.to_owned()),
            (kind, _) => {
                let kind = kind.unwrap_or("a part without a type");
                let message =
                    format!("`{at}.content` holds {kind}; only parts {{\"type\": \"text\", \"text\": …}} are read");
                return Err(Refusal::unsupported(at, message));
            }
        }
    }
    Ok(texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: Value) -> Value {
        let mut whole = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
        body.as_object().unwrap().iter().for_each(|(key, value)| whole[key] = value.clone());
        match parse(Fields::of_json(whole)) {
            Ok(_) => panic!("{body} was taken"),
            Err(refusal) => refusal.to_json()["error"].clone(),
        }
    }

    #[test]
    fn messages_become_what_templates_read() {
        let body = json!({ "model": "m", "messages": [
            { "role": "developer", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "1", "type": "function",
                "function": { "name": "f", "arguments": "{\"z\": 1, \"a\": [2]}" } }] },
            { "role": "tool", "tool_call_id": "1", "content": "7" },
        ], "tools": [{ "type": "function", "function": { "name": "f" } }], "user": "somebody", "temperature": null });
        let chat = parse(Fields::of_json(body)).unwrap_or_else(|refusal| panic!("{:?}", refusal));
        let messages = &chat.turns.messages;
        assert_eq!((&messages[0]["role"], &messages[0]["content"]), (&json!("system"), &json!("a\nb")));
        assert_eq!(messages[1]["content"], "");
        assert_eq!(messages[1]["tool_calls"][0]["function"]["arguments"], json!({ "z": 1, "a": [2] }));
        assert!(chat.turns.tools.is_some() && chat.logprobs.is_none() && chat.generation.n == 1);
    }

    #[test]
    fn each_wrong_value_is_named() {
        for (body, param, code) in [
            (json!({ "model": 7 }), "model", "invalid_value"),
            (json!({ "model": "" }), "model", "missing_required_parameter"),
            (json!({ "messages": [] }), "messages", "invalid_value"),
            (json!({ "messages": null }), "messages", "missing_required_parameter"),
            (json!({ "messages": ["x"] }), "messages[0]", "invalid_value"),
            (json!({ "messages": [{ "content": "x" }] }), "messages[0]", "invalid_value"),
            (json!({ "messages": [{ "role": "user" }] }), "messages[0]", "invalid_value"),
            (
                json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] }),
                "messages[0]",
                "unsupported_parameter",
            ),
            (json!({ "temperature": "hot" }), "temperature", "invalid_value"),
            (json!({ "top_k": 1.5 }), "top_k", "invalid_value"),
            (json!({ "max_tokens": -1 }), "max_tokens", "invalid_value"),
            (json!({ "n": 1000 }), "n", "invalid_value"),
            (json!({ "seed": "x" }), "seed", "invalid_value"),
            (json!({ "stop": [1] }), "stop", "invalid_value"),
            (json!({ "stop": vec!["x"; 17] }), "stop", "invalid_value"),
            (json!({ "stream": "yes" }), "stream", "invalid_value"),
            (json!({ "stream_options": { "include_usage": true } }), "stream_options", "invalid_value"),
            (json!({ "top_logprobs": 3 }), "top_logprobs", "invalid_value"),
            (json!({ "logprobs": true, "top_logprobs": 21 }), "top_logprobs", "invalid_value"),
            (json!({ "tools": [{ "type": "retrieval" }] }), "tools", "invalid_value"),
            (json!({ "tool_choice": "required" }), "tool_choice", "unsupported_parameter"),
            (json!({ "response_format": { "type": "json_object" } }), "response_format", "unsupported_parameter"),
            (json!({ "logit_bias": { "5": 1 } }), "logit_bias", "unsupported_parameter"),
            (json!({ "temprature": 1 }), "temprature", "unknown_parameter"),
        ] {
            let error = refused(body.clone());
            assert_eq!((error["param"].as_str(), error["code"].as_str()), (Some(param), Some(code)), "{body}: {error}");
            assert_eq!(error["type"], "invalid_request_error");
            assert!(!error["message"].as_str().unwrap().is_empty());
        }
    }
}
