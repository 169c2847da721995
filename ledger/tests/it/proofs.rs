//! Proofs and tiles of real ledgers: sealed and active segments, lost and damaged nodes, and what an outsider computes.

use crate::common::*;
use cairn_ledger::{
    Error, InclusionProof, Ledger, LogVerifier, Options, SignedCheckpoint, Tile, TilePath, export_tiles, leaf_hash,
};
use cairn_schemas::Sha256;
use sha2::Digest;
use std::path::Path;

fn small_segments() -> Options {
    Options { segment_bytes_max: 24 << 10, ..options() }
}

/// Single events, batches across bundles and a long one; the checkpoints on the way.
fn fill(ledger: &Ledger) -> Vec<SignedCheckpoint> {
    let mut checkpoints = Vec::new();
    let mut id = 0;
    for length in [1, 1, 1, 5, 250, 1, 40, 1, 300, 2, 168, 1, 1] {
        let batch = (0..length).map(|_| {
            id += 1;
            event(&format!("e{id}"), &format!("content {id}"))
        });
        ledger.append(&tenant(), batch.collect()).unwrap();
        checkpoints.push(ledger.checkpoint(&tenant()).unwrap());
    }
    checkpoints
}

fn key(ledger: &Ledger) -> LogVerifier {
    LogVerifier::decode(&ledger.verifier_key(&tenant()).unwrap()).unwrap()
}

fn prove_all(ledger: &Ledger, signed: &SignedCheckpoint) {
    let key = key(ledger);
    for n in 1..=signed.checkpoint.size {
        let proof = ledger.prove(&tenant(), position(n), Some(signed)).unwrap();
        let entry = proof.entry.clone().unwrap();
        assert_eq!(u64::from_be_bytes(entry[2..10].try_into().unwrap()), n, "the entry is that position's");
        let again = InclusionProof::decode(&proof.encode()).unwrap();
        assert_eq!(&again.verify(&key, &entry).unwrap(), signed);
    }
}

#[test]
fn every_event_is_proved_to_every_later_checkpoint_and_every_checkpoint_to_the_next() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
    let checkpoints = fill(&ledger);
    let key = key(&ledger);
    for newer in &checkpoints {
        prove_all(&ledger, newer);
        for older in checkpoints.iter().take_while(|older| older.checkpoint.size <= newer.checkpoint.size) {
            let size = older.checkpoint.size;
            let (root, proof) = ledger.prove_consistency(&tenant(), size, Some(newer)).unwrap();
            assert_eq!(root, older.checkpoint.root);
            proof.verify(&key, &older.checkpoint).unwrap();
        }
    }
    let first = &checkpoints[0];
    let beyond = ledger.prove(&tenant(), position(2), Some(first)).unwrap_err();
    assert!(matches!(beyond, Error::NotCovered { position: 2, size: 1 }), "{beyond}");
    let foreign = SignedCheckpoint { note: first.note.replace('1', "2"), ..first.clone() };
    assert!(matches!(ledger.prove(&tenant(), position(1), Some(&foreign)), Err(Error::Proof { .. })));
}

/// The file of nodes may be lost, short or damaged; readers and a ledger opened again prove the same.
#[test]
fn nodes_are_made_good_from_the_entries() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
    let last = fill(&ledger).pop().unwrap();
    drop(ledger);
    let path = dir.path().join("logs/default/main/0/tree");
    let whole = std::fs::read(&path).expect("seals leave the nodes");
    let bundles = (whole.len() as u64 - 16) / 36;
    assert!((2..=3).contains(&bundles) && whole.len() as u64 == 16 + 36 * bundles, "of the bundles that are sealed");
    let mut wrong_but_consistent = whole[..16].to_vec();
    for bundle in 0..bundles {
        let root = [bundle as u8; 32];
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bundle.to_be_bytes()), &root);
        wrong_but_consistent.extend_from_slice(&root);
        wrong_but_consistent.extend_from_slice(&checksum.to_be_bytes());
    }
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    for stored in [&whole[..], &whole[..60], &whole[..7], &flipped, &wrong_but_consistent, &[]] {
        std::fs::write(&path, stored).unwrap();
        prove_all(&Ledger::open_read_only(dir.path()).unwrap(), &last);
        assert_eq!(std::fs::read(&path).unwrap(), stored, "a reader writes nothing");
        prove_all(&Ledger::open(dir.path(), small_segments()).unwrap(), &last);
    }
    std::fs::remove_file(&path).unwrap();
    let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
    prove_all(&ledger, &last);
    append_each(&ledger, 1_000_000..1_000_200);
    drop(ledger);
    assert!(std::fs::read(&path).unwrap().starts_with(&whole), "the next seal writes them all");
}

