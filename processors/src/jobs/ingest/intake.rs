//! Reading the sources: events in batches, documents into shards, counts into the summary.

use super::clean::{Cleaned, Cleaner, Turned};
use super::source::{Source, uri_prefix};
use crate::Error;
use crate::job::{BATCH_EVENTS_MAX, JobContext, Output};
use crate::pipeline::{Dedup, IngestSpec};
use crate::readers::{self, Item, Record, Rejected};
use cairn_schemas::events::data::{
    DocumentIngested, DocumentRejected, IngestionCompleted, IngestionStarted, SourceRegistered, TransformApplied,
    TransformKind,
};
use cairn_schemas::{Event, RawJson, Real, Ref, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::Digest;
use std::collections::BTreeMap;

/// A shard is closed when it has this many bytes.
const SHARD_BYTES: usize = 16 << 20;
/// Rejections that the summary quotes; all are events.
const REJECTIONS_SHOWN_MAX: usize = 5;

/// A document in its shard: a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredDocument {
    pub(crate) document: Ref,
    pub(crate) source_uri: String,
    pub(crate) text: String,
    /// The record's other fields, for the templates of datasets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) fields: Map<String, Value>,
}

/// What was counted, of one source or of all.
#[derive(Clone, Debug, Default)]
struct Counts {
    files: u64,
    bytes: u64,
    ingested: u64,
    rejected: BTreeMap<String, u64>,
}

impl Counts {
    fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    fn add(&mut self, other: &Counts) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.ingested += other.ingested;
        other.rejected.iter().for_each(|(rule, count)| *self.rejected.entry(rule.clone()).or_default() += count);
    }
}

