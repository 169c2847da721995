//! The training loop: batches in, steps and checkpoints told to a journal. It neither knows nor reaches the ledger, so
//! that a run and its replay are the same code with another journal.

use super::plan::Plan;
use super::validation::Validation;
use crate::{Cancel, Error};
use cairn_gpu::{Checkpoint, Loader, RngState, StepReport, Trainer, Weights};
use cairn_schemas::Blake3;
use std::time::Instant;

/// One step as it was taken.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) report: StepReport,
    pub(crate) learning_rate: f64,
    /// Tokens seen up to and with this step.
    pub(crate) tokens: u64,
    pub(crate) tokens_per_second: f64,
    /// Mean loss over the validation split, at checkpoints.
    pub(crate) validation_loss: Option<f64>,
}

/// A state between two steps, and its digests.
pub(crate) struct Saved {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tokens: u64,
    pub(crate) state_digest: Blake3,
    pub(crate) weights_digest: Blake3,
}

/// Who is told what happened, in order: every step, and after it the checkpoint where one was due.
pub(crate) trait Journal {
    fn step(&mut self, step: &Step) -> Result<(), Error>;
    fn checkpoint(&mut self, saved: Saved) -> Result<(), Error>;
}

/// A trainer with its data, at some step.
pub(crate) struct Session {
    pub(crate) trainer: Trainer,
    pub(crate) loader: Loader,
    pub(crate) validation: Option<Validation>,
    /// Tokens seen before the next step.
    pub(crate) tokens: u64,
}

/// How the loop ended, where no error ended it.
pub(crate) enum Ended {
    /// All steps up to the last one asked for are taken.
    Finished { weights: Weights, last: Option<Step> },
    /// Stopped on request after this many steps; the state is in a checkpoint.
    Cancelled { step: u64 },
}

/// Where the loop was when an error ended it.
pub(crate) struct Failure {
    /// The step that was not taken.
    pub(crate) step: u64,
    pub(crate) error: Error,
}

impl Session {
    /// Takes the steps that are left up to and with `last_step`. `due` says after which of them a checkpoint is saved.
    /// A request to stop is heeded between steps, and leaves a checkpoint of the last one.
    pub(crate) fn run(
        &mut self,
        plan: &Plan,
        last_step: u64,
        due: &dyn Fn(u64) -> bool,
        cancel: &Cancel,
        journal: &mut dyn Journal,
    ) -> Result<Ended, Failure> {
        let mut last: Option<Step> = None;
        let mut saved_at = self.trainer.steps();
        while self.trainer.steps() < last_step {
            let number = self.trainer.steps() + 1;
            let failed = |error| Failure { step: number, error };
            if cancel.is_cancelled() {
                if saved_at < number - 1 {
                    journal.checkpoint(self.save(plan).map_err(failed)?).map_err(failed)?;
                }
                return Ok(Ended::Cancelled { step: number - 1 });
            }
            let mut step = self.step(plan).map_err(failed)?;
            let saved = match due(number) {
                true => Some(self.save(plan).map_err(failed)?),
                false => None,
            };
            if let (Some(saved), Some(validation)) = (&saved, &self.validation) {
                step.validation_loss = Some(validation.loss(&saved.checkpoint.state.weights).map_err(failed)?);
            }
            journal.step(&step).map_err(failed)?;
            if let Some(saved) = saved {
                journal.checkpoint(saved).map_err(failed)?;
                saved_at = number;
            }
            last = Some(step);
        }
        let weights = self.trainer.weights().map_err(|e| Failure { step: last_step, error: e.into() })?;
        Ok(Ended::Finished { weights, last })
    }

    fn step(&mut self, plan: &Plan) -> Result<Step, Error> {
        let begun = Instant::now();
        let rows = plan.options.rows_per_micro_batch;
        let batches: Vec<_> =
            (0..plan.options.micro_batches).map(|_| self.loader.next_batch(rows)).collect::<Result<_, _>>()?;
        let learning_rate = plan.schedule.rate_at(self.trainer.steps());
        let report = self.trainer.step(&batches, learning_rate)?;
        self.tokens += report.tokens;
        let tokens_per_second = report.tokens as f64 / begun.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        Ok(Step { report, learning_rate, tokens: self.tokens, tokens_per_second, validation_loss: None })
    }

    fn save(&self, plan: &Plan) -> Result<Saved, Error> {
        let state = self.trainer.state()?;
        let weights_digest = state.weights.digest().parse()?;
        let micro_batches = state.step * plan.options.micro_batches as u64;
        // Training draws no random numbers yet: the counter stays 0, the seed says what it would draw from.
        let rng = RngState { seed: plan.seed, stream: 0, counter: 0 };
        let checkpoint = Checkpoint { state, loader: self.loader.state(), rng, micro_batches };
        let state_digest = checkpoint.digest().parse()?;
        Ok(Saved { checkpoint, tokens: self.tokens, state_digest, weights_digest })
    }
}
