//! Files and folders that are gone, or that stand where they do not belong: verification finds them, opening refuses.

use crate::common::*;
use cairn_ledger::{
    Damage, Error, Ledger, Options, VerifyOptions, export_bundle, looks_like_bundle, verify, verify_bundle,
};
use cairn_schemas::{Blake3, Event, NewEvent, Ref};
use std::path::Path;

const LOG: &str = "logs/default/main/0";

/// One sealed segment or more, an active one, an artifact; closed.
fn closed_ledger(dir: &Path) {
    let ledger = Ledger::open(dir, Options { segment_bytes_max: 900, ..options() }).unwrap();
    append_each(&ledger, 0..4);
    ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
}

/// As a crash leaves it right after the first events: no checkpoint was due yet.
fn young_ledger(dir: &Path) {
    let live = in_memory();
    let ledger = Ledger::open(live.path(), options()).unwrap();
    append_each(&ledger, 0..2);
    copy(live.path(), dir);
}

/// The one finding of `verify`; opening in either way must refuse with the same.
fn refused(dir: &Path) -> Damage {
    let before = files(dir).into_iter().filter(|(path, _)| !path.ends_with("lock")).collect::<Vec<_>>();
    let mut report = verify(dir, &VerifyOptions::default()).unwrap();
    let damage = report.damage.pop().unwrap_or_else(|| panic!("called intact: {report:?}"));
    for opened in [Ledger::open(dir, options()), Ledger::open_read_only(dir)] {
        match opened.map(drop) {
            Err(Error::Damaged(found)) => assert_eq!(*found, damage),
            other => panic!("{other:?} for {damage}"),
        }
    }
    let after = files(dir).into_iter().filter(|(path, _)| !path.ends_with("lock")).collect::<Vec<_>>();
    assert!(before == after, "a refused ledger is left as it is");
    damage
}

fn shown(damage: &Damage) -> &str {
    damage.file.to_str().unwrap()
}

#[test]
fn a_log_whose_folder_is_gone_is_found_by_its_key() {
    let makers: [fn(&Path); 2] = [closed_ledger, young_ledger];
    for make in makers {
        for gone in ["logs", "logs/default", "logs/default/main", LOG] {
            let dir = in_memory();
            make(dir.path());
            std::fs::remove_dir_all(dir.path().join(gone)).unwrap();
            let damage = refused(dir.path());
            assert_eq!((damage.log.as_str(), shown(&damage)), ("default/main/0", LOG), "{gone}: {damage}");
            std::fs::create_dir_all(dir.path().join(LOG)).unwrap();
            let damage = refused(dir.path());
            assert_eq!((damage.log.as_str(), shown(&damage)), ("default/main/0", "logs/default/main/0/verifier.key"));
        }
        let dir = in_memory();
        make(dir.path());
        std::fs::remove_dir_all(segments_dir(dir.path())).unwrap();
        let damage = refused(dir.path());
        assert_eq!((damage.log.as_str(), shown(&damage)), ("default/main/0", "logs/default/main/0/segments"));
    }
}

#[test]
fn a_log_without_its_checkpoint_is_damaged_whatever_else_was_cut() {
    let makers: [fn(&Path); 2] = [closed_ledger, young_ledger];
    for make in makers {
        for kept in [1.0, 0.5, 0.0] {
            let dir = in_memory();
            make(dir.path());
            std::fs::remove_file(dir.path().join(LOG).join("checkpoint")).unwrap();
            let active = active_file(dir.path());
            let bytes = std::fs::read(&active).unwrap();
            std::fs::write(&active, &bytes[..(bytes.len() as f64 * kept) as usize]).unwrap();
            let damage = refused(dir.path());
            assert_eq!((damage.log.as_str(), shown(&damage)), ("default/main/0", "logs/default/main/0/checkpoint"));
            assert!(damage.expected.contains("signed checkpoint"), "{damage}");
        }
    }
}

