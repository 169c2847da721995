//! Family `deployment`: what answers people, with which weights, and since when.

use super::{facts, streams};
use crate::personal::texts;
use crate::{Blake3, Links, RawJson, Real, Ref};

facts! {
    /// A model and its part of a deployment's traffic.
    pub struct Share {
        pub model: Ref,
        /// 0 to 1; the shares of a deployment sum to 1.
        pub fraction: Real,
    }
    /// A deployment came to be. It answers only once a model is promoted to it.
    pub struct DeploymentCreated {
        pub deployment: Ref,
        /// `local`, or where it runs.
        pub target: String,
        #[serde(default)]
        pub config: RawJson,
    }
    /// Traffic was divided anew.
    pub struct TrafficShifted {
        pub deployment: Ref,
        pub shares: Vec<Share>,
        pub reason: Option<String>,
    }
    /// A model became what the deployment answers with.
    pub struct Promoted {
        pub deployment: Ref,
        pub model: Ref,
        pub weights_digest: Blake3,
        /// The gate's judgment that allowed it.
        pub gate: Option<Ref>,
        pub previous: Option<Ref>,
        pub reason: Option<String>,
    }
    /// A deployment went back to an earlier model.
    pub struct RolledBack {
        pub deployment: Ref,
        /// The model it went back to.
        pub model: Ref,
        pub weights_digest: Blake3,
        /// The model it went back from.
        pub from: Ref,
        pub reason: String,
    }
    /// A deployment stopped answering for good.
    pub struct Retired {
        pub deployment: Ref,
        pub reason: String,
    }
    /// A deployment answered a prompt.
    pub struct ResponseGenerated {
        pub deployment: Ref,
        pub model: Ref,
        /// Digest of the weights that computed the answer.
        pub weights_digest: Blake3,
        /// Identity of the answer, for feedback.
        pub response: String,
        /// The messages as sent, where the deployment records them.
        pub prompt: Option<String>,
        pub answer: Option<String>,
        pub prompt_tokens: u64,
        pub answer_tokens: u64,
        pub latency_ms: Real,
        /// Temperature, top-k, top-p, seed, …
        #[serde(default)]
        pub sampling: RawJson,
        /// `stop`, `length` or `context`.
        pub finish: String,
    }
}

streams! {
    |e| e.deployment.stream();
    DeploymentCreated => |e| Links::default().produced([&e.deployment]);
    TrafficShifted => |e| Links::default().used(e.shares.iter().map(|s| &s.model)).produced([&e.deployment]);
    Promoted => |e| Links::default().used([&e.model]).used(&e.gate).produced([&e.deployment]);
    RolledBack => |e| Links::default().used([&e.model]).produced([&e.deployment]);
    Retired => |_e| Links::default();
    ResponseGenerated => |e| Links::default().used([&e.model]);
}

texts! {
    DeploymentCreated { config }
    TrafficShifted { reason }
    Promoted { reason }
    RolledBack { reason }
    Retired { reason }
    ResponseGenerated { prompt, answer, sampling }
}
