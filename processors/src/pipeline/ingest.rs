//! Settings of an `ingest` job.

use super::names;
use crate::{quality, readers};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::path::PathBuf;

/// Documents that are this similar or more are the same document.
const JACCARD_DEFAULT: f64 = 0.8;
/// Most paths of one job; a folder is one.
const PATHS_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestSpec {
    /// Files or folders, relative to the pipeline's folder.
    pub paths: Vec<PathBuf>,
    /// Where records stand inside the files' JSON, as names of arrays: `data.paragraphs.qas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<String>,
    /// Metadata of every document that does not carry its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// RFC 3339 or a date; by default when the file was last modified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Template over a record's fields: the document's text. Needed where records have no field `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether personal data is replaced by placeholders.
    #[serde(default = "yes")]
    pub redact: bool,
    #[serde(default)]
    pub dedup: Dedup,
    #[serde(default)]
    pub quality: QualitySpec,
}

fn yes() -> bool {
    true
}

impl IngestSpec {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.paths.is_empty() || self.paths.len() > PATHS_MAX {
            return Err(format!("`paths` names {} paths; name 1 to {PATHS_MAX} files or folders", self.paths.len()));
        }
        self.reader_options().map_err(|why| format!("`records`: {why}"))?;
        if let Some(tag) = &self.language {
            crate::language::parse_tag(tag)
                .ok_or_else(|| format!("`language` is `{tag}`; expected a BCP 47 tag such as en or pt-BR"))?;
        }
        if let Some(template) = &self.text {
            crate::template::check(template).map_err(|e| e.to_string())?;
        }
        self.quality.gates().map(|_| ()).map_err(|why| format!("`quality`: {why}"))
    }

    /// How its files are read; refused where `records` is no path.
    pub fn reader_options(&self) -> Result<readers::Options, String> {
        let records = self.records.as_deref().map(str::parse).transpose()?;
        Ok(readers::Options { records, ..readers::Options::default() })
    }
}

/// Whether repeats are turned away. Exact repeats always are, unless it is off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dedup {
    Off,
    /// Documents more alike than this are near duplicates; at 1 only exact repeats are turned away.
    Above {
        jaccard: f64,
    },
}

impl Default for Dedup {
    fn default() -> Self {
        Dedup::Above { jaccard: JACCARD_DEFAULT }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DedupSettings {
    #[serde(default = "jaccard_default", deserialize_with = "names::share")]
    jaccard: f64,
}

fn jaccard_default() -> f64 {
    JACCARD_DEFAULT
}

impl Serialize for Dedup {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Dedup::Off => to.serialize_str("off"),
            Dedup::Above { jaccard } => DedupSettings { jaccard: *jaccard }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Dedup {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(DedupVisitor)
    }
}

struct DedupVisitor;

impl<'de> de::Visitor<'de> for DedupVisitor {
    type Value = Dedup;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("off, or { jaccard: 0.8 }")
    }

    // YAML 1.1 readers take `off` for false, and so do people.
    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Dedup, E> {
        Ok(if on { Dedup::default() } else { Dedup::Off })
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Dedup, E> {
        match word {
            "off" => Ok(Dedup::Off),
            "on" => Ok(Dedup::default()),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<Dedup, M::Error> {
        let DedupSettings { jaccard } = DedupSettings::deserialize(de::value::MapAccessDeserializer::new(map))?;
        crate::dedup::Deduplicator::new(jaccard).map_err(de::Error::custom)?;
        Ok(Dedup::Above { jaccard })
    }
}

/// Limits that a document must keep; each that is absent is not applied, except that no document is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualitySpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_chars: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_words: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_words: Option<usize>,
    /// Part of the characters, 0 to 1, that are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unprintable: Option<f64>,
    /// Part of the lines, 0 to 1, that repeat an earlier line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_repeated_lines: Option<f64>,
    /// BCP 47 tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub languages: Option<Vec<String>>,
}

impl QualitySpec {
    /// The gates to apply; refused where no document could pass them.
    pub fn gates(&self) -> Result<quality::Gates, String> {
        let gates = quality::Gates {
            chars_min: Some(self.min_chars.unwrap_or(1)),
            chars_max: self.max_chars,
            words_min: self.min_words,
            words_max: self.max_words,
            unprintable_fraction_max: self.max_unprintable,
            repeated_line_fraction_max: self.max_repeated_lines,
            languages: self.languages.clone(),
        };
        gates.validate().map(|()| gates).map_err(|e| e.to_string())
    }
}
