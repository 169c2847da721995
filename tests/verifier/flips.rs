//! Every byte of a small ledger is changed, and both verifiers say the same of each: they find it, but in derived files.

use crate::support::*;
use std::path::Path;

/// What the verifier in Python passes over: Cairn alone says what is wrong in it.
const PASSED_OVER: [&str; 3] = ["register", "vault", "vault.key"];

/// Changes each `step`-th byte of each file, with a mask that changes with the offset.
fn assert_agree_on_flips(dir: &Path, step: usize) {
    let Some(mut outsider) = Outsider::start() else { return };
    let sound = cairn_says(dir);
    assert_eq!((sound.first.as_ref(), outsider.says(dir)), (None, sound.clone()));
    let (mut told, mut asked) = (0, 0);
    for (path, bytes) in files(dir) {
        let is_in = |names: &[&str]| path.iter().any(|part| names.iter().any(|name| part == *name));
        if is_in(&PASSED_OVER) {
            continue;
        }
        let is_derived = is_in(&["index", "tree"]);
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= [0x01, 0x80, 0xff, 0x20][at % 4];
            std::fs::write(dir.join(&path), &changed).unwrap();
            let (ours, theirs) = (cairn_says(dir), outsider.says(dir));
            assert_eq!(theirs, ours, "byte {at} of {}", path.display());
            let expected = if is_derived { &sound.verdict } else { "tampered" };
            assert_eq!(ours.verdict, expected, "byte {at} of {}", path.display());
            told += usize::from(ours.verdict == "tampered");
            asked += 1;
        }
        std::fs::write(dir.join(&path), &bytes).unwrap();
    }
    println!("{asked} bytes changed, {told} of them found by both, the others in derived files");
    assert!(told > 0);
}

#[test]
fn both_say_the_same_of_every_changed_byte_of_the_committed_ledger() {
    let dir = in_memory();
    write_files(dir.path(), &committed());
    assert_agree_on_flips(dir.path(), 1);
}

/// Hundreds of events in several bundles and blocks, and some of their bytes.
#[test]
fn both_say_the_same_of_changed_bytes_in_later_bundles_and_blocks() {
    let dir = in_memory();
    let batch = |ids: std::ops::Range<u64>| ids.map(|id| event(&format!("e{id}"), &"long ".repeat(100))).collect();
    let ledger = write_ledger(dir.path(), 900, vec![batch(0..600), batch(600..602), batch(602..603)]);
    drop(ledger);
    assert_agree_on_flips(dir.path(), 509);
}

#[test]
fn both_say_the_same_of_every_changed_byte_of_a_bundle() {
    let (dir, bundle) = (in_memory(), in_memory());
    let batches = (0..3).map(|id| vec![event(&format!("e{id}"), "content")]).collect();
    let ledger = write_ledger(dir.path(), 900, batches);
    let tenant = cairn_schemas::TenantId::default();
    let artifact = ledger.artifacts(&tenant).put_bytes(b"weights").unwrap();
    cairn_ledger::export_bundle(&ledger, &tenant, &[artifact.blake3], bundle.path()).unwrap();
    assert_agree_on_flips(bundle.path(), 1);
}

#[test]
fn both_say_the_same_of_changed_bytes_where_payloads_were_replaced() {
    let (dir, bundle) = (in_memory(), in_memory());
    let ledger = redacted(dir.path(), 900);
    cairn_ledger::export_bundle(&ledger, &cairn_schemas::TenantId::default(), &[], bundle.path()).unwrap();
    drop(ledger);
    assert_eq!(cairn_says(dir.path()).verdict, "erased with authority");
    assert_agree_on_flips(dir.path(), 5);
    assert_eq!(cairn_says(bundle.path()).verdict, "erased with authority");
    assert_agree_on_flips(bundle.path(), 5);
}

#[test]
fn both_say_the_same_of_changed_bytes_where_fields_are_sealed_and_blocks_compressed() {
    let (dir, other) = (in_memory(), in_memory());
    drop(about_people(dir.path(), 900));
    assert_agree_on_flips(dir.path(), 5);
    drop(compressed(other.path()));
    assert_agree_on_flips(other.path(), 5);
}
