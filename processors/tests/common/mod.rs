//! What the tests of this folder share: a data directory, a pipeline in it, and who watched.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use cairn_processors::{
    Cancel, Context, Error, JobInfo, JobOutcome, Observer, Pipeline, PipelineReport, RunOptions, run_pipeline,
};
use cairn_schemas::{Event, Position, Recorded};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A folder for sources and pipelines, and the data directory inside it.
pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
    pub fn open(&self) -> Context {
        Context::open(&self.path(".cairn")).unwrap()
    }
    pub fn pipeline(&self, yaml: &str) -> Pipeline {
        Pipeline::parse(yaml, self.dir.path()).unwrap()
    }
    pub fn refused(&self, yaml: &str) -> String {
        Pipeline::parse(yaml, self.dir.path()).unwrap_err().to_string()
    }
    pub fn run(&self, ctx: &Context, yaml: &str) -> PipelineReport {
        run_pipeline(ctx, &self.pipeline(yaml), &RunOptions::default(), &Watcher::default()).unwrap()
    }
}

/// Keeps what it was told; may ask to stop at a message.
#[derive(Default)]
pub struct Watcher {
    pub lines: Mutex<Vec<String>>,
    /// Cancels when a job of this name begins.
    pub cancel_at: Option<(String, Cancel)>,
    /// Panics when a job of this name reports progress.
    pub panic_in: Option<String>,
}

impl Observer for Watcher {
    fn job_started(&self, job: &JobInfo) {
        self.lines.lock().unwrap().push(format!("{} {} started", job.name, job.attempt));
        if let Some((name, cancel)) = &self.cancel_at
            && *name == job.name
        {
            cancel.cancel();
        }
    }
    fn progress(&self, job: &JobInfo, _: u64, _: u64, _: &str) {
        if self.panic_in.as_ref() == Some(&job.name) {
            panic!("the observer gave up");
        }
    }
    fn job_finished(&self, job: &JobInfo, outcome: &JobOutcome) {
        self.lines.lock().unwrap().push(format!("{} {} {}", job.name, job.attempt, outcome.as_str()));
    }
}

pub fn words(report: &PipelineReport) -> Vec<&'static str> {
    report.jobs.iter().map(|(_, outcome)| outcome.as_str()).collect()
}

/// The message of the last job's failure.
pub fn failure(report: &PipelineReport) -> String {
    match &report.jobs.last().unwrap().1 {
        JobOutcome::Failed { error } => Error::chain(error),
        other => panic!("not a failure: {other:?}"),
    }
}

pub fn summary(report: &PipelineReport, job: &str) -> serde_json::Value {
    let (_, outcome) = report.jobs.iter().find(|(info, _)| info.name == job).unwrap();
    match outcome {
        JobOutcome::Done { summary } | JobOutcome::Skipped { summary, .. } | JobOutcome::Blocked { summary, .. } => {
            summary.clone()
        }
        other => panic!("{job}: {other:?}"),
    }
}

pub fn events(ctx: &Context) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    loop {
        let from = all.last().map_or(Some(Position::FIRST), |last| last.position.next()).unwrap();
        let batch = ctx.ledger().read(ctx.tenant(), from, 1_000).unwrap();
        if batch.is_empty() {
            return all;
        }
        all.extend(batch);
    }
}

pub fn of<'a, T>(events: &'a [Recorded], pick: impl Fn(&'a Event) -> Option<T>) -> Vec<T> {
    events.iter().filter_map(|recorded| pick(&recorded.event)).collect()
}

/// The project's copy of GSM8K.
pub fn gsm8k(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/gsm8k").join(file)
}
