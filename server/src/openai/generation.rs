//! How tokens are chosen and when an answer ends: the fields that chat and text completions share.

use super::error::Refusal;
use super::request::Fields;
use cairn_gpu::{Finish, Sampling};
use cairn_processors::serving::{Ask, Reader};
use serde_json::Value;

/// Tokens of one answer, at most.
const ANSWER_TOKENS_MAX: u64 = 1 << 20;
const STOPS_MAX: usize = 16;

/// Names of the fields read here, for messages.
pub(super) const KNOWN: [&str; 17] = [
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "n",
    "stream",
    "stream_options",
    "logprobs",
    "ignore_eos",
    "logit_bias",
];

/// What is asked beside the prompt.
#[derive(Debug)]
pub(super) struct Generation {
    max_tokens: Option<u64>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    seed: Option<u64>,
    stop: Vec<String>,
    ignore_eos: bool,
    pub(super) n: usize,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

impl Generation {
    /// Takes its fields out of a request.
    pub(super) fn take(fields: &mut Fields) -> Result<Self, Refusal> {
        let stop = fields.texts("stop")?;
        if stop.len() > STOPS_MAX {
            return Err(Refusal::value(
                "stop",
                format!("`stop` has {} texts, at most {STOPS_MAX} are taken", stop.len()),
            ));
        }
        if fields.take("logit_bias").is_some_and(|bias| bias.as_object().is_none_or(|bias| !bias.is_empty())) {
            return Err(Refusal::unsupported("logit_bias", "`logit_bias` is not supported; leave it out"));
        }
        let stream = fields.flag("stream")?.unwrap_or(false);
        let options = fields.object("stream_options")?;
        if options.is_some() && !stream {
            return Err(Refusal::value("stream_options", "`stream_options` needs `stream: true`"));
        }
        let include_usage = options.is_some_and(|options| options.get("include_usage") == Some(&Value::Bool(true)));
        let most = fields.whole("max_completion_tokens", ANSWER_TOKENS_MAX)?;
        Ok(Self {
            max_tokens: most.or(fields.whole("max_tokens", ANSWER_TOKENS_MAX)?),
            temperature: fields.number("temperature")?,
            top_p: fields.number("top_p")?,
            // As elsewhere, -1 and 0 are no limit.
            top_k: match fields.take("top_k") {
                None => None,
                Some(value) if value.as_i64() == Some(-1) || value.as_i64() == Some(0) => None,
                Some(value) => Some(value.as_u64().and_then(|k| u32::try_from(k).ok()).ok_or_else(|| {
                    Refusal::value("top_k", format!("`top_k` is {value}, expected a whole number above 0, or -1"))
                })?),
            },
            min_p: fields.number("min_p")?,
            repetition_penalty: fields.number("repetition_penalty")?,
            presence_penalty: fields.number("presence_penalty")?,
            frequency_penalty: fields.number("frequency_penalty")?,
            seed: match fields.take("seed") {
                None => None,
                // Any whole number, as there; a negative one counts as its two's complement.
                Some(value) => Some(
                    value
                        .as_u64()
                        .or_else(|| value.as_i64().map(|seed| seed as u64))
                        .ok_or_else(|| Refusal::value("seed", format!("`seed` is {value}, expected a whole number")))?,
                ),
            },
            stop,
            ignore_eos: fields.flag("ignore_eos")?.unwrap_or(false),
            n: fields.whole("n", 128)?.unwrap_or(1) as usize,
            stream,
            include_usage,
        })
    }

    /// The whole request for a prompt. Without a seed one is drawn, so that the record of the answer holds it.
    pub(super) fn ask(&self, reader: &Reader, prompt: Vec<u32>, tokens_default: usize, recorded: String) -> Ask {
        let most = self.max_tokens.map_or(tokens_default, |most| most as usize);
        let defaults = reader.sampling(most);
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_p: self.top_p.filter(|p| *p != 1.0).or(defaults.top_p.filter(|_| self.top_p.is_none())),
            top_k: self.top_k.or(defaults.top_k),
            min_p: self.min_p.filter(|p| *p != 0.0).or(defaults.min_p),
            repetition_penalty: self.repetition_penalty.or(defaults.repetition_penalty).filter(|p| *p != 1.0),
            presence_penalty: self.presence_penalty.filter(|p| *p != 0.0),
            frequency_penalty: self.frequency_penalty.filter(|p| *p != 0.0),
            seed: self.seed.unwrap_or_else(drawn_seed),
            stop: if self.ignore_eos { Vec::new() } else { defaults.stop.clone() },
            ..defaults
        };
        Ask { stop: self.stop.clone(), n: self.n, ..Ask::new(prompt, sampling, recorded) }
    }
}

fn drawn_seed() -> u64 {
    let mut hasher = std::hash::BuildHasher::build_hasher(&std::collections::hash_map::RandomState::new());
    std::hash::Hasher::write_u8(&mut hasher, 0);
    // Within what JSON readers keep exactly.
    std::hash::Hasher::finish(&hasher) >> 11
}

/// Why an answer ended, in OpenAI's words.
pub(super) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Cancelled => "stop",
        Finish::Length | Finish::Context => "length",
    }
}
