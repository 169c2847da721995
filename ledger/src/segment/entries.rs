//! The `entries` object of a sealed segment: immutable, laid out as the published bundles are.

use super::locate::{Fault, Unsound};
use super::object::read_footer;
use crate::bundle::{BUNDLE_ENTRIES, Entries};
use crate::entry;
use crate::error::{Error, Mismatch};
use crate::frame::{FRAME_BYTES_MAX, checksum_mismatch};
use crate::site::Site;
use crate::storage::{Storage, StoredFile};
use crate::tree::Tree;
use crate::wire::Reader;
use cairn_schemas::{Blake3, Sha256};
use std::sync::Arc;

pub(crate) const MAGIC: [u8; 8] = *b"CAIRNENT";
const VERSION: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

/// One stretch of entries that belongs to one published bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BundleAt {
    pub(crate) offset: u64,
    pub(crate) checksum: u32,
}

/// What the footer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntriesFooter {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) body_bytes: u64,
    pub(crate) chain_before: Blake3,
    pub(crate) chain_after: Blake3,
    pub(crate) last_recorded_at_micros: i64,
    pub(crate) bundles: Vec<BundleAt>,
    /// Right edge of the log's tree after the last entry.
    pub(crate) subtrees: Vec<Sha256>,
    /// Those of the segment's last frame.
    pub(crate) source_offsets: Vec<u8>,
}

impl EntriesFooter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = |n: usize| u32::try_from(n).expect("a segment is bounded").to_be_bytes();
        let mut out = VERSION.to_vec();
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.body_bytes.to_be_bytes());
        out.extend_from_slice(self.chain_before.as_bytes());
        out.extend_from_slice(self.chain_after.as_bytes());
        out.extend_from_slice(&self.last_recorded_at_micros.to_be_bytes());
        out.extend_from_slice(&length(self.bundles.len()));
        out.extend_from_slice(&length(self.subtrees.len()));
        out.extend_from_slice(&length(self.source_offsets.len()));
        for bundle in &self.bundles {
            out.extend_from_slice(&bundle.offset.to_be_bytes());
            out.extend_from_slice(&bundle.checksum.to_be_bytes());
        }
        self.subtrees.iter().for_each(|hash| out.extend_from_slice(hash.as_bytes()));
        out.extend_from_slice(&self.source_offsets);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Mismatch> {
        let mut from = Reader::new(bytes);
        from.expect("entries footer version", &VERSION)?;
        let (first, count, body_bytes) = (from.u64()?, from.u64()?, from.u64()?);
        let chain_before = Blake3::from_bytes(from.array()?);
        let chain_after = Blake3::from_bytes(from.array()?);
        let last_recorded_at_micros = from.i64()?;
        let (bundles, subtrees, offsets) = (from.u32()?, from.u32()?, from.u32()?);
        let bundles = (0..bundles).map(|_| Ok(BundleAt { offset: from.u64()?, checksum: from.u32()? }));
        let bundles = bundles.collect::<Result<_, Mismatch>>()?;
        let subtrees = (0..subtrees).map(|_| Ok(Sha256::from_bytes(from.array()?))).collect::<Result<_, Mismatch>>()?;
        let source_offsets = from.bytes(offsets as usize)?.to_vec();
        from.end()?;
        let footer = Self {
            first,
            count,
            body_bytes,
            chain_before,
            chain_after,
            last_recorded_at_micros,
            bundles,
            subtrees,
            source_offsets,
        };
        footer.check()?;
        Ok(footer)
    }

    /// The position after the last.
    pub(crate) fn after(&self) -> u64 {
        self.first + self.count
    }

    fn check(&self) -> Result<(), Mismatch> {
        let last = self.first.checked_add(self.count).filter(|_| self.first > 0 && self.count > 0);
        let Some(after) = last else {
            return Err(Mismatch::new(8, "positions from 1", format!("{} of {}", self.count, self.first)));
        };
        let bundles = bundle_of(after - 1) - bundle_of(self.first) + 1;
        let in_order = self.bundles.first().is_some_and(|b| b.offset == 0)
            && self.bundles.windows(2).all(|pair| pair[0].offset < pair[1].offset)
            && self.bundles.last().is_some_and(|b| b.offset < self.body_bytes);
        if self.bundles.len() as u64 != bundles || !in_order {
            return Err(Mismatch::new(112, format!("{bundles} bundles in order"), format!("{:?}", self.bundles)));
        }
        if Tree::from_parts(after - 1, self.subtrees.clone()).is_none() {
            let expected = format!("{} subtrees", (after - 1).count_ones());
            return Err(Mismatch::new(116, expected, self.subtrees.len()));
        }
        Ok(())
    }
}

