//! Roots of the log's full subtrees over 256 entries and more: what proofs need so that none has to read the log.
//!
//! Kept in memory (64 bytes for 256 events) and in the derived file `tree`, which is written after each seal and may
//! be lost: it is computed again from the entries. Nothing is proved by it: proofs are checked against signed roots.

use super::{BUNDLE_LEVEL, leaf_hash, node_hash};
use crate::bundle::Entries;
use crate::error::Error;
use crate::storage::{Access, Storage, StoredFile, full_or};
use cairn_schemas::Sha256;
use parking_lot::{Mutex, RwLock};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const HEADER: [u8; 16] = *b"CAIRNTRE\x01\0\0\0\0\0\0\0";
/// A root and the CRC of its bundle's number and itself.
const RECORD_BYTES: usize = 36;
/// Bundles that are kept, about 40 KiB each: the one at the right edge is asked for again and again.
const BUNDLES_KEPT: usize = 3;

/// Full subtrees by height: `levels[k][i]` is the root over the leaves from `i * 2^(8+k)`, `2^(8+k)` of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pyramid {
    levels: Vec<Vec<Sha256>>,
}

impl Pyramid {
    /// Full bundles that it covers.
    pub(crate) fn bundles(&self) -> u64 {
        self.levels.first().map_or(0, Vec::len) as u64
    }

    /// Adds the root of the next bundle, and those of the subtrees that it completes.
    pub(crate) fn push(&mut self, root: Sha256) {
        let mut node = root;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            nodes.push(node);
            match nodes.len() % 2 {
                0 => node = node_hash(&nodes[nodes.len() - 2], &nodes[nodes.len() - 1]),
                _ => return,
            }
        }
    }

    /// The root of the full subtree of height `level`, at least 8, that begins at leaf `index << level`.
    pub(crate) fn node(&self, level: u32, index: u64) -> Option<Sha256> {
        let nodes = self.levels.get((level - BUNDLE_LEVEL) as usize)?;
        nodes.get(usize::try_from(index).ok()?).copied()
    }
}

/// The nodes of one log.
pub(crate) struct Nodes {
    /// What the writer added since somebody last looked. Locked for moments only.
    fresh: Mutex<Fresh>,
    kept: RwLock<Kept>,
    /// Those asked for last, the latest in front.
    bundles: Mutex<VecDeque<Arc<Bundle>>>,
}

/// The first entries of a bundle, all 256 of them or fewer, and the nodes over them.
pub(crate) struct Bundle {
    number: u64,
    entries: Vec<u8>,
    /// Where each entry begins and ends.
    places: Vec<Range<usize>>,
    /// Full subtrees by height, as in [`Pyramid`], from the leaves up.
    levels: Vec<Vec<Sha256>>,
}

impl Bundle {
    /// From entries laid out as bundles are, which were read by their lengths.
    pub(crate) fn new(number: u64, entries: Vec<u8>) -> Self {
        let (mut places, mut leaves) = (Vec::new(), Vec::new());
        for item in Entries::new(&entries) {
            let (at, entry) = item.expect("read by their lengths");
            places.push(at + 2..at + 2 + entry.len());
            leaves.push(leaf_hash(entry));
        }
        let mut levels = vec![leaves];
        for level in 0..BUNDLE_LEVEL as usize {
            let above = levels[level].chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            levels.push(above);
        }
        Self { number, entries, places, levels }
    }
    pub(crate) fn entries(&self, width: usize) -> &[u8] {
        &self.entries[..self.places[width - 1].end]
    }
    pub(crate) fn entry(&self, index: usize) -> &[u8] {
        &self.entries[self.places[index].clone()]
    }
    pub(crate) fn leaves(&self) -> &[Sha256] {
        &self.levels[0]
    }
    /// The root over the full subtree of height `level`, at most 8, that begins at this bundle's leaf `index << level`.
    pub(crate) fn node(&self, level: u32, index: usize) -> Sha256 {
        self.levels[level as usize][index]
    }
}

#[derive(Default)]
struct Fresh {
    /// Number of the bundle that the first root is of.
    from: u64,
    roots: Vec<Sha256>,
}

#[derive(Default)]
struct Kept {
    pyramid: Pyramid,
    /// Whether the file was looked at, which the first proof or the first seal does.
    is_loaded: bool,
    /// Whether all was computed from entries because a proof did not hold.
    is_rebuilt: bool,
    /// Records of the file that are right.
    stored: u64,
}

