//! Running a pipeline: resolve a job's inputs, skip what is recorded, take up what did not end, run, record the end.
//!
//! Whatever happens in a job (an error, a panic, a request to stop), its end is recorded before anything else runs.

mod key;
mod past;
mod preflight;

pub(crate) use key::by_version as key_by_version;

pub(crate) use past::Index as JobIndex;
pub use past::{PastJob, State};

use crate::job::{Blocked, Job, JobContext, JobResult, Output, Resolved, Scope, source_of};
use crate::observer::{Cancel, JobInfo, JobOutcome, Observer};
use crate::pipeline::{JobEntry, Pipeline};
use crate::{Context, Error, artifacts_layout, managed};
use cairn_schemas::events::job::{JobCancelled, JobCompleted, JobFailed, JobStarted};
use cairn_schemas::{Blake3, Event, NewEvent, Position, REFS_MAX, RawJson, Ref, RunId};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Longest error text that is recorded.
const ERROR_CHARS_MAX: usize = 4_096;
/// Member of a gate's summary that says why it blocked.
const BLOCKED: &str = "blocked";

/// How to run a pipeline.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Where to write the layout of requirement 02.
    pub artifacts_dir: Option<PathBuf>,
    pub cancel: Cancel,
    /// Only these jobs; what they need of others must have been completed before.
    pub only: Option<Vec<String>>,
}

/// What became of each job that was looked at, in order.
#[derive(Clone, Debug, Default)]
pub struct PipelineReport {
    pub jobs: Vec<(JobInfo, JobOutcome)>,
    /// Whether every job that was to run came to its end and none stopped the pipeline.
    pub complete: bool,
}

/// Runs the jobs in order. The first that fails, is stopped, or blocks and says stop, is the last.
///
/// An error means that nothing could be run or recorded; a job's own failure is in the report.
pub fn run_pipeline(
    ctx: &Context,
    pipeline: &Pipeline,
    options: &RunOptions,
    observer: &dyn Observer,
) -> Result<PipelineReport, Error> {
    if !ctx.is_writable() {
        return Err(cairn_ledger::Error::ReadOnly.into());
    }
    let pipeline = &pipeline.with_jobs(ctx)?;
    check_only(pipeline, options)?;
    let mut runner = Runner { ctx, pipeline, options, observer, results: BTreeMap::new() };
    runner.check_first()?;
    let mut report = PipelineReport { jobs: Vec::new(), complete: true };
    for entry in &pipeline.jobs {
        let Some((info, outcome)) = runner.take(entry)? else { continue };
        tracing::info!(job = info.name, run = %info.run, outcome = outcome.as_str(), "job finished");
        observer.job_finished(&info, &outcome);
        let goes_on = match &outcome {
            JobOutcome::Done { .. } | JobOutcome::Skipped { .. } => true,
            JobOutcome::Blocked { stops, .. } => !stops,
            JobOutcome::Failed { .. } | JobOutcome::Cancelled => false,
        };
        report.jobs.push((info, outcome));
        report.complete = goes_on;
        if !goes_on {
            break;
        }
    }
    if let Some(dir) = &options.artifacts_dir {
        artifacts_layout::write(ctx, dir, runner.results.values())?;
        managed::note_layout(ctx, dir)?;
    }
    Ok(report)
}

fn check_only(pipeline: &Pipeline, options: &RunOptions) -> Result<(), Error> {
    let names: Vec<&str> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
    match options.only.iter().flatten().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(Error::refused(
            format!("job `{name}`"),
            format!("is not in the pipeline; its jobs are {}", names.join(", ")),
        )),
        None => Ok(()),
    }
}

struct Runner<'a> {
    ctx: &'a Context,
    pipeline: &'a Pipeline,
    options: &'a RunOptions,
    observer: &'a dyn Observer,
    /// Completed jobs, now or before, by name.
    results: BTreeMap<String, JobResult>,
}

/// One execution, from its start on.
struct Execution<'a> {
    info: JobInfo,
    key: Blake3,
    resolved: Resolved,
    job: &'a dyn Job,
    resolved_at: Option<Position>,
}

