//! Giving a run's weights a name and the next version of it.

use super::plan::Plan;
use super::rows::Counts;
use super::settings::Settings;
use crate::Error;
use crate::job::JobContext;
use cairn_schemas::events::model::VersionRegistered;
use cairn_schemas::events::training::RunCompleted;
use cairn_schemas::{RawJson, Ref};
use parking_lot::Mutex;
use serde_json::json;

/// Two runs that end at once must not take one version: this process is the directory's only writer.
static REGISTRATION: Mutex<()> = Mutex::new(());

/// Finds the version that is next and hands it to `record`, with no other registration in between.
pub(super) fn in_next_version(
    job: &JobContext<'_>,
    name: &str,
    record: impl FnOnce(&Ref) -> Result<(), Error>,
) -> Result<Ref, Error> {
    let _alone = REGISTRATION.lock();
    job.ctx().projections().catch_up()?;
    let version = job.ctx().projections().catalog().next_model_version(job.scope.project, name)?;
    let model = Ref::model(job.scope.project, name, version)?;
    record(&model)?;
    Ok(model)
}

pub(super) fn event(
    plan: &Plan,
    settings: &Settings,
    completed: &RunCompleted,
    counts: &Counts,
    model: &Ref,
) -> VersionRegistered {
    VersionRegistered {
        model: model.clone(),
        run: Some(completed.run),
        weights: completed.weights.clone(),
        weights_digest: completed.weights_digest,
        tokenizer: Some(plan.tokenizer.clone()),
        architecture: RawJson::of(&plan.architecture),
        dataset: Some(plan.dataset.clone()),
        base_model: plan.base_model(),
        parameters: Some(plan.architecture.parameters()),
        training_samples: Some(counts.examples),
        metadata: RawJson::of(
            &json!({ "training_config": training_config(plan, settings), "plan": plan, "data": counts }),
        ),
    }
}

/// The config as it was given, else the keys of requirement 02 with what they came to.
fn training_config(plan: &Plan, settings: &Settings) -> serde_json::Value {
    match &settings.config {
        Some((_, config)) => config.clone(),
        None => json!({
            "base_model": settings.base_model.to_string(),
            "dataset_version": plan.dataset,
            "learning_rate": settings.learning_rate,
            "epochs": plan.epochs,
            "steps": plan.steps,
            "batch_size": plan.batch_size,
        }),
    }
}
