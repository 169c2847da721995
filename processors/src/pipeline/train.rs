//! Settings of a `train` job.

use super::names::{self, JobRef, Pattern, Target};
use crate::jobs::train::{self, SEQUENCE_LENGTH_DEFAULT, parse_scratch};
use crate::training_config::VOCABULARY_MIN;
use cairn_schemas::Ref;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_saphyr::Spanned;
use std::fmt;
use std::path::PathBuf;

const BATCH_SIZE_DEFAULT: usize = 8;
const WEIGHT_DECAY_DEFAULT: f64 = 0.1;
const CLIP_NORM_DEFAULT: f64 = 1.0;

/// What a model learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every token of every row's `text`.
    Pretrain,
    /// The answers only: the loss is on `output`.
    Sft,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Pretrain => "pretrain",
            Method::Sft => "sft",
        }
    }
}

/// A training run. What `config` names can give is optional here; `TrainSpec::check` says what is needed without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// A training config of requirement 02 or 04, relative to the pipeline's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<BaseModel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Target>,
    #[serde(default = "super::rows::train_split")]
    pub split: String,
    /// Needed to train from scratch; otherwise the base model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Target>,
    /// Optimizer steps; or `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "names::counted_option")]
    pub steps: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "names::counted_option")]
    pub epochs: Option<u64>,
    /// Rows of a step, all its micro-batches together.
    #[serde(default = "batch_size", deserialize_with = "names::counted")]
    pub batch_size: usize,
    #[serde(default = "one", deserialize_with = "names::counted")]
    pub micro_batches: usize,
    /// Tokens of a row; the model's context by default.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "names::counted_option")]
    pub sequence_length: Option<u64>,
    /// Peak.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "positive_option")]
    pub learning_rate: Option<f64>,
    #[serde(default)]
    pub schedule: ScheduleSpec,
    #[serde(default = "weight_decay", deserialize_with = "names::share")]
    pub weight_decay: f64,
    #[serde(default = "clip_norm", deserialize_with = "names::positive")]
    pub clip_norm: f64,
    /// Steps; only at the end by default.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "names::counted_option")]
    pub checkpoint_every: Option<u64>,
    /// Whether later jobs do what the config's `eval` asks for; otherwise a config with `eval` is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub eval_is_run: bool,
    /// Name under which the model is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
}

fn batch_size() -> usize {
    BATCH_SIZE_DEFAULT
}
fn one() -> usize {
    1
}
fn weight_decay() -> f64 {
    WEIGHT_DECAY_DEFAULT
}
fn clip_norm() -> f64 {
    CLIP_NORM_DEFAULT
}
fn positive_option<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    names::positive(from).map(Some)
}

/// Shape of the learning rate after its warmup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    Constant,
    Linear,
    #[default]
    Cosine,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSpec {
    pub kind: ScheduleKind,
    pub warmup_steps: u64,
    /// The last rate as a share of the peak.
    #[serde(deserialize_with = "names::share")]
    pub final_fraction: f64,
}

impl Default for ScheduleSpec {
    fn default() -> Self {
        Self { kind: ScheduleKind::Cosine, warmup_steps: 0, final_fraction: 0.1 }
    }
}

/// What training starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum BaseModel {
    /// `scratch:layers=4,width=128,…`: the text after the colon, its keys and values checked.
    Scratch(String),
    /// `model://project/name@3`, or `run:<uuid>`: its last weights.
    Ref(Ref),
    /// An earlier `train` job.
    Job(JobRef),
    /// A local folder with weights in safetensors and a config; its path holds a `/`.
    Folder(PathBuf),
}

const SCRATCH_KEYS: [&str; 9] =
    ["layers", "width", "heads", "feed_forward", "vocabulary", "context", "rope_theta", "norm_eps", "tied_embeddings"];
/// What a person is told who names a model that nobody made here.
const BASE_MODELS: &str = "a base model is scratch:layers=4,width=128,heads=2,feed_forward=352, an earlier train job, a \
                           registered model such as model://project/name@1, or a local folder such as ./weights";

impl BaseModel {
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(settings) = text.strip_prefix("scratch:") {
            check_scratch(settings)?;
            return Ok(BaseModel::Scratch(settings.to_owned()));
        }
        if text.starts_with("model://") || text.starts_with("run:") {
            return text.parse().map(BaseModel::Ref).map_err(|e: cairn_schemas::Error| e.to_string());
        }
        if text.contains("://") {
            return Err(format!("`{text}` is fetched by nothing here; {BASE_MODELS}"));
        }
        if text.starts_with(['.', '/', '~']) {
            return Ok(BaseModel::Folder(PathBuf::from(text)));
        }
        names::check_job_name(text).map_err(|_| format!("`{text}` is not known; {BASE_MODELS}"))?;
        Ok(BaseModel::Job(JobRef::new(text)))
    }
}

