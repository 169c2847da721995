//! The folders of requirement 02, written beside the ledger for programs that read files:
//! `datasets/<name@version>/{data.jsonl,metadata.json}`, `models/<name_vN>/metadata.json`, `models/registry.json` and
//! `evaluations/<name_vN>/evaluation.json`. Everything in them is read from the record; they are never read back as truth.

use crate::dataset_reader::{DatasetVersion, artifact_bytes};
use crate::job::JobResult;
use crate::jobs::evaluate::{COST_UNIT, evaluations_of_run};
use crate::model::Model;
use crate::pipeline::JobKind;
use crate::{Context, Error};
use cairn_schemas::events::evaluation::{EvaluationCompleted, Measure};
use cairn_schemas::{Ref, RunId};
use serde_json::{Value, json};
use std::path::Path;

const SPLIT_DEFAULT: &str = "train";

/// Writes what the completed jobs made: every registered model with its dataset, every evaluation of one.
pub(crate) fn write<'a>(
    ctx: &Context,
    dir: &Path,
    results: impl IntoIterator<Item = &'a JobResult>,
) -> Result<(), Error> {
    for result in results {
        match result.kind {
            JobKind::Train => {
                for model in result.outputs_of("model") {
                    write_model(ctx, dir, model)?;
                }
            }
            JobKind::Evaluate => write_evaluation(ctx, dir, &result.run)?,
            _ => {}
        }
    }
    Ok(())
}

fn write_model(ctx: &Context, dir: &Path, model: &Ref) -> Result<(), Error> {
    let registered = Model::registration(ctx, model)?;
    let metadata = registered.metadata.to_value();
    let split = metadata.pointer("/plan/split").and_then(Value::as_str).unwrap_or(SPLIT_DEFAULT);
    let rows = match &registered.dataset {
        Some(dataset) => Some(write_dataset(ctx, dir, dataset, split)?),
        None => None,
    };
    let config = metadata.get("training_config").cloned().unwrap_or(Value::Null);
    let entry = json!({
        "model_version": model_version(model),
        "base_model": config.get("base_model"),
        "dataset_version": registered.dataset.as_ref().map(dataset_version),
        "training_config": config,
        "num_training_samples": rows,
        "num_trained_on": registered.training_samples,
        "model": model,
        "run": registered.run.map(Ref::Run),
        "dataset": registered.dataset,
        "weights_digest": registered.weights_digest,
        "parameters": registered.parameters,
    });
    let models = dir.join("models");
    write_json(&models.join(model_version(model)).join("metadata.json"), &entry)?;
    register(&models.join("registry.json"), entry)
}

/// Adds the entry, or replaces the one of the same version: writing twice leaves one.
fn register(path: &Path, entry: Value) -> Result<(), Error> {
    let wrong = |why: String| {
        Error::refused(path.display().to_string(), format!("{why}; move it away to have it written anew"))
    };
    let mut registry = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice::<Value>(&bytes).map_err(|e| wrong(format!("is not JSON: {e}")))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => json!({ "models": [] }),
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    let models = registry.get_mut("models").and_then(Value::as_array_mut);
    let models = models.ok_or_else(|| wrong("holds no list `models`".to_owned()))?;
    models.retain(|other| other.get("model_version") != entry.get("model_version"));
    models.push(entry);
    write_json(path, &registry)
}

/// Writes the split that is trained on; gives the number of its rows.
fn write_dataset(ctx: &Context, dir: &Path, dataset: &Ref, split: &str) -> Result<u64, Error> {
    let version = DatasetVersion::find(ctx, dataset)?;
    let split = version.split(split)?;
    let mut data = Vec::new();
    for shard in &split.shards {
        data.extend(artifact_bytes(ctx, shard)?);
    }
    let folder = dir.join("datasets").join(dataset_version(dataset));
    write_bytes(&folder.join("data.jsonl"), &data)?;
    let metadata = json!({
        "dataset_version": dataset_version(dataset),
        "sample_count": split.rows,
        "config": version.committed.config.to_value(),
        "dataset_hash": version.committed.manifest,
        "split": split.name,
        "split_digest": split.digest,
        "dataset": dataset,
    });
    write_json(&folder.join("metadata.json"), &metadata)?;
    Ok(split.rows)
}

fn write_evaluation(ctx: &Context, dir: &Path, run: &RunId) -> Result<(), Error> {
    let evaluations = evaluations_of_run(ctx, run)?;
    let Some(Ref::Model { .. }) = evaluations.first().map(|evaluation| &evaluation.subject) else { return Ok(()) };
    let model = &evaluations[0].subject;
    let trained_on = Model::registration(ctx, model)?.dataset;
    let document = json!({
        "model_version": model_version(model),
        "dataset_version": trained_on.as_ref().map(dataset_version),
        "metrics": headline(&evaluations),
        "cost_basis": {
            "unit": COST_UNIT,
            "note": "CPU seconds of this machine for 1,000 tokens; multiply by your price of a CPU second",
        },
        "evaluated_on": evaluations[0].dataset,
        "tasks": evaluations.iter().map(task).collect::<serde_json::Map<String, Value>>(),
    });
    write_json(&dir.join("evaluations").join(model_version(model)).join("evaluation.json"), &document)
}

/// The three figures of requirement 02. `quality_score` is the first metric of the first task that compares answers; of
/// a model that is only scored, the geometric mean probability of a token, exp(-loss). `latency_ms` is the median time
/// of one answer (or one scored text) alone. Both and the cost are of that same task; of the first that measured them
/// where it did not, as when every prompt was too long to be answered.
fn headline(evaluations: &[EvaluationCompleted]) -> Value {
    let answered =
        |evaluation: &&EvaluationCompleted| evaluation.metrics.first().is_some_and(|measure| measure.higher_is_better);
    let primary = evaluations.iter().find(answered).or(evaluations.first());
    let of = |name: &str| {
        primary.into_iter().chain(evaluations).find_map(|evaluation| find(evaluation, name)).map(|m| m.value.0)
    };
    let first = primary.and_then(|evaluation| evaluation.metrics.first());
    let quality =
        first.map(|measure| if measure.higher_is_better { measure.value.0 } else { (-measure.value.0).exp() });
    json!({
        "quality_score": quality,
        "latency_ms": of("latency_ms").map(|latency| latency.ceil() as u64),
        "cost_per_1k_tokens": of("cost_per_1k_tokens"),
    })
}

fn find<'a>(evaluation: &'a EvaluationCompleted, name: &str) -> Option<&'a Measure> {
    evaluation.metrics.iter().find(|measure| measure.name == name)
}

fn task(evaluation: &EvaluationCompleted) -> (String, Value) {
    (evaluation.task.clone(), json!({ "evaluation": evaluation.evaluation, "metrics": evaluation.metrics }))
}

/// `name_v3`, as a folder is named.
fn model_version(model: &Ref) -> String {
    match model {
        Ref::Model { name, version, .. } => format!("{name}_v{version}"),
        other => other.to_string().replace(['/', ':'], "_"),
    }
}

/// `name@1.2.0`, as a training config may name it.
pub(crate) fn dataset_version(dataset: &Ref) -> String {
    match dataset {
        Ref::Dataset { name, version, .. } => format!("{name}@{version}"),
        other => other.to_string().replace(['/', ':'], "_"),
    }
}

fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value).expect("plain data serialises");
    text.push('\n');
    write_bytes(path, text.as_bytes())
}

/// Whole or not at all: readers may look while this writes.
fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("write into", folder))?;
    std::io::Write::write_all(&mut file, bytes).map_err(Error::io("write", path))?;
    file.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
    Ok(())
}
