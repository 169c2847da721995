//! Appending and reading: order, batches, repeats, conflicts, expected versions, bounds, followers, locks.

use crate::common::*;
use cairn_ledger::{Error, Ledger, Options};
use cairn_schemas::{Blake3, Event, PAYLOAD_BYTES_MAX, Position, Ref};
use std::collections::HashSet;
use std::time::Duration;

#[test]
fn what_was_appended_is_read_in_order_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(ledger.head(&tenant()), None);
    let batch = vec![on_stream("a", "s1", None), on_stream("b", "s2", None), on_stream("c", "s1", None)];
    let appended = ledger.append(&tenant(), batch).unwrap();
    assert_eq!(
        appended.iter().map(|a| (a.position.get(), a.stream_version)).collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 2)]
    );
    append_each(&ledger, 0..20);
    let before = read_all(&ledger);
    assert_eq!(before.len(), 23);
    assert_eq!(ledger.head(&tenant()), Position::new(23));
    assert!(before.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at));
    let (chain, checkpoint) = (ledger.chain_head(&tenant()), ledger.checkpoint(&tenant()).unwrap());
    assert_eq!(checkpoint.checkpoint.size, 23);
    drop(ledger);

    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(read_all(&ledger), before);
    assert_eq!((ledger.chain_head(&tenant()), ledger.checkpoint(&tenant()).unwrap()), (chain, checkpoint));
    assert_eq!(ledger.read(&tenant(), position(24), 10).unwrap(), []);
    assert_eq!(ledger.read(&tenant(), position(1), 0).unwrap(), []);
}

#[test]
fn a_repeat_gives_the_first_position_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let batch = || vec![event("a", "1"), event("b", "2")];
    let first = ledger.append(&tenant(), batch()).unwrap();
    for reopened in [false, true] {
        let ledger = if reopened { drop_and_open(&ledger, dir.path()) } else { ledger.clone() };
        let mut again = batch();
        again[0].envelope.occurred_at = Some("2020-01-01T00:00:00Z".parse().unwrap());
        let again = ledger.append(&tenant(), again).unwrap();
        assert!(again.iter().all(|appended| appended.duplicate));
        let undated = |a: &cairn_ledger::Appended| (a.position, a.stream_version, a.recorded_at);
        assert_eq!(again.iter().map(undated).collect::<Vec<_>>(), first.iter().map(undated).collect::<Vec<_>>());
        assert_eq!(ledger.head(&tenant()), Position::new(2));
    }
}

/// A second ledger over a copy: what it knows, it knows from the stored bytes.
fn drop_and_open(ledger: &Ledger, dir: &std::path::Path) -> Ledger {
    ledger.checkpoint(&tenant()).unwrap();
    let copied = tempfile::tempdir().unwrap().keep();
    copy(dir, &copied);
    Ledger::open(&copied, options()).unwrap()
}

#[test]
fn other_content_is_a_conflict_and_a_partial_repeat_says_which_part() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append_each(&ledger, 0..3);
    let conflict = ledger.append(&tenant(), vec![event("e1", "something else")]).unwrap_err();
    assert!(
        matches!(&conflict, Error::Conflict { index: 0, id, position, .. } if id == "e1" && position.get() == 2),
        "{conflict}"
    );
    let partly = ledger.append(&tenant(), vec![event("new", "new"), event("e2", "content 2")]).unwrap_err();
    assert!(
        matches!(&partly, Error::PartlyRepeated { events: 2, repeated } if *repeated == [(1, position(3))]),
        "{partly}"
    );
    let twice = ledger.append(&tenant(), vec![event("x", "1"), event("y", "1"), event("x", "1")]).unwrap_err();
    assert!(matches!(twice, Error::RepeatedInBatch { index: 2, first_index: 0, .. }), "{twice}");
    assert_eq!(ledger.head(&tenant()), Position::new(3), "nothing of a refused batch is recorded");
    let mut other_project = event("e1", "something else");
    other_project.envelope.project = Some("another".into());
    assert!(!ledger.append(&tenant(), vec![other_project]).unwrap()[0].duplicate, "ids belong to a project");
}

