//! Family `dataset`: versions of a dataset, what they hold and what they came from.

use super::{Fact, facts};
use crate::personal::texts;
use crate::{Blake3, Links, RawJson, Ref, RunId};

facts! {
    /// One split of a version.
    pub struct Split {
        /// `train`, `validation`, `test`, …
        pub name: String,
        pub rows: u64,
        /// Artifacts holding the rows, one JSON object a line.
        pub shards: Vec<Ref>,
        /// BLAKE3 of the rows in order.
        pub digest: Blake3,
    }
    /// A page of the documents that a version is made of; pages come before the event that closes them.
    pub struct DocumentsAdded {
        pub dataset: Ref,
        /// Counted from 1.
        pub page: u32,
        pub documents: Vec<Ref>,
    }
    /// A version became final.
    pub struct VersionCommitted {
        pub dataset: Ref,
        /// The run that built it.
        pub run: Option<RunId>,
        /// Artifact: the manifest, whose digest is the version's content address.
        pub manifest: Ref,
        pub splits: Vec<Split>,
        pub rows: u64,
        /// Number of `documents_added` pages before this event.
        pub pages: u32,
        /// Versions that it was derived from.
        #[serde(default)]
        pub parents: Vec<Ref>,
        /// What decides the content: templates, splits, seed, redaction.
        #[serde(default)]
        pub config: RawJson,
    }
    /// A version must no longer be used.
    pub struct VersionWithdrawn {
        pub dataset: Ref,
        pub reason: String,
    }
    /// A description for people was published.
    pub struct CardPublished {
        pub dataset: Ref,
        /// Artifact: Markdown.
        pub card: Ref,
    }
}

impl Fact for DocumentsAdded {
    fn stream(&self) -> String {
        self.dataset.stream()
    }
    fn links(&self) -> Links {
        Links::default().used(&self.documents).produced([&self.dataset])
    }
}
impl Fact for VersionCommitted {
    fn stream(&self) -> String {
        self.dataset.stream()
    }
    fn links(&self) -> Links {
        let shards = self.splits.iter().flat_map(|split| &split.shards);
        let run = self.run.map(Ref::Run);
        Links::default().used(&run).used(&self.parents).produced([&self.dataset, &self.manifest]).produced(shards)
    }
}
impl Fact for VersionWithdrawn {
    fn stream(&self) -> String {
        self.dataset.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.dataset])
    }
}
impl Fact for CardPublished {
    fn stream(&self) -> String {
        self.dataset.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.dataset]).produced([&self.card])
    }
}

texts! {
    DocumentsAdded {}
    VersionCommitted { config }
    VersionWithdrawn { reason }
    CardPublished {}
}
