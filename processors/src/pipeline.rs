//! The pipeline file: strict YAML in, job specs out. Whatever is wrong is named with its line and column, before
//! anything runs.

mod among;
mod config;
pub mod deploy;
pub mod evaluate;
pub mod gate;
pub mod ingest;
pub mod judge;
pub mod names;
pub mod rows;
mod text;
pub mod train;

pub use deploy::DeploySpec;
pub use evaluate::{EvaluateSpec, Metric, TaskKind, TaskSpec};
pub use gate::{CompareSpec, Comparison, Condition, GateSpec, Metric as GateMetric, OnBlock, Test};
pub use ingest::{Dedup, IngestSpec, QualitySpec};
pub use judge::JudgeSpec;
pub use names::{JobKind, JobRef, Pattern, Target};
pub use rows::{DatasetSpec, RowSpec, SplitSpec, TokenizerSpec};
pub use train::{BaseModel, Method, ScheduleKind, ScheduleSpec, TrainSpec};

use crate::job::Job;
use crate::{Context, Error};
use cairn_schemas::{Blake3, ProjectName};
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::path::{Path, PathBuf};

/// Longest pipeline file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most jobs of one pipeline.
const JOBS_MAX: usize = 256;
const SEED_DEFAULT: u64 = 17;

/// A pipeline, checked: every job is of one kind, has a name of its own, and names only earlier jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The file's name without extension, or `pipeline`.
    pub name: String,
    pub project: ProjectName,
    pub seed: u64,
    pub jobs: Vec<JobEntry>,
    /// What relative paths are relative to.
    pub base_dir: PathBuf,
    /// BLAKE3 of the text.
    pub digest: Blake3,
    /// A training config in place of jobs.
    config: Option<Box<config::ConfigRun>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct JobEntry {
    pub name: String,
    pub spec: JobSpec,
}

#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a pipeline holds a handful")]
pub enum JobSpec {
    Ingest(IngestSpec),
    Dataset(DatasetSpec),
    Tokenizer(TokenizerSpec),
    Train(TrainSpec),
    Evaluate(EvaluateSpec),
    Judge(JudgeSpec),
    Gate(GateSpec),
    Deploy(DeploySpec),
}

impl JobSpec {
    pub fn kind(&self) -> JobKind {
        self.as_job().kind()
    }

    pub fn as_job(&self) -> &dyn Job {
        match self {
            JobSpec::Ingest(spec) => spec,
            JobSpec::Dataset(spec) => spec,
            JobSpec::Tokenizer(spec) => spec,
            JobSpec::Train(spec) => spec,
            JobSpec::Evaluate(spec) => spec,
            JobSpec::Judge(spec) => spec,
            JobSpec::Gate(spec) => spec,
            JobSpec::Deploy(spec) => spec,
        }
    }

    /// A spec as `Job::settings` wrote it.
    pub fn from_settings(kind: JobKind, settings: serde_json::Value) -> Result<Self, Error> {
        let parsed = match kind {
            JobKind::Ingest => serde_json::from_value(settings).map(JobSpec::Ingest),
            JobKind::Dataset => serde_json::from_value(settings).map(JobSpec::Dataset),
            JobKind::Tokenizer => serde_json::from_value(settings).map(JobSpec::Tokenizer),
            JobKind::Train => serde_json::from_value(settings).map(JobSpec::Train),
            JobKind::Evaluate => serde_json::from_value(settings).map(JobSpec::Evaluate),
            JobKind::Judge => serde_json::from_value(settings).map(JobSpec::Judge),
            JobKind::Gate => serde_json::from_value(settings).map(JobSpec::Gate),
            JobKind::Deploy => serde_json::from_value(settings).map(JobSpec::Deploy),
        };
        parsed.map_err(|e| Error::Stored { what: format!("the settings of a {kind} job"), why: e.to_string() })
    }

    /// The earlier jobs that it names.
    pub fn names(&self) -> Vec<&JobRef> {
        match self {
            JobSpec::Ingest(_) => Vec::new(),
            JobSpec::Dataset(spec) => spec.rows.iter().map(|row| &row.from).collect(),
            JobSpec::Tokenizer(spec) => spec.dataset.job().into_iter().collect(),
            JobSpec::Train(spec) => spec.names(),
            JobSpec::Evaluate(spec) => [&spec.subject, &spec.dataset].into_iter().filter_map(Target::job).collect(),
            JobSpec::Judge(spec) => spec.evaluation.job().into_iter().collect(),
            JobSpec::Gate(spec) => spec.names(),
            JobSpec::Deploy(spec) => [&spec.model, &spec.gate].into_iter().filter_map(Target::job).collect(),
        }
    }

