//! Restoring.

use super::*;
use cairn_ledger::{Error, SignedCheckpoint, restore, restore_vault, vault_backups};
use std::sync::Arc;

fn storage() -> Arc<dyn cairn_ledger::Storage> {
    Arc::new(cairn_ledger::FileSystem)
}

#[test]
fn a_restored_ledger_is_the_one_that_was_backed_up_and_goes_on() {
    let (dir, dest, vault) = (in_memory(), in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 40);
    ledger.append(&"other".parse().unwrap(), vec![event("o1", "another tenant's")]).unwrap();
    take(&ledger, dest.path());
    take_vault(&ledger, vault.path());
    let whole = read_all(&ledger);
    let checkpoint = ledger.checkpoint(&tenant()).unwrap();
    drop(ledger);

    let to = restored(dest.path(), vault.path());
    let (before, after) = (assert_intact(dir.path()), assert_intact(to.path()));
    let of = |report: &cairn_ledger::VerifyReport| {
        let logs = report.logs.iter().map(|log| (log.log.clone(), log.events, log.root, log.chain_head));
        (logs.collect::<Vec<_>>(), report.artifacts, report.artifact_bytes)
    };
    assert_eq!(of(&before), of(&after));
    let ledger = Ledger::open(to.path(), small_segments()).unwrap();
    assert_eq!(read_all(&ledger), whole);
    assert_eq!(ledger.checkpoint(&tenant()).unwrap(), checkpoint);
    for id in 0..40 {
        let repeat = ledger.append(&tenant(), vec![event(&format!("e{id}"), &format!("content {id}"))]).unwrap();
        assert!(repeat[0].duplicate && repeat[0].position == position(id + 1), "a repeat is recognised");
    }
    append_each(&ledger, 40..60);
    drop(ledger);
    assert_eq!(assert_intact(to.path()).logs.len(), 2);
    let refused = restore(dest.path(), to.path(), &RestoreOptions::default()).unwrap_err();
    assert!(matches!(refused, Error::Backup { .. }), "never over something: {refused}");
}

#[test]
fn without_keys_a_restored_ledger_is_readable_until_it_gets_them() {
    let (dir, dest, vault, to) = (in_memory(), in_memory(), in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 20);
    take(&ledger, dest.path());
    take_vault(&ledger, vault.path());
    let report = restore(dest.path(), to.path(), &RestoreOptions::default()).unwrap();
    assert!(!report.has_keys && report.verified.is_intact());
    assert!(!to.path().join("keys").exists());
    assert_eq!(read_all(&Ledger::open_read_only(to.path()).unwrap()), read_all(&ledger));
    let refused = Ledger::open(to.path(), options()).map(drop).unwrap_err();
    assert!(matches!(refused, Error::RestoredReadOnly { .. }) && refused.to_string().contains("no keys"), "{refused}");
    assert_intact(to.path());
    restore_vault(vault.path(), to.path(), &storage()).unwrap();
    append_each(&Ledger::open(to.path(), small_segments()).unwrap(), 20..25);
    assert_intact(to.path());
    let refused = restore_vault(vault.path(), to.path(), &storage()).unwrap_err();
    assert!(refused.to_string().contains("not replaced"), "{refused}");
}

/// Every byte of both backups is flipped in turn: restoring finds it, or it is no part of what is restored.
#[test]
fn every_flipped_byte_of_a_backup_is_found() {
    let (dir, dest, vault) = (in_memory(), in_memory(), in_memory());
    let ledger = Ledger::open(dir.path(), Options { segment_bytes_max: 900, ..options() }).unwrap();
    append_each(&ledger, 0..4);
    ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
    take(&ledger, dest.path());
    take_vault(&ledger, vault.path());
    drop(restored(dest.path(), vault.path()));
    let (mut tried, options) = (0, RestoreOptions { vault: Some(vault.path().to_owned()), ..Default::default() });
    for folder in [dest.path(), vault.path()] {
        for (path, bytes) in files(folder) {
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                std::fs::write(&path, &flipped).unwrap();
                let to = in_memory();
                let found = restore(dest.path(), to.path(), &options).unwrap_err();
                assert!(matches!(found, Error::Damaged(_)), "{} byte {at}: {found}", path.display());
                if !files(to.path()).is_empty() {
                    let refused = Ledger::open_read_only(to.path()).map(drop).unwrap_err();
                    let shut = matches!(refused, Error::NotALedger { .. } | Error::RestoredReadOnly { .. });
                    assert!(shut, "nothing answers: {refused}");
                }
                tried += 1;
            }
            std::fs::write(&path, &bytes).unwrap();
        }
    }
    assert!(tried > 2000, "{tried}");
}

