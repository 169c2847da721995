//! Pipelines that were sent to this server, as GraphQL shows them.

use crate::pipelines::{JobStage, JobView, PipelineView, Stage};
use async_graphql::{Enum, Object};
use serde_json::Value;

use super::scalars::{Long, Timestamp};
use super::things::{Run, thing_of_run};

/// How a pipeline is going.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Stage")]
pub(crate) enum PipelineState {
    /// Waits for the one before it.
    Queued,
    /// Its jobs are being run.
    Running,
    /// All its jobs were run, or were recorded already.
    Completed,
    /// A job or the pipeline itself failed.
    Failed,
    /// It was stopped on request.
    Cancelled,
}

/// How a job of a pipeline is going.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "JobStage")]
pub(crate) enum JobState {
    /// It is being run.
    Running,
    /// It ended and recorded what it made.
    Done,
    /// The same work was recorded already.
    Skipped,
    /// It ended by an error.
    Failed,
    /// It was stopped on request.
    Cancelled,
    /// It is a gate, and it did not let its subject pass.
    Blocked,
}

pub(crate) struct PipelineRun(pub(crate) PipelineView);

/// A pipeline that was sent to this server. Only recent ones are known here; the ledger has what they did.
#[Object]
impl PipelineRun {
    /// Its identity at this server.
    async fn id(&self) -> &str {
        &self.0.id
    }
    /// How it is going.
    async fn state(&self) -> PipelineState {
        self.0.stage.into()
    }
    /// When it was sent.
    async fn submitted_at(&self) -> Timestamp {
        Timestamp(self.0.submitted_at)
    }
    /// When it ended.
    async fn ended_at(&self) -> Option<Timestamp> {
        self.0.ended_at.map(Timestamp)
    }
    /// Why it failed.
    async fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }
    /// The jobs that were begun so far, in order.
    async fn jobs(&self) -> Vec<PipelineJob> {
        self.0.jobs.iter().cloned().map(PipelineJob).collect()
    }
}

pub(crate) struct PipelineJob(JobView);

/// A job of a pipeline, as far as it has come.
#[Object]
impl PipelineJob {
    /// Its name in the pipeline.
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// ingest, dataset, tokenizer, train, evaluate, judge, gate or deploy.
    async fn kind(&self) -> &str {
        &self.0.kind
    }
    /// How it is going.
    async fn state(&self) -> JobState {
        self.0.stage.into()
    }
    /// The id of its run: run:<id> is its ref.
    async fn run_id(&self) -> String {
        self.0.run.to_string()
    }
    /// Its run as the ledger has it; null while the projections have not reached it.
    async fn run(&self, ctx: &async_graphql::Context<'_>) -> async_graphql::Result<Option<Run>> {
        thing_of_run(ctx, &self.0.run).await
    }
    /// Counted from 1; a job that is taken up again goes on under a new attempt.
    async fn attempt(&self) -> u32 {
        self.0.attempt
    }
    /// How much is done, in the job's own units.
    async fn done(&self) -> Long {
        Long(self.0.done)
    }
    /// How much there is to do; null where it is not known.
    async fn total(&self) -> Option<Long> {
        (self.0.total > 0).then_some(Long(self.0.total))
    }
    /// What it says of itself, or why it failed or blocked.
    async fn message(&self) -> &str {
        &self.0.message
    }
    /// Its figures once it has ended.
    async fn summary(&self) -> Option<Value> {
        self.0.summary.clone()
    }
}
