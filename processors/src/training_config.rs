//! The training config: the five keys of requirement 02, or the sections of requirement 04 as far as they are built.
//!
//! An accepted key acts. A value that is not supported yet is refused by name, with what would work; an unknown key is
//! refused; nothing is read and ignored. Everything wrong with a config is said at once, each with its place.

mod base_model;
mod node;

pub(crate) use base_model::VOCABULARY_MIN;
pub use base_model::{BaseModel, Scratch};

use cairn_schemas::Ref;
use node::{Node, Section};
use serde_json::{Map, Value, json};
use std::fmt;
use std::path::Path;

/// Keys of the flat form, all required.
const FLAT_KEYS: [&str; 5] = ["base_model", "dataset_version", "learning_rate", "epochs", "batch_size"];
/// Keys of the sectioned form.
const SECTION_KEYS: [&str; 7] = ["base_model", "method", "peft", "train", "eval", "infra", "callbacks"];
const TRAIN_KEYS: [&str; 8] = [
    "dataset_id",
    "epochs",
    "batch_size",
    "lr",
    "learning_rate",
    "max_seq_len",
    "gradient_checkpointing",
    "mixed_precision",
];

/// Whether a mapping with this key may be a training config.
pub(crate) fn is_key(key: &str) -> bool {
    FLAT_KEYS.contains(&key) || SECTION_KEYS.contains(&key)
}

/// A training config that can run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingConfig {
    pub base_model: BaseModel,
    /// `dataset_version` or `train.dataset_id`: a `ds://` ref, or the name of a dataset version.
    pub dataset: String,
    /// Peak; above 0.
    pub learning_rate: f64,
    pub epochs: u32,
    /// Rows of one optimizer step.
    pub batch_size: u32,
    /// The flat form does not say.
    pub method: Option<Method>,
    /// Tokens of a row; the model's context where it is not given.
    pub max_seq_len: Option<u32>,
    /// 0 trains on the CPU, 1 on a GPU, which must then be there; whichever there is where it is not given.
    pub gpus: Option<u32>,
    pub eval: Option<Evaluation>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Flat,
    Sections,
}

/// What a model learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The answers only.
    Sft,
    /// Every token.
    Pretrain,
}

/// What the trained model is measured by, and what it must reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    pub suites: Vec<Suite>,
    pub thresholds: Vec<Threshold>,
}

/// A set of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Exact match and F1 of generated answers.
    DomainEmF1,
    /// Loss and perplexity on a held-out split.
    Perplexity,
}

/// A limit on one metric of the suites listed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub metric: Metric,
    /// The least value that passes, or for `Loss` and `Perplexity` the largest.
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    ExactMatch,
    F1,
    Loss,
    Perplexity,
}

/// Why a config cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the training config is not valid {format}: {message}")]
    Syntax { format: &'static str, message: String },
    #[error("the training config is {found}; expected a mapping of keys to values, such as `epochs: 3`")]
    NotAMapping { found: &'static str },
    #[error("the training config cannot run: {}", joined(problems))]
    Invalid { problems: Vec<Problem> },
}

/// One thing wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As written from the top: `train.batch_size`.
    pub key: String,
    /// Line and column, from 1, where the config is a text.
    pub place: Option<(u64, u64)>,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        write!(f, "{}{}", self.key, self.what)
    }
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

impl TrainingConfig {
    /// Reads a YAML config. A base model that is a folder is looked for from `folder`.
    pub fn from_yaml(text: &str, folder: &Path) -> Result<Self, Error> {
        Self::from_node(&node::parse_yaml(text, "YAML")?, folder)
    }

    /// Reads a JSON config.
    pub fn from_json(text: &str, folder: &Path) -> Result<Self, Error> {
        let syntax = |e: serde_json::Error| Error::Syntax { format: "JSON", message: e.to_string() };
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(syntax)?;
        // JSON is YAML 1.2 too, and read as such it keeps the places of its values.
        Self::from_node(&node::parse_yaml(text, "JSON")?, folder)
    }

    /// Reads a config that stands inside another document; problems then have no place.
    pub fn from_value(value: &Value, folder: &Path) -> Result<Self, Error> {
        Self::from_node(&Node::of(value), folder)
    }

