//! Loss over the validation split, at checkpoints. It reads the weights and changes nothing in the run.

use super::plan::Plan;
use super::rows;
use crate::Error;
use crate::dataset_reader::Row;
use cairn_gpu::{DecoderConfig, Example, Runtime, Scorer, Tokenizer, Weights};

/// Most examples that a checkpoint is scored on: the first of the split.
const EXAMPLES_MAX: usize = 512;

/// A validation split, tokenised.
pub(crate) struct Validation {
    runtime: Runtime,
    architecture: DecoderConfig,
    examples: Vec<Example>,
    rows_per_batch: usize,
    length: usize,
}

impl Validation {
    /// `None` where the split has nothing that the method scores.
    pub(crate) fn new(runtime: &Runtime, plan: &Plan, tokenizer: &Tokenizer, split: &[Row]) -> Option<Self> {
        let examples = split.iter().filter_map(|row| rows::example(row, plan.method, tokenizer));
        let examples: Vec<Example> = examples.take(EXAMPLES_MAX).collect();
        (!examples.is_empty()).then(|| Self {
            runtime: runtime.clone(),
            architecture: plan.architecture.clone(),
            examples,
            rows_per_batch: plan.options.rows_per_micro_batch,
            length: plan.options.sequence_length,
        })
    }

    /// Mean over the supervised tokens, in nats.
    pub(crate) fn loss(&self, weights: &Weights) -> Result<f64, Error> {
        let scorer = Scorer::new(&self.runtime, &self.architecture, weights, self.rows_per_batch, self.length)?;
        let scores = scorer.score_examples(&self.examples)?;
        let tokens: u64 = scores.iter().map(|score| score.tokens).sum();
        Ok(scores.iter().map(|score| score.nll_sum).sum::<f64>() / tokens as f64)
    }
}
