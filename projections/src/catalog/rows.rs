//! Tables of `catalog`.

use super::{ActiveModel, Entity, RunState};
use crate::Error;
use crate::key::Key;
use bincode::{Decode, Encode};
use cairn_schemas::{Blake3, Position, Recorded, Ref, Timestamp};

const ENTITY: u8 = 1;
const LIST: u8 = 2;
const COUNT: u8 = 3;
const JOB: u8 = 4;
const JOB_BY_KEY: u8 = 5;
const UNFINISHED: u8 = 6;
const CHECKPOINT: u8 = 7;
const TAKEOVERS: u8 = 8;
const PROGRESS: u8 = 9;
const ALIAS: u8 = 10;
const ALIAS_CHANGE: u8 = 11;
const MODEL_VERSION: u8 = 12;
const DATASET_VERSION: u8 = 13;
const DOCUMENTS: u8 = 14;
const DEPLOYMENT: u8 = 15;
const DEPLOYMENT_CHANGE: u8 = 16;
const REJECTION: u8 = 17;

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct EntityRow {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) state: String,
    pub(super) project: String,
    pub(super) created: When,
    pub(super) updated: When,
    /// A JSON object.
    pub(super) attributes: String,
}

/// Where an event stands and when it was recorded.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct When {
    pub(super) position: u64,
    pub(super) micros: i64,
}

