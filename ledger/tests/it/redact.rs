//! Redaction: what was replaced is nowhere any more, everything else is as before, and verification says by whose word.

use crate::common::*;
use crate::faults::{Fault, FaultyDisk, on};
use cairn_ledger::{
    Damage, Error, FileSystem, Ledger, Options, Redacted, Redaction, Selection, Storage, Verdict, VerifyOptions,
    VerifyReport, export_bundle, verify, verify_bundle,
};
use cairn_schemas::events::governance::{LegalHoldLifted, LegalHoldPlaced, PolicyChanged};
use cairn_schemas::{Event, NewEvent, RawJson, Ref, Timestamp};
use std::path::Path;

const CANARY: &str = "kanarienvogel";

fn secret(id: u64) -> NewEvent {
    event(&format!("e{id}"), &format!("{CANARY} {id}"))
}

fn positions(from: u64, to: u64) -> Redaction {
    asked(Selection::Positions(vec![from..=to]))
}

fn asked(selection: Selection) -> Redaction {
    Redaction { selection, request: "r1".into(), basis: "a mistake".into(), artifacts: vec![] }
}

fn small() -> Options {
    Options { segment_bytes_max: 1 << 10, ..options() }
}

fn check(dir: &Path) -> VerifyReport {
    verify(dir, &VerifyOptions::default()).unwrap()
}

fn finding(dir: &Path) -> Damage {
    let mut report = check(dir);
    assert_eq!(report.verdict(), Verdict::Tampered);
    report.damage.remove(0)
}

fn assert_gone(dir: &Path, canaries: &[String]) {
    for (path, bytes) in files(dir) {
        for canary in canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} is still in {}", path.display());
        }
    }
}

fn canaries(ids: impl Iterator<Item = u64>) -> Vec<String> {
    ids.map(|id| format!("{CANARY} {id}\"")).collect()
}

fn sealed(dir: &Path) -> Vec<std::path::PathBuf> {
    let is_payloads = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "payloads");
    files(&segments_dir(dir)).into_iter().map(|(path, _)| path).filter(is_payloads).collect()
}

#[test]
fn what_is_redacted_is_gone_and_everything_else_is_as_before() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), small()).unwrap();
    (0..12).for_each(|id| drop(ledger.append(&tenant(), vec![secret(id)]).unwrap()));
    let before = read_all(&ledger);
    let signed = ledger.checkpoint(&tenant()).unwrap();
    let proof = ledger.prove(&tenant(), position(3), Some(&signed)).unwrap();
    let reader = Ledger::open_read_only(dir.path()).unwrap();
    let done = ledger.redact(&tenant(), &positions(3, 5)).unwrap();
    assert_eq!(done.positions, [position(3), position(4), position(5)]);
    assert_eq!(done.events, [position(13)]);
    assert_gone(dir.path(), &canaries(2..5));
    assert_eq!(read_all(&reader).len(), 12, "who has the file of frames open reads it to the end");
    for (old, new) in before.iter().zip(&read_all(&ledger)) {
        let is_redacted = (3..=5).contains(&old.position.get());
        assert_eq!(new.redacted_by.as_deref(), is_redacted.then_some("r1"));
        assert_eq!(
            (&old.id, &old.stream, &old.used, old.recorded_at),
            (&new.id, &new.stream, &new.used, new.recorded_at)
        );
        assert_eq!(is_redacted, old.event != new.event);
    }
    let again = ledger.redact(&tenant(), &positions(3, 5)).unwrap();
    assert_eq!(again, Redacted { already: 3, ..Redacted::default() });
    let repeat = ledger.append(&tenant(), vec![event("e3", "whatever it was")]).unwrap();
    assert!(repeat[0].duplicate && repeat[0].position == position(4), "a repeat, uncompared");
    assert!(matches!(ledger.append(&tenant(), vec![event("e7", "other")]), Err(Error::Conflict { .. })));
    let same = ledger.prove(&tenant(), position(3), Some(&signed)).unwrap();
    assert_eq!(proof, same, "proofs given before are as they were");
    drop((ledger, reader));
    let report = check(dir.path());
    assert!(report.is_intact(), "{:?}", report.damage);
    assert_eq!(report.verdict(), Verdict::ErasedWithAuthority);
    let erased = &report.logs[0].erased;
    assert_eq!((erased.payloads, erased.by_register, &erased.events[..]), (3, 0, &[position(13)][..]));
    let ledger = Ledger::open(dir.path(), small()).unwrap();
    assert_eq!(read_all(&ledger)[2].redacted_by.as_deref(), Some("r1"));
    assert!(ledger.checkpoint(&tenant()).unwrap().checkpoint.size >= signed.checkpoint.size);
    let bundle = in_memory();
    export_bundle(&ledger, &tenant(), &[], bundle.path()).unwrap();
    assert_eq!(verify_bundle(bundle.path()).unwrap().erased.payloads, 3);
    assert_gone(bundle.path(), &canaries(2..5));
}

