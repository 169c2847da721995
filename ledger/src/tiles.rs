//! The published form of a log: hash tiles, entry bundles and their paths. Source: C2SP tlog-tiles.

use crate::bundle::BUNDLE_ENTRIES;
use crate::checkpoint::SignedCheckpoint;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::log::Log;
use crate::tree::BUNDLE_LEVEL;
use cairn_schemas::TenantId;
use std::fmt;
use std::path::{Path, PathBuf};

/// Hashes of a full tile, entries of a full bundle.
const WIDTH_MAX: u64 = BUNDLE_ENTRIES;
/// No tree of at most 2^64 leaves has a tile of a higher level; the specification allows up to 63.
const LEVEL_MAX: u32 = 63;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    /// Hashes of subtrees of `256^level` leaves, level 0 to 63.
    Hashes { level: u32 },
    /// Entries, each with its 2-byte length.
    Entries,
}

/// Which tile: the path below `tile/`, such as `0/x001/234` or `entries/000.p/17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TilePath {
    pub tile: Tile,
    pub number: u64,
    /// Hashes or entries in it: 256 for a full tile, 1 to 255 for a partial one.
    pub width: u64,
}

impl TilePath {
    /// Reads the path below `tile/`; `None` for any text that [`TilePath`] would not be shown as.
    pub fn parse(text: &str) -> Option<Self> {
        let (tile, rest) = text.split_once('/')?;
        let tile = match tile {
            "entries" => Tile::Entries,
            level => Tile::Hashes { level: level.parse().ok().filter(|level| *level <= LEVEL_MAX)? },
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|width| (1..WIDTH_MAX).contains(width))?),
            None => (rest, WIDTH_MAX),
        };
        let number = number.split('/').try_fold(0u64, |number, part| {
            let digits = part.strip_prefix('x').unwrap_or(part);
            number.checked_mul(1000)?.checked_add(digits.parse().ok().filter(|_| digits.len() == 3)?)
        })?;
        let path = Self { tile, number, width };
        (path.to_string() == text).then_some(path)
    }

    /// Leaves of the tree that must be there for this tile to be; `None` for more than any tree has.
    fn leaves_needed(&self) -> Option<u64> {
        let shift = match self.tile {
            Tile::Hashes { level } => level.checked_mul(BUNDLE_LEVEL)?,
            Tile::Entries => 0,
        };
        let nodes = self.number.checked_mul(WIDTH_MAX)?.checked_add(self.width)?;
        nodes.checked_mul(1u64.checked_shl(shift)?)
    }

    /// Every tile of a tree of this size, the partial ones included.
    fn all_of(size: u64) -> impl Iterator<Item = TilePath> {
        let levels = (0..=LEVEL_MAX).map_while(move |level| {
            let nodes = size.checked_shr(level * BUNDLE_LEVEL).filter(|nodes| *nodes > 0)?;
            Some((Tile::Hashes { level }, nodes))
        });
        levels.chain((size > 0).then_some((Tile::Entries, size))).flat_map(|(tile, nodes)| {
            let full = (0..nodes / WIDTH_MAX).map(move |number| TilePath { tile, number, width: WIDTH_MAX });
            let rest = nodes % WIDTH_MAX;
            full.chain((rest > 0).then_some(TilePath { tile, number: nodes / WIDTH_MAX, width: rest }))
        })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tile {
            Tile::Hashes { level } => write!(f, "{level}/")?,
            Tile::Entries => f.write_str("entries/")?,
        }
        let (mut parts, mut rest) = (vec![format!("{:03}", self.number % 1000)], self.number / 1000);
        while rest > 0 {
            parts.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        parts.reverse();
        f.write_str(&parts.join("/"))?;
        match self.width {
            WIDTH_MAX => Ok(()),
            width => write!(f, ".p/{width}"),
        }
    }
}

impl Log {
    /// The bytes of a tile of the tree that `size` entries make.
    pub(crate) fn tile(&self, path: &TilePath, size: u64) -> Result<Vec<u8>, Error> {
        let covered = path.leaves_needed().is_some_and(|needed| needed <= size) && size <= self.view.read().head;
        if !covered {
            return Err(Error::NoTile { what: format!("tile/{path}"), size });
        }
        let width = path.width as usize;
        match path.tile {
            Tile::Entries => Ok(self.bundle(path.number, width)?.entries(width).to_vec()),
            Tile::Hashes { level: 0 } => {
                let bundle = self.bundle(path.number, width)?;
                Ok(bundle.leaves()[..width].iter().flat_map(|leaf| *leaf.as_bytes()).collect())
            }
            Tile::Hashes { level } => {
                let first = path.number * WIDTH_MAX;
                let mut bytes = Vec::with_capacity(32 * width);
                for index in first..first + path.width {
                    bytes.extend_from_slice(self.node(level * BUNDLE_LEVEL, index)?.as_bytes());
                }
                Ok(bytes)
            }
        }
    }
}

