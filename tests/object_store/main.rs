//! A ledger whose sealed segments lie in an object store: a local folder, and a real S3-compatible server (moto's).

mod server;

use cairn_ledger::{Error, Ledger, ObjectStoreConfig, Options, VerifyOptions, verify};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{NewEvent, Position, RawJson, TenantId};
use server::with_server;
use std::path::Path;
use std::time::Duration;

fn options() -> Options {
    Options { segment_bytes_max: 5_000, ..Options::default() }
}

fn event(n: u64) -> NewEvent {
    let data: RawJson = serde_json::from_str(&format!("{{\"n\":{n},\"text\":\"{}\"}}", "word ".repeat(40))).unwrap();
    let payload = CustomRecorded { kind: "test.said".into(), about: None, used: vec![], produced: vec![], data };
    NewEvent::new("test", &format!("e{n}"), payload)
}

fn append(ledger: &Ledger, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let appended = ledger.append(&TenantId::default(), vec![event(n)]).unwrap();
        assert!(!appended[0].duplicate);
    }
}

/// Reads from the first event on in small steps, as a follower does.
fn ids(ledger: &Ledger) -> Result<Vec<String>, Error> {
    let (mut ids, mut from) = (Vec::new(), Position::FIRST);
    loop {
        let events = ledger.read(&TenantId::default(), from, 7)?;
        let Some(last) = events.last() else { return Ok(ids) };
        from = last.position.next().unwrap();
        ids.extend(events.into_iter().map(|event| event.id));
    }
}

fn expected(count: u64) -> Vec<String> {
    (0..count).map(|n| format!("e{n}")).collect()
}

fn local_segments(dir: &Path) -> Vec<String> {
    let folder = std::fs::read_dir(dir.join("logs/default/main/0/segments")).unwrap();
    let mut names: Vec<_> = folder.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".entries") || name.ends_with(".payloads"));
    names.sort();
    names
}

/// Append, seal, drop the local copies, read everything, follow, verify, reopen.
fn assert_a_whole_life(url: &str) {
    let dir = tempfile::tempdir().unwrap();
    ObjectStoreConfig::new(url, 0).set(dir.path()).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append(&ledger, 0..50);
    assert_eq!(ids(&ledger).unwrap(), expected(50), "while segments are being sealed");
    drop(ledger);
    assert_eq!(local_segments(dir.path()), [""; 0], "what the store has stays there alone");
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(ids(&ledger).unwrap(), expected(50));
    assert!(ledger.append(&TenantId::default(), vec![event(3)]).unwrap()[0].duplicate, "a repeat is found there too");
    let follower = ledger.clone();
    let head = ledger.head(&TenantId::default());
    let waiting =
        std::thread::spawn(move || follower.wait_past(&TenantId::default(), head, Duration::from_secs(60)).is_some());
    append(&ledger, 50..70);
    assert!(waiting.join().unwrap());
    assert_eq!(ids(&ledger).unwrap(), expected(70));
    let proof = ledger.prove(&TenantId::default(), Position::FIRST, None).unwrap();
    assert_eq!(proof.index, 0);
    drop(ledger);
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    assert!(report.is_intact() && report.logs[0].events == 70, "{:?}", report.damage);
    let reader = Ledger::open_read_only(dir.path()).unwrap();
    assert_eq!(ids(&reader).unwrap(), expected(70));
}

#[test]
fn a_ledger_lives_with_a_folder_as_its_object_store() {
    let store = tempfile::tempdir().unwrap();
    assert_a_whole_life(&format!("file://{}", store.path().display()));
    let stored = walkdir::WalkDir::new(store.path()).into_iter().map(Result::unwrap);
    let objects = stored.filter(|item| item.file_type().is_file()).count();
    assert!(objects > 5, "{objects} objects in the store");
}