pub(super) struct Intake<'a> {
    spec: &'a IngestSpec,
    job: &'a JobContext<'a>,
    cleaner: Cleaner,
    /// Events that wait to be recorded.
    pending: Vec<(String, Event)>,
    /// Numbers the records, so that every event has an id of its own.
    number: u64,
    shard: Vec<u8>,
    shards: Vec<Ref>,
    total: Counts,
    redactions: BTreeMap<&'static str, u64>,
    redacted_documents: u64,
    shown: Vec<String>,
    sources: Vec<Value>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(spec: &'a IngestSpec, job: &'a JobContext<'a>) -> Result<Self, Error> {
        let cleaner = Cleaner::new(spec, job.ctx().match_key()?)?;
        Ok(Self {
            spec,
            job,
            cleaner,
            pending: Vec::new(),
            number: 0,
            shard: Vec::new(),
            shards: Vec::new(),
            total: Counts::default(),
            redactions: BTreeMap::new(),
            redacted_documents: 0,
            shown: Vec::new(),
            sources: Vec::new(),
        })
    }

    pub(super) fn read(&mut self, source: &Source) -> Result<(), Error> {
        let path = self.job.scope.path(&source.path);
        let prefix = uri_prefix(&source.path, self.job.scope.base_dir);
        self.open(source, &path)?;
        let mut counts = Counts::default();
        let first_shard = self.shards.len();
        let options = self.spec.reader_options().map_err(|why| Error::refused("`records`", why))?;
        readers::read_path::<Error>(&path, &options, &mut |item| {
            self.job.check_cancelled()?;
            match item {
                Item::Record(record) => self.record(source, &prefix, record, &mut counts),
                Item::Rejected(rejected) => self.unreadable(source, &prefix, rejected, &mut counts),
                Item::FileRead(file) => {
                    counts.files += 1;
                    counts.bytes += file.bytes;
                    Ok(())
                }
            }
        })?;
        self.close_shard()?;
        self.close(source, &counts, first_shard)
    }

    fn open(&mut self, source: &Source, path: &std::path::Path) -> Result<(), Error> {
        let registered = SourceRegistered {
            source: source.name.clone(),
            uri: source.path.display().to_string(),
            kind: if path.is_dir() { "folder" } else { "file" }.to_owned(),
            owner: self.spec.author.clone(),
            licence: self.spec.licence.clone(),
            access_policy: self.spec.access_policy.clone().unwrap_or_else(|| "as each record says".to_owned()),
        };
        let rules = RawJson::of(&rules(self.spec));
        let started = IngestionStarted { run: self.job.run(), source: source.name.clone(), rules };
        self.push(format!("source/{}", source.name), registered)?;
        self.push(format!("started/{}", source.name), started)
    }

    fn close(&mut self, source: &Source, counts: &Counts, first_shard: usize) -> Result<(), Error> {
        let completed = IngestionCompleted {
            run: self.job.run(),
            source: source.name.clone(),
            files: counts.files,
            ingested: counts.ingested,
            rejected: counts.rejected_total(),
            rejected_by_rule: RawJson::of(&counts.rejected),
            shards: self.shards[first_shard..].to_vec(),
        };
        self.push(format!("completed/{}", source.name), completed)?;
        self.sources.push(json!({
            "source": source.name,
            "uri": source.path.display().to_string(),
            "licence": self.spec.licence,
            "documents": counts.ingested,
            "rejected": counts.rejected_total(),
        }));
        self.total.add(counts);
        Ok(())
    }

    fn record(&mut self, source: &Source, prefix: &str, mut record: Record, counts: &mut Counts) -> Result<(), Error> {
        record.source_uri.insert_str(0, prefix);
        let place = record.source_uri.clone();
        self.number += 1;
        if self.number.is_multiple_of(BATCH_EVENTS_MAX as u64) {
            self.job.progress(self.number, 0, &format!("{} kept", self.total.ingested + counts.ingested));
        }
        match self.cleaner.clean(record) {
            Ok(cleaned) => {
                counts.ingested += 1;
                self.keep(source, cleaned)
            }
            Err(turned) => self.turn_away(source, place, *turned, counts),
        }
    }

    fn keep(&mut self, source: &Source, cleaned: Cleaned) -> Result<(), Error> {
        let Cleaned { document, text, fields, metadata, fingerprint, redactions } = cleaned;
        let sha256: [u8; 32] = sha2::Sha256::digest(text.as_bytes()).into();
        self.redacted_documents += u64::from(!redactions.is_empty());
        redactions.iter().for_each(|(kind, count)| *self.redactions.entry(kind).or_default() += count);
        let event = DocumentIngested {
            run: self.job.run(),
            source: source.name.clone(),
            document: Ref::Doc(document),
            sha256: Sha256::from_bytes(sha256),
            source_uri: metadata.source_uri.clone(),
            timestamp: metadata.timestamp,
            author: metadata.author,
            access_policy: metadata.access_policy,
            content_type: metadata.content_type,
            language: metadata.language.tag,
            bytes: text.len() as u64,
            fingerprint,
            redactions: (!redactions.is_empty()).then(|| RawJson::of(&redactions)),
        };
        self.push(format!("document/{}", self.number), event)?;
        let stored = StoredDocument { document: Ref::Doc(document), source_uri: metadata.source_uri, text, fields };
        serde_json::to_writer(&mut self.shard, &stored).expect("a document serialises");
        self.shard.push(b'\n');
        if self.shard.len() >= SHARD_BYTES { self.close_shard() } else { Ok(()) }
    }

    fn unreadable(
        &mut self,
        source: &Source,
        prefix: &str,
        rejected: Rejected,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        self.number += 1;
        let Rejected { source_uri, offset, rule, detail, .. } = rejected;
        let turned = Turned { rule, detail, duplicate_of: None, jaccard: None, offset, match_digest: None };
        self.turn_away(source, format!("{prefix}{source_uri}"), turned, counts)
    }

    fn turn_away(
        &mut self,
        source: &Source,
        source_uri: String,
        turned: Turned,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let Turned { rule, detail, duplicate_of, jaccard, offset, match_digest } = turned;
        *counts.rejected.entry(rule.to_owned()).or_default() += 1;
        if self.shown.len() < REJECTIONS_SHOWN_MAX {
            self.shown.push(format!("{source_uri}: {rule}: {detail}"));
        }
        let event = DocumentRejected {
            run: self.job.run(),
            source: source.name.clone(),
            source_uri,
            rule: rule.to_owned(),
            detail,
            duplicate_of,
            jaccard: jaccard.map(Real),
            offset,
            match_digest,
        };
        self.push(format!("rejected/{}", self.number), event)
    }

    /// Batches are cut by count alone, so that another attempt cuts them alike.
    fn push(&mut self, what: String, event: impl Into<Event>) -> Result<(), Error> {
        self.pending.push((what, event.into()));
        if self.pending.len() >= BATCH_EVENTS_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let events = std::mem::take(&mut self.pending);
        self.job.record_once(events).map(|_| ())
    }

    fn close_shard(&mut self) -> Result<(), Error> {
        if self.shard.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.shard);
        self.shards.push(Ref::Artifact(self.job.put_artifact(&bytes)?.blake3));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Output, Error> {
        self.push_transforms()?;
        self.flush()?;
        if self.total.ingested == 0 {
            return Err(self.nothing_kept());
        }
        let summary = json!({
            "documents": self.total.ingested,
            "rejected": self.total.rejected_total(),
            "rejected_by_rule": self.total.rejected,
            "rejections": self.shown,
            "files": self.total.files,
            "bytes": self.total.bytes,
            "redactions": self.redactions,
            "author": self.spec.author,
            "access_policy": self.spec.access_policy,
            "licence": self.spec.licence,
            "sources": self.sources,
            "rules": rules(self.spec),
        });
        Ok(Output::new(self.shards, summary))
    }

    fn push_transforms(&mut self) -> Result<(), Error> {
        let seen = self.total.ingested + self.total.rejected_total();
        if let Some(template) = &self.spec.text {
            let (config, changed) = (json!({ "text": template }), self.total.ingested);
            self.push_transform(TransformKind::Mapped, "template/1", &config, seen, changed)?;
        }
        if self.spec.redact {
            let config = json!({ "kinds": crate::redact::Kind::ALL, "found": self.redactions });
            self.push_transform(TransformKind::Redacted, "redact/1", &config, seen, self.redacted_documents)?;
        }
        Ok(())
    }

    fn push_transform(
        &mut self,
        kind: TransformKind,
        transform: &str,
        config: &Value,
        documents: u64,
        changed: u64,
    ) -> Result<(), Error> {
        let (run, config) = (self.job.run(), RawJson::of(config));
        let event = TransformApplied { run, kind, transform: transform.to_owned(), config, documents, changed };
        self.push(format!("transform/{transform}"), event)
    }

    fn nothing_kept(&self) -> Error {
        let rules: Vec<String> = self.total.rejected.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        let what = if rules.is_empty() {
            "there were no records".to_owned()
        } else {
            format!("rejected: {}", rules.join(", "))
        };
        let first = self.shown.first().map(|shown| format!("; the first: {shown}")).unwrap_or_default();
        Error::refused(format!("job `{}` kept no document", self.job.info.name), format!("{what}{first}"))
    }
}

/// What decides which records are kept, and what of them.
fn rules(spec: &IngestSpec) -> Value {
    let dedup = match spec.dedup {
        Dedup::Off => json!("off"),
        Dedup::Above { jaccard } => {
            json!({ "exact": true, "jaccard_above": jaccard, "shingle_words": crate::dedup::SHINGLE_WORDS, "scope": "the documents of this job" })
        }
    };
    json!({ "redact": spec.redact, "dedup": dedup, "quality": spec.quality, "text": spec.text, "records": spec.records })
}
