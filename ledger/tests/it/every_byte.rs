//! Every file is what the table in `docs/format.md` says: of what is truth no byte can change unseen, what is derived can
//! be changed or lost and is made again, the rest is no part of the record.

use crate::common::*;
use cairn_ledger::{
    FileSystem, Ledger, Options, Redaction, Selection, VaultBackup, Verdict, VerifyOptions, VerifyReport, backup_vault,
    verify,
};
use std::path::Path;

const FORMAT: &str = include_str!("../../../docs/format.md");
/// Changes of one byte.
const MASKS: [u8; 2] = [0x01, 0xff];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Truth,
    Derived,
    NoPart,
}

/// What the table says of a file. A file that no row describes fails the test.
fn class(name: &str) -> Class {
    let rows = FORMAT.lines().skip_while(|line| *line != "## Files").skip(4).take_while(|line| line.starts_with('|'));
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let path = cells[1].trim_matches('`').replace("…/<shard>", "logs/<tenant>/<kind>/<shard>");
        if !matches(&path, name) {
            continue;
        }
        let is = |word| cells[3].starts_with(word);
        return match () {
            // A sidecar is checked against its artifact.
            () if is("truth") || is("follows") => Class::Truth,
            () if is("derived") => Class::Derived,
            () if is("no part") || is("removed") => Class::NoPart,
            () => panic!("`{}` says neither truth nor derived nor no part", cells[3]),
        };
    }
    panic!("docs/format.md has no row for {name}");
}

/// Whether a path is of the form `a/<b>.c`, each `<…>` standing for anything but `/`.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('<') else { return pattern == name };
    let (Some((_, after)), Some(name)) = (rest.split_once('>'), name.strip_prefix(before)) else { return false };
    let longest = name.find('/').unwrap_or(name.len());
    (1..=longest).rev().any(|length| name.is_char_boundary(length) && matches(after, &name[length..]))
}

fn small() -> Options {
    Options { segment_bytes_max: 900, ..options() }
}

/// Sealed segments, one of them redacted, an active one, an artifact, a destroyed one, a person's key, a backup of it.
fn whole_ledger(dir: &Path) {
    let ledger = Ledger::open(dir, small()).unwrap();
    append_each(&ledger, 0..4);
    ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
    let gone = ledger.artifacts(&tenant()).put_bytes(b"gone").unwrap().blake3;
    let selection = Selection::Positions(vec![2..=2]);
    let redaction = Redaction { selection, request: "r1".into(), basis: "mistake".into(), artifacts: vec![gone] };
    ledger.redact(&tenant(), &redaction).unwrap();
    append_each(&ledger, 4..6);
    ledger.append(&tenant(), vec![marked("person", r#"{"$data_subject":"alice","value":1}"#)]).unwrap();
    drop(ledger);
    let (time, dest) = (|text: &str| text.parse().unwrap(), in_memory());
    let backup = VaultBackup { taken: time("2026-01-01"), expires: time("2026-02-01") };
    backup_vault(&FileSystem, dir, dest.path(), backup).unwrap();
}

fn check(dir: &Path) -> VerifyReport {
    verify(dir, &VerifyOptions::default()).unwrap()
}

/// Opens for writing, and does what rests on derived files: repeats are known, events read and proven.
fn works(dir: &Path, of: &str) {
    let ledger = Ledger::open(dir, small()).unwrap_or_else(|e| panic!("{of}: {e}"));
    let known = ledger.append(&tenant(), vec![event("e3", "content 3")]).unwrap();
    assert!(known[0].duplicate && known[0].position == position(4), "{of}");
    assert!(ledger.append(&tenant(), vec![event("e3", "another")]).is_err(), "{of}");
    let signed = ledger.checkpoint(&tenant()).unwrap();
    ledger.prove(&tenant(), position(1), Some(&signed)).unwrap_or_else(|e| panic!("{of}: {e}"));
    assert_eq!(read_all(&ledger).len() as u64, signed.checkpoint.size, "{of}");
    drop(ledger);
    let report = check(dir);
    assert!(report.is_intact(), "{of}: {:?}", report.damage);
}

#[test]
fn every_byte_of_every_file_is_vouched_for_or_made_again() {
    let dir = in_memory();
    whole_ledger(dir.path());
    assert_eq!(check(dir.path()).verdict(), Verdict::ErasedWithAuthority);
    let (mut found, mut made_again) = (0, 0);
    for (path, bytes) in files(dir.path()) {
        let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        let class = class(&name);
        for (at, mask) in (0..bytes.len()).flat_map(|at| MASKS.map(|mask| (at, mask))) {
            let of = format!("{name}, byte {at} ^ {mask:#04x}");
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            match class {
                Class::Truth => {
                    std::fs::write(&path, &changed).unwrap();
                    // The newline that ends a register is all that tells its last line from one being written; and what
                    // that line says is done again.
                    let is_end = name.starts_with("register/") && at == bytes.len() - 1;
                    assert!(!check(dir.path()).is_intact() || is_end, "{of} was not found");
                    found += 1;
                }
                Class::NoPart => {
                    std::fs::write(&path, &changed).unwrap();
                    assert!(check(dir.path()).is_intact(), "{of}");
                }
                Class::Derived => {
                    let copied = in_memory();
                    copy(dir.path(), copied.path());
                    std::fs::write(copied.path().join(&name), &changed).unwrap();
                    works(copied.path(), &of);
                    made_again += 1;
                }
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(found > 6_000 && made_again > 100, "{found} found, {made_again} made again");
    assert_eq!(check(dir.path()).verdict(), Verdict::ErasedWithAuthority, "every byte was put back");
}

#[test]
fn every_file_that_is_lost_is_missed_or_made_again() {
    let dir = in_memory();
    whole_ledger(dir.path());
    for (path, bytes) in files(dir.path()) {
        let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        std::fs::remove_file(&path).unwrap();
        match class(&name) {
            // No event names the artifact that is left, so nothing misses it.
            Class::Truth if name.starts_with("artifacts/") && !name.ends_with(".sha256") => {}
            // Nothing else says that there was a backup of keys.
            Class::Truth if name == "vault-backups" => {}
            Class::Truth => assert!(!check(dir.path()).is_intact(), "{name} is gone"),
            Class::NoPart => assert!(check(dir.path()).is_intact(), "{name} is gone"),
            Class::Derived => {
                assert!(check(dir.path()).is_intact(), "{name} is gone");
                let copied = in_memory();
                copy(dir.path(), copied.path());
                works(copied.path(), &name);
            }
        }
        std::fs::write(&path, bytes).unwrap();
    }
}

/// The file of roots begins with the first full bundle of 256 entries.
#[test]
fn every_byte_of_the_tree_s_file_may_change_or_be_lost() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), small()).unwrap();
    let batch = |from: u64| (from..from + 130).map(|id| event(&format!("e{id}"), &format!("content {id}"))).collect();
    for from in [0, 130, 260] {
        ledger.append(&tenant(), batch(from)).unwrap();
    }
    drop(ledger);
    drop(Ledger::open(dir.path(), small()).unwrap());
    let tree = dir.path().join("logs/default/main/0/tree");
    let bytes = std::fs::read(&tree).unwrap();
    assert_eq!(class("logs/default/main/0/tree"), Class::Derived);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        std::fs::write(&tree, &changed).unwrap();
        works(dir.path(), &format!("byte {at} of tree"));
    }
    std::fs::remove_file(&tree).unwrap();
    works(dir.path(), "no tree");
}