#[test]
fn a_changed_byte_in_the_store_is_named() {
    let (dir, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ObjectStoreConfig::new(&format!("file://{}", store.path().display()), 0).set(dir.path()).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append(&ledger, 0..30);
    drop(ledger);
    let path = store.path().join("logs/default/main/0/segments/00000000000000000001.g0.payloads");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    let found = &report.damage[0];
    assert!(found.position.is_some() && found.file.ends_with("00000000000000000001.g0.payloads"), "{found}");
}

#[test]
fn as_much_stays_local_as_is_asked_for() {
    let (dir, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("file://{}", store.path().display());
    ObjectStoreConfig::new(&url, 8_000).set(dir.path()).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append(&ledger, 0..60);
    drop(ledger);
    let names = local_segments(dir.path());
    let folder = dir.path().join("logs/default/main/0/segments");
    let bytes: u64 = names.iter().map(|name| std::fs::metadata(folder.join(name)).unwrap().len()).sum();
    assert!((1..=8_000).contains(&bytes), "{bytes} bytes in {names:?}");
    assert!(names.iter().all(|name| !name.starts_with("00000000000000000001.")), "the oldest go first");
    let refused = ObjectStoreConfig::new("file:///elsewhere", 0).set(dir.path()).unwrap_err();
    assert!(refused.to_string().contains(&url), "{refused}");
}

#[test]
fn the_ledgers_own_folder_is_no_object_store_and_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (dir, link) = (root.path().join("data"), root.path().join("link"));
    let ledger = Ledger::open(&dir, options()).unwrap();
    append(&ledger, 0..30);
    drop(ledger);
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    for store in [&dir, &link, &dir.join("logs"), &root.path().to_owned()] {
        let refused = ObjectStoreConfig::new(&format!("file://{}", store.display()), 0).set(&dir).unwrap_err();
        assert!(refused.to_string().contains("the ledger's own"), "{refused}");
    }
    assert!(!dir.join("object-store").exists());

    // A link below `logs` is not seen beforehand; no copy is dropped that is the only one.
    let store = root.path().join("store");
    std::fs::create_dir_all(store.join("logs")).unwrap();
    std::os::unix::fs::symlink(dir.join("logs/default"), store.join("logs/default")).unwrap();
    let before = local_segments(&dir);
    ObjectStoreConfig::new(&format!("file://{}", store.display()), 0).set(&dir).unwrap();
    let ledger = Ledger::open(&dir, options()).unwrap();
    assert_eq!(ids(&ledger).unwrap(), expected(30));
    drop(ledger);
    assert!(before.len() > 2 && local_segments(&dir).starts_with(&before));
    assert!(verify(&dir, &VerifyOptions::default()).unwrap().is_intact());
}

#[test]
fn another_ledgers_store_is_refused_and_a_wrong_one_can_be_mended() {
    let (dirs, stores) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (dirs.path().join("a"), dirs.path().join("b"));
    let url = |name: &str| format!("file://{}", stores.path().join(name).display());
    ObjectStoreConfig::new(&url("a"), 0).set(&a).unwrap();
    let ledger = Ledger::open(&a, options()).unwrap();
    append(&ledger, 0..30);
    drop(ledger);
    let refused = ObjectStoreConfig::new(&url("a"), 0).set(&b).unwrap_err();
    assert!(refused.to_string().contains("holds the segments of ledger cairn.local/"), "{refused}");
    let ledger = Ledger::open(&b, options()).unwrap();
    append(&ledger, 0..30);
    drop(ledger);
    let refused = ObjectStoreConfig::new(&url("a"), 0).set(&b).unwrap_err();
    assert!(refused.to_string().contains("not of this ledger"), "{refused}");

    // All of `b` is here: a store that does not work any more is replaced by one that does.
    ObjectStoreConfig::new(&url("b"), u64::MAX).set(&b).unwrap();
    std::fs::remove_dir_all(stores.path().join("b")).unwrap();
    std::fs::write(stores.path().join("b"), "").unwrap();
    let error = Ledger::open(&b, options()).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains(&b.join("object-store").display().to_string()) && error.contains("--object-store"),
        "{error}"
    );
    ObjectStoreConfig::new(&url("c"), 0).set(&b).unwrap();
    let ledger = Ledger::open(&b, options()).unwrap();
    assert_eq!(ids(&ledger).unwrap(), expected(30));
    drop(ledger);
    assert_eq!(local_segments(&b), [""; 0]);
    let refused = ObjectStoreConfig::new(&url("d"), 0).set(&b).unwrap_err();
    assert!(refused.to_string().contains("sealed segments are in"), "{refused}");
}

#[test]
fn a_ledger_lives_with_s3_as_its_object_store() {
    with_server("a_ledger_lives_with_s3_as_its_object_store", |stop| {
        assert_a_whole_life("s3://plain/some/prefix");
        assert_versions_are_refused();
        assert_appends_go_on(stop);
    });
}

/// What erasure deletes would stay in such a bucket as an older version.
fn assert_versions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = ObjectStoreConfig::new("s3://versioned", 0).set(dir.path()).unwrap_err();
    assert!(error.to_string().contains("keeps versions of deleted objects"), "{error}");
}

/// With the store away, appends go on, and what only it has is an error that says so.
fn assert_appends_go_on(stop: &dyn Fn()) {
    let dir = tempfile::tempdir().unwrap();
    ObjectStoreConfig { cache_bytes_max: 0, ..ObjectStoreConfig::new("s3://plain/other", 0) }.set(dir.path()).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append(&ledger, 0..30);
    drop(ledger);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    stop();
    append(&ledger, 30..50);
    let error = ids(&ledger).unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("object store"), "{error}");
    let recent = ledger.read(&TenantId::default(), Position::new(50).unwrap(), 1).unwrap();
    assert_eq!(recent[0].id, "e49", "what is local is read without the store");
    drop(ledger);
    let error = Ledger::open(dir.path(), options()).map(|_| ()).unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("object store"), "{error}");
}