/// Writes a tenant's log up to its current checkpoint as a static tiled log: `checkpoint`, `tile/…`, `tile/entries/…`.
///
/// The directory is absent, empty, or holds an earlier export of the same log, which is brought up to date: full tiles
/// that it has are left as they are. The checkpoint is written last.
pub fn export_tiles(ledger: &Ledger, tenant: &TenantId, dir: &Path) -> Result<SignedCheckpoint, Error> {
    let log = ledger.log(tenant).ok_or_else(|| Error::NoLog { tenant: tenant.clone() })?;
    let signed = ledger.published_checkpoint(tenant)?;
    let before = exported_size(&log, dir)?;
    if before > signed.checkpoint.size {
        let (size, now) = (before, signed.checkpoint.size);
        return Err(not_an_export(dir, format!("it holds a checkpoint of size {size}, the log has one of size {now}")));
    }
    if before > 0 {
        log.prove_consistency(before, &signed)?;
    }
    for path in TilePath::all_of(signed.checkpoint.size) {
        let is_there = path.width == WIDTH_MAX && path.leaves_needed().is_some_and(|needed| needed <= before);
        if !is_there {
            write(&dir.join("tile").join(path.to_string()), &log.tile(&path, signed.checkpoint.size)?)?;
        }
    }
    write(&dir.join("checkpoint"), signed.note.as_bytes())?;
    Ok(signed)
}

/// Size of the log that an earlier export into this directory holds.
fn exported_size(log: &Log, dir: &Path) -> Result<u64, Error> {
    std::fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
    let path = dir.join("checkpoint");
    let note = match std::fs::read_to_string(&path) {
        Ok(note) => note,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mut names = std::fs::read_dir(dir).map_err(Error::io("listing", dir))?;
            return match names.next() {
                // An export that was cut short has no checkpoint yet.
                Some(_) if !dir.join("tile").is_dir() => Err(not_an_export(dir, "it holds other files".into())),
                _ => Ok(0),
            };
        }
        Err(e) => return Err(Error::io("reading", &path)(e)),
    };
    let signed = SignedCheckpoint::parse(&note, &log.verifier)
        .map_err(|expected| not_an_export(dir, format!("its checkpoint lacks {expected}")))?;
    let root = log.root_at(signed.checkpoint.size.min(log.view.read().head))?;
    match signed.checkpoint.size > log.view.read().head || root == signed.checkpoint.root {
        true => Ok(signed.checkpoint.size),
        false => Err(not_an_export(dir, "its checkpoint has another root than this log at its size".into())),
    }
}

fn not_an_export(dir: &Path, why: String) -> Error {
    let why = format!("{why}; name an absent or empty directory, or an earlier export of this log");
    Error::NotABundle { dir: dir.to_owned(), why }
}

/// Replaces a file in one step. Not synced: an export can be made again.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = crate::storage::parent(path);
    std::fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
    let temporary: PathBuf = crate::storage::temporary(path);
    std::fs::write(&temporary, bytes).map_err(crate::storage::full_or("writing", &temporary, bytes.len() as u64))?;
    std::fs::rename(&temporary, path).map_err(Error::io("renaming to", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_written_as_the_specification_has_them() {
        for (text, tile, number, width) in [
            ("0/x001/x234/067", Tile::Hashes { level: 0 }, 1_234_067, 256),
            ("63/000.p/1", Tile::Hashes { level: 63 }, 0, 1),
            ("entries/999", Tile::Entries, 999, 256),
            ("entries/x001/000.p/255", Tile::Entries, 1000, 255),
        ] {
            let path = TilePath { tile, number, width };
            assert_eq!((path.to_string().as_str(), TilePath::parse(text)), (text, Some(path)));
        }
        for text in [
            "0/0",
            "0/001/234",
            "0/x000/001",
            "0/1234",
            "00/000",
            "64/000",
            "-1/000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/+01",
            "0/x001",
            "entries",
            "entries/",
            "entries/000/",
            "0/000.p",
            "data/000",
            "",
            "0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::parse(text), None, "{text}");
        }
    }

    /// The example of the specification: 70,000 entries; and a tree of exactly one bundle.
    #[test]
    fn a_tree_has_the_tiles_that_the_specification_counts() {
        let count = |size, tile: Tile| {
            let widths: Vec<u64> =
                TilePath::all_of(size).filter(|path| path.tile == tile).map(|path| path.width).collect();
            (widths.iter().filter(|width| **width == 256).count(), widths.last().copied())
        };
        assert_eq!(count(70_000, Tile::Hashes { level: 0 }), (273, Some(112)));
        assert_eq!(count(70_000, Tile::Hashes { level: 1 }), (1, Some(17)));
        assert_eq!(count(70_000, Tile::Hashes { level: 2 }), (0, Some(1)));
        assert_eq!(count(70_000, Tile::Hashes { level: 3 }), (0, None));
        assert_eq!(count(70_000, Tile::Entries), (273, Some(112)));
        assert_eq!(count(256, Tile::Hashes { level: 0 }), (1, Some(256)));
        assert_eq!(count(256, Tile::Hashes { level: 1 }), (0, Some(1)));
        assert_eq!(TilePath::all_of(0).count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn paths_come_back(level in 0u32..=63, number in any::<u64>(), width in 1u64..=256, entries in any::<bool>()) {
            let tile = if entries { Tile::Entries } else { Tile::Hashes { level } };
            let path = TilePath { tile, number, width };
            prop_assert_eq!(TilePath::parse(&path.to_string()), Some(path));
        }
        #[test]
        fn a_tree_has_its_tiles_and_no_other(size in 0u64..2_000_000) {
            for path in TilePath::all_of(size) {
                prop_assert!(path.leaves_needed().unwrap() <= size);
                let wider = TilePath { width: path.width + 1, ..path };
                prop_assert!(path.width == 256 || wider.leaves_needed().unwrap() > size);
            }
        }
    }
}
