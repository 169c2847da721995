//! Family `data`: where documents came from, which were kept, and why the others were not.

use super::{Fact, facts, words};
use crate::personal::texts;
use crate::{Blake3, Links, RawJson, Ref, RunId, Sha256, Timestamp};

words! {
    /// What was done to a document's text.
    pub enum TransformKind { Normalized, Redacted, Split, Mapped }
}

facts! {
    /// A place that documents come from was made known.
    pub struct SourceRegistered {
        /// Name of the source inside its project.
        pub source: String,
        /// Where it is: a path or a URI.
        pub uri: String,
        /// `file`, `folder`, `http`, `s3`, …
        pub kind: String,
        pub owner: Option<String>,
        pub licence: Option<String>,
        /// Tag of the policy that governs access to its documents.
        pub access_policy: String,
    }
    /// A job began to read a source.
    pub struct IngestionStarted {
        pub run: RunId,
        pub source: String,
        /// Settings that decide what is kept: gates, deduplication, redaction.
        #[serde(default)]
        pub rules: RawJson,
    }
    /// A document was accepted.
    pub struct DocumentIngested {
        pub run: RunId,
        pub source: String,
        /// `doc:` and the BLAKE3 of the text as kept.
        pub document: Ref,
        /// SHA-256 of the same bytes.
        pub sha256: Sha256,
        pub source_uri: String,
        /// When the document was written, as its source says.
        pub timestamp: Timestamp,
        pub author: String,
        pub access_policy: String,
        /// Media type.
        pub content_type: String,
        /// BCP 47 tag; `und` where it could not be told.
        pub language: String,
        pub bytes: u64,
        /// BLAKE3 of the normalised text: what deduplication compares.
        pub fingerprint: Blake3,
        /// Number of personal data findings that were redacted, by kind.
        pub redactions: Option<RawJson>,
    }
    /// A document was turned away.
    pub struct DocumentRejected {
        pub run: RunId,
        pub source: String,
        pub source_uri: String,
        /// Name of the rule that turned it away.
        pub rule: String,
        /// What was measured and what the rule allows; never the text.
        pub detail: String,
        /// The document that it repeats.
        pub duplicate_of: Option<Ref>,
        /// Jaccard similarity to that document, 0 to 1.
        pub jaccard: Option<crate::Real>,
        /// Byte offset of what the rule matched.
        pub offset: Option<u64>,
        /// Keyed digest of what the rule matched.
        pub match_digest: Option<Blake3>,
    }
    /// A document was taken out of use.
    pub struct DocumentRemoved {
        pub document: Ref,
        pub reason: String,
    }
    /// A transformation was applied to the documents of an ingestion.
    pub struct TransformApplied {
        pub run: RunId,
        pub kind: TransformKind,
        /// Name and version of the code.
        pub transform: String,
        pub config: RawJson,
        pub documents: u64,
        /// How many it changed.
        pub changed: u64,
    }
    /// A source was read to its end.
    pub struct IngestionCompleted {
        pub run: RunId,
        pub source: String,
        pub files: u64,
        pub ingested: u64,
        pub rejected: u64,
        /// Rejections by rule.
        #[serde(default)]
        pub rejected_by_rule: RawJson,
        /// Artifacts holding the documents, one JSON object a line, in order of ingestion.
        pub shards: Vec<Ref>,
    }
}

fn source_stream(source: &str) -> String {
    format!("source:{source}")
}

impl Fact for SourceRegistered {
    fn stream(&self) -> String {
        source_stream(&self.source)
    }
    fn links(&self) -> Links {
        Links::default()
    }
}
impl Fact for IngestionStarted {
    fn stream(&self) -> String {
        source_stream(&self.source)
    }
    fn links(&self) -> Links {
        Links::default().produced([&Ref::Run(self.run)])
    }
}
impl Fact for DocumentIngested {
    fn stream(&self) -> String {
        source_stream(&self.source)
    }
    fn links(&self) -> Links {
        Links::default().used([&Ref::Run(self.run)]).produced([&self.document])
    }
}
impl Fact for DocumentRejected {
    fn stream(&self) -> String {
        source_stream(&self.source)
    }
    fn links(&self) -> Links {
        Links::default().used(&self.duplicate_of)
    }
}
impl Fact for DocumentRemoved {
    fn stream(&self) -> String {
        self.document.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.document])
    }
}
impl Fact for TransformApplied {
    fn stream(&self) -> String {
        Ref::Run(self.run).stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&Ref::Run(self.run)])
    }
}
impl Fact for IngestionCompleted {
    fn stream(&self) -> String {
        source_stream(&self.source)
    }
    fn links(&self) -> Links {
        Links::default().used([&Ref::Run(self.run)]).produced(&self.shards)
    }
}

texts! {
    SourceRegistered { uri by owner, owner by owner }
    IngestionStarted { rules }
    DocumentIngested { source_uri by author, author by author, redactions }
    DocumentRejected { source_uri, detail }
    DocumentRemoved { reason }
    TransformApplied { config }
    IngestionCompleted { rejected_by_rule }
}
