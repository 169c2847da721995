use super::*;
use crate::checkpoint::LogSigner;
use crate::tree::root_of;
use proptest::prelude::*;
use std::collections::HashMap;

/// Leaves of a tree that tests prove: leaf *n* is the hash of its number.
fn leaves(count: u64) -> Vec<Sha256> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn root(leaves: &[Sha256], range: &Range<u64>) -> Sha256 {
    root_of(&leaves[range.start as usize..range.end as usize])
}

fn inclusion(leaves: &[Sha256], index: u64) -> Vec<Sha256> {
    inclusion_ranges(index, leaves.len() as u64).iter().map(|range| root(leaves, range)).collect()
}

fn consistency(leaves: &[Sha256], old: u64) -> Vec<Sha256> {
    consistency_ranges(old, leaves.len() as u64).iter().map(|range| root(leaves, range)).collect()
}

/// The greatest power of two below `n`, as the definitions have it.
fn k(n: u64) -> u64 {
    n.next_power_of_two() / 2
}

/// RFC 6962, section 2.1.1, word for word, over stretches of leaves.
fn path_by_definition(m: u64, leaves: Range<u64>) -> Vec<Range<u64>> {
    let n = leaves.end - leaves.start;
    if n == 1 {
        return Vec::new();
    }
    let middle = leaves.start + k(n);
    let (mut path, last) = match m < k(n) {
        true => (path_by_definition(m, leaves.start..middle), middle..leaves.end),
        false => (path_by_definition(m - k(n), middle..leaves.end), leaves.start..middle),
    };
    path.push(last);
    path
}

/// RFC 6962, section 2.1.2, word for word, over stretches of leaves.
fn subproof_by_definition(m: u64, leaves: Range<u64>, whole: bool) -> Vec<Range<u64>> {
    let n = leaves.end - leaves.start;
    if m == n {
        return if whole { Vec::new() } else { vec![leaves] };
    }
    let middle = leaves.start + k(n);
    let (mut path, last) = match m <= k(n) {
        true => (subproof_by_definition(m, leaves.start..middle, whole), middle..leaves.end),
        false => (subproof_by_definition(m - k(n), middle..leaves.end, false), leaves.start..middle),
    };
    path.push(last);
    path
}

/// Roots over stretches of leaves by the definition of RFC 6962, each computed once.
struct Roots {
    leaves: Vec<Sha256>,
    known: HashMap<Range<u64>, Sha256>,
}

impl Roots {
    fn of(&mut self, range: &Range<u64>) -> Sha256 {
        let n = range.end - range.start;
        if n == 1 {
            return self.leaves[range.start as usize];
        }
        if let Some(root) = self.known.get(range) {
            return *root;
        }
        let middle = range.start + k(n);
        let root = node_hash(&self.of(&(range.start..middle)), &self.of(&(middle..range.end)));
        self.known.insert(range.clone(), root);
        root
    }
}

#[test]
fn every_proof_of_every_tree_up_to_600_leaves_is_the_definitions_and_holds() {
    let mut roots = Roots { leaves: leaves(600), known: HashMap::new() };
    for size in 1..=600 {
        let root = roots.of(&(0..size));
        for index in 0..size {
            let ranges = inclusion_ranges(index, size);
            assert_eq!(ranges, path_by_definition(index, 0..size), "leaf {index} of {size}");
            let path: Vec<_> = ranges.iter().map(|range| roots.of(range)).collect();
            verify_inclusion(&roots.leaves[index as usize], index, size, &path, &root).unwrap();
            let old = index + 1;
            let ranges = consistency_ranges(old, size);
            assert_eq!(ranges, subproof_by_definition(old, 0..size, true), "from {old} to {size}");
            let path: Vec<_> = ranges.iter().map(|range| roots.of(range)).collect();
            verify_consistency(old, &roots.of(&(0..old)), size, &root, &path).unwrap();
        }
    }
}

/// The vectors of Certificate Transparency's reference implementation (`merkle_tree_test.cc`): index and size from 0.
#[test]
fn gives_the_known_paths() {
    let inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let leaves: Vec<_> = inputs.iter().map(|input| leaf_hash(&hex::decode(input).unwrap())).collect();
    let hexes = |path: Vec<Sha256>| path.iter().map(Sha256::to_hex).collect::<Vec<_>>();
    assert_eq!(hexes(inclusion(&leaves[..1], 0)), Vec::<String>::new());
    let expected = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ];
    assert_eq!(hexes(inclusion(&leaves, 0)), expected);
    let expected = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(hexes(inclusion(&leaves, 5)), expected);
    let expected = ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"];
    assert_eq!(hexes(inclusion(&leaves[..3], 2)), expected);
    let expected = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ];
    assert_eq!(hexes(inclusion(&leaves[..5], 1)), expected);
    let expected = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ];
    assert_eq!(hexes(consistency(&leaves, 1)), expected);
    let expected = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(hexes(consistency(&leaves, 6)), expected);
    let expected = [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ];
    assert_eq!(hexes(consistency(&leaves[..5], 2)), expected);
}

