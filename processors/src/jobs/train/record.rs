//! The journal that a real run keeps: steps in batches, checkpoints as artifacts, everything under the run's stream.

use super::past::Past;
use super::steps::{Journal, Saved, Step};
use crate::Error;
use crate::job::JobContext;
use cairn_schemas::events::training::{CheckpointSaved, MetricValue, StepLogged};
use cairn_schemas::{Clock, Event, Real, Ref, SystemClock};
use std::time::{Duration, Instant};

/// Steps are recorded when this many wait,
const PENDING_STEPS_MAX: usize = 50;
/// or when the oldest has waited this long.
const PENDING_TIME_MAX: Duration = Duration::from_secs(2);
/// Most divergences that are named one by one.
const DIVERGENCES_NAMED_MAX: usize = 32;

/// Records a run as it goes.
pub(crate) struct Recorder<'a, 'b> {
    job: &'a JobContext<'b>,
    past: &'a Past,
    steps_planned: u64,
    pending: Vec<(String, Event)>,
    flushed_at: Instant,
    divergences: Vec<String>,
    divergences_unnamed: usize,
}

impl<'a, 'b> Recorder<'a, 'b> {
    pub(crate) fn new(job: &'a JobContext<'b>, past: &'a Past, steps_planned: u64) -> Self {
        Self {
            job,
            past,
            steps_planned,
            pending: Vec::new(),
            flushed_at: Instant::now(),
            divergences: Vec::new(),
            divergences_unnamed: 0,
        }
    }

    /// Records `events` in one batch with the steps that still wait before them.
    pub(crate) fn flush_with(&mut self, events: Vec<(String, Event)>) -> Result<(), Error> {
        let mut batch = std::mem::take(&mut self.pending);
        batch.extend(events);
        self.flushed_at = Instant::now();
        if !batch.is_empty() {
            self.job.record(batch)?;
        }
        Ok(())
    }

    /// Deterministic fields that came out otherwise than in an earlier attempt, in words.
    pub(crate) fn divergences(&self) -> Vec<String> {
        let mut named = self.divergences.clone();
        if self.divergences_unnamed > 0 {
            named.push(format!("and {} more", self.divergences_unnamed));
        }
        named
    }

    fn note(&mut self, found: impl IntoIterator<Item = String>) {
        for divergence in found {
            match self.divergences.len() < DIVERGENCES_NAMED_MAX {
                true => self.divergences.push(divergence),
                false => self.divergences_unnamed += 1,
            }
        }
    }
}

impl Journal for Recorder<'_, '_> {
    fn step(&mut self, step: &Step) -> Result<(), Error> {
        let metrics = metrics_of(step);
        self.note(self.past.divergences(step.report.step, &metrics));
        let event = StepLogged {
            run: self.job.run(),
            attempt: self.job.attempt(),
            step: step.report.step,
            tokens: step.tokens,
            time: Some(SystemClock.now()),
            metrics,
        };
        self.pending.push((step.report.step.to_string(), event.into()));
        if self.pending.len() >= PENDING_STEPS_MAX || self.flushed_at.elapsed() >= PENDING_TIME_MAX {
            self.flush_with(Vec::new())?;
        }
        let message = format!("loss {:.4}, {:.0} tokens/s", step.report.loss, step.tokens_per_second);
        self.job.progress(step.report.step, self.steps_planned, &message);
        Ok(())
    }

    fn checkpoint(&mut self, saved: Saved) -> Result<(), Error> {
        let artifact = self.job.put_artifact(&saved.checkpoint.to_safetensors())?;
        let step = saved.checkpoint.state.step;
        let event = CheckpointSaved {
            run: self.job.run(),
            attempt: self.job.attempt(),
            step,
            tokens: saved.tokens,
            checkpoint: Ref::Artifact(artifact.blake3),
            state_digest: saved.state_digest,
            weights_digest: saved.weights_digest,
        };
        self.note(self.past.checkpoint_divergence(&event));
        self.flush_with(vec![(format!("checkpoint/{step}"), event.into())])
    }
}

/// The metrics of a step as recorded.
pub(crate) fn metrics_of(step: &Step) -> Vec<MetricValue> {
    let values = [
        ("loss", Some(f64::from(step.report.loss))),
        ("learning_rate", Some(step.learning_rate)),
        ("grad_norm", Some(f64::from(step.report.grad_norm))),
        ("clip_scale", Some(f64::from(step.report.clip_scale))),
        ("tokens_per_second", Some(step.tokens_per_second)),
        ("validation_loss", step.validation_loss),
    ];
    let metric =
        |(name, value): (&str, Option<f64>)| value.map(|value| MetricValue { name: name.into(), value: Real(value) });
    values.into_iter().filter_map(metric).collect()
}