/// A log is signed before its first event can be acknowledged.
#[test]
fn a_new_log_has_a_checkpoint_of_size_0() {
    let dir = in_memory();
    young_ledger(dir.path());
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
    assert_eq!((report.logs[0].events, report.logs[0].checkpoint.as_ref().unwrap().checkpoint.size), (2, 0));
    let reader = Ledger::open_read_only(dir.path()).unwrap();
    assert_eq!((reader.checkpoint(&tenant()).unwrap().checkpoint.size, read_all(&reader).len()), (0, 2));
}

/// Without its signing key, a log may be one whose creation was cut short; not where anything was recorded in it.
#[test]
fn a_log_that_held_events_is_none_whose_creation_was_cut_short() {
    let dir = in_memory();
    closed_ledger(dir.path());
    std::fs::remove_file(dir.path().join("keys/default/main-0.signing.key")).unwrap();
    for segment in std::fs::read_dir(segments_dir(dir.path())).unwrap() {
        std::fs::remove_file(segment.unwrap().path()).unwrap();
    }
    std::fs::write(segments_dir(dir.path()).join(format!("{:020}.frames", 1)), b"").unwrap();
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    assert_eq!(shown(&report.damage[0]), "keys/default/main-0.signing.key");
    assert!(matches!(Ledger::open(dir.path(), options()), Err(Error::Damaged(_))));
}

#[test]
fn who_may_only_read_needs_no_keys() {
    let dir = in_memory();
    closed_ledger(dir.path());
    std::fs::remove_dir_all(dir.path().join("keys")).unwrap();
    assert_eq!(read_all(&Ledger::open_read_only(dir.path()).unwrap()).len(), 4);
    assert!(!verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact(), "the ledger itself needs them");
}

/// Puts an empty file (or folder) in the place of whatever stands there.
fn put_instead(path: &Path, folder: bool) {
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
    if folder { std::fs::create_dir_all(path).unwrap() } else { std::fs::write(path, b"").unwrap() }
}

#[test]
fn a_file_for_a_folder_or_a_folder_for_a_file_is_damage() {
    let artifact = Blake3::of(b"weights").to_hex();
    let of_artifact = format!("artifacts/default/{}/{artifact}", &artifact[..2]);
    let cases = [
        ("logs", false),
        ("logs/stray", false),
        ("logs/default", false),
        ("logs/default/stray", false),
        ("logs/default/main", false),
        ("logs/default/main/stray", false),
        ("logs/default/main/00", true),
        (LOG, false),
        ("logs/default/main/0/segments", false),
        ("logs/default/main/0/checkpoint", true),
        ("logs/default/main/0/verifier.key", true),
        ("logs/default/main/0/segments/00000000000000000001.entries", true),
        ("keys", false),
        ("keys/stray", false),
        ("keys/default", false),
        ("keys/default/mac.key", true),
        ("ledger", true),
        ("artifacts", false),
        ("artifacts/stray", false),
        ("artifacts/Not a tenant", true),
        ("artifacts/default", false),
        ("artifacts/default/stray", false),
        (&of_artifact, true),
    ];
    for (path, folder) in cases {
        let dir = in_memory();
        closed_ledger(dir.path());
        put_instead(&dir.path().join(path), folder);
        let report = verify(dir.path(), &VerifyOptions::default()).unwrap_or_else(|e| panic!("{path}: {e}"));
        let damage = report.damage.first().unwrap_or_else(|| panic!("{path} was called intact"));
        assert_eq!(shown(damage), path, "{damage}");
        if !path.starts_with("artifacts") {
            assert!(Ledger::open(dir.path(), options()).is_err(), "{path}");
        }
    }
}

#[test]
fn a_ledger_that_lost_its_marker_is_damaged_and_another_folder_is_none() {
    let dir = in_memory();
    closed_ledger(dir.path());
    std::fs::remove_file(dir.path().join("ledger")).unwrap();
    assert_eq!(shown(&verify(dir.path(), &VerifyOptions::default()).unwrap().damage[0]), "ledger");
    let empty = in_memory();
    assert!(matches!(verify(empty.path(), &VerifyOptions::default()), Err(Error::NotALedger { .. })));
    assert!(matches!(verify_bundle(empty.path()), Err(Error::NotABundle { .. })));
}

