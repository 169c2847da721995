//! A train job's settings with nothing left open: those of the pipeline, or those of the training config it names.

use super::plan::{Plan, Start, parse_scratch};
use super::rows;
use crate::dataset_reader::{DatasetVersion, Row};
use crate::job::{JobContext, Resolved, Scope};
use crate::model::{Model, load_tokenizer};
use crate::pipeline::{BaseModel, Method, ScheduleKind, ScheduleSpec, Target, TrainSpec};
use crate::{Error, model_folder, training_config};
use cairn_gpu::{Decay, DecoderConfig, Device, Loader, Schedule, Tokenizer, TrainOptions};
use cairn_schemas::{Blake3, Ref};
use serde_json::json;
use std::path::PathBuf;

/// Tokens of a row where neither the job nor the model says.
pub(crate) const SEQUENCE_LENGTH_DEFAULT: usize = 256;
/// Entries of a tokenizer that a training config leaves to be made.
const VOCABULARY_DEFAULT: usize = 2048;
/// Split that is scored at checkpoints where the version has it.
const VALIDATION_SPLIT: &str = "validation";

/// How long to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Length {
    Steps(u64),
    Epochs(u64),
}

/// What `TrainSpec` and its config come to together.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Decided by the rows where a training config does not say.
    pub(super) method: Option<Method>,
    pub(super) base_model: BaseModel,
    pub(super) dataset: Target,
    pub(super) split: String,
    pub(super) tokenizer: Option<Target>,
    pub(super) length: Length,
    pub(super) batch_size: usize,
    pub(super) micro_batches: usize,
    pub(super) sequence_length: Option<usize>,
    pub(super) learning_rate: f64,
    pub(super) schedule: ScheduleSpec,
    pub(super) weight_decay: f64,
    pub(super) clip_norm: f64,
    pub(super) checkpoint_every: Option<u64>,
    pub(super) register: Option<String>,
    /// 0 needs the CPU, 1 a GPU; either where it is not given.
    pub(super) gpus: Option<u32>,
    /// The training config that gave some of it: its digest, and itself.
    pub(super) config: Option<(Blake3, serde_json::Value)>,
}

/// Refuses what no step could be taken with, as far as the settings alone tell. `scratch` is the shape of the model,
/// where it or one it goes back to is made from scratch in the same pipeline.
pub(crate) fn check(spec: &TrainSpec, scratch: Option<&str>) -> Result<(), Error> {
    let settings = Settings::of_spec(spec)?;
    if let Length::Steps(steps) = settings.length {
        schedule(&settings, steps).validate()?;
    }
    let Some(scratch) = scratch else { return Ok(()) };
    let vocabulary = training_config::VOCABULARY_MIN as usize;
    let context = settings.sequence_length.unwrap_or(SEQUENCE_LENGTH_DEFAULT);
    let architecture = parse_scratch(scratch, vocabulary, context)?;
    Ok(settings.options(settings.sequence_length.unwrap_or(architecture.context)).validate(&architecture)?)
}

/// The base model as refs.
enum Base {
    Scratch(String),
    Known(Box<Model>),
    Folder(PathBuf),
}

impl Settings {
    pub(super) fn of(spec: &TrainSpec, scope: &Scope<'_>) -> Result<Self, Error> {
        match &spec.config {
            Some(path) => super::config::merged(spec, scope, &scope.path(path)),
            None => Self::of_spec(spec),
        }
    }

    fn of_spec(spec: &TrainSpec) -> Result<Self, Error> {
        let missing = |key: &str| Error::refused(format!("`{key}`"), "is missing; give it, or `config: training.yaml`");
        let length = match (spec.steps, spec.epochs) {
            (Some(steps), _) => Length::Steps(steps),
            (None, Some(epochs)) => Length::Epochs(epochs),
            (None, None) => return Err(missing("steps")),
        };
        Ok(Self {
            method: Some(spec.method.ok_or_else(|| missing("method"))?),
            base_model: spec.base_model.clone().ok_or_else(|| missing("base_model"))?,
            dataset: spec.dataset.clone().ok_or_else(|| missing("dataset"))?,
            split: spec.split.clone(),
            tokenizer: spec.tokenizer.clone(),
            length,
            batch_size: spec.batch_size,
            micro_batches: spec.micro_batches,
            sequence_length: spec.sequence_length.map(|length| length as usize),
            learning_rate: spec.learning_rate.ok_or_else(|| missing("learning_rate"))?,
            schedule: spec.schedule,
            weight_decay: spec.weight_decay,
            clip_norm: spec.clip_norm,
            checkpoint_every: spec.checkpoint_every,
            register: spec.register.clone(),
            gpus: None,
            config: None,
        })
    }

