//! What an erasure will do, found without changing anything: the person's events, their documents, and by lineage
//! everything that was made of them.

use super::ErasureRequest;
use super::rewrite::{Finder, drop_shared, is_rows, without_documents, without_texts};
use crate::{Context, Error, history};
use cairn_ledger::Hold;
use cairn_projections::lineage::{Direction, Limit};
use cairn_schemas::{Blake3, Event, KeyId, Position, Recorded, Ref, RunId};
use std::collections::{BTreeSet, HashSet, VecDeque};

/// How wide lineage is followed: erasure must see everything.
const EVERYTHING: Limit = Limit { nodes: 10_000_000, fan_out: 10_000_000 };

/// What happens to an artifact that holds the person's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactFate {
    /// Its other rows go on in a new artifact.
    Rewritten,
    Destroyed,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PlannedArtifact {
    pub artifact: Ref,
    pub fate: ArtifactFate,
    /// Rows that are about the person.
    pub rows_removed: u64,
}

/// What will be destroyed, rewritten and named.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct ErasurePlan {
    /// What events call the person by: a keyed digest.
    pub data_subject: Option<Blake3>,
    pub keys: Vec<KeyId>,
    /// Events that hold fields sealed under those keys.
    pub positions: Vec<Position>,
    pub documents: BTreeSet<Ref>,
    pub artifacts: Vec<PlannedArtifact>,
    /// Dataset versions that hold rows of the documents.
    pub datasets: Vec<Ref>,
    /// Models trained on them: named in the receipt, since what weights have learnt is not rows.
    pub models: Vec<Ref>,
    pub deployments: Vec<Ref>,
    /// Exports that left with what is now erased.
    pub exports: Vec<String>,
}

/// Finds what an erasure would do. Refused where a legal hold covers any of it.
pub(super) fn plan(ctx: &Context, request: &ErasureRequest) -> Result<ErasurePlan, Error> {
    ctx.projections().catch_up()?;
    let (ledger, tenant) = (ctx.ledger(), ctx.tenant());
    let mut plan = ErasurePlan {
        data_subject: Some(ledger.data_subject(tenant, &request.data_subject)?),
        keys: ledger.person_keys(tenant, &request.data_subject)?,
        ..ErasurePlan::default()
    };
    for key in ledger.registered_keys(tenant, &request.request)? {
        if !plan.keys.contains(&key) {
            plan.keys.push(key);
        }
    }
    let mut runs = BTreeSet::new();
    let mut take = |recorded: &Recorded, documents: &mut BTreeSet<Ref>| {
        documents.extend(recorded.produced.iter().filter(|made| matches!(made, Ref::Doc(_))).cloned());
        if let Event::DocumentIngested(ingested) = &recorded.event {
            runs.insert(ingested.run);
        }
    };
    let holds = ledger.holds(tenant)?;
    for position in positions(ctx, &plan.keys)? {
        let recorded = ctx.ledger().read(tenant, position, 1)?.pop();
        let recorded = recorded.ok_or_else(|| gone(position))?;
        check_holds(&holds, &recorded, &plan)?;
        take(&recorded, &mut plan.documents);
        plan.positions.push(position);
    }
    for document in &request.documents {
        take_document(ctx, document, &mut plan.documents)?;
    }
    let made = made_of(ctx, &plan.documents, &runs)?;
    let of_kind = |wanted: fn(&Ref) -> bool| made.iter().filter(|made| wanted(made)).cloned().collect();
    plan.datasets = of_kind(|made| matches!(made, Ref::Dataset { .. }));
    plan.models = of_kind(|made| matches!(made, Ref::Model { .. }));
    plan.deployments = of_kind(|made| matches!(made, Ref::Deployment(_)));
    plan.artifacts = artifacts_with(ctx, &plan.documents, &made)?;
    plan.exports = exports_with(ctx, &plan, &made)?;
    Ok(plan)
}

fn gone(position: Position) -> Error {
    Error::Stored { what: format!("event {position}"), why: "it was there a moment ago".into() }
}

fn positions(ctx: &Context, keys: &[KeyId]) -> Result<Vec<Position>, Error> {
    let (keys, mut found) = (keys.iter().copied().collect::<BTreeSet<_>>(), Vec::new());
    let mut next = (!keys.is_empty()).then_some(Position::FIRST);
    while let Some(from) = next {
        let page = ctx.ledger().positions_sealed_under(ctx.tenant(), &keys, from)?;
        found.extend(page.positions);
        next = page.next;
    }
    Ok(found)
}

/// A hold that covers the tenant, the event's project or stream, or the person.
fn check_holds(holds: &[Hold], recorded: &Recorded, plan: &ErasurePlan) -> Result<(), Error> {
    let person = plan.data_subject.map(|digest| format!("data-subject:{digest}"));
    let held = holds.iter().find(|hold| match hold.scope.starts_with("data-subject:") {
        true => Some(&hold.scope) == person.as_ref(),
        false => hold.covers(&recorded.project, &recorded.stream),
    });
    match held {
        None => Ok(()),
        Some(hold) => Err(Error::refused(
            format!("legal hold `{}` on `{}`", hold.hold, hold.scope),
            format!("covers event {} of this person; lift it first with `cairn hold lift`", recorded.position),
        )),
    }
}