#[test]
fn a_missing_file_of_a_backup_is_named() {
    let (dir, dest) = (in_memory(), in_memory());
    take(&ledger_of(dir.path(), 30), dest.path());
    for (path, bytes) in files(dest.path()) {
        if path.ends_with("lock") {
            continue;
        }
        std::fs::remove_file(&path).unwrap();
        let found = restore(dest.path(), in_memory().path(), &RestoreOptions::default()).unwrap_err();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(found.to_string().contains(name), "{}: {found}", path.display());
        std::fs::write(&path, bytes).unwrap();
    }
}

/// A ledger, its checkpoint at 25 events, a backup of its first 20, and one of its vault.
fn behind() -> (TempDir, TempDir, TempDir, SignedCheckpoint) {
    let (dir, dest, vault) = (in_memory(), in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 20);
    take(&ledger, dest.path());
    take_vault(&ledger, vault.path());
    append_each(&ledger, 20..25);
    let known = ledger.checkpoint(&tenant()).unwrap();
    drop(ledger);
    (dir, dest, vault, known)
}

#[test]
fn a_restore_behind_what_is_known_is_read_only() {
    let (dir, dest, vault, known) = behind();
    let to = in_memory();
    let options =
        RestoreOptions { vault: Some(vault.path().to_owned()), known: vec![known.note], ..RestoreOptions::default() };
    let report = restore(dest.path(), to.path(), &options).unwrap();
    assert_eq!((report.behind[0].size, report.behind[0].known_size), (20, 25));
    let refused = Ledger::open(to.path(), small_segments()).map(drop).unwrap_err();
    assert!(matches!(refused, Error::RestoredReadOnly { .. }), "{refused}");
    assert!(refused.to_string().contains("20 events") && refused.to_string().contains("25"), "{refused}");
    assert_eq!(read_all(&Ledger::open_read_only(to.path()).unwrap()).len(), 20);
    assert_intact(to.path());
    let (next, _dir) = (in_memory(), dir);
    let refused = cairn_ledger::backup(to.path(), next.path(), &BackupOptions::default());
    assert_eq!(refused.unwrap().logs[0].checkpoint.checkpoint.size, 20, "it can be backed up all the same");
}

#[test]
fn what_is_known_must_be_of_this_history() {
    let (dir, dest, vault, known) = behind();
    let with = |known: String| {
        let options =
            RestoreOptions { vault: Some(vault.path().to_owned()), known: vec![known], ..RestoreOptions::default() };
        restore(dest.path(), in_memory().path(), &options)
    };
    let backup_of_all = in_memory();
    take(&Ledger::open(dir.path(), small_segments()).unwrap(), backup_of_all.path());
    let options = RestoreOptions { known: vec![known.note.clone()], ..RestoreOptions::default() };
    let report = restore(backup_of_all.path(), in_memory().path(), &options).unwrap();
    assert!(report.behind.is_empty(), "not behind what it holds");

    // The same key signs another history: the ledger was set back and went on.
    let forked = restored(dest.path(), vault.path());
    let ledger = Ledger::open(forked.path(), small_segments()).unwrap();
    append_each(&ledger, 100..105);
    let fork = ledger.checkpoint(&tenant()).unwrap();
    let options = RestoreOptions { known: vec![fork.note], ..RestoreOptions::default() };
    let found = restore(backup_of_all.path(), in_memory().path(), &options).unwrap_err();
    assert!(matches!(&found, Error::Forked(fork) if fork.size == 25), "{found}");

    let forged = known.note.replacen("25", "26", 1);
    assert!(matches!(with(forged), Err(Error::Backup { .. })), "a note without the log's signature is none");
    assert!(matches!(with(known.note.replace("default", "other")), Err(Error::Backup { .. })));
}

#[test]
fn backups_of_the_vault_are_their_owner_s_and_remembered_until_they_expire() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, vault) = (in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 3);
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let take = |taken: &str, expires: &str| {
        let backup = VaultBackup { taken: time(taken), expires: time(expires) };
        backup_vault(&cairn_ledger::FileSystem, ledger.dir(), vault.path(), backup)
    };
    take("2026-01-01", "2026-02-01").unwrap();
    take("2026-01-02", "2026-03-01").unwrap();
    take("2026-01-03", "2026-01-02").unwrap_err();
    let known = |now: &str| vault_backups(&cairn_ledger::FileSystem, dir.path(), time(now)).unwrap();
    assert_eq!(known("2026-01-03").len(), 2);
    assert_eq!(known("2026-02-02"), [VaultBackup { taken: time("2026-01-02"), expires: time("2026-03-01") }]);
    let held = files(vault.path());
    assert_eq!(held.iter().filter(|(path, _)| path.ends_with("mac.key")).count(), 1, "the later one replaced it");
    for (path, _) in held.iter().filter(|(path, _)| !path.ends_with("lock")) {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}