/// Computes the root of a bundle from its entries.
pub(crate) type FromEntries<'a> = &'a dyn Fn(u64) -> Result<Sha256, Error>;

impl Nodes {
    /// Of a log of `size` entries whose last full bundles have these roots.
    pub(crate) fn new(size: u64, roots: Vec<Sha256>) -> Self {
        let from = (size >> BUNDLE_LEVEL) - roots.len() as u64;
        let fresh = Mutex::new(Fresh { from, roots });
        Self { fresh, kept: RwLock::default(), bundles: Mutex::default() }
    }

    /// Takes the roots of bundles that became durable, in order.
    pub(crate) fn add(&self, roots: impl Iterator<Item = Sha256>) {
        self.fresh.lock().roots.extend(roots);
    }

    /// Looks at the pyramid once it covers this many bundles.
    pub(crate) fn with<T>(
        &self,
        bundles: u64,
        disk: &dyn Storage,
        path: &Path,
        from_entries: FromEntries<'_>,
        look: impl FnOnce(&Pyramid) -> T,
    ) -> Result<T, Error> {
        {
            let kept = self.kept.read();
            if kept.pyramid.bundles() >= bundles {
                return Ok(look(&kept.pyramid));
            }
        }
        let mut kept = self.kept.write();
        self.fill(&mut kept, bundles, disk, path, from_entries)?;
        Ok(look(&kept.pyramid))
    }

    fn fill(
        &self,
        kept: &mut Kept,
        bundles: u64,
        disk: &dyn Storage,
        path: &Path,
        from_entries: FromEntries<'_>,
    ) -> Result<(), Error> {
        let from = self.fresh.lock().from;
        if !std::mem::replace(&mut kept.is_loaded, true) {
            for root in load(disk, path).into_iter().take(usize::try_from(from).unwrap_or(usize::MAX)) {
                kept.pyramid.push(root);
            }
            kept.stored = kept.pyramid.bundles();
        }
        while kept.pyramid.bundles() < from {
            kept.pyramid.push(from_entries(kept.pyramid.bundles())?);
        }
        {
            let mut fresh = self.fresh.lock();
            let roots = std::mem::take(&mut fresh.roots);
            fresh.from += roots.len() as u64;
            roots.into_iter().for_each(|root| kept.pyramid.push(root));
        }
        while kept.pyramid.bundles() < bundles {
            let root = from_entries(kept.pyramid.bundles())?;
            kept.pyramid.push(root);
        }
        Ok(())
    }

    /// Computes everything up to this many bundles from the entries; `false` if that was done before.
    pub(crate) fn rebuild(&self, bundles: u64, from_entries: FromEntries<'_>) -> Result<bool, Error> {
        let mut kept = self.kept.write();
        self.bundles.lock().clear();
        if kept.is_rebuilt {
            return Ok(false);
        }
        let mut pyramid = Pyramid::default();
        let bundles = bundles.max(kept.pyramid.bundles());
        for bundle in 0..bundles {
            pyramid.push(from_entries(bundle)?);
        }
        let mut fresh = self.fresh.lock();
        let known = bundles.saturating_sub(fresh.from).min(fresh.roots.len() as u64);
        fresh.roots.drain(..known as usize);
        fresh.from = fresh.from.max(bundles);
        *kept = Kept { pyramid, is_loaded: true, is_rebuilt: true, stored: 0 };
        Ok(true)
    }

