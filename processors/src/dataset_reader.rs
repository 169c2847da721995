//! Reading a dataset version back from its record: the committed event names the shards of each split, the shards
//! hold the rows, one JSON object a line. Every digest on the way is checked again.

use crate::{Context, Error, history};
use cairn_schemas::events::dataset::{Split, VersionCommitted};
use cairn_schemas::{Blake3, Event, Position, Ref};
use serde::{Deserialize, Serialize};

/// One row of a split. Absent and empty fields are the same.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Row {
    /// Stable inside its version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instruction: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub input: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// What pretraining reads.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub metadata: serde_json::Value,
}

impl Row {
    /// What a person would ask: the instruction, and the input on a line of its own where there is one.
    /// `None` where the row asks nothing.
    pub fn prompt(&self) -> Option<String> {
        match (self.instruction.trim().is_empty(), self.input.trim().is_empty()) {
            (true, true) => None,
            (true, false) => Some(self.input.clone()),
            (false, true) => Some(self.instruction.clone()),
            (false, false) => Some(format!("{}\n{}", self.instruction, self.input)),
        }
    }

    /// Prompt and answer, where the row has both.
    pub fn exchange(&self) -> Option<(String, &str)> {
        let prompt = self.prompt()?;
        (!self.output.trim().is_empty()).then_some((prompt, self.output.as_str()))
    }

    /// The text to pretrain on, where there is one.
    pub fn document(&self) -> Option<&str> {
        (!self.text.trim().is_empty()).then_some(self.text.as_str())
    }
}

/// A committed dataset version.
#[derive(Clone, Debug)]
pub struct DatasetVersion {
    pub reference: Ref,
    pub committed: VersionCommitted,
}

impl DatasetVersion {
    /// Finds the version in the ledger; an unknown or withdrawn one is refused by name.
    pub fn find(ctx: &Context, reference: &Ref) -> Result<Self, Error> {
        Self::find_at(ctx, reference, None)
    }

    /// Finds the version as it was at a position; see [`find`](Self::find).
    pub(crate) fn find_at(ctx: &Context, reference: &Ref, as_of: Option<Position>) -> Result<Self, Error> {
        if !matches!(reference, Ref::Dataset { .. }) {
            return Err(Error::refused(
                format!("`{reference}` is not a dataset"),
                "name a version such as ds://project/name@1.0.0",
            ));
        }
        let unknown = || Error::UnknownRef {
            kind: "dataset",
            reference: reference.to_string(),
            hint: "a `dataset` job of that name and version makes it".into(),
        };
        ctx.projections().catch_up()?;
        let entity = ctx.projections().catalog().state(&reference.to_string(), as_of)?.ok_or_else(unknown)?;
        if entity.state == "withdrawn" {
            return Err(Error::refused(format!("dataset `{reference}`"), "was withdrawn; use a version that was not"));
        }
        let committed = history::first(ctx, entity.created_position, &mut |recorded| match &recorded.event {
            Event::VersionCommitted(event) if event.dataset == *reference => Some((recorded.position, event.clone())),
            _ => None,
        })?;
        let by_then = |position: &Position| as_of.is_none_or(|as_of| *position <= as_of);
        let committed = committed.filter(|(position, _)| by_then(position));
        let (_, committed) = committed.ok_or_else(unknown)?;
        Ok(Self { reference: reference.clone(), committed })
    }

    /// The split of this name; an unknown one is refused with the names there are.
    pub fn split(&self, name: &str) -> Result<&Split, Error> {
        self.committed.splits.iter().find(|split| split.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.committed.splits.iter().map(|split| split.name.as_str()).collect();
            Error::refused(
                format!("dataset `{}` has no split `{name}`", self.reference),
                format!("its splits are {}", names.join(", ")),
            )
        })
    }

    /// The rows of a split in order, at most `limit` of them.
    pub fn rows(&self, ctx: &Context, split: &str, limit: Option<usize>) -> Result<Vec<Row>, Error> {
        let split = self.split(split)?;
        let limit = limit.unwrap_or(usize::MAX);
        let mut rows = Vec::new();
        for shard in &split.shards {
            if rows.len() >= limit {
                break;
            }
            let bytes = artifact_bytes(ctx, shard)?;
            read_shard(shard, &bytes, limit, &mut rows)?;
        }
        let complete = limit >= split.rows as usize;
        if complete && rows.len() as u64 != split.rows {
            return Err(Error::refused(
                format!(
                    "split `{}` of `{}` holds {} rows, its record says {}",
                    split.name,
                    self.reference,
                    rows.len(),
                    split.rows
                ),
                "run `cairn verify`",
            ));
        }
        Ok(rows)
    }
}

fn read_shard(shard: &Ref, bytes: &[u8], limit: usize, rows: &mut Vec<Row>) -> Result<(), Error> {
    let lines = bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    for (number, line) in lines.take(limit - rows.len()) {
        let mut row: Row = serde_json::from_slice(line).map_err(|e| {
            Error::refused(format!("line {} of `{shard}` is not a dataset row: {e}", number + 1), "run `cairn verify`")
        })?;
        if row.id.is_empty() {
            row.id = format!("{}", rows.len() + 1);
        }
        rows.push(row);
    }
    Ok(())
}

/// Bytes of an artifact named by a ref, its digest checked again.
pub(crate) fn artifact_bytes(ctx: &Context, reference: &Ref) -> Result<Vec<u8>, Error> {
    let digest = artifact_digest(reference)?;
    Ok(ctx.ledger().artifacts(ctx.tenant()).get(&digest)?)
}

pub(crate) fn artifact_digest(reference: &Ref) -> Result<Blake3, Error> {
    match reference {
        Ref::Artifact(digest) => Ok(*digest),
        other => Err(Error::refused(format!("`{other}` is not an artifact"), "name artifact:<blake3>")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: &str) -> Row {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn prompts_and_answers() {
        assert_eq!(row(r#"{"text":"a"}"#).prompt(), None);
        assert_eq!(row(r#"{"instruction":"add","input":"1 2"}"#).prompt().unwrap(), "add\n1 2");
        assert_eq!(row(r#"{"instruction":"add"}"#).exchange(), None);
        let full = row(r#"{"instruction":"add","output":"3","metadata":{"document":"doc:x"}}"#);
        assert_eq!(full.exchange().unwrap(), ("add".to_owned(), "3"));
        assert_eq!(full.document(), None);
    }

    #[test]
    fn shards_stop_at_the_limit_and_name_a_bad_line() {
        let shard = Ref::Artifact(Blake3::of(b""));
        let bytes = b"{\"id\":\"x\",\"text\":\"a\"}\n{\"text\":\"b\"}\n{broken\n";
        let mut rows = Vec::new();
        read_shard(&shard, bytes, 2, &mut rows).unwrap();
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["x", "2"]);
        let error = read_shard(&shard, bytes, 9, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
    }
}
