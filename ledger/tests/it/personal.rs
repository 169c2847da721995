//! What is about people: sealed in every stored byte, there for readers, gone once the key is destroyed.

#[path = "../../../schemas/tests/samples/mod.rs"]
mod samples;

use crate::common::*;
use cairn_ledger::{Error, Ledger, Options, VerifyOptions, export_bundle, verify, verify_bundle};
use cairn_schemas::events::data::SourceRegistered;
use cairn_schemas::events::governance::SubjectErased;
use cairn_schemas::personal::ATTRIBUTE;
use cairn_schemas::{Event, NewEvent, Position, Recorded, text_fields};
use samples::Samples;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const CANARY: &str = "canary-7391";

/// Changes a ledger's files.
type Harm<'a> = &'a dyn Fn(&Path);

fn two_people(id: &str, alice: &str, bob: &str) -> NewEvent {
    marked(
        id,
        &format!(
            r#"{{"a":{{"$data_subject":"alice","value":"{alice}"}},"b":[{{"value":"{bob}","$data_subject":"bob"}}],"n":1.50}}"#
        ),
    )
}

fn open_small(dir: &Path) -> Ledger {
    Ledger::open(dir, Options { segment_bytes_max: 900, ..options() }).unwrap()
}

fn data(recorded: &Recorded) -> &str {
    match &recorded.event {
        Event::CustomRecorded(event) => event.data.as_str(),
        other => panic!("{other:?}"),
    }
}

fn assert_intact(dir: &Path) {
    let report = verify(dir, &VerifyOptions::default()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damage);
}

/// Files below a folder that hold the bytes.
fn holding(dir: &Path, needle: &str) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    files(dir).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
}

fn vault_file(dir: &Path) -> PathBuf {
    dir.join("vault/default/persons.keys")
}

fn vault_key(dir: &Path) -> PathBuf {
    dir.join("keys/default/vault.key")
}

