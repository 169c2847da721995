//! Getting a plan ready to take steps: its rows packed, its weights or its last checkpoint loaded, its graphs built.

use super::plan::{Plan, Start};
use super::rows::{self, Counts};
use super::steps::Session;
use super::validation::Validation;
use crate::dataset_reader::{DatasetVersion, artifact_bytes};
use crate::model::{load_tokenizer, load_weights};
use crate::{Context, Error, provenance};
use cairn_gpu::{Checkpoint, Loader, Trainer, Weights};
use cairn_schemas::Blake3;
use cairn_schemas::events::training::CheckpointSaved;

/// A session about to take its next step, and what identifies it.
pub(crate) struct Prepared {
    pub(crate) session: Session,
    pub(crate) counts: Counts,
    /// Digest of the weights that the run began with.
    pub(crate) initial_weights: Blake3,
    pub(crate) data_order: Blake3,
}

/// Reads everything that the plan names; from the ledger and its artifacts alone.
pub(crate) fn prepare(ctx: &Context, plan: &Plan, from: Option<&CheckpointSaved>) -> Result<Prepared, Error> {
    plan.validate()?;
    let length = plan.options.sequence_length;
    let tokenizer = load_tokenizer(ctx, &plan.tokenizer)?;
    let dataset = DatasetVersion::find(ctx, &plan.dataset)?;
    let packed = rows::pack_rows(&dataset.rows(ctx, &plan.split, None)?, plan.method, &tokenizer, length)?;
    if packed.rows.is_empty() {
        return Err(nothing_to_learn(plan, &packed.counts));
    }
    let data_order = rows::order_digest(&packed.rows, length, plan.seed);
    let runtime = ctx.runtime()?;
    let validation = match &plan.validation_split {
        Some(split) => Validation::new(runtime, plan, &tokenizer, &dataset.rows(ctx, split, None)?),
        None => None,
    };
    let initial = match &plan.start {
        Start::Scratch => Weights::initialize(&plan.architecture, plan.seed),
        Start::Weights { artifact, weights_digest, .. } => load_weights(ctx, artifact, weights_digest)?,
    };
    let initial_weights = provenance::digest(&initial.digest())?;
    let (trainer, loader, tokens) = match from {
        None => {
            let trainer = Trainer::new(runtime, &plan.architecture, initial, &plan.options)?;
            (trainer, Loader::new(packed.rows, length, plan.seed)?, 0)
        }
        Some(saved) => {
            let checkpoint = read_checkpoint(ctx, saved)?;
            let loader = Loader::restore(packed.rows, length, checkpoint.loader)?;
            let trainer = Trainer::restore(runtime, &plan.architecture, checkpoint.state, &plan.options)?;
            (trainer, loader, saved.tokens)
        }
    };
    let session = Session { trainer, loader, validation, tokens };
    Ok(Prepared { session, counts: packed.counts, initial_weights, data_order })
}

/// Reads a checkpoint and compares its digest with the recorded one.
fn read_checkpoint(ctx: &Context, saved: &CheckpointSaved) -> Result<Checkpoint, Error> {
    let checkpoint = Checkpoint::from_safetensors(&artifact_bytes(ctx, &saved.checkpoint)?)?;
    let found = checkpoint.digest();
    if found != saved.state_digest.to_hex() {
        return Err(Error::Stored {
            what: format!("checkpoint `{}` of step {}", saved.checkpoint, saved.step),
            why: format!("its digest is {found}, recorded is {}", saved.state_digest),
        });
    }
    Ok(checkpoint)
}

fn nothing_to_learn(plan: &Plan, counts: &Counts) -> Error {
    use crate::pipeline::Method;
    let needs = match plan.method {
        Method::Pretrain => "pretraining needs rows with `text`",
        Method::Sft => {
            "fine-tuning needs rows with `instruction` and `output`, short enough to leave room for an answer"
        }
    };
    Error::refused(
        format!("split `{}` of `{}`", plan.split, plan.dataset),
        format!("none of its {} rows can be trained on; {needs}", counts.split_rows),
    )
}