    /// Everything that the run will read, by name; cheap, because every later execution asks again.
    pub(super) fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        if let Some(name) = &self.register {
            Ref::model(scope.project, name, 1)?;
        }
        let dataset = scope.dataset(&self.dataset)?;
        DatasetVersion::find(scope.ctx, &dataset)?.split(&self.split)?;
        let mut inputs = vec![dataset];
        if let Some(tokenizer) = &self.tokenizer {
            inputs.push(scope.one(tokenizer, "artifact")?);
        }
        let mut folder = None;
        match self.base(scope)? {
            Base::Scratch(_) => {}
            Base::Known(model) => {
                inputs.extend(model.run.map(Ref::Run));
                inputs.push(model.reference);
                inputs.push(model.weights);
            }
            Base::Folder(dir) => folder = Some(model_folder::digest(&dir)?),
        }
        inputs.dedup();
        Ok(Resolved {
            inputs,
            identity: json!({ "seed": scope.seed, "folder": folder, "config": self.config.as_ref().map(|(digest, _)| digest) }),
        })
    }

    fn base(&self, scope: &Scope<'_>) -> Result<Base, Error> {
        match &self.base_model {
            BaseModel::Scratch(text) => Ok(Base::Scratch(text.clone())),
            BaseModel::Ref(reference) => {
                scope.must_exist(reference)?;
                Ok(Base::Known(Box::new(Model::find(scope.ctx, reference)?)))
            }
            BaseModel::Job(name) => {
                let result = scope.job(name)?;
                let reference = result.outputs_of("model").next().cloned().unwrap_or(Ref::Run(result.run));
                Ok(Base::Known(Box::new(Model::find(scope.ctx, &reference)?)))
            }
            BaseModel::Folder(path) => {
                let dir = scope.path(path);
                if !model_folder::is_model(&dir) {
                    return Err(Error::refused(
                        format!("`base_model` {}", dir.display()),
                        format!(
                            "is not a folder with {}, {} and {}; `cairn export` writes one",
                            model_folder::WEIGHTS_FILE,
                            model_folder::CONFIG_FILE,
                            model_folder::TOKENIZER_FILE
                        ),
                    ));
                }
                Ok(Base::Folder(dir))
            }
        }
    }

    /// The plan: parts that only a file or a derivation holds so far are stored as artifacts on the way.
    pub(super) fn plan(&self, job: &JobContext<'_>) -> Result<Plan, Error> {
        let ctx = job.ctx();
        let dataset = DatasetVersion::find(ctx, &job.scope.dataset(&self.dataset)?)?;
        let rows = dataset.rows(ctx, &self.split, None)?;
        let method = self.method.unwrap_or_else(|| self.method_for(&rows));
        self.check_device(job)?;
        let (start, architecture, tokenizer) = self.start(job, &rows)?;
        let sequence_length = self.sequence_length.unwrap_or(architecture.context);
        let loaded = load_tokenizer(ctx, &tokenizer)?;
        if loaded.vocabulary_size() > architecture.vocabulary {
            return Err(Error::refused(
                format!("the tokenizer has {} entries", loaded.vocabulary_size()),
                format!("the model's `vocabulary` is {}; it must be at least as large", architecture.vocabulary),
            ));
        }
        let options = self.options(sequence_length);
        let steps = self.steps(&rows, method, &loaded, &options, job.scope.seed)?;
        let has_validation =
            self.split != VALIDATION_SPLIT && dataset.split(VALIDATION_SPLIT).is_ok_and(|s| s.rows > 0);
        let plan = Plan {
            method,
            dataset: dataset.reference.clone(),
            split: self.split.clone(),
            validation_split: has_validation.then(|| VALIDATION_SPLIT.to_owned()),
            tokenizer,
            start,
            architecture,
            seed: job.scope.seed,
            steps,
            epochs: match self.length {
                Length::Epochs(epochs) => Some(epochs),
                Length::Steps(_) => None,
            },
            batch_size: self.batch_size,
            options,
            schedule: schedule(self, steps),
            checkpoint_every: self.checkpoint_every.unwrap_or(steps),
        };
        plan.validate()?;
        Ok(plan)
    }

    fn options(&self, sequence_length: usize) -> TrainOptions {
        TrainOptions {
            rows_per_micro_batch: self.batch_size / self.micro_batches,
            micro_batches: self.micro_batches,
            sequence_length,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            ..TrainOptions::default()
        }
    }

    /// Where weights, their shape and the tokenizer come from.
    fn start(&self, job: &JobContext<'_>, rows: &[Row]) -> Result<(Start, DecoderConfig, Ref), Error> {
        match self.base(&job.scope)? {
            Base::Scratch(text) => {
                let tokenizer = match &self.tokenizer {
                    Some(target) => job.scope.one(target, "artifact")?,
                    None => made_tokenizer(job, &text, rows)?,
                };
                let vocabulary = load_tokenizer(job.ctx(), &tokenizer)?.vocabulary_size();
                let context = self.sequence_length.unwrap_or(SEQUENCE_LENGTH_DEFAULT);
                Ok((Start::Scratch, parse_scratch(&text, vocabulary, context)?, tokenizer))
            }
            Base::Known(model) => {
                let tokenizer = self.same_tokenizer(&job.scope, &model.tokenizer)?;
                let start = Start::Weights {
                    artifact: model.weights,
                    weights_digest: model.weights_digest,
                    model: matches!(model.reference, Ref::Model { .. }).then_some(model.reference),
                    run: model.run,
                };
                Ok((start, model.architecture, tokenizer))
            }
            Base::Folder(dir) => {
                let folder = model_folder::read(&dir)?;
                let tokenizer = Ref::Artifact(job.put_artifact(folder.tokenizer.to_json().as_bytes())?.blake3);
                let tokenizer = self.same_tokenizer(&job.scope, &tokenizer)?;
                let start = Start::Weights {
                    artifact: Ref::Artifact(job.put_artifact(&folder.weights.to_safetensors())?.blake3),
                    weights_digest: folder.weights.digest().parse()?,
                    model: None,
                    run: None,
                };
                Ok((start, folder.architecture, tokenizer))
            }
        }
    }

    /// A base model's ids mean what its own tokenizer says: another one is refused.
    fn same_tokenizer(&self, scope: &Scope<'_>, of_base: &Ref) -> Result<Ref, Error> {
        if let Some(target) = &self.tokenizer {
            let given = scope.one(target, "artifact")?;
            if given != *of_base {
                return Err(Error::refused(
                    format!("`tokenizer` {target}"),
                    format!("is not the base model's ({of_base}); leave it out to use that"),
                ));
            }
        }
        Ok(of_base.clone())
    }

    /// Fresh weights learn texts first, trained ones answers, as far as the rows have them.
    fn method_for(&self, rows: &[Row]) -> Method {
        let (texts, exchanges) =
            (rows.iter().any(|row| row.document().is_some()), rows.iter().any(|row| row.exchange().is_some()));
        match (&self.base_model, texts, exchanges) {
            (BaseModel::Scratch(_), true, _) | (_, _, false) => Method::Pretrain,
            _ => Method::Sft,
        }
    }

    fn check_device(&self, job: &JobContext<'_>) -> Result<(), Error> {
        let device = job.ctx().runtime()?.device();
        match (self.gpus, device) {
            (Some(0), Device::Cuda { .. }) => Err(Error::refused(
                "`infra.gpus` 0",
                format!("this process computes on {device}; leave it out to use that"),
            )),
            (Some(1), Device::Cpu) => Err(Error::refused(
                "`infra.gpus` 1",
                "no GPU is in use here; leave it out, or give 0, to train on the CPU",
            )),
            _ => Ok(()),
        }
    }

    fn steps(
        &self,
        rows: &[Row],
        method: Method,
        tokenizer: &Tokenizer,
        options: &TrainOptions,
        seed: u64,
    ) -> Result<u64, Error> {
        let epochs = match self.length {
            Length::Steps(steps) => return Ok(steps),
            Length::Epochs(epochs) => epochs,
        };
        let packed = rows::pack_rows(rows, method, tokenizer, options.sequence_length)?;
        if packed.rows.is_empty() {
            // The session says why, with the counts; any number of steps will do until then.
            return Ok(epochs);
        }
        let loader = Loader::new(packed.rows, options.sequence_length, seed)?;
        let micro_batches = epochs * loader.batches_per_epoch(options.rows_per_micro_batch);
        Ok(micro_batches.div_ceil(options.micro_batches as u64))
    }
}

