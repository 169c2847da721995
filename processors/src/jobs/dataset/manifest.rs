//! The manifest: canonical JSON that names everything a version holds. Its digest is the version's content address, so
//! it says neither the version's number nor when or by which run it was made.

use super::{Built, ingestion};
use crate::Error;
use crate::job::{Scope, canonical_json};
use crate::pipeline::DatasetSpec;
use cairn_schemas::Blake3;
use serde_json::{Value, json};

const FORMAT: &str = "cairn.dataset.manifest/1";

pub(super) struct Manifest {
    pub(super) text: String,
}

impl Manifest {
    pub(super) fn of(spec: &DatasetSpec, scope: &Scope<'_>, built: &Built) -> Result<Self, Error> {
        let splits: Vec<Value> = built
            .splits
            .iter()
            .map(|split| {
                let shards: Vec<_> = built.shards.iter().filter(|shard| shard.split == split.name).collect();
                json!({ "name": split.name, "rows": split.rows, "digest": split.digest, "shards": shards })
            })
            .collect();
        let mut documents = blake3::Hasher::new();
        for document in &built.documents {
            documents.update(document.to_string().as_bytes());
            documents.update(b"\n");
        }
        let sources = spec.rows.iter().map(|row| {
            let source = ingestion(scope, row)?;
            Ok(json!({ "job": row.from, "shards": source.outputs, "licence": source.summary.get("licence") }))
        });
        let sources = sources.collect::<Result<Vec<Value>, Error>>()?;
        let whole = json!({
            "format": FORMAT,
            "rows": built.rows,
            "splits": splits,
            "documents": built.documents.len(),
            "documents_digest": Blake3::from_bytes(*documents.finalize().as_bytes()),
            "sources": sources,
            "parents": spec.parents,
            "config": { "seed": scope.seed, "rows": spec.rows },
        });
        Ok(Self { text: canonical_json(&whole) })
    }
}
