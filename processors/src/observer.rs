//! Who is told how a pipeline goes: progress bars, log lines, subscriptions.

use crate::Error;
use crate::pipeline::JobKind;
use cairn_schemas::RunId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which execution of which job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// Its name in the pipeline.
    pub name: String,
    pub kind: JobKind,
    pub run: RunId,
    /// Counted from 1.
    pub attempt: u32,
}

/// How an execution ended.
#[derive(Clone, Debug)]
pub enum JobOutcome {
    Done {
        summary: serde_json::Value,
    },
    /// The same work is recorded already: its run and what that said of itself.
    Skipped {
        run: RunId,
        summary: serde_json::Value,
    },
    Failed {
        error: Arc<Error>,
    },
    Cancelled,
    /// A gate did not let its subject pass. `stops` where the pipeline ends here.
    Blocked {
        reason: String,
        stops: bool,
        summary: serde_json::Value,
    },
}

impl JobOutcome {
    /// In one word, for logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            JobOutcome::Done { .. } => "done",
            JobOutcome::Skipped { .. } => "skipped",
            JobOutcome::Failed { .. } => "failed",
            JobOutcome::Cancelled => "cancelled",
            JobOutcome::Blocked { .. } => "blocked",
        }
    }
}

/// Told of each job in order; calls come from the thread that runs the pipeline.
pub trait Observer: Send + Sync {
    fn job_started(&self, job: &JobInfo);
    /// `total` is 0 where it is not known.
    fn progress(&self, job: &JobInfo, done: u64, total: u64, message: &str);
    fn job_finished(&self, job: &JobInfo, outcome: &JobOutcome);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {
    fn job_started(&self, _: &JobInfo) {}
    fn progress(&self, _: &JobInfo, _: u64, _: u64, _: &str) {}
    fn job_finished(&self, _: &JobInfo, _: &JobOutcome) {}
}

/// A flag by which a running pipeline is asked to stop; jobs look at it between steps.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