    fn from_node(root: &Node, folder: &Path) -> Result<Self, Error> {
        let Some(root) = Section::of(root, "") else {
            return Err(Error::NotAMapping { found: root.name() });
        };
        let sectioned = SECTION_KEYS.iter().any(|key| *key != "base_model" && root.has(key));
        let config = if sectioned { sections(&root, folder) } else { flat(&root, folder) };
        let problems = root.problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Error::Invalid { problems }),
        }
    }

    /// The config as a dictionary, in the form it was written in.
    pub fn to_json(&self) -> Value {
        let base_model = self.base_model.to_string();
        if self.form == Form::Flat {
            return json!({
                "base_model": base_model,
                "dataset_version": self.dataset,
                "learning_rate": self.learning_rate,
                "epochs": self.epochs,
                "batch_size": self.batch_size,
            });
        }
        let mut train = json!({
            "dataset_id": self.dataset,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        });
        if let Some(length) = self.max_seq_len {
            train["max_seq_len"] = length.into();
        }
        let mut config = json!({ "base_model": base_model, "method": self.method.map(Method::as_str), "train": train });
        if let Some(gpus) = self.gpus {
            config["infra"] = json!({ "gpus": gpus });
        }
        if let Some(eval) = &self.eval {
            let suites: Vec<&str> = eval.suites.iter().map(|suite| suite.as_str()).collect();
            let limits = eval.thresholds.iter().map(|t| (t.metric.key().to_owned(), json!(t.value)));
            config["eval"] = json!({ "suite": suites, "thresholds": limits.collect::<Map<_, _>>() });
        }
        config
    }
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Sft => "sft",
            Method::Pretrain => "pretrain",
        }
    }
}

impl Suite {
    const ALL: [Suite; 2] = [Suite::DomainEmF1, Suite::Perplexity];

    pub fn as_str(self) -> &'static str {
        match self {
            Suite::DomainEmF1 => "domain_em_f1",
            Suite::Perplexity => "perplexity",
        }
    }

    pub fn metrics(self) -> [Metric; 2] {
        match self {
            Suite::DomainEmF1 => [Metric::ExactMatch, Metric::F1],
            Suite::Perplexity => [Metric::Loss, Metric::Perplexity],
        }
    }
}

impl Metric {
    const ALL: [Metric; 4] = [Metric::ExactMatch, Metric::F1, Metric::Loss, Metric::Perplexity];

    /// As a config writes it.
    pub fn key(self) -> &'static str {
        match self {
            Metric::ExactMatch => "em",
            Metric::F1 => "f1",
            Metric::Loss => "loss",
            Metric::Perplexity => "perplexity",
        }
    }

    pub fn higher_is_better(self) -> bool {
        matches!(self, Metric::ExactMatch | Metric::F1)
    }

    fn suite(self) -> Suite {
        if self.higher_is_better() { Suite::DomainEmF1 } else { Suite::Perplexity }
    }
}

/// Requirement 02: exactly these five keys.
fn flat(root: &Section<'_>, folder: &Path) -> Option<TrainingConfig> {
    root.only(&FLAT_KEYS);
    root.require(&FLAT_KEYS);
    let base_model = base_model(root, folder);
    let dataset = dataset(root, "dataset_version");
    let learning_rate = root.above_zero("learning_rate");
    let (epochs, batch_size) = (root.positive("epochs"), root.positive("batch_size"));
    Some(TrainingConfig {
        base_model: base_model?,
        dataset: dataset?,
        learning_rate: learning_rate?,
        epochs: epochs?,
        batch_size: batch_size?,
        method: None,
        max_seq_len: None,
        gpus: None,
        eval: None,
        form: Form::Flat,
    })
}

/// Requirement 04, 11.2 and its config samples.
fn sections(root: &Section<'_>, folder: &Path) -> Option<TrainingConfig> {
    for key in FLAT_KEYS.iter().filter(|key| !SECTION_KEYS.contains(key) && root.has(key)) {
        let inside = if *key == "dataset_version" { "train.dataset_id" } else { &format!("train.{key}") };
        root.refuse(key, format!(" stands beside sections; in this form it is {inside}"));
    }
    root.only(&[&SECTION_KEYS[..], &FLAT_KEYS[..]].concat());
    root.require(&["base_model", "method", "train"]);
    let base_model = base_model(root, folder);
    let method = method(root);
    peft(root);
    callbacks(root);
    let eval = root.section("eval").map(|section| evaluation(&section));
    let gpus = root.section("infra").and_then(|section| infra(&section));
    let train = root.section("train")?;
    train.only(&TRAIN_KEYS);
    train.require(&["dataset_id", "epochs", "batch_size"]);
    let dataset = dataset(&train, "dataset_id");
    let (epochs, batch_size) = (train.positive("epochs"), train.positive("batch_size"));
    let learning_rate = learning_rate(&train);
    let max_seq_len = train.positive("max_seq_len");
    train.supports("gradient_checkpointing", &["false"]);
    train.supports("mixed_precision", &["fp32"]);
    Some(TrainingConfig {
        base_model: base_model?,
        dataset: dataset?,
        learning_rate: learning_rate?,
        epochs: epochs?,
        batch_size: batch_size?,
        method: Some(method?),
        max_seq_len,
        gpus,
        eval,
        form: Form::Sections,
    })
}

fn base_model(root: &Section<'_>, folder: &Path) -> Option<BaseModel> {
    let text = root.text("base_model")?;
    BaseModel::parse(&text, folder).map_err(|what| root.refuse("base_model", what)).ok()
}

