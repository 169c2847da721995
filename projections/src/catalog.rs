//! Store `catalog`: what exists, in which state, with which attributes; and the indexes that processors ask: jobs by
//! key, checkpoints, aliases, versions, what a deployment answers with.

mod annotations;
mod apply;
mod attributes;
mod columns;
pub mod filter;
mod find;
mod history;
mod lists;
mod past;
mod past_list;
mod query;
mod registry;
mod rows;
mod runs;
#[cfg(test)]
mod tests;
mod value;

use annotations::Annotations;
pub use annotations::Note;
pub use columns::PathInfo;
pub use find::{Find, Found, Item, Matching};
pub use history::family_of;

use crate::Curves;
use crate::projection::{Live, Projection};
use cairn_schemas::{Blake3, Position, Ref, RunId, Timestamp};
use std::fmt;
use std::sync::Arc;

pub(crate) static PROJECTION: Projection = Projection::new("catalog", 6, apply::apply).viewed(lists::load);

/// The lists that can be asked for. `gate` lists judgments that are gates, `training` runs that train.
pub const KINDS: [&str; 12] = [
    "artifact",
    "dataset",
    "deployment",
    "document",
    "evaluation",
    "gate",
    "judgment",
    "model",
    "run",
    "schema",
    "source",
    "training",
];

/// Anything that has a name.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Entity {
    /// Its ref; `source:<name>` and `schema:<kind>` where there is no ref for its kind.
    pub reference: String,
    pub kind: String,
    /// For people: `project/name` of datasets and models, a job's name, a document's URI, …
    pub name: String,
    /// Where it stands: `running`, `completed`, `failed`, `cancelled`, `imported`, `placeholder` (runs); `building`, `committed`, `withdrawn`
    /// (datasets); `registered` (models, sources, schemas); `created`, `active`, `retired` (deployments); `ingested`,
    /// `removed` (documents); `completed`, `failed`, `superseded` (evaluations); `pass`, `fail`, `unscored`, `block`,
    /// `insufficient_evidence`, `superseded` (judgments); `stored` (artifacts).
    pub state: String,
    pub project: String,
    pub created_position: Position,
    pub updated_position: Position,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The fields of its events by their names. Runs: those of the job under `job`, of the training under `training`,
    /// of the ingestion under `ingestion`, and the latest step under `progress`.
    pub attributes: serde_json::Value,
    /// Who answers for it, as people said.
    pub owner: Option<String>,
    /// What people said of it by name.
    pub tags: serde_json::Map<String, serde_json::Value>,
    /// What people noted of it, oldest first, the latest 100.
    pub notes: Vec<Note>,
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What to give as `after` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Running,
    Completed,
    Failed,
    Cancelled,
    /// Made elsewhere and taken in from files about it, which do not say how it ended.
    Imported,
    /// Made elsewhere; only its name was met.
    Placeholder,
}

impl RunState {
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Completed => "completed",
            RunState::Failed => "failed",
            RunState::Cancelled => "cancelled",
            RunState::Imported => "imported",
            RunState::Placeholder => "placeholder",
        }
    }
}
impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A processor's job as its latest attempt left it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct JobRecord {
    pub run: RunId,
    pub kind: String,
    pub name: String,
    pub pipeline: Option<String>,
    pub attempt: u32,
    pub key: Blake3,
    /// `Running` also where the process died before it could say otherwise.
    pub state: RunState,
    pub spec: serde_json::Value,
    pub inputs: Vec<Ref>,
    pub resolved_at: Option<Position>,
    pub reproduces: Option<RunId>,
    pub outputs: Vec<Ref>,
    pub summary: serde_json::Value,
    pub duration_ms: Option<u64>,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    pub started_position: Position,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A state of a training run: stored, with its digests, or only known to be kept elsewhere, without them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CheckpointRecord {
    pub step: u64,
    pub attempt: u32,
    /// `None` where its list does not say.
    pub tokens: Option<u64>,
    /// The stored state; for one kept elsewhere the description that names it, where something began from it.
    pub checkpoint: Option<Ref>,
    pub state_digest: Option<Blake3>,
    pub weights_digest: Option<Blake3>,
    /// Where one that is kept elsewhere is kept.
    pub location: Option<String>,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// A document that a dataset is made of, and the event that says so.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NamedDocument {
    pub document: Ref,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// A model that answers, or answered, for a deployment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ActiveModel {
    pub model: Ref,
    pub weights_digest: Blake3,
    /// The gate's judgment that allowed it.
    pub gate: Option<Ref>,
    /// Position of its promotion, and its time.
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// A deployment as it is now.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DeploymentRecord {
    pub deployment: Ref,
    /// `created`, `active` or `retired`.
    pub state: String,
    pub target: String,
    pub config: serde_json::Value,
    /// What answers now.
    pub active: Option<ActiveModel>,
    /// What a roll back goes back to: what answered before the active one was promoted.
    pub previous: Option<ActiveModel>,
}

/// Something that changed what a deployment answers with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DeploymentChange {
    /// `created`, `promoted`, `rolled_back`, `traffic_shifted` or `retired`.
    pub change: String,
    pub model: Option<Ref>,
    pub weights_digest: Option<Blake3>,
    /// What answered before.
    pub from: Option<Ref>,
    pub gate: Option<Ref>,
    pub reason: Option<String>,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// What an alias named, and since when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AliasChange {
    /// `None`: the alias was cleared.
    pub model: Option<Ref>,
    pub reason: Option<String>,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// A document that was turned away, and why.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Rejection {
    pub source: String,
    pub source_uri: String,
    pub rule: String,
    pub detail: String,
    pub duplicate_of: Option<Ref>,
    pub jaccard: Option<f64>,
    pub offset: Option<u64>,
    pub position: Position,
}

/// Queries over what exists.
#[derive(Clone)]
pub struct Catalog(Arc<Live>, Curves);

impl Catalog {
    /// `curves` say what the metrics of a run were.
    pub(crate) fn over(live: Arc<Live>, curves: Curves) -> Self {
        Self(live, curves)
    }
}
