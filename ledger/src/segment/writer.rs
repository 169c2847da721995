//! Writes the two objects of a sealed segment, frame by frame. Sealing and exporting are this.

use super::entries::{self, BundleAt, EntriesFooter, bundle_of};
use super::object::ObjectWriter;
use super::payloads_writer::PayloadsWriter;
use crate::bundle::Entries;
use crate::chain;
use crate::entry::Entry;
use crate::error::{Error, Mismatch};
use crate::layout::{LogLayout, SegmentPart};
use crate::payload::Record;
use crate::storage::Storage;
use crate::tree::Tree;
use cairn_schemas::Blake3;

/// What is known of a log where a segment begins.
#[derive(Clone, Debug)]
pub(crate) struct SegmentStart {
    pub(crate) first: u64,
    pub(crate) chain: Blake3,
    pub(crate) tree: Tree,
}

pub(crate) struct SegmentWriter<'a> {
    entries: ObjectWriter<'a>,
    payloads: PayloadsWriter<'a>,
    chain_before: Blake3,
    first: u64,
    next: u64,
    chain: Blake3,
    tree: Tree,
    last_recorded_at_micros: i64,
    bundles: Vec<BundleAt>,
    source_offsets: Vec<u8>,
    /// The log after the segment, where it is known: the tree need not be computed then.
    known_end: Option<SegmentStart>,
}

/// What a sealed segment must give when it is read back.
pub(crate) struct Written {
    pub(crate) end: SegmentStart,
    /// CRC of each block's records.
    pub(crate) plain_checksums: Vec<u32>,
}

impl<'a> SegmentWriter<'a> {
    pub(crate) fn create(disk: &'a dyn Storage, layout: &LogLayout, start: SegmentStart) -> Result<Self, Error> {
        let SegmentStart { first, chain, tree } = start;
        Ok(Self {
            entries: ObjectWriter::create(disk, &layout.segment(first, SegmentPart::Entries))?,
            payloads: PayloadsWriter::create(disk, layout, first, 0)?,
            chain_before: chain,
            first,
            next: first,
            chain,
            tree,
            last_recorded_at_micros: 0,
            bundles: Vec::new(),
            source_offsets: Vec::new(),
            known_end: None,
        })
    }

    /// Takes the log after the segment from where it was computed when the frames were written.
    pub(crate) fn ending_at(mut self, end: SegmentStart) -> Self {
        self.known_end = Some(end);
        self
    }

    /// Bytes put so far, for cutting exports into segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.bytes() + self.payloads.bytes()
    }

    /// Puts the entries of one frame. Its records follow by [`SegmentWriter::record`].
    pub(crate) fn frame(&mut self, entries: &[u8], source_offsets: &[u8]) -> Result<(), Error> {
        for item in Entries::new(entries) {
            let (at, bytes) = item.map_err(own_fault)?;
            let decoded = Entry::decode(bytes).map_err(own_fault)?;
            assert_eq!(decoded.position.get(), self.next, "sealed entries must follow one another");
            let end = at + 2 + bytes.len();
            self.entry(&entries[at..end])?;
            if self.known_end.is_none() {
                self.tree.push(bytes);
            }
            self.last_recorded_at_micros = decoded.recorded_at.as_micros();
            self.next += 1;
        }
        self.chain = chain::next(&self.chain, entries);
        self.source_offsets = source_offsets.to_vec();
        Ok(())
    }

    fn entry(&mut self, with_length: &[u8]) -> Result<(), Error> {
        let begins = self.next == self.first || bundle_of(self.next) != bundle_of(self.next - 1);
        if begins {
            self.bundles.push(BundleAt { offset: self.entries.bytes(), checksum: 0 });
        }
        let bundle = self.bundles.last_mut().expect("the first entry begins a bundle");
        bundle.checksum = crc32c::crc32c_append(bundle.checksum, with_length);
        self.entries.put(with_length)
    }

    pub(crate) fn record(&mut self, record: &Record<'_>) -> Result<(), Error> {
        self.payloads.record(record)
    }

    /// Ends both objects and publishes them, payloads first: where `entries` has its name, both are whole.
    pub(crate) fn finish(mut self) -> Result<Written, Error> {
        let count = self.next - self.first;
        assert!(count > 0 && self.payloads.next() == self.next, "every entry has its record, and there is one");
        let end = match self.known_end.take() {
            None => SegmentStart { first: self.next, chain: self.chain, tree: self.tree },
            Some(end) => end,
        };
        assert_eq!((end.first, end.chain), (self.next, self.chain), "a seal must hold what the frames held");
        let entries_footer = EntriesFooter {
            first: self.first,
            count,
            body_bytes: self.entries.bytes(),
            chain_before: self.chain_before,
            chain_after: self.chain,
            last_recorded_at_micros: self.last_recorded_at_micros,
            bundles: self.bundles,
            subtrees: end.tree.subtrees().to_vec(),
            source_offsets: self.source_offsets,
        };
        self.payloads.finish()?;
        let plain_checksums = self.payloads.plain_checksums();
        self.entries.finish(&entries_footer.encode(), entries::MAGIC)?;
        self.payloads.publish()?;
        self.entries.publish()?;
        Ok(Written { end, plain_checksums })
    }

    /// Head of the chain after what was put.
    pub(crate) fn chain(&self) -> Blake3 {
        self.chain
    }

    /// Position of the next entry.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

/// What is sealed was decoded before, so a mismatch here is a fault of this program, not of the disk.
fn own_fault(mismatch: Mismatch) -> Error {
    Error::WriterEnded { why: format!("entries changed while they were sealed: {mismatch:?}") }
}
