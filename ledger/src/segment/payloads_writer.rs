//! Writes a `payloads` object: records into blocks, blocks into the body, the footer behind them.

use super::codec::Packer;
use super::object::ObjectWriter;
use super::payloads::{BLOCK_BYTES, BlockAt, MAGIC, PayloadsFooter};
use crate::error::Error;
use crate::layout::{LogLayout, SegmentPart};
use crate::payload::Record;
use crate::storage::Storage;

pub(crate) struct PayloadsWriter<'a> {
    object: ObjectWriter<'a>,
    generation: u32,
    first: u64,
    next: u64,
    blocks: Vec<BlockAt>,
    block: Vec<u8>,
    block_first: u64,
    packer: Packer,
    /// Of each block's records, for comparing with what is read back.
    plain_checksums: Vec<u32>,
}

impl<'a> PayloadsWriter<'a> {
    pub(crate) fn create(
        disk: &'a dyn Storage,
        layout: &LogLayout,
        first: u64,
        generation: u32,
    ) -> Result<Self, Error> {
        let object = ObjectWriter::create(disk, &layout.segment(first, SegmentPart::Payloads { generation }))?;
        Ok(Self {
            object,
            generation,
            first,
            next: first,
            blocks: Vec::new(),
            block: Vec::new(),
            block_first: first,
            packer: Packer::new(),
            plain_checksums: Vec::new(),
        })
    }

    /// Bytes put so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.object.bytes() + self.block.len() as u64
    }

    /// Position that the next record belongs to.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn record(&mut self, record: &Record<'_>) -> Result<(), Error> {
        record.push(&mut self.block);
        self.next += 1;
        match self.block.len() >= BLOCK_BYTES {
            true => self.close_block(),
            false => Ok(()),
        }
    }

    fn close_block(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a block is at most 2 MiB");
        let (codec, stored) = self.packer.pack(&self.block);
        self.blocks.push(BlockAt {
            first: self.block_first,
            offset: self.object.bytes(),
            stored_bytes: length(stored),
            plain_bytes: length(&self.block),
            checksum: crc32c::crc32c(stored),
            codec,
        });
        self.plain_checksums.push(crc32c::crc32c(&self.block));
        self.object.put(stored)?;
        self.block.clear();
        self.block_first = self.next;
        Ok(())
    }

    /// CRC of each block's records, after [`PayloadsWriter::finish`].
    pub(crate) fn plain_checksums(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.plain_checksums)
    }

    /// Makes the content durable; the object has its name only after [`PayloadsWriter::publish`].
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.close_block()?;
        let footer = PayloadsFooter {
            generation: self.generation,
            first: self.first,
            count: self.next - self.first,
            body_bytes: self.object.bytes(),
            blocks: std::mem::take(&mut self.blocks),
        };
        self.object.finish(&footer.encode(), MAGIC)
    }

    /// Leaves nothing behind.
    pub(crate) fn abandon(self) -> Result<(), Error> {
        self.object.abandon()
    }

    pub(crate) fn publish(self) -> Result<(), Error> {
        self.object.publish()
    }
}
