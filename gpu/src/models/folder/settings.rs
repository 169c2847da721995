//! What stands beside configuration and weights: the tokenizer's settings, defaults for generation, and how
//! sentence-transformers pools and scores.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{file_error, read_json, read_text};
use crate::Error;
use crate::models::{Head, ModelConfig, Pooling, PoolingKind};

const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";
const TEMPLATE_FILE: &str = "chat_template.jinja";
const GENERATION_FILE: &str = "generation_config.json";
const MODULES_FILE: &str = "modules.json";
const SENTENCE_FILE: &str = "sentence_bert_config.json";
const PROMPTS_FILE: &str = "config_sentence_transformers.json";
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Tokenizers without a limit say so by numbers such as 1e30.
const UNLIMITED: f64 = 1e9;

/// Settings of the tokenizer and of the texts it meets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextSettings {
    /// Jinja, as `apply_chat_template` renders it.
    pub chat_template: Option<String>,
    /// Another for conversations with tools, where the folder has one.
    pub tool_template: Option<String>,
    /// Texts by role, such as `bos_token` to `<s>`.
    pub special_tokens: BTreeMap<String, String>,
    /// Most tokens of one text, special ones included, by the tokenizer or by sentence-transformers.
    pub tokens_max: Option<usize>,
    /// Texts put before what is embedded, by what it is: `query`, `document`.
    pub prompts: BTreeMap<String, String>,
    /// The prompt that stands before every text.
    pub default_prompt: Option<String>,
}

/// `generation_config.json`, and where that is silent, `config.json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    pub bos: Option<u32>,
    /// Any of these ends an answer.
    pub eos: Vec<u32>,
    pub pad: Option<u32>,
    /// Whether tokens are drawn; the likeliest is taken otherwise.
    pub sample: bool,
    pub temperature: Option<f64>,
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub repetition_penalty: Option<f64>,
}

/// What a reranker's one number goes through before it is a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreActivation {
    Identity,
    Sigmoid,
}

impl ScoreActivation {
    pub fn apply(self, logit: f32) -> f32 {
        match self {
            Self::Identity => logit,
            Self::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
        }
    }
}

/// Refuses a tokenizer with ids for which the model has no row. Absent is no error here: ids can be given as they are.
pub(super) fn check_vocabulary(path: &Path, rows: usize) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Tokenizer {
        model: Model,
        #[serde(default)]
        added_tokens: Vec<Added>,
    }
    #[derive(Deserialize)]
    struct Model {
        vocab: Highest,
    }
    #[derive(Deserialize)]
    struct Added {
        id: u64,
        content: String,
    }
    if !path.is_file() {
        return Ok(());
    }
    let tokenizer: Tokenizer = read_json(path)?;
    let of_added = tokenizer.added_tokens.into_iter().map(|added| (added.id, added.content));
    let highest = of_added.chain(tokenizer.model.vocab.0).max();
    match highest {
        Some((id, text)) if id >= rows as u64 => {
            let problem = format!(
                "gives `{text}` the id {id}; the model's table has {rows} rows (`vocab_size`): they are of different models"
            );
            Err(file_error(path, problem))
        }
        _ => Ok(()),
    }
}

/// The highest id of a vocabulary and its token. Vocabularies are long: nothing else of them is kept.
struct Highest(Option<(u64, String)>);

impl<'de> Deserialize<'de> for Highest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seek;
        impl<'de> Visitor<'de> for Seek {
            type Value = Highest;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a vocabulary: tokens with ids, or a list of tokens with scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Highest, A::Error> {
                let mut highest: Option<(u64, String)> = None;
                while let Some((token, id)) = entries.next_entry::<String, u64>()? {
                    if highest.as_ref().is_none_or(|(known, _)| id > *known) {
                        highest = Some((id, token));
                    }
                }
                Ok(Highest(highest))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Highest, A::Error> {
                let mut highest = None;
                let mut id = 0;
                while let Some((token, _)) = entries.next_element::<(String, IgnoredAny)>()? {
                    highest = Some((id, token));
                    id += 1;
                }
                Ok(Highest(highest))
            }
        }
        deserializer.deserialize_any(Seek)
    }
}

pub(super) fn texts(dir: &Path) -> Result<TextSettings, Error> {
    let mut texts = TextSettings::default();
    if let Some(keys) = maybe(&dir.join(TOKENIZER_CONFIG_FILE))? {
        texts.chat_template = keys.get("chat_template").and_then(|value| template(value, "default"));
        texts.tool_template = keys.get("chat_template").and_then(|value| template(value, "tool_use"));
        for role in SPECIAL_TOKENS {
            let text = keys.get(role).and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
            texts.special_tokens.extend(text.map(|text| (role.to_owned(), text.to_owned())));
        }
        let limit = keys.get("model_max_length").and_then(Value::as_f64).filter(|&limit| limit < UNLIMITED);
        texts.tokens_max = limit.map(|limit| limit as usize);
    }
    let path = dir.join(TEMPLATE_FILE);
    if path.is_file() {
        texts.chat_template = Some(read_text(&path)?);
        texts.tool_template = None;
    }
    if let Some(keys) = maybe(&dir.join(SENTENCE_FILE))? {
        let limit = keys.get("max_seq_length").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
        texts.tokens_max = limit.or(texts.tokens_max);
    }
    if let Some(keys) = maybe(&dir.join(PROMPTS_FILE))? {
        let prompts = keys.get("prompts").and_then(Value::as_object).into_iter().flatten();
        texts.prompts = prompts.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect();
        let default = keys.get("default_prompt_name").and_then(Value::as_str);
        texts.default_prompt = default.and_then(|name| texts.prompts.get(name).cloned());
    }
    Ok(texts)
}

