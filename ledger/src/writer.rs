//! Makes a group of batches durable: place, write once, sync once, and only then let anyone see them.

use crate::continuity::Continuity;
use crate::error::Error;
use crate::event::Prepared;
use crate::index::Index;
use crate::layout::SegmentPart;
use crate::log::Log;
use crate::options::Options;
use crate::payload::MacKeys;
use crate::placement::{Appended, Pending, Placement, Snapshot};
use crate::reader::LiveSegment;
use crate::recovery::create_frames;
use crate::segment::frames::FramesFile;
use crate::segment::writer::SegmentStart;
use crate::storage::is_full;
use cairn_schemas::Timestamp;
use parking_lot::RwLock;
use std::io;
use std::sync::Arc;

/// The sequencer's own state of a log.
pub(crate) struct Writer {
    segment_bytes_max: u64,
    active: Arc<LiveSegment>,
    /// Where the next frame goes.
    end: u64,
    state: Continuity,
    index: Index,
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
        state: Continuity,
        index: Index,
    ) -> Result<Self, Error> {
        let active = segments.last().expect("recovery leaves a frames file").clone();
        let LiveSegment::Frames { file, .. } = &*active else { unreachable!("recovery leaves a frames file last") };
        let end = file.file.bytes().map_err(file.site.io("measuring"))?;
        Ok(Self { segment_bytes_max: options.segment_bytes_max, active, end, state, index })
    }

    pub(crate) fn size_and_root(&self) -> (u64, cairn_schemas::Sha256) {
        (self.state.tree.size(), self.state.tree.root())
    }

    /// Commits batches in order. Outcomes may be told only after this returned `Ok`.
    pub(crate) fn commit(
        &mut self,
        log: &Log,
        keys: &MacKeys,
        batches: &[Vec<Prepared>],
        now: Timestamp,
    ) -> Result<Committed, GroupFailure> {
        let rotated = self.end >= self.segment_bytes_max;
        if rotated {
            self.rotate(log)?;
        }
        let snapshot = Snapshot::of(&self.state);
        let mut pending = Pending::default();
        let mut placement = Placement {
            group_at: self.end,
            streams_before: self.state.stream_versions.len(),
            durable_before: self.state.head,
            state: &mut self.state,
            index: &self.index,
            pending: &mut pending,
            now,
        };
        let lookup = |position, event: &Prepared| log.lookup(position, event, keys);
        let outcomes = batches.iter().map(|batch| placement.place(batch, &lookup)).collect();
        if pending.frames.is_empty() {
            return Ok(Committed { outcomes, rotated });
        }
        if let Err(failure) = self.write(&pending.bytes) {
            snapshot.restore(&mut self.state, &pending);
            return Err(failure);
        }
        self.publish(log, pending);
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
    fn publish(&mut self, log: &Log, pending: Pending) {
        self.end += pending.bytes.len() as u64;
        if let LiveSegment::Frames { frames, .. } = &*self.active {
            frames.write().extend_from_slice(&pending.frames);
        }
        pending.absorb_into(&mut self.index);
        log.nodes.add(self.state.bundle_roots.drain(..));
        let mut view = log.view.write();
        view.head = self.state.head;
        view.chain = self.state.chain;
    }

    /// Begins a new frames file. What was written so far is durable, so the old one is ready to be sealed.
    fn rotate(&mut self, log: &Log) -> Result<(), GroupFailure> {
        let first = self.state.head + 1;
        let site = log.files.at(log.files.layout.segment(first, SegmentPart::Frames));
        let file = match create_frames(&*log.files.disk, site.path()) {
            Ok(file) => file,
            Err(Error::DiskFull { bytes, path }) => return Err(GroupFailure::DiskFull { bytes, path }),
            Err(e) => return Err(GroupFailure::Unknown { why: e.to_string() }),
        };
        let start = SegmentStart { first, chain: self.state.chain, tree: self.state.tree.clone() };
        let file = FramesFile { site, file, first };
        self.active = Arc::new(LiveSegment::Frames { file, frames: RwLock::new(Vec::new()), start });
        self.end = 0;
        log.view.write().segments.push(self.active.clone());
        Ok(())
    }
}

fn unknown(action: &str, file: &FramesFile, e: io::Error) -> GroupFailure {
    GroupFailure::Unknown { why: format!("{action} {}: {e}", file.site.path().display()) }
}