#[test]
fn a_stream_and_a_retention_rule_select_what_they_say_and_spare_what_erasure_rests_on() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let about = |id: &str, stream: &str| {
        let mut event = event(id, &format!("{CANARY} {id}"));
        event.envelope.stream = Some(stream.into());
        event
    };
    ledger.append(&tenant(), vec![about("a", "one"), about("b", "two"), about("c", "one")]).unwrap();
    let done = ledger.redact(&tenant(), &asked(Selection::Stream("one".into()))).unwrap();
    assert_eq!(done.positions, [position(1), position(3)]);
    assert_eq!(ledger.redact(&tenant(), &asked(Selection::Stream("none".into()))).unwrap(), Redacted::default());
    let policy = PolicyChanged {
        policy: "retention".into(),
        config: RawJson::parse(r#"{"custom":{"days":30},"governance":{"days":1}}"#).unwrap(),
        reason: "policy".into(),
    };
    ledger.append(&tenant(), vec![NewEvent::new("test", "policy", policy)]).unwrap();
    let retention = ledger.retention(&tenant()).unwrap();
    let recorded = read_all(&ledger)[1].recorded_at;
    let day = 24 * 60 * 60 * 1_000_000;
    let at = |days: i64| Timestamp::from_micros(recorded.as_micros() + 1 + days * day);
    let early = ledger.redact(&tenant(), &asked(Selection::OlderThan(retention.older_than(at(0))))).unwrap();
    assert_eq!((early.positions.len(), early.kept), (0, 0));
    let late = ledger.redact(&tenant(), &asked(Selection::OlderThan(retention.older_than(at(40))))).unwrap();
    assert_eq!((late.positions, late.already, late.kept), (vec![position(2)], 2, 2));
    let refused = ledger.redact(&tenant(), &positions(4, 4)).unwrap_err();
    assert!(matches!(refused, Error::NotRedactable { .. }), "{refused}");
    assert!(matches!(ledger.redact(&tenant(), &positions(9, 90)), Err(Error::NoSuchPosition { .. })));
    assert!(matches!(ledger.redact(&tenant(), &positions(0, 1)), Err(Error::NoSuchPosition { .. })));
    drop(ledger);
    assert_gone(dir.path(), &["a", "b", "c"].map(|id| format!("{CANARY} {id}")));
    assert_eq!(check(dir.path()).verdict(), Verdict::ErasedWithAuthority);
}

#[test]
fn a_legal_hold_blocks_it_until_it_is_lifted() {
    let scopes = [
        ("tenant", true),
        ("project:default", true),
        ("project:other", false),
        ("stream:one", true),
        ("stream:two", false),
        ("?", true),
    ];
    for (scope, blocks) in scopes {
        let dir = in_memory();
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        let placed = LegalHoldPlaced { hold: "h".into(), scope: scope.into(), reason: "lawsuit".into() };
        let lifted = LegalHoldLifted { hold: "h".into(), reason: "settled".into() };
        ledger.append(&tenant(), vec![on_stream("a", "one", None)]).unwrap();
        ledger.append(&tenant(), vec![NewEvent::new("test", "place", placed)]).unwrap();
        let files_before = files(&segments_dir(dir.path()));
        match ledger.redact(&tenant(), &positions(1, 1)) {
            Err(Error::Held { position: held, hold, scope: of }) if blocks => {
                assert_eq!((held, hold.as_str(), of.as_str()), (position(1), "h", scope));
                assert!(files_before == files(&segments_dir(dir.path())), "nothing was touched");
                assert_eq!(ledger.holds(&tenant()).unwrap().len(), 1);
                ledger.append(&tenant(), vec![NewEvent::new("test", "lift", lifted)]).unwrap();
                assert!(ledger.holds(&tenant()).unwrap().is_empty());
                ledger.redact(&tenant(), &positions(1, 1)).unwrap();
            }
            Ok(done) if !blocks => assert_eq!(done.positions.len(), 1),
            other => panic!("{scope}: {other:?}"),
        }
    }
}

