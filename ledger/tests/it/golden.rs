//! A committed ledger that every later version must read, verify, continue, and write the same.

use crate::common::*;
use cairn_ledger::{Ledger, Options, VerifyOptions, verify};
use cairn_schemas::{Blake3, Event, Ref};
use std::path::{Path, PathBuf};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ledger")
}

fn parsed(text: &str) -> Ref {
    text.parse().unwrap()
}

/// Three sealed segments, an active one, two streams, a batch, refs of every kind, an artifact.
fn write(dir: &Path) {
    let ledger = Ledger::open(dir, Options { segment_bytes_max: 900, ..options() }).unwrap();
    append_each(&ledger, 0..4);
    ledger.append(&tenant(), vec![on_stream("b1", "doc", Some(0)), on_stream("b2", "doc", Some(1))]).unwrap();
    let mut naming = event("refs", "one of each kind");
    let Event::CustomRecorded(payload) = &mut naming.event else { unreachable!("event() makes these") };
    payload.used = ["ds://p/d@1.2.0", "model://p/m@300", "run:0190b5a0-0000-7000-8000-000000000001", "eval:e"]
        .map(parsed)
        .to_vec();
    payload.produced = ["judgment:j", "deployment:d"].map(parsed).to_vec();
    payload.produced.extend([Ref::Doc(Blake3::of(b"text")), Ref::Artifact(Blake3::of(b"weights"))]);
    naming.envelope.causation = Some("b2".into());
    naming.envelope.extensions.insert("shade".into(), "green".into());
    naming.envelope.occurred_at = Some("1969-12-31T23:59:59.5Z".parse().unwrap());
    ledger.append(&tenant(), vec![naming]).unwrap();
    append_each(&ledger, 4..8);
    ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
    drop(ledger);
    std::fs::remove_file(dir.join("lock")).unwrap();
}

#[test]
fn the_committed_ledger_is_what_is_written_today() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    if std::env::var_os("CAIRN_UPDATE").is_some() {
        copy(dir.path(), &committed());
    }
    let relative = |root: &Path| -> Vec<_> {
        let strip = |(path, bytes): (PathBuf, Vec<u8>)| (path.strip_prefix(root).unwrap().to_owned(), bytes);
        files(root).into_iter().map(strip).collect()
    };
    let (today, committed) = (relative(dir.path()), relative(&committed()));
    let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(names(&today), names(&committed));
    for ((path, today), (_, committed)) in today.iter().zip(&committed) {
        assert_eq!(hex::encode(today), hex::encode(committed), "{}", path.display());
    }
}

#[test]
fn the_committed_ledger_verifies_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    copy(&committed(), dir.path());
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let events = read_all(&ledger);
    assert_eq!(ids(&events), ["e0", "e1", "e2", "e3", "b1", "b2", "refs", "e4", "e5", "e6", "e7"]);
    assert_eq!((events[5].stream.as_str(), events[5].stream_version), ("doc", 2));
    assert!(ledger.append(&tenant(), vec![event("e0", "content 0")]).unwrap()[0].duplicate);
    append_each(&ledger, 8..9);
}
