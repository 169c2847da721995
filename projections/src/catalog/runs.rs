//! Events of jobs and of training runs. A training job and its training share a run; the job's state comes first.

use super::RunState;
use super::apply::{At, enlist, upsert};
use super::attributes::fields;
use super::rows::{self, CheckpointRow, EntityRow, JobRow, Progress, When};
use crate::Error;
use crate::attempts::{self, Takeover};
use crate::projection::Rows;
use cairn_schemas::events::job::{JobCompleted, JobStarted};
use cairn_schemas::events::training::{CheckpointListed, CheckpointSaved, RunCompleted, StepLogged};
use cairn_schemas::{Event, Recorded, Ref, RunId};
use serde_json::{Map, Value, json};

pub(super) fn concerns(event: &Event) -> bool {
    run_of(event).is_some()
}

/// The run that an event of these families is about.
fn run_of(event: &Event) -> Option<RunId> {
    match event {
        Event::JobStarted(e) => Some(e.run),
        Event::JobCompleted(e) => Some(e.run),
        Event::JobFailed(e) => Some(e.run),
        Event::JobCancelled(e) => Some(e.run),
        Event::RunStarted(e) => Some(e.run),
        Event::StepLogged(e) => Some(e.run),
        Event::CheckpointSaved(e) => Some(e.run),
        Event::CheckpointListed(e) => Some(e.run),
        Event::RunImported(e) => Some(e.run),
        Event::RunResumed(e) => Some(e.run),
        Event::RunForked(e) => Some(e.run),
        Event::RunCompleted(e) => Some(e.run),
        Event::RunFailed(e) => Some(e.run),
        Event::RunCancelled(e) => Some(e.run),
        Event::IngestionStarted(e) => Some(e.run),
        Event::IngestionCompleted(e) => Some(e.run),
        Event::TransformApplied(e) => Some(e.run),
        _ => None,
    }
}

pub(super) fn apply(at: At<'_, '_>) -> Result<(), Error> {
    let At { recorded, rows } = at;
    match &recorded.event {
        Event::JobStarted(e) => job_started(recorded, e, rows),
        Event::JobCompleted(e) => {
            let done = |job: &mut JobRow| complete(job, e);
            job_ended(recorded, e.run, e.attempt, RunState::Completed, done, rows)
        }
        Event::JobFailed(e) => {
            let failed = |job: &mut JobRow| job.error = Some(e.error.clone());
            job_ended(recorded, e.run, e.attempt, RunState::Failed, failed, rows)
        }
        Event::JobCancelled(e) => {
            let cancelled = |job: &mut JobRow| job.error = Some(e.reason.clone());
            job_ended(recorded, e.run, e.attempt, RunState::Cancelled, cancelled, rows)
        }
        Event::StepLogged(e) => step_logged(recorded, e, rows),
        Event::CheckpointSaved(e) => {
            checkpoint_saved(recorded, e, rows);
            met(recorded, e.run, RunState::Running, rows)
        }
        Event::CheckpointListed(e) => {
            checkpoint_listed(recorded, e, rows);
            met(recorded, e.run, RunState::Placeholder, rows)
        }
        Event::IngestionStarted(_) | Event::IngestionCompleted(_) | Event::TransformApplied(_) => {
            ingestion(recorded, rows)
        }
        _ => training(recorded, rows),
    }
}

fn reference(run: RunId) -> String {
    Ref::Run(run).to_string()
}

