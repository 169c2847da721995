//! Replaying a recorded run from the ledger alone and comparing, digest by digest. What a replay computes is compared
//! and dropped: it leaves a job that names the run it replayed, and no second truth about it.

mod train;

use crate::job::{Job, JobContext, JobResult, Output, Scope, source_of};
use crate::observer::{Cancel, JobInfo, JobOutcome, Observer};
use crate::pipeline::{JobKind, JobSpec};
use crate::{Context, Error, provenance};
use cairn_projections::catalog::{JobRecord, RunState};
use cairn_schemas::events::job::{JobCompleted, JobFailed, JobStarted};
use cairn_schemas::{Event, NewEvent, Position, ProjectName, RawJson, Ref, RunId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

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

/// How a replay came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reproduction {
    pub run: RunId,
    /// The job that replayed it.
    pub replay: RunId,
    /// Whether everything compared is equal.
    pub equal: bool,
    pub compared: Vec<Comparison>,
    /// Where program, library, device or CPU differ from the recorded ones.
    pub environment_differences: Vec<String>,
}

/// What a kind's replay found.
pub(crate) struct Found {
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

/// Replays a completed run: its settings, its resolved inputs and its artifacts as the ledger has them. Ingestions are
/// refused (their sources are outside the ledger), deployments too (replaying one would deploy).
pub fn reproduce(ctx: &Context, run: &RunId, observer: &dyn Observer) -> Result<Reproduction, Error> {
    if !ctx.is_writable() {
        return Err(cairn_ledger::Error::ReadOnly.into());
    }
    let recorded = recorded_job(ctx, run)?;
    let kind = kind_of(&recorded)?;
    if matches!(kind, JobKind::Ingest | JobKind::Deploy) {
        return Err(Error::refused(
            format!("run:{run}"),
            format!(
                "is of kind {kind}; runs of kind dataset, tokenizer, train, evaluate, judge and gate can be replayed"
            ),
        ));
    }
    let info = JobInfo { name: recorded.name.clone(), kind, run: RunId::generate(), attempt: 1 };
    let project = project_of(&recorded);
    let started = JobStarted {
        run: info.run,
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
    append(ctx, &info, &project, "started", started)?;
    observer.job_started(&info);
    let begun = Instant::now();
    let found = match kind {
        JobKind::Train => train::replay(ctx, run, &info, observer),
        _ => replay(ctx, &recorded, &info, observer),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let failed = JobFailed { run: info.run, attempt: 1, error: error.chain() };
            append(ctx, &info, &project, "failed", failed)?;
            let error = Arc::new(error);
            observer.job_finished(&info, &JobOutcome::Failed { error: error.clone() });
            return Err(Arc::into_inner(error).unwrap_or(Error::Cancelled));
        }
    };
    let reproduction = Reproduction {
        run: *run,
        replay: info.run,
        equal: !found.compared.is_empty() && found.compared.iter().all(Comparison::is_equal),
        compared: found.compared,
        environment_differences: found.environment_differences,
    };
    let completed = JobCompleted {
        run: info.run,
        attempt: 1,
        outputs: Vec::new(),
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        summary: RawJson::of(&reproduction),
    };
    let summary = completed.summary.to_value();
    append(ctx, &info, &project, "completed", completed)?;
    observer.job_finished(&info, &JobOutcome::Done { summary });
    Ok(reproduction)
}

fn append(ctx: &Context, info: &JobInfo, project: &str, what: &str, event: impl Into<Event>) -> Result<(), Error> {
    let id = format!("{}/1/{what}", info.run);
    let event = NewEvent::new(&source_of(info.kind), &id, event).in_project(project);
    ctx.ledger().append(ctx.tenant(), vec![event])?;
    Ok(())
}

/// A completed job as the catalog has it. A training run may also be replayed unfinished: its checkpoints are compared.
fn recorded_job(ctx: &Context, run: &RunId) -> Result<JobRecord, Error> {
    ctx.projections().catch_up()?;
    let refused = |why: String| Error::refused(format!("run:{run}"), why);
    let Some(job) = ctx.projections().catalog().job(run)? else {
        return Err(match ctx.projections().catalog().get(&Ref::Run(*run).to_string())? {
            Some(_) => refused("was recorded by another program than this; only jobs can be replayed".to_owned()),
            None => Error::UnknownRef {
                kind: "run",
                reference: format!("run:{run}"),
                hint: "`cairn status` names the latest".into(),
            },
        });
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
fn replay(ctx: &Context, recorded: &JobRecord, info: &JobInfo, observer: &dyn Observer) -> Result<Found, Error> {
    let spec = spec_of(recorded)?;
    let results = results_of(ctx, &spec)?;
    let job_spec = JobSpec::from_settings(info.kind, spec.settings.clone())?;
    let job: &dyn Job = job_spec.as_job();
    let scope = || Scope {
        ctx,
        job_name: &info.name,
        project: &spec.project,
        seed: spec.seed,
        base_dir: ctx.data_dir(),
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
    Ok(Found { compared, environment_differences })
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
        JobKind::Train | JobKind::Ingest | JobKind::Deploy => Vec::new(),
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
