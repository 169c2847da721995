//! Tables of `catalog`.

use super::attributes::Attributes;
use super::{ActiveModel, Annotations, Entity, RunState};
use crate::Error;
use crate::key::{Fields, Key};
use bincode::{Decode, Encode};
use cairn_schemas::{Blake3, Position, Recorded, Ref, RunId, Timestamp};
use serde_json::{Map, Value};
use std::collections::HashMap;

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
const PAST: u8 = 18;

#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct EntityRow {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) state: String,
    pub(super) project: String,
    pub(super) created: When,
    pub(super) updated: When,
    /// How many states it had before this one; each is kept.
    pub(super) changes: u32,
    pub(super) attributes: Attributes,
}

impl EntityRow {
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.attributes.insert(name.to_owned(), value.into());
    }
    /// An object among the attributes, made where it is missing.
    pub(super) fn part(&mut self, name: &str) -> &mut Map<String, Value> {
        part(&mut self.attributes, name)
    }
}

/// An object among the members of another, made where it is missing.
pub(super) fn part<'a>(of: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let part = of.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !part.is_object() {
        *part = Value::Object(Map::new());
    }
    part.as_object_mut().expect("it was made one")
}

/// A state that an entity had, kept under the position of the event that replaced it.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct PastRow {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) updated: When,
    pub(super) attributes: Past,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(super) enum Past {
    Whole(Attributes),
    /// What turns the attributes of the state that replaced it into its own.
    Differing(Vec<Difference>),
}

/// A member that was another, or was not there.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct Difference {
    /// The names on the way to it.
    pub(super) path: Vec<String>,
    /// What it was, as JSON; `None`: it was not there.
    pub(super) value: Option<String>,
}

/// Where an event stands and when it was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
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

impl CheckpointRow {
    /// Whether a list says that it is kept elsewhere, and no run that it stored it.
    pub(super) fn is_listed(&self) -> bool {
        self.location.is_some()
    }
    /// With what an earlier list said and this one does not.
    pub(super) fn filled(self, earlier: &CheckpointRow) -> Self {
        Self {
            tokens: self.tokens.or(earlier.tokens),
            checkpoint: self.checkpoint.or_else(|| earlier.checkpoint.clone()),
            ..self
        }
    }
}

/// Documents that one event says a dataset is made of.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct DocumentsRow {
    pub(super) documents: Vec<String>,
    pub(super) when: When,
}

/// The latest step of a run: kept apart, so that a step does not write the run's whole configuration again.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Progress {
    pub(super) attempt: u32,
    pub(super) step: u64,
    pub(super) tokens: u64,
    /// The event that said so.
    pub(super) when: When,
    /// Latest value of every metric, in the order of their first mention.
    pub(super) metrics: Vec<Latest>,
    /// Where each metric stands; made when a step names them in another order, and not stored.
    pub(super) places: Places,
}

/// A metric's value at the latest step that named it.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Latest {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) attempt: u32,
    pub(super) step: u64,
}

impl Progress {
    /// Takes a value, unless a later step gave one. `index` is where the metric may well stand: steps name theirs in one
    /// order, mostly.
    pub(super) fn take(&mut self, index: usize, name: &str, value: f64, attempt: u32, step: u64) {
        let at = match self.metrics.get(index) {
            Some(latest) if latest.name == name => Some(index),
            _ => self.place(name),
        };
        match at.map(|at| &mut self.metrics[at]) {
            Some(latest) if (attempt, step) < (latest.attempt, latest.step) => {}
            Some(latest) => (latest.value, latest.attempt, latest.step) = (value, attempt, step),
            None => {
                self.places.0.insert(name.to_owned(), self.metrics.len());
                self.metrics.push(Latest { name: name.to_owned(), value, attempt, step });
            }
        }
    }

    pub(super) fn place(&mut self, name: &str) -> Option<usize> {
        if self.places.0.len() != self.metrics.len() {
            self.places.0 = self.metrics.iter().enumerate().map(|(at, latest)| (latest.name.clone(), at)).collect();
        }
        self.places.0.get(name).copied()
    }
}

/// An index of what is stored beside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(HashMap<String, usize>);

impl Encode for Places {
    fn encode<E: bincode::enc::Encoder>(&self, _: &mut E) -> Result<(), bincode::error::EncodeError> {
        Ok(())
    }
}
impl<C> Decode<C> for Places {
    fn decode<D: bincode::de::Decoder<Context = C>>(_: &mut D) -> Result<Self, bincode::error::DecodeError> {
        Ok(Self::default())
    }
}
bincode::impl_borrow_decode!(Places);

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
/// The table of what steps say.
pub(super) const PROGRESSES: &[u8] = &[PROGRESS];

pub(super) fn entities(reference_prefix: &str) -> Vec<u8> {
    Key::of(ENTITY).text_prefix(reference_prefix).done()
}
pub(super) fn list(kind: &str) -> Key {
    Key::of(LIST).text(kind)
}
/// The ref of a list's row.
pub(super) fn listed(key: &[u8]) -> Result<String, Error> {
    let mut fields = Fields::of("catalog.list", key);
    fields.text()?;
    fields.u64()?;
    fields.text()
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
/// Written at every step, so its key is as short as can be.
pub(super) fn progress(run: &RunId) -> Vec<u8> {
    Key::of(PROGRESS).bytes(run.as_bytes()).done()
}
/// The run of a progress row's key.
pub(super) fn run_of_progress(key: &[u8]) -> Result<RunId, Error> {
    let bytes = key.get(1..).and_then(|bytes| bytes.try_into().ok());
    bytes.map(RunId::from_bytes).ok_or_else(|| Error::row("catalog.progress", "its key is not that of a run"))
}
pub(super) fn past(reference: &str) -> Key {
    Key::of(PAST).text(reference)
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
    let mut attributes = row.attributes.into_members();
    let annotations = attributes.shift_remove("annotations").map_or(Ok(Annotations::default()), serde_json::from_value);
    let annotations = annotations.map_err(|e| Error::row("catalog.entity", e))?;
    Ok(Entity {
        reference,
        created_position: row.created.position()?,
        updated_position: row.updated.position()?,
        created_at: row.created.at(),
        updated_at: row.updated.at(),
        attributes: Value::Object(attributes),
        owner: annotations.owner,
        tags: annotations.tags,
        notes: annotations.notes,
        kind: row.kind,
        name: row.name,
        state: row.state,
        project: row.project,
    })
}