fn job_started(recorded: &Recorded, e: &JobStarted, rows: &mut Rows<'_>) -> Result<(), Error> {
    let run = e.run.to_string();
    let known: Option<JobRow> = rows.read("catalog.job", &rows::job(&run))?;
    if known.as_ref().is_some_and(|known| known.attempt > e.attempt) {
        return Ok(());
    }
    let when = When::of(recorded);
    let job = JobRow {
        kind: e.kind.clone(),
        name: e.name.clone(),
        pipeline: e.pipeline.clone(),
        attempt: e.attempt,
        key: *e.key.as_bytes(),
        state: RunState::Running,
        spec: e.spec.as_str().to_owned(),
        inputs: e.inputs.iter().map(Ref::to_string).collect(),
        resolved_at: e.resolved_at,
        reproduces: e.reproduces.map(|run| run.to_string()),
        outputs: Vec::new(),
        summary: "{}".into(),
        duration_ms: None,
        error: None,
        started: known.map_or(when, |known| known.started),
        updated: when,
    };
    rows.write(rows::job(&run), &job);
    rows.put(rows::unfinished_job(&run), Vec::new());
    // A replay is not the work itself; and work once completed stays the answer until it is completed anew.
    if e.reproduces.is_none() && !is_completed(rows, &rows::job_by_key(&e.key), &run)? {
        rows.write(rows::job_by_key(&e.key), &run);
    }
    upsert(rows, recorded, &reference(e.run), "run", |entity| {
        entity.name = e.name.clone();
        entity.state = RunState::Running.as_str().into();
        let mut job = fields(&recorded.event, &["run"]);
        job.insert("state".into(), RunState::Running.as_str().into());
        entity.set("job", job);
    })
}

/// Whether the key's row names another run, which is completed.
fn is_completed(rows: &Rows<'_>, key: &[u8], run: &str) -> Result<bool, Error> {
    let Some(known) = rows.read::<String>("catalog.job_by_key", key)? else { return Ok(false) };
    let job: Option<JobRow> = rows.read("catalog.job", &rows::job(&known))?;
    Ok(known != run && job.is_some_and(|job| job.state == RunState::Completed))
}

fn complete(job: &mut JobRow, e: &JobCompleted) {
    job.outputs = e.outputs.iter().map(Ref::to_string).collect();
    job.summary = e.summary.as_str().to_owned();
    job.duration_ms = Some(e.duration_ms);
}

fn job_ended(
    recorded: &Recorded,
    run: RunId,
    attempt: u32,
    state: RunState,
    change: impl FnOnce(&mut JobRow),
    rows: &mut Rows<'_>,
) -> Result<(), Error> {
    let id = run.to_string();
    if let Some(mut job) = rows.read::<JobRow>("catalog.job", &rows::job(&id))? {
        // An earlier attempt that reports late changes nothing.
        if attempt < job.attempt {
            return Ok(());
        }
        (job.attempt, job.state, job.updated) = (attempt, state, When::of(recorded));
        change(&mut job);
        if state == RunState::Completed && job.reproduces.is_none() {
            rows.write(rows::job_by_key(&cairn_schemas::Blake3::from_bytes(job.key)), &id);
        }
        rows.write(rows::job(&id), &job);
    }
    rows.delete(rows::unfinished_job(&id));
    upsert(rows, recorded, &reference(run), "run", |entity| {
        entity.state = state.as_str().into();
        let job = entity.part("job");
        job.extend(fields(&recorded.event, &["run"]));
        job.insert("state".into(), state.as_str().into());
    })
}

fn training(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    let event = &recorded.event;
    let (run, state) = match event {
        Event::RunStarted(e) => (e.run, RunState::Running),
        Event::RunResumed(e) => (e.run, RunState::Running),
        Event::RunForked(e) => (e.run, RunState::Running),
        Event::RunImported(e) if e.is_placeholder => (e.run, RunState::Placeholder),
        Event::RunImported(e) => (e.run, RunState::Imported),
        Event::RunCompleted(e) => (e.run, RunState::Completed),
        Event::RunFailed(e) => (e.run, RunState::Failed),
        Event::RunCancelled(e) => (e.run, RunState::Cancelled),
        _ => return Ok(()),
    };
    match event {
        Event::RunStarted(e) if e.attempt > 1 => take_over(run, e.attempt, None, rows)?,
        Event::RunResumed(e) => take_over(run, e.attempt, Some(e.from_step), rows)?,
        Event::RunCompleted(e) => completed(recorded, e, rows)?,
        _ => {}
    }
    let id = reference(run);
    let mut is_new = false;
    upsert(rows, recorded, &id, "run", |entity| {
        is_new = !entity.attributes.contains_key("training");
        change(entity, event, state);
    })?;
    if is_new {
        enlist(rows, recorded, &id, "training")?;
    }
    Ok(())
}

