//! Replaying an ingestion: its sources are outside the ledger. Where they are still as they were, they are read again;
//! where not, what was stored of them is checked against what the events say of every document.

use super::{Comparison, Found, RecordedSpec, listed, spec_of};
use crate::dataset_reader::artifact_bytes;
use crate::job::{Job, Scope};
use crate::jobs::ingest::StoredDocument;
use crate::observer::{JobInfo, Observer};
use crate::pipeline::{JobKind, JobSpec};
use crate::reproduce::Manner;
use crate::{Context, Error, history, provenance, runner};
use cairn_projections::catalog::JobRecord;
use cairn_schemas::{Blake3, Event, RawJson, Ref, Sha256};
use serde_json::{Map, Value, json};
use sha2::Digest;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub(super) fn replay(
    ctx: &Context,
    recorded: &JobRecord,
    info: &JobInfo,
    base_dir: &Path,
    observer: &dyn Observer,
) -> Result<Found, Error> {
    let spec = spec_of(recorded)?;
    match why_sources_differ(ctx, recorded, &spec, base_dir)? {
        None => super::replay(ctx, recorded, info, base_dir, observer),
        Some(why) => stored(ctx, recorded, &spec, why),
    }
}

/// `None` where the sources are byte by byte those that were read: the job's key is over the digest of every file.
fn why_sources_differ(
    ctx: &Context,
    recorded: &JobRecord,
    spec: &RecordedSpec,
    base_dir: &Path,
) -> Result<Option<String>, Error> {
    let job_spec = JobSpec::from_settings(JobKind::Ingest, spec.settings.clone())?;
    let job: &dyn Job = job_spec.as_job();
    let results = BTreeMap::new();
    let scope = Scope {
        ctx,
        job_name: &recorded.name,
        project: &spec.project,
        seed: spec.seed,
        base_dir,
        results: &results,
        resolved_at: None,
    };
    let resolved = match job.resolve(&scope) {
        Ok(resolved) => resolved,
        Err(error @ (Error::Io { .. } | Error::Read(_))) => {
            return Ok(Some(format!("seen from {}: {}", base_dir.display(), error.chain())));
        }
        Err(error) => return Err(error),
    };
    let version = spec.code.get("version").and_then(Value::as_str).unwrap_or(env!("CARGO_PKG_VERSION"));
    let is_same = runner::key_by_version(job, &scope, &resolved, version) == recorded.key;
    let differ =
        || format!("the files under {} are not those that were read: names, bytes or dates differ", base_dir.display());
    Ok((!is_same).then(differ))
}

/// What the events of an ingestion say of a document.
struct Said {
    sha256: Sha256,
    bytes: u64,
}

/// Checks every stored document against the event that recorded it.
fn stored(ctx: &Context, recorded: &JobRecord, spec: &RecordedSpec, why: String) -> Result<Found, Error> {
    let (mut said, mut rejected) = (HashMap::<Blake3, Said>::new(), BTreeMap::<String, u64>::new());
    history::all(ctx, Some(recorded.started_position), &mut |event| match &event.event {
        Event::DocumentIngested(e) if e.run == recorded.run => {
            if let Ref::Doc(digest) = &e.document {
                said.insert(*digest, Said { sha256: e.sha256, bytes: e.bytes });
            }
        }
        Event::DocumentRejected(e) if e.run == recorded.run => *rejected.entry(e.rule.clone()).or_default() += 1,
        _ => {}
    })?;
    let mut compared = Vec::new();
    let (mut documents, mut as_recorded) = (0u64, 0u64);
    for (at, shard) in recorded.outputs.iter().filter(|output| matches!(output, Ref::Artifact(_))).enumerate() {
        let what = format!("shard {}", at + 1);
        let bytes = match artifact_bytes(ctx, shard) {
            Ok(bytes) => bytes,
            Err(error) => {
                compared.push(Comparison::new(what, shard, format!("absent: {}", error.chain())));
                continue;
            }
        };
        compared.push(Comparison::new(what, shard, Ref::Artifact(Blake3::of(&bytes))));
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            documents += 1;
            as_recorded += u64::from(is_as_recorded(line, &said));
        }
    }
    let expected = recorded.summary.get("documents").unwrap_or(&Value::Null);
    compared.push(Comparison::new("documents", expected, documents));
    compared.push(Comparison::new("documents whose digests are as recorded", said.len(), as_recorded));
    let counted: Map<String, Value> = rejected.into_iter().map(|(rule, count)| (rule, json!(count))).collect();
    let expected = recorded.summary.get("rejected_by_rule").unwrap_or(&Value::Null);
    compared.push(Comparison::new("rejected_by_rule", expected, Value::Object(counted)));
    compared.push(Comparison::new("inputs", listed(&recorded.inputs), listed(&[])));
    Ok(Found {
        manner: Manner::Checked,
        notes: vec![
            why,
            "what was stored was checked against its events; `--base DIR` names the folder of the pipeline, from which the \
             sources are read again"
                .to_owned(),
        ],
        compared,
        environment_differences: provenance::program_differences(&RawJson::of(&spec.code)),
    })
}

/// Whether a line of a shard is a document of the run, with the text that its digests say.
fn is_as_recorded(line: &[u8], said: &HashMap<Blake3, Said>) -> bool {
    let Ok(stored) = serde_json::from_slice::<StoredDocument>(line) else { return false };
    let Ref::Doc(digest) = &stored.document else { return false };
    let text = stored.text.as_bytes();
    said.get(digest).is_some_and(|said| {
        let sha256: [u8; 32] = sha2::Sha256::digest(text).into();
        Blake3::of(text) == *digest && Sha256::from_bytes(sha256) == said.sha256 && text.len() as u64 == said.bytes
    })
}
