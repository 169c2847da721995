//! What the ledger already holds of a training run: earlier attempts' steps and checkpoints, and its end.

use crate::{Context, Error, history};
use cairn_schemas::events::training::{CheckpointSaved, MetricValue, RunCompleted, RunStarted};
use cairn_schemas::{Event, Ref, RunId};
use std::collections::BTreeMap;

/// Metrics of a step that its inputs decide: equal on every attempt of one machine.
pub(crate) const DETERMINISTIC_METRICS: [&str; 5] =
    ["loss", "learning_rate", "grad_norm", "clip_scale", "validation_loss"];

/// A run as recorded so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    pub(crate) started: Option<RunStarted>,
    /// In order of recording.
    pub(crate) checkpoints: Vec<CheckpointSaved>,
    /// By step, the latest attempt's.
    pub(crate) steps: BTreeMap<u64, Vec<MetricValue>>,
    pub(crate) completed: Option<RunCompleted>,
    /// The model version registered from it.
    pub(crate) model: Option<Ref>,
}

impl Past {
    pub(crate) fn of(ctx: &Context, run: &RunId) -> Result<Self, Error> {
        let mut past = Past::default();
        let from = history::first_heard(ctx, &Ref::Run(*run))?;
        history::all(ctx, from, &mut |recorded| match &recorded.event {
            Event::RunStarted(e) if e.run == *run => past.started = Some(e.clone()),
            Event::CheckpointSaved(e) if e.run == *run => past.checkpoints.push(e.clone()),
            Event::StepLogged(e) if e.run == *run => {
                past.steps.insert(e.step, e.metrics.clone());
            }
            Event::RunCompleted(e) if e.run == *run => past.completed = Some(e.clone()),
            Event::VersionRegistered(e) if e.run == Some(*run) => past.model = Some(e.model.clone()),
            _ => {}
        })?;
        Ok(past)
    }

    /// Where to go on from: the last checkpoint recorded.
    pub(crate) fn latest_checkpoint(&self) -> Option<&CheckpointSaved> {
        self.checkpoints.last()
    }

    /// What a step taken again gives that an earlier attempt's did not: one line a field.
    pub(crate) fn divergences(&self, step: u64, metrics: &[MetricValue]) -> Vec<String> {
        let Some(earlier) = self.steps.get(&step) else { return Vec::new() };
        let deterministic = |name: &str| DETERMINISTIC_METRICS.contains(&name);
        let differs = |now: &&MetricValue| {
            let before = earlier.iter().find(|before| before.name == now.name)?;
            (deterministic(&now.name) && before.value != now.value)
                .then(|| format!("step {step}: {} was {}, is {}", now.name, before.value, now.value))
        };
        metrics.iter().filter_map(|now| differs(&now)).collect()
    }

    /// The same for a checkpoint's digests.
    pub(crate) fn checkpoint_divergence(&self, saved: &CheckpointSaved) -> Option<String> {
        let before = self.checkpoints.iter().rev().find(|before| before.step == saved.step)?;
        (before.state_digest != saved.state_digest).then(|| {
            format!("step {}: checkpoint state was {}, is {}", saved.step, before.state_digest, saved.state_digest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_schemas::Real;

    fn metric(name: &str, value: f64) -> MetricValue {
        MetricValue { name: name.into(), value: Real(value) }
    }

    #[test]
    fn only_deterministic_fields_of_steps_taken_twice_are_compared() {
        let mut past = Past::default();
        past.steps
            .insert(3, vec![metric("loss", 2.5), metric("tokens_per_second", 100.0), metric("grad_norm", f64::NAN)]);
        let same = [metric("loss", 2.5), metric("tokens_per_second", 90.0), metric("grad_norm", f64::NAN)];
        assert!(past.divergences(3, &same).is_empty());
        assert!(past.divergences(4, &[metric("loss", 9.0)]).is_empty());
        assert_eq!(past.divergences(3, &[metric("loss", 2.25)]), ["step 3: loss was 2.5, is 2.25"]);
    }
}
