//! Backups and restores: consistent under load, incremental, verified, cut short anywhere, behind what is known.

mod dying;
mod erasing;
mod restoring;
mod taking;

use crate::common::*;
use cairn_ledger::{
    BackupOptions, BackupReport, Ledger, Options, RestoreOptions, VaultBackup, VerifyOptions, backup_vault, verify,
};
use cairn_schemas::{Clock, SystemClock, Timestamp};
use std::path::Path;
use tempfile::TempDir;

fn small_segments() -> Options {
    Options { segment_bytes_max: 2 << 10, ..options() }
}

/// A ledger with sealed segments, an active one and artifacts.
fn ledger_of(dir: &Path, events: u64) -> Ledger {
    let ledger = Ledger::open(dir, small_segments()).unwrap();
    append_each(&ledger, 0..events);
    ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
    ledger.artifacts(&tenant()).put_bytes(&[7; 5000]).unwrap();
    wait_until_sealed(dir);
    ledger
}

/// Waits for the sealer, which removes frames beside the writer.
fn wait_until_sealed(dir: &Path) {
    let is_frames = |path: &Path| path.extension() == Some("frames".as_ref());
    while std::fs::read_dir(segments_dir(dir)).unwrap().filter(|item| is_frames(&item.as_ref().unwrap().path())).count()
        > 1
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn take(ledger: &Ledger, dest: &Path) -> BackupReport {
    ledger.backup(dest, &BackupOptions::default()).unwrap()
}

fn take_vault(ledger: &Ledger, dest: &Path) {
    let taken = SystemClock.now();
    let expires = Timestamp::from_micros(taken.as_micros() + 86_400_000_000);
    backup_vault(&cairn_ledger::FileSystem, ledger.dir(), dest, VaultBackup { taken, expires }).unwrap();
}

/// Restores with everything that belongs to it.
fn restored(backup: &Path, vault: &Path) -> TempDir {
    let to = in_memory();
    let options = RestoreOptions { vault: Some(vault.to_owned()), ..RestoreOptions::default() };
    let report = cairn_ledger::restore(backup, to.path(), &options).unwrap();
    assert!(report.has_keys && report.behind.is_empty());
    to
}

fn assert_intact(dir: &Path) -> cairn_ledger::VerifyReport {
    let report = verify(dir, &VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
    report
}
