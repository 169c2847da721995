//! The `payloads` object of a sealed segment: blocks of records. It exists in generations; redaction writes the next.

use super::codec::Codec;
use super::locate::{Fault, Unsound};
use super::object::read_footer;
use crate::error::{Error, Mismatch};
use crate::frame::checksum_mismatch;
use crate::lru::Owner;
use crate::payload::{Record, Records};
use crate::site::Site;
use crate::storage::{Storage, StoredFile};
use crate::wire::Reader;
use std::ops::Range;
use std::sync::{Arc, Weak};

pub(crate) const MAGIC: [u8; 8] = *b"CAIRNPAY";
const VERSION: [u8; 4] = [1, 0, 0, 0];
/// A block is closed once it holds this much.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// No block is longer: it was below [`BLOCK_BYTES`] before its last record, and a record is little over 1 MiB.
const BLOCK_BYTES_MAX: usize = 2 << 20;

/// Where a block of records stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockAt {
    pub(crate) first: u64,
    pub(crate) offset: u64,
    pub(crate) stored_bytes: u32,
    /// Length of its records.
    pub(crate) plain_bytes: u32,
    /// Of the stored bytes.
    pub(crate) checksum: u32,
    pub(crate) codec: Codec,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PayloadsFooter {
    pub(crate) generation: u32,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) body_bytes: u64,
    pub(crate) blocks: Vec<BlockAt>,
}

impl PayloadsFooter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let blocks = u32::try_from(self.blocks.len()).expect("a segment is bounded");
        let mut out = VERSION.to_vec();
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.body_bytes.to_be_bytes());
        out.extend_from_slice(&blocks.to_be_bytes());
        for block in &self.blocks {
            out.extend_from_slice(&block.first.to_be_bytes());
            out.extend_from_slice(&block.offset.to_be_bytes());
            out.extend_from_slice(&block.stored_bytes.to_be_bytes());
            out.extend_from_slice(&block.plain_bytes.to_be_bytes());
            out.extend_from_slice(&block.checksum.to_be_bytes());
            out.extend_from_slice(&[block.codec as u8, 0, 0, 0]);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Mismatch> {
        let mut from = Reader::new(bytes);
        from.expect("payloads footer version", &VERSION)?;
        let generation = from.u32()?;
        let (first, count, body_bytes) = (from.u64()?, from.u64()?, from.u64()?);
        let blocks = from.u32()?;
        let blocks = (0..blocks).map(|_| block(&mut from)).collect::<Result<Vec<_>, _>>()?;
        from.end()?;
        let footer = Self { generation, first, count, body_bytes, blocks };
        footer.check()?;
        Ok(footer)
    }

    fn check(&self) -> Result<(), Mismatch> {
        let (mut offset, mut first) = (0, self.first);
        for block in &self.blocks {
            let in_order = block.first >= first && block.offset == offset && block.stored_bytes > 0;
            if !in_order || block.plain_bytes as usize > BLOCK_BYTES_MAX {
                return Err(Mismatch::new(36, format!("a block at offset {offset}"), format!("{block:?}")));
            }
            offset += u64::from(block.stored_bytes);
            first = block.first + 1;
        }
        let whole = self.first > 0 && self.blocks.first().is_some_and(|b| b.first == self.first);
        match whole && offset == self.body_bytes {
            true => Ok(()),
            false => Err(Mismatch::new(24, format!("a body of {offset} bytes"), self.body_bytes)),
        }
    }
}

fn block(from: &mut Reader<'_>) -> Result<BlockAt, Mismatch> {
    let at = from.at();
    let (first, offset) = (from.u64()?, from.u64()?);
    let (stored_bytes, plain_bytes, checksum) = (from.u32()?, from.u32()?, from.u32()?);
    let codec_at = from.at();
    let byte = from.u8()?;
    let codec = Codec::of_byte(byte).ok_or_else(|| Mismatch::new(codec_at, "block codec 0 or 1", byte))?;
    from.expect("zeros after a block's codec", &[0; 3])?;
    let fits = match codec {
        Codec::Plain => stored_bytes == plain_bytes,
        Codec::Lz4 => stored_bytes < plain_bytes,
    };
    match fits {
        true => Ok(BlockAt { first, offset, stored_bytes, plain_bytes, checksum, codec }),
        false => {
            Err(Mismatch::new(at + 20, format!("a length that {stored_bytes} stored bytes can have"), plain_bytes))
        }
    }
}

/// A `payloads` object, its footer in memory.
pub(crate) struct SealedPayloads {
    file: Arc<dyn StoredFile>,
    owner: Weak<Owner>,
    pub(crate) site: Site,
    pub(crate) footer: PayloadsFooter,
}

impl SealedPayloads {
    /// `owner` is whom its cached blocks belong to, while there is one.
    pub(crate) fn open(disk: &dyn Storage, owner: Weak<Owner>, site: Site) -> Result<Self, Error> {
        let file = disk.open(site.path()).map_err(site.io("opening"))?;
        let footer = read_footer(&*file, &site, MAGIC)?;
        let decoded = PayloadsFooter::decode(&footer.bytes).map_err(|m| site.damage(None, footer.at, m))?;
        if decoded.body_bytes != footer.at {
            let mismatch = Mismatch::new(24, format!("a body of {} bytes", footer.at), decoded.body_bytes);
            return Err(site.damage(Some(decoded.first), footer.at, mismatch));
        }
        Ok(Self { file, owner, site, footer: decoded })
    }

