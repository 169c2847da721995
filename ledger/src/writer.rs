//! Makes a group of batches durable: place, write once, sync once, and only then let anyone see them.

use crate::error::Error;
use crate::event::PreparedBatch;
use crate::index::Index;
use crate::layout::SegmentPart;
use crate::log::Log;
use crate::lru::Owner;
use crate::options::Options;
use crate::payload::MacKeys;
use crate::placement::{Appended, Edge, Group};
use crate::reader::LiveSegment;
use crate::recovery::create_frames;
use crate::segment::frames::FramesFile;
use crate::segment::writer::SegmentStart;
use crate::storage::is_full;
use cairn_schemas::Timestamp;
use parking_lot::RwLock;
use std::io;
use std::sync::Arc;

/// What a log keeps of the buffer in which its frames are put together.
const BUFFER_BYTES_KEPT: usize = 2 << 20;

/// A writer's own state of a log.
pub(crate) struct Writer {
    segment_bytes_max: u64,
    active: Arc<LiveSegment>,
    /// Where the next frame goes.
    end: u64,
    edge: Edge,
    index: Index,
    buffer: Vec<u8>,
}

/// Why a group was not recorded.
pub(crate) enum GroupFailure {
    /// Nothing of it was kept, and the log goes on.
    DiskFull { bytes: u64, path: std::path::PathBuf },
    /// Nobody knows what is on the disk: the writer must end.
    Unknown { why: String },
}

/// Each batch's own outcome, and whether a segment was filled.
pub(crate) struct Committed {
    pub(crate) outcomes: Vec<Result<Vec<Appended>, Error>>,
    pub(crate) rotated: bool,
}

impl Writer {
    pub(crate) fn new(
        options: &Options,
        segments: &[Arc<LiveSegment>],
        edge: Edge,
        index: Index,
    ) -> Result<Self, Error> {
        let active = segments.last().expect("recovery leaves a frames file").clone();
        let LiveSegment::Frames { file, .. } = &*active else { unreachable!("recovery leaves a frames file last") };
        let end = file.file.bytes().map_err(file.site.io("measuring"))?;
        let segment_bytes_max = options.segment_bytes_max;
        Ok(Self { segment_bytes_max, active, end, edge, index, buffer: Vec::new() })
    }

    /// Commits batches in order. Outcomes may be told only after this returned `Ok`.
    pub(crate) fn commit(
        &mut self,
        log: &Log,
        keys: &MacKeys,
        batches: &[PreparedBatch],
        now: Timestamp,
    ) -> Result<Committed, GroupFailure> {
        let rotated = self.end >= self.segment_bytes_max;
        if rotated {
            self.rotate(log)?;
        }
        let lookup = |position, event: &_| log.lookup(position, event, keys);
        let mut group = Group::new(self.edge.clone(), self.end, now, std::mem::take(&mut self.buffer));
        let outcomes = batches.iter().map(|batch| group.place(batch, &self.index, &lookup)).collect();
        group.finish();
        if !group.frames.is_empty() {
            // Until here the group changed nothing but itself.
            self.write(&group.bytes)?;
            self.publish(log, group);
        }
        Ok(Committed { outcomes, rotated })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), GroupFailure> {
        let LiveSegment::Frames { file, .. } = &*self.active else {
            unreachable!("the active segment is one of frames")
        };
        match file.file.write_all_at(bytes, self.end) {
            Ok(()) => {}
            Err(e) if is_full(&e) => return Err(self.take_back(file, bytes.len() as u64)),
            Err(e) => return Err(unknown("writing", file, e)),
        }
        file.file.sync().map_err(|e| unknown("syncing", file, e))
    }

    /// After a write that did not fit: cuts the file back to where it was durable.
    fn take_back(&self, file: &FramesFile, bytes: u64) -> GroupFailure {
        let cut = file.file.set_bytes(self.end).and_then(|()| file.file.sync());
        match cut {
            Ok(()) => GroupFailure::DiskFull { bytes, path: file.site.path().to_owned() },
            Err(e) => unknown("cutting back", file, e),
        }
    }

    /// What is durable becomes visible.
    fn publish(&mut self, log: &Log, mut group: Group<'_>) {
        if let LiveSegment::Frames { frames, .. } = &*self.active {
            frames.write().extend_from_slice(&group.frames);
        }
        group.absorb_into(&mut self.index);
        self.end += group.bytes.len() as u64;
        log.nodes.add(group.bundle_roots.drain(..));
        self.edge = group.edge;
        self.buffer = group.bytes;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        let mut view = log.view.write();
        view.head = self.edge.head;
        view.chain = self.edge.chain;
        view.tree.clone_from(&self.edge.tree);
    }

    /// Begins a new frames file, if the present one holds a position up to `last`.
    pub(crate) fn rotate_past(&mut self, log: &Log, last: u64) -> Result<(), GroupFailure> {
        match self.active.first() <= last.min(self.edge.head) {
            true => self.rotate(log),
            false => Ok(()),
        }
    }

    /// Begins a new frames file. What was written so far is durable, so the old one is ready to be sealed.
    fn rotate(&mut self, log: &Log) -> Result<(), GroupFailure> {
        let first = self.edge.head + 1;
        let site = log.files.at(log.files.layout.segment(first, SegmentPart::Frames));
        let file = match create_frames(&*log.files.disk, site.path()) {
            Ok(file) => file,
            Err(Error::DiskFull { bytes, path }) => return Err(GroupFailure::DiskFull { bytes, path }),
            Err(e) => return Err(GroupFailure::Unknown { why: e.to_string() }),
        };
        let start = SegmentStart { first, chain: self.edge.chain, tree: self.edge.tree.clone() };
        let file = FramesFile { site, file, first };
        self.index.rotate(first, self.edge.chain);
        let (frames, owner) = (RwLock::new(Vec::new()), Owner::new(&log.files.caches));
        self.active = Arc::new(LiveSegment::Frames { file, frames, start, owner });
        self.end = 0;
        log.view.write().segments.push(self.active.clone());
        Ok(())
    }
}

fn unknown(action: &str, file: &FramesFile, e: io::Error) -> GroupFailure {
    GroupFailure::Unknown { why: format!("{action} {}: {e}", file.site.path().display()) }
}
