//! The `train` job: pretraining and supervised fine-tuning, step by step into the ledger, resumable after any end.

mod config;
mod past;
mod plan;
mod record;
mod register;
mod rows;
mod session;
mod settings;
mod steps;
mod validation;

pub(crate) use past::{DETERMINISTIC_METRICS, Past};
pub(crate) use plan::{Plan, parse_scratch};
pub(crate) use record::metrics_of;
pub(crate) use rows::example;
pub(crate) use session::{Prepared, prepare};
pub(crate) use settings::{SEQUENCE_LENGTH_DEFAULT, check};
pub(crate) use steps::{Ended, Failure, Journal, Saved, Step};

use crate::job::{Job, JobContext, Output, Resolved, Scope};
use crate::pipeline::{JobKind, TrainSpec};
use crate::runner::caught;
use crate::{Error, cpu, provenance};
use cairn_schemas::events::training::{
    CheckpointSaved, MetricValue, RunCancelled, RunCompleted, RunFailed, RunResumed, RunStarted,
};
use cairn_schemas::{Blake3, Event, RawJson, Real, Ref};
use record::Recorder;
use serde_json::json;
use settings::Settings;
use std::time::Instant;

impl Job for TrainSpec {
    fn kind(&self) -> JobKind {
        JobKind::Train
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a spec serialises")
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        Settings::of(self, scope)?.resolve(scope)
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error> {
        let past = Past::of(job.ctx(), &job.run())?;
        let settings = Settings::of(self, &job.scope)?;
        let plan = match &past.started {
            Some(started) => Plan::recorded(started)?,
            None => settings.plan(job)?,
        };
        if let Some(completed) = &past.completed {
            return Ok(finished(&plan, completed, past.model.clone(), json!({})));
        }
        train(job, &plan, &past, &settings)
    }
}

/// From the last checkpoint, or from the start, to the end.
fn train(job: &JobContext<'_>, plan: &Plan, past: &Past, settings: &Settings) -> Result<Output, Error> {
    let begun = (Instant::now(), cpu::seconds());
    let from = past.latest_checkpoint();
    let Prepared { mut session, counts, initial_weights, data_order } = prepare(job.ctx(), plan, from)?;
    if past.started.is_some() {
        record_resumed(job, from)?;
    } else {
        record_started(job, plan, &session.trainer, &initial_weights, &data_order)?;
    }
    let mut recorder = Recorder::new(job, past, plan.steps);
    // A panic too is recorded as the run's failure.
    let due = |step| plan.checkpoint_due(step);
    let ended = caught(|| Ok(session.run(plan, plan.steps, &due, job.cancel, &mut recorder)))
        .unwrap_or_else(|error| Err(Failure { step: session.trainer.steps() + 1, error }));
    let (weights, last) = match ended {
        Ok(Ended::Finished { weights, last }) => (weights, last),
        Ok(Ended::Cancelled { step }) => {
            let reason = "stopped on request".to_owned();
            let event = RunCancelled { run: job.run(), attempt: job.attempt(), step, reason };
            recorder.flush_with(vec![("training_cancelled".to_owned(), event.into())])?;
            return Err(Error::Cancelled);
        }
        Err(Failure { step, error }) => {
            let event = RunFailed { run: job.run(), attempt: job.attempt(), step, error: error.chain() };
            return Err(match recorder.flush_with(vec![("training_failed".to_owned(), event.into())]) {
                Ok(()) => error,
                Err(recording) => Error::NotRecorded {
                    doing: format!("step {step} of run:{}", job.run()),
                    recording: Box::new(recording),
                    source: Box::new(error),
                },
            });
        }
    };
    let artifact = job.put_artifact(&weights.to_safetensors())?;
    let completed = RunCompleted {
        run: job.run(),
        attempt: job.attempt(),
        steps: plan.steps,
        tokens: session.tokens,
        duration_ms: begun.0.elapsed().as_millis() as u64,
        weights: Some(Ref::Artifact(artifact.blake3)),
        weights_digest: Some(provenance::digest(&weights.digest())?),
        metrics: final_metrics(last.as_ref(), past),
        divergences: recorder.divergences(),
    };
    let cost = cpu::cost(Ref::Run(job.run()), "training", cpu::seconds() - begun.1);
    let mut events: Vec<(String, Event)> =
        vec![("cost".to_owned(), cost.into()), ("training_completed".to_owned(), completed.clone().into())];
    let model = match &settings.register {
        None => {
            recorder.flush_with(events)?;
            None
        }
        Some(name) => Some(register::in_next_version(job, name, |model| {
            events.push(("registered".to_owned(), register::event(plan, settings, &completed, &counts, model).into()));
            recorder.flush_with(std::mem::take(&mut events))
        })?),
    };
    let details = json!({ "data": counts, "resumed_from_step": from.map(|checkpoint| checkpoint.step) });
    Ok(finished(plan, &completed, model, details))
}

fn record_started(
    job: &JobContext<'_>,
    plan: &Plan,
    trainer: &cairn_gpu::Trainer,
    initial_weights: &Blake3,
    data_order: &Blake3,
) -> Result<(), Error> {
    let graphs = trainer.graphs().into_iter().map(|(_, bytes)| Ok(Ref::Artifact(job.put_artifact(bytes)?.blake3)));
    let graphs = graphs.collect::<Result<Vec<Ref>, Error>>()?;
    let runtime = job.ctx().runtime()?;
    let described = runtime.describe();
    let identity = json!({
        "graphs": trainer.graph_digests(),
        "initial_weights": initial_weights,
        "data_order": data_order,
        "options": plan.options,
        "schedule": plan.schedule,
        "library": described.library_digest,
        "device": described.device,
    });
    let event = RunStarted {
        run: job.run(),
        method: plan.method.as_str().to_owned(),
        name: Some(job.info.name.clone()),
        attempt: job.attempt(),
        dataset: Some(plan.dataset.clone()),
        tokenizer: Some(plan.tokenizer.clone()),
        base_model: plan.base_model(),
        parent: plan.parent(),
        code: RawJson::of(provenance::code()),
        config: RawJson::of(plan),
        environment: provenance::environment(runtime),
        seed: plan.seed,
        graphs,
        identity: Some(Blake3::of(identity.to_string().as_bytes())),
        steps_planned: Some(plan.steps),
    };
    job.record_one("training_started", event)?;
    Ok(())
}

fn record_resumed(job: &JobContext<'_>, from: Option<&CheckpointSaved>) -> Result<(), Error> {
    let event = RunResumed {
        run: job.run(),
        attempt: job.attempt(),
        from_step: from.map_or(0, |checkpoint| checkpoint.step),
        checkpoint: from.map(|checkpoint| checkpoint.checkpoint.clone()),
        environment: provenance::environment(job.ctx().runtime()?),
    };
    job.record_one("training_resumed", event)?;
    Ok(())
}

/// Of the last step; one that an earlier attempt took where this one had none left to take.
fn final_metrics(last: Option<&Step>, past: &Past) -> Vec<MetricValue> {
    let of_last = last.map(metrics_of).or_else(|| past.steps.values().last().cloned()).unwrap_or_default();
    of_last.into_iter().filter(|metric| DETERMINISTIC_METRICS.contains(&metric.name.as_str())).collect()
}

fn finished(plan: &Plan, completed: &RunCompleted, model: Option<Ref>, details: serde_json::Value) -> Output {
    let metric = |name: &str| -> Option<Real> {
        completed.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    };
    let mut summary = json!({
        "method": plan.method,
        "model": model,
        "run": Ref::Run(completed.run),
        "parent": plan.parent().map(Ref::Run),
        "dataset": plan.dataset,
        "tokenizer": plan.tokenizer,
        "weights": completed.weights,
        "weights_digest": completed.weights_digest,
        "parameters": plan.architecture.parameters(),
        "steps": completed.steps,
        "tokens": completed.tokens,
        "loss": metric("loss"),
        "validation_loss": metric("validation_loss"),
        "duration_ms": completed.duration_ms,
        "divergences": completed.divergences,
    });
    let (summary_keys, details) = (summary.as_object_mut().expect("made as one"), details);
    summary_keys.extend(details.as_object().cloned().unwrap_or_default());
    let outputs = model.into_iter().chain(completed.weights.clone()).collect();
    Output::new(outputs, summary)
}
