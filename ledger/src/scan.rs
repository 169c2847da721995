//! Reads a whole log from its stored bytes, checking everything that must hold. Opening and verification are this.

use crate::continuity::Continuity;
use crate::entry::Entry;
use crate::error::{Error, Mismatch};
use crate::layout::{LogLayout, SegmentPart};
use crate::lru::Caches;
use crate::segment::frames::{Break, FrameAt, FramesFile};
use crate::segment::writer::SegmentStart;
use crate::segment::{
    Files, FoundFrame, FoundRecord, Listing, Sealed, SealedSlot, Segment, Wanted, found_records, list,
};
use crate::site::Site;
use crate::storage::Storage;
use std::path::Path;
use std::sync::Arc;

/// Called with the entries of each whole frame, and the frame as it was found, its records not yet checked.
pub(crate) type EachFrame<'a> = &'a mut dyn FnMut(&[Entry], &FoundFrame<'_>) -> Result<(), Error>;

/// Which log to read.
#[derive(Clone)]
pub(crate) struct LogFiles {
    pub(crate) disk: Arc<dyn Storage>,
    /// The ledger's directory, to which findings are relative.
    pub(crate) root: std::path::PathBuf,
    pub(crate) layout: LogLayout,
    /// The log's own site, pointing at its folder.
    pub(crate) site: Site,
    pub(crate) caches: Arc<Caches>,
}

/// A segment and the frames it holds, where it is a file of frames.
pub(crate) struct ScannedSegment {
    pub(crate) segment: Segment,
    pub(crate) frames: Vec<FrameAt>,
    /// `None` where the segment was not read.
    pub(crate) start: Option<SegmentStart>,
}

/// What was read.
pub(crate) struct Scan {
    pub(crate) state: Continuity,
    pub(crate) segments: Vec<ScannedSegment>,
    /// Where the last frames file ends short of its last byte.
    pub(crate) tail: Option<Tail>,
    /// The greatest position that a frame, or the checkpoint, says was durable.
    pub(crate) durable_before: u64,
    pub(crate) temporary: Vec<String>,
    /// Files that a sealing or a redaction, cut short by a crash, left behind.
    pub(crate) leftover: Vec<(u64, SegmentPart)>,
}

/// Bytes after the last whole frame that no evidence says were ever durable.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) end: u64,
    pub(crate) file_bytes: u64,
    pub(crate) broken: Break,
}

impl LogFiles {
    pub(crate) fn new(disk: Arc<dyn Storage>, root: &Path, log: &str, layout: LogLayout) -> Self {
        let (site, caches) = (Site::new(log, root, layout.dir.clone()), Arc::default());
        Self { disk, root: root.to_owned(), layout, site, caches }
    }

    /// With caches that other logs share.
    pub(crate) fn sharing(self, caches: &Arc<Caches>) -> Self {
        Self { caches: caches.clone(), ..self }
    }

    pub(crate) fn listing(&self) -> Result<Listing, Error> {
        list(&*self.disk, &self.site, &self.root, &self.layout)
    }

    pub(crate) fn at(&self, path: std::path::PathBuf) -> Site {
        self.site.file(&self.root, path)
    }

    /// Reads every segment in order. `wanted` chooses whose payloads are read; `each` sees whole frames.
    ///
    /// `checkpoint_size` is the size of the stored checkpoint: nothing up to it may be missing.
    pub(crate) fn scan(
        &self,
        state: Continuity,
        checkpoint_size: u64,
        wanted: Wanted<'_>,
        each: EachFrame<'_>,
    ) -> Result<Scan, Error> {
        self.scan_after(0, self.listing()?, state, checkpoint_size, wanted, each)
    }

    /// Reads the segments after the first `skipped` ones, after which the log is at `state`.
    pub(crate) fn scan_after(
        &self,
        skipped: usize,
        listing: Listing,
        mut state: Continuity,
        checkpoint_size: u64,
        wanted: Wanted<'_>,
        each: EachFrame<'_>,
    ) -> Result<Scan, Error> {
        let (mut segments, mut leftover) = (Vec::new(), listing.superseded.clone());
        let (mut tail, mut durable_before) = (None, checkpoint_size.max(state.head));
        let last = listing.segments.last().map(|files| files.first);
        for (index, files) in listing.segments.iter().enumerate() {
            let (segment, more) = self.open_segment(*files)?;
            leftover.extend(more);
            let mut frames = Vec::new();
            if index < skipped {
                segments.push(ScannedSegment { segment, frames, start: None });
                continue;
            }
            self.check_first(files.first, state.head, &segment)?;
            let start = Some(SegmentStart { first: files.first, chain: state.chain, tree: state.tree.clone() });
            match &segment {
                Segment::Sealed(slot) => {
                    let sealed = slot.open()?;
                    sealed.walk(wanted, |found| take_frame(&mut state, &found, each))?;
                    check_chain_after(&sealed, &state)?;
                    durable_before = durable_before.max(state.head);
                }
                Segment::Frames(file) => {
                    let walked = file.walk(|at, frame| {
                        let entries_at = at.offset + frame.header.entries_at() as u64;
                        let (entries, source_offsets) = (frame.entries, frame.source_offsets);
                        check_header(file, at, state.head)?;
                        let records = found_records(&file.site, at.offset, frame, wanted)?;
                        let (segment, entries_site) = (file.first, &file.site);
                        let payloads_bytes = frame.payloads.len();
                        let found = FoundFrame {
                            segment,
                            entries,
                            entries_site,
                            entries_at,
                            source_offsets,
                            payloads_bytes,
                            records,
                        };
                        frames.push(at);
                        take_frame(&mut state, &found, each)
                    })?;
                    durable_before = durable_before.max(walked.durable_before);
                    if let Some(broken) = walked.broken {
                        let is_last = last == Some(files.first);
                        let found = Tail { end: walked.end, file_bytes: walked.file_bytes, broken };
                        tail = Some(judge(file, found, is_last, state.head + 1, durable_before)?);
                    }
                }
            }
            segments.push(ScannedSegment { segment, frames, start });
        }
        self.check_reaches(&segments, tail.as_ref(), state.head, checkpoint_size)?;
        let temporary = listing.temporary;
        Ok(Scan { state, segments, tail, durable_before, temporary, leftover })
    }

