//! Rows of each split into shards: artifacts of JSON lines, and a digest over all rows in order.

use crate::Error;
use crate::dataset_reader::Row;
use crate::job::JobContext;
use cairn_schemas::events::dataset::Split;
use cairn_schemas::{Blake3, REFS_MAX, Ref, Sha256};
use serde::Serialize;

/// A shard is closed when it has this many bytes.
const SHARD_BYTES: usize = 16 << 20;

/// A shard as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Stored {
    #[serde(skip)]
    pub(super) split: String,
    pub(super) artifact: Ref,
    pub(super) sha256: Sha256,
    pub(super) bytes: u64,
    pub(super) rows: u64,
}

struct Open {
    name: String,
    rows: u64,
    hasher: blake3::Hasher,
    shard: Vec<u8>,
    shard_rows: u64,
    shards: Vec<Ref>,
}

/// The splits of a version, open for rows.
pub(super) struct Splits<'a> {
    job: &'a JobContext<'a>,
    open: Vec<Open>,
    stored: Vec<Stored>,
}

impl<'a> Splits<'a> {
    /// In the order in which the names are first mentioned; a split that no row comes to stays, empty.
    pub(super) fn new<'n>(job: &'a JobContext<'a>, names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut open: Vec<Open> = Vec::new();
        for name in names {
            if open.iter().all(|split| split.name != name) {
                open.push(Open {
                    name: name.to_owned(),
                    rows: 0,
                    hasher: blake3::Hasher::new(),
                    shard: Vec::new(),
                    shard_rows: 0,
                    shards: Vec::new(),
                });
            }
        }
        Self { job, open, stored: Vec::new() }
    }

    pub(super) fn push(&mut self, split: &str, row: &Row) -> Result<(), Error> {
        let at = self.open.iter().position(|open| open.name == split).expect("rows go to splits that were named");
        let open = &mut self.open[at];
        let before = open.shard.len();
        serde_json::to_writer(&mut open.shard, row).expect("a row serialises");
        open.shard.push(b'\n');
        open.hasher.update(&open.shard[before..]);
        open.rows += 1;
        open.shard_rows += 1;
        if open.shard.len() >= SHARD_BYTES { self.close(at) } else { Ok(()) }
    }

    fn close(&mut self, at: usize) -> Result<(), Error> {
        let open = &mut self.open[at];
        if open.shard.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut open.shard);
        let rows = std::mem::take(&mut open.shard_rows);
        let artifact = self.job.put_artifact(&bytes)?;
        let reference = Ref::Artifact(artifact.blake3);
        open.shards.push(reference.clone());
        let (split, sha256, bytes) = (open.name.clone(), artifact.sha256, artifact.bytes);
        self.stored.push(Stored { split, artifact: reference, sha256, bytes, rows });
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(Vec<Split>, Vec<Stored>), Error> {
        for at in 0..self.open.len() {
            self.close(at)?;
        }
        // One event names all shards, the version, its manifest and its run.
        let most = REFS_MAX - 16;
        if self.stored.len() > most {
            let why =
                format!("it takes {} shards of {SHARD_BYTES} bytes, at most {most} are allowed", self.stored.len());
            return Err(Error::refused("the dataset is too large", format!("{why}; split it into several datasets")));
        }
        let split = |open: Open| {
            let digest = Blake3::from_bytes(*open.hasher.finalize().as_bytes());
            Split { name: open.name, rows: open.rows, shards: open.shards, digest }
        };
        Ok((self.open.into_iter().map(split).collect(), self.stored))
    }
}