/// A `ds://` ref, or a name that stays inside the folder of dataset versions.
fn dataset(section: &Section<'_>, key: &str) -> Option<String> {
    let text = section.text(key)?;
    let wrong = if text.contains("://") {
        match text.parse::<Ref>() {
            Ok(Ref::Dataset { .. }) => None,
            Ok(other) => Some(format!(" is a {}; expected a dataset such as ds://project/name@1.2.0", other.kind())),
            Err(e) => Some(format!(": {e}")),
        }
    } else if text.contains(['/', '\\']) || text == "." || text == ".." {
        Some(format!(" is `{text}`; expected the name of a dataset version, not a path, or ds://project/name@1.2.0"))
    } else {
        None
    };
    match wrong {
        Some(what) => {
            section.refuse(key, what);
            None
        }
        None => Some(text),
    }
}

fn method(root: &Section<'_>) -> Option<Method> {
    root.supports("method", &["sft", "pretrain"]).map(|text| match text.as_str() {
        "pretrain" => Method::Pretrain,
        _ => Method::Sft,
    })
}

/// `lr` and `learning_rate` are one key under two names.
fn learning_rate(train: &Section<'_>) -> Option<f64> {
    match (train.has("lr"), train.has("learning_rate")) {
        (true, true) => {
            train.refuse("lr", " and train.learning_rate are one setting; give one of them".to_owned());
            None
        }
        (true, false) => train.above_zero("lr"),
        (false, true) => train.above_zero("learning_rate"),
        (false, false) => {
            train.missing("learning_rate");
            None
        }
    }
}

/// Adapters are not built: only full fine-tuning is.
fn peft(root: &Section<'_>) {
    const SUPPORTED: &str = "none (full fine-tuning)";
    match root.value("peft") {
        None | Some(Node::Null) => {}
        Some(Node::Text(text)) if text == "none" => {}
        Some(Node::Map(_)) => {
            let Some(peft) = root.section("peft") else { return };
            match peft.value("type") {
                Some(Node::Text(text)) if text == "none" => {
                    for key in peft.keys().filter(|key| *key != "type") {
                        peft.refuse(key, " belongs to an adapter, and peft.type is none; leave it out".to_owned());
                    }
                }
                Some(other) => {
                    peft.refuse("type", format!(": {} is not supported yet; supported: {SUPPORTED}", other.shown()));
                }
                None => peft.refuse_self(format!(" has no type; supported: {SUPPORTED}")),
            }
        }
        Some(other) => root.refuse("peft", format!(": {} is not supported yet; supported: {SUPPORTED}", other.shown())),
    }
}

fn callbacks(root: &Section<'_>) {
    let Some(section) = root.section("callbacks") else { return };
    for key in section.keys() {
        let what = match key {
            "early_stopping" => " is not supported yet; leave it out and choose train.epochs".to_owned(),
            _ => " is not known; no callbacks are supported yet".to_owned(),
        };
        section.refuse(key, what);
    }
}

/// The number of GPUs.
fn infra(section: &Section<'_>) -> Option<u32> {
    section.only(&["gpus", "gpu_type", "strategy"]);
    section.supports("strategy", &["single"]);
    if section.has("gpu_type") {
        let what = " is not supported yet: the GPU that is there is used; leave it out".to_owned();
        section.refuse("gpu_type", what);
    }
    section.supports("gpus", &["0", "1"]).and_then(|text| text.parse().ok())
}

fn evaluation(section: &Section<'_>) -> Evaluation {
    section.only(&["suite", "thresholds"]);
    section.require(&["suite"]);
    let names = Suite::ALL.map(Suite::as_str);
    let mut suites: Vec<Suite> = Vec::new();
    for name in section.texts("suite").unwrap_or_default() {
        match Suite::ALL.into_iter().find(|suite| suite.as_str() == name) {
            Some(suite) if suites.contains(&suite) => {
                section.refuse("suite", format!(" names {name} twice; name it once"));
            }
            Some(suite) => suites.push(suite),
            None => {
                section.refuse("suite", format!(": {name} is not supported yet; supported: {}", names.join(", ")));
            }
        }
    }
    let limits = section.section("thresholds");
    let thresholds = limits.map(|limits| thresholds(&limits, &suites)).unwrap_or_default();
    Evaluation { suites, thresholds }
}

fn thresholds(section: &Section<'_>, suites: &[Suite]) -> Vec<Threshold> {
    let mut thresholds = Vec::new();
    for key in section.keys() {
        let Some(metric) = Metric::ALL.into_iter().find(|metric| metric.key() == key) else {
            let known = Metric::ALL.map(Metric::key).join(", ");
            section.refuse(key, format!(" is not supported yet; supported: {known}"));
            continue;
        };
        if !suites.contains(&metric.suite()) {
            let suite = metric.suite().as_str();
            section.refuse(key, format!(" is measured by the suite {suite}; add it to eval.suite"));
            continue;
        }
        let value = if metric.higher_is_better() { section.fraction(key) } else { section.above_zero(key) };
        thresholds.extend(value.map(|value| Threshold { metric, value }));
    }
    thresholds
}

#[cfg(test)]
mod tests;
