//! Does what a plan says, in an order that a crash at any point can be taken up from.

use super::ErasureRequest;
use super::plan::{ArtifactFate, ErasurePlan, plan};
use super::receipt::{self, Receipt};
use crate::{Context, Error, history, managed};
use cairn_ledger::{Error as LedgerError, Redaction, Selection};
use cairn_schemas::events::dataset::VersionWithdrawn;
use cairn_schemas::events::governance::{ErasureRequested, SubjectErased};
use cairn_schemas::events::job::{JobCompleted, JobStarted};
use cairn_schemas::{Blake3, Event, KeyId, NewEvent, Position, RawJson, Ref, RunId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

const SOURCE: &str = "cairn://processors/erasure";
/// Kind of the job that stores what stays of artifacts.
const JOB_KIND: &str = crate::reproduce::ERASE;
/// A shorter name stands in too many words to look for it.
const NAME_BYTES_MIN: usize = 5;
/// Refs of one list that one event holds.
const PAGE_REFS: usize = 300;

/// What was done.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Erased {
    pub request: String,
    pub plan: ErasurePlan,
    /// Artifacts that hold the rows that stay, each with the one that it follows.
    pub rewritten: Vec<(Ref, Ref)>,
    /// Events that say that the person was erased.
    pub events: Vec<Position>,
    /// Events that named the person outside the fields that are sealed; their free text was redacted.
    pub mentions: Vec<Position>,
    /// Folders with copies that were removed.
    pub folders_removed: Vec<std::path::PathBuf>,
    /// The signed receipt.
    pub receipt: String,
}

/// Erases a data subject. Once this returns, nothing in this ledger's directory gives their data back.
pub fn erase(ctx: &Context, request: &ErasureRequest) -> Result<Erased, Error> {
    let (ledger, tenant) = (ctx.ledger(), ctx.tenant());
    let mut plan = plan(ctx, request)?;
    let before = recorded_of(ctx, &request.request)?;
    let data_subject = ledger.data_subject(tenant, &request.data_subject)?;
    check_known(request, &plan, &before)?;
    record_request(ctx, request, data_subject)?;
    let keys: Vec<String> = plan.keys.iter().map(ToString::to_string).collect();
    ledger.register_destroyed(tenant, &request.request, &keys, &[])?;
    rewrite(ctx, &request.request, &plan)?;
    let destroyed = destroy_artifacts(ctx, request, &plan)?;
    if !before.is_finished() {
        let artifacts = [before.artifacts, destroyed].concat();
        record_erased(ctx, request, &plan, data_subject, keys, artifacts)?;
    }
    ledger.destroy_person(tenant, &request.data_subject)?;
    redact_mentions(ctx, request)?;
    for dataset in &plan.datasets {
        let reason = format!("erasure request {}: rows were removed", request.request);
        let withdrawn = VersionWithdrawn { dataset: dataset.clone(), reason };
        record(ctx, &format!("{}/withdrawn/{dataset}", request.request), withdrawn)?;
    }
    let folders_removed = managed::remove(ctx, &plan.exports, &plan.datasets)?;
    // Built anew from what the log still gives; the stores that hold what it gave before are deleted.
    ctx.projections().rebuild(&[], &mut |_, _, _| {})?;
    // What this request ever did, also in a call that was cut short: a receipt says all of it.
    let recorded = recorded_of(ctx, &request.request)?;
    plan.keys = recorded.keys.clone();
    plan.documents.extend(recorded.documents.iter().cloned());
    plan.models
        .extend(recorded.models.iter().filter(|model| !plan.models.contains(model)).cloned().collect::<Vec<_>>());
    let folders = &folders_removed;
    let receipt = receipt::issue(ctx, &Receipt { request, plan: &plan, data_subject, recorded: &recorded, folders })?;
    let Recorded { rewritten, positions: events, mentions, .. } = recorded;
    Ok(Erased { request: request.request.clone(), plan, rewritten, events, mentions, folders_removed, receipt })
}

/// Refuses a person of whom nothing is known, and a request that was finished and finds more.
fn check_known(request: &ErasureRequest, plan: &ErasurePlan, before: &Recorded) -> Result<(), Error> {
    if plan.keys.is_empty() && plan.documents.is_empty() && before.positions.is_empty() {
        return Err(nobody(request));
    }
    let finds_more =
        || plan.keys.iter().any(|key| !before.keys.contains(key)) || !plan.documents.is_subset(&before.documents);
    if before.is_finished() && finds_more() {
        return Err(Error::refused(
            format!("request `{}`", request.request),
            "is finished, and there are events or documents of the person that it did not have; erase them under a request id of their own",
        ));
    }
    Ok(())
}

