//! Events of datasets, models and deployments.

use super::apply::{At, upsert};
use super::attributes;
use super::rows::{self, ActiveRow, AliasChangeRow, ChangeRow, DocumentsRow, When};
use crate::Error;
use crate::projection::Rows;
use cairn_schemas::events::dataset::DocumentsAdded;
use cairn_schemas::events::deployment::{DeploymentCreated, Promoted, Retired, RolledBack, TrafficShifted};
use cairn_schemas::events::model::VersionRegistered;
use cairn_schemas::{Event, Recorded, Ref};
use serde_json::{Value, json};

/// Earlier models of a deployment that are kept to roll back to.
const STACK_MAX: usize = 100;

pub(super) fn apply(at: At<'_, '_>) -> Result<(), Error> {
    let At { recorded, rows } = at;
    match &recorded.event {
        Event::DocumentsAdded(e) => documents_added(recorded, e, rows),
        Event::VersionCommitted(e) => dataset(recorded, &e.dataset, Some("committed"), rows, |attributes, fields| {
            attributes.extend(fields);
        }),
        Event::VersionWithdrawn(e) => dataset(recorded, &e.dataset, Some("withdrawn"), rows, |attributes, _| {
            attributes.insert("withdrawn_because".into(), e.reason.clone().into());
        }),
        Event::CardPublished(e) => dataset(recorded, &e.dataset, None, rows, |attributes, _| {
            attributes.insert("card".into(), e.card.to_string().into());
        }),
        Event::VersionRegistered(e) => model_registered(recorded, e, rows),
        Event::AliasAssigned(e) => alias(recorded, &e.model, &e.alias, &e.reason, true, rows),
        Event::AliasCleared(e) => alias(recorded, &e.model, &e.alias, &e.reason, false, rows),
        Event::DeploymentCreated(e) => created(recorded, e, rows),
        Event::TrafficShifted(e) => shifted(recorded, e, rows),
        Event::Promoted(e) => promoted(recorded, e, rows),
        Event::RolledBack(e) => rolled_back(recorded, e, rows),
        Event::Retired(e) => retired(recorded, e, rows),
        Event::ResponseGenerated(e) => upsert(rows, recorded, &e.deployment.to_string(), "deployment", |entity| {
            let responses = entity.attributes.get("responses").and_then(Value::as_u64).unwrap_or(0);
            entity.set("responses", responses + 1);
            entity.set("latest_response", e.response.clone());
        }),
        _ => Ok(()),
    }
}

/// `project/name` of a dataset or a model.
fn name_of(reference: &Ref) -> String {
    match reference {
        Ref::Dataset { project, name, .. } | Ref::Model { project, name, .. } => format!("{project}/{name}"),
        other => other.to_string(),
    }
}

fn documents_added(recorded: &Recorded, e: &DocumentsAdded, rows: &mut Rows<'_>) -> Result<(), Error> {
    let dataset_ref = e.dataset.to_string();
    let documents: Vec<String> = e.documents.iter().map(Ref::to_string).collect();
    let page = DocumentsRow { documents, when: When::of(recorded) };
    rows.write(rows::documents(&dataset_ref).u32(e.page).u64(recorded.position.get()).done(), &page);
    dataset(recorded, &e.dataset, None, rows, |attributes, _| {
        let before = attributes.get("documents").and_then(Value::as_u64).unwrap_or(0);
        attributes.insert("documents".into(), (before + page.documents.len() as u64).into());
    })
}

/// Changes a version of a dataset; `change` gets its attributes and the event's fields.
fn dataset(
    recorded: &Recorded,
    reference: &Ref,
    state: Option<&str>,
    rows: &mut Rows<'_>,
    change: impl FnOnce(&mut serde_json::Map<String, Value>, serde_json::Map<String, Value>),
) -> Result<(), Error> {
    let text = reference.to_string();
    let mut now = String::new();
    upsert(rows, recorded, &text, "dataset", |entity| {
        entity.name = name_of(reference);
        let before = if entity.state.is_empty() { "building" } else { &entity.state };
        entity.state = state.unwrap_or(before).to_owned();
        now.clone_from(&entity.state);
        change(&mut entity.attributes, attributes::fields(&recorded.event, &["dataset"]));
    })?;
    rows.write(rows::dataset_versions(&reference.stream()).text(&text).done(), &now);
    Ok(())
}