/// Nothing is proved of entries that are not what was signed.
#[test]
fn changed_entries_are_named_and_never_proved() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    fill(&ledger);
    let file = active_file(dir.path());
    let mut bytes = std::fs::read(&file).unwrap();
    // The commitment of the first entry: 48 bytes of header, 2 of length, 42 of the entry.
    bytes[48 + 2 + 42] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    for n in [1, 2, 300, 700] {
        let error = ledger.prove(&tenant(), position(n), None).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "position {n}: {error}");
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = sha2::Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// RFC 6962's `MTH` over node hashes, by its definition.
fn root(nodes: &[[u8; 32]]) -> [u8; 32] {
    match nodes {
        [] => sha256(&[]),
        [one] => *one,
        _ => {
            let (left, right) = nodes.split_at(nodes.len().next_power_of_two() / 2);
            sha256(&[&[1], &root(left), &root(right)])
        }
    }
}

fn hashes(dir: &Path, tile: &str) -> Vec<[u8; 32]> {
    let bytes = std::fs::read(dir.join("tile").join(tile)).unwrap_or_default();
    bytes.chunks_exact(32).map(|hash| hash.try_into().unwrap()).collect()
}

fn leaves(dir: &Path, tile: &str) -> Vec<[u8; 32]> {
    let bytes = std::fs::read(dir.join("tile").join(tile)).unwrap();
    let (mut rest, mut leaves) = (&bytes[..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        leaves.push(sha256(&[&[0], entry]));
        assert_eq!(Sha256::from_bytes(*leaves.last().unwrap()), leaf_hash(entry));
        rest = after;
    }
    leaves
}

/// Computes the root from an export as an outsider would, without code of the ledger.
fn check_export(dir: &Path, signed: &SignedCheckpoint) {
    assert_eq!(std::fs::read_to_string(dir.join("checkpoint")).unwrap(), signed.note);
    let size = signed.checkpoint.size as usize;
    let (full, rest) = (size / 256, size % 256);
    let name = |n: usize, width: usize| if width == 256 { format!("{n:03}") } else { format!("{n:03}.p/{width}") };
    let mut all = Vec::new();
    for n in 0..=full {
        let width = if n < full { 256 } else { rest };
        if width > 0 {
            let from_entries = leaves(dir, &format!("entries/{}", name(n, width)));
            assert_eq!(from_entries, hashes(dir, &format!("0/{}", name(n, width))), "tile {n} of width {width}");
            all.extend(from_entries);
        }
    }
    assert_eq!(all.len(), size);
    assert_eq!(root(&all), *signed.checkpoint.root.as_bytes());
    let above: Vec<_> = (0..full).map(|n| root(&all[n * 256..(n + 1) * 256])).collect();
    assert_eq!(above, hashes(dir, &format!("1/{}", name(0, full))), "level 1 hashes full tiles only");
}

#[test]
fn exported_tiles_give_the_signed_root_and_are_brought_up_to_date() {
    let (dir, out) = (in_memory(), in_memory());
    let ledger = Ledger::open(dir.path(), small_segments()).unwrap();
    append_each(&ledger, 1..4);
    let first = export_tiles(&ledger, &tenant(), out.path()).unwrap();
    assert_eq!(first.checkpoint.size, 3);
    check_export(out.path(), &first);
    append_each(&ledger, 10_000..10_300);
    check_export(out.path(), &export_tiles(&ledger, &tenant(), out.path()).unwrap());
    fill_rest(&ledger);
    let last = export_tiles(&ledger, &tenant(), out.path()).unwrap();
    check_export(out.path(), &last);
    check_export(out.path(), &export_tiles(&ledger, &tenant(), out.path()).unwrap());

    let other = in_memory();
    std::fs::write(other.path().join("notes.txt"), "mine").unwrap();
    assert!(matches!(export_tiles(&ledger, &tenant(), other.path()), Err(Error::NotABundle { .. })));
    let fork = in_memory();
    let forked = Ledger::open(fork.path(), options()).unwrap();
    append_each(&forked, 1..2);
    let refused = export_tiles(&forked, &tenant(), out.path());
    assert!(matches!(refused, Err(Error::NotABundle { .. })), "a shorter or another history does not replace it");
}

fn fill_rest(ledger: &Ledger) {
    let batch = (0..477).map(|n| event(&format!("r{n}"), "the rest"));
    ledger.append(&tenant(), batch.collect()).unwrap();
}

#[test]
fn tiles_beyond_the_signed_size_are_not_there() {
    let dir = in_memory();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    fill_rest(&ledger);
    ledger.checkpoint(&tenant()).unwrap();
    append_each(&ledger, 0..5);
    let there = |text: &str| ledger.tile(&tenant(), &TilePath::parse(text).unwrap());
    for (text, bytes) in [("0/000", 8192), ("0/001.p/221", 221 * 32), ("0/001.p/3", 96), ("1/000.p/1", 32)] {
        assert_eq!(there(text).unwrap().len(), bytes, "{text}");
    }
    for text in ["0/001.p/222", "0/001", "0/002.p/1", "1/000.p/2", "2/000.p/1", "63/000.p/1", "entries/001.p/222"] {
        assert!(matches!(there(text), Err(Error::NoTile { .. })), "{text}");
    }
    let path = TilePath { tile: Tile::Hashes { level: 9 }, number: u64::MAX, width: 256 };
    assert!(matches!(ledger.tile(&tenant(), &path), Err(Error::NoTile { .. })));
}
