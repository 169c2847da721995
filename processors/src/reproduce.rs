//! Replaying a recorded run from the ledger alone and comparing, digest by digest. What a replay computes is compared
//! and dropped: it leaves a job that names the run it replayed, and no second truth about it.

mod checks;
mod complete;
mod ingest;
mod train;

pub use complete::{Missing, Part, Provenance, RunBy, provenance_of};

use crate::job::{Job, JobContext, JobResult, Output, Scope};
use crate::observer::{Cancel, JobInfo, JobOutcome, Observer};
use crate::pipeline::{JobKind, JobSpec};
use crate::{Context, Error, provenance};
use cairn_projections::catalog::{JobRecord, RunState};
use cairn_schemas::events::job::{JobCompleted, JobFailed, JobStarted};
use cairn_schemas::{Event, NewEvent, Position, ProjectName, RawJson, Ref, RunId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Kind of the jobs by which an erasure stores what stays of artifacts.
pub(crate) const ERASE: &str = "erase";

/// One thing that was recorded, and what the replay made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub what: String,
    pub recorded: String,
    pub replayed: String,
}

impl Comparison {
    pub(crate) fn new(what: impl Into<String>, recorded: impl ToString, replayed: impl ToString) -> Self {
        Self { what: what.into(), recorded: recorded.to_string(), replayed: replayed.to_string() }
    }

    pub fn is_equal(&self) -> bool {
        self.recorded == self.replayed
    }
}

/// How a run is gone about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// It was computed again, and what came out is compared.
    Replayed,
    /// What it left was compared with what is recorded of it; nothing was computed again.
    Checked,
}

/// How a replay came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reproduction {
    pub run: RunId,
    /// The job that replayed it.
    pub replay: RunId,
    pub manner: Manner,
    /// Why it was only checked, and what would be needed to replay it.
    pub notes: Vec<String>,
    /// Whether everything compared is equal.
    pub equal: bool,
    pub compared: Vec<Comparison>,
    /// Where program, library, device or CPU differ from the recorded ones.
    pub environment_differences: Vec<String>,
}

/// What a kind's replay found.
pub(crate) struct Found {
    pub(crate) manner: Manner,
    pub(crate) notes: Vec<String>,
    pub(crate) compared: Vec<Comparison>,
    pub(crate) environment_differences: Vec<String>,
}

/// A job's settings as its runner recorded them.
#[derive(Deserialize)]
struct RecordedSpec {
    project: ProjectName,
    seed: u64,
    settings: Value,
    #[serde(default)]
    jobs: BTreeMap<String, RunId>,
    /// The program, as `provenance` describes it.
    #[serde(default)]
    code: Value,
}

/// Replays a completed run from its settings, its resolved inputs and its artifacts as the ledger has them. Relative paths
/// of an ingestion's sources are seen from `base_dir`; where the sources are not as they were, what was stored is checked.
/// Deployments and erasures are checked, not done again. A run of another program is refused, with what is missing.
pub fn reproduce(ctx: &Context, run: &RunId, base_dir: &Path, observer: &dyn Observer) -> Result<Reproduction, Error> {
    if !ctx.is_writable() {
        return Err(cairn_ledger::Error::ReadOnly.into());
    }
    let recorded = recorded_job(ctx, run)?;
    let kind = match recorded.kind.as_str() {
        ERASE => None,
        _ => Some(kind_of(&recorded)?),
    };
    let replay_run = RunId::generate();
    // What a person is told of: an erasure is no job of a pipeline.
    let info = kind.map(|kind| JobInfo { name: recorded.name.clone(), kind, run: replay_run, attempt: 1 });
    let project = project_of(&recorded);
    let append = |what: &str, event: Event| -> Result<(), Error> {
        let source = format!("cairn://processors/{}", recorded.kind);
        let event = NewEvent::new(&source, &format!("{replay_run}/1/{what}"), event).in_project(&project);
        ctx.ledger().append(ctx.tenant(), vec![event])?;
        Ok(())
    };
    let started = JobStarted {
        run: replay_run,
        kind: recorded.kind.clone(),
        name: recorded.name.clone(),
        pipeline: recorded.pipeline.clone(),
        attempt: 1,
        key: recorded.key,
        spec: RawJson::of(&recorded.spec),
        inputs: recorded.inputs.clone(),
        resolved_at: ctx.ledger().head(ctx.tenant()).map(Position::get),
        reproduces: Some(*run),
    };
    append("started", started.into())?;
    if let Some(info) = &info {
        observer.job_started(info);
    }
    let begun = Instant::now();
    let found = match &info {
        None => checks::erase(ctx, &recorded),
        Some(info) => match info.kind {
            JobKind::Deploy => checks::deploy(ctx, &recorded),
            JobKind::Ingest => ingest::replay(ctx, &recorded, info, base_dir, observer),
            JobKind::Train => train::replay(ctx, run, info, observer),
            _ => replay(ctx, &recorded, info, ctx.data_dir(), observer),
        },
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            append("failed", JobFailed { run: replay_run, attempt: 1, error: error.chain() }.into())?;
            let error = Arc::new(error);
            if let Some(info) = &info {
                observer.job_finished(info, &JobOutcome::Failed { error: error.clone() });
            }
            return Err(Arc::into_inner(error).unwrap_or(Error::Cancelled));
        }
    };
    let reproduction = Reproduction {
        run: *run,
        replay: replay_run,
        manner: found.manner,
        notes: found.notes,
        equal: !found.compared.is_empty() && found.compared.iter().all(Comparison::is_equal),
        compared: found.compared,
        environment_differences: found.environment_differences,
    };
    let completed = JobCompleted {
        run: replay_run,
        attempt: 1,
        outputs: Vec::new(),
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        summary: RawJson::of(&reproduction),
    };
    let summary = completed.summary.to_value();
    append("completed", completed.into())?;
    if let Some(info) = &info {
        observer.job_finished(info, &JobOutcome::Done { summary });
    }
    Ok(reproduction)
}

