//! Every byte of a small ledger is changed, and both verifiers say the same of each: they find it, but in derived files.

use crate::support::*;
use std::path::Path;

/// Changes each `step`-th byte of each file, with a mask that changes with the offset.
fn assert_agree_on_flips(dir: &Path, step: usize) {
    let Some(mut outsider) = Outsider::start() else { return };
    let sound = cairn_says(dir);
    assert_eq!((sound.verdict.as_str(), outsider.says(dir)), ("intact", sound.clone()));
    let (mut told, mut asked) = (0, 0);
    for (path, bytes) in files(dir) {
        let is_derived = path.components().any(|part| part.as_os_str() == "index" || part.as_os_str() == "tree");
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= [0x01, 0x80, 0xff, 0x20][at % 4];
            std::fs::write(dir.join(&path), &changed).unwrap();
            let (ours, theirs) = (cairn_says(dir), outsider.says(dir));
            assert_eq!(theirs, ours, "byte {at} of {}", path.display());
            assert_eq!(ours.verdict, if is_derived { "intact" } else { "tampered" }, "byte {at} of {}", path.display());
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
