//! Tags, owners and notes: what people say of a thing beside what its own events say.

use super::apply::At;
use super::rows::part;
use crate::Error;
use cairn_schemas::events::annotation::AnnotationRecorded;
use cairn_schemas::{Position, Timestamp};
use serde_json::{Map, Value, json};

/// Notes of one thing that are at hand; earlier ones are in its past states.
const NOTES_MAX: usize = 100;

/// What people said of a thing.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub(super) struct Annotations {
    pub(super) owner: Option<String>,
    pub(super) tags: Map<String, Value>,
    pub(super) notes: Vec<Note>,
}

/// Something that was noted of a thing.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Note {
    pub note: String,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// A thing that nothing was recorded of yet has a name, and what is said of it.
pub(super) fn apply(at: At<'_, '_>, e: &AnnotationRecorded) -> Result<(), Error> {
    let (position, recorded_at) = (at.recorded.position, at.recorded.recorded_at);
    at.upsert(&e.subject.to_string(), e.subject.kind(), |entity| {
        let annotations = entity.part("annotations");
        if let Value::Object(tags) = e.tags.to_value_or_text() {
            let held = part(annotations, "tags");
            for (name, value) in tags {
                match value {
                    Value::Null => drop(held.shift_remove(&name)),
                    value => drop(held.insert(name, value)),
                }
            }
        }
        match e.owner.as_deref() {
            None => {}
            Some("") => drop(annotations.shift_remove("owner")),
            Some(owner) => drop(annotations.insert("owner".into(), owner.into())),
        }
        if let Some(note) = &e.note {
            let notes = annotations.entry("notes").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(notes) = notes {
                notes.push(json!({ "note": note, "position": position, "recorded_at": recorded_at }));
                notes.drain(..notes.len().saturating_sub(NOTES_MAX));
            }
        }
    })
}