/// A completed job as the catalog has it. A training run may also be replayed unfinished: its checkpoints are compared.
fn recorded_job(ctx: &Context, run: &RunId) -> Result<JobRecord, Error> {
    ctx.projections().catch_up()?;
    let refused = |why: String| Error::refused(format!("run:{run}"), why);
    let job = ctx.projections().catalog().job(run)?;
    let is_own = |job: &JobRecord| JobKind::parse(&job.kind).is_some() || job.kind == ERASE;
    let Some(job) = job.filter(is_own) else {
        let found = provenance_of(ctx, run, None)?;
        let what = match found.is_complete {
            true => "all that is needed for that is recorded: `cairn reproduce --check` shows it".to_owned(),
            false => format!("missing for that: {}", complete::told(&found.missing)),
        };
        return Err(refused(format!("was run by another program, which must run it again; {what}")));
    };
    if let Some(replayed) = job.reproduces {
        return Err(refused(format!("is itself a replay; replay run:{replayed}")));
    }
    if job.state != RunState::Completed && job.kind != JobKind::Train.as_str() {
        return Err(refused(format!("is {}, so it left nothing to compare with", job.state)));
    }
    Ok(job)
}

fn kind_of(job: &JobRecord) -> Result<JobKind, Error> {
    JobKind::parse(&job.kind).ok_or_else(|| {
        Error::refused(
            format!("run:{}", job.run),
            format!("is of kind `{}`, which is no job of this program", job.kind),
        )
    })
}

fn spec_of(job: &JobRecord) -> Result<RecordedSpec, Error> {
    serde_json::from_value(job.spec.clone())
        .map_err(|e| Error::Stored { what: format!("the settings of run:{}", job.run), why: e.to_string() })
}

fn project_of(job: &JobRecord) -> String {
    spec_of(job).map_or_else(|_| ProjectName::default().to_string(), |spec| spec.project.to_string())
}

/// Runs the job again with nothing recorded and nothing stored, and compares what it made.
fn replay(
    ctx: &Context,
    recorded: &JobRecord,
    info: &JobInfo,
    base_dir: &Path,
    observer: &dyn Observer,
) -> Result<Found, Error> {
    let spec = spec_of(recorded)?;
    let results = results_of(ctx, &spec)?;
    let job_spec = JobSpec::from_settings(info.kind, spec.settings.clone())?;
    let job: &dyn Job = job_spec.as_job();
    let scope = || Scope {
        ctx,
        job_name: &info.name,
        project: &spec.project,
        seed: spec.seed,
        base_dir,
        results: &results,
        resolved_at: ctx.ledger().head(ctx.tenant()),
    };
    let resolved = job.resolve(&scope())?;
    let context = JobContext {
        scope: scope(),
        info,
        resolved: &resolved,
        key: recorded.key,
        reproduces: Some(recorded.run),
        cancel: &Cancel::default(),
        observer,
    };
    let output = job.run(&context)?;
    let mut compared = vec![Comparison::new("inputs", listed(&recorded.inputs), listed(&resolved.inputs))];
    compared.extend(artifacts(&recorded.outputs, &output));
    compared.extend(figures(info.kind, &recorded.summary, &output.summary));
    let mut environment_differences = provenance::program_differences(&RawJson::of(&spec.code));
    if let Some(environment) = recorded.summary.get("environment") {
        let here = provenance::environment(ctx.runtime()?);
        environment_differences.extend(provenance::differences(&RawJson::of(environment), &here));
    }
    Ok(Found { manner: Manner::Replayed, notes: Vec::new(), compared, environment_differences })
}

