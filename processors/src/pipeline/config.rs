//! A training config given as a pipeline: train, register, evaluate, and a gate where it has thresholds. What it leaves
//! open (which split is held out, whether rows can be answered) is looked up in the ledger when it is run.

use super::{
    Comparison, Condition, EvaluateSpec, GateMetric, GateSpec, JobEntry, JobRef, JobSpec, Metric, OnBlock, Pipeline,
    Target, TaskKind, TaskSpec, TrainSpec,
};
use crate::dataset_reader::DatasetVersion;
use crate::training_config::{self, Suite, Threshold, TrainingConfig};
use crate::{Context, Error};
use cairn_schemas::{Blake3, ProjectName, Ref};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Splits that are examined, the first that the version has and that is not empty.
const EXAM_SPLITS: [&str; 4] = ["test", "validation", "valid", "dev"];
/// Rows that are examined.
const EXAM_ROWS: u64 = 200;
/// Rows by which it is told whether a split has questions with answers.
const ROWS_LOOKED_AT: usize = 32;
const TRAIN: &str = "train";
const EXAM: &str = "exam";
const GATE: &str = "gate";
/// Tasks of the examination.
const LOSS: &str = "loss";
const ANSWERS: &str = "answers";

/// A training config that was given in place of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConfigRun {
    file: PathBuf,
    config: TrainingConfig,
}

/// Whether the text is a training config and no pipeline. Text that is neither is read as a pipeline, for its errors.
pub(super) fn is_config(text: &str) -> bool {
    match serde_saphyr::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(keys)) => {
            !keys.contains_key("jobs") && keys.keys().any(|key| training_config::is_key(key))
        }
        _ => false,
    }
}

pub(super) fn load(text: &str, path: &Path, base_dir: &Path) -> Result<Pipeline, Error> {
    let named = |e: training_config::Error| Error::refused(path.display().to_string(), e.to_string());
    let config = match path.extension() {
        Some(extension) if extension == "json" => TrainingConfig::from_json(text, base_dir).map_err(named)?,
        _ => TrainingConfig::from_yaml(text, base_dir).map_err(named)?,
    };
    let file = PathBuf::from(path.file_name().unwrap_or_default());
    let project = match config.dataset.parse::<Ref>() {
        Ok(Ref::Dataset { project, .. }) => project,
        _ => ProjectName::default(),
    };
    let seed = super::SEED_DEFAULT;
    let digest = Blake3::of(text.as_bytes());
    let name = "training".to_owned();
    let config = Some(Box::new(ConfigRun { file, config }));
    Ok(Pipeline { name, project, seed, jobs: Vec::new(), base_dir: base_dir.to_owned(), digest, config })
}

impl ConfigRun {
    /// The jobs that the config stands for, over the datasets there are.
    pub(super) fn jobs(&self, ctx: &Context, pipeline: &Pipeline) -> Result<Vec<JobEntry>, Error> {
        let dataset = self.dataset(ctx, &pipeline.project)?;
        let version = DatasetVersion::find(ctx, &dataset)?;
        let split = exam_split(&version);
        let answers = version.rows(ctx, &split, Some(ROWS_LOOKED_AT))?.iter().any(|row| row.exchange().is_some());
        let exam = EvaluateSpec {
            subject: Target::Job(JobRef::new(TRAIN)),
            suite: model_name(&pipeline.name),
            dataset: Target::Ref(dataset),
            split,
            limit: Some(EXAM_ROWS),
            tasks: self.tasks(answers)?,
        };
        let mut jobs = vec![
            JobEntry { name: TRAIN.into(), spec: JobSpec::Train(self.training(&pipeline.name)) },
            JobEntry { name: EXAM.into(), spec: JobSpec::Evaluate(exam) },
        ];
        if let Some(gate) = self.gate() {
            jobs.push(JobEntry { name: GATE.into(), spec: JobSpec::Gate(gate) });
        }
        for job in &jobs {
            job.spec.check().map_err(|why| Error::refused(self.file.display().to_string(), why))?;
        }
        Ok(jobs)
    }