impl When {
    pub(super) fn of(recorded: &Recorded) -> Self {
        Self { position: recorded.position.get(), micros: recorded.recorded_at.as_micros() }
    }
    pub(super) fn position(self) -> Result<Position, Error> {
        position(self.position)
    }
    pub(super) fn at(self) -> Timestamp {
        Timestamp::from_micros(self.micros)
    }
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct JobRow {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) pipeline: Option<String>,
    pub(super) attempt: u32,
    pub(super) key: [u8; 32],
    pub(super) state: RunState,
    pub(super) spec: String,
    pub(super) inputs: Vec<String>,
    pub(super) resolved_at: Option<u64>,
    pub(super) reproduces: Option<String>,
    pub(super) outputs: Vec<String>,
    pub(super) summary: String,
    pub(super) duration_ms: Option<u64>,
    pub(super) error: Option<String>,
    pub(super) started: When,
    pub(super) updated: When,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct CheckpointRow {
    pub(super) tokens: Option<u64>,
    pub(super) checkpoint: Option<String>,
    pub(super) state_digest: Option<[u8; 32]>,
    pub(super) weights_digest: Option<[u8; 32]>,
    pub(super) location: Option<String>,
    pub(super) when: When,
}

/// The latest step of a run: kept apart, so that a step does not write the run's whole configuration again.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Progress {
    pub(super) attempt: u32,
    pub(super) step: u64,
    pub(super) tokens: u64,
    /// Latest value of every metric, sorted by name.
    pub(super) metrics: Vec<(String, f64)>,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct AliasChangeRow {
    pub(super) model: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) when: When,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct ActiveRow {
    pub(super) model: String,
    pub(super) weights_digest: [u8; 32],
    pub(super) gate: Option<String>,
    pub(super) when: When,
}

impl ActiveRow {
    pub(super) fn shown(&self) -> Result<ActiveModel, Error> {
        Ok(ActiveModel {
            model: parse(&self.model)?,
            weights_digest: Blake3::from_bytes(self.weights_digest),
            gate: parse_some(self.gate.as_deref())?,
            position: self.when.position()?,
            recorded_at: self.when.at(),
        })
    }
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct ChangeRow {
    pub(super) change: String,
    pub(super) model: Option<String>,
    pub(super) weights_digest: Option<[u8; 32]>,
    pub(super) from: Option<String>,
    pub(super) gate: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) when: When,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct RejectionRow {
    pub(super) source: String,
    pub(super) source_uri: String,
    pub(super) rule: String,
    pub(super) detail: String,
    pub(super) duplicate_of: Option<String>,
    pub(super) jaccard: Option<f64>,
    pub(super) offset: Option<u64>,
}

pub(super) fn entity(reference: &str) -> Vec<u8> {
    Key::of(ENTITY).text(reference).done()
}
pub(super) fn entities(reference_prefix: &str) -> Vec<u8> {
    Key::of(ENTITY).text_prefix(reference_prefix).done()
}
pub(super) fn list(kind: &str) -> Key {
    Key::of(LIST).text(kind)
}
pub(super) fn count(kind: &str) -> Vec<u8> {
    Key::of(COUNT).text(kind).done()
}
pub(super) fn job(run: &str) -> Vec<u8> {
    Key::of(JOB).text(run).done()
}
pub(super) fn job_by_key(key: &Blake3) -> Vec<u8> {
    Key::of(JOB_BY_KEY).bytes(key.as_bytes()).done()
}
pub(super) fn unfinished() -> Vec<u8> {
    Key::of(UNFINISHED).done()
}
pub(super) fn unfinished_job(run: &str) -> Vec<u8> {
    Key::of(UNFINISHED).text(run).done()
}
pub(super) fn checkpoints(run: &str) -> Vec<u8> {
    Key::of(CHECKPOINT).text(run).done()
}
pub(super) fn checkpoint(run: &str, step: u64, attempt: u32, position: u64) -> Vec<u8> {
    Key::of(CHECKPOINT).text(run).u64(step).u32(attempt).u64(position).done()
}
pub(super) fn takeovers(run: &str) -> Vec<u8> {
    Key::of(TAKEOVERS).text(run).done()
}
pub(super) fn progress(run: &str) -> Vec<u8> {
    Key::of(PROGRESS).text(run).done()
}
/// `family` is a model without its version: `model://project/name`.
pub(super) fn aliases(family: &str) -> Vec<u8> {
    Key::of(ALIAS).text(family).done()
}
pub(super) fn alias(family: &str, alias: &str) -> Vec<u8> {
    Key::of(ALIAS).text(family).text(alias).done()
}
pub(super) fn alias_changes(family: &str, alias: &str) -> Key {
    Key::of(ALIAS_CHANGE).text(family).text(alias)
}
pub(super) fn model_version(family: &str) -> Vec<u8> {
    Key::of(MODEL_VERSION).text(family).done()
}
/// `family` is a dataset without its version: `ds://project/name`.
pub(super) fn dataset_versions(family: &str) -> Key {
    Key::of(DATASET_VERSION).text(family)
}
pub(super) fn documents(dataset: &str) -> Key {
    Key::of(DOCUMENTS).text(dataset)
}
pub(super) fn deployment(deployment: &str) -> Vec<u8> {
    Key::of(DEPLOYMENT).text(deployment).done()
}
pub(super) fn deployment_changes(deployment: &str) -> Key {
    Key::of(DEPLOYMENT_CHANGE).text(deployment)
}
pub(super) fn rejections(run: &str) -> Key {
    Key::of(REJECTION).text(run)
}

pub(super) fn parse(reference: &str) -> Result<Ref, Error> {
    reference.parse().map_err(|e| Error::row("catalog", e))
}
pub(super) fn parse_some(reference: Option<&str>) -> Result<Option<Ref>, Error> {
    reference.map(parse).transpose()
}
pub(super) fn json(text: &str) -> Result<serde_json::Value, Error> {
    serde_json::from_str(text).map_err(|e| Error::row("catalog", e))
}
pub(super) fn position(value: u64) -> Result<Position, Error> {
    Position::new(value).ok_or_else(|| Error::row("catalog", "it says position 0"))
}

pub(super) fn shown(reference: String, row: EntityRow) -> Result<Entity, Error> {
    Ok(Entity {
        reference,
        created_position: row.created.position()?,
        updated_position: row.updated.position()?,
        created_at: row.created.at(),
        updated_at: row.updated.at(),
        attributes: json(&row.attributes)?,
        kind: row.kind,
        name: row.name,
        state: row.state,
        project: row.project,
    })
}
