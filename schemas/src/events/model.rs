//! Family `model`: the registry.

use super::{Fact, facts};
use crate::personal::texts;
use crate::{Blake3, Links, RawJson, Ref, RunId};

facts! {
    /// A version of a model was registered.
    pub struct VersionRegistered {
        pub model: Ref,
        /// The run that made it.
        pub run: Option<RunId>,
        /// Artifact: weights in safetensors.
        pub weights: Option<Ref>,
        pub weights_digest: Option<Blake3>,
        /// Artifact: tokenizer.
        pub tokenizer: Option<Ref>,
        /// Architecture and sizes.
        #[serde(default)]
        pub architecture: RawJson,
        pub dataset: Option<Ref>,
        pub base_model: Option<Ref>,
        pub parameters: Option<u64>,
        pub training_samples: Option<u64>,
        /// Anything else worth keeping.
        #[serde(default)]
        pub metadata: RawJson,
    }
    /// An alias, such as `production`, was given to a version.
    pub struct AliasAssigned {
        pub alias: String,
        pub model: Ref,
        pub reason: Option<String>,
    }
    /// An alias was taken away.
    pub struct AliasCleared {
        pub alias: String,
        pub model: Ref,
        pub reason: Option<String>,
    }
}

impl Fact for VersionRegistered {
    fn stream(&self) -> String {
        self.model.stream()
    }
    fn links(&self) -> Links {
        let run = self.run.map(Ref::Run);
        Links::default()
            .used(&run)
            .used(&self.weights)
            .used(&self.tokenizer)
            .used(&self.dataset)
            .used(&self.base_model)
            .produced([&self.model])
    }
}
impl Fact for AliasAssigned {
    fn stream(&self) -> String {
        self.model.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.model])
    }
}
impl Fact for AliasCleared {
    fn stream(&self) -> String {
        self.model.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.model])
    }
}

texts! {
    VersionRegistered { architecture, metadata }
    AliasAssigned { reason }
    AliasCleared { reason }
}
