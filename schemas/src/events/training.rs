//! Family `training`: a run from its start to its end. A step is the union of its events.

use super::{facts, streams};
use crate::personal::texts;
use crate::{Blake3, Links, RawJson, Real, Ref, RunId, ShortText, Timestamp};

facts! {
    /// A training run began: data, code, config, environment and parent, complete enough to run it again.
    pub struct RunStarted {
        pub run: RunId,
        /// `pretrain`, `sft`, …
        pub method: String,
        pub name: Option<String>,
        /// Counted from 1; a resumed run goes on under a new attempt.
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        pub dataset: Option<Ref>,
        /// Artifact: the tokenizer.
        pub tokenizer: Option<Ref>,
        /// The model it starts from.
        pub base_model: Option<Ref>,
        /// The run that made what it starts from.
        pub parent: Option<RunId>,
        /// Name, version and digest of the program.
        #[serde(default)]
        pub code: RawJson,
        /// All settings, as resolved.
        #[serde(default)]
        pub config: RawJson,
        /// Library, device, threads, instruction sets.
        #[serde(default)]
        pub environment: RawJson,
        #[serde(default)]
        pub seed: u64,
        /// Artifacts that the run is computed by: graphs.
        #[serde(default)]
        pub graphs: Vec<Ref>,
        /// BLAKE3 over graphs, initial weights, data order, library and device class.
        pub identity: Option<Blake3>,
        /// How many optimizer steps it means to take.
        pub steps_planned: Option<u64>,
    }
    /// One value of one metric.
    pub struct MetricValue {
        pub name: ShortText,
        pub value: Real,
    }
    /// Metrics of a step.
    pub struct StepLogged {
        pub run: RunId,
        /// The attempt that took the step, counted from 1.
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        /// Counted from 1.
        pub step: u64,
        /// Tokens seen by the run up to and with this step.
        pub tokens: u64,
        pub time: Option<Timestamp>,
        pub metrics: Vec<MetricValue>,
    }
    /// A checkpoint was stored.
    pub struct CheckpointSaved {
        pub run: RunId,
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        pub step: u64,
        pub tokens: u64,
        /// Artifact: weights, optimizer state, generators and loader position.
        pub checkpoint: Ref,
        /// BLAKE3 of the state alone: no time, no run id.
        pub state_digest: Blake3,
        /// BLAKE3 of the weights alone.
        pub weights_digest: Blake3,
    }
    /// A run went on from one of its checkpoints.
    pub struct RunResumed {
        pub run: RunId,
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        /// The checkpoint's step: steps after it are this attempt's.
        pub from_step: u64,
        pub checkpoint: Option<Ref>,
        #[serde(default)]
        pub environment: RawJson,
    }
    /// A run was begun from another run's checkpoint.
    pub struct RunForked {
        pub run: RunId,
        pub from_run: RunId,
        pub from_step: u64,
        pub checkpoint: Ref,
    }
    /// A run reached its end.
    pub struct RunCompleted {
        pub run: RunId,
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        pub steps: u64,
        pub tokens: u64,
        pub duration_ms: u64,
        /// Artifact: the final weights.
        pub weights: Option<Ref>,
        pub weights_digest: Option<Blake3>,
        #[serde(default)]
        pub metrics: Vec<MetricValue>,
        /// Deterministic fields that differ from an earlier attempt's at the same step, in words; empty where equal.
        #[serde(default)]
        pub divergences: Vec<String>,
    }
    /// A run ended by an error.
    pub struct RunFailed {
        pub run: RunId,
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        pub step: u64,
        pub error: String,
    }
    /// A run that was made elsewhere was taken in from files about it. What they do not say stays unknown.
    pub struct RunImported {
        pub run: RunId,
        /// What read the files: `ladder`, `olmo`, `datadecide`, …
        pub importer: String,
        /// Nothing of the run itself was read: another thing names it.
        pub is_placeholder: bool,
        /// Artifacts: the files, as they were read.
        #[serde(default)]
        pub files: Vec<Ref>,
        /// Fields of `run_started` that the files do not give: what stands in them there means nothing.
        #[serde(default)]
        pub unknown: Vec<String>,
        /// What the files say of the run beside its settings.
        #[serde(default)]
        pub about: RawJson,
        /// In words: what was concluded, and from what.
        #[serde(default)]
        pub notes: Vec<String>,
    }
    /// A checkpoint that is kept elsewhere was made known. Its bytes were not seen, so that nothing is said of them.
    pub struct CheckpointListed {
        pub run: RunId,
        pub step: u64,
        /// Tokens seen by the run until then; absent where unknown.
        pub tokens: Option<u64>,
        /// Where it is kept: a URI.
        pub location: String,
        /// Artifact: the description that names it in the lineage, not the weights; only where something began from it.
        pub description: Option<Ref>,
    }
    /// A run was stopped.
    pub struct RunCancelled {
        pub run: RunId,
        #[serde(default = "super::first_attempt")]
        pub attempt: u32,
        pub step: u64,
        pub reason: String,
    }
}

streams! {
    |e| Ref::Run(e.run).stream();
    RunStarted => |e| {
        let parent = e.parent.map(Ref::Run);
        Links::default().used(&e.dataset).used(&e.tokenizer).used(&e.base_model).used(&parent).used(&e.graphs)
            .produced([&Ref::Run(e.run)])
    };
    StepLogged => |_e| Links::default();
    CheckpointSaved => |e| Links::default().used([&Ref::Run(e.run)]).produced([&e.checkpoint]);
    RunResumed => |e| Links::default().used(&e.checkpoint).produced([&Ref::Run(e.run)]);
    RunForked => |e| Links::default().used([&Ref::Run(e.from_run), &e.checkpoint]).produced([&Ref::Run(e.run)]);
    RunCompleted => |e| Links::default().used([&Ref::Run(e.run)]).produced(&e.weights);
    RunFailed => |_e| Links::default();
    RunImported => |e| Links::default().used(&e.files).produced([&Ref::Run(e.run)]);
    CheckpointListed => |e| match &e.description {
        Some(description) => Links::default().used([&Ref::Run(e.run)]).produced([description]),
        None => Links::default(),
    };
    RunCancelled => |_e| Links::default();
}

texts! {
    RunStarted { name, code, config, environment }
    StepLogged {}
    CheckpointSaved {}
    RunResumed { environment }
    RunForked {}
    RunCompleted { divergences }
    RunFailed { error }
    RunImported { about, notes }
    CheckpointListed { location }
    RunCancelled { reason }
}