#[test]
fn trees_of_one_size_are_consistent_if_they_are_one() {
    let (a, b) = (root_of(&leaves(5)), root_of(&leaves(6)));
    verify_consistency(5, &a, 5, &a, &[]).unwrap();
    verify_consistency(5, &a, 5, &b, &[]).unwrap_err();
    verify_consistency(5, &a, 5, &a, &[a]).unwrap_err();
    verify_consistency(6, &b, 5, &a, &[]).unwrap_err();
    verify_consistency(0, &root_of(&[]), 5, &a, &[]).unwrap();
    verify_consistency(0, &root_of(&[]), 5, &a, &[b]).unwrap_err();
    verify_consistency(0, &a, 5, &a, &[]).unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// A proof for one leaf, tree and root proves no other leaf, index, size or root, and no changed proof holds.
    #[test]
    fn a_tampered_inclusion_proof_is_refused(size in 1u64..700, at in any::<u64>(), bit in 0usize..256, other in any::<u64>()) {
        let (leaves, index) = (leaves(size), at % size);
        let (path, root) = (inclusion(&leaves, index), root_of(&leaves));
        let leaf = leaves[index as usize];
        verify_inclusion(&leaf, index, size, &path, &root).unwrap();
        let flip = |hash: &Sha256| { let mut bytes = *hash.as_bytes(); bytes[bit / 8] ^= 1 << (bit % 8); Sha256::from_bytes(bytes) };
        prop_assert!(verify_inclusion(&flip(&leaf), index, size, &path, &root).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &path, &flip(&root)).is_err());
        let other = other % size;
        prop_assert_eq!(other != index, verify_inclusion(&leaf, other, size, &path, &root).is_err());
        prop_assert!(verify_inclusion(&leaf, size, size, &path, &root).is_err());
        for place in 0..path.len() {
            let mut changed = path.clone();
            changed[place] = flip(&changed[place]);
            prop_assert!(verify_inclusion(&leaf, index, size, &changed, &root).is_err());
            changed = path.clone();
            changed.remove(place);
            prop_assert!(verify_inclusion(&leaf, index, size, &changed, &root).is_err());
        }
        let longer: Vec<_> = path.iter().copied().chain([root]).collect();
        prop_assert!(verify_inclusion(&leaf, index, size, &longer, &root).is_err());
    }

    #[test]
    fn a_tampered_consistency_proof_is_refused(size in 2u64..700, at in any::<u64>(), bit in 0usize..256) {
        let (leaves, old) = (leaves(size), 1 + at % (size - 1));
        let (path, root, old_root) = (consistency(&leaves, old), root_of(&leaves), root_of(&leaves[..old as usize]));
        verify_consistency(old, &old_root, size, &root, &path).unwrap();
        let flip = |hash: &Sha256| { let mut bytes = *hash.as_bytes(); bytes[bit / 8] ^= 1 << (bit % 8); Sha256::from_bytes(bytes) };
        prop_assert!(verify_consistency(old, &flip(&old_root), size, &root, &path).is_err());
        prop_assert!(verify_consistency(old, &old_root, size, &flip(&root), &path).is_err());
        for place in 0..path.len() {
            let mut changed = path.clone();
            changed[place] = flip(&changed[place]);
            prop_assert!(verify_consistency(old, &old_root, size, &root, &changed).is_err());
            changed = path.clone();
            changed.remove(place);
            prop_assert!(verify_consistency(old, &old_root, size, &root, &changed).is_err());
        }
        let longer: Vec<_> = path.iter().copied().chain([root]).collect();
        prop_assert!(verify_consistency(old, &old_root, size, &root, &longer).is_err());
    }
}

/// A proof of the second of three entries.
fn example() -> (LogSigner, InclusionProof) {
    let signer = LogSigner::new("log.example.com/default/main/0", &[7; 32]);
    let entries = [b"one", b"two", b"six"];
    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(&entry[..])).collect();
    let origin = signer.verifier().origin().to_owned();
    let signed = Checkpoint { origin, size: 3, root: root_of(&leaves) }.sign(&signer);
    (signer, InclusionProof { index: 1, path: inclusion(&leaves, 1), entry: Some(b"two".to_vec()), note: signed.note })
}

#[test]
fn a_proof_file_comes_back_and_no_changed_one_is_believed() {
    let (signer, proof) = example();
    let text = proof.encode();
    assert_eq!(InclusionProof::decode(&text).unwrap(), proof);
    assert_eq!(proof.verify(signer.verifier(), b"two").unwrap().checkpoint.size, 3);
    proof.verify(signer.verifier(), b"six").unwrap_err();
    let without = InclusionProof { entry: None, ..proof.clone() };
    assert_eq!(InclusionProof::decode(&without.encode()).unwrap(), without);
    for at in 0..text.len() * 8 {
        let mut bytes = text.clone().into_bytes();
        bytes[at / 8] ^= 1 << (at % 8);
        let Ok(other) = String::from_utf8(bytes) else { continue };
        let Ok(other) = InclusionProof::decode(&other) else { continue };
        let entry = other.entry.clone().unwrap_or_default();
        assert!(other.verify(signer.verifier(), &entry).is_err(), "bit {at}: {other:?}");
    }
}

#[test]
fn a_consistency_proof_comes_back_and_holds_for_its_older_checkpoint_alone() {
    let signer = LogSigner::new("log.example.com/default/main/0", &[7; 32]);
    let origin = signer.verifier().origin().to_owned();
    let all = leaves(9);
    let checkpoint =
        |size: usize| Checkpoint { origin: origin.clone(), size: size as u64, root: root_of(&all[..size]) };
    let note = checkpoint(9).sign(&signer).note;
    let proof = ConsistencyProof { old_size: 4, path: consistency(&all, 4), note };
    assert_eq!(ConsistencyProof::decode(&proof.encode()).unwrap(), proof);
    assert_eq!(proof.verify(signer.verifier(), &checkpoint(4)).unwrap().checkpoint, checkpoint(9));
    proof.verify(signer.verifier(), &checkpoint(5)).unwrap_err();
    proof.verify(signer.verifier(), &Checkpoint { root: root_of(&all[..5]), ..checkpoint(4) }).unwrap_err();
    proof.verify(signer.verifier(), &Checkpoint { origin: "another".into(), ..checkpoint(4) }).unwrap_err();
}