fn model_registered(recorded: &Recorded, e: &VersionRegistered, rows: &mut Rows<'_>) -> Result<(), Error> {
    if let Ref::Model { version, .. } = &e.model {
        let highest: &mut u64 = rows.edit("catalog.model_version", &rows::model_version(&e.model.stream()))?;
        *highest = (*highest).max(*version);
    }
    upsert(rows, recorded, &e.model.to_string(), "model", |entity| {
        entity.name = name_of(&e.model);
        entity.state = "registered".into();
        entity.attributes.take(&recorded.event, &["model"]);
    })
}

fn alias(
    recorded: &Recorded,
    model: &Ref,
    alias: &str,
    reason: &Option<String>,
    is_assigned: bool,
    rows: &mut Rows<'_>,
) -> Result<(), Error> {
    let (family, model) = (model.stream(), model.to_string());
    let key = rows::alias(&family, alias);
    let holder: Option<String> = rows.read("catalog.alias", &key)?;
    // An alias that another version holds by now is not cleared by naming the one that held it before.
    if !is_assigned && holder.as_deref() != Some(&model) {
        return Ok(());
    }
    if let Some(holder) = holder {
        carry(recorded, &holder, alias, false, rows)?;
    }
    match is_assigned {
        true => {
            carry(recorded, &model, alias, true, rows)?;
            rows.write(key, &model);
        }
        false => rows.delete(key),
    }
    let when = When::of(recorded);
    let change = AliasChangeRow { model: is_assigned.then_some(model), reason: reason.clone(), when };
    rows.write(rows::alias_changes(&family, alias).u64(when.position).done(), &change);
    Ok(())
}

/// Writes on a version that it carries an alias, or no longer does.
fn carry(recorded: &Recorded, model: &str, alias: &str, carries: bool, rows: &mut Rows<'_>) -> Result<(), Error> {
    upsert(rows, recorded, model, "model", |entity| {
        let held = entity.attributes.get("aliases").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut held: Vec<Value> = held.into_iter().filter(|other| other != alias).collect();
        if carries {
            held.push(alias.into());
        }
        entity.set("aliases", held);
    })
}

fn note(recorded: &Recorded, deployment: &Ref, change: ChangeRow, rows: &mut Rows<'_>) {
    let key = rows::deployment_changes(&deployment.to_string()).u64(recorded.position.get()).done();
    rows.write(key, &change);
}

fn changed(recorded: &Recorded, change: &str, reason: Option<String>) -> ChangeRow {
    let when = When::of(recorded);
    ChangeRow { change: change.into(), model: None, weights_digest: None, from: None, gate: None, reason, when }
}

fn created(recorded: &Recorded, e: &DeploymentCreated, rows: &mut Rows<'_>) -> Result<(), Error> {
    note(recorded, &e.deployment, changed(recorded, "created", None), rows);
    upsert(rows, recorded, &e.deployment.to_string(), "deployment", |entity| {
        if let Ref::Deployment(id) = &e.deployment {
            entity.name.clone_from(id);
        }
        let is_active = entity.attributes.get("active").is_some_and(Value::is_object);
        entity.state = if is_active { "active" } else { "created" }.into();
        entity.attributes.take(&recorded.event, &["deployment"]);
    })
}

fn shifted(recorded: &Recorded, e: &TrafficShifted, rows: &mut Rows<'_>) -> Result<(), Error> {
    note(recorded, &e.deployment, changed(recorded, "traffic_shifted", e.reason.clone()), rows);
    upsert(rows, recorded, &e.deployment.to_string(), "deployment", |entity| {
        entity.attributes.take(&recorded.event, &["deployment", "reason"]);
    })
}

