//! Pipelines that clients send: a bounded queue and one thread that runs them in order. What they did stands in the
//! ledger; what is kept here is only how the recent ones are going.

use crate::Error;
use crate::problem::{Kind, Problem};
use cairn_processors::{Cancel, Context, JobInfo, JobOutcome, Observer, Pipeline, RunOptions, run_pipeline};
use cairn_schemas::{Clock, RunId, SystemClock, Timestamp};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Pipelines that wait while one runs.
const QUEUE_MAX: usize = 16;
/// Pipelines that are remembered; older ones are found in the ledger only.
const REMEMBERED_MAX: usize = 256;
/// Bytes of one pipeline's YAML.
const YAML_BYTES_MAX: usize = 1 << 20;

/// How a pipeline is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// One job of a pipeline, as far as it has come.
#[derive(Clone, Debug)]
pub(crate) struct JobView {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) run: RunId,
    pub(crate) attempt: u32,
    pub(crate) stage: JobStage,
    pub(crate) done: u64,
    /// 0 where it is not known.
    pub(crate) total: u64,
    pub(crate) message: String,
    pub(crate) summary: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobStage {
    Running,
    Done,
    Skipped,
    Failed,
    Cancelled,
    Blocked,
}

/// A pipeline as it is at one moment.
#[derive(Clone, Debug)]
pub(crate) struct PipelineView {
    pub(crate) id: String,
    pub(crate) stage: Stage,
    pub(crate) submitted_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) error: Option<String>,
    pub(crate) jobs: Vec<JobView>,
}

/// A pipeline that was sent to this server.
struct Submitted {
    pipeline: Pipeline,
    cancel: Cancel,
    view: Mutex<PipelineView>,
}

impl Submitted {
    fn view(&self) -> MutexGuard<'_, PipelineView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn id(&self) -> String {
        self.view().id.clone()
    }
    fn end(&self, stage: Stage, error: Option<String>) {
        let mut view = self.view();
        (view.stage, view.error, view.ended_at) = (stage, error, Some(SystemClock.now()));
    }
}

/// The queue and its memory.
pub(crate) struct Pipelines {
    base_dir: PathBuf,
    recent: Mutex<VecDeque<Arc<Submitted>>>,
    queue: Mutex<Option<SyncSender<Arc<Submitted>>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl Pipelines {
    pub(crate) fn start(ctx: Context, base_dir: PathBuf) -> Result<Self, Error> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let name = "cairn-pipelines";
        let work = move || work(&ctx, &jobs);
        let worker = std::thread::Builder::new()
            .name(name.into())
            .spawn(work)
            .map_err(|source| Error::Thread { name, source })?;
        Ok(Self {
            base_dir,
            recent: Mutex::default(),
            queue: Mutex::new(Some(queue)),
            worker: Mutex::new(Some(worker)),
        })
    }

    /// Checks the YAML and puts the pipeline into the queue.
    pub(crate) fn submit(&self, yaml: &str) -> Result<PipelineView, Problem> {
        if yaml.len() > YAML_BYTES_MAX {
            let detail = format!("the pipeline has {} bytes, at most {YAML_BYTES_MAX} are taken", yaml.len());
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        let pipeline = Pipeline::parse(yaml, &self.base_dir)?;
        let view = PipelineView {
            id: RunId::generate().to_string(),
            stage: Stage::Queued,
            submitted_at: SystemClock.now(),
            ended_at: None,
            error: None,
            jobs: Vec::new(),
        };
        let submitted = Arc::new(Submitted { pipeline, cancel: Cancel::default(), view: Mutex::new(view.clone()) });
        let stopping =
            || Problem::new(Kind::Unavailable, "the server is stopping and takes no pipelines").retry_after(5);
        match locked(&self.queue).as_ref().ok_or_else(stopping)?.try_send(submitted.clone()) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let detail = format!("{QUEUE_MAX} pipelines are waiting; send this one again when one has ended");
                return Err(Problem::new(Kind::Busy, detail).retry_after(30));
            }
            Err(TrySendError::Disconnected(_)) => return Err(stopping()),
        }
        let mut recent = locked(&self.recent);
        recent.push_back(submitted);
        while recent.len() > REMEMBERED_MAX {
            recent.pop_front();
        }
        Ok(view)
    }

    pub(crate) fn get(&self, id: &str) -> Option<PipelineView> {
        self.find(id).map(|submitted| submitted.view().clone())
    }

    /// The newest first.
    pub(crate) fn recent(&self, count_max: usize) -> Vec<PipelineView> {
        locked(&self.recent).iter().rev().take(count_max).map(|submitted| submitted.view().clone()).collect()
    }

    /// Asks a pipeline to stop. It ends between two steps and records that.
    pub(crate) fn cancel(&self, id: &str) -> Result<PipelineView, Problem> {
        let submitted = self.find(id).ok_or_else(|| unknown(id))?;
        submitted.cancel.cancel();
        let view = submitted.view().clone();
        match view.stage {
            Stage::Queued | Stage::Running => Ok(view),
            ended => Err(Problem::new(
                Kind::NotReady,
                format!("pipeline {id} has ended ({ended:?}) and cannot be cancelled"),
            )),
        }
    }

    /// Cancels what runs or waits and waits for its end.
    pub(crate) fn stop(&self) {
        locked(&self.queue).take();
        for submitted in locked(&self.recent).iter() {
            submitted.cancel.cancel();
        }
        if let Some(worker) = locked(&self.worker).take()
            && worker.join().is_err()
        {
            tracing::error!("the thread that runs pipelines had panicked");
        }
    }

    fn find(&self, id: &str) -> Option<Arc<Submitted>> {
        locked(&self.recent).iter().find(|submitted| submitted.id() == id).cloned()
    }
}

