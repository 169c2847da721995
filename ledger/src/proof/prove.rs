//! Makes proofs of a log from its stored entries and its tree's nodes, and checks each before it is handed out.

use super::{
    Consistency, ConsistencyProof, InclusionProof, consistency_ranges, inclusion_ranges, verify_consistency,
    verify_inclusion,
};
use crate::bundle::BUNDLE_ENTRIES;
use crate::checkpoint::SignedCheckpoint;
use crate::error::{Error, Mismatch};
use crate::log::Log;
use crate::reader::bundle_entries;
use crate::tree::nodes::Bundle;
use crate::tree::{BUNDLE_LEVEL, empty_root, leaf_hash, node_hash};
use cairn_schemas::{Position, Sha256};
use std::ops::Range;
use std::sync::Arc;

impl Log {
    /// That the event at `position` is in the tree of `signed`, which must be this log's.
    pub(crate) fn prove_inclusion(
        &self,
        position: Position,
        signed: &SignedCheckpoint,
    ) -> Result<InclusionProof, Error> {
        let (size, root, index) = (signed.checkpoint.size, signed.checkpoint.root, position.get() - 1);
        self.check_covered(position.get(), size)?;
        let (path, entry) = self.sound(size, Some(position.get()), || {
            let (path, entry) = (self.roots(&inclusion_ranges(index, size))?, self.entry(index)?);
            let verdict = verify_inclusion(&leaf_hash(&entry), index, size, &path, &root);
            Ok(verdict.map(|()| (path, entry)))
        })?;
        Ok(InclusionProof { index, path, entry: Some(entry), note: signed.note.clone() })
    }

    /// That the tree of `old` entries is the beginning of the tree of `signed`. Gives the older root too.
    pub(crate) fn prove_consistency(
        &self,
        old: u64,
        signed: &SignedCheckpoint,
    ) -> Result<(Sha256, ConsistencyProof), Error> {
        let Consistency { old_root, path, .. } = self.consistency(old, signed.checkpoint.size, signed)?;
        Ok((old_root, ConsistencyProof { old_size: old, path, note: signed.note.clone() }))
    }

    /// From the tree of `old` to that of `new` entries, which `signed` covers.
    pub(crate) fn consistency(&self, old: u64, new: u64, signed: &SignedCheckpoint) -> Result<Consistency, Error> {
        let (size, root) = (signed.checkpoint.size, signed.checkpoint.root);
        self.check_covered(new, size)?;
        if old > new {
            return Err(super::wrong(format!("the older tree has {old} leaves, the newer one {new}")));
        }
        self.sound(size, None, || {
            let (old_root, new_root) = (self.root_at(old)?, self.root_at(new)?);
            let path = self.roots(&consistency_ranges(old, new))?;
            // The newer tree is itself the beginning of the signed one.
            let to_signed = self.roots(&consistency_ranges(new, size))?;
            let verdict = verify_consistency(old, &old_root, new, &new_root, &path)
                .and_then(|()| verify_consistency(new, &new_root, size, &root, &to_signed));
            Ok(verdict.map(|()| Consistency { old_root, new_root, path }))
        })
    }

    fn check_covered(&self, position: u64, size: u64) -> Result<(), Error> {
        match position <= size && size <= self.view.read().head {
            true => Ok(()),
            false => Err(Error::NotCovered { position, size }),
        }
    }

    /// What `attempt` gives once it holds. If it does not at first, the nodes are computed from the entries; if it does
    /// not even then, the stored entries are not what was signed.
    fn sound<T>(
        &self,
        size: u64,
        position: Option<u64>,
        attempt: impl Fn() -> Result<Result<T, Error>, Error>,
    ) -> Result<T, Error> {
        let first = match attempt()? {
            Ok(sound) => return Ok(sound),
            Err(why) => why,
        };
        tracing::warn!(log = %self.id, error = %first, "a proof did not hold: the tree's nodes are computed from the entries");
        let rebuilt = self.nodes.rebuild(size >> BUNDLE_LEVEL, &|bundle| self.bundle_root(bundle))?;
        let why = match rebuilt {
            true => match attempt()? {
                Ok(sound) => {
                    self.store_nodes(size);
                    return Ok(sound);
                }
                Err(why) => why,
            },
            false => first,
        };
        let expected = format!("entries whose tree has the signed root at size {size}");
        let site = self.files.at(self.files.layout.checkpoint());
        Err(site.damage(position, 0, Mismatch::new(0, expected, why)))
    }

    /// Keeps the nodes of the first `size` entries in their file. That may fail: they are derived.
    pub(crate) fn store_nodes(&self, size: u64) {
        if self.writing.is_none() {
            return;
        }
        let (disk, path) = (&*self.files.disk, self.files.layout.tree());
        let stored = self.nodes.store(size >> BUNDLE_LEVEL, disk, &path, &|bundle| self.bundle_root(bundle));
        if let Err(error) = stored {
            tracing::warn!(log = %self.id, %error, "the tree's nodes could not be stored; the next seal tries again");
        }
    }

    /// The root of the tree of the first `size` entries.
    pub(crate) fn root_at(&self, size: u64) -> Result<Sha256, Error> {
        match size {
            0 => Ok(empty_root()),
            _ => self.root(&(0..size)),
        }
    }

    fn roots(&self, ranges: &[Range<u64>]) -> Result<Vec<Sha256>, Error> {
        ranges.iter().map(|range| self.root(range)).collect()
    }

    /// The root over a stretch of leaves that begins where a subtree does. Folds its full subtrees from the right.
    fn root(&self, range: &Range<u64>) -> Result<Sha256, Error> {
        let (mut end, mut root) = (range.end, None);
        while end > range.start {
            let level = (end - range.start).trailing_zeros();
            let start = end - (1 << level);
            let node = self.node(level, start >> level)?;
            root = Some(root.map_or(node, |right| node_hash(&node, &right)));
            end = start;
        }
        Ok(root.expect("proofs are made of roots over at least one leaf"))
    }

    /// The root of the full subtree of height `level` that begins at leaf `index << level`.
    pub(crate) fn node(&self, level: u32, index: u64) -> Result<Sha256, Error> {
        if level < BUNDLE_LEVEL {
            let (first, leaves) = (index << level, 1usize << level);
            let start = (first % BUNDLE_ENTRIES) as usize;
            return Ok(self.bundle(first / BUNDLE_ENTRIES, start + leaves)?.node(level, start >> level));
        }
        let bundles = (index + 1) << (level - BUNDLE_LEVEL);
        let (disk, path) = (&*self.files.disk, self.files.layout.tree());
        let node = self
            .nodes
            .with(bundles, disk, &path, &|bundle| self.bundle_root(bundle), |nodes| nodes.node(level, index))?;
        Ok(node.expect("the pyramid covers these bundles"))
    }

    /// A bundle with at least its first `width` entries.
    pub(crate) fn bundle(&self, number: u64, width: usize) -> Result<Arc<Bundle>, Error> {
        self.nodes.bundle(number, width, || bundle_entries(&self.view, number, width))
    }

    /// Computed from the stored entries, whatever is kept of them.
    fn bundle_root(&self, number: u64) -> Result<Sha256, Error> {
        let entries = bundle_entries(&self.view, number, BUNDLE_ENTRIES as usize)?;
        Ok(Bundle::new(number, entries).node(BUNDLE_LEVEL, 0))
    }

    fn entry(&self, index: u64) -> Result<Vec<u8>, Error> {
        let within = (index % BUNDLE_ENTRIES) as usize;
        Ok(self.bundle(index / BUNDLE_ENTRIES, within + 1)?.entry(within).to_vec())
    }
}
