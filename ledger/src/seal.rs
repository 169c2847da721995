//! Turns full frames files into the two immutable objects of a sealed segment, beside the sequencer.

use crate::error::Error;
use crate::layout::SegmentPart;
use crate::log::Log;
use crate::payload::Records;
use crate::reader::LiveSegment;
use crate::reserve::Reserve;
use crate::segment::frames::FramesFile;
use crate::segment::writer::{SegmentStart, SegmentWriter};
use crate::segment::{Files, SealedSlot};
use crate::storage::temporary;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Body of the sealer's thread.
pub(crate) fn run_sealer(reserve: Arc<Reserve>, logs: Receiver<Arc<Log>>) {
    for log in logs {
        // A seal that ran out of room begins again.
        if let Err(e) = reserve.with(|| seal_alone(&log)) {
            tracing::warn!(log = %log.id, error = %e, "a full segment could not be sealed; the next seal tries again");
        }
        reserve.retake();
        log.files.disk.sealed(&log.files.layout.segments());
    }
}

/// Seals what is full, beside whoever replaces payloads.
pub(crate) fn seal_alone(log: &Log) -> Result<(), Error> {
    let _sealing = log.writing.as_ref().expect("only logs open for writing are sealed").sealing.lock();
    seal_full(log)
}

/// What a seal had written when it ran out of room is room again. What cannot be removed, the next seal replaces.
fn remove_unfinished(log: &Log, first: u64) {
    for part in [SegmentPart::Entries, SegmentPart::Payloads { generation: 0 }] {
        let _ = log.files.disk.remove(&temporary(&log.files.layout.segment(first, part)));
    }
}

/// Seals every frames file of a log but the last, which is being appended to. The caller holds `sealing`.
pub(crate) fn seal_full(log: &Log) -> Result<(), Error> {
    let segments = log.view.read().segments.clone();
    let Some((active, full)) = segments.split_last() else { return Ok(()) };
    let shelf = &log.writing.as_ref().expect("only logs open for writing are sealed").shelf;
    for (segment, next) in full.iter().zip(&segments[1..]) {
        if let LiveSegment::Frames { file, start, .. } = &**segment {
            // Where a segment is sealed, opening finds its run and need not read it.
            shelf.publish(file.first)?;
            let sealed = seal(log, file, start, next).inspect_err(|_| remove_unfinished(log, file.first))?;
            let size = sealed.open()?.entries.footer.after() - 1;
            replace(log, file.first, sealed)?;
            log.store_nodes(size);
        }
    }
    shelf.publish(active.first() - 1)?;
    shelf.compact(active.first())
}

/// One pass over the frames, each checked by its CRC, the chain by where the next segment begins.
fn seal(log: &Log, file: &FramesFile, start: &SegmentStart, next: &LiveSegment) -> Result<SealedSlot, Error> {
    let files = &log.files;
    let mut writer = SegmentWriter::create(&*files.disk, &files.layout, start.clone())?;
    if let LiveSegment::Frames { start, .. } = next {
        writer = writer.ending_at(start.clone());
    }
    let walked = file.walk(|at, frame| {
        writer.frame(frame.entries, frame.source_offsets)?;
        for item in Records::new(frame.payloads) {
            let (_, record) = item.map_err(|m| file.damage_at(at.offset, at.first, m))?;
            writer.record(&record)?;
        }
        Ok(())
    })?;
    if let Some(broken) = walked.broken.filter(|broken| !broken.blank) {
        return Err(file.damage_at(walked.end, writer.next(), broken.mismatch));
    }
    let written = writer.finish()?;
    let files_of = Files { first: start.first, frames: false, entries: true, generation: Some(0) };
    let slot = SealedSlot::new(files, files_of);
    slot.open()?.check_against(&written)?;
    Ok(slot)
}

fn replace(log: &Log, first: u64, sealed: SealedSlot) -> Result<(), Error> {
    {
        let mut view = log.view.write();
        let index = view.segments.partition_point(|segment| segment.first() < first);
        view.segments[index] = Arc::new(LiveSegment::Sealed(sealed));
    }
    let files = &log.files;
    let frames = files.layout.segment(first, SegmentPart::Frames);
    files.disk.remove(&frames).map_err(Error::io("removing", &frames))?;
    let folder = files.layout.segments();
    files.disk.sync_dir(&folder).map_err(Error::io("syncing", &folder))
}
