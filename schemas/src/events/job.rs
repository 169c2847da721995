//! Family `job`: a processor's run over resolved inputs. A job's id is a run id: a training job and its training run
//! share one.

use super::{facts, streams};
use crate::personal::texts;
use crate::{Blake3, Links, RawJson, Ref, RunId};

facts! {
    /// A job began.
    pub struct JobStarted {
        pub run: RunId,
        /// `ingest`, `dataset`, `tokenizer`, `train`, `evaluate`, `judge`, `gate`, `deploy`.
        pub kind: String,
        /// Its name in the pipeline.
        pub name: String,
        pub pipeline: Option<String>,
        /// Counted from 1.
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        /// BLAKE3 of kind, settings and inputs: equal keys are the same work.
        pub key: Blake3,
        /// Settings as given.
        #[serde(default)]
        pub spec: RawJson,
        /// What the inputs resolved to.
        #[serde(default)]
        pub inputs: Vec<Ref>,
        /// The position at which they were resolved; absent on an empty ledger.
        pub resolved_at: Option<u64>,
        /// The job of which this is a replay.
        pub reproduces: Option<RunId>,
    }
    /// A job finished its work.
    pub struct JobCompleted {
        pub run: RunId,
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        #[serde(default)]
        pub outputs: Vec<Ref>,
        pub duration_ms: u64,
        /// Figures for people and for the next job.
        #[serde(default)]
        pub summary: RawJson,
    }
    /// A job ended by an error.
    pub struct JobFailed {
        pub run: RunId,
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        pub error: String,
    }
    /// A job was stopped.
    pub struct JobCancelled {
        pub run: RunId,
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        pub reason: String,
    }
}

streams! {
    |e| Ref::Run(e.run).stream();
    JobStarted => |e| Links::default().used(&e.inputs).produced([&Ref::Run(e.run)]);
    JobCompleted => |e| Links::default().used([&Ref::Run(e.run)]).produced(&e.outputs);
    JobFailed => |_e| Links::default();
    JobCancelled => |_e| Links::default();
}

texts! {
    JobStarted { spec }
    JobCompleted { summary }
    JobFailed { error }
    JobCancelled { reason }
}
