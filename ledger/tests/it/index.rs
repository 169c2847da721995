//! The index is derived: whatever becomes of its files, repeats are recognised, versions are right, and it comes back.

use crate::common::*;
use cairn_ledger::{Error, Ledger, Options, VerifyOptions, verify};
use std::path::{Path, PathBuf};

fn small_segments() -> Options {
    Options { segment_bytes_max: 900, ..options() }
}

fn index_dir(dir: &Path) -> PathBuf {
    dir.join("logs/default/main/0/index")
}

/// Sealed segments with events of three streams, and an active one; closed.
fn closed_ledger(dir: &Path, events: u64) {
    let ledger = Ledger::open(dir, small_segments()).unwrap();
    append_range(&ledger, 0..events);
}

fn append_range(ledger: &Ledger, ids: std::ops::Range<u64>) {
    for id in ids {
        let new = on_stream(&format!("e{id}"), &format!("stream {}", id % 3), Some(id / 3));
        assert!(!ledger.append(&tenant(), vec![new]).unwrap()[0].duplicate, "e{id} is new");
    }
}

/// Every event is recognised as a repeat, a conflict as one, and new events go on with the right versions.
fn assert_knows(dir: &Path, events: u64, context: &str) {
    let ledger = Ledger::open(dir, small_segments()).unwrap_or_else(|e| panic!("{context}: {e}"));
    for id in 0..events {
        let again = on_stream(&format!("e{id}"), &format!("stream {}", id % 3), None);
        let again = ledger.append(&tenant(), vec![again]).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!((again[0].duplicate, again[0].position.get()), (true, id + 1), "{context}");
        assert_eq!(again[0].stream_version, id / 3 + 1, "{context}");
    }
    let other = ledger.append(&tenant(), vec![event("e0", "other content")]);
    assert!(matches!(other, Err(Error::Conflict { .. })), "{context}: {other:?}");
    append_range(&ledger, events..events + 4);
    drop(ledger);
    let report = verify(dir, &VerifyOptions::default()).unwrap();
    assert!(report.is_intact() && report.logs[0].events == events + 4, "{context}: {:?}", report.damage);
}

#[test]
fn every_changed_byte_of_the_index_changes_nothing() {
    let dir = in_memory();
    closed_ledger(dir.path(), 5);
    let runs = files(&index_dir(dir.path()));
    assert!(!runs.is_empty());
    for (path, bytes) in &runs {
        for at in 0..bytes.len() {
            let changed = in_memory();
            copy(dir.path(), changed.path());
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            std::fs::write(changed.path().join(path.strip_prefix(dir.path()).unwrap()), bytes).unwrap();
            assert_knows(changed.path(), 5, &format!("{}, byte {at}", path.display()));
        }
    }
}

#[test]
fn whatever_of_the_index_is_lost_is_built_again() {
    let dir = in_memory();
    closed_ledger(dir.path(), 70);
    let runs = files(&index_dir(dir.path()));
    assert!(runs.len() > 2 && runs.len() < 20, "{} runs are merged", runs.len());
    for lost in 0..=runs.len() {
        let changed = in_memory();
        copy(dir.path(), changed.path());
        match runs.get(lost) {
            Some((path, _)) => {
                std::fs::remove_file(changed.path().join(path.strip_prefix(dir.path()).unwrap())).unwrap();
            }
            None => std::fs::remove_dir_all(index_dir(changed.path())).unwrap(),
        }
        assert_eq!(read_all(&Ledger::open_read_only(changed.path()).unwrap()).len(), 70, "readers need no index");
        assert_knows(changed.path(), 70, &format!("{lost} is lost"));
    }
}

/// An older state of the index, and one of another log, are told by their chain heads.
#[test]
fn an_index_of_another_history_is_not_believed() {
    let (dir, other) = (in_memory(), in_memory());
    closed_ledger(dir.path(), 40);
    let ledger =
        Ledger::open(other.path(), Options { origin: Some("other.example".into()), ..small_segments() }).unwrap();
    append_each(&ledger, 900..902);
    append_range(&ledger, 0..40);
    drop(ledger);
    let older = in_memory();
    copy(&index_dir(dir.path()), older.path());
    append_range(&Ledger::open(dir.path(), small_segments()).unwrap(), 40..60);
    for index in [index_dir(other.path()), older.path().to_owned()] {
        let changed = in_memory();
        copy(dir.path(), changed.path());
        std::fs::remove_dir_all(index_dir(changed.path())).unwrap();
        copy(&index, &index_dir(changed.path()));
        assert_knows(changed.path(), 60, "another index");
    }
}

/// The index knows which segments there were: one that is gone is missed at opening, with or without it.
#[test]
fn a_sealed_segment_that_is_gone_is_refused_at_opening() {
    let dir = in_memory();
    closed_ledger(dir.path(), 40);
    let firsts: Vec<PathBuf> = files(&segments_dir(dir.path()))
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "entries"))
        .collect();
    for (n, entries) in firsts.iter().enumerate() {
        for with_index in [true, false] {
            let changed = in_memory();
            copy(dir.path(), changed.path());
            if !with_index {
                std::fs::remove_dir_all(index_dir(changed.path())).unwrap();
            }
            let name = entries.file_stem().unwrap().to_str().unwrap();
            for file in [format!("{name}.entries"), format!("{name}.g0.payloads")] {
                std::fs::remove_file(segments_dir(changed.path()).join(file)).unwrap();
            }
            let damage = verify(changed.path(), &VerifyOptions::default()).unwrap().damage.remove(0);
            assert_eq!(damage.position, Some(name.parse().unwrap()), "{damage}");
            for opened in [Ledger::open(changed.path(), small_segments()), Ledger::open_read_only(changed.path())] {
                match opened.map(drop) {
                    Err(Error::Damaged(found)) => assert_eq!(*found, damage),
                    other => panic!("segment {n} is gone, index {with_index}: {other:?}"),
                }
            }
        }
    }
}

/// Opening reads no sealed payload; whoever reads a damaged one is refused, and so is an index that must be built of it.
#[test]
fn a_damaged_sealed_segment_is_refused_when_it_is_read() {
    let dir = in_memory();
    closed_ledger(dir.path(), 12);
    for part in ["entries", "g0.payloads"] {
        let path = segments_dir(dir.path()).join(format!("{:020}.{part}", 1));
        let bytes = std::fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        changed[60] ^= 1;
        std::fs::write(&path, changed).unwrap();
        let damage = verify(dir.path(), &VerifyOptions::default()).unwrap().damage.remove(0);
        for ledger in [Ledger::open(dir.path(), small_segments()), Ledger::open_read_only(dir.path())] {
            let ledger = ledger.unwrap();
            match ledger.read(&tenant(), position(1), 1) {
                Err(Error::Damaged(found)) => {
                    assert_eq!((found.file, found.offset), (damage.file.clone(), damage.offset))
                }
                other => panic!("{part}: read {other:?}"),
            }
            assert_eq!(ledger.read(&tenant(), position(12), 1).unwrap()[0].id, "e11", "what is whole is read");
        }
        let without = in_memory();
        copy(dir.path(), without.path());
        std::fs::remove_dir_all(index_dir(without.path())).unwrap();
        assert!(matches!(Ledger::open(without.path(), small_segments()).map(drop), Err(Error::Damaged(_))), "{part}");
        std::fs::write(&path, bytes).unwrap();
    }
    assert_knows(dir.path(), 12, "as it was");
}