#[test]
fn expected_versions_hold_per_stream_and_come_after_deduplication() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let append = |batch| ledger.append(&tenant(), batch);
    append(vec![on_stream("a", "s", Some(0)), on_stream("b", "s", Some(1))]).unwrap();
    let wrong = append(vec![on_stream("c", "t", Some(0)), on_stream("d", "s", Some(1))]).unwrap_err();
    assert!(
        matches!(&wrong, Error::WrongVersion { index: 1, stream, expected: 1, actual: 2 } if stream == "s"),
        "{wrong}"
    );
    assert!(append(vec![on_stream("a", "s", Some(0)), on_stream("b", "s", Some(1))]).unwrap()[1].duplicate);
    let third = append(vec![on_stream("c", "s", Some(2))]).unwrap();
    assert_eq!(third[0].stream_version, 3);
    assert_eq!(
        append(vec![on_stream("t1", "t", Some(0))]).unwrap()[0].stream_version,
        1,
        "the refused batch left nothing"
    );
}

#[test]
fn bounds_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let append = |batch| ledger.append(&tenant(), batch).unwrap_err();
    assert!(matches!(append(vec![]), Error::BatchLength { given: 0, .. }));
    let large = "x".repeat(PAYLOAD_BYTES_MAX);
    assert!(matches!(append(vec![event("a", &large)]), Error::TooLarge { index: 0, max: PAYLOAD_BYTES_MAX, .. }));
    let nearly = "x".repeat(PAYLOAD_BYTES_MAX - 300);
    let batch: Vec<_> = (0..9).map(|n| event(&n.to_string(), &nearly)).collect();
    assert!(matches!(append(batch.clone()), Error::TooLarge { index: 8, .. }));
    assert!(matches!(append(vec![event("", "x")]), Error::Missing { index: 0, what: "id", .. }));
    let long = "x".repeat(1025);
    assert!(matches!(append(vec![on_stream("a", &long, None)]), Error::TooLarge { what: "stream", max: 1024, .. }));
    let mut many = event("a", "x");
    let Event::CustomRecorded(payload) = &mut many.event else { unreachable!("event() makes these") };
    payload.used = (0..1025_u32).map(|n| Ref::Doc(Blake3::of(&n.to_be_bytes()))).collect();
    assert!(matches!(append(vec![event("b", "x"), many]), Error::TooManyRefs { index: 1, given: 1025, max: 1024 }));
    assert_eq!(ledger.head(&tenant()), None);
    assert_eq!(ledger.append(&tenant(), batch[..7].to_vec()).unwrap().len(), 7);
    assert_eq!(ledger.read(&tenant(), Position::FIRST, 100).unwrap().len(), 7);
}

#[test]
fn concurrent_callers_each_get_their_own_places() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let (threads, batches) = (8, 20);
    let positions: Vec<u64> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads)
            .map(|t| {
                let ledger = ledger.clone();
                scope.spawn(move || {
                    let mut positions = Vec::new();
                    for b in 0..batches {
                        let batch = (0..3).map(|n| event(&format!("{t}-{b}-{n}"), "content")).collect();
                        let appended = ledger.append(&tenant(), batch).unwrap();
                        assert!(
                            appended.windows(2).all(|p| p[0].position.next() == Some(p[1].position)),
                            "a batch is together"
                        );
                        assert!(ledger.head(&tenant()) >= Some(appended[2].position), "answered after the head moved");
                        positions.extend(appended.iter().map(|a| a.position.get()));
                    }
                    positions
                })
            })
            .collect();
        spawned.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let expected = (threads * batches * 3) as u64;
    assert_eq!(positions.iter().copied().collect::<HashSet<_>>(), (1..=expected).collect());
    let ids: HashSet<String> = ids(&read_all(&ledger)).into_iter().collect();
    assert_eq!(ids.len() as u64, expected);
}

/// Racing retries of one event: one is first, the rest are duplicates of it.
#[test]
fn racing_repeats_are_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let appended: Vec<_> = std::thread::scope(|scope| {
        let race = || ledger.append(&tenant(), vec![event("same", "content")]).unwrap()[0];
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(appended.iter().filter(|a| !a.duplicate).count(), 1);
    assert!(appended.iter().all(|a| a.position == Position::FIRST && a.stream_version == 1));
    assert_eq!(ledger.head(&tenant()), Position::new(1));
}

#[test]
fn a_second_handle_is_refused_and_told_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Options { note: "cairn serve".into(), ..options() }).unwrap();
    let refused = Ledger::open(dir.path(), options()).map(drop).unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}, cairn serve", std::process::id())), "{refused}");
    ledger.set_note("http://127.0.0.1:7070").unwrap();
    let refused = Ledger::open(dir.path(), options()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("http://127.0.0.1:7070"), "{refused}");
    let clone = ledger.clone();
    drop(ledger);
    assert!(Ledger::open(dir.path(), options()).is_err(), "a clone still holds it");
    drop(clone);
    Ledger::open(dir.path(), options()).unwrap();
}

