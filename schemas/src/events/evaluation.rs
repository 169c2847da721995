//! Family `evaluation`: how well a subject (a model or a run's checkpoint) did on a task.

use super::{Fact, facts};
use crate::personal::texts;
use crate::{Blake3, Links, RawJson, Real, Ref, RunId};

facts! {
    /// One metric of one evaluation.
    pub struct Measure {
        pub name: String,
        pub value: Real,
        /// Number of samples it is over; 0 where its producer did not say, so that nothing can be concluded from it.
        pub n: u64,
        /// Standard error of `value`, where one is defined.
        pub standard_error: Option<Real>,
        pub higher_is_better: bool,
        /// Unit, where the value is not a pure number: `ms`, `nats/token`, …
        pub unit: Option<String>,
    }
    /// An evaluation was finished.
    pub struct EvaluationCompleted {
        pub evaluation: Ref,
        /// What is measured.
        pub subject: Ref,
        pub run: Option<RunId>,
        pub suite: String,
        pub task: String,
        pub dataset: Option<Ref>,
        /// `all`, or the name of a part.
        pub slice: String,
        pub metrics: Vec<Measure>,
        /// BLAKE3 of everything that makes results comparable: prompts, decoding, samples, code of the metrics.
        pub protocol_digest: Blake3,
        #[serde(default)]
        pub protocol: RawJson,
        /// Artifact: every sample with its answer and scores, one JSON object a line.
        pub samples: Option<Ref>,
        /// The checkpoint's step, where the subject is a run.
        pub step: Option<u64>,
    }
    /// An earlier evaluation is no longer to be relied on.
    pub struct EvaluationSuperseded {
        pub evaluation: Ref,
        pub superseded_by: Option<Ref>,
        pub reason: String,
    }
    /// One sample was scored.
    pub struct SampleScored {
        pub evaluation: Ref,
        pub sample: String,
        pub metrics: Vec<super::training::MetricValue>,
    }
    /// An evaluation ended by an error.
    pub struct EvaluationFailed {
        pub evaluation: Ref,
        pub subject: Ref,
        pub suite: String,
        pub task: String,
        pub error: String,
    }
}

impl Fact for EvaluationCompleted {
    fn stream(&self) -> String {
        self.evaluation.stream()
    }
    fn links(&self) -> Links {
        Links::default()
            .used([&self.subject])
            .used(&self.dataset)
            .used(&self.run.map(Ref::Run))
            .produced([&self.evaluation])
            .produced(&self.samples)
    }
}
impl Fact for EvaluationSuperseded {
    fn stream(&self) -> String {
        self.evaluation.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.evaluation]).produced(&self.superseded_by)
    }
}
impl Fact for SampleScored {
    fn stream(&self) -> String {
        self.evaluation.stream()
    }
    fn links(&self) -> Links {
        Links::default()
    }
}
impl Fact for EvaluationFailed {
    fn stream(&self) -> String {
        self.evaluation.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.subject]).produced([&self.evaluation])
    }
}

texts! {
    EvaluationCompleted { protocol }
    EvaluationSuperseded { reason }
    SampleScored {}
    EvaluationFailed { error }
}