pub(super) fn nobody(request: &ErasureRequest) -> Error {
    Error::refused(
        format!("data subject `{}`", request.data_subject),
        "is named by no event of this ledger; write it exactly as the events do, or name documents by `--document`",
    )
}

/// What a request recorded, in all its calls.
#[derive(Default)]
pub(super) struct Recorded {
    /// Where it is said that the person was erased.
    pub(super) positions: Vec<Position>,
    /// How many events say so once all of them are recorded.
    pages: usize,
    pub(super) keys: Vec<KeyId>,
    /// Events that held sealed fields.
    pub(super) events: u64,
    pub(super) documents: BTreeSet<Ref>,
    pub(super) models: Vec<Ref>,
    /// Artifacts that were destroyed.
    pub(super) artifacts: Vec<Ref>,
    /// Artifacts with what stays of others, each after the one that it follows.
    pub(super) rewritten: Vec<(Ref, Ref)>,
    /// Events that named the person and were redacted.
    pub(super) mentions: Vec<Position>,
}

impl Recorded {
    /// Whether every page that says that the person was erased is recorded.
    fn is_finished(&self) -> bool {
        !self.positions.is_empty() && self.positions.len() >= self.pages
    }
}

fn recorded_of(ctx: &Context, request: &str) -> Result<Recorded, Error> {
    let (mut found, mut inputs) = (Recorded::default(), BTreeMap::<RunId, Vec<Ref>>::new());
    history::all(ctx, None, &mut |recorded| match &recorded.event {
        Event::SubjectErased(erased) if erased.request == request => {
            found.positions.push(recorded.position);
            found.pages = erased.pages as usize;
            found.keys.extend(erased.keys.iter().filter_map(|key| key.parse::<KeyId>().ok()));
            found.events = erased.events;
            found.documents.extend(erased.documents.iter().cloned());
            found.models.extend(erased.models.iter().cloned());
        }
        Event::PayloadsRedacted(redacted) if redacted.request == request => {
            found.artifacts.extend(redacted.artifacts.iter().cloned());
            found.mentions.extend(redacted.replacements.iter().filter_map(|put| Position::new(put.position)));
        }
        Event::JobStarted(job) if job.kind == JOB_KIND && job.name == request => {
            inputs.insert(job.run, job.inputs.clone());
        }
        Event::JobCompleted(job) => {
            let before = inputs.remove(&job.run).unwrap_or_default();
            found.rewritten.extend(before.into_iter().zip(job.outputs.iter().cloned()));
        }
        _ => {}
    })?;
    Ok(found)
}

/// Records who is to be erased and why. The same request again is the same event.
fn record_request(ctx: &Context, request: &ErasureRequest, data_subject: Blake3) -> Result<(), Error> {
    let asked = ErasureRequested { request: request.request.clone(), data_subject, basis: request.basis.clone() };
    match append(ctx, &format!("{}/requested", request.request), asked) {
        Err(LedgerError::Conflict { .. }) => Err(Error::refused(
            format!("request `{}`", request.request),
            "was used before for another person or basis; give each erasure a request id of its own",
        )),
        other => Ok(other?),
    }
}

/// Records what was done; what an earlier call recorded of it, with whatever figures it had then, stands.
fn record(ctx: &Context, id: &str, event: impl Into<Event>) -> Result<(), Error> {
    match append(ctx, id, event) {
        Err(LedgerError::Conflict { .. }) => Ok(()),
        other => Ok(other?),
    }
}

fn append(ctx: &Context, id: &str, event: impl Into<Event>) -> Result<(), LedgerError> {
    let event = NewEvent::new(SOURCE, id, event);
    ctx.ledger().with_reserve(|| ctx.ledger().append(ctx.tenant(), vec![event.clone()])).map(drop)
}

