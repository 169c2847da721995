//! Taking backups.

use super::dying::DyingDisk;
use super::*;
use cairn_ledger::Error;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Lengths of the files in a backup that are not its list or lock.
fn stored(dest: &Path) -> u64 {
    let listed = |path: &Path| path.starts_with(dest.join("logs")) || path.starts_with(dest.join("artifacts"));
    files(dest).iter().filter(|(path, _)| listed(path)).map(|(_, bytes)| bytes.len() as u64).sum()
}

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Error>, words: &str) {
    let refused = outcome.unwrap_err();
    assert!(matches!(refused, Error::Backup { .. }) && refused.to_string().contains(words), "{refused}");
}

#[test]
fn only_what_is_new_is_copied() {
    let (dir, dest, vault) = (in_memory(), in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 60);
    let first = take(&ledger, dest.path());
    assert_eq!((first.copied_files, first.copied_bytes), (first.files, first.bytes));
    assert_eq!(first.logs[0].checkpoint.checkpoint.size, 60);
    assert_eq!(stored(dest.path()), first.bytes);
    assert!(first.files > 10, "several sealed segments: {first:?}");

    let second = take(&ledger, dest.path());
    assert_eq!((second.copied_files, second.copied_bytes, second.removed_files), (0, 0, 0));
    assert_eq!((second.files, second.bytes), (first.files, first.bytes));

    let before: BTreeSet<_> = files(dest.path()).into_iter().collect();
    append_each(&ledger, 60..61);
    wait_until_sealed(dir.path());
    let third = take(&ledger, dest.path());
    let added = third.bytes - first.bytes;
    assert_eq!((third.copied_files, third.copied_bytes, third.removed_files), (1, added, 0));
    assert!((200..600).contains(&added), "one frame, at the end of a file that was there: {added}");
    let changed = files(dest.path()).into_iter().filter(|file| !before.contains(file)).count();
    assert_eq!(changed, 2, "the frames and the list");

    append_each(&ledger, 61..75);
    ledger.artifacts(&tenant()).put_bytes(b"more weights").unwrap();
    wait_until_sealed(dir.path());
    let sealed = take(&ledger, dest.path());
    assert!(sealed.removed_files > 0, "frames that were sealed leave the backup: {sealed:?}");
    assert_eq!(stored(dest.path()), sealed.bytes, "and nothing else is there");
    take_vault(&ledger, vault.path());
    assert_eq!(
        read_all(&ledger),
        read_all(&Ledger::open_read_only(restored(dest.path(), vault.path()).path()).unwrap())
    );
}

/// Ends the writer, also where the test fails.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_load_is_always_a_whole_signed_prefix() {
    let (dir, dest, vault) = (in_memory(), in_memory(), in_memory());
    let ledger = Ledger::open(
        dir.path(),
        Options { segment_bytes_max: 16 << 10, checkpoint_delay: Duration::from_millis(5), ..options() },
    )
    .unwrap();
    append_each(&ledger, 0..1);
    let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let writer = std::thread::spawn({
        let (ledger, stop) = (ledger.clone(), stop.0.clone());
        move || {
            let mut next = 1;
            while !stop.load(Ordering::Relaxed) && next < 20_000 {
                append_each(&ledger, next..next + 1);
                if next % 10 == 0 {
                    ledger.artifacts(&tenant()).put_bytes(&next.to_be_bytes()).unwrap();
                }
                next += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            next
        }
    });
    take_vault(&ledger, vault.path());
    let mut sizes = Vec::new();
    for round in 0..24 {
        let before = ledger.head(&tenant()).unwrap().get();
        // Each third reads beside the writer, as another process does.
        let report = match round % 3 {
            0 => cairn_ledger::backup(dir.path(), dest.path(), &BackupOptions::default()).unwrap(),
            _ => take(&ledger, dest.path()),
        };
        let size = report.logs[0].checkpoint.checkpoint.size;
        if round % 3 > 0 {
            assert!(size >= before, "what was durable at the call is in it");
        }
        sizes.push(size);
        if round % 6 < 2 {
            let to = restored(dest.path(), vault.path());
            let found = read_all(&Ledger::open_read_only(to.path()).unwrap());
            assert_eq!(found.len() as u64, size, "exactly the signed size");
            assert!(found.iter().enumerate().all(|(n, event)| event.id == format!("e{n}")));
        }
    }
    drop(stop);
    let written = writer.join().unwrap();
    assert!(sizes.is_sorted() && sizes[23] > sizes[0] && written > sizes[0], "{written} events: {sizes:?}");
}

