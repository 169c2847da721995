//! What a register says to a restore: what was erased since, and how far the logs are known to have gone.

use super::{RegisterChoice, RestoreOptions, refused};
use crate::error::Error;
use crate::keys;
use crate::layout::{Layout, LogId};
use crate::ledger::Ledger;
use crate::options::Options;
use crate::payload::MacKeys;
use crate::register::{Line, read_only};
use crate::restored::Behind;
use crate::storage::{Storage, parent};
use cairn_schemas::{KeyId, Sha256, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a restore erased again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasedAgain {
    /// Keys of people that the registers name: none of them is in the vault any more.
    pub keys: u64,
    /// Redactions that were done again, or stood there.
    pub redactions: u64,
    /// Artifacts that stood there and were removed.
    pub artifacts: u64,
}

/// Does again what the registers say. A log that is behind gets no event for it: there the register alone vouches.
pub(super) fn erase_again(layout: &Layout, options: &RestoreOptions, behind: &[Behind]) -> Result<ErasedAgain, Error> {
    let mut erased = ErasedAgain::default();
    let RegisterChoice::At(path) = &options.register else { return Ok(erased) };
    let open = Options {
        note: "restore".into(),
        storage: options.storage.clone(),
        clock: options.clock.clone(),
        random: options.random.clone(),
        ..Options::default()
    };
    let ledger = Ledger::open_restoring(&layout.dir, open)?;
    for (tenant, register) in registers(&*options.storage, path, &ledger.tenants())? {
        let origin = ledger.origin(&tenant);
        let goes_on = options.new_origin.is_none() && !behind.iter().any(|behind| behind.origin == origin);
        let applied = ledger.apply_register(&tenant, &register, goes_on)?;
        let keys = applied.keys.iter().map(|key| key.parse()).collect::<Result<Vec<KeyId>, _>>()?;
        // A vault from before the erasure still held them.
        ledger.destroy_keys(&tenant, &keys)?;
        erased.keys += applied.keys.len() as u64;
        erased.redactions += applied.redactions;
        erased.artifacts += applied.artifacts.len() as u64;
    }
    Ok(erased)
}

/// Sizes and roots that the registers know, by origin.
pub(super) fn known(
    layout: &Layout,
    options: &RestoreOptions,
    logs: &[LogId],
) -> Result<BTreeMap<String, Vec<(u64, Sha256)>>, Error> {
    let mut known = BTreeMap::<String, Vec<(u64, Sha256)>>::new();
    let RegisterChoice::At(path) = &options.register else { return Ok(known) };
    let disk = &*options.storage;
    let tenants: BTreeSet<_> = logs.iter().map(|log| log.tenant.clone()).collect();
    for (tenant, register) in registers(disk, path, &Vec::from_iter(tenants))? {
        let mac_key = layout.mac_key(&tenant);
        let key = keys::read_mac_key(disk, layout, &tenant)?
            .ok_or_else(|| keys::damaged(layout, &mac_key, "a key".into(), "no file"))?;
        read_only(disk, parent(&register), &register, &MacKeys::derive(&key.0), &mut |line| {
            if let Line::Checkpoint { origin, size, root } = line {
                known.entry(origin).or_default().push((size, root));
            }
            Ok(())
        })?;
    }
    Ok(known)
}

/// Registers of the ledger's tenants: a folder holds a file for each, a single file is of the only tenant or named so.
fn registers(disk: &dyn Storage, path: &Path, tenants: &[TenantId]) -> Result<Vec<(TenantId, PathBuf)>, Error> {
    let named = |tenant: &TenantId| format!("{tenant}.register");
    if let Ok(names) = disk.list(path) {
        let of = |tenant: &TenantId| {
            let name = named(tenant);
            names.contains(&name).then(|| (tenant.clone(), path.join(name)))
        };
        return Ok(tenants.iter().filter_map(of).collect());
    }
    let found = tenants.iter().find(|tenant| path.file_name().is_some_and(|name| name == named(tenant).as_str()));
    match (found, tenants) {
        (Some(tenant), _) | (None, [tenant]) => Ok(vec![(tenant.clone(), path.to_owned())]),
        _ => Err(refused(path, "its name tells no tenant of this ledger; name the folder with all registers")),
    }
}
