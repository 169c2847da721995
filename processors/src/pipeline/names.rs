//! The words that jobs share: kinds, names of jobs, what a job may point at, patterns.

use cairn_schemas::Ref;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_saphyr::Spanned;
use std::fmt;

/// Longest name of a job, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobKind {
    Ingest,
    Dataset,
    Tokenizer,
    Train,
    Evaluate,
    Judge,
    Gate,
    Deploy,
}

impl JobKind {
    pub const ALL: [JobKind; 8] = [
        JobKind::Ingest,
        JobKind::Dataset,
        JobKind::Tokenizer,
        JobKind::Train,
        JobKind::Evaluate,
        JobKind::Judge,
        JobKind::Gate,
        JobKind::Deploy,
    ];

    /// As pipelines and events write it.
    pub fn as_str(self) -> &'static str {
        match self {
            JobKind::Ingest => "ingest",
            JobKind::Dataset => "dataset",
            JobKind::Tokenizer => "tokenizer",
            JobKind::Train => "train",
            JobKind::Evaluate => "evaluate",
            JobKind::Judge => "judge",
            JobKind::Gate => "gate",
            JobKind::Deploy => "deploy",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names of jobs are those of datasets and models, so that one can become the other.
pub(super) fn check_job_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if starts && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is no name; use 1 to {NAME_BYTES_MAX} of a-z, 0-9, `-`, `_`, `.`, beginning with a letter or digit"
    ))
}

/// The name of an earlier job, and where it was written.
#[derive(Clone, Debug)]
pub struct JobRef {
    name: String,
    line: u64,
    column: u64,
}

impl JobRef {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), line: 0, column: 0 }
    }
    pub(super) fn at(text: &Spanned<String>) -> Self {
        let place = &text.referenced;
        Self { name: text.value.clone(), line: place.line(), column: place.column() }
    }
    pub fn as_str(&self) -> &str {
        &self.name
    }
    /// Line and column from 1; none where it was not read from a pipeline's text.
    pub fn place(&self) -> Option<(u64, u64)> {
        (self.line > 0).then_some((self.line, self.column))
    }
}
impl PartialEq for JobRef {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for JobRef {}
impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
impl Serialize for JobRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.name)
    }
}
impl<'de> Deserialize<'de> for JobRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Spanned::<String>::deserialize(from)?;
        check_job_name(&text.value).map_err(de::Error::custom)?;
        Ok(Self::at(&text))
    }
}

/// What a job points at: an earlier job by name, or anything in the ledger by ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Job(JobRef),
    Ref(Ref),
}

impl Target {
    pub fn job(&self) -> Option<&JobRef> {
        match self {
            Target::Job(name) => Some(name),
            Target::Ref(_) => None,
        }
    }
}
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Job(name) => name.fmt(f),
            Target::Ref(reference) => reference.fmt(f),
        }
    }
}
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Spanned::<String>::deserialize(from)?;
        if text.value.contains(':') {
            return text.value.parse().map(Target::Ref).map_err(de::Error::custom);
        }
        check_job_name(&text.value)
            .map_err(|why| de::Error::custom(format!("{why}, or a ref such as ds://project/name@1.0.0")))?;
        Ok(Target::Job(JobRef::at(&text)))
    }
}

/// A regular expression, checked when it is read.
#[derive(Clone, Debug)]
pub struct Pattern(regex::Regex);

impl Pattern {
    pub fn regex(&self) -> &regex::Regex {
        &self.0
    }
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
    pub fn parse(text: &str) -> Result<Self, String> {
        regex::Regex::new(text).map(Self).map_err(|e| {
            let whole = e.to_string();
            let last = whole.lines().last().unwrap_or(&whole).trim().trim_start_matches("error: ");
            format!("`{text}` is no regular expression: {last}")
        })
    }
}
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// A number that must be above 0 and finite.
pub(super) fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(de::Error::custom(format!("{value} is out of range; expected a number above 0")))
}

/// A number from 0 to 1.
pub(super) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(de::Error::custom(format!("{value} is out of range; expected a number from 0 to 1")))
}

/// A whole number from 1.
pub(super) fn counted<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let value = i64::deserialize(from)?;
    usize::try_from(value)
        .ok()
        .filter(|v| *v > 0)
        .ok_or_else(|| de::Error::custom(format!("{value} is out of range; expected a whole number from 1")))
}

pub(super) fn counted_option<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    counted(from).map(|value| Some(value as u64))
}
