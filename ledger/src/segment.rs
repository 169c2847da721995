//! Segments: a log's stored bytes, either a file of frames or the two objects that sealing makes of it.

pub(crate) mod codec;
pub(crate) mod entries;
pub(crate) mod frames;
mod locate;
pub(crate) mod object;
pub(crate) mod payloads;
pub(crate) mod payloads_writer;
mod slot;
pub(crate) mod writer;

use crate::bundle::Entries;
use crate::entry::Entry;
use crate::error::{Error, Mismatch};
use crate::frame::checksum_mismatch;
use crate::layout::{LogLayout, SegmentPart};
use crate::lru::Owner;
use crate::payload::{Record, RecordKind, Records};
use crate::scan::LogFiles;
use crate::site::Site;
use crate::storage::{Storage, TEMPORARY_SUFFIX};
use entries::SealedEntries;
use frames::FramesFile;
use payloads::{Block, SealedPayloads};
pub(crate) use slot::SealedSlot;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use writer::Written;

/// A segment whose objects are immutable.
pub(crate) struct Sealed {
    pub(crate) entries: SealedEntries,
    pub(crate) payloads: SealedPayloads,
}

pub(crate) enum Segment {
    Frames(FramesFile),
    Sealed(SealedSlot),
}

/// Chooses the entries whose payload records are read and checked.
pub(crate) type Wanted<'a> = &'a mut dyn FnMut(&Entry) -> bool;

/// A whole frame as it was found, and the records of those entries that were asked for.
pub(crate) struct FoundFrame<'a> {
    /// First position of its segment.
    pub(crate) segment: u64,
    pub(crate) entries: &'a [u8],
    /// Where `entries` stands.
    pub(crate) entries_site: &'a Site,
    pub(crate) entries_at: u64,
    pub(crate) source_offsets: &'a [u8],
    /// Length of its records where they stand beside its entries, 0 in a sealed segment.
    pub(crate) payloads_bytes: usize,
    pub(crate) records: Vec<FoundRecord<'a>>,
}

pub(crate) struct FoundRecord<'a> {
    pub(crate) entry: Entry,
    pub(crate) record: Record<'a>,
    pub(crate) site: &'a Site,
    /// Offset of the record in its file.
    pub(crate) at: u64,
}

impl Sealed {
    /// `owner` is whom its cached blocks belong to, while there is one.
    pub(crate) fn open(log: &LogFiles, files: Files, owner: Weak<Owner>) -> Result<Self, Error> {
        let (first, generation) = (files.first, files.generation.expect("sealed segments have payloads"));
        let at = |part| log.at(log.layout.segment(first, part));
        let entries = SealedEntries::open(&*log.disk, at(SegmentPart::Entries))?;
        let payloads = SealedPayloads::open(&*log.disk, owner, at(SegmentPart::Payloads { generation }))?;
        let promised = (first, entries.footer.count, generation);
        let found = (entries.footer.first, payloads.footer.count, payloads.footer.generation);
        if promised != found || payloads.footer.first != first {
            let expected = format!("first position, count and generation {promised:?}");
            let mismatch = Mismatch::new(0, expected, format!("{found:?} from {}", payloads.footer.first));
            return Err(payloads.site.damage(Some(first), payloads.footer.body_bytes, mismatch));
        }
        Ok(Self { entries, payloads })
    }