fn promoted(recorded: &Recorded, e: &Promoted, rows: &mut Rows<'_>) -> Result<(), Error> {
    let mut stack = stack(&e.deployment, rows)?;
    let change = ChangeRow {
        model: Some(e.model.to_string()),
        weights_digest: Some(*e.weights_digest.as_bytes()),
        from: stack.last().map(|active| active.model.clone()),
        gate: e.gate.as_ref().map(Ref::to_string),
        ..changed(recorded, "promoted", e.reason.clone())
    };
    note(recorded, &e.deployment, change, rows);
    stack.push(ActiveRow {
        model: e.model.to_string(),
        weights_digest: *e.weights_digest.as_bytes(),
        gate: e.gate.as_ref().map(Ref::to_string),
        when: When::of(recorded),
    });
    stand(recorded, &e.deployment, stack, rows)
}

/// Goes back to the latest promotion of the model named; one that was never promoted takes the place of all.
fn rolled_back(recorded: &Recorded, e: &RolledBack, rows: &mut Rows<'_>) -> Result<(), Error> {
    let mut stack = stack(&e.deployment, rows)?;
    let change = ChangeRow {
        model: Some(e.model.to_string()),
        weights_digest: Some(*e.weights_digest.as_bytes()),
        from: Some(e.from.to_string()),
        ..changed(recorded, "rolled_back", Some(e.reason.clone()))
    };
    note(recorded, &e.deployment, change, rows);
    stack.pop();
    while stack.last().is_some_and(|active| active.model != e.model.to_string()) {
        stack.pop();
    }
    match stack.last_mut() {
        Some(active) => active.weights_digest = *e.weights_digest.as_bytes(),
        None => stack.push(ActiveRow {
            model: e.model.to_string(),
            weights_digest: *e.weights_digest.as_bytes(),
            gate: None,
            when: When::of(recorded),
        }),
    }
    stand(recorded, &e.deployment, stack, rows)
}

fn retired(recorded: &Recorded, e: &Retired, rows: &mut Rows<'_>) -> Result<(), Error> {
    note(recorded, &e.deployment, changed(recorded, "retired", Some(e.reason.clone())), rows);
    rows.delete(rows::deployment(&e.deployment.to_string()));
    upsert(rows, recorded, &e.deployment.to_string(), "deployment", |entity| {
        entity.state = "retired".into();
        entity.set("retired_because", e.reason.clone());
        entity.set("active", Value::Null);
        entity.set("previous", Value::Null);
    })
}

/// The models that answered, the active one last.
fn stack(deployment: &Ref, rows: &Rows<'_>) -> Result<Vec<ActiveRow>, Error> {
    Ok(rows.read("catalog.deployment", &rows::deployment(&deployment.to_string()))?.unwrap_or_default())
}

fn stand(recorded: &Recorded, deployment: &Ref, mut stack: Vec<ActiveRow>, rows: &mut Rows<'_>) -> Result<(), Error> {
    stack.drain(..stack.len().saturating_sub(STACK_MAX));
    let shown = |active: Option<&ActiveRow>| match active {
        None => Value::Null,
        Some(active) => json!({
            "model": active.model,
            "weights_digest": hex::encode(active.weights_digest),
            "gate": active.gate,
            "position": active.when.position,
        }),
    };
    let (active, previous) = (shown(stack.last()), shown(stack.iter().nth_back(1)));
    rows.write(rows::deployment(&deployment.to_string()), &stack);
    upsert(rows, recorded, &deployment.to_string(), "deployment", |entity| {
        if let Ref::Deployment(id) = deployment {
            entity.name.clone_from(id);
        }
        entity.state = "active".into();
        entity.set("active", active);
        entity.set("previous", previous);
    })
}