/// From whichever change on the backup's disk is dead: the backup before stands, and the next run ends.
#[test]
fn whichever_change_a_run_dies_at_the_backup_before_stands() {
    let (dir, vault) = (in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 12);
    take_vault(&ledger, vault.path());
    let first = in_memory();
    take(&ledger, first.path());
    append_each(&ledger, 12..30);
    ledger.artifacts(&tenant()).put_bytes(b"more weights").unwrap();
    wait_until_sealed(dir.path());
    let run = |dest: &Path, disk: &DyingDisk| {
        ledger.backup(dest, &BackupOptions { storage: Arc::new(disk.clone()), ..BackupOptions::default() })
    };
    let counting = DyingDisk::new(None);
    let whole = in_memory();
    copy(first.path(), whole.path());
    run(whole.path(), &counting).unwrap();
    assert!(counting.changes() > 30, "{}", counting.changes());
    for at in 0..counting.changes() {
        for done in [false, true] {
            let dest = in_memory();
            copy(first.path(), dest.path());
            run(dest.path(), &DyingDisk::new(Some((at, done)))).unwrap_err();
            let to = restored(dest.path(), vault.path());
            let found = Ledger::open_read_only(to.path()).unwrap().head(&tenant()).unwrap().get();
            assert!(found == 12 || found == 30, "died at {at}, {done}: {found} events");
            take(&ledger, dest.path());
            assert!(listed(dest.path()) == listed(whole.path()), "died at {at}, {done}");
        }
    }
}

/// Names and content of what a backup holds, but for its list, which has the time of the run.
fn listed(dest: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let found = files(dest).into_iter().map(|(path, bytes)| (path.strip_prefix(dest).unwrap().to_owned(), bytes));
    found.filter(|(path, _)| path != Path::new("backup")).collect()
}

#[test]
fn a_first_run_that_dies_leaves_no_backup_and_a_place_for_the_next() {
    let dir = in_memory();
    let ledger = ledger_of(dir.path(), 5);
    let counting = DyingDisk::new(None);
    let run = |dest: &Path, disk: &DyingDisk| {
        ledger.backup(dest, &BackupOptions { storage: Arc::new(disk.clone()), ..BackupOptions::default() })
    };
    run(in_memory().path(), &counting).unwrap();
    for at in 0..counting.changes() {
        let (dest, to) = (in_memory(), in_memory());
        run(dest.path(), &DyingDisk::new(Some((at, true)))).unwrap_err();
        let outcome = cairn_ledger::restore(dest.path(), to.path(), &RestoreOptions::default());
        if let Err(refused) = outcome {
            assert!(matches!(refused, Error::Backup { .. }), "died at {at}: {refused}");
            assert_eq!(files(to.path()), []);
        }
        assert_eq!(take(&ledger, dest.path()).logs[0].checkpoint.checkpoint.size, 5, "died at {at}");
    }
}

#[test]
fn what_earlier_runs_copied_is_read_again_where_that_is_asked_for() {
    let (dir, dest) = (in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 30);
    take(&ledger, dest.path());
    let whole = listed(dest.path());
    for (path, bytes) in &whole {
        if path == Path::new("lock") {
            continue;
        }
        let at = dest.path().join(path);
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        std::fs::write(&at, &flipped).unwrap();
        let report = ledger.backup(dest.path(), &BackupOptions { full: true, ..BackupOptions::default() }).unwrap();
        assert_eq!(report.repaired, [path.display().to_string()]);
        assert_eq!(&std::fs::read(&at).unwrap(), bytes);
        // Lost files are noticed at any run.
        std::fs::remove_file(&at).unwrap();
        assert_eq!(take(&ledger, dest.path()).repaired, [path.display().to_string()]);
    }
    assert!(listed(dest.path()) == whole);
}

