//! Log-probabilities in the shapes of chat and of text completions.

use cairn_gpu::TokenLogprob;
use cairn_processors::serving::Reader;
use serde_json::{Map, Value, json};

/// The least that is written: what has no probability has none in JSON either.
const LEAST: f32 = -9999.0;

fn written(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { LEAST }
}

/// One entry of a chat choice's `logprobs.content`.
pub(super) fn of_chat(reader: &Reader, token: u32, given: &TokenLogprob) -> Value {
    let entry = |token: u32, logprob: f32| {
        let bytes = reader.token_bytes(token);
        json!({ "token": String::from_utf8_lossy(&bytes), "logprob": written(logprob), "bytes": bytes })
    };
    let top: Vec<Value> = given.top.iter().map(|(token, logprob)| entry(*token, *logprob)).collect();
    let mut one = entry(token, given.logprob);
    one["top_logprobs"] = top.into();
    one
}

/// `logprobs` of a text completion; `offset` is where in the whole text the first token's text begins, in characters.
pub(super) fn of_text(reader: &Reader, tokens: &[(u32, TokenLogprob)], mut offset: usize) -> Value {
    let shown = |token: u32| String::from_utf8_lossy(&reader.token_bytes(token)).into_owned();
    let (mut texts, mut offsets, mut tops) = (Vec::new(), Vec::new(), Vec::new());
    for (token, given) in tokens {
        let text = shown(*token);
        offsets.push(offset);
        offset += text.chars().count();
        texts.push(text);
        let top = given.top.iter().map(|(token, logprob)| (shown(*token), json!(written(*logprob))));
        tops.push(top.collect::<Map<String, Value>>());
    }
    let own: Vec<f32> = tokens.iter().map(|(_, given)| written(given.logprob)).collect();
    json!({ "tokens": texts, "token_logprobs": own, "top_logprobs": tops, "text_offset": offsets })
}