/// Every type of event, a canary in whatever may be about people.
fn samples() -> Vec<NewEvent> {
    let mut n = 0;
    let text = &mut |of: &str, pointer: &str| {
        n += 1;
        let (_, fields) = text_fields().into_iter().find(|(name, _)| *name == of).unwrap();
        let is_text = fields.iter().any(|field| {
            let pattern: Vec<&str> = field.pointer.split('/').collect();
            let parts: Vec<&str> = pointer.split('/').collect();
            pattern.len() == parts.len() && pattern.iter().zip(parts).all(|(p, part)| *p == "*" || *p == part)
        });
        if is_text { format!("{CANARY} text {n}") } else { format!("word {n}") }
    };
    let json = &mut |_: &str, _: &str| {
        format!(r#"{{ "x" : {{"$data_subject":"bob {CANARY}","value":["{CANARY}", 1.50]}}, "rest":1e3}}"#)
    };
    let events = Samples { optional: true, text, json }.all();
    let mut made = Vec::new();
    for (index, (event, json)) in events.into_iter().enumerate() {
        // Some types only the ledger itself may record.
        let structured = format!(
            r#"{{"specversion":"1.0","type":"{}","source":"test","id":"{index}","{ATTRIBUTE}":"carol {CANARY}","shade":"green","data":{json}}}"#,
            event.type_name()
        );
        let mut own = NewEvent::new("test", &index.to_string(), event);
        own.envelope.extensions =
            [(ATTRIBUTE, format!("carol {CANARY}")), ("shade", "green".into())].map(|(k, v)| (k.to_owned(), v)).into();
        match NewEvent::from_cloudevent(structured.as_bytes()) {
            Ok(new) => {
                assert_eq!(new, own);
                made.push(new);
            }
            Err(e) => assert!(e.to_string().contains("Cairn alone"), "{e}"),
        }
    }
    made
}

#[test]
fn every_type_is_sealed_in_every_stored_byte_and_reads_as_it_was_sent() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let sent = samples();
    ledger.append(&tenant(), sent.clone()).unwrap();
    // Frames are stored as they are; a torn write leaves its bytes in quarantine.
    assert_eq!(holding(dir.path(), CANARY), [] as [PathBuf; 0]);
    drop(ledger);
    let active = active_file(dir.path());
    let bytes = std::fs::read(&active).unwrap();
    let mut torn = bytes.clone();
    torn.extend_from_slice(&bytes[..bytes.len() - 20]);
    std::fs::write(&active, torn).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(holding(dir.path(), CANARY), [] as [PathBuf; 0]);
    for (recorded, sent) in read_all(&ledger).iter().zip(&sent) {
        assert_eq!((&recorded.event, &recorded.extensions), (&sent.event, &sent.envelope.extensions));
        assert!((&recorded.erased, &recorded.sealed) == (&vec![], &vec![]));
        assert!(recorded.to_cloudevent().ends_with(&format!("\"data\":{}}}", sent.event.to_json())));
    }
    let again = ledger.append(&tenant(), sent).unwrap();
    assert!(again.iter().all(|appended| appended.duplicate));
    for subject in ["bob", "carol"] {
        let destroyed = ledger.destroy_person(&tenant(), &format!("{subject} {CANARY}")).unwrap();
        assert_eq!(destroyed.keys.len(), 1);
    }
    for recorded in read_all(&ledger) {
        let named = [recorded.event.to_json(), recorded.extensions[ATTRIBUTE].clone()];
        assert!(recorded.extensions[ATTRIBUTE] == "[erased]" && recorded.erased.contains(&"@datasubject".to_owned()));
        // What names its own person is still there: those were not erased.
        assert!(!named[0].contains(&format!("bob {CANARY}")), "{}", named[0]);
        assert!(recorded.to_cloudevent().contains(r#""erased":true"#));
    }
    drop(ledger);
    assert_intact(dir.path());
}

#[test]
fn one_of_two_people_in_an_event_is_erased_and_nothing_else_changes() {
    let dir = in_memory();
    let ledger = open_small(dir.path());
    append_each(&ledger, 0..4);
    let original = two_people("both", "alice said", "bob said");
    ledger.append(&tenant(), vec![original.clone(), event("plain", "nobody")]).unwrap();
    let source = SourceRegistered {
        source: "s".into(),
        uri: "/home/alice".into(),
        kind: "folder".into(),
        owner: Some("alice".into()),
        licence: None,
        access_policy: "public".into(),
    };
    ledger.append(&tenant(), vec![NewEvent::new("test", "source", source)]).unwrap();
    append_each(&ledger, 4..9);
    let (before, chain) = (read_all(&ledger), ledger.chain_head(&tenant()));
    let signed = ledger.checkpoint(&tenant()).unwrap();
    assert_eq!(before[4].event, original.event);

    let keys = ledger.person_keys(&tenant(), "alice").unwrap();
    assert_eq!((keys.len(), ledger.person_keys(&tenant(), "nobody").unwrap().len()), (1, 0));
    let page = ledger.positions_sealed_under(&tenant(), &keys.iter().copied().collect(), Position::FIRST).unwrap();
    assert_eq!((page.positions, page.next), (vec![position(5), position(7)], None));
    let bobs: BTreeSet<_> = ledger.person_keys(&tenant(), "bob").unwrap().into_iter().collect();
    let from = ledger.positions_sealed_under(&tenant(), &bobs, position(6)).unwrap();
    assert_eq!(from.positions, []);

    let destroyed = ledger.destroy_person(&tenant(), "alice").unwrap();
    assert_eq!(destroyed.keys, keys);
    assert_eq!(destroyed.data_subject, ledger.data_subject(&tenant(), "alice").unwrap());
    assert_ne!(destroyed.data_subject, ledger.data_subject(&tenant(), "bob").unwrap());
    let mut ledger = Some(ledger);
    for _ in 0..2 {
        let ledger = ledger.take().unwrap_or_else(|| open_small(dir.path()));
        let after = read_all(&ledger);
        assert_eq!(
            data(&after[4]),
            r#"{"a":{"$data_subject":null,"erased":true},"b":[{"value":"bob said","$data_subject":"bob"}],"n":1.50}"#
        );
        assert_eq!(after[4].erased, ["/data/a"]);
        let Event::SourceRegistered(source) = &after[6].event else { panic!() };
        assert_eq!((source.uri.as_str(), source.owner.as_deref()), ("[erased]", Some("[erased]")));
        assert_eq!(after[6].erased, ["/uri", "/owner"]);
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            assert_eq!(before == after, index != 4 && index != 6);
        }
        assert_eq!((ledger.chain_head(&tenant()), ledger.checkpoint(&tenant()).unwrap()), (chain, signed.clone()));
        assert_eq!(ledger.destroy_person(&tenant(), "alice").unwrap().keys, []);
        assert_eq!(ledger.person_keys(&tenant(), "bob").unwrap().len(), 1);
    }
    assert_intact(dir.path());
}

#[test]
fn a_repeat_is_a_repeat_before_and_after_erasure() {
    let dir = in_memory();
    let ledger = open_small(dir.path());
    let append = |event| {
        ledger.append(&tenant(), vec![event]).map(|appended| (appended[0].position.get(), appended[0].duplicate))
    };
    assert_eq!(append(two_people("e", "1", "2")).unwrap(), (1, false));
    assert_eq!(append(two_people("e", "1", "2")).unwrap(), (1, true));
    for other in [two_people("e", "1", "other"), two_people("e", "other", "2"), marked("e", r#"{"n":1.50}"#)] {
        assert!(matches!(append(other).unwrap_err(), Error::Conflict { position, .. } if position.get() == 1));
    }
    ledger.destroy_person(&tenant(), "alice").unwrap();
    // Nobody may find out by guessing what alice's value was.
    assert_eq!(append(two_people("e", "1", "2")).unwrap(), (1, true));
    assert_eq!(append(two_people("e", "a guess", "2")).unwrap(), (1, true));
    assert_eq!(append(two_people("new", "again", "3")).unwrap(), (2, false));
    assert_eq!(append(two_people("new", "again", "3")).unwrap(), (2, true));
    assert!(matches!(append(two_people("new", "other", "3")).unwrap_err(), Error::Conflict { .. }));
    assert!(data(&read_all(&ledger)[1]).contains("again") && !data(&read_all(&ledger)[0]).contains("alice"));
}

#[test]
fn an_exported_bundle_holds_what_is_sealed_as_it_is_stored() {
    let (dir, out) = (in_memory(), in_memory());
    let ledger = open_small(dir.path());
    ledger.append(&tenant(), vec![two_people("e", CANARY, CANARY)]).unwrap();
    let to = out.path().join("bundle");
    export_bundle(&ledger, &tenant(), &[], &to).unwrap();
    assert_eq!(holding(out.path(), CANARY), [] as [PathBuf; 0]);
    ledger.destroy_person(&tenant(), "alice").unwrap();
    verify_bundle(&to).unwrap();
}

#[test]
fn a_key_that_was_drawn_for_an_event_that_never_came_is_used_by_the_next() {
    let (dir, before) = (in_memory(), in_memory());
    let ledger = open_small(dir.path());
    append_each(&ledger, 0..2);
    ledger.checkpoint(&tenant()).unwrap();
    copy(dir.path(), before.path());
    ledger.append(&tenant(), vec![two_people("e", "1", "2")]).unwrap();
    let keys = ledger.person_keys(&tenant(), "alice").unwrap();
    // Killed after the keys were durable and before the event was.
    for part in ["vault", "keys"] {
        copy(&dir.path().join(part), &before.path().join(part));
    }
    let ledger = open_small(before.path());
    assert_eq!(
        (ledger.head(&tenant()), ledger.person_keys(&tenant(), "alice").unwrap()),
        (Position::new(2), keys.clone())
    );
    assert!(!ledger.append(&tenant(), vec![two_people("e", "1", "2")]).unwrap()[0].duplicate);
    let page = ledger.positions_sealed_under(&tenant(), &keys.into_iter().collect(), Position::FIRST).unwrap();
    assert_eq!(page.positions, [position(3)]);
}

#[test]
fn without_the_vault_a_reader_sees_what_is_sealed_and_the_rest() {
    let (dir, copied) = (in_memory(), in_memory());
    let ledger = open_small(dir.path());
    ledger.append(&tenant(), vec![two_people("e", "1", "2")]).unwrap();
    let beside_writer = Ledger::open_read_only(dir.path()).unwrap();
    assert_eq!(read_all(&beside_writer), read_all(&ledger));
    ledger.destroy_person(&tenant(), "bob").unwrap();
    assert_eq!(read_all(&beside_writer)[0].erased, ["/data/b/0"], "a destroyed key is gone for every reader at once");
    drop(ledger);
    for missing in [&["keys", "vault"][..], &["keys"], &["vault", "keys/default/vault.key"]] {
        copy(dir.path(), copied.path());
        for part in missing {
            let path = copied.path().join(part);
            if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
        }
        let ledger = Ledger::open_read_only(copied.path()).unwrap();
        let read = read_all(&ledger);
        assert_eq!(read[0].sealed, ["/data/a", "/data/b/0"]);
        assert!(data(&read[0]).contains(r#"{"$data_subject":null,"sealed":true}"#), "{}", data(&read[0]));
    }
}

#[test]
fn a_vault_that_lost_a_file_or_got_anothers_key_says_so() {
    let (dir, other, copied) = (in_memory(), in_memory(), in_memory());
    for (dir, subject) in [(&dir, "alice"), (&other, "dan")] {
        let ledger = Ledger::open(dir.path(), Options { random: Options::default().random, ..options() }).unwrap();
        let json = format!(r#"{{"$data_subject":"{subject}","value":1}}"#);
        ledger.append(&tenant(), vec![marked("e", &json)]).unwrap();
    }
    let cases: [(Harm<'_>, &str); 3] = [
        (&|to| std::fs::remove_file(vault_key(to)).unwrap(), "vault.key"),
        (&|to| std::fs::remove_file(vault_file(to)).unwrap(), "persons.keys"),
        (&|to| assert!(std::fs::copy(vault_key(other.path()), vault_key(to)).is_ok()), "persons.keys"),
    ];
    for (index, (change, named)) in cases.iter().enumerate() {
        let to = copied.path().join(index.to_string());
        copy(dir.path(), &to);
        change(&to);
        let report = verify(&to, &VerifyOptions::default()).unwrap();
        let opened =
            Ledger::open(&to, options()).and_then(|ledger| ledger.read(&tenant(), Position::FIRST, 1).map(drop));
        let damage = opened.unwrap_err().to_string();
        assert!(damage.contains("damaged") && damage.contains(named), "{named}: {damage}");
        let found: Vec<_> = report.damage.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|found| found.contains(named)), "{named}: {found:?}");
    }
}

#[test]
fn every_changed_byte_of_the_vault_is_found_and_a_torn_end_is_cut() {
    let dir = in_memory();
    let ledger = open_small(dir.path());
    ledger.append(&tenant(), vec![two_people("e", "1", "2")]).unwrap();
    ledger.destroy_person(&tenant(), "bob").unwrap();
    let expected = read_all(&ledger);
    drop(ledger);
    for path in [vault_file(dir.path()), vault_key(dir.path())] {
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            std::fs::write(&path, changed).unwrap();
            let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
            assert!(!report.is_intact(), "{} byte {at}", path.display());
        }
        std::fs::write(&path, bytes).unwrap();
    }
    let whole = std::fs::read(vault_file(dir.path())).unwrap();
    assert_eq!(whole.len(), 256);
    for torn in [&[7; 100][..], &[0; 128], &[0; 300]] {
        std::fs::write(vault_file(dir.path()), [&whole, torn].concat()).unwrap();
        assert_intact(dir.path());
        let ledger = open_small(dir.path());
        assert_eq!(read_all(&ledger), expected);
        drop(ledger);
        let mended = std::fs::read(vault_file(dir.path())).unwrap();
        assert!(
            mended.starts_with(&whole)
                && mended.len().is_multiple_of(128)
                && mended.len() < whole.len() + torn.len().max(129)
        );
        std::fs::write(vault_file(dir.path()), &whole).unwrap();
    }
    std::fs::write(vault_file(dir.path()), [&whole[..], &[7; 128]].concat()).unwrap();
    assert!(Ledger::open(dir.path(), options()).is_err());
}

#[test]
fn keys_that_the_register_names_are_destroyed_in_a_vault_from_before() {
    let (dir, before) = (in_memory(), in_memory());
    let ledger = open_small(dir.path());
    ledger.append(&tenant(), vec![marked("a", r#"{"$data_subject":"alice","value":1}"#)]).unwrap();
    copy(dir.path(), before.path());
    ledger.append(&tenant(), vec![marked("b", r#"{"$data_subject":"bob","value":1}"#)]).unwrap();
    let mut keys = ledger.destroy_person(&tenant(), "alice").unwrap().keys;
    keys.extend(ledger.destroy_person(&tenant(), "bob").unwrap().keys);
    drop(ledger);
    // The log is today's, the vault of a backup.
    for path in [vault_file(dir.path()), vault_key(dir.path())] {
        std::fs::copy(before.path().join(path.strip_prefix(dir.path()).unwrap()), &path).unwrap();
    }
    let ledger = open_small(dir.path());
    assert!(data(&read_all(&ledger)[0]).contains("alice") && read_all(&ledger)[1].sealed == ["/data"]);
    for _ in 0..2 {
        ledger.destroy_keys(&tenant(), &keys).unwrap();
        assert!(read_all(&ledger).iter().all(|recorded| recorded.erased == ["/data"]));
    }
    drop(ledger);
    assert!(read_all(&open_small(dir.path())).iter().all(|recorded| recorded.erased == ["/data"]));
    assert_intact(dir.path());
}

#[test]
fn an_older_file_of_keys_is_found_and_brings_nothing_back() {
    let dir = in_memory();
    let ledger = open_small(dir.path());
    ledger.append(&tenant(), vec![two_people("e", "1", "2")]).unwrap();
    let before = std::fs::read(vault_file(dir.path())).unwrap();
    let keys = ledger.person_keys(&tenant(), "alice").unwrap();
    ledger.register_destroyed(&tenant(), "r1", &[keys[0].to_string()], &[]).unwrap();
    ledger.destroy_person(&tenant(), "alice").unwrap();
    drop(ledger);
    assert_intact(dir.path());
    let after = std::fs::read(vault_file(dir.path())).unwrap();
    std::fs::write(vault_file(dir.path()), &before).unwrap();
    let damage = verify(dir.path(), &VerifyOptions::default()).unwrap().damage.remove(0);
    assert!(damage.file.ends_with("persons.keys") && damage.expected.contains(&keys[0].to_string()), "{damage}");
    assert!(damage.expected.contains("the register says") && damage.expected.contains("not finished"), "{damage}");
    assert_eq!(read_all(&open_small(dir.path()))[0].erased, ["/data/a"]);
    assert_eq!(std::fs::read(vault_file(dir.path())).unwrap(), after, "bob's key is as it was");
    assert_intact(dir.path());
    // One from before the key was drawn gets a note of it; what it lost of others is found.
    std::fs::write(vault_file(dir.path()), b"").unwrap();
    let read = read_all(&open_small(dir.path()));
    assert_eq!((&read[0].erased[..], &read[0].sealed[..]), (&["/data/a".into()][..], &["/data/b/0".into()][..]));
    assert!(!verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
}

#[test]
fn an_event_that_says_a_key_was_destroyed_is_held_against_the_vault() {
    let dir = in_memory();
    let ledger = open_small(dir.path());
    ledger.append(&tenant(), vec![two_people("e", "1", "2")]).unwrap();
    let key = ledger.person_keys(&tenant(), "alice").unwrap()[0];
    ledger.register_destroyed(&tenant(), "r1", &[key.to_string()], &[]).unwrap();
    let erased = SubjectErased {
        request: "r1".into(),
        data_subject: ledger.data_subject(&tenant(), "alice").unwrap(),
        basis: "asked".into(),
        page: 1,
        pages: 1,
        keys: vec![key.to_string()],
        models: vec![],
        documents: vec![],
        artifacts: vec![],
        events: 1,
        artifact_count: 0,
        vault_backups_expire_at: None,
    };
    ledger.append(&tenant(), vec![NewEvent::new("test", "erased", erased)]).unwrap();
    ledger.checkpoint(&tenant()).unwrap();
    let damage = verify(dir.path(), &VerifyOptions::default()).unwrap().damage.remove(0);
    assert!(damage.file.ends_with("persons.keys") && damage.position == Some(2), "{damage}");
    assert!(damage.expected.contains("the event at position 2 says was destroyed"), "{damage}");
    ledger.destroy_person(&tenant(), "alice").unwrap();
    assert_intact(dir.path());
}

#[test]
fn keys_that_were_lost_are_missed_at_the_first_event_that_needs_one() {
    let (dir, copied) = (in_memory(), in_memory());
    let ledger = open_small(dir.path());
    append_each(&ledger, 0..2);
    ledger.append(&tenant(), vec![marked("a", r#"{"$data_subject":"alice","value":1}"#)]).unwrap();
    ledger.append(&tenant(), vec![marked("b", r#"{"$data_subject":"bob","value":1}"#)]).unwrap();
    ledger.append(&tenant(), vec![marked("c", r#"{"$data_subject":"bob","value":2}"#)]).unwrap();
    ledger.destroy_person(&tenant(), "alice").unwrap();
    drop(ledger);
    assert_intact(dir.path());
    let cut = |to: &Path, length: usize| {
        let bytes = std::fs::read(vault_file(to)).unwrap();
        std::fs::write(vault_file(to), &bytes[..length]).unwrap();
    };
    let cases: [(Harm<'_>, u64); 4] = [
        (&|to| cut(to, 0), 3),
        (&|to| cut(to, 128), 4),
        (&|to| cut(to, 200), 4),
        (
            &|to| {
                std::fs::remove_dir_all(to.join("vault")).unwrap();
                std::fs::remove_file(vault_key(to)).unwrap();
            },
            3,
        ),
    ];
    for (index, (change, position)) in cases.iter().enumerate() {
        let to = copied.path().join(index.to_string());
        copy(dir.path(), &to);
        change(&to);
        let damage = verify(&to, &VerifyOptions::default()).unwrap().damage;
        assert_eq!(damage.len(), 1, "{damage:?}");
        assert!(damage[0].file.ends_with("vault/default/persons.keys"), "{damage:?}");
        assert_eq!((damage[0].position, damage[0].found.as_str()), (Some(*position), "neither"), "case {index}");
        assert!(damage[0].expected.ends_with("or its tombstone"), "{damage:?}");
    }
}

#[test]
fn a_mark_that_could_not_be_erased_is_refused_with_the_event_that_holds_it() {
    let dir = in_memory();
    let ledger = open_small(dir.path());
    let nested = r#"{"$data_subject":"a","value":{"$data_subject":"b","value":1}}"#;
    let refused = ledger.append(&tenant(), vec![event("ok", "x"), marked("bad", nested)]).unwrap_err();
    assert!(refused.to_string().starts_with("event 1 of the batch") && !refused.is_retryable(), "{refused}");
    assert_eq!(ledger.head(&tenant()), None);
}
