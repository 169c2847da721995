//! What an erasure will do, found without changing anything: the person's events, their documents, and by lineage
//! everything that was made of them.

use super::ErasureRequest;
use super::rewrite::{Cut, collect_of, drop_shared, is_rows};
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
    /// Which rows of the artifacts go.
    #[serde(skip)]
    pub(super) cut: Cut,
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
    let holds = Holds { in_force: ledger.holds(tenant)?, data_subject: plan.data_subject };
    for position in positions(ctx, &plan.keys)? {
        let recorded = event_at(ctx, position)?;
        holds.check(&recorded)?;
        plan.documents.extend(recorded.produced.into_iter().filter(|made| matches!(made, Ref::Doc(_))));
        plan.positions.push(position);
    }
    plan.documents.extend(request.documents.iter().cloned());
    let runs = ingestions_of(ctx, &plan.documents, &holds)?;
    let made = made_of(ctx, &plan.documents, &runs)?;
    let of_kind = |wanted: fn(&Ref) -> bool| made.iter().filter(|made| wanted(made)).cloned().collect();
    plan.datasets = of_kind(|made| matches!(made, Ref::Dataset { .. }));
    plan.models = of_kind(|made| matches!(made, Ref::Model { .. }));
    plan.deployments = of_kind(|made| matches!(made, Ref::Deployment(_)));
    (plan.cut, plan.artifacts) = artifacts_with(ctx, &plan.documents, &made)?;
    plan.exports = exports_with(ctx, &plan, &made)?;
    Ok(plan)
}

fn event_at(ctx: &Context, position: Position) -> Result<Recorded, Error> {
    let recorded = ctx.ledger().read(ctx.tenant(), position, 1)?.pop();
    recorded.ok_or_else(|| Error::Stored { what: format!("event {position}"), why: "it was there a moment ago".into() })
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

/// The holds that may cover something of the person.
struct Holds {
    in_force: Vec<Hold>,
    data_subject: Option<Blake3>,
}

impl Holds {
    /// Refuses an event of the person that is held.
    fn check(&self, recorded: &Recorded) -> Result<(), Error> {
        let covers = |hold: &&Hold| hold.covers(&recorded.project, &recorded.stream, self.data_subject.as_ref());
        match self.in_force.iter().find(covers) {
            None => Ok(()),
            Some(hold) => Err(Error::refused(
                format!("legal hold `{}` on `{}`", hold.hold, hold.scope),
                format!("covers event {} of this person; lift it first with `cairn hold lift`", recorded.position),
            )),
        }
    }
}

/// The runs that ingested the documents, whoever each run says wrote them. Refuses what is no document, and what is held.
fn ingestions_of(ctx: &Context, documents: &BTreeSet<Ref>, holds: &Holds) -> Result<BTreeSet<RunId>, Error> {
    let mut runs = BTreeSet::new();
    for document in documents {
        let graph = ctx.projections().lineage().walk(document, Direction::Up, 1, EVERYTHING)?;
        if !matches!(document, Ref::Doc(_)) || graph.nodes.is_empty() {
            return Err(Error::UnknownRef {
                kind: "document",
                reference: document.to_string(),
                hint: "name one as doc:<blake3>; `cairn lineage` and the rows of datasets show them".into(),
            });
        }
        for edge in &graph.edges {
            holds.check(&event_at(ctx, edge.position)?)?;
        }
        runs.extend(graph.nodes.into_iter().filter_map(|node| match node.reference {
            Ref::Run(run) => Some(run),
            _ => None,
        }));
    }
    Ok(runs)
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
fn artifacts_with(
    ctx: &Context,
    documents: &BTreeSet<Ref>,
    made: &[Ref],
) -> Result<(Cut, Vec<PlannedArtifact>), Error> {
    let stored = ctx.ledger().artifacts(ctx.tenant());
    let digests = documents.iter().filter_map(|document| match document {
        Ref::Doc(digest) => Some(*digest),
        _ => None,
    });
    let digests: HashSet<Blake3> = digests.collect();
    let (mut texts, mut candidates) = (BTreeSet::new(), Vec::new());
    for made in made {
        let Ref::Artifact(digest) = made else { continue };
        if !stored.contains(digest) {
            continue;
        }
        let bytes = stored.get(digest)?;
        // Weights and other binary artifacts hold no rows.
        if std::str::from_utf8(&bytes).is_ok() {
            collect_of(&bytes, &digests, &mut texts);
            candidates.push(*digest);
        }
    }
    for digest in &candidates {
        drop_shared(&stored.get(digest)?, &digests, &mut texts);
    }
    let (cut, mut planned) = (Cut::new(digests, &texts), Vec::new());
    for digest in candidates {
        let bytes = stored.get(&digest)?;
        if let Some(left) = cut.after(&bytes) {
            planned.push(planned_of(digest, &bytes, left.rows_left, left.rows_removed));
        }
    }
    Ok((cut, planned))
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