/// A run of whose start nothing is known yet exists from the first event about it on; its start fills in the rest.
fn met(recorded: &Recorded, run: RunId, state: RunState, rows: &mut Rows<'_>) -> Result<(), Error> {
    let id = reference(run);
    let known = rows.look::<EntityRow>("catalog.entity", &rows::entity(&id))?;
    if known.is_some_and(|known| known.attributes.contains_key("training")) {
        return Ok(());
    }
    upsert(rows, recorded, &id, "run", |entity| {
        entity.part("training").insert("state".into(), state.as_str().into());
        if entity.state.is_empty() {
            entity.state = state.as_str().into();
        }
    })?;
    enlist(rows, recorded, &id, "training")
}

/// Changes a run by an event of its training.
fn change(entity: &mut EntityRow, event: &Event, state: RunState) {
    let training = entity.part("training");
    let attempt = training.get("attempt").and_then(Value::as_u64).unwrap_or(0);
    let mut fields = fields(event, &["run"]);
    let given = fields.get("attempt").and_then(Value::as_u64);
    if given.is_some_and(|given| given < attempt) {
        return;
    }
    // A beginning that comes after the end of its own attempt comes late: it does not begin it again.
    let is_late = state == RunState::Running && given == Some(attempt) && has_ended(training);
    match event {
        Event::RunResumed(_) => {
            training.insert("attempt".into(), fields.get("attempt").cloned().unwrap_or_default());
            push(training, "resumes", Value::Object(fields));
        }
        Event::RunForked(_) => drop(training.insert("forked_from".into(), Value::Object(fields))),
        Event::RunCompleted(_) => {
            // As an object, so that a metric is found by its name.
            let metrics = fields.remove("metrics");
            let named = metrics.as_ref().and_then(Value::as_array).into_iter().flatten();
            let named = named.filter_map(|metric| Some((metric["name"].as_str()?.to_owned(), metric["value"].clone())));
            fields.insert("metrics".into(), Value::Object(named.collect()));
            training.extend(fields);
        }
        Event::RunImported(e) => {
            e.unknown.iter().for_each(|name| drop(training.remove(name)));
            training.insert("imported".into(), Value::Object(fields));
        }
        _ => training.extend(fields),
    }
    if !is_late && !matches!(event, Event::RunForked(_)) {
        training.insert("state".into(), state.as_str().into());
    }
    if let Event::RunStarted(e) = event
        && !entity.attributes.contains_key("job")
    {
        entity.name = e.name.clone().unwrap_or_else(|| e.method.clone());
    }
    // The job, where there is one, goes on after its training ended.
    if !is_late
        && !entity.attributes.contains_key("job")
        && (entity.state.is_empty() || !matches!(event, Event::RunForked(_)))
    {
        entity.state = state.as_str().into();
    }
}

fn has_ended(training: &Map<String, Value>) -> bool {
    let ends = [RunState::Completed, RunState::Failed, RunState::Cancelled];
    let state = training.get("state").and_then(Value::as_str);
    ends.iter().any(|end| state == Some(end.as_str()))
}

fn push(object: &mut Map<String, Value>, name: &str, value: Value) {
    match object.get_mut(name).and_then(Value::as_array_mut) {
        Some(list) => list.push(value),
        None => drop(object.insert(name.to_owned(), Value::Array(vec![value]))),
    }
}

fn take_over(run: RunId, attempt: u32, from_step: Option<u64>, rows: &mut Rows<'_>) -> Result<(), Error> {
    let takeovers: &mut Vec<Takeover> = rows.edit("catalog.takeovers", &rows::takeovers(&run.to_string()))?;
    attempts::take_over(takeovers, attempt, from_step);
    Ok(())
}

