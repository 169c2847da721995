//! The committed log, `tests/interop/fixture`: a small ledger with its keys, and what it publishes.
//!
//! | path | what it is |
//! |---|---|
//! | `ledger/` | the ledger |
//! | `verifier.key` | the log's public key |
//! | `log/` | what `cairn log export-tiles` writes |
//! | `older` | an earlier checkpoint |
//! | `consistency` | the hashes from that one to this one, in base64, one a line |
//! | `proofs/<position>.tlog-proof` | what `cairn prove` writes |
//!
//! `CAIRN_UPDATE=1` writes it anew.

use cairn_ledger::{Ledger, Options, Random, VerifyOptions, export_tiles, verify};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{Clock, NewEvent, Position, RawJson, TenantId, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Events of the log: two bundles, the second not full, and so a tile of level 1.
const EVENTS: u64 = 300;
/// Events that the earlier checkpoint covers.
const EVENTS_BEFORE: u64 = 129;
/// Events whose proofs are committed: the ends of the log and of a bundle, and some between.
const PROVEN: [u64; 6] = [1, 2, 100, 256, 257, EVENTS];

/// 2026-01-01, and a second more at each look.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000 + self.0.fetch_add(1_000_000, Ordering::Relaxed))
    }
}

/// Different bytes at each call, the same in each run.
struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new().update(&n.to_be_bytes()).finalize_xof().fill(bytes);
    }
}

pub(crate) fn committed() -> PathBuf {
    cairn_tests::root().join("tests/interop/fixture")
}

fn event(n: u64) -> NewEvent {
    let data: RawJson = serde_json::from_str(&format!("{{\"n\":{n}}}")).unwrap();
    let payload = CustomRecorded { kind: "test.said".into(), about: None, used: vec![], produced: vec![], data };
    NewEvent::new("test", &format!("e{n}"), payload)
}

fn append(ledger: &Ledger, mut from: u64, to: u64) {
    while from < to {
        let after = to.min(from + 20);
        ledger.append(&TenantId::default(), (from..after).map(event).collect()).unwrap();
        from = after;
    }
}

fn write(dir: &Path) {
    let options = Options {
        origin: Some("log.example.com".into()),
        clock: Arc::new(Ticking(AtomicI64::new(0))),
        random: Arc::new(Counting(AtomicU64::new(0))),
        checkpoint_delay: Duration::from_secs(3600),
        segment_bytes_max: 20_000,
        reserve_bytes: 0,
        ..Options::default()
    };
    let tenant = TenantId::default();
    let put = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let ledger = Ledger::open(&dir.join("ledger"), options).unwrap();
    append(&ledger, 0, EVENTS_BEFORE);
    let older = ledger.checkpoint(&tenant).unwrap();
    append(&ledger, EVENTS_BEFORE, EVENTS);
    let newer = ledger.checkpoint(&tenant).unwrap();
    put("verifier.key", format!("{}\n", ledger.verifier_key(&tenant).unwrap()));
    put("older", older.note);
    let (_, proof) = ledger.prove_consistency(&tenant, EVENTS_BEFORE, Some(&newer)).unwrap();
    put("consistency", proof.path.iter().map(|hash| base64(hash.as_bytes()) + "\n").collect());
    export_tiles(&ledger, &tenant, &dir.join("log")).unwrap();
    std::fs::create_dir(dir.join("proofs")).unwrap();
    for position in PROVEN {
        let proof = ledger.prove(&tenant, Position::new(position).unwrap(), Some(&newer)).unwrap();
        put(&format!("proofs/{position}.tlog-proof"), proof.encode());
    }
    drop(ledger);
    let ledger = dir.join("ledger");
    std::fs::remove_file(ledger.join("lock")).unwrap();
    // Derived, and made anew where it is needed.
    let log = ledger.join("logs/default/main/0");
    let _ = std::fs::remove_dir_all(log.join("index"));
    let _ = std::fs::remove_file(log.join("tree"));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let items = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|item| item.file_type().is_file());
    let read = |item: walkdir::DirEntry| {
        (item.path().strip_prefix(dir).unwrap().to_owned(), std::fs::read(item.path()).unwrap())
    };
    items.map(read).collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        std::fs::create_dir_all(to.join(&path).parent().unwrap()).unwrap();
        std::fs::write(to.join(path), bytes).unwrap();
    }
}

#[test]
fn the_committed_log_is_what_is_written_today() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    if std::env::var_os("CAIRN_UPDATE").is_some() {
        let _ = std::fs::remove_dir_all(committed());
        copy(dir.path(), &committed());
    }
    let (today, committed) = (files(dir.path()), files(&committed()));
    assert_eq!(today.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    for (path, bytes) in &today {
        assert!(*bytes == committed[path], "{} is not what is written today", path.display());
    }
    let report = verify(&dir.path().join("ledger"), &VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
}
