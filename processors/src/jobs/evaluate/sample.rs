//! One sample of an evaluation as it is kept: what was asked, what came, what it scored. Nothing in it depends on time
//! or machine load, so that a replay gives the same bytes.

use crate::dataset_reader::artifact_bytes;
use crate::{Context, Error};
use cairn_schemas::Ref;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A scored sample: one JSON line of the samples artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The row's id in its dataset version.
    pub sample: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What of the answer was compared, where the task extracts it; absent where nothing was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extracted: Option<String>,
    /// `stop`, `length`, `context`, or `prompt_too_long` where the prompt left no room to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// Tokens that were generated, or that were scored.
    pub tokens: u64,
    pub scores: BTreeMap<String, f64>,
}

/// JSON Lines, in order.
pub(super) fn to_lines(samples: &[Sample]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sample in samples {
        serde_json::to_writer(&mut bytes, sample).expect("samples serialise to memory");
        bytes.push(b'\n');
    }
    bytes
}

/// Reads a samples artifact.
pub fn read(ctx: &Context, artifact: &Ref) -> Result<Vec<Sample>, Error> {
    let bytes = artifact_bytes(ctx, artifact)?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let parse = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|e| Error::Stored {
            what: format!("samples `{artifact}`, line {}", number + 1),
            why: e.to_string(),
        })
    };
    lines.enumerate().map(parse).collect()
}
