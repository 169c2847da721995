//! What leaves the ledger: a bundle that proves a thing without us, a model as a folder, an artifact as a file.

use crate::model::Model;
use crate::{Context, Error, deployments, managed, model_folder};
use cairn_ledger::Bundle;
use cairn_projections::lineage::{Direction, Limit};
use cairn_schemas::events::governance::ExportProduced;
use cairn_schemas::{Blake3, NewEvent, Ref, RunId, TYPE_NAMES};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SOURCE: &str = "cairn://processors/export";
/// How far back a bundle goes.
const DEPTH_MAX: u32 = 64;
/// Most things a bundle accounts for.
const NODES_MAX: usize = 2_000_000;
/// Refs of one event: the rest are in the bundle's own list.
const ARTIFACTS_NAMED_MAX: usize = 1_000;
/// Type of the events whose products are left out: resuming needs them, proof does not.
const CHECKPOINT_SAVED: &str = "cairn.training.checkpoint_saved.v1";

/// Writes a bundle: the whole log up to a signed checkpoint, and every artifact that `of` was made of or that the runs
/// before it made, training checkpoints apart. `dir` must be absent or empty. Records that it was produced.
pub fn bundle(ctx: &Context, of: &Ref, dir: &Path) -> Result<Bundle, Error> {
    let artifacts = artifacts_behind(ctx, of)?;
    let bundle = cairn_ledger::export_bundle(ctx.ledger(), ctx.tenant(), &artifacts, dir)?;
    let event = ExportProduced {
        export: RunId::generate().to_string(),
        subject: of.clone(),
        from: 1,
        to: bundle.checkpoint.checkpoint.size,
        digest: Blake3::of(bundle.checkpoint.note.as_bytes()),
        artifacts: artifacts.iter().take(ARTIFACTS_NAMED_MAX).copied().map(Ref::Artifact).collect(),
    };
    let id = event.export.clone();
    managed::note_bundle(ctx, &id, dir)?;
    ctx.ledger().append(ctx.tenant(), vec![NewEvent::new(SOURCE, &id, event)])?;
    Ok(bundle)
}

/// The artifacts upstream of a thing, and those that the runs upstream of it made.
fn artifacts_behind(ctx: &Context, of: &Ref) -> Result<Vec<Blake3>, Error> {
    debug_assert!(TYPE_NAMES.contains(&CHECKPOINT_SAVED));
    let lineage = ctx.projections().lineage();
    let everything = Limit { nodes: NODES_MAX, fan_out: NODES_MAX };
    let graph = lineage.walk(of, Direction::Up, DEPTH_MAX, everything)?;
    if graph.truncated {
        return Err(Error::refused(
            format!("`{of}`"),
            format!("was made of more than {NODES_MAX} things, or by more than {DEPTH_MAX} steps; export a part of it"),
        ));
    }
    let mut found = BTreeSet::new();
    let mut keep = |reference: &Ref| {
        if let Ref::Artifact(digest) = reference
            && ctx.ledger().artifacts(ctx.tenant()).contains(digest)
        {
            found.insert(*digest);
        }
    };
    for node in &graph.nodes {
        keep(&node.reference);
        if matches!(node.reference, Ref::Run(_)) {
            let made = lineage.walk(&node.reference, Direction::Down, 1, everything)?;
            made.edges.iter().filter(|edge| edge.event_type != CHECKPOINT_SAVED).for_each(|edge| keep(&edge.to));
        }
    }
    Ok(found.into_iter().collect())
}

/// Writes a model, or what a deployment answers with, as a folder that other tools read.
/// `dir` must be absent or empty.
pub fn model(ctx: &Context, of: &Ref, dir: &Path) -> Result<Model, Error> {
    if dir.exists() && std::fs::read_dir(dir).map_err(Error::io("list", dir))?.next().is_some() {
        return Err(Error::refused(dir.display().to_string(), "holds files; name a folder that is absent or empty"));
    }
    let model = match of {
        Ref::Deployment(name) => Model::find(ctx, &deployments::active(ctx, name)?.model)?,
        other => Model::find(ctx, other)?,
    };
    let read = |reference: &Ref| match reference {
        Ref::Artifact(digest) => Ok(ctx.ledger().artifacts(ctx.tenant()).get(digest)?),
        other => {
            Err(Error::Stored { what: format!("`{}`", model.reference), why: format!("`{other}` is no artifact") })
        }
    };
    model_folder::write(dir, &model.architecture, &read(&model.weights)?, &read(&model.tokenizer)?)?;
    Ok(model)
}

/// Writes an artifact's bytes, its digest checked, into a new file at `path`.
pub fn artifact(ctx: &Context, digest: &Blake3, path: &Path) -> Result<PathBuf, Error> {
    let bytes = ctx.ledger().artifacts(ctx.tenant()).get(digest)?;
    if path.exists() {
        return Err(Error::refused(path.display().to_string(), "exists; name a file that does not"));
    }
    std::fs::write(path, bytes).map_err(Error::io("write", path))?;
    Ok(path.to_owned())
}
