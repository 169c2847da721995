//! Events to entities. What needs more than an entity is in `runs` and `registry`.

use super::rows::{self, EntityRow, RejectionRow, When};
use super::{annotations, past, registry, runs};
use crate::Error;
use crate::projection::Rows;
use cairn_schemas::events::data::{DocumentIngested, DocumentRejected};
use cairn_schemas::events::judgment::{GateOutcome, Verdict};
use cairn_schemas::{Event, Recorded, Ref};

pub(super) fn apply(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    artifacts(recorded, rows)?;
    let at = At { recorded, rows };
    match &recorded.event {
        Event::SourceRegistered(_)
        | Event::DocumentIngested(_)
        | Event::DocumentRejected(_)
        | Event::DocumentRemoved(_) => documents(at),
        Event::EvaluationCompleted(_) | Event::EvaluationSuperseded(_) | Event::EvaluationFailed(_) => evaluations(at),
        Event::JudgmentRecorded(_) | Event::GateEvaluated(_) => judgments(at),
        Event::SchemaRegistered(e) => at.upsert(&format!("schema:{}", e.kind), "schema", |entity| {
            entity.name = e.kind.clone();
            entity.state = "registered".into();
            entity.set("schema", e.schema.to_value());
        }),
        Event::AnnotationRecorded(e) => annotations::apply(at, e),
        event if runs::concerns(event) => runs::apply(at),
        _ => registry::apply(at),
    }
}

/// An event and the rows that it changes.
pub(super) struct At<'a, 'r> {
    pub(super) recorded: &'a Recorded,
    pub(super) rows: &'a mut Rows<'r>,
}

impl At<'_, '_> {
    /// Changes an entity, or makes it.
    pub(super) fn upsert(self, reference: &str, kind: &str, change: impl FnOnce(&mut EntityRow)) -> Result<(), Error> {
        upsert(self.rows, self.recorded, reference, kind, change)
    }
}

/// Changes an entity, or makes it and puts it on its kind's list. The state that it had is kept.
pub(super) fn upsert(
    rows: &mut Rows<'_>,
    recorded: &Recorded,
    reference: &str,
    kind: &str,
    change: impl FnOnce(&mut EntityRow),
) -> Result<(), Error> {
    let (key, when) = (rows::entity(reference), When::of(recorded));
    let Some(row) = rows.edit_known::<EntityRow>("catalog.entity", &key)? else {
        enlist(rows, recorded, reference, kind)?;
        let mut row = EntityRow {
            kind: kind.to_owned(),
            name: reference.to_owned(),
            project: recorded.project.clone(),
            created: when,
            updated: when,
            ..EntityRow::default()
        };
        change(&mut row);
        *rows.edit("catalog.entity", &key)? = row;
        return Ok(());
    };
    let before = row.clone();
    change(row);
    row.updated = when;
    // What an event changes twice is what it changes together: the states between are nobody's.
    if before.created == when {
        return Ok(());
    }
    if before.updated == when {
        let after = row.clone();
        return past::keep_again(rows, reference, before, &after);
    }
    row.changes += 1;
    let past = past::replaced(before, row);
    rows.write(rows::past(reference).u64(when.position).done(), &past);
    Ok(())
}

/// Puts a thing on a list, once.
pub(super) fn enlist(rows: &mut Rows<'_>, recorded: &Recorded, reference: &str, list: &str) -> Result<(), Error> {
    let key = rows::list(list).u64(recorded.position.get()).text(reference).done();
    rows.put(key, Vec::new());
    *rows.edit::<u64>("catalog.count", &rows::count(list))? += 1;
    Ok(())
}

/// Every artifact that an event produced exists from then on.
fn artifacts(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    for produced in &recorded.produced {
        let Ref::Artifact(_) = produced else { continue };
        let reference = produced.to_string();
        if rows.contains(&rows::entity(&reference))? {
            continue;
        }
        let role = role(&recorded.event, produced);
        upsert(rows, recorded, &reference, "artifact", |entity| {
            entity.name = role.to_owned();
            entity.state = "stored".into();
            entity.set("role", role);
            entity.set("event_type", recorded.event.type_name());
            entity.set("stream", recorded.stream.clone());
        })?;
    }
    Ok(())
}