impl Runner<'_> {
    /// Runs one job, or finds that it need not be run. `None` where it was not asked for.
    fn take(&mut self, entry: &JobEntry) -> Result<Option<(JobInfo, JobOutcome)>, Error> {
        let job = entry.spec.as_job();
        self.ctx.projections().catch_up()?;
        let resolved_at = self.ctx.ledger().head(self.ctx.tenant());
        let scope = self.scope(&entry.name, resolved_at);
        let resolved = caught(|| job.resolve(&scope));
        // A job that cannot even be resolved is an attempt too, of work whose inputs are not known.
        let unresolved = || Resolved { inputs: Vec::new(), identity: serde_json::json!("unresolved") };
        let (resolved, refusal) = match resolved {
            Ok(resolved) => (resolved, None),
            Err(error) => (unresolved(), Some(error)),
        };
        let key = key::of(job, &scope, &resolved);
        // Before looking: what runs here now must not be taken for killed.
        let _claim = self.ctx.claim(key, &entry.name)?;
        let past = past::find(self.ctx, &key)?;
        if let Some((info, result)) = recorded(entry, &scope, past.as_ref())? {
            let outcome = outcome_of_recorded(&result);
            self.results.insert(entry.name.clone(), result);
            return Ok(Some((info, outcome)));
        }
        if self.options.only.as_ref().is_some_and(|only| !only.contains(&entry.name)) {
            return Ok(None);
        }
        let (run, attempt) = self.identity(job, past.as_ref())?;
        let info = JobInfo { name: entry.name.clone(), kind: job.kind(), run, attempt };
        let execution = Execution { info, key, resolved, job, resolved_at };
        let outcome = self.execute(&execution, refusal)?;
        Ok(Some((execution.info, outcome)))
    }

    fn scope<'b>(&'b self, job_name: &'b str, resolved_at: Option<Position>) -> Scope<'b> {
        Scope {
            ctx: self.ctx,
            job_name,
            project: &self.pipeline.project,
            seed: self.pipeline.seed,
            base_dir: &self.pipeline.base_dir,
            results: &self.results,
            resolved_at,
        }
    }

    /// The run to go on with: that of an attempt that did not reach its end, else a new one. An attempt that was
    /// killed could not say so; that is recorded for it.
    fn identity(&self, job: &dyn Job, past: Option<&PastJob>) -> Result<(RunId, u32), Error> {
        let Some(past) = past.filter(|past| !matches!(past.state, State::Completed { .. })) else {
            return Ok((RunId::generate(), 1));
        };
        if matches!(past.state, State::Started) {
            let error = "the process ended before the job did".to_owned();
            let event = JobFailed { run: past.run, attempt: past.attempt, error };
            self.append(job, past.run, past.attempt, "failed", event)?;
        }
        Ok((past.run, past.attempt + 1))
    }

    fn execute(&mut self, execution: &Execution<'_>, refusal: Option<Error>) -> Result<JobOutcome, Error> {
        let Execution { info, job, .. } = execution;
        self.append(*job, info.run, info.attempt, "started", self.started(execution))?;
        tracing::info!(job = info.name, kind = %info.kind, run = %info.run, attempt = info.attempt, "job started");
        self.observer.job_started(info);
        let begun = Instant::now();
        let output = match refusal {
            Some(error) => Err(error),
            None if self.options.cancel.is_cancelled() => Err(Error::Cancelled),
            None => {
                let context = self.job_context(execution);
                caught(|| job.run(&context)).and_then(checked)
            }
        };
        match output {
            Ok(output) => self.completed(execution, output, begun),
            Err(error) => self.ended(execution, error),
        }
    }

    fn job_context<'b>(&'b self, execution: &'b Execution<'_>) -> JobContext<'b> {
        JobContext {
            scope: self.scope(&execution.info.name, execution.resolved_at),
            info: &execution.info,
            resolved: &execution.resolved,
            key: execution.key,
            reproduces: None,
            cancel: &self.options.cancel,
            observer: self.observer,
        }
    }

    fn started(&self, execution: &Execution<'_>) -> JobStarted {
        let Execution { info, key, resolved, job, resolved_at } = execution;
        let scope = self.scope(&info.name, *resolved_at);
        JobStarted {
            run: info.run,
            kind: info.kind.to_string(),
            name: info.name.clone(),
            pipeline: Some(self.pipeline.name.clone()),
            attempt: info.attempt,
            key: *key,
            spec: RawJson::of(&key::spec(*job, &scope)),
            inputs: resolved.inputs.clone(),
            resolved_at: resolved_at.map(Position::get),
            reproduces: None,
        }
    }

    fn completed(&mut self, execution: &Execution<'_>, output: Output, begun: Instant) -> Result<JobOutcome, Error> {
        let Execution { info, job, .. } = execution;
        let summary = summary_of(&output);
        let event = JobCompleted {
            run: info.run,
            attempt: info.attempt,
            outputs: output.outputs.clone(),
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            summary: RawJson::of(&summary),
        };
        self.append(*job, info.run, info.attempt, "completed", event)?;
        let (name, kind, run) = (info.name.clone(), info.kind, info.run);
        self.results
            .insert(name.clone(), JobResult { name, kind, run, outputs: output.outputs, summary: summary.clone() });
        Ok(match output.blocked {
            Some(Blocked { reason, stops }) => JobOutcome::Blocked { reason, stops, summary },
            None => JobOutcome::Done { summary },
        })
    }

    /// Records that a job failed or was stopped.
    fn ended(&self, execution: &Execution<'_>, error: Error) -> Result<JobOutcome, Error> {
        let Execution { info, job, .. } = execution;
        let (run, attempt) = (info.run, info.attempt);
        let recorded = match &error {
            Error::Cancelled => {
                self.append(*job, run, attempt, "cancelled", JobCancelled { run, attempt, reason: error.to_string() })
            }
            _ => {
                let error = error.chain().chars().take(ERROR_CHARS_MAX).collect();
                self.append(*job, run, attempt, "failed", JobFailed { run, attempt, error })
            }
        };
        match recorded {
            Ok(()) if matches!(error, Error::Cancelled) => Ok(JobOutcome::Cancelled),
            Ok(()) => Ok(JobOutcome::Failed { error: Arc::new(error) }),
            Err(recording) => Err(Error::NotRecorded {
                doing: format!("job `{}`", info.name),
                recording: Box::new(recording),
                source: Box::new(error),
            }),
        }
    }

    fn append(
        &self,
        job: &dyn Job,
        run: RunId,
        attempt: u32,
        what: &str,
        event: impl Into<Event>,
    ) -> Result<(), Error> {
        let id = format!("{run}/{attempt}/{what}");
        let event = NewEvent::new(&source_of(job.kind()), &id, event).in_project(self.pipeline.project.as_str());
        self.ctx.ledger().append(self.ctx.tenant(), vec![event])?;
        Ok(())
    }
}

