//! Replaying a training run: the recorded plan, from its first step, its state compared at every recorded checkpoint.

use super::{Comparison, Found, Manner};
use crate::jobs::train::{
    DETERMINISTIC_METRICS, Ended, Failure, Journal, Past, Plan, Prepared, Saved, Step, metrics_of, prepare,
};
use crate::observer::{Cancel, JobInfo, Observer};
use crate::{Context, Error, provenance};
use cairn_schemas::events::training::MetricValue;
use cairn_schemas::{Blake3, RawJson, Ref, RunId};
use std::collections::BTreeMap;

/// Keeps digests, and the first step of each metric that differs; the states themselves are dropped.
struct Collector<'a> {
    past: &'a Past,
    steps: u64,
    info: &'a JobInfo,
    observer: &'a dyn Observer,
    checkpoints: BTreeMap<u64, Blake3>,
    weights: BTreeMap<u64, Blake3>,
    /// By metric: the first step whose value is not the recorded one.
    differing: BTreeMap<String, Comparison>,
    compared_steps: u64,
}

impl Journal for Collector<'_> {
    fn step(&mut self, step: &Step) -> Result<(), Error> {
        let number = step.report.step;
        self.observer.progress(self.info, number, self.steps, &format!("loss {:.4}", step.report.loss));
        if let Some(recorded) = self.past.steps.get(&number) {
            self.compared_steps += 1;
            let replayed = metrics_of(step);
            for name in DETERMINISTIC_METRICS {
                let of = |metrics: &[MetricValue]| {
                    metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
                };
                // A checkpoint that was only saved because the run was stopped there has no validation loss.
                if let (Some(before), Some(now)) = (of(recorded), of(&replayed))
                    && before != now
                {
                    let first = Comparison::new(format!("{name} at step {number}"), before, now);
                    self.differing.entry(name.to_owned()).or_insert(first);
                }
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, saved: Saved) -> Result<(), Error> {
        let step = saved.checkpoint.state.step;
        self.checkpoints.insert(step, saved.state_digest);
        self.weights.insert(step, saved.weights_digest);
        Ok(())
    }
}

pub(super) fn replay(ctx: &Context, run: &RunId, info: &JobInfo, observer: &dyn Observer) -> Result<Found, Error> {
    let past = Past::of(ctx, run)?;
    let refused = |why: &str| Error::refused(format!("run:{run}"), why);
    let started = past.started.as_ref().ok_or_else(|| refused("took no step, so it left nothing to compare with"))?;
    let plan = Plan::recorded(started)?;
    let last_step = past.checkpoints.iter().map(|saved| saved.step).max();
    let last_step = last_step.ok_or_else(|| refused("saved no checkpoint, so it left nothing to compare with"))?;
    let Prepared { mut session, .. } = prepare(ctx, &plan, None)?;
    let graphs: Vec<Ref> = session.trainer.graphs().iter().map(|(_, bytes)| Ref::Artifact(Blake3::of(bytes))).collect();
    let mut compared = vec![Comparison::new("graphs", super::listed(&started.graphs), super::listed(&graphs))];
    let mut collector = Collector {
        past: &past,
        steps: last_step,
        info,
        observer,
        checkpoints: BTreeMap::new(),
        weights: BTreeMap::new(),
        differing: BTreeMap::new(),
        compared_steps: 0,
    };
    let due = |step: u64| past.checkpoints.iter().any(|saved| saved.step == step);
    let ended = session.run(&plan, last_step, &due, &Cancel::default(), &mut collector);
    let weights = match ended {
        Ok(Ended::Finished { weights, .. }) => weights,
        Ok(Ended::Cancelled { .. }) => return Err(Error::Cancelled),
        Err(Failure { error, .. }) => return Err(error),
    };
    for saved in &past.checkpoints {
        let replayed = collector.checkpoints.get(&saved.step).map_or("absent".to_owned(), Blake3::to_string);
        compared.push(Comparison::new(format!("checkpoint at step {}", saved.step), saved.state_digest, replayed));
    }
    if let Some(completed) = &past.completed {
        if let Some(recorded) = completed.weights_digest {
            compared.push(Comparison::new("final weights", recorded, weights.digest()));
        }
        if let Some(recorded) = &completed.weights {
            let replayed = Ref::Artifact(Blake3::of(&weights.to_safetensors()));
            compared.push(Comparison::new("weights artifact", recorded, replayed));
        }
    }
    compared.push(steps_compared(&collector));
    compared.extend(std::mem::take(&mut collector.differing).into_values());
    Ok(Found {
        manner: Manner::Replayed,
        notes: Vec::new(),
        compared,
        environment_differences: environment_differences(ctx, &started.code, &started.environment)?,
    })
}

/// One line for all steps: how many were compared, how many metrics of them agree everywhere.
fn steps_compared(collector: &Collector<'_>) -> Comparison {
    let all = DETERMINISTIC_METRICS.len();
    let what = format!("metrics of {} recorded steps", collector.compared_steps);
    Comparison::new(
        what,
        format!("{all} of {all} equal"),
        format!("{} of {all} equal", all - collector.differing.len()),
    )
}

fn environment_differences(ctx: &Context, code: &RawJson, environment: &RawJson) -> Result<Vec<String>, Error> {
    let mut differences = provenance::differences(environment, &provenance::environment(ctx.runtime()?));
    differences.extend(provenance::program_differences(code));
    Ok(differences)
}
