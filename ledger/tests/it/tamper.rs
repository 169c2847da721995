//! Tampering: whatever byte of whatever file is changed, verification says so, and where.

use crate::common::*;
use cairn_ledger::{
    Depth, Error, Ledger, Options, Verdict, VerifyOptions, VerifyReport, export_bundle, verify, verify_bundle,
};
use std::path::Path;

/// Files that are not part of the record: the lock's note can be lost at any time, and the index is built again (see
/// `index.rs`).
fn is_part(name: &str) -> bool {
    name != "lock" && !name.contains("/index/")
}

fn small_ledger(dir: &Path) -> Ledger {
    let ledger = Ledger::open(dir, Options { segment_bytes_max: 900, ..options() }).unwrap();
    append_each(&ledger, 0..3);
    ledger.append(&tenant(), vec![event("b1", "two in"), event("b2", "one batch")]).unwrap();
    append_each(&ledger, 3..5);
    ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
    ledger
}

fn check(dir: &Path) -> VerifyReport {
    verify(dir, &VerifyOptions::default()).unwrap()
}

#[test]
fn an_intact_ledger_verifies_and_says_what_was_read() {
    let dir = in_memory();
    let ledger = small_ledger(dir.path());
    let (chain, signed) = (ledger.chain_head(&tenant()), ledger.checkpoint(&tenant()).unwrap());
    let beside_writer = check(dir.path());
    assert!(beside_writer.is_intact(), "{:?}", beside_writer.damage);
    drop(ledger);
    let report = check(dir.path());
    assert!(report.is_intact(), "{:?}", report.damage);
    let log = &report.logs[0];
    assert_eq!((log.log.as_str(), log.events, log.frames, log.chain_head), ("default/main/0", 7, 6, chain));
    assert_eq!(
        (log.root, log.checkpoint.as_ref(), log.unfinished_bytes),
        (Some(signed.checkpoint.root), Some(&signed), 0)
    );
    assert_eq!((report.artifacts, report.artifact_bytes), (1, 7));
}