/// Stores what stays of the artifacts that are cut, and records it as a job, so that lineage leads from one to the other.
fn rewrite(ctx: &Context, request: &str, plan: &ErasurePlan) -> Result<(), Error> {
    let begun = Instant::now();
    let mut pairs = Vec::new();
    let cut = plan.artifacts.iter().filter(|planned| planned.fate == ArtifactFate::Rewritten);
    for planned in cut {
        let Ref::Artifact(digest) = &planned.artifact else { continue };
        let bytes = ctx.ledger().artifacts(ctx.tenant()).get(digest)?;
        if let Some(rewritten) = plan.cut.after(&bytes) {
            let stored = ctx.ledger().artifacts(ctx.tenant()).put_bytes(&rewritten.bytes)?;
            pairs.push((planned.artifact.clone(), Ref::Artifact(stored.blake3)));
        }
    }
    if pairs.is_empty() {
        return Ok(());
    }
    let run = RunId::generate();
    let started = JobStarted {
        run,
        kind: JOB_KIND.into(),
        name: request.to_owned(),
        pipeline: None,
        attempt: 1,
        key: Blake3::of(format!("erase {request}").as_bytes()),
        spec: RawJson::default(),
        inputs: pairs.iter().map(|(before, _)| before.clone()).collect(),
        resolved_at: ctx.ledger().head(ctx.tenant()).map(Position::get),
        reproduces: None,
    };
    let rows: u64 = plan.artifacts.iter().map(|planned| planned.rows_removed).sum();
    let completed = JobCompleted {
        run,
        attempt: 1,
        outputs: pairs.iter().map(|(_, after)| after.clone()).collect(),
        duration_ms: begun.elapsed().as_millis() as u64,
        summary: RawJson::of(&serde_json::json!({ "rows_removed": rows })),
    };
    record(ctx, &format!("{request}/{run}/started"), started)?;
    record(ctx, &format!("{request}/{run}/completed"), completed)?;
    Ok(())
}

/// By the ledger's own redaction: register, event, destruction, in an order that survives a crash. Gives what was there.
fn destroy_artifacts(ctx: &Context, request: &ErasureRequest, plan: &ErasurePlan) -> Result<Vec<Ref>, Error> {
    let digests = plan.artifacts.iter().filter_map(|planned| match &planned.artifact {
        Ref::Artifact(digest) => Some(*digest),
        _ => None,
    });
    let artifacts: Vec<Blake3> = digests.collect();
    if artifacts.is_empty() {
        return Ok(Vec::new());
    }
    let selection = Selection::Positions(Vec::new());
    let (request, basis) = (request.request.clone(), request.basis.clone());
    let redacted = ctx.ledger().redact(ctx.tenant(), &Redaction { selection, request, basis, artifacts })?;
    Ok(redacted.artifacts.into_iter().map(Ref::Artifact).collect())
}

/// Redacts the events that still name the person once their keys are gone: a producer may have put the name into free text
/// or a config. Governance events stay: erasure rests on them.
fn redact_mentions(ctx: &Context, request: &ErasureRequest) -> Result<(), Error> {
    let name = request.data_subject.as_str();
    if name.len() < NAME_BYTES_MIN {
        return Ok(());
    }
    // As a JSON text has it, without the quotes.
    let quoted = serde_json::to_string(name).expect("text serialises");
    let finder = memchr::memmem::Finder::new(&quoted[1..quoted.len() - 1]);
    let mut found = Vec::new();
    history::all(ctx, None, &mut |recorded| {
        let is_ours = recorded.event.type_name().starts_with("cairn.governance.");
        if !is_ours && recorded.redacted_by.is_none() && finder.find(recorded.event.to_json().as_bytes()).is_some() {
            found.push(recorded.position);
        }
    })?;
    if found.is_empty() {
        return Ok(());
    }
    let ranges = found.iter().map(|position| position.get()..=position.get()).collect();
    let (id, basis) = (request.request.clone(), request.basis.clone());
    let redaction = Redaction { selection: Selection::Positions(ranges), request: id, basis, artifacts: Vec::new() };
    ctx.ledger().redact(ctx.tenant(), &redaction)?;
    Ok(())
}

fn record_erased(
    ctx: &Context,
    request: &ErasureRequest,
    plan: &ErasurePlan,
    data_subject: Blake3,
    keys: Vec<String>,
    artifacts: Vec<Ref>,
) -> Result<(), Error> {
    let documents: Vec<Ref> = plan.documents.iter().cloned().collect();
    let longest = documents.len().max(artifacts.len()).max(plan.models.len());
    let pages = longest.div_ceil(PAGE_REFS).max(1);
    let page_of = |refs: &[Ref], page: usize| refs.chunks(PAGE_REFS).nth(page).unwrap_or_default().to_vec();
    let expire = receipt::vault_backups_expire_at(ctx)?;
    for page in 0..pages {
        let erased = SubjectErased {
            request: request.request.clone(),
            data_subject,
            basis: request.basis.clone(),
            page: page as u32 + 1,
            pages: pages as u32,
            keys: if page == 0 { keys.clone() } else { Vec::new() },
            models: page_of(&plan.models, page),
            documents: page_of(&documents, page),
            artifacts: page_of(&artifacts, page),
            events: plan.positions.len() as u64,
            artifact_count: artifacts.len() as u64,
            vault_backups_expire_at: expire,
        };
        record(ctx, &format!("{}/erased/{}", request.request, page + 1), erased)?;
    }
    Ok(())
}