    /// What serde cannot see: keys that exclude or need each other.
    fn check(&self) -> Result<(), String> {
        match self {
            JobSpec::Ingest(spec) => spec.check(),
            JobSpec::Dataset(spec) => spec.check(),
            JobSpec::Tokenizer(_) | JobSpec::Deploy(_) => Ok(()),
            JobSpec::Train(spec) => spec.check(),
            JobSpec::Evaluate(spec) => spec.check(),
            JobSpec::Judge(spec) => spec.check(),
            JobSpec::Gate(spec) => spec.check(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPipeline {
    project: ProjectName,
    #[serde(default)]
    seed: Option<u64>,
    jobs: Spanned<Vec<Spanned<RawJob>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJob {
    name: Spanned<String>,
    ingest: Option<IngestSpec>,
    dataset: Option<DatasetSpec>,
    tokenizer: Option<TokenizerSpec>,
    train: Option<TrainSpec>,
    evaluate: Option<EvaluateSpec>,
    judge: Option<JudgeSpec>,
    gate: Option<GateSpec>,
    deploy: Option<DeploySpec>,
}

impl RawJob {
    /// The one kind that is given, or how many there are.
    fn spec(self) -> Result<JobSpec, usize> {
        let mut found: Vec<JobSpec> = Vec::new();
        found.extend(self.ingest.map(JobSpec::Ingest));
        found.extend(self.dataset.map(JobSpec::Dataset));
        found.extend(self.tokenizer.map(JobSpec::Tokenizer));
        found.extend(self.train.map(JobSpec::Train));
        found.extend(self.evaluate.map(JobSpec::Evaluate));
        found.extend(self.judge.map(JobSpec::Judge));
        found.extend(self.gate.map(JobSpec::Gate));
        found.extend(self.deploy.map(JobSpec::Deploy));
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            n => Err(n),
        }
    }
}

impl Pipeline {
    /// Reads and checks a pipeline file. A training config (requirement 02 or 04) is one too: its jobs are those that
    /// `with_jobs` finds for it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = read_text(path)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut pipeline = match config::is_config(&text) {
            true => config::load(&text, path, parent)?,
            false => Self::parse_as(&text, parent, &path.display().to_string())?,
        };
        if let Some(stem) = path.file_stem() {
            pipeline.name = stem.to_string_lossy().into_owned();
        }
        Ok(pipeline)
    }

    /// Checks a pipeline's text; relative paths in it start at `base_dir`.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Self, Error> {
        Self::parse_as(text, base_dir, "pipeline")
    }

    /// The pipeline with its jobs: itself, or what a training config comes to over the datasets of this ledger.
    pub fn with_jobs(&self, ctx: &Context) -> Result<Self, Error> {
        let mut whole = self.clone();
        if let Some(config) = &self.config {
            whole.jobs = config.jobs(ctx, self)?;
        }
        Ok(whole)
    }

    fn parse_as(text: &str, base_dir: &Path, origin: &str) -> Result<Self, Error> {
        let raw: RawPipeline = text::from_yaml(text, origin)?;
        let wrong = |at: serde_saphyr::Location, why: String| text::wrong(origin, at.line(), at.column(), why);
        let at = raw.jobs.referenced;
        if raw.jobs.value.is_empty() || raw.jobs.value.len() > JOBS_MAX {
            return Err(wrong(at, format!("{} jobs; a pipeline has 1 to {JOBS_MAX}", raw.jobs.value.len())));
        }
        let mut jobs: Vec<JobEntry> = Vec::new();
        for Spanned { value: job, .. } in raw.jobs.value {
            let Spanned { value: name, referenced: at, .. } = job.name.clone();
            names::check_job_name(&name).map_err(|why| wrong(at, why))?;
            if jobs.iter().any(|other| other.name == name) {
                return Err(wrong(at, format!("a second job is named `{name}`; give it a name of its own")));
            }
            let spec = job.spec().map_err(|count| wrong(at, kinds_expected(&name, count)))?;
            for reference in spec.names() {
                check_reference(reference, &name, &jobs, origin, at)?;
            }
            spec.check().map_err(|why| wrong(at, format!("job `{name}`: {why}")))?;
            among::check(&spec, &jobs).map_err(|found| {
                let (line, column) = found.place.unwrap_or((at.line(), at.column()));
                text::wrong(origin, line, column, format!("job `{name}`: {}", found.why))
            })?;
            jobs.push(JobEntry { name, spec });
        }
        Ok(Self {
            name: "pipeline".to_owned(),
            project: raw.project,
            seed: raw.seed.unwrap_or(SEED_DEFAULT),
            jobs,
            base_dir: base_dir.to_owned(),
            digest: Blake3::of(text.as_bytes()),
            config: None,
        })
    }
}

fn kinds_expected(name: &str, count: usize) -> String {
    let kinds = JobKind::ALL.map(JobKind::as_str).join(", ");
    let found = if count == 0 { "says not what it does".to_owned() } else { format!("is of {count} kinds") };
    format!("job `{name}` {found}; give it one of {kinds}")
}

/// A name must be that of an earlier job: order in the file is order of execution.
fn check_reference(
    reference: &JobRef,
    of: &str,
    earlier: &[JobEntry],
    origin: &str,
    fallback: serde_saphyr::Location,
) -> Result<(), Error> {
    if earlier.iter().any(|job| job.name == reference.as_str()) {
        return Ok(());
    }
    let (line, column) = reference.place().unwrap_or((fallback.line(), fallback.column()));
    let names: Vec<&str> = earlier.iter().map(|job| job.name.as_str()).collect();
    let there = match names.as_slice() {
        [] => "no job stands before it".to_owned(),
        names => format!("the jobs before it are {}", names.join(", ")),
    };
    let hint = train::hint_for(reference.as_str()).unwrap_or_default();
    Err(text::wrong(
        origin,
        line,
        column,
        format!("job `{of}` names `{reference}`, which is no earlier job; {there}{hint}"),
    ))
}

fn read_text(path: &Path) -> Result<String, Error> {
    let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(Error::refused(path.display().to_string(), "is a folder; name a pipeline file (YAML)"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        let why = format!("has {} bytes; a pipeline has at most {FILE_BYTES_MAX}", metadata.len());
        return Err(Error::refused(path.display().to_string(), why));
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    String::from_utf8(bytes).map_err(|e| {
        let offset = e.utf8_error().valid_up_to() as u64;
        Error::NotUtf8 { path: path.to_owned(), offset }
    })
}