#[test]
fn every_changed_byte_of_every_file_is_found() {
    let dir = in_memory();
    drop(small_ledger(dir.path()));
    assert!(check(dir.path()).is_intact());
    let mut checked = 0;
    for (path, bytes) in files(dir.path()) {
        let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        if !is_part(&name) {
            continue;
        }
        let is_segment = name.contains("/segments/");
        for at in 0..bytes.len() {
            for mask in [0x01, 0x20, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                std::fs::write(&path, &changed).unwrap();
                let report = check(dir.path());
                let found =
                    report.damage.first().unwrap_or_else(|| panic!("{name}, byte {at} ^ {mask:#04x} was not found"));
                if is_segment {
                    assert_eq!(
                        (found.log.as_str(), found.file.to_str().unwrap()),
                        ("default/main/0", name.as_str()),
                        "{found}"
                    );
                }
                checked += 1;
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(checked > 9_000, "{checked}");
    assert!(check(dir.path()).is_intact(), "every byte was put back");
}

/// A scrub computes no tree and hashes no payload, and yet finds whatever a disk changes or loses of a log's segments.
#[test]
fn the_chain_alone_finds_every_changed_byte_of_a_segment() {
    let dir = in_memory();
    drop(small_ledger(dir.path()));
    let scrub = || verify(dir.path(), &VerifyOptions { depth: Depth::Chain, ..VerifyOptions::default() }).unwrap();
    let (whole, everything) = (scrub(), check(dir.path()));
    assert_eq!((whole.verdict(), whole.depth, whole.logs[0].root), (Verdict::ChainIntact, Depth::Chain, None));
    assert_eq!(whole.logs[0].chain_head, everything.logs[0].chain_head);
    assert_eq!(everything.verdict(), Verdict::Intact);
    for (path, bytes) in files(&segments_dir(dir.path())) {
        let name = path.strip_prefix(dir.path()).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x04;
            std::fs::write(&path, &changed).unwrap();
            let found = scrub().damage;
            assert_eq!(found.first().map(|damage| damage.file.as_path()), Some(name), "byte {at}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(scrub().verdict(), Verdict::Tampered, "{} is gone", name.display());
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(scrub().is_intact(), "every byte was put back");
}

/// Opening does not read sealed payloads, but whatever it does read it must not take wrongly.
#[test]
fn a_missing_file_is_found_too() {
    let dir = in_memory();
    drop(small_ledger(dir.path()));
    for (path, bytes) in files(dir.path()) {
        let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        // No event names the artifact, so nothing misses it; without its digest file it is damaged.
        let is_silent = !is_part(&name) || (name.starts_with("artifacts/") && !name.ends_with(".sha256"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(check(dir.path()).is_intact(), is_silent, "{name} is gone");
        std::fs::write(&path, bytes).unwrap();
    }
}

/// A changed payload is named exactly: position, file, offset of its record, or of its block where that is compressed.
/// What comes first in a block, and what was not there before, stands in a compressed one as it is.
#[test]
fn a_changed_payload_is_named_by_its_position() {
    let dir = in_memory();
    drop(small_ledger(dir.path()));
    for (content, position) in [("content 0", 1), ("two in", 4), ("one batch", 5), ("content 4", 7)] {
        let all = files(&segments_dir(dir.path()));
        let (path, bytes, at) = all
            .iter()
            .find_map(|(path, bytes)| {
                let at = bytes.windows(content.len()).position(|window| window == content.as_bytes())?;
                Some((path, bytes, at))
            })
            .unwrap();
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(path, &changed).unwrap();
        let found = check(dir.path()).damage.remove(0);
        assert_eq!(
            (found.position, found.file.as_path()),
            (Some(position), path.strip_prefix(dir.path()).unwrap()),
            "{found}"
        );
        assert!(found.offset <= at as u64 && at as u64 - found.offset < 300, "{found} for byte {at}");
        assert!(found.expected.contains("payload commitment"), "{found}");
        std::fs::write(path, bytes).unwrap();
    }
    assert!(check(dir.path()).is_intact());
}

/// Changes the payload of the frame that holds `content`, and makes its checksum right again if it is to be.
fn change_in_frame(bytes: &mut [u8], content: &str, mend: bool) {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what).unwrap();
    let at = find(bytes, content.as_bytes());
    let start = bytes[..at].windows(8).rposition(|window| window == b"CAIRNFRM").unwrap();
    let checksum_at = at + find(&bytes[at..], b"ENDFRAME") - 4;
    bytes[at] ^= 1;
    if mend {
        let checksum = crc32c::crc32c(&bytes[start..checksum_at]);
        bytes[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Payloads are hashed beside the reading of later frames, and yet the first of two findings is the one that is named.
#[test]
fn the_first_of_two_findings_is_named() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append_each(&ledger, 0..4);
    drop(ledger);
    let active = active_file(dir.path());
    let bytes = std::fs::read(&active).unwrap();
    for (mend_first, mend_second) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut changed = bytes.clone();
        change_in_frame(&mut changed, "content 1", mend_first);
        change_in_frame(&mut changed, "content 2", mend_second);
        std::fs::write(&active, &changed).unwrap();
        let found = check(dir.path()).damage;
        assert_eq!((found.len(), found[0].position), (1, Some(2)), "{found:?}");
        assert!(found[0].expected.contains("payload commitment"), "{}", found[0]);
    }
}

/// Someone who recomputes checksums and commitments is caught by what the checkpoint signed.
#[test]
fn a_log_put_in_place_of_another_is_found() {
    let (dir, other) = (in_memory(), in_memory());
    drop(small_ledger(dir.path()));
    let ledger = Ledger::open(other.path(), Options { segment_bytes_max: 900, ..options() }).unwrap();
    append_each(&ledger, 0..7);
    drop(ledger);
    let (ours, theirs) = (segments_dir(dir.path()), segments_dir(other.path()));
    std::fs::remove_dir_all(&ours).unwrap();
    copy(&theirs, &ours);
    let found = check(dir.path()).damage.remove(0);
    assert!(found.expected.contains("tree root") || found.expected.contains("entries up to"), "{found}");
    assert!(Ledger::open(dir.path(), options()).is_err());
}

#[test]
fn a_log_cut_at_a_frame_boundary_is_found_by_its_checkpoint() {
    let dir = in_memory();
    drop(small_ledger(dir.path()));
    let active = active_file(dir.path());
    std::fs::write(&active, b"").unwrap();
    let found = check(dir.path()).damage.remove(0);
    assert!(found.expected.contains("which the checkpoint covers"), "{found}");
    assert!(matches!(Ledger::open(dir.path(), options()), Err(Error::Damaged(damage)) if *damage == found));
}

#[test]
fn a_bundle_verifies_alone() {
    let (dir, to) = (in_memory(), in_memory());
    let ledger = small_ledger(dir.path());
    let artifact = ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
    let mut naming = event("names", "the artifact");
    if let cairn_schemas::Event::CustomRecorded(payload) = &mut naming.event {
        payload.produced.push(cairn_schemas::Ref::Artifact(artifact.blake3));
    }
    ledger.append(&tenant(), vec![naming]).unwrap();
    let bundle = export_bundle(&ledger, &tenant(), &[artifact.blake3], to.path()).unwrap();
    assert!(
        matches!(export_bundle(&ledger, &tenant(), &[], to.path()), Err(Error::NotABundle { .. })),
        "never over another"
    );
    assert_eq!(Some(&bundle.verifier_key), ledger.verifier_key(&tenant()).as_ref());
    assert_eq!((bundle.checkpoint.checkpoint.size, bundle.chain_head), (8, ledger.chain_head(&tenant())));
    assert_eq!((&bundle.artifacts[..], &bundle.artifacts_named[..]), (&[artifact][..], &[artifact.blake3][..]));
    drop(ledger);
    dir.close().unwrap();
    assert_eq!(verify_bundle(to.path()).unwrap(), bundle, "without the ledger");
}

#[test]
fn every_changed_byte_of_a_bundle_and_every_file_more_or_less_is_found() {
    let (dir, to) = (in_memory(), in_memory());
    let ledger = small_ledger(dir.path());
    let artifact = ledger.artifacts(&tenant()).put_bytes(b"weights").unwrap();
    export_bundle(&ledger, &tenant(), &[artifact.blake3], to.path()).unwrap();
    for (path, bytes) in files(to.path()) {
        for at in 0..bytes.len() {
            for mask in [0x01, 0x20] {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                std::fs::write(&path, &changed).unwrap();
                assert!(verify_bundle(to.path()).is_err(), "{}, byte {at} ^ {mask:#04x}", path.display());
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(verify_bundle(to.path()).is_err(), "{} is gone", path.display());
        std::fs::write(&path, bytes).unwrap();
        let more = path.with_file_name("more");
        std::fs::write(&more, b"").unwrap();
        assert!(verify_bundle(to.path()).is_err(), "{} is too much", more.display());
        std::fs::remove_file(&more).unwrap();
    }
    verify_bundle(to.path()).unwrap();
}

/// A reader beside the writer exports what is signed, though more is there.
#[test]
fn a_reader_exports_up_to_the_stored_checkpoint() {
    let (dir, to) = (in_memory(), in_memory());
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    append_each(&ledger, 0..3);
    ledger.checkpoint(&tenant()).unwrap();
    append_each(&ledger, 3..5);
    let reader = Ledger::open_read_only(dir.path()).unwrap();
    let bundle = export_bundle(&reader, &tenant(), &[], to.path()).unwrap();
    assert_eq!((reader.head(&tenant()).unwrap().get(), bundle.checkpoint.checkpoint.size), (5, 3));
}

/// A log whose first batch was refused holds nothing, and that can be signed, exported and verified too.
#[test]
fn an_empty_log_is_a_log() {
    let (dir, to) = (in_memory(), in_memory());
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert!(matches!(ledger.checkpoint(&tenant()), Err(Error::NoLog { .. })));
    ledger.append(&tenant(), vec![event("", "refused")]).unwrap_err();
    let bundle = export_bundle(&ledger, &tenant(), &[], to.path()).unwrap();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!((bundle.checkpoint.checkpoint.size, bundle.checkpoint.checkpoint.root.to_hex()), (0, empty.to_owned()));
    drop(ledger);
    assert!(check(dir.path()).is_intact());
    append_each(&Ledger::open(dir.path(), options()).unwrap(), 0..1);
}
