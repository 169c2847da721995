//! Sorted records of one width on disk, found by the first 16 bytes: blocks in the body, filters and fences in memory.
//!
//! A table is written in partitions, so that building the filters takes little memory whatever the number of records.

use super::run::Fault;
use crate::error::{Error, Mismatch};
use crate::segment::object::ObjectWriter;
use crate::wire::Reader;
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

/// Bytes of a key: a MAC.
pub(crate) const KEY_BYTES: usize = 16;
/// Bytes of a full block, a multiple of each record's width.
const BLOCK_BYTES: usize = 4_000;
/// Records after which a partition ends; it goes on while the next key begins with the same 8 bytes.
const PARTITION_RECORDS: u32 = 1 << 18;
/// Fewer keys than this have no filter: each of them is looked at.
const FILTER_KEYS_MIN: usize = 64;
const FENCE_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

/// Where a partition stands. Its guide is the fences (first 8 bytes of each block's first key), the blocks' CRCs, the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionAt {
    /// First 8 bytes of the first key.
    first: u64,
    /// Of the first block in the file.
    offset: u64,
    records: u32,
    /// Inside the run's guide.
    guide_at: u32,
    filter_bytes: u32,
}

impl PartitionAt {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        for number in [self.records, self.guide_at, self.filter_bytes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Self, Mismatch> {
        let (first, offset, records) = (from.u64()?, from.u64()?, from.u32()?);
        Ok(Self { first, offset, records, guide_at: from.u32()?, filter_bytes: from.u32()? })
    }

    fn blocks(&self, width: usize) -> usize {
        (self.records as usize).div_ceil(BLOCK_BYTES / width)
    }

    /// Bytes of the guide that belong to this partition.
    pub(crate) fn guide_end(&self, width: usize) -> u64 {
        let blocks = self.blocks(width) as u64 * (FENCE_BYTES + CHECKSUM_BYTES) as u64;
        u64::from(self.guide_at) + blocks + u64::from(self.filter_bytes)
    }

    /// Offset and length of a block in the file.
    fn block(&self, width: usize, index: usize) -> (u64, usize) {
        let at = index * BLOCK_BYTES;
        (self.offset + at as u64, BLOCK_BYTES.min(self.records as usize * width - at))
    }
}

/// First 8 bytes of a key, which order and filter go by.
fn prefix(key: &[u8]) -> u64 {
    u64::from_be_bytes(key[..8].try_into().expect("a key has 16 bytes"))
}

/// Writes records, sorted and without repeats of a key, into the body of an object.
pub(crate) struct TableWriter {
    width: usize,
    block: Vec<u8>,
    fences: Vec<u64>,
    checksums: Vec<u32>,
    prefixes: Vec<u64>,
    records: u32,
    offset: u64,
    pub(crate) partitions: Vec<PartitionAt>,
}

impl TableWriter {
    pub(crate) fn new(width: usize) -> Self {
        assert!(width > KEY_BYTES && BLOCK_BYTES.is_multiple_of(width), "records fill a block");
        let (block, fences, checksums, prefixes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { width, block, fences, checksums, prefixes, records: 0, offset: 0, partitions: Vec::new() }
    }

    pub(crate) fn push(&mut self, out: &mut ObjectWriter<'_>, guide: &mut Vec<u8>, record: &[u8]) -> Result<(), Error> {
        debug_assert_eq!(record.len(), self.width);
        let prefix = prefix(record);
        let repeats = self.prefixes.last() == Some(&prefix);
        if self.records >= PARTITION_RECORDS && !repeats {
            self.close_partition(out, guide)?;
        }
        if self.records == 0 {
            self.offset = out.bytes();
        }
        if self.block.is_empty() {
            self.fences.push(prefix);
        }
        if !repeats {
            self.prefixes.push(prefix);
        }
        self.block.extend_from_slice(record);
        self.records += 1;
        match self.block.len() == BLOCK_BYTES {
            true => self.close_block(out),
            false => Ok(()),
        }
    }

    fn close_block(&mut self, out: &mut ObjectWriter<'_>) -> Result<(), Error> {
        self.checksums.push(crc32c::crc32c(&self.block));
        out.put(&self.block)?;
        self.block.clear();
        Ok(())
    }

    pub(crate) fn close_partition(&mut self, out: &mut ObjectWriter<'_>, guide: &mut Vec<u8>) -> Result<(), Error> {
        if self.records == 0 {
            return Ok(());
        }
        if !self.block.is_empty() {
            self.close_block(out)?;
        }
        let guide_at = guide.len();
        self.fences.iter().for_each(|fence| guide.extend_from_slice(&fence.to_be_bytes()));
        self.checksums.iter().for_each(|checksum| guide.extend_from_slice(&checksum.to_be_bytes()));
        let filter_at = guide.len();
        push_filter(&self.prefixes, guide);
        let bounded = |n: usize| u32::try_from(n).expect("a run is bounded");
        let (guide_at, filter_bytes) = (bounded(guide_at), bounded(guide.len() - filter_at));
        let first = self.fences[0];
        self.partitions.push(PartitionAt { first, offset: self.offset, records: self.records, guide_at, filter_bytes });
        self.fences.clear();
        self.checksums.clear();
        self.prefixes.clear();
        self.records = 0;
        Ok(())
    }
}

/// Where no filter can be built, there is none: that costs a look at the block, not an answer.
fn push_filter(prefixes: &[u64], guide: &mut Vec<u8>) {
    if prefixes.len() < FILTER_KEYS_MIN {
        return;
    }
    let Ok(filter) = BinaryFuse8::try_from(prefixes) else { return };
    let mut descriptor = [0; BinaryFuse8::DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut descriptor);
    guide.extend_from_slice(&descriptor);
    guide.extend_from_slice(filter.dma_fingerprints());
}

/// A table of a run whose guide is in memory.
pub(crate) struct Table<'a> {
    pub(crate) width: usize,
    pub(crate) partitions: &'a [PartitionAt],
    pub(crate) guide: &'a [u8],
}

/// Reads bytes of the run's file.
pub(crate) type ReadAt<'a> = &'a dyn Fn(u64, usize) -> Result<Vec<u8>, Fault>;

impl Table<'_> {
    /// The value of a key.
    pub(crate) fn find(&self, key: &[u8; KEY_BYTES], read: ReadAt<'_>) -> Result<Option<Vec<u8>>, Fault> {
        let prefix = prefix(key);
        let Some(index) = self.partitions.partition_point(|at| at.first <= prefix).checked_sub(1) else {
            return Ok(None);
        };
        let at = &self.partitions[index];
        if !self.may_hold(at, prefix) {
            return Ok(None);
        }
        let blocks = at.blocks(self.width);
        let from = partition_point(blocks, |block| self.fence(at, block) < prefix).saturating_sub(1);
        for block in (from..blocks).take_while(|block| self.fence(at, *block) <= prefix) {
            let bytes = self.block(at, block, read)?;
            let records = bytes.len() / self.width;
            let record = |n: usize| &bytes[n * self.width..][..self.width];
            let found = partition_point(records, |n| record(n)[..KEY_BYTES] < key[..]);
            if found < records && record(found)[..KEY_BYTES] == key[..] {
                return Ok(Some(record(found)[KEY_BYTES..].to_vec()));
            }
        }
        Ok(None)
    }

