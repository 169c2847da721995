//! Backups: a ledger's marker, logs and artifacts up to a signed size, copied beside whoever writes it, and read back.
//!
//! A backup is the files of its list. Each run copies what is new, publishes the new list last, and only then removes
//! what no list names any more: whenever a run is cut short, the backup before it stands. Keys, the vault and the
//! erasure register are never part of it.

pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod manifest;
mod take;
pub(crate) mod vault;

use crate::checkpoint::SignedCheckpoint;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::storage::{FileSystem, Storage};
use cairn_schemas::{Clock, SystemClock, Timestamp};
use std::path::Path;
use std::sync::Arc;

pub use vault::{VaultBackup, backup_vault, vault_backups};

/// How to back up.
#[derive(Clone)]
pub struct BackupOptions {
    /// Reads everything that earlier runs copied, too, and copies anew what is no longer as it was.
    pub full: bool,
    /// The disk that the backup is on.
    pub storage: Arc<dyn Storage>,
    pub clock: Arc<dyn Clock>,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self { full: false, storage: Arc::new(FileSystem), clock: Arc::new(SystemClock) }
    }
}

/// What a backup holds after a run, and what the run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Origin of the ledger.
    pub origin: String,
    pub taken: Timestamp,
    pub logs: Vec<BackedUpLog>,
    /// Segments and artifacts that it holds, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// What of them this run copied.
    pub copied_files: u64,
    pub copied_bytes: u64,
    /// Files of earlier runs that no longer belong to it.
    pub removed_files: u64,
    /// Files of earlier runs that were found damaged or missing, and were copied anew.
    pub repaired: Vec<String>,
}

/// How far a backup goes in one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUpLog {
    /// As `tenant/kind/shard`.
    pub log: String,
    /// It holds exactly what this covers.
    pub checkpoint: SignedCheckpoint,
    /// Durable events that were not signed yet, and so are not in it. The next run has them.
    pub later_events: u64,
}

impl Ledger {
    /// Backs the ledger up into `dest`, which is empty or holds an earlier backup of it. Appends go on meanwhile.
    pub fn backup(&self, dest: &Path, options: &BackupOptions) -> Result<BackupReport, Error> {
        take::run(self, dest, options)
    }
}

/// Backs up the ledger in `dir`: opens it, or reads it beside the process that holds it.
pub fn backup(dir: &Path, dest: &Path, options: &BackupOptions) -> Result<BackupReport, Error> {
    let ledger = match Ledger::open_existing(dir, Options { note: "backup".into(), ..Options::default() }) {
        // Another process writes it, or nobody may: then what is signed is what can be had.
        Err(Error::AlreadyOpen { .. } | Error::RestoredReadOnly { .. }) => Ledger::open_read_only(dir)?,
        Err(Error::Io { source, .. })
            if matches!(
                source.kind(),
                std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied
            ) =>
        {
            Ledger::open_read_only(dir)?
        }
        other => other?,
    };
    ledger.backup(dest, options)
}
