//! A training config of requirement 02 or 04 as a train job's settings. What the config gives, the job must not give
//! again; what it cannot say (split, schedule, name of the model, …) is the job's.

use super::settings::{Length, Settings};
use crate::Error;
use crate::job::Scope;
use crate::pipeline::{self, Method, Target, TrainSpec};
use crate::training_config::{self, BaseModel, TrainingConfig};
use cairn_schemas::{Blake3, Ref};
use std::path::Path;

/// Longest training config.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn merged(spec: &TrainSpec, scope: &Scope<'_>, path: &Path) -> Result<Settings, Error> {
    refuse_repeated(spec)?;
    let text = read(path)?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let named = |e: training_config::Error| Error::refused(path.display().to_string(), e.to_string());
    let config = if path.extension().is_some_and(|extension| extension == "json") {
        TrainingConfig::from_json(&text, folder).map_err(named)?
    } else {
        TrainingConfig::from_yaml(&text, folder).map_err(named)?
    };
    if config.eval.is_some() && !spec.eval_is_run {
        return Err(Error::refused(
            format!("`eval` of {}", path.display()),
            "acts where the config is run by itself; beside a pipeline, write evaluate and gate jobs and leave it out",
        ));
    }
    Ok(Settings {
        method: config.method.map(|method| match method {
            training_config::Method::Sft => Method::Sft,
            training_config::Method::Pretrain => Method::Pretrain,
        }),
        base_model: base_model(&config.base_model, folder)?,
        dataset: dataset(&config.dataset, scope)?,
        split: spec.split.clone(),
        tokenizer: spec.tokenizer.clone(),
        length: Length::Epochs(u64::from(config.epochs)),
        batch_size: config.batch_size as usize,
        micro_batches: spec.micro_batches,
        sequence_length: config
            .max_seq_len
            .map(|length| length as usize)
            .or(spec.sequence_length.map(|length| length as usize)),
        learning_rate: config.learning_rate,
        schedule: spec.schedule,
        weight_decay: spec.weight_decay,
        clip_norm: spec.clip_norm,
        checkpoint_every: spec.checkpoint_every,
        register: spec.register.clone(),
        gpus: config.gpus,
        config: Some((Blake3::of(text.as_bytes()), config.to_json())),
    })
}

fn read(path: &Path) -> Result<String, Error> {
    let length = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if length > FILE_BYTES_MAX {
        let why = format!("has {length} bytes; a training config has at most {FILE_BYTES_MAX}");
        return Err(Error::refused(path.display().to_string(), why));
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    String::from_utf8(bytes).map_err(|e| {
        let offset = e.utf8_error().valid_up_to() as u64;
        Error::NotUtf8 { path: path.to_owned(), offset }
    })
}

fn refuse_repeated(spec: &TrainSpec) -> Result<(), Error> {
    let given = [
        ("method", spec.method.is_some()),
        ("base_model", spec.base_model.is_some()),
        ("dataset", spec.dataset.is_some()),
        ("steps", spec.steps.is_some()),
        ("epochs", spec.epochs.is_some()),
        ("learning_rate", spec.learning_rate.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((key, _)) => {
            Err(Error::refused(format!("`{key}`"), "stands beside `config`, which gives it; leave it out of one"))
        }
        None => Ok(()),
    }
}

fn base_model(base: &BaseModel, folder: &Path) -> Result<pipeline::BaseModel, Error> {
    Ok(match base {
        BaseModel::Registered(reference) => pipeline::BaseModel::Ref(reference.clone()),
        BaseModel::Scratch(scratch) => pipeline::BaseModel::Scratch(scratch.to_string()),
        BaseModel::Folder(given) => {
            let path = folder.join(given);
            pipeline::BaseModel::Folder(std::path::absolute(&path).map_err(Error::io("find", &path))?)
        }
    })
}

/// `ds://…`, an earlier dataset job, `name@version` of this project, or a name's latest version.
fn dataset(given: &str, scope: &Scope<'_>) -> Result<Target, Error> {
    if given.contains("://") {
        return Ok(Target::Ref(given.parse::<Ref>()?));
    }
    let job = scope.results.get(given).and_then(|result| result.outputs_of("dataset").next());
    if let Some(reference) = job {
        return Ok(Target::Ref(reference.clone()));
    }
    if given.contains('@') {
        return Ok(Target::Ref(format!("ds://{}/{given}", scope.project).parse::<Ref>()?));
    }
    scope.ctx.projections().catch_up()?;
    let latest = scope.ctx.projections().catalog().latest_dataset(scope.project, given)?;
    latest.map(Target::Ref).ok_or_else(|| Error::UnknownRef {
        kind: "dataset",
        reference: format!("ds://{}/{given}", scope.project),
        hint: "a `dataset` job of that name makes it, or give the whole ref, ds://project/name@1.2.0".into(),
    })
}
