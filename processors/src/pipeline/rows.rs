//! Settings of `dataset` and `tokenizer` jobs.

use super::names::{self, JobRef, Target};
use crate::training_config::VOCABULARY_MIN;
use cairn_schemas::Ref;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Most source jobs of one dataset, and most splits of one source.
const ROWS_MAX: usize = 64;
const SPLITS_MAX: usize = 16;
/// Most entries of a tokenizer.
const VOCABULARY_MAX: usize = 1 << 20;
const SPLIT_NAME_BYTES_MAX: usize = 63;

/// A dataset version to build: `ds://<project>/<the job's name>@<version>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    pub version: Version,
    /// One line for the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Versions that it was derived from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Ref>,
    pub rows: Vec<RowSpec>,
}

/// How documents of one ingestion become rows. Templates are over the record's fields and `text`, the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowSpec {
    pub from: JobRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    pub split: SplitSpec,
}

impl RowSpec {
    /// Field name and template of each that is given, in the order of the row's fields.
    pub fn templates(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("instruction", &self.instruction), ("input", &self.input), ("output", &self.output), ("text", &self.text)]
            .into_iter()
            .filter_map(|(name, template)| template.as_deref().map(|template| (name, template)))
    }
}

/// Which split a row goes to: one by name, or several by share.
#[derive(Clone, Debug, PartialEq)]
pub enum SplitSpec {
    One(String),
    /// Shares in the order given; they sum to 1.
    Shares(Vec<(String, f64)>),
}

impl SplitSpec {
    pub fn names(&self) -> Vec<&str> {
        match self {
            SplitSpec::One(name) => vec![name],
            SplitSpec::Shares(shares) => shares.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }
}

impl Serialize for SplitSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            SplitSpec::One(name) => to.serialize_str(name),
            SplitSpec::Shares(shares) => to.collect_map(shares.iter().map(|(name, share)| (name, share))),
        }
    }
}

impl<'de> Deserialize<'de> for SplitSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SplitVisitor)
    }
}

struct SplitVisitor;

impl<'de> de::Visitor<'de> for SplitVisitor {
    type Value = SplitSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a split, or shares such as { train: 0.9, validation: 0.1 }")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<SplitSpec, E> {
        check_split_name(name).map_err(E::custom)?;
        Ok(SplitSpec::One(name.to_owned()))
    }

    fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<SplitSpec, M::Error> {
        let mut shares: Vec<(String, f64)> = Vec::new();
        while let Some((name, share)) = map.next_entry::<String, f64>()? {
            check_split_name(&name).map_err(de::Error::custom)?;
            if !(share.is_finite() && share > 0.0) {
                return Err(de::Error::custom(format!("the share of `{name}` is {share}; expected a number above 0")));
            }
            shares.push((name, share));
        }
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        if shares.is_empty() || shares.len() > SPLITS_MAX || (sum - 1.0).abs() > 1e-6 {
            let why = format!("{} shares that sum to {sum}; expected 1 to {SPLITS_MAX} that sum to 1", shares.len());
            return Err(de::Error::custom(why));
        }
        Ok(SplitSpec::Shares(shares))
    }
}

fn check_split_name(name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    if !name.is_empty() && name.len() <= SPLIT_NAME_BYTES_MAX && name.bytes().all(fits) {
        return Ok(());
    }
    Err(format!("`{name}` is no name of a split; use a-z, 0-9, `-` and `_`, such as train"))
}

impl DatasetSpec {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.rows.is_empty() || self.rows.len() > ROWS_MAX {
            return Err(format!(
                "`rows` has {} entries; give 1 to {ROWS_MAX}, one for each source job",
                self.rows.len()
            ));
        }
        if let Some(parent) = self.parents.iter().find(|parent| parent.kind() != "dataset") {
            return Err(format!("`parents` names `{parent}`, a {}; name ds:// refs", parent.kind()));
        }
        for row in &self.rows {
            if row.templates().next().is_none() {
                return Err(format!(
                    "the rows from `{}` have no field; give instruction and output, or text, or all three",
                    row.from
                ));
            }
            for (field, template) in row.templates() {
                crate::template::check(template)
                    .map_err(|e| format!("`{field}` of the rows from `{}`: {e}", row.from))?;
            }
        }
        Ok(())
    }
}

/// A tokenizer to train, on one split and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSpec {
    pub dataset: Target,
    #[serde(default = "train_split")]
    pub split: String,
    /// Entries, the 256 bytes and the specials included.
    #[serde(deserialize_with = "entries")]
    pub vocabulary: usize,
}

fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let entries = names::counted(from)?;
    if (VOCABULARY_MIN as usize..=VOCABULARY_MAX).contains(&entries) {
        return Ok(entries);
    }
    Err(de::Error::custom(format!(
        "`vocabulary` is {entries}; expected {VOCABULARY_MIN} (every byte and special) to {VOCABULARY_MAX}"
    )))
}

pub(super) fn train_split() -> String {
    "train".to_owned()
}
