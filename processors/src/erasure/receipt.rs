//! The receipt: a signed text that says what was erased, without saying whose it was.

use super::carry_out::Recorded;
use super::{ErasurePlan, ErasureRequest};
use crate::{Context, Error};
use cairn_ledger::FileSystem;
use cairn_schemas::{Blake3, Clock, SystemClock, Timestamp};
use serde_json::json;
use std::path::PathBuf;

/// First line of a receipt. No origin of a log is like it, so that a receipt never passes for a checkpoint.
const FIRST_LINE: &str = "cairn erasure receipt v1";

pub(super) struct Receipt<'a> {
    pub(super) request: &'a ErasureRequest,
    pub(super) plan: &'a ErasurePlan,
    pub(super) data_subject: Blake3,
    pub(super) recorded: &'a Recorded,
    pub(super) folders: &'a [PathBuf],
}

/// Signs a receipt with the log's key, over the checkpoint that covers the erasure.
pub(super) fn issue(ctx: &Context, receipt: &Receipt<'_>) -> Result<String, Error> {
    let Receipt { request, plan, data_subject, recorded, folders } = receipt;
    let checkpoint = ctx.ledger().checkpoint(ctx.tenant())?.checkpoint;
    let body = json!({
        "log": checkpoint.origin,
        "request": request.request,
        "basis": request.basis,
        "data_subject": data_subject,
        "erased_at_positions": recorded.positions,
        "checkpoint": { "size": checkpoint.size, "root": checkpoint.root },
        "keys_destroyed": plan.keys,
        "events_with_sealed_fields": recorded.events,
        "events_that_named_the_person_and_were_redacted": recorded.mentions,
        "documents": plan.documents,
        "artifacts_destroyed": recorded.artifacts,
        "rewritten": recorded.rewritten.iter().map(|(before, after)| json!({ "before": before, "after": after })).collect::<Vec<_>>(),
        "datasets_withdrawn": plan.datasets,
        "models_trained_on_it": plan.models,
        "deployments_of_those_models": plan.deployments,
        "exports_that_held_it": plan.exports,
        "copies_removed": folders.len(),
        "vault_backups_expire_at": vault_backups_expire_at(ctx)?,
        "remains": "backups of the vault until they expire; exports that left this machine; what the named models have learnt",
    });
    let text = serde_json::to_string_pretty(&body).expect("a receipt serialises");
    Ok(ctx.ledger().sign_statement(ctx.tenant(), &format!("{FIRST_LINE}\n{text}\n"))?)
}

/// When the last backup of the vault that may hold a destroyed key expires; `None` where there is no such backup.
pub(super) fn vault_backups_expire_at(ctx: &Context) -> Result<Option<Timestamp>, Error> {
    let backups = cairn_ledger::vault_backups(&FileSystem, ctx.data_dir(), SystemClock.now())?;
    Ok(backups.into_iter().map(|backup| backup.expires).max())
}