/// Number of the published bundle that holds a position.
pub(crate) fn bundle_of(position: u64) -> u64 {
    (position - 1) / BUNDLE_ENTRIES
}

/// An `entries` object, its footer in memory.
pub(crate) struct SealedEntries {
    file: Arc<dyn StoredFile>,
    pub(crate) site: Site,
    pub(crate) footer: EntriesFooter,
}

impl SealedEntries {
    pub(crate) fn open(disk: &dyn Storage, site: Site) -> Result<Self, Error> {
        let file = disk.open(site.path()).map_err(site.io("opening"))?;
        let footer = read_footer(&*file, &site, MAGIC)?;
        let decoded = EntriesFooter::decode(&footer.bytes).map_err(|m| site.damage(None, footer.at, m))?;
        if decoded.body_bytes != footer.at {
            let mismatch = Mismatch::new(24, format!("a body of {} bytes", footer.at), decoded.body_bytes);
            return Err(site.damage(Some(decoded.first), footer.at, mismatch));
        }
        Ok(Self { file, site, footer: decoded })
    }

    /// Index, in this object, of the bundle that holds `position`.
    pub(crate) fn bundle_index(&self, position: u64) -> usize {
        (bundle_of(position) - bundle_of(self.footer.first)) as usize
    }

    /// Position of the first entry of a bundle in this object.
    pub(crate) fn bundle_first(&self, index: usize) -> u64 {
        match index {
            0 => self.footer.first,
            _ => (bundle_of(self.footer.first) + index as u64) * BUNDLE_ENTRIES + 1,
        }
    }

    /// The bytes of one bundle, checked against their checksum, with their offset.
    pub(crate) fn bundle(&self, index: usize) -> Result<(u64, Vec<u8>), Fault> {
        let at = self.footer.bundles[index];
        let end = self.footer.bundles.get(index + 1).map_or(self.footer.body_bytes, |next| next.offset);
        let (first, offset) = (self.bundle_first(index), at.offset);
        let damage = |m| self.site.damage(Some(first), offset, m);
        let length = (end - offset) as usize;
        if length > BUNDLE_ENTRIES as usize * (2 + crate::bundle::ENTRY_BYTES_MAX) {
            return Err(damage(Mismatch::new(0, "a bundle of 256 entries", length)).into());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(self.site.io("reading"))?;
        let found = crc32c::crc32c(&bytes);
        if found != at.checksum {
            let error = damage(checksum_mismatch(0, "entry bundle", found, at.checksum));
            return Err(Fault::Bundle(Unsound { error, first, offset, bytes, packed: false }));
        }
        Ok((at.offset, bytes))
    }

    /// Hands out the entries frame by frame, with the offset of each frame's first entry.
    pub(crate) fn walk(&self, mut each: impl FnMut(u64, &[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        let (mut frame, mut frame_at, mut position) = (Vec::new(), 0, self.footer.first);
        for index in 0..self.footer.bundles.len() {
            let (base, bytes) = self.bundle(index)?;
            // What stands before in this bundle is in `frame`.
            let mut taken = 0;
            for item in Entries::new(&bytes) {
                let (at, entry) = item.map_err(|m| self.site.damage(Some(position), base, m))?;
                if entry::begins_frame(entry) && frame.len() + at > taken {
                    frame.extend_from_slice(&bytes[taken..at]);
                    taken = at;
                    each(frame_at, &frame)?;
                    frame_at += frame.len() as u64;
                    frame.clear();
                }
                position += 1;
                let length = frame.len() + at + 2 + entry.len() - taken;
                if length > FRAME_BYTES_MAX {
                    let mismatch = Mismatch::new(at, format!("a frame of at most {FRAME_BYTES_MAX} bytes"), length);
                    return Err(self.site.damage(Some(position), base, mismatch).into());
                }
            }
            frame.extend_from_slice(&bytes[taken..]);
        }
        let found = position - self.footer.first;
        if found != self.footer.count {
            let mismatch = Mismatch::new(0, format!("{} entries", self.footer.count), found);
            return Err(self.site.damage(Some(position), self.footer.body_bytes, mismatch).into());
        }
        each(frame_at, &frame)
    }
}