/// Appends, and redacts over two segments and an artifact; the redaction's outcome.
fn scenario(dir: &Path, disk: &FaultyDisk) -> Result<Redacted, Error> {
    let ledger = Ledger::open(dir, on(disk)).unwrap();
    let artifact = ledger.artifacts(&tenant()).put_bytes(CANARY.as_bytes()).unwrap();
    (0..9).for_each(|id| drop(ledger.append(&tenant(), vec![secret(id)]).unwrap()));
    // Sealing would go on beside: then no two runs had the same operations.
    let is_frames = |name: &String| name.ends_with(".frames");
    while FileSystem.list(&segments_dir(dir)).unwrap().into_iter().filter(is_frames).count() > 1 {
        std::thread::yield_now();
    }
    let before = disk.operations();
    let done = ledger.redact(&tenant(), &Redaction { artifacts: vec![artifact.blake3], ..positions(2, 8) });
    disk.mark(before);
    done
}

#[test]
fn whichever_step_fails_the_ledger_opens_and_the_redaction_is_finished_or_never_began() {
    let (dir, disk) = (in_memory(), FaultyDisk::sound());
    scenario(dir.path(), &disk).unwrap();
    let (from, to) = (disk.marked(), disk.operations());
    assert!(to - from > 30, "{from} to {to}");
    assert_gone(dir.path(), &canaries(1..8));
    let mut finished = 0;
    for at in from..to {
        for done in [false, true] {
            let (dir, disk) = (in_memory(), FaultyDisk::new(Fault::Dies { at, done }));
            let outcome = scenario(dir.path(), &disk);
            disk.set(Fault::None);
            let ledger = Ledger::open(dir.path(), on(&disk)).unwrap_or_else(|e| panic!("{at}, {done}: {e}"));
            let redacted = read_all(&ledger).iter().filter(|event| event.redacted_by.is_some()).count();
            assert!(redacted == 7 || (redacted == 0 && outcome.is_err()), "{at}, {done}: {redacted}");
            if redacted == 7 {
                finished += 1;
                drop(ledger);
                assert_gone(dir.path(), &canaries(1..8));
            } else {
                let artifact = cairn_schemas::Blake3::of(CANARY.as_bytes());
                ledger.redact(&tenant(), &Redaction { artifacts: vec![artifact], ..positions(2, 8) }).unwrap();
                drop(ledger);
            }
            let report = check(dir.path());
            assert!(report.is_intact(), "{at}, {done}: {:?}", report.damage);
            assert_eq!((report.logs[0].erased.payloads, report.logs[0].erased.artifacts.len()), (7, 1), "{at}, {done}");
            assert_eq!(report.artifacts, 0);
            assert_gone(dir.path(), &canaries(1..8));
        }
    }
    assert!(finished > 40, "{finished} were finished by opening");
}

/// A ledger before and after a redaction of positions 2 to 4.
fn before_and_after() -> (tempfile::TempDir, tempfile::TempDir) {
    let (before, after) = (in_memory(), in_memory());
    let ledger = Ledger::open(before.path(), options()).unwrap();
    (0..6).for_each(|id| drop(ledger.append(&tenant(), vec![secret(id)]).unwrap()));
    let noise = Redaction { request: "r0".into(), ..positions(6, 6) };
    ledger.redact(&tenant(), &noise).unwrap();
    drop(ledger);
    copy(before.path(), after.path());
    Ledger::open(after.path(), options()).unwrap().redact(&tenant(), &positions(2, 4)).unwrap();
    (before, after)
}