/// What the names in the settings stood for.
fn results_of(ctx: &Context, spec: &RecordedSpec) -> Result<BTreeMap<String, JobResult>, Error> {
    let mut results = BTreeMap::new();
    for (name, run) in &spec.jobs {
        let recorded = recorded_job(ctx, run)?;
        let kind = kind_of(&recorded)?;
        let result =
            JobResult { name: name.clone(), kind, run: *run, outputs: recorded.outputs, summary: recorded.summary };
        results.insert(name.clone(), result);
    }
    Ok(results)
}

fn listed(refs: &[Ref]) -> String {
    refs.iter().map(Ref::to_string).collect::<Vec<_>>().join(" ")
}

/// The artifacts among the outputs, in order: content addresses, so equal names are equal bytes.
fn artifacts(recorded: &[Ref], replayed: &Output) -> Vec<Comparison> {
    let of = |refs: &[Ref]| -> Vec<String> {
        refs.iter().filter(|output| matches!(output, Ref::Artifact(_))).map(Ref::to_string).collect()
    };
    let (recorded, replayed) = (of(recorded), of(&replayed.outputs));
    let absent = || "absent".to_owned();
    (0..recorded.len().max(replayed.len()))
        .map(|at| {
            let (one, other) = (recorded.get(at).cloned(), replayed.get(at).cloned());
            Comparison::new(format!("output {}", at + 1), one.unwrap_or_else(absent), other.unwrap_or_else(absent))
        })
        .collect()
}

/// Members of a kind's summary that its inputs decide.
fn figures(kind: JobKind, recorded: &Value, replayed: &Value) -> Vec<Comparison> {
    let compare = |path: &str| {
        let of = |summary: &Value| summary.pointer(path).unwrap_or(&Value::Null).to_string();
        Comparison::new(path.trim_start_matches('/').replace('/', "."), of(recorded), of(replayed))
    };
    match kind {
        JobKind::Dataset => ["/dataset", "/rows", "/splits", "/documents"].map(compare).into(),
        JobKind::Tokenizer => ["/entries"].map(compare).into(),
        JobKind::Judge => ["/judges"].map(compare).into(),
        JobKind::Gate => ["/outcome", "/checks"].map(compare).into(),
        JobKind::Evaluate => evaluation_figures(recorded, replayed),
        JobKind::Ingest => {
            ["/documents", "/rejected", "/rejected_by_rule", "/files", "/bytes", "/redactions"].map(compare).into()
        }
        JobKind::Train | JobKind::Deploy => Vec::new(),
    }
}

/// Every metric but those of time: they are measured, not decided.
fn evaluation_figures(recorded: &Value, replayed: &Value) -> Vec<Comparison> {
    let names = |summary: &Value| -> Vec<(String, String)> {
        let tasks = summary.get("tasks").and_then(Value::as_object).into_iter().flatten();
        tasks
            .flat_map(|(task, of)| {
                let metrics = of.get("metrics").and_then(Value::as_object).into_iter().flatten();
                metrics.map(|(metric, _)| (task.clone(), metric.clone()))
            })
            .filter(|(_, metric)| !["latency_ms", "cost_per_1k_tokens"].contains(&metric.as_str()))
            .collect()
    };
    let value =
        |summary: &Value, task: &str, metric: &str| json!(summary["tasks"][task]["metrics"][metric]).to_string();
    let mut all = names(recorded);
    all.extend(names(replayed));
    all.sort();
    all.dedup();
    all.into_iter()
        .map(|(task, metric)| {
            Comparison::new(
                format!("{task}.{metric}"),
                value(recorded, &task, &metric),
                value(replayed, &task, &metric),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_time_is_not_compared() {
        let recorded = json!({"tasks": {"t": {"metrics": {"f1": {"value": 0.5}, "latency_ms": {"value": 3.0}}}}});
        let replayed = json!({"tasks": {"t": {"metrics": {"f1": {"value": 0.5}, "latency_ms": {"value": 4.0}}}}});
        let compared = evaluation_figures(&recorded, &replayed);
        assert_eq!(compared.len(), 1);
        assert!(compared[0].is_equal() && compared[0].what == "t.f1");
        let missing = json!({"tasks": {}});
        assert!(!evaluation_figures(&recorded, &missing)[0].is_equal());
    }

    #[test]
    fn a_missing_output_is_a_difference() {
        let artifact = Ref::Artifact(cairn_schemas::Blake3::of(b"x"));
        let compared = artifacts(std::slice::from_ref(&artifact), &Output::default());
        assert_eq!(compared, [Comparison::new("output 1", artifact, "absent")]);
    }
}