fn check_scratch(settings: &str) -> Result<(), String> {
    let right = format!("write scratch:key=value,… with keys of {}", SCRATCH_KEYS.join(", "));
    for pair in settings.split(',').map(str::trim) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` has no `=`; {right}"))?;
        if !SCRATCH_KEYS.contains(&key.trim()) {
            return Err(format!("`{}` is no key of a model; {right}", key.trim()));
        }
        let value = value.trim();
        let fits =
            if key.trim() == "tied_embeddings" { value.parse::<bool>().is_ok() } else { value.parse::<f64>().is_ok() };
        if !fits {
            return Err(format!("`{value}` is no value of `{}`; {right}", key.trim()));
        }
    }
    // What the shape leaves to the tokenizer and the rows is given a value that fits.
    let shape = parse_scratch(settings, VOCABULARY_MIN as usize, SEQUENCE_LENGTH_DEFAULT);
    let entries = shape.map_err(|e| e.to_string())?.vocabulary;
    if entries < VOCABULARY_MIN as usize {
        return Err(format!(
            "`vocabulary` is {entries}; a byte-level vocabulary has at least {VOCABULARY_MIN} entries, leave it out to \
             have the tokenizer's"
        ));
    }
    Ok(())
}

/// Added where a name that no earlier job has was probably meant as a model.
pub(super) fn hint_for(name: &str) -> Option<String> {
    let model =
        Pattern::parse(r"^(mistral|llama|meta-llama|gpt|qwen|gemma|phi|mixtral|falcon|bloom|opt|pythia|olmo)").ok()?;
    model.regex().is_match(name).then(|| format!("; {BASE_MODELS}"))
}

impl fmt::Display for BaseModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BaseModel::Scratch(settings) => write!(f, "scratch:{settings}"),
            BaseModel::Ref(reference) => reference.fmt(f),
            BaseModel::Job(name) => name.fmt(f),
            BaseModel::Folder(path) => path.display().fmt(f),
        }
    }
}
impl Serialize for BaseModel {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for BaseModel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Spanned::<String>::deserialize(from)?;
        match Self::parse(text.value.trim()).map_err(de::Error::custom)? {
            BaseModel::Job(_) => Ok(BaseModel::Job(JobRef::at(&text))),
            other => Ok(other),
        }
    }
}

impl TrainSpec {
    pub(super) fn names(&self) -> Vec<&JobRef> {
        let base = match &self.base_model {
            Some(BaseModel::Job(name)) => Some(name),
            _ => None,
        };
        let dataset = self.dataset.as_ref().and_then(Target::job);
        let tokenizer = self.tokenizer.as_ref().and_then(Target::job);
        [base, dataset, tokenizer].into_iter().flatten().collect()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.steps.is_some() && self.epochs.is_some() {
            return Err("`steps` and `epochs` are both given; give one".to_owned());
        }
        if !self.batch_size.is_multiple_of(self.micro_batches) {
            return Err(format!(
                "`batch_size` is {}, no multiple of `micro_batches` ({}); every micro-batch has the same rows",
                self.batch_size, self.micro_batches
            ));
        }
        if self.config.is_some() {
            return Ok(());
        }
        let missing: Vec<&str> = [
            ("method", self.method.is_none()),
            ("base_model", self.base_model.is_none()),
            ("dataset", self.dataset.is_none()),
            ("learning_rate", self.learning_rate.is_none()),
            ("steps or epochs", self.steps.is_none() && self.epochs.is_none()),
        ]
        .into_iter()
        .filter_map(|(key, missing)| missing.then_some(key))
        .collect();
        if !missing.is_empty() {
            return Err(format!("missing {}; give them, or `config: training.yaml`", missing.join(", ")));
        }
        if matches!(self.base_model, Some(BaseModel::Scratch(_))) && self.tokenizer.is_none() {
            return Err("`tokenizer` is missing; a model from scratch needs one, name a `tokenizer` job".to_owned());
        }
        let scratch = match &self.base_model {
            Some(BaseModel::Scratch(shape)) => Some(shape.as_str()),
            _ => None,
        };
        self.check_with(scratch)
    }

    /// Whether steps can be taken; `scratch` is the shape of the model where the pipeline tells it.
    pub(super) fn check_with(&self, scratch: Option<&str>) -> Result<(), String> {
        if self.config.is_some() {
            return Ok(());
        }
        train::check(self, scratch).map_err(|e| e.to_string())
    }
}