#[test]
fn a_replacement_without_an_event_and_an_event_without_its_replacement_are_found() {
    let (before, after) = before_and_after();
    let (old, new) = (sealed(before.path()), sealed(after.path()));
    assert_eq!((old.len(), new.len()), (1, 1));
    assert!(
        old[0].ends_with("00000000000000000001.g1.payloads") && new[0].ends_with("00000000000000000001.g2.payloads")
    );

    let forged = in_memory();
    copy(before.path(), forged.path());
    std::fs::remove_file(&sealed(forged.path())[0]).unwrap();
    std::fs::copy(&new[0], segments_dir(forged.path()).join(new[0].file_name().unwrap())).unwrap();
    let damage = finding(forged.path());
    assert_eq!(damage.position, Some(2), "{damage}");
    assert!(damage.expected.contains("no event authorises") && damage.found.contains("a replacement"), "{damage}");

    let reverted = in_memory();
    copy(after.path(), reverted.path());
    std::fs::remove_file(&sealed(reverted.path())[0]).unwrap();
    std::fs::copy(&old[0], segments_dir(reverted.path()).join(old[0].file_name().unwrap())).unwrap();
    let damage = finding(reverted.path());
    assert_eq!(damage.position, Some(2), "{damage}");
    assert!(damage.expected.contains("redaction not finished") && damage.found.contains("first stored"), "{damage}");

    let beside = in_memory();
    copy(after.path(), beside.path());
    std::fs::copy(&old[0], segments_dir(beside.path()).join(old[0].file_name().unwrap())).unwrap();
    let damage = finding(beside.path());
    assert!(
        damage.expected.contains("no older generation") && damage.file.ends_with("00000000000000000001.g1.payloads")
    );
    drop(Ledger::open(beside.path(), options()).unwrap());
    assert_eq!(check(beside.path()).verdict(), Verdict::ErasedWithAuthority, "opening deletes it");
}

#[test]
fn a_lost_or_cut_register_is_found() {
    let (_, after) = before_and_after();
    let register = after.path().join("register/default.register");
    let bytes = std::fs::read(&register).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(!text.contains(CANARY));
    std::fs::remove_file(&register).unwrap();
    let damage = finding(after.path());
    assert!(
        damage.file.ends_with("default.register") && damage.expected.contains("redaction of position 2"),
        "{damage}"
    );
    let three: Vec<_> = text.split_inclusive('\n').take(3).collect();
    std::fs::write(&register, three.concat()).unwrap();
    assert_eq!(finding(after.path()).position, Some(8), "the event that says so");
    std::fs::write(&register, text.replacen("redact 1", "redact 2", 1)).unwrap();
    let damage = finding(after.path());
    assert!(damage.offset == 17 && damage.expected.contains("check"), "{damage}");
    std::fs::write(&register, &bytes[..bytes.len() - 9]).unwrap();
    assert_eq!(
        check(after.path()).verdict(),
        Verdict::ErasedWithAuthority,
        "a line that was being written says nothing"
    );
    drop(Ledger::open(after.path(), options()).unwrap());
    assert_eq!(std::fs::read_to_string(&register).unwrap(), text, "and opening does again what it would have said");
}

#[test]
fn a_last_line_of_the_register_that_is_whole_and_wrong_is_damage() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append_each(&ledger, 0..2);
    let ids: Vec<_> = (0..100).map(|n| format!("{n:032x}")).collect();
    ledger.register_destroyed(&tenant(), "r1", &ids[..1], &[]).unwrap();
    ledger.register_destroyed(&tenant(), "r2", &ids, &[]).unwrap();
    drop(ledger);
    let register = dir.path().join("register/default.register");
    let bytes = std::fs::read(&register).unwrap();
    assert!(check(dir.path()).is_intact());
    let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for at in [last, last + 1, 600, bytes.len() - 2] {
        for byte in [0, b'~'] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            std::fs::write(&register, changed).unwrap();
            let damage = finding(dir.path());
            assert!(damage.file.ends_with("default.register") && damage.offset == last as u64, "{damage}");
            assert!(matches!(Ledger::open(dir.path(), options()), Err(Error::Damaged(_))), "byte {at}");
        }
    }
    // What a crash leaves of a write: no end, or a sector that it did not reach.
    let mut torn = bytes.clone();
    torn[512..1024].fill(0);
    for torn in [&torn[..], &bytes[..bytes.len() - 1], &bytes[..last + 7]] {
        std::fs::write(&register, torn).unwrap();
        assert!(check(dir.path()).is_intact());
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        ledger.register_destroyed(&tenant(), "r2", &ids, &[]).unwrap();
        assert_eq!(std::fs::read(&register).unwrap(), bytes);
    }
}