pub(crate) fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().take(60).collect();
    Problem::not_found(format!(
        "there is no pipeline `{shown}` among the recent ones; runPipeline gives the id, older ones are in the ledger"
    ))
}

fn work(ctx: &Context, jobs: &Receiver<Arc<Submitted>>) {
    while let Ok(submitted) = jobs.recv() {
        if submitted.cancel.is_cancelled() {
            submitted.end(Stage::Cancelled, None);
            continue;
        }
        submitted.view().stage = Stage::Running;
        let options = RunOptions { cancel: submitted.cancel.clone(), ..RunOptions::default() };
        let watch = Watch(&submitted);
        // A panic ends this pipeline, not the thread that runs the next ones.
        let run = std::panic::AssertUnwindSafe(|| run_pipeline(ctx, &submitted.pipeline, &options, &watch));
        match std::panic::catch_unwind(run) {
            Ok(Ok(_)) => {
                let (stage, error) = verdict(&submitted.view(), submitted.cancel.is_cancelled());
                submitted.end(stage, error);
            }
            Ok(Err(error)) => submitted.end(Stage::Failed, Some(error.chain())),
            Err(_) => {
                submitted.end(Stage::Failed, Some("the pipeline ended by a panic; the server's log has more".into()))
            }
        }
    }
}

/// What the jobs' ends mean for the whole.
fn verdict(view: &PipelineView, cancelled: bool) -> (Stage, Option<String>) {
    let failed = view.jobs.iter().find(|job| job.stage == JobStage::Failed);
    if let Some(job) = failed {
        return (Stage::Failed, Some(format!("job {}: {}", job.name, job.message)));
    }
    if cancelled || view.jobs.iter().any(|job| job.stage == JobStage::Cancelled) {
        return (Stage::Cancelled, None);
    }
    (Stage::Completed, None)
}

/// Writes what the runner says into the view.
struct Watch<'a>(&'a Submitted);

impl Watch<'_> {
    fn change(&self, job: &JobInfo, change: impl FnOnce(&mut JobView)) {
        let mut view = self.0.view();
        let known = view.jobs.iter().position(|known| known.run == job.run);
        let index = known.unwrap_or_else(|| {
            view.jobs.push(JobView {
                name: job.name.clone(),
                kind: job.kind.to_string(),
                run: job.run,
                attempt: job.attempt,
                stage: JobStage::Running,
                done: 0,
                total: 0,
                message: String::new(),
                summary: None,
            });
            view.jobs.len() - 1
        });
        change(&mut view.jobs[index]);
    }
}

impl Observer for Watch<'_> {
    fn job_started(&self, job: &JobInfo) {
        self.change(job, |view| view.attempt = job.attempt);
    }
    fn progress(&self, job: &JobInfo, done: u64, total: u64, message: &str) {
        self.change(job, |view| {
            (view.done, view.total) = (done, total);
            view.message = message.to_owned();
        });
    }
    fn job_finished(&self, job: &JobInfo, outcome: &JobOutcome) {
        self.change(job, |view| match outcome {
            JobOutcome::Done { summary } => (view.stage, view.summary) = (JobStage::Done, Some(summary.clone())),
            JobOutcome::Skipped { summary, .. } => {
                (view.stage, view.summary) = (JobStage::Skipped, Some(summary.clone()))
            }
            JobOutcome::Failed { error } => (view.stage, view.message) = (JobStage::Failed, error.chain()),
            JobOutcome::Cancelled => view.stage = JobStage::Cancelled,
            JobOutcome::Blocked { reason, summary, .. } => {
                (view.stage, view.message, view.summary) = (JobStage::Blocked, reason.clone(), Some(summary.clone()));
            }
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