    /// Hands out every frame; `wanted` chooses whose records are read.
    pub(crate) fn walk(
        &self,
        wanted: Wanted<'_>,
        mut each: impl FnMut(FoundFrame<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut cursor = self.payloads.cursor();
        let last_frame_at = self.entries.footer.body_bytes;
        let walked = self.entries.walk(|entries_at, entries| {
            let (mut blocks, mut places) = (Vec::<Arc<Block>>::new(), Vec::new());
            for item in Entries::new(entries) {
                let site = &self.entries.site;
                let (at, raw) = item.map_err(|m| site.damage(None, entries_at, m))?;
                let entry = Entry::decode(raw).map_err(|m| site.damage(None, entries_at + at as u64 + 2, m))?;
                if !wanted(&entry) {
                    continue;
                }
                self.check_within(&entry, entries_at + at as u64)?;
                let (record_at, offset, block) = cursor.place(entry.position.get())?;
                if blocks.last().is_none_or(|last| !Arc::ptr_eq(last, block)) {
                    blocks.push(block.clone());
                }
                places.push((entry, record_at, blocks.len() - 1, offset));
            }
            let records = places.into_iter().map(|(entry, at, block, offset)| FoundRecord {
                entry,
                record: blocks[block].record(offset),
                site: &self.payloads.site,
                at,
            });
            let records = records.collect();
            let is_last = entries_at + entries.len() as u64 == last_frame_at;
            let source_offsets = if is_last { &self.entries.footer.source_offsets[..] } else { &[] };
            let (segment, entries_site) = (self.entries.footer.first, &self.entries.site);
            each(FoundFrame {
                segment,
                entries,
                entries_site,
                entries_at,
                source_offsets,
                payloads_bytes: 0,
                records,
            })?;
            Ok(())
        });
        walked.map_err(|fault| self.explain(fault))
    }

    /// Reads every block of payloads and checks its checksum, no more.
    pub(crate) fn check_blocks(&self) -> Result<(), Error> {
        let mut blocks = 0..self.payloads.footer.blocks.len();
        let read = blocks.try_for_each(|index| self.payloads.stored(index).map(drop));
        read.map_err(|fault| self.explain(fault))
    }

    /// Reads back what was just written, before the frames are given up: every bundle and block by its checksum, and
    /// that blocks unpack to the records that were put into them.
    pub(crate) fn check_against(&self, written: &Written) -> Result<(), Error> {
        let footer = &self.entries.footer;
        let bundles = (0..footer.bundles.len()).try_for_each(|index| self.entries.bundle(index).map(drop));
        bundles.map_err(|fault| self.explain(fault))?;
        assert_eq!(
            (footer.first + footer.count, footer.chain_after, self.payloads.footer.blocks.len()),
            (written.end.first, written.end.chain, written.plain_checksums.len()),
            "a sealed segment must say what was written"
        );
        let mut cursor = self.payloads.cursor();
        for (index, expected) in written.plain_checksums.iter().enumerate() {
            let found = cursor.plain_checksum(index).map_err(|fault| self.explain(fault))?;
            if found != *expected {
                let at = self.payloads.footer.blocks[index];
                let mismatch = checksum_mismatch(0, "records", found, *expected);
                return Err(self.payloads.site.damage(Some(at.first), at.offset, mismatch));
            }
        }
        Ok(())
    }

    /// A position outside the segment would make no sense to the payloads' index.
    fn check_within(&self, entry: &Entry, at: u64) -> Result<(), Error> {
        let (first, count) = (self.entries.footer.first, self.entries.footer.count);
        match (first..first + count).contains(&entry.position.get()) {
            true => Ok(()),
            false => {
                let expected = format!("a position from {first} to {}", first + count - 1);
                Err(self.entries.site.damage(Some(first), at + 4, Mismatch::new(0, expected, entry.position)))
            }
        }
    }
}

/// Gives the records of a whole frame of a frames file, checked to be as many as its entries.
pub(crate) fn found_records<'a>(
    site: &'a Site,
    frame_at: u64,
    frame: &crate::frame::Frame<'a>,
    wanted: Wanted<'_>,
) -> Result<Vec<FoundRecord<'a>>, Error> {
    let (entries_at, records_at) =
        (frame_at + frame.header.entries_at() as u64, frame_at + frame.header.payloads_at() as u64);
    let position = Some(frame.header.first.get());
    let (mut found, mut entries, mut count) = (Vec::new(), Entries::new(frame.entries), 0);
    for item in Records::new(frame.payloads) {
        let (at, record) = item.map_err(|m| site.damage(position, records_at, m))?;
        let at = records_at + at as u64;
        let Some(entry) = entries.next() else {
            let mismatch = Mismatch::new(0, format!("{count} payloads, one for each entry"), "more");
            return Err(site.damage(position, at, mismatch));
        };
        let (entry_at, raw) = entry.map_err(|m| site.damage(position, entries_at, m))?;
        let entry = Entry::decode(raw).map_err(|m| site.damage(position, entries_at + entry_at as u64 + 2, m))?;
        count += 1;
        if record.kind != RecordKind::Original {
            let mismatch = Mismatch::new(0, "payload kind 0 in a file of frames", record.kind as u8);
            return Err(site.damage(Some(entry.position.get()), at, mismatch));
        }
        if wanted(&entry) {
            found.push(FoundRecord { entry, record, site, at });
        }
    }
    let missing = entries.next().is_some() || count != frame.header.count;
    if missing {
        let mismatch =
            Mismatch::new(0, format!("{} entries and payloads", frame.header.count), format!("{count} payloads"));
        return Err(site.damage(position, entries_at, mismatch));
    }
    Ok(found)
}

/// Which files a segment has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) first: u64,
    pub(crate) frames: bool,
    pub(crate) entries: bool,
    /// The latest generation of payloads.
    pub(crate) generation: Option<u32>,
}

impl Files {
    /// Payloads are published before entries: where both stand, they count.
    pub(crate) fn is_sealed(&self) -> bool {
        self.entries && self.generation.is_some()
    }
}

/// What stands in a log's segments folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// By first position.
    pub(crate) segments: Vec<Files>,
    pub(crate) temporary: Vec<String>,
    /// Payloads of which a later generation stands beside them.
    pub(crate) superseded: Vec<(u64, SegmentPart)>,
}

/// Lists a log's segments; a name that is none of ours is damage.
pub(crate) fn list(disk: &dyn Storage, site: &Site, root: &Path, log: &LogLayout) -> Result<Listing, Error> {
    let folder = site.file(root, log.segments());
    let names = disk.list(folder.path()).map_err(folder.io("listing"))?;
    let (mut segments, mut temporary) = (BTreeMap::<u64, Files>::new(), Vec::new());
    let mut superseded = Vec::new();
    for name in names {
        let Some((first, part)) = SegmentPart::parse(&name) else {
            if name.ends_with(TEMPORARY_SUFFIX) {
                temporary.push(name);
                continue;
            }
            let file = site.file(root, log.segments().join(&name));
            return Err(file.damage(None, 0, Mismatch::new(0, "the name of a segment", format!("`{name}`"))));
        };
        let files = segments.entry(first).or_insert(Files { first, ..Files::default() });
        match part {
            SegmentPart::Frames => files.frames = true,
            SegmentPart::Entries => files.entries = true,
            SegmentPart::Payloads { generation } => {
                let (older, newer) = (files.generation.min(Some(generation)), files.generation.max(Some(generation)));
                superseded.extend(older.map(|generation| (first, SegmentPart::Payloads { generation })));
                files.generation = newer;
            }
        }
    }
    Ok(Listing { segments: segments.into_values().collect(), temporary, superseded })
}
