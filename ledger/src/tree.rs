//! The RFC 6962 Merkle tree over entries, SHA-256, kept as its right edge: memory grows with the logarithm.

pub(crate) mod nodes;

use cairn_schemas::Sha256;
use sha2::Digest;

const LEAF_PREFIX: &[u8] = &[0];
const NODE_PREFIX: &[u8] = &[1];
/// Height of a subtree over the 256 entries of one published bundle.
pub(crate) const BUNDLE_LEVEL: u32 = 8;

/// The roots of the full subtrees from left to right, one for each set bit of the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    subtrees: Vec<Sha256>,
}

impl Tree {
    /// A tree from its right edge, as a sealed segment's footer holds it. `None` if the two do not fit.
    pub(crate) fn from_parts(size: u64, subtrees: Vec<Sha256>) -> Option<Self> {
        (size.count_ones() as usize == subtrees.len()).then_some(Self { size, subtrees })
    }
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
    pub(crate) fn subtrees(&self) -> &[Sha256] {
        &self.subtrees
    }

    /// Adds an entry. Where it completes a bundle of 256, gives the root over that bundle.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Option<Sha256> {
        self.push_leaf(leaf_hash(entry))
    }

    pub(crate) fn push_leaf(&mut self, leaf: Sha256) -> Option<Sha256> {
        let (mut node, mut bundle) = (leaf, None);
        for level in 1..=self.size.trailing_ones() {
            let left = self.subtrees.pop().expect("one subtree for each set bit");
            node = node_hash(&left, &node);
            if level == BUNDLE_LEVEL {
                bundle = Some(node);
            }
        }
        self.subtrees.push(node);
        self.size += 1;
        bundle
    }

    /// RFC 6962 `MTH`; the hash of nothing for an empty tree.
    pub(crate) fn root(&self) -> Sha256 {
        let mut subtrees = self.subtrees.iter().rev().copied();
        let Some(rightmost) = subtrees.next() else { return empty_root() };
        subtrees.fold(rightmost, |right, left| node_hash(&left, &right))
    }
}

/// Hash of a leaf (RFC 6962, section 2.1): of an entry without its length.
pub fn leaf_hash(entry: &[u8]) -> Sha256 {
    sha256(&[LEAF_PREFIX, entry])
}

pub(crate) fn node_hash(left: &Sha256, right: &Sha256) -> Sha256 {
    sha256(&[NODE_PREFIX, left.as_bytes(), right.as_bytes()])
}

pub(crate) fn empty_root() -> Sha256 {
    sha256(&[])
}

/// RFC 6962 `MTH` over leaf hashes.
#[cfg(test)]
pub(crate) fn root_of(leaves: &[Sha256]) -> Sha256 {
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.push_leaf(*leaf);
    }
    tree.root()
}

fn sha256(parts: &[&[u8]]) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Sha256::from_bytes(hasher.finalize().into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The test vectors of Certificate Transparency, in use since RFC 6962 (`merkle_tree_test.cc`).
    #[test]
    fn gives_the_known_roots() {
        let leaves =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_hex(), roots[0]);
        for (leaf, root) in leaves.iter().zip(&roots[1..]) {
            tree.push(&hex::decode(leaf).unwrap());
            assert_eq!(tree.root().to_hex(), *root, "size {}", tree.size());
        }
    }

    /// The definition of RFC 6962, section 2.1, word for word.
    pub(crate) fn by_definition(leaves: &[Vec<u8>]) -> Sha256 {
        match leaves.len() {
            0 => sha256(&[]),
            1 => sha256(&[LEAF_PREFIX, &leaves[0]]),
            n => {
                let k = n.next_power_of_two() / 2;
                let (left, right) = (by_definition(&leaves[..k]), by_definition(&leaves[k..]));
                sha256(&[NODE_PREFIX, left.as_bytes(), right.as_bytes()])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn agrees_with_the_definition(leaves in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..70)) {
            let mut tree = Tree::default();
            leaves.iter().for_each(|leaf| { tree.push(leaf); });
            prop_assert_eq!(tree.root(), by_definition(&leaves));
            let again = Tree::from_parts(tree.size(), tree.subtrees().to_vec()).unwrap();
            prop_assert_eq!(again, tree);
        }
    }
}