/// A backup from before a redaction is erased again by the register that outlived it.
#[test]
fn a_register_erases_a_restored_backup_again() {
    let (backup, live) = (in_memory(), in_memory());
    let ledger = Ledger::open(live.path(), options()).unwrap();
    let artifact = ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap().blake3;
    (0..6).for_each(|id| drop(ledger.append(&tenant(), vec![secret(id)]).unwrap()));
    ledger.checkpoint(&tenant()).unwrap();
    copy(live.path(), backup.path());
    ledger.redact(&tenant(), &Redaction { artifacts: vec![artifact], ..positions(2, 4) }).unwrap();
    ledger.register_destroyed(&tenant(), "r2", &["00ff".into()], &[]).unwrap();
    drop(ledger);
    let register = live.path().join("register/default.register");
    for record in [true, false] {
        let dir = in_memory();
        copy(backup.path(), dir.path());
        let head = |dir: &Path| Ledger::open_read_only(dir).unwrap().head(&tenant()).unwrap().get();
        for round in 0..2 {
            let ledger = Ledger::open(dir.path(), options()).unwrap();
            let applied = ledger.apply_register(&tenant(), &register, record).unwrap();
            assert_eq!(
                (applied.keys, applied.redactions, applied.artifacts.len()),
                (vec!["00ff".to_owned()], 1, 1 - round)
            );
            drop(ledger);
            assert_gone(dir.path(), &canaries(1..4));
            assert_eq!(head(dir.path()), if record { 7 } else { 6 });
            let report = check(dir.path());
            assert_eq!(report.verdict(), Verdict::ErasedWithAuthority, "{:?}", report.damage);
            assert_eq!(report.logs[0].erased.by_register, if record { 0 } else { 3 });
            assert!(
                !dir.path().join("artifacts/default").join(&artifact.to_hex()[..2]).join(artifact.to_hex()).exists()
            );
        }
    }
}

#[test]
fn destroyed_artifacts_are_erased_and_not_absent() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let artifact = ledger.artifacts(&tenant()).put_bytes(CANARY.as_bytes()).unwrap().blake3;
    let mut naming = secret(0);
    let Event::CustomRecorded(payload) = &mut naming.event else { unreachable!("event() makes these") };
    payload.produced.push(Ref::Artifact(artifact));
    ledger.append(&tenant(), vec![naming]).unwrap();
    let done = ledger.redact(&tenant(), &Redaction { artifacts: vec![artifact], ..positions(1, 1) }).unwrap();
    assert_eq!(done.artifacts, [artifact]);
    assert_eq!(read_all(&ledger)[0].produced, [Ref::Artifact(artifact)], "refs stay");
    drop(ledger);
    assert_gone(dir.path(), &[CANARY.to_owned()]);
    let report = check(dir.path());
    assert_eq!((report.verdict(), report.absent_count, report.absent.len()), (Verdict::ErasedWithAuthority, 0, 0));
    assert!(report.logs[0].erased.artifacts.contains(&artifact));
}

/// Readers that were there before go on through any number of swaps.
#[test]
fn readers_go_on_while_payloads_are_replaced() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), small()).unwrap();
    (0..40).for_each(|id| drop(ledger.append(&tenant(), vec![secret(id)]).unwrap()));
    let outside = Ledger::open_read_only(dir.path()).unwrap();
    std::thread::scope(|scope| {
        let readers: Vec<_> = [ledger.clone(), outside]
            .map(|reader| scope.spawn(move || (0..60).map(|_| read_all(&reader).len()).min().unwrap()))
            .into();
        for n in 1..=20 {
            ledger.redact(&tenant(), &Redaction { request: format!("r{n}"), ..positions(2 * n, 2 * n) }).unwrap();
        }
        readers.into_iter().for_each(|reader| assert!(reader.join().unwrap() >= 40));
    });
    drop(ledger);
    assert_eq!(check(dir.path()).logs[0].erased.payloads, 20);
}