#[test]
fn a_bundle_that_lacks_a_part_or_holds_another_is_damaged() {
    let (dir, exported) = (in_memory(), in_memory());
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append_each(&ledger, 0..2);
    let artifact = ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
    export_bundle(&ledger, &tenant(), &[artifact.blake3], exported.path()).unwrap();
    let entries = "log/segments/00000000000000000001.entries";
    let gone = ["bundle", "log", "log/verifier.key", "log/checkpoint", "log/segments", "artifacts", entries];
    let instead = ["log", "log/segments", "artifacts", "artifacts/stray", "stray", "log/stray"];
    let cases = gone.map(|path| (path, false)).into_iter().chain(instead.map(|path| (path, true)));
    for (path, file_instead) in cases {
        let dir = in_memory();
        copy(exported.path(), dir.path());
        put_instead(&dir.path().join(path), false);
        if !file_instead {
            std::fs::remove_file(dir.path().join(path)).unwrap();
        }
        assert!(looks_like_bundle(dir.path()), "{path}");
        match verify_bundle(dir.path()) {
            Err(Error::Damaged(damage)) => {
                let is_list = path == "artifacts" && !file_instead;
                let expected = if is_list { "bundle" } else { path };
                let is_below = path == "log" && shown(&damage) == "log/verifier.key";
                assert!(is_below || shown(&damage) == expected || path == entries, "{path}: {damage}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

fn naming(id: &str, source: &str, used: &[Ref], produced: &[Ref]) -> NewEvent {
    let mut event = event(id, id);
    event.envelope.source = source.into();
    let Event::CustomRecorded(payload) = &mut event.event else { unreachable!("event() makes these") };
    (payload.used, payload.produced) = (used.to_vec(), produced.to_vec());
    event
}

#[test]
fn artifacts_that_are_named_and_not_stored_are_listed_once() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let stored = Ref::Artifact(ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap().blake3);
    let [one, two] = [b"one", b"two"].map(|bytes| Ref::Artifact(Blake3::of(bytes)));
    let document = Ref::Doc(Blake3::of(b"text"));
    let batch = vec![
        naming("a", "trainer", std::slice::from_ref(&stored), &[two.clone(), document]),
        naming("b", "notebook", std::slice::from_ref(&two), &[one.clone(), stored]),
        naming("c", "notebook", &[one], &[two]),
    ];
    ledger.append(&tenant(), batch).unwrap();
    drop(ledger);
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
    let found: Vec<_> =
        report.absent.iter().map(|absent| (absent.artifact, absent.position.get(), absent.source.as_str())).collect();
    assert_eq!(found, [(Blake3::of(b"two"), 1, "trainer"), (Blake3::of(b"one"), 2, "notebook")]);
    assert_eq!((report.absent_count, report.absent[0].log.as_str()), (2, "default/main/0"));
    let without = verify(dir.path(), &VerifyOptions { artifacts: false, ..VerifyOptions::default() }).unwrap();
    assert!(without.absent.is_empty() && without.absent_count == 0);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    ledger.artifacts(&tenant()).put_bytes(b"two").unwrap();
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    assert_eq!((report.absent_count, report.absent[0].artifact), (1, Blake3::of(b"one")));
}

#[test]
fn the_list_of_absent_artifacts_is_bounded_and_counted() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    for batch in 0..3u32 {
        let refs: Vec<Ref> = (0..400u32).map(|n| Ref::Artifact(Blake3::of(&(batch * 400 + n).to_be_bytes()))).collect();
        ledger.append(&tenant(), vec![naming(&batch.to_string(), "trainer", &refs, &[])]).unwrap();
    }
    drop(ledger);
    let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
    assert_eq!((report.absent.len(), report.absent_count), (1_000, 1_200));
}