fn schedule(settings: &Settings, steps: u64) -> Schedule {
    let spec = settings.schedule;
    Schedule {
        peak: settings.learning_rate,
        floor: settings.learning_rate * spec.final_fraction,
        warmup_steps: spec.warmup_steps,
        total_steps: steps,
        decay: match spec.kind {
            ScheduleKind::Constant => Decay::Constant,
            ScheduleKind::Linear => Decay::Linear,
            ScheduleKind::Cosine => Decay::Cosine,
        },
    }
}

/// A tokenizer of the training split itself, where a training config names none.
fn made_tokenizer(job: &JobContext<'_>, scratch: &str, rows: &[Row]) -> Result<Ref, Error> {
    let given = parse_scratch(scratch, VOCABULARY_DEFAULT, SEQUENCE_LENGTH_DEFAULT)?;
    let texts: Vec<String> = rows.iter().flat_map(texts_of).collect();
    let tokenizer = Tokenizer::train(texts.into_iter(), given.vocabulary)?;
    Ok(Ref::Artifact(job.put_artifact(tokenizer.to_json().as_bytes())?.blake3))
}

/// The texts of a row that training reads.
fn texts_of(row: &Row) -> Vec<String> {
    let exchange = row.exchange().map(|(prompt, answer)| vec![prompt, answer.to_owned()]).unwrap_or_default();
    row.document().map(str::to_owned).into_iter().chain(exchange).collect()
}