    fn may_hold(&self, at: &PartitionAt, prefix: u64) -> bool {
        if at.filter_bytes == 0 {
            return true;
        }
        let filter = &self.guide[at.guide_end(self.width) as usize - at.filter_bytes as usize..];
        let (descriptor, rest) = filter.split_at(BinaryFuse8::DESCRIPTOR_LEN);
        let fingerprints = &rest[..at.filter_bytes as usize - BinaryFuse8::DESCRIPTOR_LEN];
        BinaryFuse8Ref::from_dma(descriptor, fingerprints).contains(&prefix)
    }

    fn fence(&self, at: &PartitionAt, block: usize) -> u64 {
        prefix(&self.guide[at.guide_at as usize + block * FENCE_BYTES..])
    }

    fn checksum(&self, at: &PartitionAt, block: usize) -> u32 {
        let checksums = at.guide_at as usize + at.blocks(self.width) * FENCE_BYTES;
        let bytes = &self.guide[checksums + block * CHECKSUM_BYTES..][..CHECKSUM_BYTES];
        u32::from_be_bytes(bytes.try_into().expect("4 bytes"))
    }

    /// A block's records, checked against their checksum.
    fn block(&self, at: &PartitionAt, block: usize, read: ReadAt<'_>) -> Result<Vec<u8>, Fault> {
        let (offset, length) = at.block(self.width, block);
        let bytes = read(offset, length)?;
        match crc32c::crc32c(&bytes) == self.checksum(at, block) {
            true => Ok(bytes),
            false => Err(Fault::Unsound(format!("block at offset {offset} has another checksum"))),
        }
    }

    /// The records of the block after `at`, counted over all partitions; `None` after the last.
    pub(crate) fn block_after(&self, at: &mut (usize, usize), read: ReadAt<'_>) -> Result<Option<Vec<u8>>, Fault> {
        let Some(partition) = self.partitions.get(at.0) else { return Ok(None) };
        let bytes = self.block(partition, at.1, read)?;
        at.1 += 1;
        if at.1 == partition.blocks(self.width) {
            *at = (at.0 + 1, 0);
        }
        Ok(Some(bytes))
    }
}

/// [`slice::partition_point`] over the numbers below `count`.
fn partition_point(count: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
