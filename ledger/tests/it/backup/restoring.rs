//! Restoring.

use super::*;
use cairn_ledger::{Error, RegisterChoice, SignedCheckpoint, restore, restore_vault, vault_backups};
use cairn_schemas::{Event, Recorded};
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
    restore_vault(vault.path(), to.path(), &RegisterChoice::NoRegister, &storage()).unwrap();
    append_each(&Ledger::open(to.path(), small_segments()).unwrap(), 20..25);
    assert_intact(to.path());
    let refused = restore_vault(vault.path(), to.path(), &RegisterChoice::NoRegister, &storage()).unwrap_err();
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

/// Goes on under a new origin: the old events follow the one that names the old log, and repeats are known.
#[test]
fn what_is_behind_goes_on_under_a_new_origin() {
    let (_dir, dest, vault, known) = behind();
    let before = restored(dest.path(), vault.path());
    let old = read_all(&Ledger::open_read_only(before.path()).unwrap());
    let to = in_memory();
    let options = RestoreOptions {
        vault: Some(vault.path().to_owned()),
        known: vec![known.note.clone()],
        new_origin: Some("log.example.com/2".into()),
        ..RestoreOptions::default()
    };
    let report = restore(dest.path(), to.path(), &options).unwrap();
    assert_eq!(report.continued_as.as_deref(), Some("log.example.com/2"));
    assert!(report.behind.is_empty() && !to.path().join("before").exists());
    assert_eq!(report.verified.logs[0].events, 21);
    assert_intact(to.path());

    let ledger = Ledger::open(to.path(), small_segments()).unwrap();
    assert_eq!(ledger.origin(&tenant()), "log.example.com/2/default/main/0");
    let new = read_all(&ledger);
    let Event::LogContinued(first) = &new[0].event else { panic!("{:?}", new[0]) };
    assert_eq!((first.origin.as_str(), first.size), ("log.example.com/default/main/0", 20));
    assert_eq!((first.known_size, first.known_root), (Some(25), Some(known.checkpoint.root)));
    assert_eq!(
        Some(first.root),
        assert_intact(before.path()).logs[0].root,
        "it says from where on the old log is another's"
    );
    assert_eq!(new.len(), old.len() + 1);
    for (new, old) in new[1..].iter().zip(&old) {
        let moved = Recorded { position: new.position, ..old.clone() };
        assert_eq!((new, new.position), (&moved, old.position.next().unwrap()));
    }
    for id in 0..20 {
        let repeat = ledger.append(&tenant(), vec![event(&format!("e{id}"), &format!("content {id}"))]).unwrap();
        assert!(repeat[0].duplicate && repeat[0].position == position(id + 2), "{repeat:?}");
        let other = ledger.append(&tenant(), vec![event(&format!("e{id}"), "other")]);
        assert!(matches!(other, Err(Error::Conflict { .. })));
    }
    append_each(&ledger, 20..40);
    let signed = ledger.checkpoint(&tenant()).unwrap();
    assert_eq!((signed.checkpoint.size, signed.checkpoint.origin.as_str()), (41, "log.example.com/2/default/main/0"));
    wait_until_sealed(to.path());
    drop(ledger);
    assert_intact(to.path());
    assert!(SignedCheckpoint::parse(&known.note, &report_key(to.path())).is_err(), "another key signs it");
    again_under_a_third_origin(to.path());
}

fn report_key(dir: &Path) -> cairn_ledger::LogVerifier {
    let key = std::fs::read_to_string(dir.join("logs/default/main/0/verifier.key")).unwrap();
    cairn_ledger::LogVerifier::decode(key.trim_end()).unwrap()
}

/// What went on once goes on again, and an event on the very stream of the first one keeps its place in it.
fn again_under_a_third_origin(dir: &Path) {
    let (dest, vault, to) = (in_memory(), in_memory(), in_memory());
    let ledger = Ledger::open(dir, small_segments()).unwrap();
    let clash = on_stream("clash", "log:log.example.com/2/default/main/0", Some(0));
    ledger.append(&tenant(), vec![on_stream("a", "doc", Some(0)), clash, on_stream("b", "doc", Some(1))]).unwrap();
    ledger.append(&tenant(), vec![on_stream("c", "late", Some(0))]).unwrap();
    let before = read_all(&ledger);
    take(&ledger, dest.path());
    take_vault(&ledger, vault.path());
    let options = RestoreOptions {
        vault: Some(vault.path().to_owned()),
        new_origin: Some("log.example.com/3".into()),
        ..RestoreOptions::default()
    };
    restore(dest.path(), to.path(), &options).unwrap();
    let ledger = Ledger::open(to.path(), small_segments()).unwrap();
    let after = read_all(&ledger);
    assert_eq!(after.len(), before.len() + 1);
    let stream = |id: &str| after.iter().find(|event| event.id == id).unwrap().stream_version;
    assert_eq!((stream("a"), stream("b"), stream("c"), stream("clash")), (1, 2, 1, 2));
    ledger.append(&tenant(), vec![on_stream("d", "late", Some(1)), on_stream("e", "doc", Some(2))]).unwrap();
    drop(ledger);
    assert_intact(to.path());
}

#[test]
fn a_new_origin_takes_the_keys_and_another_name() {
    let (_dir, dest, vault, _) = behind();
    let with = |vault: Option<&Path>, origin: &str| {
        let options = RestoreOptions {
            vault: vault.map(Path::to_owned),
            new_origin: Some(origin.to_owned()),
            ..RestoreOptions::default()
        };
        restore(dest.path(), in_memory().path(), &options).unwrap_err().to_string()
    };
    assert!(with(None, "log.example.com/2").contains("takes the keys"));
    assert!(with(Some(vault.path()), "log.example.com").contains("another"));
    assert!(with(Some(vault.path()), "https://log.example.com/2").contains("without scheme"));
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