/// The one of this name among several; a single one is the default.
fn template(value: &Value, name: &str) -> Option<String> {
    match value {
        Value::String(text) => (name == "default").then(|| text.clone()),
        Value::Array(named) => named
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
            .and_then(|entry| Some(entry.get("template")?.as_str()?.to_owned())),
        _ => None,
    }
}

pub(super) fn generation(dir: &Path, config: &Value) -> Result<GenerationDefaults, Error> {
    let own = maybe(&dir.join(GENERATION_FILE))?.unwrap_or(Value::Null);
    let either = |key: &str| own.get(key).filter(|value| !value.is_null()).or_else(|| config.get(key));
    let ids = |key: &str| -> Vec<u32> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match either(key) {
            Some(Value::Array(values)) => values.iter().filter_map(id).collect(),
            Some(value) => id(value).into_iter().collect(),
            None => Vec::new(),
        }
    };
    let real = |key: &str| own.get(key).and_then(Value::as_f64);
    Ok(GenerationDefaults {
        bos: ids("bos_token_id").first().copied(),
        eos: ids("eos_token_id"),
        pad: ids("pad_token_id").first().copied(),
        sample: own.get("do_sample").and_then(Value::as_bool).unwrap_or(false),
        temperature: real("temperature"),
        top_k: own.get("top_k").and_then(Value::as_u64).and_then(|k| usize::try_from(k).ok()),
        top_p: real("top_p"),
        min_p: real("min_p"),
        repetition_penalty: real("repetition_penalty"),
    })
}

pub(super) fn of_encoder(
    dir: &Path,
    keys: &Value,
    config: &ModelConfig,
) -> Result<(Option<Pooling>, ScoreActivation), Error> {
    let ModelConfig::Encoder(encoder) = config else { return Ok((None, ScoreActivation::Identity)) };
    if let Head::Classification { labels } = encoder.head {
        let chosen = keys.get("sentence_transformers").and_then(|own| own.get("activation_fn"));
        let chosen = chosen.or_else(|| keys.get("sbert_ce_default_activation_function")).and_then(Value::as_str);
        return match (chosen.map(last_part), labels) {
            (Some("Sigmoid"), _) | (None, 1) => Ok((None, ScoreActivation::Sigmoid)),
            (Some("Identity"), _) | (None, _) => Ok((None, ScoreActivation::Identity)),
            (Some(other), _) => {
                let problem = format!("`activation_fn` is {other}, expected Sigmoid or Identity");
                Err(file_error(&dir.join(super::CONFIG_FILE), problem))
            }
        };
    }
    Ok((Some(pooling(dir)?), ScoreActivation::Identity))
}

fn pooling(dir: &Path) -> Result<Pooling, Error> {
    #[derive(Deserialize)]
    struct Module {
        path: String,
        r#type: String,
    }
    let mut pooling = Pooling { kind: PoolingKind::Mean, normalise: false };
    let modules_path = dir.join(MODULES_FILE);
    if !modules_path.is_file() {
        return Ok(pooling);
    }
    let modules: Vec<Module> = read_json(&modules_path)?;
    for module in modules {
        match last_part(&module.r#type) {
            "Transformer" => {}
            "Normalize" => pooling.normalise = true,
            "Pooling" => {
                let inside =
                    Path::new(&module.path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
                if !inside {
                    let problem = format!("names the path `{}`, expected one in this folder", module.path);
                    return Err(file_error(&modules_path, problem));
                }
                pooling.kind = pooling_kind(&dir.join(&module.path).join(super::CONFIG_FILE))?;
            }
            other => {
                let problem = format!("has the module {other}, expected Transformer, Pooling or Normalize");
                return Err(file_error(&modules_path, problem));
            }
        }
    }
    Ok(pooling)
}

/// `pooling_mode` since sentence-transformers 6, a flag for each mode before.
fn pooling_kind(path: &Path) -> Result<PoolingKind, Error> {
    const MODES: [(&str, &str, PoolingKind); 4] = [
        ("pooling_mode_cls_token", "cls", PoolingKind::Cls),
        ("pooling_mode_mean_tokens", "mean", PoolingKind::Mean),
        ("pooling_mode_max_tokens", "max", PoolingKind::Max),
        ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", PoolingKind::MeanSqrtLength),
    ];
    let keys: Value = read_json(path)?;
    let named = match keys.get("pooling_mode") {
        Some(Value::String(name)) => Some(vec![name.as_str()]),
        Some(Value::Array(names)) => names.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let flags = keys.as_object().into_iter().flatten();
    let flags = flags.filter(|(key, on)| key.starts_with("pooling_mode_") && on.as_bool() == Some(true));
    let chosen = named.unwrap_or_else(|| flags.map(|(key, _)| key.as_str()).collect());
    let known = match chosen.as_slice() {
        [one] => MODES.iter().find(|(flag, name, _)| one == flag || one == name),
        _ => None,
    };
    known.map(|(_, _, kind)| *kind).ok_or_else(|| {
        file_error(path, format!("pools by {chosen:?}, expected one of cls, mean, max, mean_sqrt_len_tokens"))
    })
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn maybe(path: &Path) -> Result<Option<Value>, Error> {
    match path.is_file() {
        true => read_json(path).map(Some),
        false => Ok(None),
    }
}