    /// Writes to the file what it lacks of the first `bundles`. Losing it costs time only.
    pub(crate) fn store(
        &self,
        bundles: u64,
        disk: &dyn Storage,
        path: &Path,
        from_entries: FromEntries<'_>,
    ) -> Result<(), Error> {
        let mut kept = self.kept.write();
        self.fill(&mut kept, bundles, disk, path, from_entries)?;
        if kept.stored >= bundles {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for bundle in kept.stored..bundles {
            let root = kept.pyramid.node(BUNDLE_LEVEL, bundle).expect("filled up to there");
            bytes.extend_from_slice(&record(bundle, &root));
        }
        let file = match disk.open_writable(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create_new(path, Access::Default),
            other => other,
        };
        let file = file.map_err(full_or("creating", path, 0))?;
        let (at, stored) = (offset(kept.stored), kept.stored);
        let length = bytes.len() as u64;
        let write = || {
            file.set_bytes(at.min(file.bytes()?))?;
            if stored == 0 {
                file.write_all_at(&HEADER, 0)?;
            }
            file.write_all_at(&bytes, at)?;
            file.sync()
        };
        write().map_err(full_or("writing", path, length))?;
        kept.stored = bundles;
        Ok(())
    }

    /// A bundle with at least `width` entries: a kept one, or what `read` gives.
    pub(crate) fn bundle(
        &self,
        number: u64,
        width: usize,
        read: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Arc<Bundle>, Error> {
        {
            let mut kept = self.bundles.lock();
            let found = kept.iter().position(|bundle| bundle.number == number && bundle.leaves().len() >= width);
            if let Some(bundle) = found.and_then(|at| kept.remove(at)) {
                kept.push_front(bundle.clone());
                return Ok(bundle);
            }
        }
        let bundle = Arc::new(Bundle::new(number, read()?));
        let mut kept = self.bundles.lock();
        kept.retain(|old| old.number != number);
        kept.truncate(BUNDLES_KEPT - 1);
        kept.push_front(bundle.clone());
        Ok(bundle)
    }
}

fn offset(bundle: u64) -> u64 {
    HEADER.len() as u64 + bundle * RECORD_BYTES as u64
}

fn record(bundle: u64, root: &Sha256) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..32].copy_from_slice(root.as_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bundle.to_be_bytes()), root.as_bytes());
    record[32..].copy_from_slice(&checksum.to_be_bytes());
    record
}

/// The records of the file up to the first that is wrong. A file that cannot be read is as good as lost.
fn load(disk: &dyn Storage, path: &Path) -> Vec<Sha256> {
    let read = |file: Arc<dyn StoredFile>| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(file.bytes()?).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    let Ok(bytes) = disk.open(path).and_then(read) else { return Vec::new() };
    let Some(records) = bytes.strip_prefix(&HEADER) else { return Vec::new() };
    let records = records.chunks_exact(RECORD_BYTES).enumerate();
    let right = records.map_while(|(bundle, found)| {
        let root = Sha256::from_bytes(found[..32].try_into().expect("32 bytes"));
        (record(bundle as u64, &root) == found).then_some(root)
    });
    right.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileSystem;
    use crate::tree::{Tree, leaf_hash};

    fn root(n: u64) -> Sha256 {
        leaf_hash(&n.to_be_bytes())
    }

    #[test]
    fn a_pyramid_holds_the_nodes_of_the_tree() {
        let (mut pyramid, mut tree) = (Pyramid::default(), Tree::default());
        for n in 0..(256 * 5) {
            if let Some(root) = tree.push(&[n as u8]) {
                pyramid.push(root);
            }
        }
        assert_eq!(pyramid.bundles(), 5);
        assert_eq!(tree.subtrees(), [pyramid.node(10, 0).unwrap(), pyramid.node(8, 4).unwrap()]);
        assert_eq!((pyramid.node(9, 2), pyramid.node(11, 0), pyramid.node(8, 5)), (None, None, None));
    }

    /// Whatever happens to the file, what is read from it is right, and the rest is computed.
    #[test]
    fn a_file_that_is_short_damaged_or_lost_is_made_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree");
        let computed = |n: u64| Ok(root(n));
        let written = Nodes::new(9 << 8, (0..9).map(root).collect());
        written.store(7, &FileSystem, &path, &computed).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(load(&FileSystem, &path), (0..7).map(root).collect::<Vec<_>>());
        let check = |stored: &[u8]| {
            std::fs::write(&path, stored).unwrap();
            let nodes = Nodes::new(9 << 8, vec![root(8)]);
            let seen = nodes.with(9, &FileSystem, &path, &computed, Pyramid::clone).unwrap();
            let expected = written.with(9, &FileSystem, &path, &computed, Pyramid::clone).unwrap();
            assert!(seen == expected);
            nodes.store(8, &FileSystem, &path, &computed).unwrap();
            assert_eq!(load(&FileSystem, &path), (0..8).map(root).collect::<Vec<_>>());
        };
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            check(&flipped);
            check(&whole[..at]);
        }
        std::fs::remove_file(&path).unwrap();
        let nodes = Nodes::new(9 << 8, Vec::new());
        assert_eq!(nodes.with(9, &FileSystem, &path, &computed, Pyramid::bundles).unwrap(), 9);
    }
}
