//! Erases a restored ledger again: what its register says was destroyed since the backup was made.

use super::{Line, Units, read_only};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::redact::stored_of;
use cairn_schemas::{Blake3, TenantId};
use std::path::Path;

/// What a register called for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Ids, in hexadecimal, of keys of data subjects that were destroyed: none of them may be in the vault.
    pub keys: Vec<String>,
    /// Redactions of this log that were done again, or were done already.
    pub redactions: u64,
    /// Artifacts that stood here and were removed.
    pub artifacts: Vec<Blake3>,
}

impl Ledger {
    /// Does again what a tenant's register says was done, and keeps its lines in this ledger's own. Safe to repeat.
    ///
    /// Keys are the vault's: the caller destroys those that are given back. Where `record` is false nothing is
    /// appended to the log, which is then to be opened read-only: the register alone vouches for the redactions.
    pub fn apply_register(&self, tenant: &TenantId, register: &Path, record: bool) -> Result<Applied, Error> {
        let log = self.writable_log(tenant)?;
        let keys = &log.writing.as_ref().expect("open for writing").mac_keys;
        let _alone = self.redacting();
        let mut own = self.register(tenant, keys)?;
        let (mut lines, mut known) = (Vec::new(), Vec::new());
        own.each(&mut |line| {
            known.push(line);
            Ok(())
        })?;
        read_only(&**self.disk(), crate::storage::parent(register), register, keys, &mut |line| {
            lines.push(line);
            Ok(())
        })?;
        let is_new = |line: &Line| !matches!(line, Line::Done { .. }) && !known.contains(line);
        lines.retain(is_new);
        own.add(&lines)?;
        let (mut units, mut applied, mut macs) = (Units::default(), Applied::default(), Vec::new());
        for line in known.into_iter().chain(lines) {
            match &line {
                Line::Keys { keys, .. } => applied.keys.extend_from_slice(keys),
                Line::Artifacts { artifacts, .. } => macs.extend_from_slice(artifacts),
                Line::Redact(_) | Line::Done { .. } | Line::Checkpoint { .. } => {}
            }
            units.take(line);
        }
        let mut all = units.done.clone();
        all.extend(units.begun.iter().cloned());
        all.retain(|unit| unit.origin == log.verifier.origin());
        macs.extend(all.iter().flat_map(|unit| unit.artifacts.iter().copied()));
        applied.redactions = all.len() as u64;
        let stored = self.artifacts(tenant);
        applied.artifacts = stored_of(&stored, &macs, keys)?.into_values().collect();
        self.carry_out(&log, &mut own, &all, &units.begun, record)?;
        applied.artifacts.iter().try_for_each(|digest| stored.destroy(digest))?;
        Ok(applied)
    }
}