fn take_document(ctx: &Context, document: &Ref, documents: &mut BTreeSet<Ref>) -> Result<(), Error> {
    let known = matches!(document, Ref::Doc(_))
        && !ctx.projections().lineage().walk(document, Direction::Up, 1, 2)?.nodes.is_empty();
    if !known {
        return Err(Error::UnknownRef {
            kind: "document",
            reference: document.to_string(),
            hint: "name one as doc:<blake3>; `cairn lineage` and the rows of datasets show them".into(),
        });
    }
    documents.insert(document.clone());
    Ok(())
}

/// Everything that was made of the documents, and what their ingestions stored, in the order of the walk. Other documents
/// are passed over.
fn made_of(ctx: &Context, documents: &BTreeSet<Ref>, runs: &BTreeSet<RunId>) -> Result<Vec<Ref>, Error> {
    let lineage = ctx.projections().lineage();
    let (mut made, mut seen) = (Vec::new(), documents.iter().cloned().collect::<HashSet<_>>());
    let mut waiting: VecDeque<Ref> = documents.iter().cloned().collect();
    for run in runs {
        let stored = lineage.walk(&Ref::Run(*run), Direction::Down, 1, EVERYTHING)?.nodes;
        waiting.extend(stored.into_iter().map(|node| node.reference).filter(|made| matches!(made, Ref::Artifact(_))));
    }
    while let Some(next) = waiting.pop_front() {
        if !matches!(next, Ref::Doc(_)) && seen.insert(next.clone()) {
            made.push(next.clone());
        }
        for node in lineage.walk(&next, Direction::Down, 1, EVERYTHING)?.nodes {
            if !matches!(node.reference, Ref::Doc(_)) && !seen.contains(&node.reference) && node.reference != next {
                waiting.push_back(node.reference);
            }
        }
    }
    Ok(made)
}

/// Which of the artifacts hold rows of the documents, or copies of their words, and what becomes of each.
fn artifacts_with(ctx: &Context, documents: &BTreeSet<Ref>, made: &[Ref]) -> Result<Vec<PlannedArtifact>, Error> {
    let stored = ctx.ledger().artifacts(ctx.tenant());
    let candidates = made.iter().filter_map(|made| match made {
        Ref::Artifact(digest) if stored.contains(digest) => Some(*digest),
        _ => None,
    });
    let candidates: Vec<Blake3> = candidates.collect();
    let digests = digests_of(documents);
    let (mut texts, mut planned, mut others) = (BTreeSet::new(), Vec::new(), Vec::new());
    for digest in &candidates {
        let Some(bytes) = text_of(stored.get(digest)?) else { continue };
        match without_documents(&bytes, &digests, &mut texts) {
            None => others.push(*digest),
            Some(left) => planned.push(planned_of(*digest, &bytes, left.rows_left, left.rows_removed)),
        }
    }
    for digest in &candidates {
        if let Some(bytes) = text_of(stored.get(digest)?) {
            drop_shared(&bytes, &digests, &mut texts);
        }
    }
    let finder = Finder::new(&texts);
    for digest in others {
        let Some(bytes) = text_of(stored.get(&digest)?) else { continue };
        if let Some(left) = without_texts(&bytes, &finder) {
            planned.push(planned_of(digest, &bytes, left.rows_left, left.rows_removed));
        }
    }
    Ok(planned)
}

pub(super) fn digests_of(documents: &BTreeSet<Ref>) -> HashSet<Blake3> {
    documents.iter().filter_map(|document| if let Ref::Doc(digest) = document { Some(*digest) } else { None }).collect()
}

/// Weights and other binary artifacts hold no rows.
fn text_of(bytes: Vec<u8>) -> Option<Vec<u8>> {
    String::from_utf8(bytes).ok().map(String::into_bytes)
}

/// Rows that stay go on in a new artifact; what is no list of rows cannot be cut, and goes.
fn planned_of(digest: Blake3, bytes: &[u8], rows_left: u64, rows_removed: u64) -> PlannedArtifact {
    let fate = if rows_left > 0 && is_rows(bytes) { ArtifactFate::Rewritten } else { ArtifactFate::Destroyed };
    PlannedArtifact { artifact: Ref::Artifact(digest), fate, rows_removed }
}

/// Exports of something that was made of the documents, or that took one of the artifacts with them.
fn exports_with(ctx: &Context, plan: &ErasurePlan, made: &[Ref]) -> Result<Vec<String>, Error> {
    let gone: HashSet<&Ref> = plan.artifacts.iter().map(|planned| &planned.artifact).chain(made).collect();
    let mut exports = Vec::new();
    history::all(ctx, None, &mut |recorded| {
        if let Event::ExportProduced(export) = &recorded.event
            && (gone.contains(&export.subject) || export.artifacts.iter().any(|artifact| gone.contains(artifact)))
        {
            exports.push(export.export.clone());
        }
    })?;
    Ok(exports)
}