#[test]
fn another_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let lock = dir.path().join("lock");
    let taken = std::process::Command::new("flock").arg("--nonblock").arg(&lock).arg("true").status().unwrap();
    assert!(!taken.success(), "flock(1), another process, must not get the lock");
    drop(ledger);
    let mut holder = std::process::Command::new("flock");
    holder.arg(&lock).args(["sh", "-c", "echo held; read _"]);
    let mut child = holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert!(matches!(Ledger::open(dir.path(), options()), Err(Error::AlreadyOpen { .. })));
    drop(child.stdin.take());
    child.wait().unwrap();
    Ledger::open(dir.path(), options()).unwrap();
}

#[test]
fn a_directory_of_something_else_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(Ledger::open(dir.path(), options()), Err(Error::NotALedger { .. })));
    assert!(matches!(Ledger::open_read_only(dir.path()), Err(Error::NotALedger { .. })));
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn a_reader_beside_the_writer_sees_what_was_durable_and_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append_each(&ledger, 0..5);
    let reader = Ledger::open_read_only(dir.path()).unwrap();
    append_each(&ledger, 5..9);
    assert_eq!(read_all(&reader).len(), 5, "a snapshot");
    assert_eq!(read_all(&reader), read_all(&ledger)[..5]);
    assert!(matches!(reader.append(&tenant(), vec![event("x", "x")]), Err(Error::ReadOnly)));
    assert!(matches!(reader.artifacts(&tenant()).put_bytes(b"x"), Err(Error::ReadOnly)));
    assert_eq!(read_all(&Ledger::open_read_only(dir.path()).unwrap()).len(), 9);
}

#[test]
fn followers_wait_for_the_head_to_move() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(ledger.wait_past(&tenant(), None, Duration::ZERO), None);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ledger.wait_past(&tenant(), None, Duration::from_secs(60)));
        append_each(&ledger, 0..1);
        assert_eq!(waiting.join().unwrap(), Position::new(1));
    });
    assert_eq!(ledger.wait_past(&tenant(), None, Duration::ZERO), Position::new(1));
    assert_eq!(ledger.wait_past(&tenant(), Position::new(1), Duration::from_millis(1)), None);
}

#[test]
fn tenants_are_apart() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let other = "acme".parse().unwrap();
    append_each(&ledger, 0..2);
    assert!(!ledger.append(&other, vec![event("e0", "content 0")]).unwrap()[0].duplicate);
    assert_eq!((ledger.head(&tenant()), ledger.head(&other)), (Position::new(2), Position::new(1)));
    assert_ne!(ledger.verifier_key(&tenant()), ledger.verifier_key(&other));
    assert_eq!(ledger.tenants(), [other, tenant()]);
    drop(ledger);
    assert_eq!(Ledger::open(dir.path(), options()).unwrap().tenants().len(), 2);
}

#[test]
fn artifacts_have_two_digests_and_are_checked_when_read() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let artifacts = ledger.artifacts(&tenant());
    let artifact = artifacts.put_bytes(b"hello").unwrap();
    assert_eq!(artifact.sha256.to_hex(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_eq!((artifact.blake3, artifact.bytes), (Blake3::of(b"hello"), 5));
    let file = dir.path().join("../artifact-source");
    std::fs::write(&file, vec![7; 3 << 20]).unwrap();
    let large = artifacts.put_file(&file).unwrap();
    assert_eq!(artifacts.put_file(&file).unwrap(), large, "the same bytes again change nothing");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(artifacts.get(&large.blake3).unwrap(), vec![7; 3 << 20]);
    assert_eq!(artifacts.check(&large.blake3).unwrap(), large);
    assert_eq!(artifacts.iter().unwrap().count(), 2);
    let missing = Blake3::of(b"never stored");
    assert!(!artifacts.contains(&missing));
    assert!(matches!(artifacts.get(&missing), Err(Error::NoArtifact { digest }) if digest == missing));
    assert!(matches!(artifacts.open(&missing), Err(Error::NoArtifact { .. })));
    let summed = std::process::Command::new("sha256sum")
        .current_dir(artifacts.path(&artifact.blake3).parent().unwrap())
        .args(["--check", "--strict", &format!("{}.sha256", artifact.blake3)])
        .output()
        .unwrap();
    assert!(summed.status.success(), "sha256sum must accept the digest file");
    std::fs::write(artifacts.path(&artifact.blake3), b"jello").unwrap();
    assert!(matches!(artifacts.get(&artifact.blake3), Err(Error::Damaged(_))));
    artifacts.put_bytes(b"hello").unwrap();
    assert_eq!(artifacts.get(&artifact.blake3).unwrap(), b"hello", "putting it again repairs it");
}
