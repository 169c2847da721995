//! The `dataset` job: documents become rows, rows go to splits by hash, and the version is committed under a digest of
//! everything it holds. The same documents, settings and seed give the same digest anywhere.

mod assign;
mod card;
mod leaks;
mod manifest;
mod shards;

use crate::dataset_reader::{DatasetVersion, Row};
use crate::job::{Job, JobContext, JobResult, Output, Resolved, Scope};
use crate::jobs::ingest::StoredDocument;
use crate::pipeline::{DatasetSpec, JobKind, RowSpec};
use crate::template::Templates;
use crate::{Error, dedup};
pub(crate) use assign::Assigner;
use cairn_schemas::events::data::DocumentRejected;
use cairn_schemas::events::dataset::{CardPublished, DocumentsAdded, VersionCommitted};
use cairn_schemas::{Event, RawJson, Ref};
use leaks::Leaks;
use manifest::Manifest;
use semver::Version;
use serde_json::json;
use shards::Splits;
use std::collections::{HashMap, HashSet};

/// Refs of one `documents_added` page.
const PAGE_REFS_MAX: usize = 1_000;
/// Rows between two looks at the flag to stop.
const ROWS_A_LOOK: u64 = 500;

impl Job for DatasetSpec {
    fn kind(&self) -> JobKind {
        JobKind::Dataset
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a spec serialises")
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<Resolved, Error> {
        let dataset = self.reference(scope)?;
        let mut inputs: Vec<Ref> = Vec::new();
        for row in &self.rows {
            for shard in &ingestion(scope, row)?.outputs {
                if !inputs.contains(shard) {
                    inputs.push(shard.clone());
                }
            }
        }
        for parent in &self.parents {
            scope.must_exist(parent)?;
            inputs.push(parent.clone());
        }
        Ok(Resolved { inputs, identity: json!({ "dataset": dataset }) })
    }

    fn run(&self, job: &JobContext<'_>) -> Result<Output, Error> {
        let dataset = self.reference(&job.scope)?;
        let built = Builder::new(self, job).build()?;
        let manifest = Manifest::of(self, &job.scope, &built)?;
        let manifest_ref = Ref::Artifact(job.put_artifact(manifest.text.as_bytes())?.blake3);
        let reused = self.is_committed(job, &dataset, &manifest_ref)?;
        let card = card::write(self, job, &dataset, &manifest_ref, &built)?;
        let card_ref = Ref::Artifact(job.put_artifact(card.as_bytes())?.blake3);
        if !reused {
            commit(self, job, &dataset, &manifest_ref, &card_ref, &built)?;
        }
        let splits: serde_json::Map<String, serde_json::Value> =
            built.splits.iter().map(|split| (split.name.clone(), split.rows.into())).collect();
        let summary = json!({
            "dataset": dataset,
            "rows": built.rows,
            "splits": splits,
            "documents": built.documents.len(),
            "blank_rows": built.blank,
            "prompts_in_two_splits": built.shared_prompts,
            "manifest": manifest_ref,
            "card": card_ref,
            "reused": reused,
        });
        Ok(Output::new(vec![dataset, manifest_ref, card_ref], summary))
    }
}

impl DatasetSpec {
    fn reference(&self, scope: &Scope<'_>) -> Result<Ref, Error> {
        Ok(Ref::dataset(scope.project, scope.job_name, self.version.clone())?)
    }