    /// Decides which of a segment's files count. Payloads are published before entries, and frames removed after both.
    pub(crate) fn open_segment(&self, files: Files) -> Result<(Segment, Vec<(u64, SegmentPart)>), Error> {
        let Files { first, frames, entries, generation } = files;
        let payloads = generation.map(|generation| (first, SegmentPart::Payloads { generation }));
        if files.is_sealed() {
            let leftover = frames.then_some((first, SegmentPart::Frames));
            return Ok((Segment::Sealed(SealedSlot::new(self, files)), leftover.into_iter().collect()));
        }
        if frames && !entries {
            let site = self.at(self.layout.segment(first, SegmentPart::Frames));
            let file = self.disk.open(site.path()).map_err(site.io("opening"))?;
            return Ok((Segment::Frames(FramesFile { site, file, first }), payloads.into_iter().collect()));
        }
        let missing = if entries { SegmentPart::Payloads { generation: 0 } } else { SegmentPart::Entries };
        let site = self.at(self.layout.segment(first, missing));
        Err(site.damage(Some(first), 0, Mismatch::new(0, "a file beside the others of its segment", "none")))
    }

    fn check_first(&self, first: u64, head: u64, segment: &Segment) -> Result<(), Error> {
        let part = match segment {
            Segment::Frames(_) => SegmentPart::Frames,
            Segment::Sealed(_) => SegmentPart::Entries,
        };
        let site = self.at(self.layout.segment(first, part));
        match first == head + 1 {
            true => Ok(()),
            false => {
                let expected = format!("a segment that begins at position {}", head + 1);
                Err(site.damage(Some(head + 1), 0, Mismatch::new(0, expected, format!("position {first}"))))
            }
        }
    }

    /// A signed size that the stored entries do not reach means that entries are gone.
    fn check_reaches(
        &self,
        segments: &[ScannedSegment],
        tail: Option<&Tail>,
        head: u64,
        checkpoint_size: u64,
    ) -> Result<(), Error> {
        if checkpoint_size <= head {
            return Ok(());
        }
        let (site, offset) = match segments.last().map(|scanned| &scanned.segment) {
            None => (self.at(self.layout.segments()), 0),
            Some(Segment::Frames(file)) => {
                let whole = file.file.bytes().map_err(file.site.io("measuring"))?;
                (file.site.clone(), tail.map_or(whole, |tail| tail.end))
            }
            Some(Segment::Sealed(slot)) => {
                let sealed = slot.open()?;
                (sealed.entries.site.clone(), sealed.entries.footer.body_bytes)
            }
        };
        let expected = format!("entries up to position {checkpoint_size}, which the checkpoint covers");
        Err(site.damage(Some(head + 1), offset, Mismatch::new(0, expected, format!("the end after position {head}"))))
    }
}

fn check_header(file: &FramesFile, at: FrameAt, head: u64) -> Result<(), Error> {
    match at.first == head + 1 {
        true => Ok(()),
        false => {
            let expected = format!("a frame that begins at position {}", head + 1);
            Err(file.site.damage(Some(head + 1), at.offset, Mismatch::new(16, expected, at.first)))
        }
    }
}

fn check_chain_after(sealed: &Sealed, state: &Continuity) -> Result<(), Error> {
    let footer = &sealed.entries.footer;
    let subtrees = state.subtrees().map(|_| &footer.subtrees[..]);
    let found = (footer.chain_after, footer.last_recorded_at_micros, subtrees);
    let expected = (state.chain, state.recorded_at_micros, state.subtrees());
    match found == expected {
        true => Ok(()),
        false => {
            let expected = format!("chain head {}, time and subtrees of its entries", state.chain);
            let mismatch = Mismatch::new(64, expected, footer.chain_after);
            Err(sealed.entries.site.damage(Some(state.head), footer.body_bytes, mismatch))
        }
    }
}

fn take_frame(state: &mut Continuity, found: &FoundFrame<'_>, each: EachFrame<'_>) -> Result<(), Error> {
    let mut entries = Vec::new();
    let checked = state.frame(found.entries, |_, entry| entries.push(entry));
    checked.map_err(|(position, m)| found.entries_site.damage(Some(position), found.entries_at, m))?;
    each(&entries, found)
}

/// A stored payload must be the one its entry committed to.
pub(crate) fn check_record(found: &FoundRecord<'_>) -> Result<(), Error> {
    let FoundRecord { entry, record, site, at } = found;
    record.check(entry).map_err(|m| site.damage(Some(entry.position.get()), *at, m))
}

/// Only an incomplete last frame that nothing says was ever durable may be passed over; the rest is damage.
fn judge(file: &FramesFile, tail: Tail, is_last: bool, position: u64, durable_before: u64) -> Result<Tail, Error> {
    let durable = match tail.broken.blank {
        true => durable_before,
        false => durable_before.max(file.durable_head_after(tail.end)?),
    };
    if is_last && tail.broken.incomplete && durable < position {
        return Ok(tail);
    }
    // Reserved space that was never written needs no frame to be missing; check_reaches() sees to what is.
    if is_last && tail.broken.blank {
        return Ok(tail);
    }
    Err(file.damage_at(tail.end, position, tail.broken.mismatch))
}