/// An earlier execution of the same work, where it was completed and still stands.
fn recorded(
    entry: &JobEntry,
    scope: &Scope<'_>,
    past: Option<&PastJob>,
) -> Result<Option<(JobInfo, JobResult)>, Error> {
    let Some(PastJob { run, attempt, state: State::Completed { outputs, summary }, .. }) = past else {
        return Ok(None);
    };
    let kind = entry.spec.kind();
    let (name, outputs, summary) = (entry.name.clone(), outputs.clone(), summary.clone());
    let info = JobInfo { name: name.clone(), kind, run: *run, attempt: *attempt };
    let result = JobResult { name, kind, run: *run, outputs, summary };
    let stands = artifacts_are_there(scope.ctx, &result.outputs) && entry.spec.as_job().still_stands(scope, &result)?;
    Ok(stands.then_some((info, result)))
}

fn artifacts_are_there(ctx: &Context, outputs: &[Ref]) -> bool {
    let artifacts = ctx.ledger().artifacts(ctx.tenant());
    outputs.iter().all(|output| match output {
        Ref::Artifact(digest) => artifacts.contains(digest),
        _ => true,
    })
}

/// A gate that blocked then blocks now.
fn outcome_of_recorded(result: &JobResult) -> JobOutcome {
    let summary = result.summary.clone();
    match summary.get(BLOCKED).and_then(blocked_of) {
        Some(Blocked { reason, stops }) => JobOutcome::Blocked { reason, stops, summary },
        None => JobOutcome::Skipped { run: result.run, summary },
    }
}

fn blocked_of(member: &serde_json::Value) -> Option<Blocked> {
    Some(Blocked { reason: member.get("reason")?.as_str()?.to_owned(), stops: member.get("stops")?.as_bool()? })
}

fn summary_of(output: &Output) -> serde_json::Value {
    let mut summary = match &output.summary {
        serde_json::Value::Object(members) => members.clone(),
        serde_json::Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("value".to_owned(), other.clone())]),
    };
    if let Some(Blocked { reason, stops }) = &output.blocked {
        summary.insert(BLOCKED.to_owned(), serde_json::json!({ "reason": reason, "stops": stops }));
    }
    summary.into()
}

/// What one event can name: the outputs, and the run.
fn checked(output: Output) -> Result<Output, Error> {
    if output.outputs.len() < REFS_MAX {
        return Ok(output);
    }
    let why = format!("made {} outputs, of which one event can name {}", output.outputs.len(), REFS_MAX - 1);
    Err(Error::refused("the job", format!("{why}; split it into several jobs")))
}

/// Runs `work`; a panic becomes an error, so that it can be recorded.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(Error::Panicked { message: message_of(&*payload) }))
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