    /// Whether this very version exists. One with other content is refused.
    fn is_committed(&self, job: &JobContext<'_>, dataset: &Ref, manifest: &Ref) -> Result<bool, Error> {
        match DatasetVersion::find(job.ctx(), dataset) {
            Ok(found) if found.committed.manifest == *manifest => Ok(true),
            Ok(found) => Err(Error::VersionExists {
                dataset: dataset.to_string(),
                recorded: found.committed.manifest.to_string(),
                found: manifest.to_string(),
                next: next_version(&self.version).to_string(),
            }),
            Err(Error::UnknownRef { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// Content that changed without breaking its readers: the next minor version.
fn next_version(version: &Version) -> Version {
    Version::new(version.major, version.minor + 1, 0)
}

/// The ingestion that rows come from.
fn ingestion<'a>(scope: &Scope<'a>, row: &RowSpec) -> Result<&'a JobResult, Error> {
    let source = scope.job(&row.from)?;
    if source.kind != JobKind::Ingest {
        let why = format!("is a {} job; rows come from ingest jobs", source.kind);
        return Err(Error::refused(format!("`from: {}`", row.from), why));
    }
    Ok(source)
}

/// Everything a version is made of, before it has a name.
struct Built {
    splits: Vec<cairn_schemas::events::dataset::Split>,
    shards: Vec<shards::Stored>,
    rows: u64,
    /// Each document that gave a row, once, in order.
    documents: Vec<Ref>,
    blank: u64,
    shared_prompts: u64,
}

struct Builder<'a> {
    spec: &'a DatasetSpec,
    job: &'a JobContext<'a>,
    splits: Splits<'a>,
    leaks: Leaks,
    documents: Vec<Ref>,
    known: HashSet<Ref>,
    /// How often each document gave a row, for ids of their own.
    rows_of: HashMap<Ref, u32>,
    rejected: Vec<(String, Event)>,
    looked_at: u64,
}

impl<'a> Builder<'a> {
    fn new(spec: &'a DatasetSpec, job: &'a JobContext<'a>) -> Self {
        let names = spec.rows.iter().flat_map(|row| row.split.names());
        Self {
            spec,
            job,
            splits: Splits::new(job, names),
            leaks: Leaks::default(),
            documents: Vec::new(),
            known: HashSet::new(),
            rows_of: HashMap::new(),
            rejected: Vec::new(),
            looked_at: 0,
        }
    }

    fn build(mut self) -> Result<Built, Error> {
        let (spec, job) = (self.spec, self.job);
        for rows in &spec.rows {
            let source = ingestion(&job.scope, rows)?;
            let templates = Templates::new(rows.templates())?;
            let assigner = Assigner::new(job.scope.seed, &rows.split);
            for shard in source.outputs_of("artifact") {
                self.read_shard(rows, &templates, &assigner, shard)?;
            }
        }
        self.leaks.refuse()?;
        let blank = self.rejected.len() as u64;
        self.job.record_once(std::mem::take(&mut self.rejected))?;
        let (splits, shards) = self.splits.finish()?;
        let rows = splits.iter().map(|split| split.rows).sum();
        if rows == 0 {
            let why = format!("{blank} documents gave blank rows; look at the templates");
            return Err(Error::refused(format!("dataset `{}` has no rows", self.job.info.name), why));
        }
        let shared_prompts = self.leaks.shared_prompts();
        Ok(Built { splits, shards, rows, documents: self.documents, blank, shared_prompts })
    }

    fn read_shard(
        &mut self,
        rows: &RowSpec,
        templates: &Templates,
        assigner: &Assigner,
        shard: &Ref,
    ) -> Result<(), Error> {
        let bytes = self.job.artifact_bytes(shard)?;
        for (number, line) in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let stored: StoredDocument = serde_json::from_slice(line)
                .map_err(|e| Error::Stored { what: format!("line {} of {shard}", number + 1), why: e.to_string() })?;
            self.looked_at += 1;
            if self.looked_at.is_multiple_of(ROWS_A_LOOK) {
                self.job.check_cancelled()?;
                self.job.progress(self.looked_at, 0, "rows");
            }
            self.add(rows, templates, assigner, stored)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        rows: &RowSpec,
        templates: &Templates,
        assigner: &Assigner,
        stored: StoredDocument,
    ) -> Result<(), Error> {
        let mut row = Row::default();
        for (field, _) in rows.templates() {
            let value = templates.render(field, &stored.fields, Some(&stored.text)).map_err(|e| {
                Error::refused(format!("`{field}` of the row from {}", stored.source_uri), e.to_string())
            })?;
            match field {
                "instruction" => row.instruction = value,
                "input" => row.input = value,
                "output" => row.output = value,
                _ => row.text = value,
            }
        }
        if [&row.instruction, &row.input, &row.output, &row.text].iter().all(|field| field.trim().is_empty()) {
            self.reject_blank(rows, &stored);
            return Ok(());
        }
        let split = assigner.split(&stored.document);
        self.leaks.note(split, &row, &stored);
        let nth = self.rows_of.entry(stored.document.clone()).or_default();
        *nth += 1;
        row.id = row_id(&stored.document, *nth);
        row.metadata = json!({ "document": stored.document, "source_uri": stored.source_uri, "source": rows.from });
        self.splits.push(split, &row)?;
        if self.known.insert(stored.document.clone()) {
            self.documents.push(stored.document);
        }
        Ok(())
    }

    fn reject_blank(&mut self, rows: &RowSpec, stored: &StoredDocument) {
        let event = DocumentRejected {
            run: self.job.run(),
            source: rows.from.to_string(),
            source_uri: stored.source_uri.clone(),
            rule: "blank_row".to_owned(),
            detail: "every field of its row is blank".to_owned(),
            duplicate_of: None,
            jaccard: None,
            offset: None,
            match_digest: None,
        };
        self.rejected.push((format!("rejected/{}", self.looked_at), event.into()));
    }
}

/// The first half of the document's digest, and which of its rows it is where it has several.
fn row_id(document: &Ref, nth: u32) -> String {
    let digest = document.to_string();
    let short = &digest["doc:".len()..][..32];
    if nth == 1 { short.to_owned() } else { format!("{short}-{nth}") }
}

fn commit(
    spec: &DatasetSpec,
    job: &JobContext<'_>,
    dataset: &Ref,
    manifest: &Ref,
    card: &Ref,
    built: &Built,
) -> Result<(), Error> {
    let pages: Vec<&[Ref]> = built.documents.chunks(PAGE_REFS_MAX).collect();
    let page = |(index, documents): (usize, &&[Ref])| {
        let number = index as u32 + 1;
        let event = DocumentsAdded { dataset: dataset.clone(), page: number, documents: documents.to_vec() };
        (format!("documents/{number}"), event.into())
    };
    let mut events: Vec<(String, Event)> = pages.iter().enumerate().map(page).collect();
    let committed = VersionCommitted {
        dataset: dataset.clone(),
        run: Some(job.run()),
        manifest: manifest.clone(),
        splits: built.splits.clone(),
        rows: built.rows,
        pages: pages.len() as u32,
        parents: spec.parents.clone(),
        config: RawJson::of(&json!({ "seed": job.scope.seed, "rows": spec.rows, "fingerprint": dedup_rule() })),
    };
    events.push(("committed".to_owned(), committed.into()));
    let published = CardPublished { dataset: dataset.clone(), card: card.clone() };
    events.push(("card".to_owned(), published.into()));
    job.record_once(events).map(|_| ())
}

/// How rows are compared between splits.
fn dedup_rule() -> serde_json::Value {
    json!({ "text": "blake3 of NFC, white space collapsed", "shingle_words": dedup::SHINGLE_WORDS })
}