#[test]
fn damage_in_the_ledger_is_not_copied_into_its_backup() {
    let (dir, dest, vault) = (in_memory(), in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 30);
    let report = take(&ledger, dest.path());
    take_vault(&ledger, vault.path());
    append_each(&ledger, 30..60);
    wait_until_sealed(dir.path());
    let known: BTreeSet<_> = listed(dest.path()).into_iter().map(|(path, _)| path).collect();
    let mut tried = 0;
    for (path, bytes) in files(&dir.path().join("logs")) {
        let name = path.strip_prefix(dir.path()).unwrap();
        let is_segment = name.components().any(|part| part.as_os_str() == "segments");
        if !is_segment || known.contains(name) || bytes.is_empty() {
            continue;
        }
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let refused = ledger.backup(dest.path(), &BackupOptions::default()).unwrap_err();
        assert!(matches!(refused, Error::Damaged(_)), "{}: {refused}", name.display());
        std::fs::write(&path, &bytes).unwrap();
        let to = restored(dest.path(), vault.path());
        assert_eq!(assert_intact(to.path()).logs[0].events, report.logs[0].checkpoint.checkpoint.size);
        tried += 1;
    }
    assert!(tried > 2, "{tried}");
    assert_eq!(take(&ledger, dest.path()).logs[0].checkpoint.checkpoint.size, 60);
}

#[test]
fn other_directories_are_refused() {
    let (dir, dest) = (in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 3);
    let try_into = |dest: &Path| ledger.backup(dest, &BackupOptions::default());
    assert_refused(try_into(&dir.path().join("backup")), "inside the ledger");
    std::fs::write(dest.path().join("thesis.txt"), "years of work").unwrap();
    assert_refused(try_into(dest.path()), "holds other files");
    std::fs::remove_file(dest.path().join("thesis.txt")).unwrap();
    try_into(dest.path()).unwrap();
    let other = in_memory();
    let other_ledger =
        Ledger::open(other.path(), Options { origin: Some("other.example".into()), ..options() }).unwrap();
    assert_refused(other_ledger.backup(dest.path(), &BackupOptions::default()), "another ledger");
    drop(ledger);
    let nowhere = in_memory();
    let missing = cairn_ledger::backup(&nowhere.path().join("none"), dest.path(), &BackupOptions::default());
    assert!(matches!(missing, Err(Error::NotALedger { .. })));
}

/// A ledger that was set back, and one that went another way from there, do not replace what the backup holds.
#[test]
fn a_backup_is_not_replaced_by_less_or_by_another_history() {
    let (dir, back, dest, vault) = (in_memory(), in_memory(), in_memory(), in_memory());
    let ledger = ledger_of(dir.path(), 10);
    drop(ledger);
    copy(dir.path(), back.path());
    let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
    append_each(&ledger, 10..20);
    take(&ledger, dest.path());
    take_vault(&ledger, vault.path());
    let kept = files(dest.path());
    let set_back = Ledger::open(back.path(), small_segments()).unwrap();
    let run = || set_back.backup(dest.path(), &BackupOptions::default());
    assert_refused(run(), "older than its backup");
    for more in [10..20, 20..60] {
        append_each(&set_back, more.map(|id| id + 1000));
        let refused = run().unwrap_err();
        let forked = matches!(refused, Error::Forked(_) | Error::Backup { .. } | Error::Damaged(_));
        assert!(forked, "{refused}");
        for (path, bytes) in &kept {
            assert_eq!(&std::fs::read(path).unwrap(), bytes, "{}", path.display());
        }
    }
    let found = read_all(&Ledger::open_read_only(restored(dest.path(), vault.path()).path()).unwrap());
    assert_eq!(found, read_all(&ledger));
}