    /// `ds://…`, `name@version` of this project, or a name's latest version.
    fn dataset(&self, ctx: &Context, project: &ProjectName) -> Result<Ref, Error> {
        let given = self.config.dataset.as_str();
        if given.contains("://") {
            return Ok(given.parse()?);
        }
        if given.contains('@') {
            return Ok(format!("ds://{project}/{given}").parse()?);
        }
        ctx.projections().catch_up()?;
        let latest = ctx.projections().catalog().latest_dataset(project, given)?;
        latest.ok_or_else(|| Error::UnknownRef {
            kind: "dataset",
            reference: format!("ds://{project}/{given}"),
            hint: "a `dataset` job of that name makes it, or give the whole ref, ds://project/name@1.2.0".into(),
        })
    }

    fn training(&self, pipeline: &str) -> TrainSpec {
        let settings = json!({ "config": self.file, "register": model_name(pipeline), "eval_is_run": true });
        serde_json::from_value(settings).expect("these are settings of a train job")
    }

    fn tasks(&self, answers: bool) -> Result<Vec<TaskSpec>, Error> {
        let suites = self.config.eval.as_ref().map(|eval| eval.suites.as_slice());
        let asked = |suite: Suite| suites.is_some_and(|suites| suites.contains(&suite));
        if asked(Suite::DomainEmF1) && !answers {
            let what = format!("{}: suite {}", self.file.display(), Suite::DomainEmF1.as_str());
            return Err(Error::refused(what, "needs rows with `instruction` and `output`, and the dataset has none"));
        }
        let task = |name: &str, kind: TaskKind, metrics: Vec<Metric>| TaskSpec {
            name: name.to_owned(),
            kind,
            max_new_tokens: None,
            temperature: None,
            top_k: None,
            top_p: None,
            metrics,
            format: None,
            extract: None,
            reference_extract: None,
        };
        let mut tasks = Vec::new();
        if suites.is_none() || asked(Suite::Perplexity) {
            tasks.push(task(LOSS, TaskKind::Perplexity, Vec::new()));
        }
        if answers && (suites.is_none() || asked(Suite::DomainEmF1)) {
            tasks.push(task(ANSWERS, TaskKind::Generate, vec![Metric::ExactMatch, Metric::F1]));
        }
        Ok(tasks)
    }

    fn gate(&self) -> Option<GateSpec> {
        let thresholds = &self.config.eval.as_ref()?.thresholds;
        let exam = || Target::Job(JobRef::new(EXAM));
        (!thresholds.is_empty()).then(|| GateSpec {
            subject: Target::Job(JobRef::new(TRAIN)),
            baseline: None,
            evaluations: vec![exam()],
            baseline_evaluations: Vec::new(),
            require: thresholds.iter().map(condition).collect(),
            compare: Vec::new(),
            on_block: OnBlock::Stop,
        })
    }
}

fn condition(threshold: &Threshold) -> Condition {
    let (task, name) = match threshold.metric {
        training_config::Metric::ExactMatch => (ANSWERS, "exact_match"),
        training_config::Metric::F1 => (ANSWERS, "f1"),
        training_config::Metric::Loss => (LOSS, "loss"),
        training_config::Metric::Perplexity => (LOSS, "perplexity"),
    };
    let comparison = if threshold.metric.higher_is_better() { Comparison::AtLeast } else { Comparison::AtMost };
    Condition { metric: GateMetric { task: task.into(), name: name.into() }, comparison, threshold: threshold.value }
}

/// A held-out split where the version has one; else what was trained on.
fn exam_split(version: &DatasetVersion) -> String {
    let splits = &version.committed.splits;
    let held_out = EXAM_SPLITS.iter().find(|name| splits.iter().any(|split| split.name == **name && split.rows > 0));
    held_out.map_or_else(super::rows::train_split, |name| (*name).to_owned())
}

/// The file's name as a model is named.
fn model_name(pipeline: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = pipeline.chars().map(plain).take(60).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}