fn role(event: &Event, artifact: &Ref) -> &'static str {
    match event {
        Event::CheckpointSaved(_) => "checkpoint",
        Event::CheckpointListed(_) => "checkpoint_description",
        Event::RunCompleted(_) => "weights",
        Event::IngestionCompleted(_) => "documents",
        Event::VersionCommitted(e) if e.manifest == *artifact => "manifest",
        Event::VersionCommitted(_) => "split",
        Event::CardPublished(_) => "card",
        Event::EvaluationCompleted(_) => "samples",
        _ => "output",
    }
}

fn documents(at: At<'_, '_>) -> Result<(), Error> {
    let event = &at.recorded.event;
    match event {
        Event::SourceRegistered(e) => at.upsert(&format!("source:{}", e.source), "source", |entity| {
            entity.name = e.source.clone();
            entity.state = "registered".into();
            entity.attributes.take(event, &["source"]);
        }),
        Event::DocumentIngested(e) => ingested(at, e),
        Event::DocumentRejected(e) => {
            rejected(at, e);
            Ok(())
        }
        Event::DocumentRemoved(e) => at.upsert(&e.document.to_string(), "document", |entity| {
            entity.state = "removed".into();
            entity.set("removed_because", e.reason.clone());
        }),
        _ => Ok(()),
    }
}

fn ingested(at: At<'_, '_>, e: &DocumentIngested) -> Result<(), Error> {
    let event = &at.recorded.event;
    at.upsert(&e.document.to_string(), "document", |entity| {
        entity.name = e.source_uri.clone();
        entity.state = "ingested".into();
        entity.attributes.take(event, &["document"]);
    })
}

fn rejected(at: At<'_, '_>, e: &DocumentRejected) {
    let row = RejectionRow {
        source: e.source.clone(),
        source_uri: e.source_uri.clone(),
        rule: e.rule.clone(),
        detail: e.detail.clone(),
        duplicate_of: e.duplicate_of.as_ref().map(Ref::to_string),
        jaccard: e.jaccard.map(|jaccard| jaccard.0),
        offset: e.offset,
    };
    at.rows.write(rows::rejections(&e.run.to_string()).u64(at.recorded.position.get()).done(), &row);
}

fn evaluations(at: At<'_, '_>) -> Result<(), Error> {
    let event = &at.recorded.event;
    match event {
        Event::EvaluationCompleted(e) => at.upsert(&e.evaluation.to_string(), "evaluation", |entity| {
            entity.name = format!("{}/{}", e.suite, e.task);
            entity.state = "completed".into();
            entity.attributes.take(event, &["evaluation"]);
        }),
        Event::EvaluationFailed(e) => at.upsert(&e.evaluation.to_string(), "evaluation", |entity| {
            entity.name = format!("{}/{}", e.suite, e.task);
            entity.state = "failed".into();
            entity.attributes.take(event, &["evaluation"]);
        }),
        Event::EvaluationSuperseded(e) => at.upsert(&e.evaluation.to_string(), "evaluation", |entity| {
            entity.state = "superseded".into();
            entity.set("superseded_by", e.superseded_by.as_ref().map(Ref::to_string));
            entity.set("superseded_because", e.reason.clone());
        }),
        _ => Ok(()),
    }
}

fn judgments(at: At<'_, '_>) -> Result<(), Error> {
    let At { recorded, rows } = at;
    let event = &recorded.event;
    match event {
        Event::JudgmentRecorded(e) => {
            if let Some(earlier) = &e.supersedes {
                upsert(rows, recorded, &earlier.to_string(), "judgment", |entity| {
                    entity.state = "superseded".into();
                    entity.set("superseded_by", e.judgment.to_string());
                })?;
            }
            upsert(rows, recorded, &e.judgment.to_string(), "judgment", |entity| {
                entity.name = e.criterion.clone();
                entity.state = match e.verdict {
                    Verdict::Pass => "pass",
                    Verdict::Fail => "fail",
                    Verdict::Unscored => "unscored",
                }
                .into();
                entity.attributes.take(event, &["judgment"]);
            })
        }
        Event::GateEvaluated(e) => {
            let reference = e.judgment.to_string();
            if !rows.contains(&rows::entity(&reference))? {
                enlist(rows, recorded, &reference, "gate")?;
            }
            upsert(rows, recorded, &reference, "judgment", |entity| {
                entity.name = e.gate.clone();
                entity.state = match e.outcome {
                    GateOutcome::Pass => "pass",
                    GateOutcome::Block => "block",
                    GateOutcome::InsufficientEvidence => "insufficient_evidence",
                }
                .into();
                entity.attributes.take(event, &["judgment"]);
            })
        }
        _ => Ok(()),
    }
}