/// The latest step by attempt and number, and each metric's value at the latest step that gave it.
fn step_logged(recorded: &Recorded, e: &StepLogged, rows: &mut Rows<'_>) -> Result<(), Error> {
    let progress: &mut Progress = rows.edit("catalog.progress", &rows::progress(&e.run))?;
    let is_first = progress.when == When::default();
    if (e.attempt, e.step) >= (progress.attempt, progress.step) {
        (progress.attempt, progress.step, progress.tokens) = (e.attempt, e.step, e.tokens);
    }
    progress.when = When::of(recorded);
    for (index, metric) in e.metrics.iter().enumerate() {
        progress.take(index, &metric.name, metric.value.0, e.attempt, e.step);
    }
    if is_first { met(recorded, e.run, RunState::Running, rows) } else { Ok(()) }
}

/// What a training says of itself at its end holds for what no step said.
fn completed(recorded: &Recorded, e: &RunCompleted, rows: &mut Rows<'_>) -> Result<(), Error> {
    let progress: &mut Progress = rows.edit("catalog.progress", &rows::progress(&e.run))?;
    if progress.when == When::default() {
        (progress.attempt, progress.step, progress.tokens) = (e.attempt, e.steps, e.tokens);
    }
    progress.when = When::of(recorded);
    for metric in &e.metrics {
        if progress.place(&metric.name).is_none() {
            progress.take(usize::MAX, &metric.name, metric.value.0, e.attempt, e.steps);
        }
    }
    Ok(())
}

fn checkpoint_saved(recorded: &Recorded, e: &CheckpointSaved, rows: &mut Rows<'_>) {
    let row = CheckpointRow {
        tokens: Some(e.tokens),
        checkpoint: Some(e.checkpoint.to_string()),
        state_digest: Some(*e.state_digest.as_bytes()),
        weights_digest: Some(*e.weights_digest.as_bytes()),
        location: None,
        when: When::of(recorded),
    };
    rows.write(rows::checkpoint(&e.run.to_string(), e.step, e.attempt, recorded.position.get()), &row);
}

/// Each list's word on a step is kept, so that a question about the past sees what had been said by then. A run that was
/// made elsewhere has one attempt, as far as is known.
fn checkpoint_listed(recorded: &Recorded, e: &CheckpointListed, rows: &mut Rows<'_>) {
    let row = CheckpointRow {
        tokens: e.tokens,
        checkpoint: e.description.as_ref().map(Ref::to_string),
        state_digest: None,
        weights_digest: None,
        location: Some(e.location.clone()),
        when: When::of(recorded),
    };
    rows.write(rows::checkpoint(&e.run.to_string(), e.step, 1, recorded.position.get()), &row);
}

/// An ingestion is part of its run, and the latest one is noted at its source.
fn ingestion(recorded: &Recorded, rows: &mut Rows<'_>) -> Result<(), Error> {
    let event = &recorded.event;
    let Some(run) = run_of(event) else { return Ok(()) };
    upsert(rows, recorded, &reference(run), "run", |entity| {
        if entity.state.is_empty() {
            entity.name = "ingestion".into();
            entity.state = RunState::Running.as_str().into();
        }
        match event {
            Event::TransformApplied(_) => {
                push(&mut entity.attributes, "transforms", Value::Object(fields(event, &["run"])))
            }
            _ => entity.part("ingestion").extend(fields(event, &["run"])),
        }
        if matches!(event, Event::IngestionCompleted(_)) && !entity.attributes.contains_key("job") {
            entity.state = RunState::Completed.as_str().into();
        }
    })?;
    let Event::IngestionCompleted(e) = event else { return Ok(()) };
    upsert(rows, recorded, &format!("source:{}", e.source), "source", |entity| {
        if entity.state.is_empty() {
            entity.name = e.source.clone();
            entity.state = "unregistered".into();
        }
        let latest = json!({ "run": reference(run), "files": e.files, "ingested": e.ingested, "rejected": e.rejected });
        entity.set("latest_ingestion", latest);
    })
}