    /// Reads records in order, keeping one block at a time.
    pub(crate) fn cursor(&self) -> PayloadCursor<'_> {
        PayloadCursor { payloads: self, block: None }
    }

    /// Index of the block that holds `position`.
    fn block_index(&self, position: u64) -> usize {
        self.footer.blocks.partition_point(|block| block.first <= position).saturating_sub(1)
    }

    /// The bytes of a block as they are stored, checked against their checksum.
    pub(super) fn stored(&self, index: usize) -> Result<Vec<u8>, Fault> {
        let at = self.footer.blocks[index];
        let mut bytes = vec![0; at.stored_bytes as usize];
        self.file.read_exact_at(&mut bytes, at.offset).map_err(self.site.io("reading"))?;
        let found = crc32c::crc32c(&bytes);
        if found == at.checksum {
            return Ok(bytes);
        }
        let error =
            self.site.damage(Some(at.first), at.offset, checksum_mismatch(0, "payload block", found, at.checksum));
        // Of what can still be unpacked, the records before the wrong bytes are as they were.
        let bytes = at.codec.unpack(bytes, at.plain_bytes as usize).unwrap_or_default();
        let packed = at.codec != Codec::Plain;
        Err(Fault::Block(Unsound { error, first: at.first, offset: at.offset, bytes, packed }))
    }

    fn position_after(&self, index: usize) -> u64 {
        self.footer.blocks.get(index + 1).map_or(self.footer.first + self.footer.count, |next| next.first)
    }
}

pub(crate) struct PayloadCursor<'a> {
    payloads: &'a SealedPayloads,
    block: Option<Arc<Block>>,
}

/// A block that was read and decoded.
pub(crate) struct Block {
    index: usize,
    positions: Range<u64>,
    bytes: Vec<u8>,
    /// Offset of each record in `bytes`.
    records: Vec<usize>,
}

impl Block {
    /// The record at one of its offsets.
    pub(super) fn record(&self, offset: usize) -> Record<'_> {
        let record = Records::new(&self.bytes[offset..]).next().expect("load() found a record here");
        record.expect("load() decoded this record").1
    }
}

/// Whoever reads on from here soon need not read and decode the block again.
impl Drop for PayloadCursor<'_> {
    fn drop(&mut self) {
        if let (Some(block), Some(owner)) = (self.block.take(), self.payloads.owner.upgrade()) {
            owner.caches.blocks.put(owner.key(block.index as u64), block.bytes.len(), block);
        }
    }
}

impl PayloadCursor<'_> {
    /// The record at `position`, and its offset in the object.
    pub(crate) fn get(&mut self, position: u64) -> Result<(u64, Record<'_>), Fault> {
        let (at, offset, block) = self.place(position)?;
        Ok((at, block.record(offset)))
    }

    /// Where the record at `position` stands: its offset in the object, and in which block at which offset.
    pub(super) fn place(&mut self, position: u64) -> Result<(u64, usize, &Arc<Block>), Fault> {
        if self.block.as_ref().is_none_or(|block| !block.positions.contains(&position)) {
            self.block = Some(self.load(self.payloads.block_index(position))?);
        }
        let block = self.block.as_ref().expect("just loaded");
        let at = self.payloads.footer.blocks[block.index];
        let offset = block.records[(position - at.first) as usize];
        // A record inside a compressed block has no offset of its own.
        let shift = if at.codec == Codec::Plain { offset as u64 } else { 0 };
        Ok((at.offset + shift, offset, block))
    }

    /// CRC of a block's records.
    pub(crate) fn plain_checksum(&mut self, index: usize) -> Result<u32, Fault> {
        Ok(crc32c::crc32c(&self.load(index)?.bytes))
    }

    fn load(&self, index: usize) -> Result<Arc<Block>, Fault> {
        let cached = |owner: Arc<Owner>| owner.caches.blocks.get(owner.key(index as u64));
        if let Some(block) = self.payloads.owner.upgrade().and_then(cached) {
            return Ok(block);
        }
        let at = self.payloads.footer.blocks[index];
        let stored = self.payloads.stored(index)?;
        let damage = |m: Mismatch| Fault::Other(self.payloads.site.damage(Some(at.first), at.offset, m));
        let bytes = at.codec.unpack(stored, at.plain_bytes as usize).map_err(damage)?;
        let records = Records::new(&bytes).map(|item| item.map(|(offset, _)| offset));
        let records = records.collect::<Result<Vec<_>, _>>().map_err(damage)?;
        let positions = at.first..self.payloads.position_after(index);
        let expected = positions.end - at.first;
        if records.len() as u64 != expected {
            return Err(damage(Mismatch::new(0, format!("{expected} records"), records.len())));
        }
        Ok(Arc::new(Block { index, positions, bytes, records }))
    }
}
